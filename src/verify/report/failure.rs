//! Failures and their places, and what could not be checked.

use std::fmt;

use serde::Serialize;

use crate::event::Seq;
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
    /// The full-text index holds the words of the events.
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
    pub(in crate::verify) const fn of_row(number: i64) -> RowSeq {
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

/// Part of what was asked for that could not be checked: nothing is known of it, good or bad.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct NotChecked {
    /// The part.
    pub what: String,
    /// The reason, and the way out.
    pub why: String,
}

impl Failure {
    /// Damage of the file, because of which nothing of the log can be relied on.
    pub(in crate::verify) fn of_the_file(detail: String) -> Failure {
        Failure { check: Check::Damage, seq: None, detail, affected: "the whole log".to_owned() }
    }
}

/// Characters of a text of the log's that a report has.
const SHOWN_CHARS: usize = 1_000;

/// The beginning of a text that a file can make as long as it likes.
pub(in crate::verify) fn shortened(text: String) -> String {
    match beginning(&text, SHOWN_CHARS) {
        // Copied, not cut where it lies: what is kept there takes the room of the next long text.
        Some(begin) => format!("{begin}…"),
        None => text,
    }
}
