//! The report of a verification.

mod failure;
mod anchor;

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

pub use anchor::{Anchor, KeyChangeSeen, PredecessorFound, SignerFound, SplitView, WitnessFound};
pub(super) use failure::shortened;
pub use failure::{Check, Failure, NotChecked, RowSeq};

use crate::event::{Digest, EventId, Seq, Timestamp};
use crate::evidence::Status;
use crate::query::CoverageGap;

/// The first `max` items of a list, for a report, and the number of the others.
pub(super) fn listed<T>(mut items: Vec<T>, max: usize) -> (Vec<T>, u64) {
    let left_out = items.len().saturating_sub(max) as u64;
    items.truncate(max);
    (items, left_out)
}

/// The log as it was found.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct LogFacts {
    /// The file.
    pub path: PathBuf,
    /// The log's id, if its first event can be read.
    pub log_id: Option<EventId>,
    /// The log's own name.
    pub origin: Option<String>,
    /// The number of events that are there.
    pub events: u64,
    /// The last link. A copy of it that is kept elsewhere shows later whether the log still begins with the
    /// same events.
    pub head: Option<Digest>,
    /// The time at which the first event was recorded.
    pub first_recorded_at: Option<Timestamp>,
    /// The time at which the last event was recorded.
    pub last_recorded_at: Option<Timestamp>,
}

/// The result of comparing the tables of one projection with the log.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct TablesChecked {
    /// The name of the projection.
    pub projection: String,
    /// The last event that its tables hold.
    pub position: Seq,
    /// The number of events that they do not hold yet.
    pub lag: u64,
    /// The reason why not all of them were checked, though that was asked for.
    pub not_checked: Option<String>,
    /// The reason why they were left out on purpose, or need not be there.
    pub left_out: Option<String>,
    /// The failing event and its error, if the projection stopped.
    pub stopped: Option<String>,
    /// The number of rows that were compared.
    pub rows: u64,
}

impl TablesChecked {
    /// The reason why not all of them were compared with the log.
    pub fn why_not(&self) -> Option<&str> {
        self.not_checked.as_deref().or(self.left_out.as_deref())
    }
}

/// The sum of all verdicts. Each value is worse than the one before.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// All that was asked for was checked, and nothing is wrong.
    Good,
    /// Nothing is wrong in what was checked, but a part that was asked for was not checked.
    NotAllChecked,
    /// Something is wrong.
    #[default]
    Wrong,
}

/// An event that erased payloads.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Redaction {
    /// The event that records it.
    pub licence: Seq,
    /// The person or program that erased. Cut to the first 1,000 characters, as are the next two fields.
    pub actor: String,
    /// The reason for the erasure.
    pub reason: String,
    /// The authority by which they erased.
    pub authority: Option<String>,
    /// The events whose payloads are gone.
    pub seqs: Vec<u64>,
}

/// Times of recording that run backwards: reported, not repaired.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct BackwardSteps {
    /// The number of such steps.
    pub count: u64,
    /// The first event with an earlier time than the event before it.
    pub first: Option<Seq>,
}

/// The gaps that a log can have although nothing in it was changed.
#[derive(Clone, Debug, Default, Serialize)]
#[non_exhaustive]
pub struct Completeness {
    /// True if none of the gaps below was found.
    pub complete: bool,
    /// The number of events that the log reports as refused while it could not be written, and that are not
    /// in it.
    pub events_lost: u64,
    /// The number of sessions that started and never ended.
    pub sessions_open: u64,
    /// The number of skips: events that a projection goes on without.
    pub skips: u64,
    /// Projections that are behind, stopped, or were not checked.
    pub projections_behind: Vec<String>,
    /// Events that a program announced with `coverage.declared` and that are not in the log, by session and kind: the
    /// first 100.
    pub coverage_gaps: Vec<CoverageGap>,
    /// The number of such gaps that are not listed.
    pub coverage_gaps_left_out: u64,
}

/// The basis of a verification since a checkpoint, and the parts that it left out.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct Since {
    /// The name of the checkpoint.
    pub checkpoint: String,
    /// The number of events that it covers, which were not walked.
    pub size: u64,
    /// The number of rows of the log that were read in all.
    pub rows_read: u64,
    /// The parts that were not looked at.
    pub not_looked_at: Vec<&'static str>,
}

/// The record that a verification keeps of a log that it found good.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Record {
    /// The version of the record: 1.
    pub version: u8,
    /// The path of the log.
    pub path: String,
    /// The log's own name.
    pub origin: String,
    /// The log's id.
    pub log_id: String,
    /// The number of its events.
    pub size: u64,
    /// The root of their tree, in base64.
    pub root: String,
    /// The time at which it was verified.
    pub verified_at: String,
}

/// The comparison with the records of earlier verifications.
#[derive(Clone, Debug, Default, Serialize)]
#[non_exhaustive]
pub struct Remembered {
    /// The record of an earlier verification. The log still begins with the events of this record, unless a
    /// field below contradicts it.
    pub before: Option<Record>,
    /// Contradictions between the log and the records.
    pub failures: Vec<Failure>,
    /// The reason why the log could not be compared with all records. Nothing is known of it then, good or
    /// bad.
    pub not_compared: Option<String>,
    /// True if this verification is now remembered.
    pub is_kept: bool,
    /// The problem because of which nothing, or not everything, is remembered.
    pub warning: Option<String>,
}

/// The verdicts of a verification, and what they rest on.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct Report {
    /// The log.
    pub log: LogFacts,
    /// The sum of the verdicts that follow.
    pub outcome: Outcome,
    /// True if every byte of every row follows from the row before, and the read tables equal the fold. False
    /// also if a part of this was not checked, unless the caller left that part out.
    pub self_consistent: bool,
    /// The failures of the file. The first failure of the log comes first.
    pub failures: Vec<Failure>,
    /// Parts that were asked for and could not be checked.
    pub not_checked: Vec<NotChecked>,
    /// The comparison with what was kept outside the file.
    pub anchored: Anchor,
    /// The file's own account of its tree, checkpoints and anchors, for operators. It includes the number of
    /// events that no anchor has a checkpoint of. It is not evidence.
    pub evidence: Status,
    /// The gaps of the log that do not come from a change of the file.
    pub completeness: Completeness,
    /// The read tables.
    pub tables: Vec<TablesChecked>,
    /// Erased payloads. If there are very many, only the first of them.
    pub redactions: Vec<Redaction>,
    /// The number of further redactions, which are not listed.
    pub redactions_left_out: u64,
    /// Times of recording that run backwards.
    pub backward_steps: BackwardSteps,
    /// Objects in the schema that Annals did not make: views, indexes and tables of the user's own. If there
    /// are very many, only the first of them.
    pub foreign_objects: Vec<String>,
    /// The number of further such objects, which are not listed.
    pub foreign_objects_left_out: u64,
    /// The start of the verification, if that was not the first event.
    pub since: Option<Since>,
    /// The comparison with earlier verifications, if that was asked for.
    pub remembered: Option<Remembered>,
}

impl Report {
    /// Returns whether everything that was asked for was checked and nothing is wrong: in the file itself, in
    /// comparison with what was kept outside it, and with what was seen before.
    pub fn is_good(&self) -> bool {
        self.outcome == Outcome::Good
    }

    /// Sums up the verdicts. To be called when all of them are there.
    pub(super) fn concluded(mut self) -> Report {
        let remembered = self.remembered.as_ref().map_or(&[][..], |remembered| &remembered.failures);
        let failures = [&self.failures, &self.anchored.failures, remembered];
        // A failure outweighs any number of parts that were not checked.
        self.outcome = match failures.iter().all(|failures| failures.is_empty()) {
            false => Outcome::Wrong,
            true if self.not_checked.is_empty() => Outcome::Good,
            true => Outcome::NotAllChecked,
        };
        self
    }

    /// The report of a file that is so damaged that nothing in it can be read.
    pub(super) fn unreadable(path: &Path, checkpoints: u64, error: &rusqlite::Error) -> Report {
        Report::damaged(path, checkpoints, Failure::of_the_file(format!("the file cannot be read: {error}")))
    }

    /// The report of a file of which nothing is judged, because of one failure.
    pub(super) fn damaged(path: &Path, checkpoints: u64, failure: Failure) -> Report {
        let anchored = Anchor::not_judged(checkpoints);
        Report { failures: vec![failure], anchored, ..Report::empty(path) }
    }

    /// The report of a log of which nothing is known.
    pub(super) fn empty(path: &Path) -> Report {
        Report {
            log: LogFacts {
                path: path.to_owned(),
                log_id: None,
                origin: None,
                events: 0,
                head: None,
                first_recorded_at: None,
                last_recorded_at: None,
            },
            outcome: Outcome::Wrong,
            self_consistent: false,
            failures: Vec::new(),
            not_checked: Vec::new(),
            anchored: Anchor::nothing_asked(),
            evidence: Status::default(),
            completeness: Completeness::default(),
            tables: Vec::new(),
            redactions: Vec::new(),
            redactions_left_out: 0,
            backward_steps: BackwardSteps::default(),
            foreign_objects: Vec::new(),
            foreign_objects_left_out: 0,
            since: None,
            remembered: None,
        }
    }
}
