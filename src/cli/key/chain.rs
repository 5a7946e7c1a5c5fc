//! The keys of a log since the first one, as its events report them: an auditor that holds one can follow the others.

use crate::evidence::PublicKeys;
use crate::query::EventFilter;
use crate::{Content, Event, KeyChangeCause, KeyChanged, KeyRole, Kind, Reader, Seq};
use serde_json::{Value, json};

use crate::cli::out::Out;
use crate::cli::text;

/// Changes that are read at once.
const PAGE: usize = 256;

/// The changes of a log's keys.
pub(super) struct Chain(Vec<(Seq, KeyChanged)>);

impl Chain {
    pub(super) fn read(reader: &Reader) -> anyhow::Result<Chain> {
        let filter = EventFilter { session: None, kinds: vec![Kind::KeyChanged.code()] };
        let mut changes = Vec::new();
        let mut after = Seq::ZERO;
        loop {
            // In pages: a log may have any number of these events.
            let page = reader.events(&filter, after, PAGE)?;
            let Some(last) = page.last() else { return Ok(Chain(changes)) };
            after = last.seq;
            changes.extend(page.into_iter().filter_map(|event| match event.content {
                Content::Event(Event::KeyChanged(change)) => Some((event.seq, change)),
                _ => None,
            }));
        }
    }

    fn of(&self, role: KeyRole) -> impl Iterator<Item = &(Seq, KeyChanged)> {
        self.0.iter().filter(move |(_, change)| change.role == role)
    }

    /// The first key of a role: the one before the first change, the one that this change made, or the present one.
    fn first<'c>(&'c self, role: KeyRole, present: Option<&'c str>) -> Option<&'c str> {
        match self.of(role).next() {
            Some((_, change)) => Some(change.previous.as_deref().unwrap_or(&change.vkey)),
            None => present,
        }
    }

    pub(super) fn to_json(&self, keys: &PublicKeys) -> Value {
        let (stable, epoch) = (keys.stable.to_string(), keys.epoch.as_ref().map(ToString::to_string));
        let changes: Vec<Value> = self
            .0
            .iter()
            .map(|(seq, change)| {
                json!({
                    "seq": seq,
                    "role": change.role,
                    "vkey": change.vkey,
                    "previous": change.previous,
                    "cause": change.cause,
                    "certified": is_certified(change),
                    "actor": change.actor,
                    "reason": change.reason,
                })
            })
            .collect();
        json!({
            "stable": stable,
            "epoch": epoch,
            "first": {
                "stable": self.first(KeyRole::Stable, Some(&stable)),
                "epoch": self.first(KeyRole::Epoch, epoch.as_deref()),
            },
            "changes": changes,
        })
    }

    /// Prints the chain as comments, so the output can be given to a verification as a file.
    pub(super) fn print(&self, origin: &str, out: &mut Out) -> anyhow::Result<()> {
        for role in [KeyRole::Stable, KeyRole::Epoch] {
            // Without a change, the present key is the first one, and is printed already.
            let Some(first) = self.first(role, None) else { continue };
            // A key that never changed needs no further lines.
            if self.of(role).all(|(_, change)| change.vkey == first) {
                continue;
            }
            out.line(&text::line(&format!("# the {role} keys of {origin}, as its events record")))?;
            out.line(&text::line(&format!("#   first {first}")))?;
            for (seq, change) in self.of(role).filter(|(_, change)| change.vkey != first) {
                let how = match is_certified(change) {
                    true => "certified by the key before it",
                    false => "not certified; auditors must get it from you",
                };
                let change = format!("#   event {seq} ({}) {}, {how}", change.cause, change.vkey);
                out.line(&text::line(&change))?;
            }
        }
        Ok(())
    }
}

/// Returns true if the previous key vouches for the new one: trust then continues by the log alone.
fn is_certified(change: &KeyChanged) -> bool {
    // After a loss or a compromise a certificate proves nothing: a thief could have made it.
    change.certificate.is_some()
        && matches!(change.cause, KeyChangeCause::Rotated | KeyChangeCause::Generated)
}
