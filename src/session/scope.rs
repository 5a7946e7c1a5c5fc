//! The log as it is seen from one session: what a session and its steps share.

use std::sync::Arc;
use std::thread;

use crate::destination::sealed;
use crate::event::{Draft, Event, SessionId};
use crate::limits::DROP_PATIENCE;
use crate::receipt::{AppendError, Receipt};

#[derive(Debug)]
pub(super) struct Scope {
    log: Arc<dyn sealed::Append>,
    session: SessionId,
}

impl Scope {
    pub(super) fn new(log: Arc<dyn sealed::Append>, session: SessionId) -> Scope {
        Scope { log, session }
    }

    pub(super) fn session(&self) -> &SessionId {
        &self.session
    }

    fn draft(&self, event: impl Into<Event>) -> Draft {
        Draft::new(event).in_session(self.session.clone()).at(self.log.now())
    }

    pub(super) fn append(&self, event: impl Into<Event>) -> Result<Receipt, AppendError> {
        self.log.append(self.draft(event))
    }

    /// Appends the end of something. Where the log does not take what the end says, it still gets to
    /// know that it ended: `bare` makes an end that says only that, and why.
    pub(super) fn append_end<E: Into<Event>>(
        &self,
        end: Result<E, AppendError>,
        bare: impl FnOnce(String) -> E,
    ) -> Result<Receipt, AppendError> {
        let appended = end.and_then(|end| self.append(end));
        if let Err(error @ (AppendError::Unfit(_) | AppendError::Refused(_))) = &appended {
            let why = format!("its end could not be recorded as it was: {error}");
            self.append_from_drop(|| bare(why));
        }
        appended
    }

    /// Appends where no error can be returned: see [`sealed::Append::append_or_count`].
    pub(super) fn append_from_drop<E: Into<Event>>(&self, event: impl FnOnce() -> E) {
        self.log.append_or_count(Box::new(|| self.draft(event())), DROP_PATIENCE);
    }
}

/// Why a handle goes away without an end: the error that is recorded for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Dropped {
    Forgotten,
    Panicked,
}

impl Dropped {
    pub(super) fn here() -> Dropped {
        if thread::panicking() { Dropped::Panicked } else { Dropped::Forgotten }
    }

    pub(super) fn error(self) -> String {
        match self {
            Dropped::Forgotten => "dropped without an end",
            Dropped::Panicked => "panicked",
        }
        .to_owned()
    }
}

/// Whether an end was recorded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    Open,
    Ended,
}
