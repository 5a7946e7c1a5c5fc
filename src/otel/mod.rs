//! OpenTelemetry: what a span or a log record that was recorded as it came means in Annals' own events.
//!
//! ```text
//! otel.span ─ read ─▶ what its attributes say, ─▶ session.started, step.started, step.ended,
//! otel.log    OTLP's   by the table of             session.ended, decision.made, finding.raised,
//!             JSON     conventions                  note.logged, each with a claim
//! ```
//!
//! The log keeps what was received. The folds fold what it means, at the event's place: a better reading
//! is a new version of the projections, and a rebuild. `docs/opentelemetry.md` says what goes where.
//!
//! Spans come in any order, children before their parents and the root last, and several of them speak of
//! one row: of their session all of them do. So that the rows do not depend on the order, what is said
//! comes with a [`Claim`], and of each column the strongest claim stands.

mod conventions;
mod decisions;
mod findings;
mod log_record;
mod messages;
mod node;
mod record;
mod said;
mod session;
mod span;

#[cfg(feature = "server")]
pub(crate) use node::{write_float, write_text};

use std::borrow::Cow;

use crate::event::{Content, Event, Recorded, Timestamp};

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

/// What an event means.
// Nearly all are of the large kind; a box would cost every event.
#[allow(clippy::large_enum_variant)]
#[derive(Clone, Debug, PartialEq)]
pub enum Meanings<'e> {
    /// Nothing that anybody can say: it was redacted, or is of a kind that is not known.
    Nothing,
    /// Itself.
    Itself(Meaning<'e>),
    /// Other events, what it is about first.
    Others(Vec<Meaning<'e>>),
}

impl<'e> Meanings<'e> {
    /// What an event means: a span or log record of OpenTelemetry other events, where it can be read as
    /// one, every other event itself.
    pub fn of(recorded: &'e Recorded) -> Meanings<'e> {
        let Content::Event(event) = &recorded.content else { return Meanings::Nothing };
        let others = match event {
            Event::OtelSpan(span) => span::meanings(span),
            Event::OtelLog(log) => {
                log_record::meanings(log, recorded.session.is_some(), recorded.occurred_at)
            }
            _ => Vec::new(),
        };
        if !others.is_empty() {
            return Meanings::Others(others);
        }
        Meanings::Itself(Meaning { claim: None, at: recorded.occurred_at, event: Cow::Borrowed(event) })
    }

    /// All of them.
    pub fn all(&self) -> &[Meaning<'e>] {
        match self {
            Meanings::Nothing => &[],
            Meanings::Itself(meaning) => std::slice::from_ref(meaning),
            Meanings::Others(meanings) => meanings,
        }
    }
}

/// The first 64 bits of an id of hexadecimal digits: who speaks.
fn speaker(id: &str) -> u64 {
    id.get(..16)
        .and_then(|digits| u64::from_str_radix(digits, 16).ok())
        .unwrap_or_else(|| fingerprint(id.as_bytes()))
}

/// 64 bits that stand for some content.
fn fingerprint(content: &[u8]) -> u64 {
    let [a, b, c, d, e, f, g, h, ..] = *blake3::hash(content).as_bytes();
    u64::from_be_bytes([a, b, c, d, e, f, g, h])
}

#[cfg(test)]
mod tests;
