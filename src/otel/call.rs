//! A call of a model or a tool that a log record reports: the step that it makes without a span.

use std::borrow::Cow;

use super::failure::StepFailure;
use super::precedence::{Meaning, Precedence, Rank, fingerprint};
use super::tokens::Tokens;
use crate::event::{Attributes, Event, StepEnd, StepEnded, StepId, StepKind, StepStarted, Timestamp};

/// A log record as the source of a call.
#[derive(Clone, Copy)]
pub(super) struct Source<'n> {
    /// Time of the record, at which the call ended.
    pub(super) at: Option<Timestamp>,
    /// Fingerprint of the record.
    pub(super) speaker: u64,
    /// Bytes of the record.
    pub(super) bytes: usize,
    /// Time of the event as its program said it. Two records of one call have it in common, where their own
    /// times differ.
    pub(super) moment: &'n str,
}

/// The share of a call that a record knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Share {
    /// The whole call.
    Whole,
    /// The refusal of the call. It stands against a result which reports that the call failed, and not against one
    /// which reports that the call was made after all.
    Refusal,
    /// The whole call of a tool, which failed.
    Failure,
    /// The permission for the call, or its refusal, and its time.
    Permission,
    /// The messages of the call. Another record may know more of it.
    Messages,
}

impl Source<'_> {
    /// The precedence for the step of the call. The orders are below zero: a span has precedence.
    pub(super) fn of_call(self, share: Share) -> Precedence {
        let order = match share {
            Share::Whole => -1,
            Share::Refusal => -2,
            Share::Failure => -3,
            Share::Permission => -4,
            Share::Messages => -5,
        };
        Precedence { rank: Rank::Root, order, speaker: self.speaker }
    }

    /// The precedence for a step of which the record knows only a part.
    pub(super) fn of_part(self) -> Precedence {
        Precedence { rank: Rank::Log, order: 0, speaker: self.speaker }
    }

    /// An id for a call that has none of its own, from its time and from what all its records say of it.
    pub(super) fn call_id(self, said: &[&str]) -> String {
        let mut text = self.moment.to_owned();
        for said in said {
            text.push('\n');
            text.push_str(said);
        }
        format!("call:{:016x}", fingerprint(text.as_bytes()))
    }
}

/// Most bytes of a step's id, so that the ids of its decisions and findings have room for more.
const ID_BYTES: usize = 200;

/// A step's id. An id that is too long, or that has control characters, is replaced by its fingerprint.
pub(super) fn step_id(id: &str) -> Option<StepId> {
    match StepId::new(id) {
        Ok(step) if id.len() <= ID_BYTES => Some(step),
        _ => StepId::new(format!("call:{:016x}", fingerprint(id.as_bytes()))).ok(),
    }
}

/// A call that has ended.
pub(super) struct Call {
    pub(super) step: StepId,
    pub(super) kind: StepKind,
    pub(super) module: Option<String>,
    pub(super) model: Option<String>,
    pub(super) input: Option<String>,
    pub(super) output: Option<String>,
    pub(super) tokens: Tokens,
    pub(super) cost_usd: Option<f64>,
    pub(super) started_at: Option<Timestamp>,
    pub(super) status: StepEnd,
    pub(super) failure: Option<StepFailure>,
    pub(super) attributes: Attributes,
}

impl Call {
    /// Adds the step. `texts` is the precedence of its input and output, if other records know these better.
    pub(super) fn add(
        self,
        source: Source<'_>,
        share: Share,
        texts: Option<Precedence>,
        meanings: &mut Vec<Meaning<'static>>,
    ) {
        let mut put = |precedence, at, event| {
            meanings.push(Meaning { precedence: Some(precedence), at, event: Cow::Owned(event) });
        };
        let whole = source.of_call(share);
        let (mut input, mut output) = (self.input, self.output);
        if let Some(texts) = texts {
            let (step, input, output) = (self.step.clone(), input.take(), output.take());
            if input.is_some() {
                let started = StepStarted { step: step.clone(), input, ..StepStarted::default() };
                put(texts, None, Event::StepStarted(started));
            }
            if output.is_some() {
                put(texts, None, Event::StepEnded(StepEnded { step, output, ..StepEnded::default() }));
            }
        }
        let started = StepStarted {
            step: self.step.clone(),
            module: self.module,
            kind: Some(self.kind),
            model: self.model,
            input,
            attributes: self.attributes,
            ..StepStarted::default()
        };
        put(whole, self.started_at, Event::StepStarted(started));
        let ended = StepEnded {
            step: self.step,
            status: self.status,
            output,
            tokens_input: self.tokens.input,
            tokens_output: self.tokens.output,
            tokens_cache_read: self.tokens.cache_read,
            tokens_cache_write: self.tokens.cache_write,
            tokens_reasoning: self.tokens.reasoning,
            cost_usd: self.cost_usd,
            error: self.failure.as_ref().and_then(StepFailure::text),
            ..StepEnded::default()
        };
        put(whole, source.at, Event::StepEnded(ended));
    }
}
