//! The events that Annals itself wrote, in the form in which they are kept until the end. A foreign log can
//! have any number of them, with texts of any length, and only the beginning of a text is needed.

use crate::event::{Event, EventsLost, KeyChanged, PayloadRedacted};
use crate::limits::{ID_BYTES_MAX, NOTE_BYTES_MAX, SHOWN_BYTES_MAX};
use crate::verify::report::shortened;

/// An event that is kept. Its texts are short, except a certificate, which may be as long as a note.
pub(super) enum Own {
    Created {
        origin: String,
    },
    Lost(EventsLost),
    Skipped {
        /// The name. None if it is longer than that of any projection.
        projection: Option<String>,
        version: u32,
        seq: u64,
    },
    Redacted(PayloadRedacted),
    KeyChanged(KeyChanged),
    ApiKey,
}

impl Own {
    /// Keeps the parts of an event that a verdict needs. None if there are none.
    pub(super) fn of(event: Event) -> Option<Own> {
        Some(match event {
            Event::LogCreated(created) => Own::Created { origin: shortened(created.origin) },
            Event::EventsLost(mut lost) => {
                lost.reason = String::new();
                Own::Lost(lost)
            }
            Event::ProjectionSkipped(skipped) => Own::Skipped {
                projection: Some(skipped.projection).filter(|name| name.len() <= ID_BYTES_MAX),
                version: skipped.version,
                seq: skipped.seq,
            },
            Event::PayloadRedacted(mut redacted) => {
                redacted.actor = shortened(redacted.actor);
                redacted.reason = shortened(redacted.reason);
                redacted.authority = redacted.authority.map(shortened);
                Own::Redacted(redacted)
            }
            Event::KeyChanged(mut changed) => {
                changed.vkey = bounded(changed.vkey, SHOWN_BYTES_MAX);
                changed.previous = changed.previous.map(|vkey| bounded(vkey, SHOWN_BYTES_MAX));
                changed.certificate = changed.certificate.map(|note| bounded(note, NOTE_BYTES_MAX));
                changed.actor = shortened(changed.actor);
                changed.reason = changed.reason.map(shortened);
                Own::KeyChanged(changed)
            }
            Event::ApiKeyCreated(_) | Event::ApiKeyRevoked(_) => Own::ApiKey,
            _ => return None,
        })
    }
}

/// Keeps a key or a note as it is. Cuts a text that is longer than any of them, and ends it in a way in which
/// no key and no note ends.
fn bounded(text: String, bytes_max: usize) -> String {
    if text.len() > bytes_max { shortened(text) } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{KeyChangeCause, KeyRole};
    use crate::note::{SignedNote, SigningKey};

    #[test]
    fn an_overlong_key_or_certificate_cannot_be_parsed() {
        let key = SigningKey::from_seed("example.org/log", &[1; 32]).unwrap();
        let vkey = key.verifier().to_string();
        let mut note = SignedNote::unsigned("text\n".repeat(NOTE_BYTES_MAX / 5 - 50)).unwrap();
        note.sign(&key);
        let note = note.to_string();
        let changed = |vkey: &str, certificate: &str| KeyChanged {
            role: KeyRole::Stable,
            vkey: vkey.to_owned(),
            previous: Some(vkey.to_owned()),
            certificate: Some(certificate.to_owned()),
            cause: KeyChangeCause::Rotated,
            actor: "ann".to_owned(),
            reason: None,
        };
        let kept = |changed| match Own::of(Event::KeyChanged(changed)) {
            Some(Own::KeyChanged(kept)) => kept,
            _ => panic!("a change of keys is kept"),
        };
        assert_eq!(kept(changed(&vkey, &note)), changed(&vkey, &note));
        let long = kept(changed(&"v".repeat(SHOWN_BYTES_MAX + 1), &"t".repeat(NOTE_BYTES_MAX + 1)));
        assert!(long.vkey.len() < 1_100 && long.vkey.parse::<crate::note::VerifierKey>().is_err());
        let certificate = long.certificate.unwrap();
        assert!(certificate.len() < 1_100 && certificate.parse::<SignedNote>().is_err());
    }
}
