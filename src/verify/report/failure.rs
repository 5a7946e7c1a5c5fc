//! Failures and the rows that they name, and parts that could not be checked.

use std::fmt;

use serde::Serialize;

use crate::event::Seq;
use crate::text::beginning;

/// A check of a row, a table, the file or a checkpoint. docs/format.md has the checks of the log.
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
    /// The first event, and no other, records that the log was created.
    FirstEvent,
    /// The payload is the one that was recorded.
    PayloadDigest,
    /// The payload is well formed.
    Payload,
    /// The link follows from the link before it and the entry.
    Link,
    /// A payload is missing exactly if a licence names its event.
    Redaction,
    /// The list of skipped events is that of the log.
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
    /// The checkpoint that was given is one of this log.
    CheckpointOrigin,
    /// The log has all the events that the checkpoint covers.
    CheckpointSize,
    /// The first events of the log are those that the checkpoint covers.
    CheckpointRoot,
    /// No other well-signed checkpoint of its size has another root.
    SplitView,
    /// The certificate that a trusted key signed when it was replaced is right.
    KeyChange,
    /// The log has all the events that were seen before.
    RememberedSize,
    /// The first events of the log are those that were seen before.
    RememberedRoot,
    /// The log is the one that was seen before.
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
    /// Takes the number as the database has it.
    pub(in crate::verify) const fn of_row(number: i64) -> RowSeq {
        RowSeq(number)
    }

    /// The number, as it stands in the file.
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

/// A check that failed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Failure {
    /// The check.
    pub check: Check,
    /// The event, if the failure is that of one event.
    pub seq: Option<RowSeq>,
    /// The problem, in words.
    pub detail: String,
    /// The part that cannot be relied on because of it.
    pub affected: String,
}

/// A part that was asked for and could not be checked. Nothing is known of it, good or bad.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct NotChecked {
    /// The part, in words.
    pub what: String,
    /// The reason, and often a remedy.
    pub why: String,
}

impl Failure {
    /// The failure of a file that is so damaged that nothing of the log can be relied on.
    pub(in crate::verify) fn of_the_file(detail: String) -> Failure {
        Failure { check: Check::Damage, seq: None, detail, affected: "the whole log".to_owned() }
    }
}

/// Most characters of one text from the log that a report has.
const SHOWN_CHARS: usize = 1_000;

/// Returns at most [`SHOWN_CHARS`] characters of a text that a file can make as long as it likes.
pub(in crate::verify) fn shortened(text: String) -> String {
    match beginning(&text, SHOWN_CHARS) {
        // Copied, and not cut in place: a text that is cut in place keeps the memory of the whole one.
        Some(begin) => format!("{begin}…"),
        None => text,
    }
}
