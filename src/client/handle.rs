//! An open client, and what goes through its handle.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crossbeam_channel::Sender;

use super::close::CloseError;
use super::item::{self, Flush, Flushed, Message, Queue, Until};
use super::status::Status;
use crate::destination::{Destination, sealed};
use crate::event::{Draft, Timestamp};
use crate::limits::CLIENT_PATIENCE_MAX;
use crate::prepare::Filter;
use crate::receipt::{AppendError, Receipt, TryAppendError};
use crate::session::SessionBuilder;
use crate::writer::Clock;

pub(super) struct Inner {
    pub(super) url: String,
    pub(super) queue: Arc<Queue>,
    pub(super) status: Arc<Status>,
    pub(super) filter: Option<Filter>,
    pub(super) clock: Clock,
    pub(super) close: Sender<()>,
    /// None once it was closed.
    pub(super) thread: Mutex<Option<JoinHandle<Result<Flushed, CloseError>>>>,
}

/// The log of a server, as [`AuditLog`](crate::AuditLog) is one that is open here: append to it from as
/// many threads as you like. See the [module](super) for what it promises.
///
/// It is cheap to clone, and every clone is the same client. Dropping the last clone closes it; call
/// [`RemoteLog::close`] to hear of errors.
#[derive(Clone)]
pub struct RemoteLog {
    pub(super) inner: Arc<Inner>,
}

impl fmt::Debug for RemoteLog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RemoteLog").field("url", &self.inner.url).finish_non_exhaustive()
    }
}

impl RemoteLog {
    /// Begins a session, as [`AuditLog::session`](crate::AuditLog::session) does.
    pub fn session(&self, profile: impl Into<String>) -> SessionBuilder {
        SessionBuilder::new(Arc::new(self.clone()), profile.into())
    }

    /// Appends an event; blocks while the queue is full, which a server that is away does not make it:
    /// the queue goes to the disk then.
    ///
    /// # Errors
    /// If the event cannot be recorded as it is, the client is closed, or the spool takes no more.
    pub fn append(&self, draft: Draft) -> Result<Receipt, AppendError> {
        let mut draft = draft;
        let (message, receipt) = self.prepare(&mut draft)?;
        self.inner.queue.send_unless_refusing(message)?;
        Ok(receipt)
    }

    /// Appends an event without ever blocking.
    ///
    /// # Errors
    /// As [`RemoteLog::append`]; and where the queue is full, the draft comes back.
    pub fn try_append(&self, draft: Draft) -> Result<Receipt, TryAppendError> {
        self.inner.queue.try_append(draft, |draft| self.prepare(draft))
    }

    /// Appends an event; waits for room in the queue without blocking the executor. Any executor
    /// will do. The receipt can be awaited.
    ///
    /// # Errors
    /// As [`RemoteLog::append`].
    pub async fn append_async(&self, draft: Draft) -> Result<Receipt, AppendError> {
        let mut draft = draft;
        let (message, receipt) = self.prepare(&mut draft)?;
        self.inner.queue.send_async(message).await?;
        Ok(receipt)
    }

    fn prepare(&self, draft: &mut Draft) -> Result<(Message, Receipt), AppendError> {
        if let Some(filter) = &self.inner.filter {
            filter(draft).map_err(AppendError::Refused)?;
        }
        let (item, receipt) = item::item(draft)?;
        Ok((Message::Append(item), receipt))
    }

    /// Blocks until everything that was appended before is safe: committed, or in the spool; and says
    /// how much is in the spool. It takes about as long as [`Builder::spool_after`](super::Builder::spool_after) says, at most.
    ///
    /// # Errors
    /// If the server refused an event for good since the last flush, through this clone or another; if events
    /// are gone from the spool; if the spool takes no more and the server is away; or if the client is closed.
    pub fn flush(&self) -> Result<Flushed, AppendError> {
        let answered = self.ask(Until::Safe)?;
        // Without an answer the client's thread panicked just now.
        answered.recv().unwrap_or(Err(AppendError::Closed))
    }

    /// Blocks until the server has everything that was appended before and what was in the spool, for
    /// `timeout` at most; and says how much is in the spool.
    ///
    /// # Errors
    /// As [`RemoteLog::flush`].
    pub fn flush_to_server(&self, timeout: Duration) -> Result<Flushed, AppendError> {
        /// Between two looks at whether a spool that took nothing more takes something again.
        const LOOK_UP: Duration = Duration::from_millis(50);
        let began = Instant::now();
        let left = || timeout.saturating_sub(began.elapsed());
        let answered = loop {
            match self.ask(Until::Sent) {
                Err(AppendError::NoRoom { .. }) if !left().is_zero() => thread::sleep(LOOK_UP.min(left())),
                answered => break answered?,
            }
        };
        match answered.recv_timeout(left().min(CLIENT_PATIENCE_MAX)) {
            Ok(answer) => answer,
            Err(oneshot::RecvTimeoutError::Timeout) => self.flush(),
            Err(oneshot::RecvTimeoutError::Disconnected) => Err(AppendError::Closed),
        }
    }

    fn ask(&self, until: Until) -> Result<oneshot::Receiver<Result<Flushed, AppendError>>, AppendError> {
        let (answer, answered) = oneshot::channel();
        self.inner.queue.send_unless_refusing(Message::Flush(Flush { until, answer }))?;
        Ok(answered)
    }

    /// Events in the spool: on this machine's disk, and not in the server's log.
    pub fn spooled(&self) -> u64 {
        self.inner.status.spooled()
    }

    /// Events that are not in the server's log and never will be, since the client was opened: those that
    /// the server refused for good, and those that neither it nor the spool took.
    pub fn refused(&self) -> u64 {
        self.inner.status.refused()
    }

    /// Why nothing can be sent now, if that is so. It is tried again.
    pub fn trouble(&self) -> Option<Arc<str>> {
        self.inner.status.trouble()
    }

    /// Closes the client for every clone. What was appended before is sent, if the server answers within
    /// [`Builder::close_patience`](super::Builder::close_patience), and else in the spool; what is there says how much that is.
    ///
    /// # Errors
    /// If events could neither be sent nor spooled.
    pub fn close(self) -> Result<Flushed, CloseError> {
        self.inner.close()
    }
}

impl Inner {
    fn close(&self) -> Result<Flushed, CloseError> {
        // Held to the end: when a second one who closes gets it, the client is closed.
        let mut thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(thread) = thread.take() else { return Ok(Flushed { spooled: self.status.spooled() }) };
        // A thread that is gone already does not hear it.
        let _ = self.close.try_send(());
        thread.join().unwrap_or(Err(CloseError::Panicked))
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        // Who wants to hear of errors calls `close`.
        let _ = self.close();
    }
}

impl Destination for RemoteLog {}

impl sealed::Append for RemoteLog {
    fn now(&self) -> Timestamp {
        (self.inner.clock)()
    }

    fn append(&self, draft: Draft) -> Result<Receipt, AppendError> {
        RemoteLog::append(self, draft)
    }

    fn try_append(&self, draft: Draft) -> Result<Receipt, TryAppendError> {
        RemoteLog::try_append(self, draft)
    }

    fn append_or_count(&self, draft: Box<dyn FnOnce() -> Draft + '_>, patience: Duration) {
        // The clock and the filter are the caller's code, and a panic that leaves a destructor while the
        // thread unwinds already would abort the process.
        let sent = catch_unwind(AssertUnwindSafe(|| {
            let (message, _receipt) = self.prepare(&mut draft()).ok()?;
            self.inner.queue.send_within(message, patience).ok()
        }));
        if !matches!(sent, Ok(Some(()))) {
            self.inner.status.add_refused(1);
        }
    }
}
