//! The comparison of the given checkpoints with the log: docs/format.md, section 11.

use std::collections::BTreeMap;

use rusqlite::Connection;

use super::error::is_damage;
use super::options::Given;
use super::predecessors::{Predecessor, shown};
use super::report::{
    Anchor, Check, Failure, NotChecked, PredecessorFound, SignerFound, SplitView, WitnessFound,
};
use super::stored;
use super::tree::Tree;
use super::trust::{Standing, Trust};
use crate::event::{KeyChanged, Seq};
use crate::note::{Policy, SignedCheckpoint, VerifierKey};

/// The walked log, with which checkpoints are compared.
pub(super) struct Walked<'w> {
    pub(super) origin: Option<&'w str>,
    /// The number of events in the log.
    pub(super) events: u64,
    /// The first bad event.
    pub(super) first_bad: Option<u64>,
    /// The tree of the events before the first bad one.
    pub(super) tree: &'w Tree,
}

/// The result of comparing a checkpoint with the log.
enum Judged {
    Fits,
    Fails(Failure),
    /// The log has a failure before the checkpoint's end. That failure is the reason.
    Unknown,
}

/// The largest size of a checkpoint that fits and that a trusted key signed. Considers the given checkpoints,
/// and those in the file if `stored` is there. The key vouches for the events up to this size.
///
/// # Errors
/// If the system keeps SQLite from reading those in the file. If the file is damaged, they cover nothing, and
/// [`judge_stored`] reports the damage.
pub(super) fn covered(
    given: &[Given],
    stored: Option<&Connection>,
    trust: &Trust,
    log: &Walked<'_>,
) -> rusqlite::Result<u64> {
    let larger = |covered: u64, given: &Given| {
        let size = given.checkpoint.size();
        // The cheapest test first: a signature is checked only if a larger size depends on it.
        let is_covered = size > covered
            && matches!(against(given, log), Judged::Fits)
            && matches!(trust.standing(&given.checkpoint), Standing::Trusted(_));
        if is_covered { size } else { covered }
    };
    let by_given = given.iter().fold(0, larger);
    let Some(connection) = stored else { return Ok(by_given) };
    let mut covered = by_given;
    let read = stored::each_checkpoint(connection, |checkpoint| {
        covered = larger(covered, &Given { name: String::new(), checkpoint });
    });
    match read {
        Ok(()) => Ok(covered),
        // A damaged table covers nothing, not even by the rows that were read before the damage.
        Err(error) if is_damage(&error) => Ok(by_given),
        Err(error) => Err(error),
    }
}

/// The search for a checkpoint that a policy accepts.
struct Search<'p> {
    policy: Option<&'p Policy>,
    is_met: bool,
    /// The largest checkpoint that fits and does not meet the policy: its name, its size, and the reason.
    unmet: Option<(String, u64, String)>,
}

impl<'p> Search<'p> {
    fn new(policy: Option<&'p Policy>) -> Search<'p> {
        Search { policy, is_met: false, unmet: None }
    }

    /// Returns whether another checkpoint may still meet the policy.
    fn goes_on(&self) -> bool {
        self.policy.is_some() && !self.is_met
    }

    /// Takes a checkpoint that fits and that a trusted key signed.
    fn take(&mut self, given: &Given, witnesses: &Result<Vec<WitnessFound>, Unmet>) {
        match witnesses {
            Ok(_) => self.is_met = true,
            Err(Unmet::Missing(why) | Unmet::Bad(why)) => {
                let size = given.checkpoint.size();
                if self.unmet.as_ref().is_none_or(|(_, largest, _)| *largest <= size) {
                    self.unmet = Some((given.name.clone(), size, why.clone()));
                }
            }
        }
    }

    /// The failure of a policy that no checkpoint met. None if the policy was applied to no checkpoint, and
    /// something else has reported the reason (`is_reported`).
    fn failure(self, among: &str, is_reported: bool) -> Option<Failure> {
        if !self.goes_on() {
            return None;
        }
        let detail = match self.unmet {
            Some((name, _, why)) => {
                format!("{name}: it does not meet the policy, and no other checkpoint does: {why}")
            }
            None if is_reported => return None,
            None => format!("the policy: {among} has a valid signature by a trusted key"),
        };
        let affected = "the events that it would vouch for".to_owned();
        Some(Failure { check: Check::CheckpointSignature, seq: None, detail, affected })
    }
}

/// Judges every given checkpoint. For one with an unknown signer, `changes` serves to find the event that
/// names its key.
pub(super) fn judge(
    given: &[Given],
    trust: &Trust,
    policy: Option<&Policy>,
    log: &Walked<'_>,
    changes: &[(Seq, KeyChanged)],
) -> Anchor {
    let mut anchor = Anchor { checkpoints_given: given.len() as u64, ..Anchor::nothing_asked() };
    // Checkpoints with good signatures, by origin and size, to find split views. These do not depend on the
    // log: a checkpoint is listed before it is compared.
    let mut signed: BTreeMap<(&str, u64), Vec<&Given>> = BTreeMap::new();
    let mut best: Option<(&Given, Vec<SignerFound>, Vec<WitnessFound>)> = None;
    let mut search = Search::new(policy);
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
        let witnesses = witnesses(policy, checkpoint);
        if let Err(Unmet::Bad(why)) = &witnesses {
            anchor.failures.push(failure(given, Check::CheckpointSignature, why.clone()));
            continue;
        }
        signed.entry((checkpoint.origin(), checkpoint.size())).or_default().push(given);
        match against(given, log) {
            Judged::Fails(failure) => anchor.failures.push(failure),
            Judged::Unknown => anchor.checkpoints_not_judged += 1,
            Judged::Fits => {
                anchor.checkpoints_fitting += 1;
                search.take(given, &witnesses);
                let size = checkpoint.size();
                // Every log begins with the log without events, so size 0 anchors nothing.
                if size > 0
                    && let Ok(witnesses) = witnesses
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
    if let Some((given, signers, witnesses)) = best {
        anchor.anchored_to = Some(given.checkpoint.size());
        anchor.checkpoint = Some(given.name.clone());
        anchor.keys = signers;
        anchor.witnesses = witnesses;
    }
    // If the policy was applied to no checkpoint, one of these is the reason, and is reported already.
    let is_reported = !anchor.failures.is_empty()
        || !anchor.not_checked.is_empty()
        || anchor.checkpoints_not_judged > 0
        || given.is_empty();
    anchor.failures.extend(search.failure("none of the given checkpoints", is_reported));
    anchor
}

/// Judges a checkpoint that a predecessor signed: it must fit the log, but anchors nothing.
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

/// The key that signed a checkpoint, found among the keys that the log itself names.
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
            "event {seq} ({}) names that key; if the operator of the log confirms {}, give this key as well: {key}",
            change.cause,
            shown(&key)
        ))
    })
}

/// Finds how far the log is signed by the checkpoints that it keeps itself. They anchor nothing, because
/// anyone who can write the file can delete them. A checkpoint that a trusted key signed must fit all the
/// same. They are judged one by one. The signature of one that fits is checked only if no larger one was
/// signed, or if the policy applies to stored checkpoints because none was given.
///
/// # Errors
/// If the table cannot be read as a whole. Nothing is taken from it then.
pub(super) fn judge_stored(
    connection: &Connection,
    trust: &Trust,
    policy: Option<&Policy>,
    log: &Walked<'_>,
    anchor: &mut Anchor,
) -> rusqlite::Result<()> {
    let (mut failures, mut signed_to) = (Vec::new(), None);
    let mut search = Search::new(policy.filter(|_| anchor.checkpoints_given == 0));
    stored::each_checkpoint(connection, |checkpoint| {
        let size = checkpoint.size();
        let name = format!("the checkpoint of {size} events in the log's file");
        let stored = Given { name, checkpoint };
        let standing = || trust.standing(&stored.checkpoint);
        match against(&stored, log) {
            Judged::Unknown => {}
            Judged::Fails(found) => failures.extend(match standing() {
                Standing::Trusted(_) => Some(found),
                Standing::Before(key) => Some(with_readings(found, key)),
                Standing::Wrong(_) | Standing::Unknown(_) => None,
            }),
            Judged::Fits => {
                let is_news = size > signed_to.unwrap_or(0);
                if (is_news || search.goes_on()) && matches!(standing(), Standing::Trusted(_)) {
                    search.take(&stored, &witnesses(policy, &stored.checkpoint));
                    signed_to = signed_to.max((size > 0).then_some(size));
                }
            }
        }
    })?;
    // Reached only if the whole table was read: until here nothing was added to `anchor`. The largest
    // checkpoint came first, and failures are reported from the smallest size on.
    failures.reverse();
    anchor.signed_to = signed_to;
    // A bad row, and keys of another log, are reported elsewhere and explain the unmet policy.
    let is_reported = !failures.is_empty() || log.first_bad.is_some() || trust.is_of_other_logs(log.origin);
    let among = "no checkpoint was given, and none in the log's file";
    anchor.failures.extend(search.failure(among, is_reported));
    anchor.failures.extend(failures);
    Ok(())
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
    // The tree ends before the first bad event, so it has no root of this size to compare with.
    if log.first_bad.is_some_and(|first_bad| first_bad <= size) {
        return Judged::Unknown;
    }
    // The origin is not known if a newer version wrote the first event. The root still tells this log from
    // others.
    if let Some(origin) = log.origin.filter(|origin| *origin != checkpoint.origin()) {
        let detail =
            format!("it is a checkpoint of the log `{}`, but this log is `{origin}`", checkpoint.origin());
        return Judged::Fails(failure(given, Check::CheckpointOrigin, detail));
    }
    if size > log.events {
        let detail = format!(
            "it covers {size} events, but the log has only {}: the log was cut off, or set back to an older copy",
            log.events
        );
        return Judged::Fails(failure(given, Check::CheckpointSize, detail));
    }
    match log.tree.root_at(size) {
        None => Judged::Unknown,
        Some(root) if root == *checkpoint.root() => Judged::Fits,
        Some(_) => {
            let detail = format!(
                "the first {size} events are not those that it covers: the log was rewritten, or replaced by another log"
            );
            Judged::Fails(failure(given, Check::CheckpointRoot, detail))
        }
    }
}

/// Reports two well-signed checkpoints of one size with different roots: the signer showed different logs to
/// different people.
fn split_view(size: u64, given: &[&Given], anchor: &mut Anchor) {
    let Some((first, others)) = given.split_first() else { return };
    let other = others.iter().find(|other| other.checkpoint.root() != first.checkpoint.root());
    let Some(other) = other else { return };
    let detail = format!(
        "split view: {} and {} have valid signatures and cover the same {size} events, but have different roots: the key signed for two different logs",
        first.name, other.name
    );
    anchor.failures.push(failure(other, Check::SplitView, detail));
    anchor.split_views.push(SplitView { size, checkpoints: [first.name.clone(), other.name.clone()] });
}

fn failure(given: &Given, check: Check, detail: String) -> Failure {
    let affected = match check {
        Check::CheckpointSignature => "the events that it would vouch for".to_owned(),
        _ => "every event of the log".to_owned(),
    };
    Failure { check, seq: None, detail: format!("{}: {detail}", given.name), affected }
}
