//! The precedence of values in the columns of a row.

use std::borrow::Cow;

use crate::event::{Event, StepId, Timestamp};

/// The precedence of a value: if several events set one column, the greatest precedence stands. They compare by
/// rank, then by order, then by speaker.
///
/// Events that are not spans or log records have no precedence. Their values stand whatever others say.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub struct Precedence {
    /// Rank of the source.
    pub rank: Rank,
    /// Order among sources of one rank: a time, or an index.
    pub order: i64,
    /// Number of the source, so that precedences of different sources are never equal.
    pub speaker: u64,
}

/// The rank of a source of values, the weakest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
// The number is stored in the column `claims`, and read back as an index in `ALL`.
#[repr(u8)]
pub enum Rank {
    /// A log record with one of several messages.
    Message,
    /// A log record.
    Log,
    /// A span, for a row that it is a part of.
    Span,
    /// A span that is the run of an agent or workflow, and a log record that reports the start of an agent's
    /// session, for the session.
    Run,
    /// A span whose parent is in another process, for its session.
    Entry,
    /// The root span, for its session; any span, and a log record that reports a call as a whole, for its own
    /// step.
    Root,
}

impl Rank {
    /// Every rank, the weakest first, each at the index of its number.
    pub const ALL: [Rank; 6] = [Rank::Message, Rank::Log, Rank::Span, Rank::Run, Rank::Entry, Rank::Root];

    /// Returns true if the source starts and ends the session. Other sources only add to it.
    pub fn is_whole_session(self) -> bool {
        self >= Rank::Entry
    }
}

/// One of the events that a recorded event means.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Meaning<'e> {
    /// Precedence of its values. With `None` the values stand whatever others say.
    pub precedence: Option<Precedence>,
    /// Time at which it happened.
    pub at: Option<Timestamp>,
    /// The event that is meant.
    pub event: Cow<'e, Event>,
}

/// The number of a source: the first 64 bits of an id of hexadecimal digits, or else a fingerprint of the id.
pub(super) fn speaker(id: &str) -> u64 {
    id.get(..16)
        .and_then(|digits| u64::from_str_radix(digits, 16).ok())
        .unwrap_or_else(|| fingerprint(id.as_bytes()))
}

/// A hash of some content, cut to 64 bits.
pub(super) fn fingerprint(content: &[u8]) -> u64 {
    let [a, b, c, d, e, f, g, h, ..] = *blake3::hash(content).as_bytes();
    u64::from_be_bytes([a, b, c, d, e, f, g, h])
}

/// An id, unique within the session, for something that belongs to a step, or to none.
pub(super) fn own_id(step: Option<&StepId>, rest: &str) -> String {
    match step {
        Some(step) => format!("{step}:{rest}"),
        None => rest.to_owned(),
    }
}
