//! The checkpoints that were given, held against the log: docs/format.md, section 11.

use std::collections::BTreeMap;

use rusqlite::Connection;

use super::options::Given;
use super::predecessors::Predecessor;
use super::report::{
    Anchor, Check, Failure, NotChecked, PredecessorFound, SignerFound, SplitView, WitnessFound,
};
use super::stored;
use super::tree::Tree;
use super::trust::{Standing, Trust, shown};
use crate::event::{KeyChanged, Seq};
use crate::note::{Policy, SignedCheckpoint, VerifierKey};

/// The log that they are held against.
pub(super) struct Walked<'w> {
    pub(super) origin: Option<&'w str>,
    /// Events that are there.
    pub(super) events: u64,
    /// The first event that is not good.
    pub(super) first_bad: Option<u64>,
    /// The tree of the events that are good.
    pub(super) tree: &'w Tree,
}

/// What a checkpoint says of the log.
enum Judged {
    Fits,
    Fails(Failure),
    /// The log has a failure before the checkpoint's end, which says why.
    Unknown,
}

/// The largest size of a checkpoint that fits and that a trusted key signed: of those that were given, and of
/// those in the file, if it is asked. Events up to there are those that the key stands for.
pub(super) fn covered(given: &[Given], stored: Option<&Connection>, trust: &Trust, log: &Walked<'_>) -> u64 {
    let mut covered = 0;
    let mut look = |given: &Given| {
        let size = given.checkpoint.size();
        if size > covered
            && matches!(against(given, log), Judged::Fits)
            && matches!(trust.standing(&given.checkpoint), Standing::Trusted(_))
        {
            covered = size;
        }
    };
    given.iter().for_each(&mut look);
    if let Some(connection) = stored {
        // What cannot be read covers nothing; the table's own check says so.
        let _ = stored::each_checkpoint(connection, |checkpoint| {
            look(&Given { name: String::new(), checkpoint });
        });
    }
    covered
}

/// Judges every checkpoint. Of one that nobody known signed, `changes` says where its key is named.
pub(super) fn judge(
    given: &[Given],
    trust: &Trust,
    policy: Option<&Policy>,
    log: &Walked<'_>,
    changes: &[(Seq, KeyChanged)],
) -> Anchor {
    let mut anchor = Anchor { checkpoints_given: given.len() as u64, ..Anchor::nothing_asked() };
    let mut signed: BTreeMap<(&str, u64), Vec<&Given>> = BTreeMap::new();
    let mut best: Option<(&Given, Vec<SignerFound>, Vec<WitnessFound>)> = None;
    let mut unmet = Vec::new();
    for given in given {
        let checkpoint = &given.checkpoint;
        let signers = match trust.standing(checkpoint) {
            Standing::Trusted(signers) => signers,
            Standing::Before(key) => {
                signed.entry((checkpoint.origin(), checkpoint.size())).or_default().push(given);
                before(given, key, log, &mut anchor);
                continue;
            }
            Standing::Wrong(why) => {
                anchor.failures.push(failure(given, Check::CheckpointSignature, why));
                continue;
            }
            Standing::Unknown(why) => {
                let named = named(checkpoint, changes).map(|named| format!("; {named}")).unwrap_or_default();
                anchor
                    .not_checked
                    .push(NotChecked { what: given.name.clone(), why: format!("{why}{named}") });
                continue;
            }
        };
        let witnesses = match witnesses(policy, checkpoint) {
            Ok(witnesses) => witnesses,
            Err(Unmet::Bad(why)) => {
                anchor.failures.push(failure(given, Check::CheckpointSignature, why));
                continue;
            }
            Err(Unmet::Missing(why)) => {
                unmet.push((given, why));
                Vec::new()
            }
        };
        let is_enough = unmet.last().is_none_or(|(last, _)| !std::ptr::eq(*last, given));
        signed.entry((checkpoint.origin(), checkpoint.size())).or_default().push(given);
        match against(given, log) {
            Judged::Fails(failure) => anchor.failures.push(failure),
            Judged::Unknown => anchor.checkpoints_not_judged += 1,
            Judged::Fits => {
                anchor.checkpoints_fitting += 1;
                let size = checkpoint.size();
                // The log without events begins every log.
                if size > 0
                    && is_enough
                    && best.as_ref().is_none_or(|(best, ..)| best.checkpoint.size() < size)
                {
                    let signers = signers
                        .into_iter()
                        .map(|(role, key)| SignerFound { role, vkey: key.to_string() })
                        .collect();
                    best = Some((given, signers, witnesses));
                }
            }
        }
    }
    for ((_, size), given) in signed {
        split_view(size, &given, &mut anchor);
    }
    match best {
        Some((given, signers, witnesses)) => {
            anchor.anchored_to = Some(given.checkpoint.size());
            anchor.checkpoint = Some(given.name.clone());
            anchor.keys = signers;
            anchor.witnesses = witnesses;
        }
        // A policy that no checkpoint meets is not met.
        None if anchor.checkpoints_fitting > 0 => {
            if let Some((given, why)) = unmet.iter().max_by_key(|(given, _)| given.checkpoint.size()) {
                let why = format!("it does not meet the policy, and no other does: {why}");
                anchor.failures.push(failure(given, Check::CheckpointSignature, why));
            }
        }
        None => {}
    }
    anchor
}

/// Judges a checkpoint by a key that a trusted one took over from: it must fit, and extends nothing.
fn before(given: &Given, key: &Predecessor, log: &Walked<'_>, anchor: &mut Anchor) {
    match against(given, log) {
        Judged::Fails(failure) => anchor.failures.push(with_readings(failure, key)),
        Judged::Unknown => anchor.checkpoints_not_judged += 1,
        Judged::Fits => {
            anchor.checkpoints_fitting += 1;
            anchor.by_predecessors.push(PredecessorFound {
                checkpoint: given.name.clone(),
                size: given.checkpoint.size(),
                role: key.role(),
                vkey: key.key().to_string(),
                retired: key.event(),
            });
        }
    }
}

fn with_readings(failure: Failure, key: &Predecessor) -> Failure {
    let detail = format!("{}; {}", failure.detail, key.readings());
    Failure { detail, ..failure }
}

/// The key of the log that signed a checkpoint, by what the log says of it itself.
fn named(checkpoint: &SignedCheckpoint, changes: &[(Seq, KeyChanged)]) -> Option<String> {
    let signs = |vkey: &str| -> Option<VerifierKey> {
        let key: VerifierKey =
            vkey.parse().ok().filter(|key: &VerifierKey| key.signs_for(checkpoint.origin()))?;
        checkpoint.verify(std::slice::from_ref(&key)).is_ok().then_some(key)
    };
    changes.iter().find_map(|(seq, change)| {
        let new = signs(&change.vkey);
        let key = new.or_else(|| change.previous.as_deref().and_then(signs))?;
        Some(format!(
            "event {seq} ({}) names that key: if who runs the log confirms {}, give it as well: {key}",
            change.cause,
            shown(&key)
        ))
    })
}

/// Says how far the log was signed, by the checkpoints that it keeps itself. They anchor nothing: who
/// can write the file can delete them. What a trusted key signed must fit all the same. They are judged one
/// by one, and the signature of one that fits matters only if none that is larger was signed.
pub(super) fn judge_stored(
    connection: &Connection,
    trust: &Trust,
    log: &Walked<'_>,
    anchor: &mut Anchor,
) -> rusqlite::Result<()> {
    let mut failures = Vec::new();
    let judged = stored::each_checkpoint(connection, |checkpoint| {
        let size = checkpoint.size();
        let name = format!("the checkpoint of {size} events that the file keeps");
        let stored = Given { name, checkpoint };
        let standing = || trust.standing(&stored.checkpoint);
        match against(&stored, log) {
            Judged::Unknown => {}
            Judged::Fails(found) => failures.extend(match standing() {
                Standing::Trusted(_) => Some(found),
                Standing::Before(key) => Some(with_readings(found, key)),
                Standing::Wrong(_) | Standing::Unknown(_) => None,
            }),
            Judged::Fits
                if size > anchor.signed_to.unwrap_or(0) && matches!(standing(), Standing::Trusted(_)) =>
            {
                anchor.signed_to = Some(size);
            }
            Judged::Fits => {}
        }
    });
    failures.reverse();
    anchor.failures.extend(failures);
    judged
}

enum Unmet {
    Missing(String),
    Bad(String),
}

fn witnesses(policy: Option<&Policy>, checkpoint: &SignedCheckpoint) -> Result<Vec<WitnessFound>, Unmet> {
    let Some(policy) = policy else { return Ok(Vec::new()) };
    let verdict = policy.evaluate(checkpoint);
    let lines = |reasons: Vec<String>| reasons.join("; ");
    if !verdict.bad.is_empty() {
        return Err(Unmet::Bad(lines(verdict.bad.iter().map(ToString::to_string).collect())));
    }
    if !verdict.missing.is_empty() {
        return Err(Unmet::Missing(lines(verdict.missing.iter().map(ToString::to_string).collect())));
    }
    let found = verdict.cosigned.into_iter();
    Ok(found.map(|found| WitnessFound { name: found.witness, cosigned_at: found.time }).collect())
}

fn against(given: &Given, log: &Walked<'_>) -> Judged {
    let checkpoint = &given.checkpoint;
    let size = checkpoint.size();
    if log.first_bad.is_some_and(|first_bad| first_bad <= size) {
        return Judged::Unknown;
    }
    // A newer version may say in another way what the log is called. Its root tells it from other logs too.
    if let Some(origin) = log.origin.filter(|origin| *origin != checkpoint.origin()) {
        let detail =
            format!("it is a checkpoint of the log `{}`, and this is `{origin}`", checkpoint.origin());
        return Judged::Fails(failure(given, Check::CheckpointOrigin, detail));
    }
    if size > log.events {
        let detail = format!(
            "it covers {size} events, and the log has {}: the log was cut off, or set back to an older copy",
            log.events
        );
        return Judged::Fails(failure(given, Check::CheckpointSize, detail));
    }
    match log.tree.root_at(size) {
        None => Judged::Unknown,
        Some(root) if root == *checkpoint.root() => Judged::Fits,
        Some(_) => {
            let detail = format!(
                "the first {size} events are not those that it covers: the log was written anew, or another one put in its place"
            );
            Judged::Fails(failure(given, Check::CheckpointRoot, detail))
        }
    }
}

/// Two roots for one size, both signed: whoever signs showed different logs to different people.
fn split_view(size: u64, given: &[&Given], anchor: &mut Anchor) {
    let Some((first, others)) = given.split_first() else { return };
    let other = others.iter().find(|other| other.checkpoint.root() != first.checkpoint.root());
    let Some(other) = other else { return };
    let detail = format!(
        "split view: {} and {} are both well signed, cover the same {size} events, and have different roots; whoever has the key signed for two different logs",
        first.name, other.name
    );
    anchor.failures.push(failure(other, Check::SplitView, detail));
    anchor.split_views.push(SplitView { size, checkpoints: [first.name.clone(), other.name.clone()] });
}

fn failure(given: &Given, check: Check, detail: String) -> Failure {
    let affected = match check {
        Check::CheckpointSignature => "what it would vouch for".to_owned(),
        _ => "every event of the log".to_owned(),
    };
    Failure { check, seq: None, detail: format!("{}: {detail}", given.name), affected }
}
