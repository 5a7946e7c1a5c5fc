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

/// The items of a list that a report has, and the number of the others.
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
    /// Its own name.
    pub origin: Option<String>,
    /// Events that are there.
    pub events: u64,
    /// The last link: who keeps it elsewhere can tell later whether the log still begins the same.
    pub head: Option<Digest>,
    /// When the first event was recorded.
    pub first_recorded_at: Option<Timestamp>,
    /// When the last event was recorded.
    pub last_recorded_at: Option<Timestamp>,
}

/// Whether one projection's tables were held against the log.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct TablesChecked {
    /// The projection.
    pub projection: String,
    /// The last event that its tables hold.
    pub position: Seq,
    /// Events that they do not hold yet.
    pub lag: u64,
    /// Why they were not checked, or not all of them, though that was asked for.
    pub not_checked: Option<String>,
    /// Why the caller wanted them left out.
    pub left_out: Option<String>,
    /// Why the projection stopped, if it did.
    pub stopped: Option<String>,
    /// Rows that were compared.
    pub rows: u64,
}

impl TablesChecked {
    /// The reason why nobody held all of them against the log.
    pub fn why_not(&self) -> Option<&str> {
        self.not_checked.as_deref().or(self.left_out.as_deref())
    }
}

/// The sum of all verdicts. Each is worse than the one before.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// All that was asked for was checked, and nothing is wrong.
    Good,
    /// Nothing is wrong in what was checked, and something that was asked for was not.
    NotAllChecked,
    /// Something is wrong.
    #[default]
    Wrong,
}

/// A payload that was erased.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Redaction {
    /// The event that records it.
    pub licence: Seq,
    /// Who erased. Of this and the next two fields the first 1,000 characters.
    pub actor: String,
    /// Why.
    pub reason: String,
    /// What gave them the right.
    pub authority: Option<String>,
    /// The events whose payloads are gone.
    pub seqs: Vec<u64>,
}

/// Times of recording that run backwards: reported, not repaired.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct BackwardSteps {
    /// How many.
    pub count: u64,
    /// The first event that was recorded before the one before it.
    pub first: Option<Seq>,
}

/// What keeps a record from being whole though nothing in it was changed.
#[derive(Clone, Debug, Default, Serialize)]
#[non_exhaustive]
pub struct Completeness {
    /// Whether nothing below was found.
    pub complete: bool,
    /// Events that the log says were refused while it could not be written, and that are not in it.
    pub events_lost: u64,
    /// Sessions that started and never ended.
    pub sessions_open: u64,
    /// Events that projections go on without.
    pub skips: u64,
    /// Projections that are behind, stopped, or were not checked.
    pub projections_behind: Vec<String>,
}

/// What a verification since a checkpoint rests on, and what it left out.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct Since {
    /// What the checkpoint is called.
    pub checkpoint: String,
    /// Events that it covers, and that were not walked along.
    pub size: u64,
    /// Rows of the log that were read all the same.
    pub rows_read: u64,
    /// What was not looked at.
    pub not_looked_at: Vec<&'static str>,
}

/// What a verification saw of a log that it found good.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Record {
    /// 1.
    pub version: u8,
    /// Where the log was.
    pub path: String,
    /// Its own name.
    pub origin: String,
    /// Its id.
    pub log_id: String,
    /// Its events.
    pub size: u64,
    /// The root of their tree, in base64.
    pub root: String,
    /// When it was verified.
    pub verified_at: String,
}

/// What was remembered, and what came of it.
#[derive(Clone, Debug, Default, Serialize)]
#[non_exhaustive]
pub struct Remembered {
    /// The record of an earlier verification. The log still begins so where nothing below says otherwise.
    pub before: Option<Record>,
    /// How the log contradicts that.
    pub failures: Vec<Failure>,
    /// Why the log could not be held against all of that. Nothing is known of it then, good or bad.
    pub not_compared: Option<String>,
    /// Whether what this verification saw is remembered now.
    pub is_kept: bool,
    /// What cannot be read or written, so that nothing, or not everything, is remembered.
    pub warning: Option<String>,
}

/// The verdicts of a verification, and what they rest on.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct Report {
    /// The log.
    pub log: LogFacts,
    /// The sum of what follows.
    pub outcome: Outcome,
    /// Whether every byte of every row follows from the one before, and the read tables equal the
    /// fold. It is not so where a part of it was not checked, unless the caller left that out.
    pub self_consistent: bool,
    /// What is wrong; the first failure of the log comes first.
    pub failures: Vec<Failure>,
    /// Parts that were asked for and could not be checked.
    pub not_checked: Vec<NotChecked>,
    /// Whether something outside the file vouches for it.
    pub anchored: Anchor,
    /// What the file says of its own tree, checkpoints and anchors: how many events nobody outside vouches
    /// for yet, by the operator's account. It is no evidence.
    pub evidence: Status,
    /// Whether something is missing that nobody removed.
    pub completeness: Completeness,
    /// The read tables.
    pub tables: Vec<TablesChecked>,
    /// Erased payloads; the first of them where there are very many.
    pub redactions: Vec<Redaction>,
    /// Licences to erase that are not among them.
    pub redactions_left_out: u64,
    /// Times of recording that run backwards.
    pub backward_steps: BackwardSteps,
    /// Objects in the schema that are not ours: views, indexes and tables of the user's own; the first of them
    /// where there are very many.
    pub foreign_objects: Vec<String>,
    /// Such objects that are not among them.
    pub foreign_objects_left_out: u64,
    /// Where the verification began, if that was not the first event.
    pub since: Option<Since>,
    /// What earlier verifications saw, if they were asked.
    pub remembered: Option<Remembered>,
}

impl Report {
    /// Whether all that was asked for was checked and nothing is wrong: in the file itself, by what was
    /// kept outside it, or by what was seen before.
    pub fn is_good(&self) -> bool {
        self.outcome == Outcome::Good
    }

    /// Sums up the verdicts, now that all of them are there.
    pub(super) fn concluded(mut self) -> Report {
        let remembered = self.remembered.as_ref().map_or(&[][..], |remembered| &remembered.failures);
        let failures = [&self.failures, &self.anchored.failures, remembered];
        self.outcome = match failures.iter().all(|failures| failures.is_empty()) {
            false => Outcome::Wrong,
            true if self.not_checked.is_empty() => Outcome::Good,
            true => Outcome::NotAllChecked,
        };
        self
    }

    /// Of a file that is damaged so that nothing in it can be read.
    pub(super) fn unreadable(path: &Path, checkpoints: u64, error: &rusqlite::Error) -> Report {
        Report::damaged(path, checkpoints, Failure::of_the_file(format!("the file cannot be read: {error}")))
    }

    /// Of a file of which nothing is judged.
    pub(super) fn damaged(path: &Path, checkpoints: u64, failure: Failure) -> Report {
        let anchored = Anchor::not_judged(checkpoints);
        Report { failures: vec![failure], anchored, ..Report::empty(path) }
    }

    /// Of a log of which nothing is known.
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
