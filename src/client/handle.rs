//! An open client: appending, flushing and closing.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crossbeam_channel::Sender;

use super::close::CloseError;
use super::item::{self, Flush, Flushed, Message, Queue, Until};
use super::status::ClientStatus;
use crate::blocking::on_thread;
use crate::destination::{Destination, sealed};
use crate::event::{Draft, Timestamp};
use crate::limits::CLIENT_TIMEOUT_MAX;
use crate::prepare::Filter;
use crate::receipt::{AppendError, Receipt, TryAppendError};
use crate::session::SessionBuilder;
use crate::writer::Clock;

pub(super) struct Inner {
    pub(super) url: String,
    pub(super) queue: Arc<Queue>,
    pub(super) status: Arc<ClientStatus>,
    pub(super) filter: Option<Filter>,
    pub(super) clock: Clock,
    pub(super) close: Sender<()>,
    /// The courier's thread; `None` once the client was closed.
    pub(super) thread: Mutex<Option<JoinHandle<Result<Flushed, CloseError>>>>,
}

/// The log behind a server, with the methods of an [`AuditLog`](crate::AuditLog). Any number of threads may
/// append to it. See the [module](super) for its guarantees.
///
/// A clone is cheap, and every clone is the same client. Dropping the last clone closes the client; call
/// [`RemoteLog::close`] to get its errors.
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

    /// Appends an event. Blocks while the queue is full. A server that is away does not fill the queue,
    /// because events then go to the spool.
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
    /// As [`RemoteLog::append`]. If the queue is full, the error returns the draft.
    pub fn try_append(&self, draft: Draft) -> Result<Receipt, TryAppendError> {
        self.inner.queue.try_append(draft, |draft| self.prepare(draft))
    }

    /// Appends an event, and waits for room in the queue without blocking the executor. Any executor will
    /// do. The receipt can be awaited.
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

    /// Blocks until every event that was appended before is safe, which means committed or in the spool.
    /// Returns the number of events in the spool. The wait is at most about as long as
    /// [`Builder::spool_after`](super::Builder::spool_after).
    ///
    /// # Errors
    /// If the server refused an event for good since the last flush, through any clone; if events are gone
    /// from the spool; if the spool takes no more and the server is away; or if the client is closed.
    pub fn flush(&self) -> Result<Flushed, AppendError> {
        let answered = self.ask(Until::Safe)?;
        // There is no answer only if the client's thread has panicked.
        answered.recv().unwrap_or(Err(AppendError::Closed))
    }

    /// Flushes as [`RemoteLog::flush`] does, without blocking the executor. Any executor will do.
    ///
    /// # Errors
    /// As [`RemoteLog::flush`].
    pub async fn flush_async(&self) -> Result<Flushed, AppendError> {
        let (answer, answered) = oneshot::channel();
        self.inner.queue.send_async(Message::Flush(Flush { until: Until::Safe, answer })).await?;
        answered.await.unwrap_or(Err(AppendError::Closed))
    }

    /// Blocks until the server has every event that was appended before and every event that was in the
    /// spool, but at most for `timeout`. Returns the number of events in the spool.
    ///
    /// # Errors
    /// As [`RemoteLog::flush`].
    pub fn flush_to_server(&self, timeout: Duration) -> Result<Flushed, AppendError> {
        /// The pause before a flush is tried again while the spool takes no more events.
        const RETRY_PAUSE: Duration = Duration::from_millis(50);
        let began = Instant::now();
        let left = || timeout.saturating_sub(began.elapsed());
        let answered = loop {
            match self.ask(Until::Sent) {
                // While the spool is full, the queue refuses flushes too. The server may come back and empty it.
                Err(AppendError::NoRoom { .. }) if !left().is_zero() => {
                    thread::sleep(RETRY_PAUSE.min(left()))
                }
                answered => break answered?,
            }
        };
        match answered.recv_timeout(left().min(CLIENT_TIMEOUT_MAX)) {
            Ok(answer) => answer,
            // At the timeout, every event that is not sent must at least be in the spool.
            Err(oneshot::RecvTimeoutError::Timeout) => self.flush(),
            Err(oneshot::RecvTimeoutError::Disconnected) => Err(AppendError::Closed),
        }
    }

    fn ask(&self, until: Until) -> Result<oneshot::Receiver<Result<Flushed, AppendError>>, AppendError> {
        let (answer, answered) = oneshot::channel();
        self.inner.queue.send_unless_refusing(Message::Flush(Flush { until, answer }))?;
        Ok(answered)
    }

    /// Returns the number of events in the spool: on this machine's disk, and not in the server's log.
    pub fn spooled(&self) -> u64 {
        self.inner.status.spooled()
    }

    /// Returns the number of events that will never be in the server's log, counted since the client was
    /// opened. These are the events that the server refused for good, and those that neither the server nor
    /// the spool took.
    pub fn refused(&self) -> u64 {
        self.inner.status.refused()
    }

    /// Returns the last error, if nothing can be sent at the moment. The client itself goes on trying.
    pub fn last_error(&self) -> Option<Arc<str>> {
        self.inner.status.last_error()
    }

    /// Closes the client for every clone. Events that were appended before are sent if the server answers
    /// within [`Builder::close_timeout`](super::Builder::close_timeout). The others stay in the spool,
    /// and their number is returned.
    ///
    /// # Errors
    /// If events could neither be sent nor spooled.
    pub fn close(self) -> Result<Flushed, CloseError> {
        self.inner.close()
    }

    /// Closes the client as [`RemoteLog::close`] does, on any executor. If the future is dropped while it waits, the
    /// client is closed all the same.
    ///
    /// # Errors
    /// As [`RemoteLog::close`].
    pub async fn close_async(self) -> Result<Flushed, CloseError> {
        let inner = self.inner.clone();
        match on_thread("annals-close", move || inner.close()).await {
            Ok(closed) => closed.unwrap_or(Err(CloseError::Panicked)),
            // Without another thread, this one has to wait.
            Err(_) => self.close(),
        }
    }
}

impl Inner {
    fn close(&self) -> Result<Flushed, CloseError> {
        // Held until the thread has ended. A second caller of `close` blocks here until the client is
        // really closed.
        let mut thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(thread) = thread.take() else { return Ok(Flushed { spooled: self.status.spooled() }) };
        // If the thread is already gone, there is nobody to signal.
        let _ = self.close.try_send(());
        thread.join().unwrap_or(Err(CloseError::Panicked))
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        // A caller that needs the errors calls `close`.
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

    fn append_or_count(&self, draft: Box<dyn FnOnce() -> Draft + '_>, timeout: Duration) {
        // The clock and the filter are the caller's code. This runs in destructors: a second panic while
        // the thread already unwinds would abort the process.
        let sent = catch_unwind(AssertUnwindSafe(|| {
            let (message, _receipt) = self.prepare(&mut draft()).ok()?;
            self.inner.queue.send_within(message, timeout).ok()
        }));
        if !matches!(sent, Ok(Some(()))) {
            self.inner.status.add_refused(1);
        }
    }
}
