//! An open log, and the operations of its handle.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crossbeam_channel::Sender;

use crate::blocking::on_thread;
use crate::event::{Draft, Event, EventId, PayloadRedacted, Seq, Timestamp};
use crate::evidence::{self, KeyChangeRequest, SignError};
use crate::file::FileIdentity;
use crate::log::Effect;
use crate::log::write_lock::WriteLock;
use crate::note::SignedCheckpoint;
use crate::prepare::{Filter, Prepared, SentBy, prepare};
use crate::progress::{CatchUpError, Progress, Tables};
use crate::projection::schedule::worker::Order;
use crate::receipt::{AppendError, Appended, BatchReceipt, Receipt, TryAppendError};
use crate::writer::{Clock, Item, Message, NotSent, Queue};

use super::requests::RedactionRequest;

pub(super) struct ProjectionThread {
    pub(super) order: Sender<Order>,
    pub(super) thread: JoinHandle<()>,
}

pub(super) struct EvidenceThread {
    pub(super) order: Sender<evidence::Order>,
    pub(super) thread: JoinHandle<()>,
}

pub(super) struct Threads {
    pub(super) writer: JoinHandle<Result<(), Arc<str>>>,
    pub(super) projections: Option<ProjectionThread>,
    pub(super) evidence: Option<EvidenceThread>,
}

pub(super) struct Inner {
    pub(super) path: PathBuf,
    pub(super) log_id: EventId,
    pub(super) database: FileIdentity,
    pub(super) queue: Arc<Queue>,
    pub(super) progress: Arc<Progress>,
    pub(super) write_lock: Arc<WriteLock>,
    pub(super) payload_bytes_max: usize,
    pub(super) filter: Option<Filter>,
    pub(super) clock: Clock,
    pub(super) evidence: Option<Sender<evidence::Order>>,
    pub(super) evidence_state: evidence::SharedState,
    /// `None` once the log was closed.
    pub(super) threads: Mutex<Option<Threads>>,
}

/// A log that did not close cleanly. Acknowledged events are safe.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CloseError {
    /// A log that could not be written at the end: events were refused, and their receipts reported it.
    #[error("the log could not be written when it was closed: {0}")]
    Writer(Arc<str>),
    /// A thread that panicked.
    #[error("the {0} thread panicked")]
    Panicked(&'static str),
    /// A tree that could not be extended, or a checkpoint that could not be signed.
    #[error("all events are written, but no checkpoint covers all of them: {0}")]
    Evidence(Arc<str>),
    /// Read tables that do not hold everything that was committed.
    #[error(transparent)]
    CatchUp(#[from] CatchUpError),
}

/// An open log: append to it from any number of threads.
///
/// The handle is cheap to clone, and all clones share the log. The events go through a bounded queue to one writer
/// thread, which commits them in batches. Another thread fills the read tables.
///
/// Dropping the last clone closes the log: events that were sent are still written. Call [`AuditLog::close`] to get
/// the errors.
///
/// ```
/// use annals::{AuditLog, Draft, NoteLogged};
///
/// # let folder = tempfile::tempdir()?;
/// # let path = folder.path().join("audit.db");
/// let log = AuditLog::builder(path).open()?;
/// let note = NoteLogged { message: "cache is cold".into(), ..Default::default() };
/// let receipt = log.append(Draft::new(note))?;
/// let appended = receipt.wait()?; // on the disk now
/// log.wait_caught_up(appended.seq)?; // in the read tables now
/// log.close()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct AuditLog {
    pub(super) inner: Arc<Inner>,
    pub(super) principal: Option<EventId>,
}

impl fmt::Debug for AuditLog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AuditLog").field("path", &self.inner.path).finish_non_exhaustive()
    }
}

impl AuditLog {
    /// A handle of the same log for events of another principal. `principal` is the id of the API key that submits the
    /// events, and is part of their entries.
    pub fn with_principal(&self, principal: Option<EventId>) -> AuditLog {
        AuditLog { inner: self.inner.clone(), principal }
    }

    /// The path of the log's file, without symbolic links.
    pub fn path(&self) -> &Path {
        &self.inner.path
    }

    /// The identity of the open file, even if another file is at the path now.
    pub(crate) fn database(&self) -> FileIdentity {
        self.inner.database
    }

    /// A warning if the log is on a file system that another program serves. Such a file system is not refused, but two
    /// programs at once may damage the log there.
    pub fn caution(&self) -> Option<String> {
        #[cfg(target_os = "linux")]
        return crate::log::mount::caution(&self.inner.path);
        #[cfg(not(target_os = "linux"))]
        None
    }

    /// The log's id: that of its first event.
    pub fn log_id(&self) -> EventId {
        self.inner.log_id
    }

    /// The last event that this process knows to be committed.
    pub fn committed(&self) -> Seq {
        self.inner.progress.committed()
    }

    /// The reason why nothing can be appended now, if there is one. The next append tries again.
    pub fn last_error(&self) -> Option<Arc<str>> {
        self.inner.progress.poisoned()
    }

    /// The present time, by the log's clock.
    pub(crate) fn now(&self) -> Timestamp {
        (self.inner.clock)()
    }

    /// Number of events since the log was opened that were not written, or perhaps not. It includes the end events of
    /// dropped handles that the log did not accept.
    pub fn refused(&self) -> u64 {
        self.inner.progress.refused()
    }

    /// Appends an event; blocks while the queue is full.
    ///
    /// The receipt reports when the event is committed. Until then the event may be lost if the process is killed.
    ///
    /// # Errors
    /// If the event cannot be recorded as it is, or the log is closed.
    pub fn append(&self, draft: Draft) -> Result<Receipt, AppendError> {
        let mut draft = draft;
        let (message, receipt) = self.prepare(&mut draft)?;
        self.inner.queue.send(message)?;
        Ok(receipt)
    }

    /// Appends an event without ever blocking.
    ///
    /// # Errors
    /// As [`AuditLog::append`]. If the queue is full, the error returns the draft.
    pub fn try_append(&self, draft: Draft) -> Result<Receipt, TryAppendError> {
        self.inner.queue.try_append(draft, |draft| self.prepare(draft))
    }

    /// Appends the event of a handle that is dropped. No caller can receive an error, so an event that cannot be sent,
    /// or finds no room in the queue in time, is counted as refused. An event that found no room, or whose preparation
    /// panicked, is also recorded as lost.
    pub(crate) fn append_or_count(&self, draft: impl FnOnce() -> Draft, timeout: Duration) {
        // The clock and the filter are the caller's code. If they panicked in a destructor while the thread already
        // unwinds, the process would abort.
        let sent = catch_unwind(AssertUnwindSafe(|| {
            let (message, receipt) = self.prepare(&mut draft()).ok()?;
            // The writer itself counts what it refuses.
            drop(receipt);
            Some(self.inner.queue.send_within(message, timeout))
        }));
        match sent {
            Ok(Some(Ok(()))) => return,
            // A check or the filter refused the event, or the log is closed: the event is only counted.
            Ok(None | Some(Err(NotSent::Ended(_)))) => {}
            Ok(Some(Err(NotSent::Full))) | Err(_) => self.inner.queue.give_up(),
        }
        self.inner.progress.add_refused(1);
    }

    /// Appends an event. Waits for room in the queue without blocking the thread. Works on any executor.
    ///
    /// ```
    /// # async fn example(log: annals::AuditLog) -> Result<(), annals::AppendError> {
    /// use annals::{Draft, NoteLogged};
    ///
    /// let note = NoteLogged { message: "cache is warm".into(), ..Default::default() };
    /// let receipt = log.append_async(Draft::new(note)).await?;
    /// let appended = receipt.await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As [`AuditLog::append`].
    pub async fn append_async(&self, draft: Draft) -> Result<Receipt, AppendError> {
        let mut draft = draft;
        let (message, receipt) = self.prepare(&mut draft)?;
        self.inner.queue.send_async(message).await?;
        Ok(receipt)
    }

    fn prepare(&self, draft: &mut Draft) -> Result<(Message, Receipt), AppendError> {
        let prepared = self.prepare_event(draft)?;
        Ok(self.message(prepared, Effect::None))
    }

    pub(super) fn prepare_own(
        &self,
        draft: &mut Draft,
        effect: Effect,
    ) -> Result<(Message, Receipt), AppendError> {
        let prepared = prepare(draft, self.principal, self.inner.payload_bytes_max)?;
        Ok(self.message(prepared, effect))
    }

    fn message(&self, prepared: Prepared, effect: Effect) -> (Message, Receipt) {
        let (ack, receipt) = Receipt::new(prepared.event_id, Some(self.inner.queue.join()));
        (Message::Append(Item::One { prepared: Box::new(prepared), effect, ack }), receipt)
    }

    /// Filters and prepares an event of a caller.
    fn prepare_event(&self, draft: &mut Draft) -> Result<Prepared, AppendError> {
        if let Some(filter) = &self.inner.filter {
            filter(draft).map_err(AppendError::Refused)?;
        }
        // Checked after the filter, which may have replaced the event.
        let kind = draft.event.kind();
        if kind.is_reserved() {
            return Err(AppendError::Reserved(kind.name()));
        }
        Ok(prepare(draft, self.principal, self.inner.payload_bytes_max)?)
    }

    /// Appends events together: in their order, without other events between them, in one transaction. This is cheaper
    /// than appending them one by one. Blocks while the queue is full. In the queue the batch counts as one message.
    ///
    /// An event that cannot be recorded as it is does not prevent the others; the receipt reports its error.
    ///
    /// ```
    /// # let folder = tempfile::tempdir()?;
    /// # let log = annals::AuditLog::open(folder.path().join("audit.db"))?;
    /// use annals::{Draft, NoteLogged};
    ///
    /// let notes = ["one", "two"].map(|text| NoteLogged { message: text.into(), ..Default::default() });
    /// let receipt = log.append_batch(notes.into_iter().map(Draft::new).collect())?;
    /// assert!(receipt.wait().iter().all(Result::is_ok));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// If the log is closed.
    pub fn append_batch(&self, drafts: Vec<Draft>) -> Result<BatchReceipt, AppendError> {
        let (message, receipt) = self.prepare_batch(drafts, SentBy::ItsKey);
        if let Some(message) = message {
            self.inner.queue.send(message)?;
        }
        Ok(receipt)
    }

    /// Appends events as [`AuditLog::append_batch`] does. An event that the log already has is the same event whatever
    /// API key it was submitted with.
    pub(crate) fn append_batch_of_anybody(&self, drafts: Vec<Draft>) -> Result<BatchReceipt, AppendError> {
        let (message, receipt) = self.prepare_batch(drafts, SentBy::Anybody);
        if let Some(message) = message {
            self.inner.queue.send(message)?;
        }
        Ok(receipt)
    }

    /// Appends events as [`AuditLog::append_batch`] does, but waits for room in the queue without blocking the thread.
    /// If the future is dropped while it waits, nothing was sent.
    ///
    /// # Errors
    /// As [`AuditLog::append_batch`].
    pub async fn append_batch_async(&self, drafts: Vec<Draft>) -> Result<BatchReceipt, AppendError> {
        let (message, receipt) = self.prepare_batch(drafts, SentBy::ItsKey);
        if let Some(message) = message {
            self.inner.queue.send_async(message).await?;
        }
        Ok(receipt)
    }

    /// Prepares events on the caller's own thread. [`AuditLog::send`] may be called on another thread. Returns no
    /// message if there is nothing to send.
    pub(crate) fn prepare_batch(
        &self,
        drafts: Vec<Draft>,
        sent_by: SentBy,
    ) -> (Option<Message>, BatchReceipt) {
        let mut prepared = Vec::with_capacity(drafts.len());
        let sent = drafts
            .into_iter()
            .map(|mut draft| {
                prepared.push(Prepared { sent_by, ..self.prepare_event(&mut draft)? });
                Ok(())
            })
            .collect();
        let (ack, receipt) = BatchReceipt::new(sent);
        let message = (!prepared.is_empty()).then_some(Message::Append(Item::Many { prepared, ack }));
        (message, receipt)
    }

    /// Sends prepared events. Waits for room in the queue without blocking the thread. If the future is dropped while
    /// it waits, nothing was sent.
    pub(crate) async fn send(&self, message: Message) -> Result<(), AppendError> {
        self.inner.queue.send_async(message).await
    }

    /// Makes the writer call `observe` after every commit, with the number of events and the time that the commit took.
    /// Later observers are ignored.
    pub(crate) fn observe_commits(&self, observe: impl Fn(usize, Duration) + Send + Sync + 'static) {
        self.inner.progress.observe_commits(Box::new(observe));
    }

    /// Number of messages that wait for the writer.
    pub(crate) fn queued(&self) -> usize {
        self.inner.queue.len()
    }

    /// The progress of the log and its read tables.
    pub(crate) fn progress(&self) -> &Progress {
        &self.inner.progress
    }

    pub(super) fn append_own(&self, event: Event, effect: Effect) -> Result<Appended, AppendError> {
        let mut draft = Draft::new(event);
        let (message, receipt) = self.prepare_own(&mut draft, effect)?;
        self.inner.queue.send(message)?;
        receipt.wait()
    }

    /// Blocks until everything that was sent before is committed, and returns the sequence number of the head.
    ///
    /// # Errors
    /// If an event that was sent since the last flush was refused, through this clone or another; the receipts have the
    /// result of each event. Also if the log cannot be written, or is closed.
    pub fn flush(&self) -> Result<Seq, AppendError> {
        let (answer, answered) = oneshot::channel();
        self.inner.queue.send(Message::Flush(answer))?;
        // A missing answer means that the writer's thread panicked just now.
        answered.recv().unwrap_or(Err(AppendError::Closed))
    }

    /// Flushes as [`AuditLog::flush`] does, on any executor.
    ///
    /// ```
    /// # async fn example(log: annals::AuditLog) -> Result<(), Box<dyn std::error::Error>> {
    /// use annals::{Draft, NoteLogged};
    ///
    /// let note = NoteLogged { message: "cache is warm".into(), ..Default::default() };
    /// let _receipt = log.append_async(Draft::new(note)).await?;
    /// let head = log.flush_async().await?; // on the disk now
    /// log.wait_caught_up_async(head).await?; // in the read tables now
    /// log.close_async().await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As [`AuditLog::flush`].
    pub async fn flush_async(&self) -> Result<Seq, AppendError> {
        let (answer, answered) = oneshot::channel();
        self.inner.queue.send_async(Message::Flush(answer)).await?;
        // A missing answer means that the writer's thread panicked just now.
        answered.await.unwrap_or(Err(AppendError::Closed))
    }

    /// Blocks until the read tables hold every event up to `seq`, so that a caller can read its own writes.
    ///
    /// # Errors
    /// If a projection stopped before that, or this process does not fill the read tables.
    pub fn wait_caught_up(&self, seq: Seq) -> Result<(), CatchUpError> {
        self.inner.progress.wait_projected(Tables::All, seq, None)
    }

    /// Waits as [`AuditLog::wait_caught_up`] does, on any executor.
    ///
    /// # Errors
    /// As [`AuditLog::wait_caught_up`].
    pub async fn wait_caught_up_async(&self, seq: Seq) -> Result<(), CatchUpError> {
        self.inner.progress.find_projected(seq).await
    }

    /// Blocks as [`AuditLog::wait_caught_up`] does, but not for the full-text index, which is written less often while
    /// events arrive. An event is usually in the tables some hundredths of a second after its append, and in the index
    /// a tenth of a second later.
    ///
    /// # Errors
    /// As [`AuditLog::wait_caught_up`].
    ///
    /// # Examples
    /// ```
    /// use annals::{AuditLog, Draft, NoteLogged};
    ///
    /// # let folder = tempfile::tempdir()?;
    /// # let path = folder.path().join("audit.db");
    /// let log = AuditLog::open(path)?;
    /// let note = NoteLogged { message: "cache is cold".into(), ..Default::default() };
    /// let appended = log.append(Draft::new(note))?.wait()?;
    /// log.wait_tables_caught_up(appended.seq)?; // in the table `notes` now
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn wait_tables_caught_up(&self, seq: Seq) -> Result<(), CatchUpError> {
        self.inner.progress.wait_projected(Tables::AllButIndex, seq, None)
    }

    /// Blocks as [`AuditLog::wait_caught_up`] does, for at most `timeout`.
    ///
    /// # Errors
    /// As [`AuditLog::wait_caught_up`], and if the timeout has passed.
    pub fn wait_caught_up_within(&self, seq: Seq, timeout: Duration) -> Result<(), CatchUpError> {
        self.inner.progress.wait_projected(Tables::All, seq, Instant::now().checked_add(timeout))
    }

    /// Erases the payloads of events permanently. The log keeps the other parts of these events, such as the time and
    /// the session, and the redaction as an event. The chain can still be verified.
    ///
    /// Copies of the file and exports that were made before still have the payloads.
    ///
    /// # Errors
    /// If an event does not exist or must not be redacted, or if the log cannot be written. In these cases no payload
    /// is erased.
    pub fn redact(&self, request: RedactionRequest) -> Result<Appended, AppendError> {
        let RedactionRequest { mut seqs, actor, reason, authority } = request;
        seqs.sort_unstable();
        seqs.dedup();
        let numbers = seqs.iter().map(|seq| seq.get()).collect();
        let event = PayloadRedacted { seqs: numbers, actor, reason, authority };
        self.append_own(Event::PayloadRedacted(event), Effect::Redact(seqs))
    }

    /// Signs a checkpoint for everything that is committed now, and gives it to the anchors. If nothing was appended
    /// since the last checkpoint, returns that one.
    ///
    /// # Errors
    /// If the log was opened without a key, or the checkpoint cannot be signed. The message has the remedy.
    pub fn checkpoint(&self) -> Result<SignedCheckpoint, SignError> {
        self.ask(evidence::Order::Checkpoint)?.recv().unwrap_or(Err(SignError::Closed))
    }

    /// Signs a checkpoint as [`AuditLog::checkpoint`] does, on any executor.
    ///
    /// # Errors
    /// As [`AuditLog::checkpoint`].
    pub async fn checkpoint_async(&self) -> Result<SignedCheckpoint, SignError> {
        self.ask(evidence::Order::Checkpoint)?.await.unwrap_or(Err(SignError::Closed))
    }

    /// Replaces one of the log's keys, and records the change as the event `key.changed`. Returns a checkpoint that the
    /// new key signed. The replaced key signed it too, unless it was lost.
    ///
    /// # Errors
    /// If the log was opened without a folder of keys, a file cannot be written, or the checkpoint cannot be signed. A
    /// change that a crash interrupted is completed by the next attempt or the next opening.
    pub fn change_key(&self, request: &KeyChangeRequest) -> Result<SignedCheckpoint, SignError> {
        let answered = self.ask(|answer| evidence::Order::ChangeKey(request.clone(), answer))?;
        answered.recv().unwrap_or(Err(SignError::Closed))
    }

    /// The state of the anchors that this process gives checkpoints to. Clones return it even after the log was closed.
    pub fn anchors(&self) -> Vec<evidence::AnchorHealth> {
        evidence::anchors(&self.inner.evidence_state)
    }

    /// The last error of the tree or of the signer, if one of them does not go on now. The evidence thread tries again.
    pub fn last_evidence_error(&self) -> Option<Arc<str>> {
        self.inner.last_evidence_error()
    }

    /// Sends an order to the evidence thread, without blocking.
    fn ask(
        &self,
        order: impl FnOnce(oneshot::Sender<Result<SignedCheckpoint, SignError>>) -> evidence::Order,
    ) -> Result<oneshot::Receiver<Result<SignedCheckpoint, SignError>>, SignError> {
        let (answer, answered) = oneshot::channel();
        let thread = self.inner.evidence.as_ref().ok_or(SignError::NotSigned)?;
        thread.send(order(answer)).map_err(|_| SignError::Closed)?;
        Ok(answered)
    }

    /// Closes the log for every clone. When this returns without an error, everything that was sent before is
    /// committed. If this process fills the read tables, they have it too.
    ///
    /// # Errors
    /// If the log could not be written at the end, a thread panicked, or the read tables are behind.
    pub fn close(self) -> Result<(), CloseError> {
        self.inner.close()
    }

    /// Closes the log as [`AuditLog::close`] does, on any executor. The log is closed even if the future is dropped
    /// while it waits.
    ///
    /// # Errors
    /// As [`AuditLog::close`].
    pub async fn close_async(self) -> Result<(), CloseError> {
        let inner = self.inner.clone();
        match on_thread("annals-close", move || inner.close()).await {
            Ok(closed) => closed.unwrap_or(Err(CloseError::Panicked("closing"))),
            // No thread could be started, so the caller's thread does the work and blocks.
            Err(_) => self.close(),
        }
    }
}

impl Inner {
    fn last_evidence_error(&self) -> Option<Arc<str>> {
        evidence::last_error(&self.evidence_state)
    }

    fn close(&self) -> Result<(), CloseError> {
        // Locked until all threads have ended: a second caller waits for the lock, and then finds the log closed.
        let mut threads = self.threads.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(Threads { writer, projections, evidence }) = threads.take() else { return Ok(()) };
        // An error means that the writer is gone already.
        let _ = self.queue.send(Message::Close);
        let writer_result = writer.join().map_err(|_| CloseError::Panicked("writer's"));
        let mut projections_result = Ok(());
        // After the writer has ended, so that the projections know its last commit. The deadline is now: once their
        // thread has ended, nothing changes any more.
        if let Some(ProjectionThread { order, thread }) = projections {
            let _ = order.send(Order::Finish);
            projections_result =
                thread.join().map_err(|_| CloseError::Panicked("projections'")).and_then(|()| {
                    let (all, now) = (self.progress.committed(), Instant::now());
                    Ok(self.progress.wait_projected(Tables::All, all, Some(now))?)
                });
        }
        // Also after the writer has ended, so that a checkpoint covers its last commit.
        let mut evidence_result = Ok(());
        if let Some(EvidenceThread { order, thread }) = evidence {
            let _ = order.send(evidence::Order::Finish);
            evidence_result = thread.join().map_err(|_| CloseError::Panicked("evidence's"));
        }
        // All threads have ended, so an early return leaves none running.
        writer_result?.map_err(CloseError::Writer)?;
        projections_result?;
        evidence_result?;
        self.last_evidence_error().map_or(Ok(()), |reason| Err(CloseError::Evidence(reason)))
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        // A caller that wants the errors calls `close`.
        let _ = self.close();
    }
}
