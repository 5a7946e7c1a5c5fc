//! Sessions, from their start to their end.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::build::{FirstProblem, attribute_setter, text_setters, usage_setters, value_setters};
use super::recording::Recording;
use super::scope::{Dropped, Scope, State};
use super::step::StepBuilder;
use crate::audit::AuditLog;
use crate::destination::sealed;
use crate::event::{
    IdError, Kind, SessionEnd, SessionEnded, SessionId, SessionProgress, SessionStarted, SessionUpdated,
    Severity,
};
use crate::receipt::{AppendError, Receipt};

impl AuditLog {
    /// Begins a session: one run of a reasoning pipeline. `profile` names the pipeline, or one of its
    /// configurations.
    ///
    /// ```
    /// use annals::{AuditLog, Severity, StepKind};
    ///
    /// # let folder = tempfile::tempdir()?;
    /// # let path = folder.path().join("audit.db");
    /// let log = AuditLog::open(path)?;
    /// let session = log.session("claims").input("Is claim 17 covered?").agent("adjuster").start()?;
    ///
    /// let step = session.step("assess").kind(StepKind::Llm).model("small-1").input("claim 17").start()?;
    /// step.decide("coverage")
    ///     .options([("covered", 0.8), ("not covered", 0.2)])
    ///     .chose("covered")
    ///     .because("The policy names water damage.")
    ///     .confidence(0.8)
    ///     .record()?;
    /// step.finding("missing-evidence").severity(Severity::Low).title("No photograph attached").record()?;
    /// step.end().output("covered").confidence(0.8).tokens(812, 64).succeeded()?;
    ///
    /// let receipt = session.end().summary("Claim 17 is covered.").completed()?;
    /// receipt.wait()?; // on the disk now, and so is everything before it
    /// # log.close()?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn session(&self, profile: impl Into<String>) -> SessionBuilder {
        SessionBuilder::new(Arc::new(self.clone()), profile.into())
    }
}

/// A session that is about to start. See [`AuditLog::session`].
#[derive(Debug)]
#[must_use = "a session starts with `start`"]
pub struct SessionBuilder {
    log: Arc<dyn sealed::Append>,
    id: Option<SessionId>,
    payload: SessionStarted,
    problem: FirstProblem,
}

impl SessionBuilder {
    pub(crate) fn new(log: Arc<dyn sealed::Append>, profile: String) -> SessionBuilder {
        let payload = SessionStarted { profile: Some(profile), ..SessionStarted::default() };
        SessionBuilder { log, id: None, payload, problem: FirstProblem::default() }
    }

    /// Sets the session's id: 1 to 128 bytes, without control characters. The default is a fresh UUIDv7. A
    /// redaction does not erase the id, so it must not be personal data. Starting a session again with the
    /// same id continues the same session.
    pub fn id(mut self, id: impl TryInto<SessionId, Error = impl Into<IdError>>) -> Self {
        self.id = self.problem.keep("session", id.try_into().map_err(Into::into));
        self
    }

    text_setters! {
        /// Sets the whole input of the pipeline.
        input => input;
        /// Sets the hash by which identical inputs are found. The default is BLAKE3 of the input.
        input_hash => input_hash;
        /// Sets the conversation: an identifier that several sessions with one user share.
        conversation => conversation;
        /// Sets the name of the agent.
        agent => agent;
        /// Sets the version of the agent.
        agent_version => agent_version;
        /// Sets the model that the session works with.
        model => model;
        /// Sets the source of the record, such as another program.
        source => source;
        /// Sets the tenant: the owner of the session, if several share a log.
        tenant => tenant;
    }

    value_setters! {
        /// Sets the session that started this one.
        parent_session: SessionId;
    }

    /// Sets one of the producer's own labels. A later value with the same name replaces an earlier one.
    pub fn label(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.payload.labels.insert(name.into(), value.into());
        self
    }

    attribute_setter!();

    /// Records `session.started`.
    ///
    /// # Errors
    /// If a value cannot be recorded, or the log is closed.
    pub fn start(self) -> Result<Session, AppendError> {
        self.problem.check(Kind::SessionStarted)?;
        let id = self.id.unwrap_or_else(SessionId::generate);
        let scope = Arc::new(Scope::new(self.log, id));
        // Dropped, because the receipt of the end is enough: events are committed in order.
        let _receipt = scope.append(self.payload)?;
        Ok(Session { scope, state: State::Open })
    }
}

/// A session that has started. Threads can share it by reference, or own [`Step`](super::Step)s of it.
///
/// If it is dropped without an end, it records `session.ended` with status `disconnected`. If its thread panics, the
/// status is `failed` and the error is `panicked`. Steps may exist longer than this handle: their events still belong
/// to the session.
#[derive(Debug)]
#[must_use = "a session that is dropped is recorded as disconnected"]
pub struct Session {
    pub(super) scope: Arc<Scope>,
    state: State,
}

impl Session {
    /// The session's id.
    pub fn id(&self) -> &SessionId {
        self.scope.session()
    }

    /// Begins a step. `module` is the part of the pipeline that does the work: a module, a tool, or a model's role.
    pub fn step(&self, module: impl Into<String>) -> StepBuilder {
        StepBuilder::new(self.scope.clone(), None, module.into())
    }

    /// Begins a report of the session's progress: `session.updated`.
    ///
    /// ```
    /// # let folder = tempfile::tempdir()?;
    /// # let log = annals::AuditLog::open(folder.path().join("audit.db"))?;
    /// # let session = log.session("claims").start()?;
    /// session.update().progress(0.5).message("half of the documents read").record()?;
    /// # session.end().completed()?.wait()?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn update(&self) -> Recording<'_, SessionUpdated> {
        Recording::new(&self.scope, SessionUpdated::default())
    }

    /// Ends the session. The end is recorded by the last call: [`SessionEnding::completed`],
    /// [`SessionEnding::failed`] or [`SessionEnding::cancelled`].
    pub fn end(self) -> SessionEnding {
        SessionEnding { session: self, payload: SessionEnded::default(), problem: FirstProblem::default() }
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        if self.state == State::Ended {
            return;
        }
        let dropped = Dropped::cause();
        let status = match dropped {
            Dropped::Forgotten => SessionEnd::Disconnected,
            Dropped::Panicked => SessionEnd::Failed,
        };
        self.scope.append_from_drop(|| bare_end(status, dropped.error()));
    }
}

fn bare_end(status: SessionEnd, error: String) -> SessionEnded {
    SessionEnded { status, error: Some(error), ..SessionEnded::default() }
}

impl Recording<'_, SessionUpdated> {
    value_setters! {
        /// Sets the session's new state.
        status: SessionProgress;
        /// Sets the part of the work that is done, 0 to 1.
        progress: f64;
    }

    text_setters! {
        /// Sets a text about the current activity.
        message => message;
    }

    attribute_setter!();

    /// Records the update.
    ///
    /// # Errors
    /// If a value cannot be recorded, or the log is closed.
    pub fn record(self) -> Result<(), AppendError> {
        self.append().map(drop)
    }
}

/// A session that is about to end. If it is dropped without its last call, the session counts as dropped
/// without an end.
#[derive(Debug)]
#[must_use = "a session ends with `completed`, `failed` or `cancelled`"]
pub struct SessionEnding {
    session: Session,
    payload: SessionEnded,
    problem: FirstProblem,
}

impl SessionEnding {
    text_setters! {
        /// Sets the whole result of the session.
        summary => summary;
    }

    value_setters! {
        /// Sets the risk of the outcome.
        risk_level: Severity;
    }

    /// Adds a rating on the producer's own scale. A later value with the same name replaces an earlier one.
    pub fn score(mut self, name: impl Into<String>, score: f64) -> Self {
        self.payload.scores.insert(name.into(), score);
        self
    }

    /// Adds several ratings.
    pub fn scores(mut self, scores: BTreeMap<String, f64>) -> Self {
        self.payload.scores.extend(scores);
        self
    }

    usage_setters!();
    attribute_setter!();

    /// Records that the session succeeded.
    ///
    /// Events are committed in order. When the receipt reports that the end is committed, all earlier events of the
    /// session are committed too. The exception is events that could not be written: the log records them as
    /// `events.lost`.
    ///
    /// # Errors
    /// If a value cannot be recorded, or the log is closed. In the first case an end with only the status and the
    /// reason is recorded.
    pub fn completed(self) -> Result<Receipt, AppendError> {
        self.record(SessionEnd::Completed, None)
    }

    /// Records that the session failed, and the reason.
    ///
    /// # Errors
    /// As [`SessionEnding::completed`].
    pub fn failed(self, why: impl Into<String>) -> Result<Receipt, AppendError> {
        self.record(SessionEnd::Failed, Some(why.into()))
    }

    /// Records that somebody stopped the session, and the reason.
    ///
    /// # Errors
    /// As [`SessionEnding::completed`].
    pub fn cancelled(self, why: impl Into<String>) -> Result<Receipt, AppendError> {
        self.record(SessionEnd::Cancelled, Some(why.into()))
    }

    fn record(self, status: SessionEnd, error: Option<String>) -> Result<Receipt, AppendError> {
        let SessionEnding { mut session, mut payload, problem } = self;
        // Set before anything can fail: the destructor must not record a second end.
        session.state = State::Ended;
        payload.status = status;
        payload.error = error;
        let problem = problem.check(Kind::SessionEnded);
        session.scope.append_end(problem.map(|()| payload), |why| bare_end(status, why))
    }
}
