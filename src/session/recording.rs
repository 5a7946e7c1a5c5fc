//! An event of a session, before it is recorded.

use super::build::FirstProblem;
use super::scope::Scope;
use crate::event::{Event, Kind};
use crate::receipt::{AppendError, Appended, Receipt};

/// An event that a session or a step is about to record: a decision, a finding, a note …
///
/// The setters depend on the kind of event. [`Recording::commit`] records the event and waits until it is
/// committed; `record` does not wait.
#[derive(Debug)]
#[must_use = "nothing is recorded before `record` or `commit`"]
pub struct Recording<'s, E> {
    scope: &'s Scope,
    pub(super) payload: E,
    pub(super) problem: FirstProblem,
}

impl<'s, E: Into<Event>> Recording<'s, E> {
    pub(super) fn new(scope: &'s Scope, payload: E) -> Recording<'s, E> {
        Recording { scope, payload, problem: FirstProblem::default() }
    }

    pub(super) fn append(self) -> Result<Receipt, AppendError> {
        let event: Event = self.payload.into();
        let kind: Kind = event.kind();
        self.problem.check(kind)?;
        self.scope.append(event)
    }

    /// Records the event and blocks until it is committed. Use this for events that must be in the log before
    /// the pipeline acts on them.
    ///
    /// ```
    /// # let folder = tempfile::tempdir()?;
    /// # let log = annals::AuditLog::open(folder.path().join("audit.db"))?;
    /// # let session = log.session("payments").start()?;
    /// session.decide("payment").chose("pay").because("Within the limit.").commit()?;
    /// // Pay only now.
    /// # session.end().completed()?.wait()?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// If the event cannot be recorded as it is, was not written, or may not have been written.
    pub fn commit(self) -> Result<Appended, AppendError> {
        self.append()?.wait()
    }
}
