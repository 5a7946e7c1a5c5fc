//! The reading of a span, from which its whole meaning is made.

use super::conventions::Work;
use super::failure::StepFailure;
use super::messages::Message;
use super::precedence::{Precedence, Rank, speaker};
use super::record::Span;
use crate::event::{StepEnd, StepId, StepKind, Timestamp};

/// A span, and the facts that were read from it.
pub(super) struct Reading<'n> {
    pub(super) span: Span<'n>,
    pub(super) step: StepId,
    pub(super) started_at: Option<Timestamp>,
    pub(super) ended_at: Option<Timestamp>,
    pub(super) kind: StepKind,
    pub(super) work: Work,
    pub(super) module: String,
    pub(super) model: Option<String>,
    pub(super) input: Option<String>,
    pub(super) output: Option<String>,
    /// The question and the answer for the session: without instructions, history and calls.
    pub(super) question: Option<String>,
    pub(super) answer: Option<String>,
    /// True if the input is messages of which none asks anything: instructions, or answers.
    pub(super) is_instructed_only: bool,
    /// Messages of the output, if the span has any. Decisions are made from them.
    pub(super) answers: Vec<Message>,
    pub(super) error: Option<StepFailure>,
    pub(super) status: StepEnd,
}

impl Reading<'_> {
    /// The precedence of the span as a source of `rank`. Among spans of one rank `prefer` decides.
    pub(super) fn precedence(&self, rank: Rank, prefer: Prefer) -> Precedence {
        let nanos = |time: Option<u64>| i64::try_from(time.unwrap_or(0)).unwrap_or(i64::MAX);
        let order = match prefer {
            Prefer::First => earliest(self.span.started),
            Prefer::Last => nanos(self.span.ended),
            Prefer::Innermost => nanos(self.span.started),
        };
        Precedence { rank, order, speaker: speaker(&self.span.id) }
    }
}

/// The order by which the earliest of several times is the greatest precedence, and no time the least.
pub(super) fn earliest(nanos: Option<u64>) -> i64 {
    nanos.map_or(i64::MIN, |nanos| -i64::try_from(nanos).unwrap_or(i64::MAX))
}

/// The preference among several spans of one rank.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Prefer {
    /// The span that began first.
    First,
    /// The span that ended last. If one span comes several times, its ended form stands against one that has
    /// not ended. Of forms that ended together, the one that was recorded last stands.
    Last,
    /// The span that began last, and so stands within the others.
    Innermost,
}
