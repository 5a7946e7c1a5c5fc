//! A run of rows, checked one after the other.

use rusqlite::functions::Context;

use super::own::Own;
use crate::event::{Event, EventId, Seq, Timestamp};
use crate::merkle::leaf_hash_of;
use crate::verify::inside::Take;
use crate::verify::report::{BackwardSteps, Check};
use crate::verify::row::{self, Before, Fault, RowRef};
use crate::verify::structure::{Fingerprint, Pairs};
use crate::verify::tree::{Piece, Wanted};

/// Rows of a run: so many that the cost of beginning a run does not matter, and so few that the threads end
/// at about the same time and progress is seen.
pub(in crate::verify) const RUN_ROWS: u64 = 4_096;

/// The result of checking a run, in the order of its rows.
pub(super) struct Checked {
    pub(super) rows: u64,
    /// The seq and the link before the row that follows.
    pub(super) last: Before,
    pub(super) first_bad: Option<Fault>,
    /// Rows with a NULL payload, up to the first bad row. That row is among them if it failed only `link`.
    pub(super) redacted: Vec<i64>,
    /// Licences in rows that passed all checks before `redaction`.
    pub(super) licences: Vec<(i64, Vec<u64>)>,
    /// Licences from the first bad row on, whatever their seqs. They excuse NULL payloads as others do, but
    /// cause no failure.
    pub(super) later_licences: Vec<(i64, Vec<u64>)>,
    pub(super) own: Vec<(i64, Own)>,
    pub(super) log_id: Option<EventId>,
    pub(super) first: Option<(Seq, Timestamp)>,
    pub(super) last_recorded_at: Option<Timestamp>,
    pub(super) backward_steps: BackwardSteps,
    /// The leaves before the first bad row, if a tree is made of them.
    pub(super) leaves: Option<Piece>,
    /// The fingerprint that the index on the event ids must have for the rows before the first bad one.
    pub(super) pairs: Fingerprint,
}

/// The parameters of the check, which are the same for all runs.
#[derive(Clone)]
pub(super) struct With {
    /// The sizes at which roots are wanted, if a tree is made.
    pub(super) wanted: Option<Wanted>,
    pub(super) pairs: Pairs,
}

impl Checked {
    /// A run without rows, which begins after a row.
    pub(super) fn after(before: Before, with: &With) -> Checked {
        Checked {
            rows: 0,
            last: before,
            first_bad: None,
            redacted: Vec::new(),
            licences: Vec::new(),
            later_licences: Vec::new(),
            own: Vec::new(),
            log_id: None,
            first: None,
            last_recorded_at: None,
            backward_steps: BackwardSteps::default(),
            leaves: with.wanted.as_ref().map(|_| Piece::after(Seq::from_sql(before.seq).get())),
            pairs: Fingerprint::default(),
        }
    }

    /// Checks the next row.
    pub(super) fn push(&mut self, row: RowRef<'_>, with: &With) {
        self.rows += 1;
        let before = std::mem::replace(&mut self.last, Before::after(row));
        // After the first bad row nothing is judged. A later row counts only if it is a licence.
        if self.first_bad.is_some() {
            self.later_licences.extend(row::licence(row));
            return;
        }
        match row::check(before, row) {
            Ok(good) => self.add(before, row, good, with),
            Err(fault) => {
                // The check `redaction` comes before `link`, so a row that failed `link` still takes part in
                // it.
                if fault.check == Check::Link {
                    self.redacted.extend(row.payload.is_none().then_some(row.seq));
                    self.licences.extend(row::licence(row));
                } else {
                    self.later_licences.extend(row::licence(row));
                }
                self.first_bad = Some(fault);
            }
        }
    }

    fn add(&mut self, before: Before, row: RowRef<'_>, good: row::GoodRow, with: &With) {
        let entry = good.entry;
        // A row without a 32-byte link before it is never good, so no leaf is left out here.
        if let (Some(leaves), Some(wanted), Some(hash)) = (&mut self.leaves, &with.wanted, before.hash) {
            leaves.push(leaf_hash_of(&[hash.bytes(), row.entry]), wanted);
        }
        self.pairs.add(with.pairs.of(entry.event_id.bytes(), row.seq));
        if row.payload.is_none() {
            self.redacted.push(row.seq);
        }
        // Within this run only. The step from the run before is counted when the runs are put together.
        if self.last_recorded_at.is_some_and(|last| entry.recorded_at < last) {
            self.backward_steps.count += 1;
            self.backward_steps.first.get_or_insert(Seq::from_sql(row.seq));
        }
        self.last_recorded_at = Some(entry.recorded_at);
        self.first.get_or_insert((Seq::from_sql(row.seq), entry.recorded_at));
        if entry.seq == 1 {
            self.log_id = Some(entry.event_id);
        }
        if let Some(event) = good.own {
            if let Event::PayloadRedacted(redacted) = &*event {
                self.licences.push((row.seq, redacted.seqs.clone()));
            }
            self.own.extend(Own::of(*event).map(|own| (row.seq, own)));
        }
    }
}

/// A run of good rows, taken inside SQLite.
pub(super) struct Run {
    checked: Checked,
    with: With,
}

impl Run {
    /// A run without rows, which begins after a row.
    pub(super) fn after(before: Before, with: &With) -> Run {
        Run { checked: Checked::after(before, with), with: with.clone() }
    }

    pub(super) fn checked(self) -> Checked {
        self.checked
    }
}

impl Take for Run {
    /// Takes a row by the columns that [`RowRef::of`] names, up to the first bad one.
    #[inline]
    fn take(&mut self, row: &Context<'_>) -> rusqlite::Result<bool> {
        self.checked.push(RowRef::of(|column| Ok(row.get_raw(column)))?, &self.with);
        Ok(self.checked.first_bad.is_none())
    }
}
