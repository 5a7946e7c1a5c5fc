//! Which keys are trusted for which sizes: those that were given, and those that they hand trust on to.
//! docs/format.md, section 11, has the rules.

use serde::Serialize;

use super::report::{Check, Failure};
use crate::event::{KeyChangeCause, KeyChanged, KeyRole, Seq};
use crate::merkle::NodeHash;
use crate::note::{KeyChange, SignatureError, SignedCheckpoint, SignedNote, VerifierKey};

/// A key, and the sizes of the checkpoints for which it is trusted.
#[derive(Clone, Debug)]
struct Trusted {
    role: KeyRole,
    key: VerifierKey,
    /// The smallest size.
    from: u64,
    /// The event that retired it, which is also the largest size.
    retired: Option<u64>,
}

impl Trusted {
    fn is_for(&self, size: u64) -> bool {
        self.from <= size && self.retired.is_none_or(|retired| size <= retired)
    }
}

/// A change of a key, as the log tells it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct KeyChangeSeen {
    /// The event.
    pub seq: Seq,
    /// Which of the log's keys.
    pub role: KeyRole,
    /// The new key, as a vkey.
    pub vkey: String,
    /// The key before it.
    pub previous: Option<String>,
    /// Why there is a new key.
    pub cause: KeyChangeCause,
    /// Who made it.
    pub actor: String,
    /// What they said of it.
    pub reason: Option<String>,
    /// Whether it is the first of its role that the verification came by, and says so. Nobody certifies one.
    pub is_first: bool,
    /// Whether a trusted key certified it, so that the new key is trusted too.
    pub is_certified: bool,
    /// Who certified it, or why nobody did whom the verifier trusts.
    pub certified: String,
}

/// What a change of keys comes to.
enum Certified {
    /// A trusted key did: the new key is trusted from this size on.
    By { previous: Box<VerifierKey>, new: Box<VerifierKey>, from: u64 },
    /// Nobody did who counts.
    NotTrusted(String),
    /// A trusted key did, and what it certified is not so.
    Wrong(String),
}

/// The keys that are trusted.
#[derive(Clone, Debug, Default)]
pub(super) struct Trust {
    keys: Vec<Trusted>,
    /// The roles of which a change was seen.
    changed: Vec<KeyRole>,
    /// A key of an epoch was given: without one no checkpoint is taken.
    asks_for_epoch: bool,
}

impl Trust {
    /// Trusts the keys that were given, for every size.
    pub(super) fn new(given: Vec<(KeyRole, VerifierKey)>) -> Trust {
        let asks_for_epoch = given.iter().any(|(role, _)| *role == KeyRole::Epoch);
        let keys = given.into_iter().map(|(role, key)| Trusted { role, key, from: 0, retired: None });
        Trust { keys: keys.collect(), changed: Vec::new(), asks_for_epoch }
    }

    /// Whether no key was given.
    pub(super) fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// Takes a change of keys into account. `root_at` says what root the log's tree has at a size.
    pub(super) fn change<E>(
        &mut self,
        origin: Option<&str>,
        seq: Seq,
        event: KeyChanged,
        root_at: &mut dyn FnMut(u64) -> Result<Option<NodeHash>, E>,
    ) -> Result<(KeyChangeSeen, Option<Failure>), E> {
        let certified = self.certified(origin, seq, &event, root_at)?;
        let is_first = event.cause == KeyChangeCause::Generated && !self.changed.contains(&event.role);
        self.changed.push(event.role);
        let (is_certified, said, failure) = match certified {
            Certified::By { previous, new, from } => {
                let said = shown(&previous);
                self.hand_on(event.role, &previous, *new, from, seq);
                (true, said, None)
            }
            Certified::NotTrusted(why) => (false, why, None),
            Certified::Wrong(detail) => (false, detail.clone(), Some(key_change_failure(seq, detail))),
        };
        let KeyChanged { role, vkey, previous, certificate: _, cause, actor, reason } = event;
        let seen = KeyChangeSeen {
            is_first,
            seq,
            role,
            vkey,
            previous,
            cause,
            actor,
            reason,
            is_certified,
            certified: said,
        };
        Ok((seen, failure))
    }

    fn hand_on(&mut self, role: KeyRole, previous: &VerifierKey, new: VerifierKey, from: u64, seq: Seq) {
        let is_active = |trusted: &Trusted, key: &VerifierKey| {
            trusted.key == *key && trusted.role == role && trusted.retired.is_none()
        };
        for trusted in self.keys.iter_mut().filter(|trusted| is_active(trusted, previous)) {
            trusted.retired = Some(seq.get());
        }
        // One that was given is trusted from further back.
        if !self.keys.iter().any(|trusted| is_active(trusted, &new)) {
            self.keys.push(Trusted { role, key: new, from, retired: None });
        }
    }

    /// Whether the new key was given in the other role: nothing that it signs counts as it should.
    fn is_given_as_other(&self, event: &KeyChanged) -> bool {
        let Ok(key) = event.vkey.parse::<VerifierKey>() else { return false };
        let mut given = self.keys.iter().filter(|trusted| trusted.key == key).peekable();
        given.peek().is_some() && given.all(|trusted| trusted.role != event.role)
    }

    fn certified<E>(
        &self,
        origin: Option<&str>,
        seq: Seq,
        event: &KeyChanged,
        root_at: &mut dyn FnMut(u64) -> Result<Option<NodeHash>, E>,
    ) -> Result<Certified, E> {
        let not_trusted = |why: &str| Ok(Certified::NotTrusted(why.to_owned()));
        let Some(certificate) = &event.certificate else {
            if self.is_given_as_other(event) {
                return not_trusted(match event.role {
                    KeyRole::Epoch => "it was given as a stable key; give it with --epoch-key",
                    KeyRole::Stable => "it was given as a key of an epoch; give it with --key",
                });
            }
            return not_trusted(match event.cause {
                KeyChangeCause::Generated if self.changed.contains(&event.role) => {
                    "it says that it is the first key of its role, and there was one before"
                }
                KeyChangeCause::Generated => "the first key of its role",
                KeyChangeCause::Lost => {
                    "the key before was lost, so trust in this one must come from elsewhere"
                }
                KeyChangeCause::Rotated => "it has no certificate",
            });
        };
        let Ok(note) = certificate.parse::<SignedNote>() else {
            return not_trusted("the certificate is no signed note");
        };
        let previous = event.previous.as_deref().and_then(|vkey| vkey.parse::<VerifierKey>().ok());
        let is_previous = |trusted: &&Trusted| {
            trusted.role == event.role && trusted.retired.is_none() && Some(&trusted.key) == previous.as_ref()
        };
        let Some(previous) = self.keys.iter().find(is_previous) else {
            return not_trusted(self.why_not_handed_on(event, previous.as_ref()));
        };
        match note.verify(std::slice::from_ref(&previous.key)) {
            Ok(_) => {}
            Err(SignatureError::NoneKnown) => {
                return not_trusted("the key before did not sign the certificate");
            }
            Err(error) => return Ok(Certified::Wrong(format!("its certificate: {error}"))),
        }
        let wrong = |what: String| {
            let by = shown(&previous.key);
            Ok(Certified::Wrong(format!("its certificate is signed by the trusted key {by}, and {what}")))
        };
        let change: KeyChange = match note.text().parse() {
            Ok(change) => change,
            Err(error) => return wrong(format!("is none: {error}")),
        };
        let is_of_another = origin.is_some_and(|origin| origin != change.origin());
        if is_of_another || !change.key().signs_for(change.origin()) {
            return wrong(format!(
                "is for the log `{}` and the key {}, which cannot sign for it",
                change.origin(),
                shown(change.key())
            ));
        }
        if change.role() != event.role || change.key().to_string() != event.vkey {
            return wrong("is for another key than the event names".to_owned());
        }
        if change.size() >= seq.get() {
            return wrong(format!("covers {} events, which are not all before it", change.size()));
        }
        if change.size() < previous.from {
            return wrong(format!(
                "covers {} events, and that key is trusted from {} on",
                change.size(),
                previous.from
            ));
        }
        match root_at(change.size())? {
            Some(root) if root == *change.root() => {
                let (new, from) = (Box::new(change.key().clone()), change.size());
                Ok(Certified::By { previous: Box::new(previous.key.clone()), new, from })
            }
            _ => wrong(format!("the log's first {} events are not those that it covers", change.size())),
        }
    }

    fn why_not_handed_on(&self, event: &KeyChanged, previous: Option<&VerifierKey>) -> &'static str {
        let known = self.keys.iter().find(|trusted| Some(&trusted.key) == previous);
        match known {
            None => "the key before is none that this verification trusts",
            Some(known) if known.retired.is_some() => "the key before was retired already",
            Some(_) if event.role == KeyRole::Epoch => {
                "the key before was given as a stable one; give it with --epoch-key"
            }
            Some(_) => "the key before was given as one of an epoch; give it with --key",
        }
    }

    /// The keys that signed a checkpoint and are trusted for its size.
    pub(super) fn signers<'t>(
        &'t self,
        checkpoint: &SignedCheckpoint,
    ) -> Result<Vec<(KeyRole, &'t VerifierKey)>, String> {
        let keys: Vec<VerifierKey> = self.keys.iter().map(|trusted| trusted.key.clone()).collect();
        let signed = match checkpoint.verify(&keys) {
            Ok(signed) => signed,
            Err(SignatureError::NoneKnown) => return Err(self.nobody(checkpoint)),
            Err(error) => return Err(error.to_string()),
        };
        let size = checkpoint.size();
        let signers: Vec<&Trusted> = self
            .keys
            .iter()
            .filter(|trusted| signed.iter().any(|signer| *signer.key == trusted.key))
            .collect();
        let good: Vec<&Trusted> = signers
            .iter()
            .copied()
            .filter(|trusted| trusted.is_for(size) && trusted.key.signs_for(checkpoint.origin()))
            .collect();
        if good.is_empty() {
            let why: Vec<String> = signers.iter().map(|trusted| why_not(trusted, checkpoint)).collect();
            return Err(why.join("; "));
        }
        if self.asks_for_epoch && !good.iter().any(|trusted| trusted.role == KeyRole::Epoch) {
            return Err("no epoch key that is trusted for its size signed it, and other signatures do not make up for that".to_owned());
        }
        Ok(good.into_iter().map(|trusted| (trusted.role, &trusted.key)).collect())
    }

    fn nobody(&self, checkpoint: &SignedCheckpoint) -> String {
        let names: Vec<String> = checkpoint
            .signatures()
            .iter()
            .map(|signature| format!("{}+{}", signature.name(), signature.id()))
            .collect();
        if self.is_empty() {
            return "no key was given to check its signature with".to_owned();
        }
        let trusted: Vec<String> = self.keys.iter().map(|trusted| shown(&trusted.key)).collect();
        let (names, trusted, origin) = (names.join(", "), trusted.join(", "), checkpoint.origin());
        if self.keys.iter().all(|trusted| trusted.key.name() != origin) {
            return format!(
                "it is a checkpoint of the log `{origin}`, signed by {names}, and none of the trusted keys is that log's: {trusted}; perhaps another log's key, or file, was named"
            );
        }
        format!(
            "none of the trusted keys signed it, which are {trusted}; it is signed by {names}; perhaps another key was named than the log's"
        )
    }
}

fn why_not(trusted: &Trusted, checkpoint: &SignedCheckpoint) -> String {
    let name = shown(&trusted.key);
    if !trusted.key.signs_for(checkpoint.origin()) {
        return format!(
            "{name} signed it, which is no key of its log `{}`, so it counts as a witness's alone",
            checkpoint.origin()
        );
    }
    match trusted.retired {
        Some(event) if checkpoint.size() > event => {
            format!("{name} signed it, which event {event} retired: it is trusted up to that size")
        }
        _ => format!("{name} signed it, which is trusted from size {} on", trusted.from),
    }
}

/// No key that was given signed a checkpoint as its log's.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct NotSigned(String);

/// The keys that signed a checkpoint for its log, among those that were given and are trusted for every
/// size: docs/format.md, section 11. A key that was given in both roles is there twice.
///
/// # Errors
/// If none of them did, or no epoch key where one was given; the error says who signed.
///
/// ```
/// # let key = annals::note::SigningKey::generate("example.org/log")?;
/// # let text = "example.org/log\n0\n47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=\n";
/// # let mut checkpoint = annals::note::SignedCheckpoint::unsigned(text.parse()?);
/// # checkpoint.sign(&key);
/// # let vkey = key.verifier().clone();
/// let signers = annals::verify::signers(vec![(annals::KeyRole::Stable, vkey)], &checkpoint)?;
/// assert_eq!(signers.len(), 1);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn signers(
    given: Vec<(KeyRole, VerifierKey)>,
    checkpoint: &SignedCheckpoint,
) -> Result<Vec<(KeyRole, VerifierKey)>, NotSigned> {
    let trust = Trust::new(given);
    let signers = trust.signers(checkpoint).map_err(NotSigned)?;
    Ok(signers.into_iter().map(|(role, key)| (role, key.clone())).collect())
}

/// A key, short.
fn shown(key: &VerifierKey) -> String {
    format!("{}+{}", key.name(), key.id())
}

fn key_change_failure(seq: Seq, detail: String) -> Failure {
    Failure {
        check: Check::KeyChange,
        seq: Some(seq.into()),
        detail,
        affected: "the trust in the key that it names, and in those after it".to_owned(),
    }
}
