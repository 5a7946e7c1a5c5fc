//! The handle: what a program opens, clones and appends through.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crossbeam_channel::Sender;
use rusqlite::OptionalExtension;

use crate::entry::Entry;
use crate::event::{Draft, Event, EventId, Kind, PayloadRedacted, ProjectionSkipped, Seq, Timestamp};
use crate::limits::{
    BATCH_BYTES_DEFAULT, BATCH_EVENTS_DEFAULT, PAYLOAD_BYTES_DEFAULT, PAYLOAD_BYTES_MAX, QUEUE_EVENTS_DEFAULT,
};
use crate::log::open::{Durability, OpenError};
use crate::log::rows::seq_to_sql;
use crate::log::turns::Turns;
use crate::log::{FileIdentity, create};
use crate::prepare::prepare;
use crate::progress::{CatchUpError, Progress};
use crate::projection::tables;
use crate::projection::worker::{Order, Worker};
use crate::writer::{
    AppendError, Appended, Clock, Config, Effect, Item, Message, NotSent, OpenLog, Queue, Receipt, Shared,
    TryAppendError, Writer, begin,
};

type Filter = Arc<dyn Fn(&mut Draft) -> Result<(), String> + Send + Sync>;

/// Whether this process fills the read tables.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Projections {
    /// A thread of this process does.
    #[default]
    On,
    /// Another process does, or nobody does for now: they catch up later.
    Off,
}

/// How a log is opened. Start with [`AuditLog::builder`].
pub struct Builder {
    path: PathBuf,
    durability: Durability,
    queue_events: usize,
    batch_events: usize,
    batch_bytes: usize,
    linger: Duration,
    payload_bytes_max: usize,
    origin: Option<String>,
    principal: Option<EventId>,
    projections: Projections,
    filter: Option<Filter>,
    clock: Clock,
}

impl fmt::Debug for Builder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Builder").field("path", &self.path).finish_non_exhaustive()
    }
}

impl Builder {
    fn new(path: PathBuf) -> Builder {
        Builder {
            path,
            durability: Durability::Full,
            queue_events: QUEUE_EVENTS_DEFAULT,
            batch_events: BATCH_EVENTS_DEFAULT,
            batch_bytes: BATCH_BYTES_DEFAULT,
            linger: Duration::ZERO,
            payload_bytes_max: PAYLOAD_BYTES_DEFAULT,
            origin: None,
            principal: None,
            projections: Projections::On,
            filter: None,
            clock: Arc::new(Timestamp::now),
        }
    }

    /// What an acknowledgement promises; [`Durability::Full`] unless said otherwise.
    #[must_use]
    pub fn durability(mut self, durability: Durability) -> Builder {
        self.durability = durability;
        self
    }

    /// Events that may wait for the writer, at least 1. When so many do, `append` blocks.
    #[must_use]
    pub fn queue_events(mut self, events: usize) -> Builder {
        self.queue_events = events.max(1);
        self
    }

    /// Events that are committed together, at least 1.
    #[must_use]
    pub fn batch_events(mut self, events: usize) -> Builder {
        self.batch_events = events.max(1);
        self
    }

    /// Payload bytes after which a batch is closed.
    #[must_use]
    pub fn batch_bytes(mut self, bytes: usize) -> Builder {
        self.batch_bytes = bytes.max(1);
        self
    }

    /// How long the writer waits for more events before it commits a batch that is not full. None
    /// unless said otherwise: while one batch is flushed to the disk, the next gathers by itself.
    #[must_use]
    pub fn linger(mut self, linger: Duration) -> Builder {
        self.linger = linger;
        self
    }

    /// Largest payload that is accepted, in bytes as encoded: 4 MiB unless said otherwise, 64 MiB at
    /// most.
    #[must_use]
    pub fn payload_bytes_max(mut self, bytes: usize) -> Builder {
        self.payload_bytes_max = bytes.min(PAYLOAD_BYTES_MAX);
        self
    }

    /// The log's own name, for a log that is made by this opening: 1 to 255 bytes without spaces,
    /// `+` and control characters, such as `example.com/audit/billing`.
    #[must_use]
    pub fn origin(mut self, origin: impl Into<String>) -> Builder {
        self.origin = Some(origin.into());
        self
    }

    /// The id of the key on whose behalf this handle appends; it is part of every entry.
    #[must_use]
    pub fn principal(mut self, principal: EventId) -> Builder {
        self.principal = Some(principal);
        self
    }

    /// Whether this process fills the read tables; it does unless said otherwise.
    #[must_use]
    pub fn projections(mut self, projections: Projections) -> Builder {
        self.projections = projections;
        self
    }

    /// A function that sees every draft before it is encoded, on the caller's own thread. It may
    /// change the draft, or refuse it with a reason.
    ///
    /// ```
    /// use annals::{AuditLog, Event};
    ///
    /// let builder = AuditLog::builder("audit.db").filter(|draft| {
    ///     if let Event::StepStarted(step) = &mut draft.event {
    ///         step.input = step.input.take().map(|input| input.replace("4111 1111 1111 1111", "[card]"));
    ///     }
    ///     Ok(())
    /// });
    /// # drop(builder);
    /// ```
    #[must_use]
    pub fn filter(
        mut self,
        filter: impl Fn(&mut Draft) -> Result<(), String> + Send + Sync + 'static,
    ) -> Builder {
        self.filter = Some(Arc::new(filter));
        self
    }

    /// The clock that `recorded_at`, and the times of [`Session`](crate::Session) and
    /// [`Step`](crate::Step) handles, are read from: the system's unless said otherwise.
    #[must_use]
    pub fn clock(mut self, clock: impl Fn() -> Timestamp + Send + Sync + 'static) -> Builder {
        self.clock = Arc::new(clock);
        self
    }

    /// Opens the log, and makes it where there is none.
    ///
    /// # Errors
    /// If the file cannot be opened or made, or is not a log; the error says what to do.
    pub fn open(self) -> Result<AuditLog, OpenError> {
        if !self.path.try_exists().map_err(|error| OpenError::io(&self.path, "cannot be looked at", error))? {
            create::create(&self.path, self.origin.as_deref(), (self.clock)())?;
        }
        self.open_existing()
    }

    /// Opens the log, which must be there.
    ///
    /// # Errors
    /// If the file cannot be opened, or is not a log; the error says what to do.
    pub fn open_existing(self) -> Result<AuditLog, OpenError> {
        let (wake, woken) = crossbeam_channel::bounded(1);
        let (order, orders) = crossbeam_channel::bounded(1);
        let progress = Arc::new(Progress::default());
        let queue = Arc::new(Queue::new(self.queue_events));
        let config = Config {
            path: self.path.clone(),
            durability: self.durability,
            batch_events: self.batch_events,
            batch_bytes: self.batch_bytes,
            linger: self.linger,
            clock: self.clock.clone(),
        };
        let log = OpenLog::open(&self.path, self.durability)?;
        // Only now that it is known to be a log are lock files made beside it.
        let turns = Arc::new(Turns::open(&self.path)?);
        let database = log.database();
        let shared = Shared { progress: progress.clone(), turns: turns.clone(), queue: queue.clone(), wake };
        let writer = Writer::new(log, config, shared)?;
        let log_id = writer.log_id();
        let spawn_error = |error| OpenError::io(&self.path, "its threads cannot be started", error);
        let projections = match self.projections {
            Projections::Off => None,
            Projections::On => {
                let worker = Worker::open(&self.path, progress.clone(), turns.clone())?;
                let thread = std::thread::Builder::new()
                    .name("annals-projections".to_owned())
                    .spawn(move || worker.run(&woken, &orders))
                    .map_err(spawn_error)?;
                Some(ProjectionThread { order, thread })
            }
        };
        let writer = std::thread::Builder::new()
            .name("annals-writer".to_owned())
            .spawn(move || writer.run())
            .map_err(spawn_error)?;
        Ok(AuditLog {
            inner: Arc::new(Inner {
                path: self.path,
                log_id,
                database,
                queue,
                progress,
                turns,
                payload_bytes_max: self.payload_bytes_max,
                principal: self.principal,
                filter: self.filter,
                clock: self.clock,
                threads: Mutex::new(Some(Threads { writer, projections })),
            }),
        })
    }
}

struct ProjectionThread {
    order: Sender<Order>,
    thread: JoinHandle<()>,
}

struct Threads {
    writer: JoinHandle<Result<(), Arc<str>>>,
    projections: Option<ProjectionThread>,
}

struct Inner {
    path: PathBuf,
    log_id: EventId,
    database: FileIdentity,
    queue: Arc<Queue>,
    progress: Arc<Progress>,
    turns: Arc<Turns>,
    payload_bytes_max: usize,
    principal: Option<EventId>,
    filter: Option<Filter>,
    clock: Clock,
    /// None once the log was closed.
    threads: Mutex<Option<Threads>>,
}

/// A log that did not close cleanly. What was acknowledged is safe all the same.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CloseError {
    /// The log could not be written at the end: events were refused, and their receipts said so.
    #[error("the log could not be written at the end: {0}")]
    Writer(Arc<str>),
    /// A thread panicked.
    #[error("the {0} thread panicked")]
    Panicked(&'static str),
    /// The read tables do not hold everything that was committed.
    #[error(transparent)]
    CatchUp(#[from] CatchUpError),
}

/// A projection that cannot be administered as asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ProjectionError {
    /// There is none with this name.
    #[error("there is no projection `{name}`; there are {}", projection_names().join(", "))]
    Unknown {
        /// The name.
        name: String,
    },
    /// It has not stopped, so there is nothing to retry or skip.
    #[error("the projection `{name}` has not stopped")]
    NotStopped {
        /// The name.
        name: &'static str,
    },
    /// It cannot go on without this event.
    #[error("event {seq} cannot be skipped: {reason}; rebuild the projection")]
    NotSkippable {
        /// The event.
        seq: Seq,
        /// Why not.
        reason: &'static str,
    },
    /// The file refused.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The skip could not be recorded.
    #[error(transparent)]
    Append(#[from] AppendError),
    /// SQLite refused.
    #[error("the projection cannot be changed: {0}")]
    Sqlite(#[from] rusqlite::Error),
    /// The lock file cannot be locked.
    #[error("the lock file cannot be locked: {0}")]
    Lock(#[from] std::io::Error),
}

fn projection_names() -> Vec<&'static str> {
    tables::PROJECTIONS.iter().map(|projection| projection.name).collect()
}

/// An open log: append to it from as many threads as you like.
///
/// It is cheap to clone, and every clone is the same log. The events go through a bounded queue to
/// one writer thread, which commits them in groups; another thread fills the read tables.
///
/// Dropping the last clone closes the log: what was sent is still written. Call [`AuditLog::close`]
/// to hear of errors.
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
/// log.caught_up(appended.seq)?; // in the read tables now
/// log.close()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct AuditLog {
    inner: Arc<Inner>,
}

impl fmt::Debug for AuditLog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AuditLog").field("path", &self.inner.path).finish_non_exhaustive()
    }
}

impl AuditLog {
    /// How to open the log at `path`.
    pub fn builder(path: impl Into<PathBuf>) -> Builder {
        Builder::new(path.into())
    }

    /// Opens the log at `path` with everything as it is by default, and makes it where there is none.
    ///
    /// # Errors
    /// As [`Builder::open`].
    pub fn open(path: impl Into<PathBuf>) -> Result<AuditLog, OpenError> {
        AuditLog::builder(path).open()
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.inner.path
    }

    /// The log's id: that of its first event.
    pub fn log_id(&self) -> EventId {
        self.inner.log_id
    }

    /// The last event that this process knows to be committed.
    pub fn committed(&self) -> Seq {
        self.inner.progress.committed()
    }

    /// Why nothing can be appended now, if that is so. The next append tries again.
    pub fn trouble(&self) -> Option<Arc<str>> {
        self.inner.progress.poisoned()
    }

    /// Now, by the log's clock.
    pub(crate) fn now(&self) -> Timestamp {
        (self.inner.clock)()
    }

    /// Events that were not, or perhaps not, written, since the log was opened: those whose receipts
    /// said so, and ends of dropped handles that the log did not take.
    pub fn refused(&self) -> u64 {
        self.inner.progress.refused()
    }

    /// Appends an event; blocks while the queue is full.
    ///
    /// The receipt says when it is committed. Without waiting for it an event may still be lost with
    /// the process.
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
    /// As [`AuditLog::append`]; and where the queue is full, the draft comes back.
    pub fn try_append(&self, draft: Draft) -> Result<Receipt, TryAppendError> {
        let mut draft = draft;
        if self.inner.queue.is_full() {
            // Without an encoding that would be in vain; the id is the same from now on.
            draft.id.get_or_insert_with(EventId::generate);
            return Err(TryAppendError::Full(Box::new(draft)));
        }
        let (message, receipt) = self.prepare(&mut draft)?;
        match self.inner.queue.try_send(message) {
            Ok(()) => Ok(receipt),
            Err(NotSent::Full) => Err(TryAppendError::Full(Box::new(draft))),
            Err(NotSent::Ended(error)) => Err(error.into()),
        }
    }

    /// Appends what a handle says when it is dropped: nobody is there to hear of an error, so an
    /// event that cannot be sent, or finds no room in the queue in time, is counted as refused.
    pub(crate) fn append_or_count(&self, draft: impl FnOnce() -> Draft, patience: Duration) {
        // The clock and the filter are the caller's code, and a panic that leaves a destructor while
        // the thread unwinds already would abort the process.
        let sent = catch_unwind(AssertUnwindSafe(|| {
            let (message, receipt) = self.prepare(&mut draft()).ok()?;
            // The writer counts what it refuses by itself.
            drop(receipt);
            self.inner.queue.send_within(message, patience).ok()
        }));
        if !matches!(sent, Ok(Some(()))) {
            self.inner.progress.add_refused(1);
        }
    }

    /// Appends an event; waits for room in the queue without blocking the executor. Any executor
    /// will do.
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
        if let Some(filter) = &self.inner.filter {
            filter(draft).map_err(AppendError::Refused)?;
        }
        let kind = draft.event.kind();
        if kind.is_reserved() {
            return Err(AppendError::Reserved(kind.name()));
        }
        self.prepare_own(draft, Effect::None)
    }

    fn prepare_own(&self, draft: &mut Draft, effect: Effect) -> Result<(Message, Receipt), AppendError> {
        let prepared = prepare(draft, self.inner.principal, self.inner.payload_bytes_max)?;
        let (ack, receipt) = Receipt::new(prepared.event_id);
        Ok((Message::Append(Box::new(Item { prepared, effect, ack })), receipt))
    }

    fn append_own(&self, event: Event, effect: Effect) -> Result<Appended, AppendError> {
        let mut draft = Draft::new(event);
        let (message, receipt) = self.prepare_own(&mut draft, effect)?;
        self.inner.queue.send(message)?;
        receipt.wait()
    }

    /// Blocks until everything that was sent before is committed, and returns the end of the log.
    ///
    /// # Errors
    /// If an event was refused that was sent since the last flush, through this clone or another; the
    /// receipts say what became of each. If the log cannot be written, or is closed.
    pub fn flush(&self) -> Result<Seq, AppendError> {
        let (answer, answered) = oneshot::channel();
        self.inner.queue.send(Message::Flush(answer))?;
        // Without an answer the writer's thread panicked just now.
        answered.recv().unwrap_or(Err(AppendError::Closed))
    }

    /// Blocks until the read tables hold every event up to `seq`: to read one's own writes.
    ///
    /// # Errors
    /// If a projection stopped before that, or nobody fills the read tables.
    pub fn caught_up(&self, seq: Seq) -> Result<(), CatchUpError> {
        self.inner.progress.wait_projected(seq, None)
    }

    /// As [`AuditLog::caught_up`], for at most `timeout`.
    ///
    /// # Errors
    /// As [`AuditLog::caught_up`]; and when the time is over.
    pub fn caught_up_within(&self, seq: Seq, timeout: Duration) -> Result<(), CatchUpError> {
        self.inner.progress.wait_projected(seq, Instant::now().checked_add(timeout))
    }

    /// Erases the payloads of events, for good: what stays is that there was an event, when, in which
    /// session, and this redaction. The chain can still be verified.
    ///
    /// Copies of the file, and exports, made before still have them.
    ///
    /// # Errors
    /// If an event is not there or must stay, or the log cannot be written; then nothing is erased.
    pub fn redact(
        &self,
        seqs: &[Seq],
        actor: &str,
        reason: &str,
        authority: Option<&str>,
    ) -> Result<Appended, AppendError> {
        let mut seqs = seqs.to_vec();
        seqs.sort_unstable();
        seqs.dedup();
        let event = PayloadRedacted {
            seqs: seqs.iter().map(|seq| seq.get()).collect(),
            actor: actor.to_owned(),
            reason: reason.to_owned(),
            authority: authority.map(str::to_owned),
        };
        self.append_own(Event::PayloadRedacted(event), Effect::Redact(seqs))
    }

    /// Fills a projection's tables anew, beside the live ones, which take over when they have caught
    /// up: readers never see half of a table. This returns when it has begun.
    ///
    /// # Errors
    /// If there is no such projection, or the file cannot be written.
    pub fn rebuild(&self, projection: &str) -> Result<(), ProjectionError> {
        let projection = find_projection(projection)?;
        self.administer(|connection| projection.start_rebuild(connection))
    }

    /// Lets a stopped projection try again: after an upgrade, or when what was in its way is gone.
    ///
    /// # Errors
    /// If there is no such projection, it has not stopped, or the file cannot be written.
    pub fn retry(&self, projection: &str) -> Result<(), ProjectionError> {
        let projection = find_projection(projection)?;
        let mut changed = 0;
        self.administer(|connection| {
            changed = connection.execute(
                "UPDATE projections SET stopped_at = NULL, error = NULL WHERE name = ?1 AND stopped_at IS NOT NULL",
                [projection.name],
            )?;
            Ok(())
        })?;
        match changed {
            0 => Err(ProjectionError::NotStopped { name: projection.name }),
            _ => Ok(()),
        }
    }

    /// Lets a stopped projection go on without the event that it cannot apply. The log records who
    /// decided so, and why; the read tables lack what that event says.
    ///
    /// # Errors
    /// If there is no such projection, it has not stopped, or the log cannot be written.
    pub fn skip(&self, projection: &str, actor: &str, reason: &str) -> Result<Appended, ProjectionError> {
        let projection = find_projection(projection)?;
        let (mut stopped, mut entry) = (None, None);
        self.administer(|connection| {
            for stage in [tables::Stage::Live, tables::Stage::Building] {
                let cursor = tables::cursor(connection, projection.name, stage)?;
                stopped = stopped.or(cursor.and_then(|cursor| cursor.stopped).map(|stopped| stopped.seq));
            }
            if let Some(seq) = stopped {
                entry = connection
                    .query_row("SELECT entry FROM log WHERE seq = ?1", [seq_to_sql(seq)], |row| row.get(0))
                    .optional()?;
            }
            Ok(())
        })?;
        let seq = stopped.ok_or(ProjectionError::NotStopped { name: projection.name })?;
        let entry: Vec<u8> =
            entry.ok_or(ProjectionError::NotSkippable { seq, reason: "the log does not have it" })?;
        if Entry::decode(&entry).is_ok_and(|entry| entry.kind == Kind::PayloadRedacted.code()) {
            let reason = "the tables would still say what it redacts";
            return Err(ProjectionError::NotSkippable { seq, reason });
        }
        let event = ProjectionSkipped {
            projection: projection.name.to_owned(),
            version: projection.version,
            seq: seq.get(),
            actor: actor.to_owned(),
            reason: reason.to_owned(),
        };
        let effect = Effect::Skip { projection: projection.name, version: projection.version, seq };
        Ok(self.append_own(Event::ProjectionSkipped(event), effect)?)
    }

    /// Changes what is kept about projections, in a transaction of its own.
    fn administer(
        &self,
        change: impl FnOnce(&rusqlite::Connection) -> rusqlite::Result<()>,
    ) -> Result<(), ProjectionError> {
        let log = OpenLog::open_again(&self.inner.path, Durability::Normal, self.inner.database)?;
        let _turn = self.inner.turns.take(crate::log::turns::Who::Projection)?;
        let tx = begin(&log.connection)?;
        change(&tx)?;
        Ok(tx.commit()?)
    }

    /// Closes the log for every clone: what was sent before is committed, and in the read tables,
    /// when this returns.
    ///
    /// # Errors
    /// If the log could not be written at the end, a thread panicked, or the read tables are behind.
    pub fn close(self) -> Result<(), CloseError> {
        self.inner.close()
    }
}

impl Inner {
    fn close(&self) -> Result<(), CloseError> {
        // Held to the end: when a second one who closes gets it, the log is closed.
        let mut threads = self.threads.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(Threads { writer, projections }) = threads.take() else { return Ok(()) };
        // A writer that is gone already does not hear it.
        let _ = self.queue.send(Message::Close);
        let written = writer.join().map_err(|_| CloseError::Panicked("writer's"));
        let mut projected = Ok(());
        if let Some(ProjectionThread { order, thread }) = projections {
            let _ = order.send(Order::Finish);
            projected = thread.join().map_err(|_| CloseError::Panicked("projections'")).and_then(|()| {
                Ok(self.progress.wait_projected(self.progress.committed(), Some(Instant::now()))?)
            });
        }
        written?.map_err(CloseError::Writer)?;
        projected
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        // Who wants to hear of errors calls `close`.
        let _ = self.close();
    }
}

fn find_projection(name: &str) -> Result<&'static tables::Projection, ProjectionError> {
    tables::find(name).ok_or_else(|| ProjectionError::Unknown { name: name.to_owned() })
}
