//! The results of the runs, put together in the order of the log.

use std::collections::{BTreeMap, BTreeSet};

use rusqlite::Connection;

use super::licence::{self, LicenceProblem};
use super::own::Own;
use super::run::Checked;
use super::walked::{Start, Walk};
use crate::event::Seq;
use crate::merkle::RangeError;
use crate::verify::error::VerifyError;
use crate::verify::report::{Check, Failure, Redaction, RowSeq};
use crate::verify::row::{Before, Fault};
use crate::verify::structure::Fingerprint;

/// The end of the reading.
pub(super) enum ReadTo {
    End,
    /// The file is damaged after this row.
    Damage {
        after: i64,
        error: String,
    },
}

/// Puts together the results of runs, in whatever order they come.
pub(super) struct Merge {
    /// Runs that wait for an earlier one, by their index.
    early: BTreeMap<u64, Checked>,
    next: u64,
    walk: Walk,
    last: Before,
    first_bad: Option<Fault>,
    /// The seqs of NULL payloads for which no licence was found yet.
    unlicensed: BTreeSet<i64>,
    /// Licences before the first bad row, in order. That row's own is among them if the row failed only
    /// `link`.
    licences: Vec<(i64, Vec<u64>)>,
    /// All other licences.
    later_licences: Vec<(i64, Vec<u64>)>,
    /// The fingerprint that the index on the event ids must have.
    pub(super) pairs: Fingerprint,
}

impl Merge {
    pub(super) fn new(start: Start) -> Merge {
        Merge {
            early: BTreeMap::new(),
            next: 0,
            last: start.before(),
            walk: start.into_walk(),
            first_bad: None,
            unlicensed: BTreeSet::new(),
            licences: Vec::new(),
            later_licences: Vec::new(),
            pairs: Fingerprint::default(),
        }
    }

    /// The number of runs that were put together.
    pub(super) const fn runs(&self) -> u64 {
        self.next
    }

    /// Returns whether every row so far is good. Redactions are judged only at the end.
    pub(super) const fn is_good(&self) -> bool {
        self.first_bad.is_none()
    }

    /// Takes a run by its index among all runs.
    pub(super) fn take(&mut self, index: u64, checked: Checked) -> Result<(), RangeError> {
        self.early.insert(index, checked);
        // Only the next run in order is added, with all that were waiting for it. `add` relies on this order.
        while let Some(checked) = self.early.remove(&self.next) {
            self.next += 1;
            self.add(checked)?;
        }
        Ok(())
    }

    fn add(&mut self, checked: Checked) -> Result<(), RangeError> {
        self.walk.events += checked.rows;
        self.walk.rows_read += checked.rows;
        self.last = checked.last;
        // After the first bad row, rows are counted, and searched for licences that may excuse a NULL payload
        // before it.
        if self.first_bad.is_some() {
            self.later_licences.extend(checked.licences);
            self.later_licences.extend(checked.later_licences);
            return Ok(());
        }
        if let (Some(tree), Some(leaves)) = (&mut self.walk.tree, checked.leaves) {
            tree.append(leaves)?;
        }
        self.pairs.add(checked.pairs);
        let steps = &mut self.walk.backward_steps;
        // A step between two runs, which neither of them has seen.
        if let (Some(last), Some((seq, first))) = (self.walk.last_recorded_at, checked.first)
            && first < last
        {
            steps.count += 1;
            steps.first.get_or_insert(seq);
        }
        steps.count += checked.backward_steps.count;
        steps.first = steps.first.or(checked.backward_steps.first);
        // Only the run with event 1 has the log's id.
        if let (Some(log_id), Some((_, recorded_at))) = (checked.log_id, checked.first) {
            self.walk.log_id = Some(log_id);
            self.walk.first_recorded_at = Some(recorded_at);
        }
        self.walk.last_recorded_at = checked.last_recorded_at.or(self.walk.last_recorded_at);
        self.unlicensed.extend(checked.redacted);
        self.licences.extend(checked.licences);
        self.later_licences.extend(checked.later_licences);
        for (seq, own) in checked.own {
            self.add_own(Seq::from_sql(seq), own);
        }
        self.first_bad = checked.first_bad;
        Ok(())
    }

    fn add_own(&mut self, seq: Seq, own: Own) {
        match own {
            Own::Created { origin } => self.walk.origin = Some(origin),
            Own::Lost(lost) => self.walk.lost.add(lost),
            Own::Skipped { projection, version, seq } => {
                self.walk.skips.insert((projection, version, seq));
            }
            Own::Redacted(redacted) => self.walk.redactions.push(Redaction {
                licence: seq,
                actor: redacted.actor,
                reason: redacted.reason,
                authority: redacted.authority,
                seqs: redacted.seqs,
            }),
            Own::KeyChanged(changed) => self.walk.key_changes.push((seq, changed)),
            Own::ApiKey => {
                self.walk.api_keys.insert(seq.get());
            }
        }
    }

    /// Takes a licence into account. Returns its problem, if it has one.
    fn license(
        &mut self,
        connection: &Connection,
        licence: i64,
        seqs: Vec<u64>,
    ) -> Result<Option<String>, VerifyError> {
        let problem = match licence::problem(connection, licence, &seqs)? {
            // An invalid licence excuses no NULL payload.
            LicenceProblem::Invalid(problem) => return Ok(Some(problem)),
            LicenceProblem::StillThere(problem) => Some(problem),
            LicenceProblem::None => None,
        };
        for seq in seqs {
            self.unlicensed.remove(&i64::try_from(seq).unwrap_or(i64::MAX));
        }
        Ok(problem)
    }

    /// Judges the redactions, and names the first bad row.
    pub(super) fn finish(mut self, connection: &Connection, read: ReadTo) -> Result<Walk, VerifyError> {
        let mut bad_licence = None;
        // In the order of the log, so the first problem is that of the first bad licence.
        for (licence, seqs) in std::mem::take(&mut self.licences) {
            let problem = self.license(connection, licence, seqs)?;
            bad_licence =
                bad_licence.or(problem.map(|detail| Fault { seq: licence, check: Check::Redaction, detail }));
        }
        // These only excuse NULL payloads. A problem of theirs is no failure.
        for (licence, seqs) in std::mem::take(&mut self.later_licences) {
            self.license(connection, licence, seqs)?;
        }
        // The rows in `licences` stand before the first bad row, or are that row if it failed only `link`,
        // which comes after `redaction`. So a bad licence among them comes first.
        let mut first_bad = bad_licence.or(self.first_bad.take());
        // NULL payloads are not judged if the file could not be read to its end, because a licence may be in
        // the rest. If the two seqs are equal, the row failed `link`, and `redaction` comes before that.
        if let (Some(&seq), ReadTo::End) = (self.unlicensed.first(), &read)
            && first_bad.as_ref().is_none_or(|fault| seq <= fault.seq)
        {
            let detail = "the payload is missing, but no event records its redaction".to_owned();
            first_bad = Some(Fault { seq, check: Check::Redaction, detail });
        }
        // The redactions may have made an earlier row the first bad one. Changes of keys from there on do not
        // count.
        if let Some(fault) = &first_bad {
            self.walk.key_changes.retain(|(seq, _)| seq.to_sql() < fault.seq);
        }
        self.walk.failure = first_bad.map(|fault| Failure {
            check: fault.check,
            seq: Some(RowSeq::of_row(fault.seq)),
            affected: format!("event {}; the events after it were not checked", fault.seq),
            detail: fault.detail,
        });
        if self.walk.failure.is_none() {
            self.walk.failure = match read {
                ReadTo::End if self.walk.events == 0 => Some(Failure {
                    check: Check::Sequence,
                    seq: Some(Seq::FIRST.into()),
                    detail: "the log has no events, not even the first, which records its creation"
                        .to_owned(),
                    affected: "the whole log".to_owned(),
                }),
                ReadTo::End => None,
                ReadTo::Damage { after, error } => Some(Failure {
                    check: Check::Damage,
                    seq: None,
                    detail: format!("the file cannot be read after event {after}: {error}"),
                    affected: format!("every event after {after}"),
                }),
            };
        }
        self.walk.head = self.last.hash;
        Ok(self.walk)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{Digest, Timestamp};
    use crate::verify::structure::Pairs;
    use crate::verify::walk::run::With;

    /// A run of two events after so many others, recorded at these times.
    fn run(after: i64, first: i64, last: i64) -> Checked {
        let before = Before { seq: after, hash: Some(Digest::ZERO) };
        let with = With { wanted: None, pairs: Pairs::new() };
        Checked {
            rows: 2,
            first: Some((Seq::from_sql(after + 1), Timestamp::from_micros(first))),
            last_recorded_at: Some(Timestamp::from_micros(last)),
            ..Checked::after(before, &with)
        }
    }

    #[test]
    fn a_step_backwards_between_two_runs_is_named_by_its_event() {
        let mut merge = Merge::new(Start::first(None));
        // The runs do not come in their order.
        for (index, checked) in [(2, run(4, 13, 14)), (0, run(0, 10, 20)), (1, run(2, 11, 12))] {
            merge.take(index, checked).unwrap();
        }
        let steps = merge.walk.backward_steps;
        assert_eq!((steps.count, steps.first), (1, Some(Seq::new(3))));
    }
}
