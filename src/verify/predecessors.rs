//! The predecessors of the given keys. Trust goes back, through the log's own events, from a key to the key
//! that it replaced. docs/format.md, section 11, has the rule.
//!
//! A certificate alone shows nothing: a thief of an old key can write another log, in which that key
//! certifies the present one. So an event counts only if a checkpoint by a trusted key covers it.

use std::collections::HashMap;

use crate::event::{KeyChangeCause, KeyChanged, KeyRole, Seq};
use crate::merkle::NodeHash;
use crate::note::{KeyChange, SignatureError, SignedCheckpoint, SignedNote, VerifierKey};

/// A key that a trusted key replaced.
#[derive(Clone, Debug)]
pub(super) struct Predecessor {
    role: KeyRole,
    key: VerifierKey,
    /// The key that replaced it, and the cause of the change.
    successor: VerifierKey,
    cause: KeyChangeCause,
    /// The sizes of the checkpoints for which its signature counts: from the size of its own certificate, or
    /// 0 if it has none, to the event that replaced it.
    from: u64,
    event: Seq,
}

impl Predecessor {
    pub(super) fn role(&self) -> KeyRole {
        self.role
    }

    pub(super) fn key(&self) -> &VerifierKey {
        &self.key
    }

    /// The event by which trust goes back to it.
    pub(super) fn event(&self) -> Seq {
        self.event
    }

    /// Returns whether its signature counts for a checkpoint of this size.
    pub(super) fn is_for(&self, size: u64) -> bool {
        self.from <= size && size <= self.event.get()
    }

    /// The reason why its signature does not count for a size outside its range.
    pub(super) fn why_not(&self) -> String {
        format!(
            "it is signed by {}, a key that event {} retired: the key is trusted from size {} up to that event, so a retired key signed this checkpoint",
            shown(&self.key),
            self.event,
            self.from
        )
    }

    /// The two possible explanations of a checkpoint that it signed and that does not fit the log.
    pub(super) fn readings(&self) -> String {
        let compromised = match self.cause {
            KeyChangeCause::Compromised => ", which the log says was compromised",
            _ => "",
        };
        format!(
            "it is signed by {}{compromised}, which {} replaced at event {}: either the log was rewritten later, or the retired key signed for another log",
            shown(&self.key),
            shown(&self.successor),
            self.event
        )
    }
}

/// The predecessors of all given keys.
#[derive(Clone, Debug, Default)]
pub(super) struct Predecessors(Vec<Predecessor>);

impl Predecessors {
    /// Goes back from each given key through the first event that names it, and so on from key to key.
    pub(super) fn of<E>(
        given: &[(KeyRole, VerifierKey)],
        origin: Option<&str>,
        changes: &[(Seq, KeyChanged)],
        covered: u64,
        root_at: &mut dyn FnMut(u64) -> Result<Option<NodeHash>, E>,
    ) -> Result<Predecessors, E> {
        // For each role and key the first event that names it. Later ones never lead back.
        let mut first: HashMap<(KeyRole, &str), &(Seq, KeyChanged)> = HashMap::new();
        for change in changes {
            first.entry((change.1.role, change.1.vkey.as_str())).or_insert(change);
        }
        let mut found: Vec<Predecessor> = Vec::new();
        for (role, key) in given {
            let mut successor = key.clone();
            // The event and the size of the certificate that led to this key. Events must become earlier with
            // every step, so the loop ends. No certificate may cover more than the one before it in this
            // search.
            let (mut before, mut size_max) = (covered.saturating_add(1), u64::MAX);
            while let Some((seq, event)) = first.get(&(*role, successor.to_string().as_str())) {
                if seq.get() >= before {
                    break;
                }
                let certified = certified(origin, *seq, event, &successor, size_max, root_at)?;
                let Some((previous, size)) = certified else { break };
                // This event has the certificate of `successor`, which bounds its sizes from below. A
                // successor that was given is not in `found`, and stays trusted for every size.
                if let Some(last) =
                    found.last_mut().filter(|last| last.key == successor && last.role == *role)
                {
                    last.from = size;
                }
                // The search ends at a key that was given, or that was found before: trust goes back from
                // that key separately.
                let is_known = given.contains(&(*role, previous.clone()))
                    || found.iter().any(|known| known.key == previous && known.role == *role);
                if is_known {
                    break;
                }
                found.push(Predecessor {
                    role: *role,
                    key: previous.clone(),
                    successor,
                    cause: event.cause,
                    from: 0,
                    event: *seq,
                });
                (successor, before, size_max) = (previous, seq.get(), size);
            }
        }
        Ok(Predecessors(found))
    }

    /// The events that led back.
    pub(super) fn events(&self) -> Vec<Seq> {
        self.0.iter().map(Predecessor::event).collect()
    }

    /// The predecessors that signed a checkpoint. The error reports a bad signature by one of them.
    pub(super) fn signers(&self, checkpoint: &SignedCheckpoint) -> Result<Vec<&Predecessor>, String> {
        let keys: Vec<VerifierKey> = self.0.iter().map(|known| known.key.clone()).collect();
        match checkpoint.verify(&keys) {
            Ok(signed) => {
                let is_signer = |known: &&Predecessor| signed.iter().any(|by| *by.key == known.key);
                Ok(self.0.iter().filter(is_signer).collect())
            }
            Err(SignatureError::NoneKnown) => Ok(Vec::new()),
            Err(error) => Err(error.to_string()),
        }
    }
}

/// The key before and the size of its certificate, if the certificate is good and fits.
fn certified<E>(
    origin: Option<&str>,
    seq: Seq,
    event: &KeyChanged,
    new: &VerifierKey,
    size_max: u64,
    root_at: &mut dyn FnMut(u64) -> Result<Option<NodeHash>, E>,
) -> Result<Option<(VerifierKey, u64)>, E> {
    let Some((previous, change)) = signed(event) else { return Ok(None) };
    let fits = origin.is_none_or(|origin| origin == change.origin())
        && previous.signs_for(change.origin())
        && new.signs_for(change.origin())
        && (change.role(), change.key()) == (event.role, new)
        && change.size() < seq.get()
        && change.size() <= size_max;
    if !fits || root_at(change.size())? != Some(*change.root()) {
        return Ok(None);
    }
    Ok(Some((previous, change.size())))
}

/// The key before and the change that it certified, if the certificate is well formed and signed by that key.
fn signed(event: &KeyChanged) -> Option<(VerifierKey, KeyChange)> {
    if event.cause == KeyChangeCause::Lost {
        return None;
    }
    let previous: VerifierKey = event.previous.as_deref()?.parse().ok()?;
    let note: SignedNote = event.certificate.as_deref()?.parse().ok()?;
    note.verify(std::slice::from_ref(&previous)).ok()?;
    Some((previous, note.text().parse().ok()?))
}

/// The short form of a key: its name and id.
pub(super) fn shown(key: &VerifierKey) -> String {
    format!("{}+{}", key.name(), key.id())
}
