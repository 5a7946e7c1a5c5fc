//! Steps, from their start to their end.

use std::sync::Arc;

use super::build::{FirstProblem, attribute_setter, text_setters, usage_setters, value_setters};
use super::recording::Recording;
use super::scope::{Dropped, Scope, State};
use crate::event::{
    Basis, Event, IdError, Kind, SessionId, StepEnd, StepEnded, StepId, StepKind, StepStarted,
};
use crate::receipt::AppendError;

/// A step that is about to start. See [`Session::step`](crate::Session::step).
#[derive(Debug)]
#[must_use = "a step starts with `start`"]
pub struct StepBuilder {
    scope: Arc<Scope>,
    id: Option<StepId>,
    payload: StepStarted,
    problem: FirstProblem,
}

impl StepBuilder {
    pub(super) fn new(scope: Arc<Scope>, parent: Option<StepId>, module: String) -> StepBuilder {
        let payload = StepStarted { parent_step: parent, module: Some(module), ..StepStarted::default() };
        StepBuilder { scope, id: None, payload, problem: FirstProblem::default() }
    }

    /// Sets the step's id: unique within its session, 1 to 256 bytes, without control characters. The
    /// default is a fresh UUIDv7.
    pub fn id(mut self, id: impl TryInto<StepId, Error = impl Into<IdError>>) -> Self {
        self.id = self.problem.keep("step", id.try_into().map_err(Into::into));
        self
    }

    value_setters! {
        /// Sets the kind of work.
        kind: StepKind;
    }

    text_setters! {
        /// Sets the model that the step calls.
        model => model;
        /// Sets the whole input.
        input => input;
        /// Sets a summary of the input. The default is its first 200 characters.
        input_summary => input_summary;
    }

    attribute_setter!();

    /// Records `step.started`.
    ///
    /// # Errors
    /// If a value cannot be recorded, or the log is closed.
    pub fn start(self) -> Result<Step, AppendError> {
        self.problem.check(Kind::StepStarted)?;
        let id = self.id.unwrap_or_else(StepId::generate);
        let _receipt = self.scope.append(StepStarted { step: id.clone(), ..self.payload })?;
        Ok(Step { scope: self.scope, id, state: State::Open })
    }
}

/// A step that has started. It may move to another thread, and several steps may run at the same time.
///
/// If it is dropped without an end, such as by an early return, it records `step.ended` with status `error`. The error
/// is `dropped without an end`, or `panicked` if its thread panics.
#[derive(Debug)]
#[must_use = "a step that is dropped is recorded as failed"]
pub struct Step {
    scope: Arc<Scope>,
    id: StepId,
    state: State,
}

impl Step {
    /// The step's id.
    pub fn id(&self) -> &StepId {
        &self.id
    }

    /// The id of the step's session.
    pub fn session_id(&self) -> &SessionId {
        self.scope.session()
    }

    /// Begins a step that is part of this one.
    ///
    /// ```
    /// # let folder = tempfile::tempdir()?;
    /// # let log = annals::AuditLog::open(folder.path().join("audit.db"))?;
    /// # let session = log.session("claims").start()?;
    /// use annals::StepKind;
    ///
    /// let research = session.step("research").kind(StepKind::Agent).start()?;
    /// let search = research.step("search").kind(StepKind::Retrieval).input("water damage").start()?;
    /// search.end().output("3 documents").succeeded()?;
    /// research.end().failed("no document answers the question")?;
    /// # session.end().failed("nothing found")?.wait()?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn step(&self, module: impl Into<String>) -> StepBuilder {
        StepBuilder::new(self.scope.clone(), Some(self.id.clone()), module.into())
    }

    /// Ends the step. The end is recorded by the last call: [`StepEnding::succeeded`],
    /// [`StepEnding::failed`] or [`StepEnding::cancelled`].
    pub fn end(self) -> StepEnding {
        StepEnding { step: self, payload: StepEnded::default(), problem: FirstProblem::default() }
    }

    pub(super) fn recording<E: Into<Event>>(&self, payload: E) -> Recording<'_, E> {
        Recording::new(&self.scope, payload)
    }
}

impl Drop for Step {
    fn drop(&mut self) {
        if self.state == State::Open {
            self.scope
                .append_from_drop(|| bare_end(self.id.clone(), StepEnd::Error, Dropped::cause().error()));
        }
    }
}

fn bare_end(step: StepId, status: StepEnd, error: String) -> StepEnded {
    StepEnded { step, status, error: Some(error), ..StepEnded::default() }
}

/// A step that is about to end. If it is dropped without its last call, the step counts as dropped without an end.
#[derive(Debug)]
#[must_use = "a step ends with `succeeded`, `failed` or `cancelled`"]
pub struct StepEnding {
    step: Step,
    payload: StepEnded,
    problem: FirstProblem,
}

impl StepEnding {
    text_setters! {
        /// Sets the whole output.
        output => output;
        /// Sets a summary of the output. The default is its first 200 characters.
        output_summary => output_summary;
    }

    value_setters! {
        /// Sets the module's confidence in the output, 0 to 1.
        confidence: f64;
        /// Sets the number of input tokens that were read from the provider's cache.
        tokens_cache_read: u64;
        /// Sets the number of input tokens that were written to the provider's cache.
        tokens_cache_write: u64;
        /// Sets the number of output tokens that were spent on reasoning.
        tokens_reasoning: u64;
        /// Sets whether the step was observed, or is claimed by the agent.
        basis: Basis;
    }

    usage_setters!();
    attribute_setter!();

    /// Records that the step succeeded.
    ///
    /// # Errors
    /// If a value cannot be recorded, or the log is closed. In the first case an end with only the status and the
    /// reason is recorded.
    pub fn succeeded(self) -> Result<(), AppendError> {
        self.record(StepEnd::Ok, None)
    }

    /// Records that the step failed, and the reason.
    ///
    /// # Errors
    /// As [`StepEnding::succeeded`].
    pub fn failed(self, why: impl Into<String>) -> Result<(), AppendError> {
        self.record(StepEnd::Error, Some(why.into()))
    }

    /// Records that the step was stopped before it did its work, and the reason.
    ///
    /// # Errors
    /// As [`StepEnding::succeeded`].
    pub fn cancelled(self, why: impl Into<String>) -> Result<(), AppendError> {
        self.record(StepEnd::Cancelled, Some(why.into()))
    }

    fn record(self, status: StepEnd, error: Option<String>) -> Result<(), AppendError> {
        let StepEnding { mut step, payload, problem } = self;
        // Set before anything can fail: the destructor must not record a second end.
        step.state = State::Ended;
        let end = StepEnded { step: step.id.clone(), status, error, ..payload };
        let problem = problem.check(Kind::StepEnded);
        let bare = |why| bare_end(step.id.clone(), status, why);
        step.scope.append_end(problem.map(|()| end), bare).map(drop)
    }
}
