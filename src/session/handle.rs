//! A session: begun, changed and ended.

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
    /// Begins a session: one run of a reasoning pipeline. `profile` says which pipeline, or which of
    /// its configurations.
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

    /// The session's id, 1 to 128 bytes without control characters; a fresh UUIDv7 where this is not
    /// called. It stays when payloads are redacted, so it must not be personal data. A session that
    /// is started again with the same id goes on as the same session.
    pub fn id(mut self, id: impl TryInto<SessionId, Error = impl Into<IdError>>) -> Self {
        self.id = self.problem.keep("session", id.try_into().map_err(Into::into));
        self
    }

    text_setters! {
        /// What the pipeline is asked, whole.
        input => input;
        /// What identical inputs are found by; BLAKE3 of the input unless said otherwise.
        input_hash => input_hash;
        /// What several sessions with one user have in common.
        conversation => conversation;
        /// Name of the agent.
        agent => agent;
        /// Version of the agent.
        agent_version => agent_version;
        /// Model it works with.
        model => model;
        /// Where the record comes from.
        source => source;
        /// Whose session it is, where several share a log.
        tenant => tenant;
    }

    value_setters! {
        /// The session that starts this one.
        parent_session: SessionId;
    }

    /// A label of the producer's own; the same name again replaces it.
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
        let _receipt = scope.append(self.payload)?;
        Ok(Session { scope, state: State::Open })
    }
}

/// A session under way. Threads share it by reference, or take [`Step`](super::Step)s of it with them.
///
/// Dropped without an end, it records `session.ended` with status `disconnected`; while its thread
/// panics, with status `failed` and error `panicked`. Steps may outlive it: what they record belongs
/// to the session all the same.
#[derive(Debug)]
#[must_use = "a session that is dropped is recorded as disconnected"]
pub struct Session {
    pub(super) scope: Arc<Scope>,
    state: State,
}

impl Session {
    /// Its id.
    pub fn id(&self) -> &SessionId {
        self.scope.session()
    }

    /// Begins a step. `module` says what does the work: the module, the tool, the model's role.
    pub fn step(&self, module: impl Into<String>) -> StepBuilder {
        StepBuilder::new(self.scope.clone(), None, module.into())
    }

    /// Says how far the session is: `session.updated`.
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
        let dropped = Dropped::here();
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
        /// The session's new state.
        status: SessionProgress;
        /// How much of it is done, 0 to 1.
        progress: f64;
    }

    text_setters! {
        /// What it is doing.
        message => message;
    }

    attribute_setter!();

    /// Records it.
    ///
    /// # Errors
    /// If a value cannot be recorded, or the log is closed.
    pub fn record(self) -> Result<(), AppendError> {
        self.append().map(drop)
    }
}

/// A session that is about to end. Dropped without its last call, it is a session dropped without an
/// end.
#[derive(Debug)]
#[must_use = "a session ends with `completed`, `failed` or `cancelled`"]
pub struct SessionEnding {
    session: Session,
    payload: SessionEnded,
    problem: FirstProblem,
}

impl SessionEnding {
    text_setters! {
        /// What the session came to, whole.
        summary => summary;
    }

    value_setters! {
        /// How risky the outcome is.
        risk_level: Severity;
    }

    /// A rating, in a scale of the producer's own; the same name again replaces it.
    pub fn score(mut self, name: impl Into<String>, score: f64) -> Self {
        self.payload.scores.insert(name.into(), score);
        self
    }

    /// Several ratings.
    pub fn scores(mut self, scores: BTreeMap<String, f64>) -> Self {
        self.payload.scores.extend(scores);
        self
    }

    usage_setters!();
    attribute_setter!();

    /// Records that the session did what it was to do.
    ///
    /// Once the receipt says that this is committed, so is everything that was recorded before.
    ///
    /// # Errors
    /// If a value cannot be recorded, which is then said in a plainer end, or the log is closed.
    pub fn completed(self) -> Result<Receipt, AppendError> {
        self.record(SessionEnd::Completed, None)
    }

    /// Records that the session failed, and why.
    ///
    /// # Errors
    /// As [`SessionEnding::completed`].
    pub fn failed(self, why: impl Into<String>) -> Result<Receipt, AppendError> {
        self.record(SessionEnd::Failed, Some(why.into()))
    }

    /// Records that somebody stopped the session, and why.
    ///
    /// # Errors
    /// As [`SessionEnding::completed`].
    pub fn cancelled(self, why: impl Into<String>) -> Result<Receipt, AppendError> {
        self.record(SessionEnd::Cancelled, Some(why.into()))
    }

    fn record(self, status: SessionEnd, error: Option<String>) -> Result<Receipt, AppendError> {
        let SessionEnding { mut session, mut payload, problem } = self;
        session.state = State::Ended;
        payload.status = status;
        payload.error = error;
        let problem = problem.check(Kind::SessionEnded);
        session.scope.append_end(problem.map(|()| payload), |why| bare_end(status, why))
    }
}
