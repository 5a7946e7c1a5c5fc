//! The writer: one thread a process that drains the queue into the log.
//!
//! Everything that fixes the log's order happens here, inside one transaction a batch: places, times
//! of recording and links. After a commit that failed the writer appends nothing until it has opened
//! the file again and read its head.

mod batch;
mod queue;
mod receipt;

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender};
use rusqlite::{Connection, OptionalExtension};
use tokio::sync::Notify;

pub(crate) use batch::{Clock, begin, is_busy};
pub(crate) use queue::{Effect, Item, Message};
pub use receipt::{AppendError, AppendOutcome, Appended, Receipt, ReceiptFuture, TryAppendError};

use crate::event::{Digest, Event, EventId, EventsLost, Seq, Timestamp};
use crate::limits::{SALT_BYTES, WAL_BYTES_CHECKPOINT};
use crate::log::open::{self, Durability, OpenError, side_file};
use crate::log::turns::{Turns, Who};
use crate::log::{FileIdentity, rows};
use crate::prepare::Parts;
use crate::progress::Progress;
use batch::Batch;
use receipt::Outcome;

/// How long the writer lets the log rest before it moves the write-ahead log into the file.
const IDLE_BEFORE_CHECKPOINT: Duration = Duration::from_millis(200);

/// Least time between two attempts to open the log again after a failure.
const REOPEN_PAUSE: Duration = Duration::from_millis(100);

/// How the writer works.
#[derive(Clone)]
pub(crate) struct Config {
    pub(crate) path: PathBuf,
    pub(crate) durability: Durability,
    pub(crate) batch_events: usize,
    pub(crate) batch_bytes: usize,
    pub(crate) linger: Duration,
    pub(crate) clock: Clock,
}

/// What the writer shares with the rest of the process.
pub(crate) struct Shared {
    pub(crate) progress: Arc<Progress>,
    pub(crate) turns: Arc<Turns>,
    /// Tells those who wait for room in the queue that there is some.
    pub(crate) room: Arc<Notify>,
    /// Wakes the projections.
    pub(crate) wake: Sender<()>,
}

/// The file as the writer has it open.
pub(crate) struct OpenLog {
    pub(crate) connection: Connection,
    identity: FileIdentity,
}

impl OpenLog {
    pub(crate) fn open(path: &Path, durability: Durability) -> Result<OpenLog, OpenError> {
        let (connection, identity) = open::open_writer(path, durability)?;
        Ok(OpenLog { connection, identity })
    }
}

/// A batch that failed, and whether it may have taken effect all the same.
enum Failure {
    NotWritten(Arc<str>),
    Ambiguous(Arc<str>),
}

/// Events that could not be written: what is recorded once writing works again.
struct Lost {
    count: u64,
    since: Timestamp,
    reason: Arc<str>,
    /// Events of a commit that may have taken effect: they are looked for before they are counted.
    unsure: Vec<EventId>,
}

/// Why nothing can be appended now.
struct Poison {
    reason: Arc<str>,
    try_again: Instant,
}

pub(crate) struct Writer {
    config: Config,
    shared: Shared,
    receiver: Receiver<Message>,
    log: Option<OpenLog>,
    log_id: EventId,
    /// The last event that this writer acknowledged: a log that is opened again must still have it.
    acknowledged: Option<(Seq, Digest)>,
    poison: Option<Poison>,
    lost: Option<Lost>,
    checkpoint_due: bool,
}

impl Writer {
    /// Reads the head of an open log.
    pub(crate) fn new(
        log: OpenLog,
        config: Config,
        shared: Shared,
        receiver: Receiver<Message>,
    ) -> Result<Writer, OpenError> {
        let sqlite = |source| OpenError::sqlite(&config.path, "its events cannot be read", source);
        let log_id = rows::log_id(&log.connection).map_err(sqlite)?;
        let head = rows::head(&log.connection).map_err(sqlite)?;
        shared.progress.set_committed(head.seq);
        Ok(Writer {
            log: Some(log),
            log_id,
            acknowledged: Some((head.seq, head.hash)),
            poison: None,
            lost: None,
            checkpoint_due: true,
            config,
            shared,
            receiver,
        })
    }

    /// The log's id.
    pub(crate) fn log_id(&self) -> EventId {
        self.log_id
    }

    /// Works until it is told to close, and says what kept it from closing cleanly.
    pub(crate) fn run(mut self) -> Result<(), Arc<str>> {
        let guard = PanicGuard { progress: self.shared.progress.clone() };
        let mut closing = false;
        while !closing {
            let has_duties = self.checkpoint_due || self.lost.is_some();
            let patience = if has_duties { IDLE_BEFORE_CHECKPOINT } else { Duration::MAX };
            let first = match self.receiver.recv_timeout(patience) {
                Ok(message) => message,
                Err(RecvTimeoutError::Timeout) => {
                    self.rest();
                    continue;
                }
                Err(RecvTimeoutError::Disconnected) => break,
            };
            let (items, end) = self.gather(first);
            self.commit(items);
            match end {
                End::Batch => {}
                End::Flush(answer) => {
                    let state = match self.shared.progress.poisoned() {
                        None => Ok(self.shared.progress.committed()),
                        Some(reason) => Err(reason),
                    };
                    // Who does not wait any longer does not want to know.
                    let _ = answer.send(state);
                }
                End::Close => closing = true,
            }
        }
        // Events may stand in the queue behind the word to close; what was taken is written.
        while let Ok(first) = self.receiver.try_recv() {
            let (items, _) = self.gather(first);
            self.commit(items);
        }
        let result = self.finish();
        drop(guard);
        result
    }

    /// Takes what is waiting, up to the limits of a batch, and lingers for more if so configured.
    fn gather(&self, first: Message) -> (VecDeque<Item>, End) {
        let mut items = VecDeque::new();
        let (mut bytes, mut next) = (0, Some(first));
        let deadline = (!self.config.linger.is_zero()).then(|| Instant::now() + self.config.linger);
        let end = loop {
            match next.take() {
                Some(Message::Append(item)) => {
                    bytes += item.prepared.cell.len();
                    items.push_back(*item);
                }
                Some(Message::Flush(answer)) => break End::Flush(answer),
                Some(Message::Close) => break End::Close,
                None => break End::Batch,
            }
            if items.len() >= self.config.batch_events || bytes >= self.config.batch_bytes {
                break End::Batch;
            }
            next = match deadline {
                None => self.receiver.try_recv().ok(),
                Some(deadline) => self.receiver.recv_deadline(deadline).ok(),
            };
        };
        self.shared.room.notify_waiters();
        (items, end)
    }

    /// Commits a batch, or refuses it, and answers every receipt.
    fn commit(&mut self, items: VecDeque<Item>) {
        if items.is_empty() {
            return;
        }
        if let Err(reason) = self.ensure_open() {
            self.refuse(items, &Failure::NotWritten(reason));
            return;
        }
        match self.try_commit(&items) {
            Ok(outcomes) => {
                let _ = self.shared.wake.try_send(());
                for (item, outcome) in items.into_iter().zip(outcomes) {
                    item.ack.send(outcome);
                }
                self.checkpoint_due = true;
                self.checkpoint_if_large();
            }
            Err(failure) => {
                let (Failure::NotWritten(reason) | Failure::Ambiguous(reason)) = &failure;
                self.set_poison(reason.clone());
                self.refuse(items, &failure);
            }
        }
    }

    fn try_commit(&mut self, items: &VecDeque<Item>) -> Result<Vec<Outcome>, Failure> {
        let not_written = |error: &dyn std::fmt::Display| Failure::NotWritten(error.to_string().into());
        let ambiguous = |error: &dyn std::fmt::Display| Failure::Ambiguous(error.to_string().into());
        let Some(log) = &self.log else { return Err(not_written(&"the log is not open")) };
        let _turn = self
            .shared
            .turns
            .take(Who::Writer)
            .map_err(|error| not_written(&format_args!("the lock file: {error}")))?;
        let mut batch =
            Batch::begin(&log.connection, self.config.clock.clone()).map_err(|error| not_written(&error))?;
        self.require_same_file(log.identity).map_err(|reason| not_written(&reason))?;
        if let Some(lost) = &self.lost {
            append_lost(&mut batch, lost).map_err(|error| not_written(&error))?;
        }
        let mut outcomes = Vec::with_capacity(items.len());
        for item in items {
            outcomes.push(batch.append(item).map_err(|error| not_written(&error))?);
        }
        let head = batch.head();
        batch.commit().map_err(|error| ambiguous(&error))?;
        // A file that took this one's place does not have what was committed to the old one.
        self.require_same_file(log.identity).map_err(|reason| ambiguous(&reason))?;
        self.lost = None;
        self.acknowledged = Some((head.seq, head.hash));
        self.shared.progress.set_committed(head.seq);
        Ok(outcomes)
    }

    fn require_same_file(&self, identity: FileIdentity) -> Result<(), String> {
        match FileIdentity::at(&self.config.path) {
            Ok(found) if found == identity => Ok(()),
            Ok(_) => Err(format!("{}: another file took its place", self.config.path.display())),
            Err(error) => Err(format!("{}: {error}", self.config.path.display())),
        }
    }

    /// Answers what cannot be written, and counts it.
    fn refuse(&mut self, items: VecDeque<Item>, failure: &Failure) {
        let now = (self.config.clock)();
        let (Failure::NotWritten(reason) | Failure::Ambiguous(reason)) = failure;
        let lost = self.lost.get_or_insert_with(|| Lost {
            count: 0,
            since: now,
            reason: reason.clone(),
            unsure: Vec::new(),
        });
        self.shared.progress.add_refused(items.len() as u64);
        for item in items {
            match failure {
                Failure::NotWritten(reason) => {
                    lost.count += 1;
                    item.ack.send(Err(AppendError::NotWritten { reason: reason.clone() }));
                }
                Failure::Ambiguous(reason) => {
                    lost.unsure.push(item.prepared.event_id);
                    item.ack.send(Err(AppendError::Ambiguous { reason: reason.clone() }));
                }
            }
        }
    }

    fn set_poison(&mut self, reason: Arc<str>) {
        self.log = None;
        self.shared.progress.set_poisoned(Some(reason.clone()));
        self.poison = Some(Poison { reason, try_again: Instant::now() + REOPEN_PAUSE });
    }

    /// After a failure: opens the log again, at a limited rate, and makes sure that it is the same
    /// log with everything in it that was acknowledged.
    fn ensure_open(&mut self) -> Result<(), Arc<str>> {
        let Some(poison) = &self.poison else { return Ok(()) };
        if Instant::now() < poison.try_again {
            return Err(poison.reason.clone());
        }
        match self.reopen() {
            Ok(log) => {
                self.log = Some(log);
                self.poison = None;
                self.shared.progress.set_poisoned(None);
                Ok(())
            }
            Err(reason) => {
                self.set_poison(reason.clone());
                Err(reason)
            }
        }
    }

    fn reopen(&self) -> Result<OpenLog, Arc<str>> {
        let log = OpenLog::open(&self.config.path, self.config.durability)
            .map_err(|error| Arc::from(error.to_string()))?;
        let read = || -> rusqlite::Result<(EventId, Option<Digest>)> {
            let acknowledged = self.acknowledged.map(|(seq, _)| rows::link_at(&log.connection, seq));
            Ok((rows::log_id(&log.connection)?, acknowledged.transpose()?.flatten()))
        };
        let (log_id, link) = read().map_err(|error| Arc::from(error.to_string()))?;
        if log_id != self.log_id {
            return Err(format!("{}: is another log now", self.config.path.display()).into());
        }
        if let Some((seq, acknowledged)) = self.acknowledged
            && link != Some(acknowledged)
        {
            return Err(format!(
                "{}: no longer has event {seq}, which was acknowledged: it was cut off or replaced by an older copy",
                self.config.path.display()
            )
            .into());
        }
        Ok(log)
    }

    /// What is done when nothing is to be done.
    fn rest(&mut self) {
        if self.lost.is_some() && self.ensure_open().is_ok() {
            self.record_lost();
        }
        if self.checkpoint_due && self.checkpoint("PASSIVE").is_ok() {
            self.checkpoint_due = false;
        }
    }

    /// Records the refused events when no batch comes to do it.
    fn record_lost(&mut self) {
        if let Err(failure) = self.try_commit(&VecDeque::new()) {
            let (Failure::NotWritten(reason) | Failure::Ambiguous(reason)) = failure;
            self.set_poison(reason);
        } else {
            let _ = self.shared.wake.try_send(());
        }
    }

    fn checkpoint_if_large(&mut self) {
        let wal = side_file(&self.config.path, "-wal");
        if std::fs::metadata(wal).is_ok_and(|metadata| metadata.len() >= WAL_BYTES_CHECKPOINT) {
            // A reader may keep it from finishing; it is tried again after the next batch.
            let _ = self.checkpoint("PASSIVE");
        }
    }

    /// Moves the write-ahead log into the file, as far as readers allow. Nothing depends on it but
    /// the size of the write-ahead log.
    fn checkpoint(&self, mode: &str) -> rusqlite::Result<()> {
        let Some(log) = &self.log else { return Ok(()) };
        let Ok(_turn) = self.shared.turns.take(Who::Writer) else { return Ok(()) };
        log.connection
            .query_row(&format!("PRAGMA wal_checkpoint({mode})"), [], |_| Ok(()))
            .optional()
            .map(drop)
    }

    fn finish(mut self) -> Result<(), Arc<str>> {
        if self.lost.is_some() {
            std::thread::sleep(
                self.poison.as_ref().map_or(Duration::ZERO, |poison| {
                    poison.try_again.saturating_duration_since(Instant::now())
                }),
            );
            self.ensure_open()?;
            self.record_lost();
        }
        match &self.poison {
            Some(poison) => Err(poison.reason.clone()),
            None => Ok(()),
        }
    }
}

/// Appends `events.lost`, unless it turns out that nothing was.
fn append_lost(batch: &mut Batch<'_>, lost: &Lost) -> rusqlite::Result<()> {
    let mut count = lost.count;
    for event_id in &lost.unsure {
        if !batch.has(*event_id)? {
            count += 1;
        }
    }
    if count == 0 {
        return Ok(());
    }
    let event = Event::EventsLost(EventsLost { count, since: lost.since, reason: lost.reason.to_string() });
    let mut salt = [0; SALT_BYTES];
    let parts = Parts { event_id: EventId::generate(), session: None, occurred_at: None, principal: None };
    let failed =
        |error: &dyn std::fmt::Display| rusqlite::Error::ToSqlConversionFailure(error.to_string().into());
    getrandom::fill(&mut salt).map_err(|error| failed(&error))?;
    let prepared = parts.with_payload(&event, salt).map_err(|error| failed(&error))?;
    match batch.append_event(&prepared)? {
        Ok(_) => Ok(()),
        Err(error) => Err(failed(&error)),
    }
}

/// What ended the gathering of a batch.
enum End {
    Batch,
    Flush(oneshot::Sender<Result<Seq, Arc<str>>>),
    Close,
}

/// Poisons the handle when the writer's thread panics: nobody will answer any more.
struct PanicGuard {
    progress: Arc<Progress>,
}

impl Drop for PanicGuard {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.progress.set_poisoned(Some(Arc::from("the writer's thread panicked")));
        }
    }
}
