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

// In reading order: each uses those before it.
mod claim;
mod conventions;
mod node;
mod record;
mod messages;
mod said;
mod failure;
mod reading;
mod decisions;
mod findings;
mod log_record;
mod session;
mod span;

#[cfg(test)]
mod tests;

pub use claim::{Claim, Meaning, Rank};
#[cfg(feature = "server")]
pub(crate) use node::{write_float, write_text};

use std::borrow::Cow;

use crate::event::{Content, Event, Recorded};

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
