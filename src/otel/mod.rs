//! OpenTelemetry: the meaning of spans and log records, in Annals' own events.
//!
//! ```text
//! otel.span ─ read ─▶ its attributes, by the ─▶ session.started, step.started, step.ended,
//! otel.log    OTLP's  table of conventions      session.ended, decision.made, finding.raised,
//!             JSON                              note.logged, each with its precedence
//! ```
//!
//! The log keeps spans and log records as they were received. Their meaning is worked out each time that an
//! event is folded. So a better reading needs only a new version of the projections and a rebuild.
//! `docs/opentelemetry.md` has the tables.
//!
//! Spans arrive in any order: children before their parents, the root last. Several spans set columns of one
//! row, and all spans of a trace set columns of its session. So each value comes with a
//! [`Precedence`], and in each column the value with the greatest precedence stands. The rows do not depend on the
//! order.

// In reading order: each uses those before it.
mod precedence;
mod conventions;
mod repair;
mod coding_agents;
mod node;
mod record;
mod tokens;
mod origin;
#[cfg(feature = "server")]
mod metric;
mod blob;
mod used;
mod flattened;
mod messages;
mod said;
mod failure;
mod reading;
mod decisions;
mod findings;
mod events;
mod call;
mod agent_log;
mod session;
mod log_record;
mod span;

#[cfg(test)]
mod tests;
#[cfg(test)]
mod rest_tests;
#[cfg(test)]
mod coding_agent_tests;

#[cfg(feature = "server")]
pub(crate) use coding_agents::is_of_coding_agent;
#[cfg(feature = "server")]
pub(crate) use conventions::{conversation, outcome};
pub(crate) use failure::error_finding_id;
#[cfg(feature = "server")]
pub(crate) use metric::{Measured, Metric, MetricHead, MetricKind, MetricOrigin};
#[cfg(feature = "server")]
pub(crate) use node::{read_text, write_float, write_text};
pub use precedence::{Meaning, Precedence, Rank};

use std::borrow::Cow;

use crate::event::{Content, Event, Recorded};

/// The meaning of an event.
// Nearly all values are of the large variant; a box would cost each of them an allocation.
#[allow(clippy::large_enum_variant)]
#[derive(Clone, Debug, PartialEq)]
pub enum Meanings<'e> {
    /// No meaning: the event was redacted, or its kind is not known.
    Nothing,
    /// The event itself.
    Itself(Meaning<'e>),
    /// Other events. The first is the one that the event is about.
    Others(Vec<Meaning<'e>>),
}

impl<'e> Meanings<'e> {
    /// Works out the meaning of an event. A span or log record of OpenTelemetry means other events, if it can
    /// be read as one. Every other event means itself.
    pub fn of(recorded: &'e Recorded) -> Meanings<'e> {
        let Content::Event(event) = &recorded.content else { return Meanings::Nothing };
        let others = match event {
            Event::OtelSpan(span) => span::meanings(span),
            Event::OtelLog(log) => {
                log_record::meanings(log, recorded.session.is_some(), recorded.occurred_at)
            }
            _ => Vec::new(),
        };
        // A span or log record that cannot be read is no error: it was recorded, and stands for itself.
        if !others.is_empty() {
            return Meanings::Others(others);
        }
        Meanings::Itself(Meaning { precedence: None, at: recorded.occurred_at, event: Cow::Borrowed(event) })
    }

    /// All meanings, in order.
    pub fn all(&self) -> &[Meaning<'e>] {
        match self {
            Meanings::Nothing => &[],
            Meanings::Itself(meaning) => std::slice::from_ref(meaning),
            Meanings::Others(meanings) => meanings,
        }
    }
}
