//! Claims on the columns of a row, and their strength.

use std::borrow::Cow;

use crate::event::{Event, StepId, Timestamp};

/// How strongly something is said: of what several events say of one column, the greatest claim stands.
///
/// Events other than spans and log records claim nothing. What they say stands against every claim.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Claim {
    /// Who speaks.
    pub rank: Rank,
    /// Between those of one rank: a time, or a place.
    pub order: i64,
    /// Who it is, so that no two claims are equal but those of one speaker.
    pub speaker: u64,
}

/// Who speaks of a row, the weakest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Rank {
    /// A log record, of one message of several.
    Message,
    /// A log record.
    Log,
    /// A span, of what it is a part of.
    Span,
    /// A span that is the run of an agent, of its session.
    Run,
    /// A span whose parent is in another process, of its session.
    Entry,
    /// The root, of its session; a span, of its own step.
    Root,
}

impl Rank {
    /// Every rank, the weakest first.
    pub const ALL: [Rank; 6] = [Rank::Message, Rank::Log, Rank::Span, Rank::Run, Rank::Entry, Rank::Root];

    /// Whether who speaks starts and ends the session, not only knows something of it.
    pub fn is_whole_session(self) -> bool {
        self >= Rank::Entry
    }
}

/// One thing that an event means.
#[derive(Clone, Debug, PartialEq)]
pub struct Meaning<'e> {
    /// How strongly it is said; None is beyond every claim.
    pub claim: Option<Claim>,
    /// When it happened.
    pub at: Option<Timestamp>,
    /// What it says.
    pub event: Cow<'e, Event>,
}

/// The first 64 bits of an id of hexadecimal digits: who speaks.
pub(super) fn speaker(id: &str) -> u64 {
    id.get(..16)
        .and_then(|digits| u64::from_str_radix(digits, 16).ok())
        .unwrap_or_else(|| fingerprint(id.as_bytes()))
}

/// 64 bits that stand for some content.
pub(super) fn fingerprint(content: &[u8]) -> u64 {
    let [a, b, c, d, e, f, g, h, ..] = *blake3::hash(content).as_bytes();
    u64::from_be_bytes([a, b, c, d, e, f, g, h])
}

/// An id within the session, of what belongs to a step, or to none.
pub(super) fn own_id(step: Option<&StepId>, rest: &str) -> String {
    match step {
        Some(step) => format!("{step}:{rest}"),
        None => rest.to_owned(),
    }
}
