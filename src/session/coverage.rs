//! Declarations of coverage: what a program records of a session, and how many events it has sent.

use super::build::{attribute_setter, text_setters};
use super::handle::Session;
use super::recording::Recording;
use crate::event::CoverageDeclared;
use crate::receipt::AppendError;

impl Session {
    /// Begins a declaration of what this program records of the session. `source` names the program. The declaration
    /// announces, by kind, the events that this handle and its steps have sent before this call. If some of them do
    /// not get into the log, [`verify`](crate::verify::verify) reports a gap.
    ///
    /// Declare once, just before the session ends, or several times: each declaration announces all events again.
    ///
    /// ```
    /// # let folder = tempfile::tempdir()?;
    /// # let log = annals::AuditLog::open(folder.path().join("audit.db"))?;
    /// # let session = log.session("claims").start()?;
    /// session.coverage("adjuster").records("model calls").omits("calls of other agents").record()?;
    /// # session.end().completed()?.wait()?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn coverage(&self, source: impl Into<String>) -> Recording<'_, CoverageDeclared> {
        Recording::new(
            &self.scope,
            CoverageDeclared {
                source: source.into(),
                instance: Some(self.scope.instance().to_owned()),
                announced: self.scope.sent(),
                ..CoverageDeclared::default()
            },
        )
    }
}

impl Recording<'_, CoverageDeclared> {
    /// Adds something that the program records.
    pub fn records(mut self, what: impl Into<String>) -> Self {
        self.payload.records.push(what.into());
        self
    }

    /// Adds something that the program is known not to record.
    pub fn omits(mut self, what: impl Into<String>) -> Self {
        self.payload.omits.push(what.into());
        self
    }

    text_setters! {
        /// Sets the name of this run of the program. The default is a random id for each handle. Two handles that
        /// count separately must not have the same one.
        instance => instance;
    }

    attribute_setter!();

    /// Records the declaration.
    ///
    /// # Errors
    /// If a value cannot be recorded, or the log is closed.
    pub fn record(self) -> Result<(), AppendError> {
        self.append().map(drop)
    }
}
