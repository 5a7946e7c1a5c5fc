//! The state that a session and its steps share.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread;

use crate::destination::sealed;
use crate::event::{Draft, Event, EventId, Kind, SessionId};
use crate::limits::DROP_TIMEOUT;
use crate::receipt::{AppendError, Receipt};

#[derive(Debug)]
pub(super) struct Scope {
    log: Arc<dyn sealed::Append>,
    session: SessionId,
    /// The number of events that were sent of each kind, in the order of [`Kind::ALL`].
    sent: [AtomicU64; Kind::ALL.len()],
    instance: OnceLock<String>,
}

impl Scope {
    pub(super) fn new(log: Arc<dyn sealed::Append>, session: SessionId) -> Scope {
        let sent = [const { AtomicU64::new(0) }; Kind::ALL.len()];
        Scope { log, session, sent, instance: OnceLock::new() }
    }

    /// The number of events that were sent so far, by kind.
    pub(super) fn sent(&self) -> BTreeMap<String, u64> {
        let counts = Kind::ALL.iter().zip(&self.sent);
        counts
            .map(|(kind, count)| (kind.name().to_owned(), count.load(Ordering::Relaxed)))
            .filter(|(_, count)| *count > 0)
            .collect()
    }

    /// A random id that tells this handle's count from those of other handles of the session.
    pub(super) fn instance(&self) -> &str {
        self.instance.get_or_init(|| EventId::generate().to_string())
    }

    fn count(&self, kind: Kind) {
        // A kind's discriminant is its position in `Kind::ALL`: both follow the declaration.
        if let Some(count) = self.sent.get(kind as usize) {
            count.fetch_add(1, Ordering::Relaxed);
        }
    }

    pub(super) fn session(&self) -> &SessionId {
        &self.session
    }

    fn draft(&self, event: impl Into<Event>) -> Draft {
        Draft::new(event).session(self.session.clone()).at(self.log.now())
    }

    pub(super) fn append(&self, event: impl Into<Event>) -> Result<Receipt, AppendError> {
        let draft = self.draft(event);
        let kind = draft.event.kind();
        let appended = self.log.append(draft);
        // An event that can never be recorded is no gap of the record: the caller knows.
        if !matches!(appended, Err(AppendError::Unfit(_) | AppendError::Refused(_))) {
            self.count(kind);
        }
        appended
    }

    /// Appends the end of a session or step. If the log refuses its content, an end must still be recorded: `bare`
    /// makes one with only the status and the reason.
    pub(super) fn append_end<E: Into<Event>>(
        &self,
        end: Result<E, AppendError>,
        bare: impl FnOnce(String) -> E,
    ) -> Result<Receipt, AppendError> {
        let appended = end.and_then(|end| self.append(end));
        // Only these two errors depend on the content. After any other error, the bare end would fail in the same way.
        if let Err(error @ (AppendError::Unfit(_) | AppendError::Refused(_))) = &appended {
            let reason = format!("its end could not be recorded as it was: {error}");
            self.append_from_drop(|| bare(reason));
        }
        appended
    }

    /// Appends from a destructor, where no error can be returned: see [`sealed::Append::append_or_count`].
    pub(super) fn append_from_drop<E: Into<Event>>(&self, event: impl FnOnce() -> E) {
        // The draft is made inside the call, because the call catches panics of the caller's clock.
        let draft = || {
            let draft = self.draft(event());
            self.count(draft.event.kind());
            draft
        };
        self.log.append_or_count(Box::new(draft), DROP_TIMEOUT);
    }
}

/// The reason why a handle is dropped without an end. The end that is recorded has it as its error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Dropped {
    Forgotten,
    Panicked,
}

impl Dropped {
    pub(super) fn cause() -> Dropped {
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

/// The state of a handle. The destructor of an open handle records that it was dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    Open,
    Ended,
}
