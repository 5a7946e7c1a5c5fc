//! What a verification says.

use std::fmt;
use std::path::{Path, PathBuf};

use serde::Serialize;

use super::seen::Remembered;
use super::since::Since;
use super::trust::KeyChangeSeen;
use crate::event::{Digest, EventId, KeyRole, Seq, Timestamp};
use crate::evidence::Status;
use crate::text::beginning;

/// What a row, a table or the file is held against. docs/format.md has the checks of the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Check {
    /// The file can be read.
    Damage,
    /// The tables, indexes and triggers are those that Annals makes.
    Schema,
    /// Events follow each other without gaps.
    Sequence,
    /// The entry is well formed.
    Entry,
    /// The entry is that of its row.
    Identity,
    /// The format is known.
    Format,
    /// The first event says that the log was created, and no other does.
    FirstEvent,
    /// The payload is the one that was recorded.
    PayloadDigest,
    /// The payload is well formed.
    Payload,
    /// The link follows from the link before it and the entry.
    Link,
    /// A payload is missing with a licence, and only then.
    Redaction,
    /// What projections go on without is recorded.
    Skips,
    /// The list of events about API keys is that of the log.
    ApiKeys,
    /// A read table equals the fold of the log.
    ReadTable,
    /// The full-text index holds the words of the documents.
    SearchIndex,
    /// The hashes that the file keeps follow from the log.
    Tiles,
    /// The checkpoints that the file keeps fit the log.
    Checkpoints,
    /// A trusted key signed the checkpoint that was given.
    CheckpointSignature,
    /// It is one of this log.
    CheckpointOrigin,
    /// The log has all the events that it covers.
    CheckpointSize,
    /// They are the events that it covers.
    CheckpointRoot,
    /// No other checkpoint of its size, as well signed, has another root.
    SplitView,
    /// What a trusted key certified when it was replaced is so.
    KeyChange,
    /// The log has all the events that were seen before.
    RememberedSize,
    /// They are the events that were seen before.
    RememberedRoot,
    /// It is the log that was seen before.
    RememberedLog,
}

impl Check {
    /// The check's name, as in docs/format.md.
    pub const fn name(self) -> &'static str {
        match self {
            Check::Damage => "damage",
            Check::Schema => "schema",
            Check::Sequence => "sequence",
            Check::Entry => "entry",
            Check::Identity => "identity",
            Check::Format => "format",
            Check::FirstEvent => "first-event",
            Check::PayloadDigest => "payload-digest",
            Check::Payload => "payload",
            Check::Link => "link",
            Check::Redaction => "redaction",
            Check::Skips => "skips",
            Check::ApiKeys => "api-keys",
            Check::ReadTable => "read-table",
            Check::SearchIndex => "search-index",
            Check::Tiles => "tiles",
            Check::Checkpoints => "checkpoints",
            Check::CheckpointSignature => "checkpoint-signature",
            Check::CheckpointOrigin => "checkpoint-origin",
            Check::CheckpointSize => "checkpoint-size",
            Check::CheckpointRoot => "checkpoint-root",
            Check::SplitView => "split-view",
            Check::KeyChange => "key-change",
            Check::RememberedSize => "remembered-size",
            Check::RememberedRoot => "remembered-root",
            Check::RememberedLog => "remembered-log",
        }
    }
}

impl std::fmt::Display for Check {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.name())
    }
}

/// The seq of a row as it stands in the file: that of an event, or a number that no event has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct RowSeq(i64);

impl RowSeq {
    /// The number as the database has it.
    pub(super) const fn of_row(number: i64) -> RowSeq {
        RowSeq(number)
    }

    /// Its number.
    pub const fn get(self) -> i64 {
        self.0
    }
}

impl From<Seq> for RowSeq {
    fn from(seq: Seq) -> RowSeq {
        RowSeq(seq.to_sql())
    }
}

impl PartialEq<Seq> for RowSeq {
    fn eq(&self, other: &Seq) -> bool {
        *self == RowSeq::from(*other)
    }
}

impl fmt::Display for RowSeq {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Something that is not as it must be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Failure {
    /// What it was held against.
    pub check: Check,
    /// The event, where it is one.
    pub seq: Option<RowSeq>,
    /// What is wrong.
    pub detail: String,
    /// What cannot be relied on because of it.
    pub affected: String,
}

impl Failure {
    /// Damage of the file, because of which nothing of the log can be relied on.
    pub(super) fn of_the_file(detail: String) -> Failure {
        Failure { check: Check::Damage, seq: None, detail, affected: "the whole log".to_owned() }
    }
}

/// Characters of a text of the log's that a report has.
const SHOWN_CHARS: usize = 1_000;

/// The beginning of a text that a file can make as long as it likes.
pub(super) fn shortened(text: String) -> String {
    match beginning(&text, SHOWN_CHARS) {
        // Copied, not cut where it lies: what is kept there takes the room of the next long text.
        Some(begin) => format!("{begin}…"),
        None => text,
    }
}

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

/// Part of what was asked for that could not be checked: nothing is known of it, good or bad.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct NotChecked {
    /// The part.
    pub what: String,
    /// The reason, and the way out.
    pub why: String,
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

/// A key that signed a checkpoint.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct SignerFound {
    /// What the key is for.
    pub role: KeyRole,
    /// The key, as a vkey.
    pub vkey: String,
}

/// A witness that cosigned a checkpoint.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct WitnessFound {
    /// Its name within the policy.
    pub name: String,
    /// When, in seconds since 1970, by the witness's clock. 0 is no time.
    pub cosigned_at: u64,
}

/// Two checkpoints of one size, both well signed, with different roots.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct SplitView {
    /// The events that both cover.
    pub size: u64,
    /// What they are called.
    pub checkpoints: [String; 2],
}

/// A checkpoint that fits the log, signed by a key that a trusted one took over from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct PredecessorFound {
    /// What the checkpoint is called.
    pub checkpoint: String,
    /// Events that it covers.
    pub size: u64,
    /// What the key was for.
    pub role: KeyRole,
    /// The key, as a vkey.
    pub vkey: String,
    /// The event that retired it.
    pub retired: Seq,
}

/// Whether the log was held against something outside the file.
#[derive(Clone, Debug, Default, Serialize)]
#[non_exhaustive]
pub struct Anchor {
    /// Events that the largest checkpoint covers that fits the log and is signed as it should be.
    pub anchored_to: Option<u64>,
    /// What that means.
    pub note: &'static str,
    /// Events that the largest checkpoint covers that the file itself keeps, that a trusted key signed
    /// and that fits. It shows that they were not changed, and not that the log's end is there.
    pub signed_to: Option<u64>,
    /// What that checkpoint is called.
    pub checkpoint: Option<String>,
    /// The trusted keys that signed it.
    pub keys: Vec<SignerFound>,
    /// The witnesses of the policy that cosigned it.
    pub witnesses: Vec<WitnessFound>,
    /// When the last event that it covers was recorded.
    pub anchored_recorded_at: Option<Timestamp>,
    /// Events after it, for which nothing outside the file vouches.
    pub events_since: Option<u64>,
    /// From that event to the last one: how long nothing outside the file vouches for, in microseconds. None also
    /// where the clock was set back in between.
    pub micros_since: Option<i64>,
    /// Checkpoints that were given.
    pub checkpoints_given: u64,
    /// Those among them that are signed by a trusted key and fit the log.
    pub checkpoints_fitting: u64,
    /// Those that could not be judged, because the log is damaged before their end.
    pub checkpoints_not_judged: u64,
    /// Checkpoints that fit and that keys before the trusted ones signed: they show that the log still begins
    /// as it did then, and extend nothing.
    pub by_predecessors: Vec<PredecessorFound>,
    /// What could not be checked, because no key that was given says anything about it. The report lists it among
    /// all that was not.
    pub not_checked: Vec<NotChecked>,
    /// Checkpoints that contradict each other.
    pub split_views: Vec<SplitView>,
    /// Changes of the log's keys.
    pub key_changes: Vec<KeyChangeSeen>,
    /// How the log contradicts what was given.
    pub failures: Vec<Failure>,
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

impl Anchor {
    /// Nothing outside the file was asked.
    pub(super) fn nothing_asked() -> Anchor {
        Anchor {
            note: "nothing outside the file was asked: a log cut off at its end, or rewritten whole, cannot be told from this one",
            ..Anchor::default()
        }
    }

    /// Nothing of the log could be held against what was given.
    pub(super) fn not_judged(checkpoints: u64) -> Anchor {
        let nothing = Anchor::nothing_asked();
        let note = match checkpoints {
            0 => nothing.note,
            _ => "the log could not be read, so that the checkpoints given say nothing of it",
        };
        Anchor { checkpoints_given: checkpoints, checkpoints_not_judged: checkpoints, note, ..nothing }
    }

    /// Says what the verdict means, now that all is known that leads to it.
    pub(super) fn conclude(&mut self, events: u64, anchored: Option<Timestamp>, last: Option<Timestamp>) {
        let Some(size) = self.anchored_to else {
            if self.checkpoints_given > 0 {
                self.note = if self.checkpoints_not_judged == self.checkpoints_given {
                    "the log could not be read as far as the checkpoints given cover it"
                } else if self.by_predecessors.is_empty() {
                    "no checkpoint that was given vouches for this log"
                } else {
                    "the checkpoints given that fit are signed by keys that were replaced since, which vouch for nothing by themselves; give one that a present key signed"
                };
            }
            return;
        };
        self.events_since = Some(events.saturating_sub(size));
        self.anchored_recorded_at = anchored;
        self.micros_since =
            anchored.zip(last).and_then(|(anchored, last)| last.micros().checked_sub(anchored.micros()));
        // Where the clock was set back in between, the times do not say how long it took.
        self.micros_since = self.micros_since.filter(|micros| *micros >= 0);
        self.note = "the events that the checkpoint covers are those that were signed for; of those after it only the chain says that they belong here";
    }
}
