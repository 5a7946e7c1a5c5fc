//! The reading of a span, from which everything that it means is made.

use super::claim::{Claim, Rank, speaker};
use super::conventions::Work;
use super::failure::Failure;
use super::messages::Message;
use super::record::Span;
use crate::event::{StepEnd, StepId, StepKind, Timestamp};

/// A span, and what was read from it.
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
    /// Messages that came out, where it says messages.
    pub(super) answers: Vec<Message>,
    pub(super) error: Option<Failure>,
    pub(super) status: StepEnd,
}

impl Reading<'_> {
    /// The source of the reading and its time: of several sources the first counts, or the last.
    pub(super) fn claim(&self, rank: Rank, prefer: Prefer) -> Claim {
        let nanos = |time: Option<u64>| i64::try_from(time.unwrap_or(0)).unwrap_or(i64::MAX);
        let order = match prefer {
            Prefer::First => -nanos(self.span.started),
            Prefer::Last => nanos(self.span.ended),
            Prefer::Innermost => nanos(self.span.started),
        };
        Claim { rank, order, speaker: speaker(&self.span.id) }
    }
}

/// Which of several spans of one rank is the better source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Prefer {
    /// The one that began first.
    First,
    /// The one that ended last. Of one span that comes several times, one that has ended stands against one
    /// that has not; of those that ended together the one that was recorded last.
    Last,
    /// The one that began last, and so stands within the others.
    Innermost,
}
