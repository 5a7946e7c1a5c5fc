//! The writer: one thread of a process, which drains the queue into the log.
//!
//! The writer sets the sequence numbers, the times of recording and the links of events, in one transaction for each
//! batch. After a commit that failed, the writer appends nothing until it has opened the file again and read its head.

mod held;
mod queue;
mod batch;
mod lost;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crossbeam_channel::Sender;

pub(crate) use batch::Clock;
pub(crate) use queue::{Item, Message, NotSent, Queue, Waiting};

use crate::event::{EventId, Seq};
use crate::log::checkpoint::Checkpoints;
use crate::log::generation;
use crate::log::write_lock::{Who, WriteLock};
use crate::log::{Durability, OpenError, OpenLog, Standing, rows};
use crate::progress::Progress;
use crate::receipt::wait_group::Wakes;
use crate::receipt::{AppendError, Outcome};
use batch::Batch;
use held::{Held, REOPEN_PAUSE};
use lost::Losses;

/// Idle time after which the writer moves the write-ahead log into the file.
const IDLE_BEFORE_CHECKPOINT: Duration = Duration::from_millis(200);

/// Interval at which an idle writer checks whether its files are still the log's. It also bounds the time until the
/// writer begins to release a write-ahead log that was removed.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// Longest time that a closing writer waits for readers of a write-ahead log that was removed.
const LETTING_GO_TIMEOUT: Duration = Duration::from_secs(10);

/// The settings of the writer.
#[derive(Clone)]
pub(crate) struct Config {
    /// The path of the file, without a symbolic link at its end.
    pub(crate) path: PathBuf,
    /// The path as the caller named it.
    pub(crate) name: PathBuf,
    pub(crate) durability: Durability,
    pub(crate) batch_events: usize,
    pub(crate) batch_bytes: usize,
    pub(crate) linger: Duration,
    pub(crate) clock: Clock,
}

/// State that the writer shares with the rest of the process.
pub(crate) struct Shared {
    pub(crate) progress: Arc<Progress>,
    pub(crate) write_lock: Arc<WriteLock>,
    pub(crate) queue: Arc<Queue>,
    /// Wakes the projections.
    pub(crate) wake: Sender<()>,
}

/// The failure of a batch. If it is ambiguous, the batch may have taken effect.
enum CommitFailure {
    NotWritten(Arc<str>),
    Ambiguous(Arc<str>),
}

pub(crate) struct Writer {
    config: Config,
    shared: Shared,
    held: Held,
    log_id: EventId,
    losses: Losses,
    /// The error for the next flush, if an event was refused since the last flush. If one of these events was perhaps
    /// written, it is `Ambiguous`.
    unflushed: Option<AppendError>,
    checkpoint_due: bool,
}

impl Writer {
    /// Reads the head of an open log.
    pub(crate) fn new(log: OpenLog, config: Config, shared: Shared) -> Result<Writer, OpenError> {
        let sqlite = |source| OpenError::sqlite(&config.path, "its events cannot be read", source);
        let log_id = rows::log_id(&log.connection).map_err(sqlite)?;
        let head = rows::head(&log.connection).map_err(sqlite)?;
        shared.progress.set_committed(head.seq);
        let log = log.named(&config.name);
        shared.write_lock.presence().opened(&config.path, &log.files);
        shared.write_lock.in_file().set(log.in_file);
        let held = Held {
            path: config.path.clone(),
            name: config.name.clone(),
            durability: config.durability,
            database: log.database(),
            progress: shared.progress.clone(),
            write_lock: shared.write_lock.clone(),
            log: Some(log),
            acknowledged: head,
            poison: None,
        };
        Ok(Writer {
            config,
            shared,
            held,
            log_id,
            losses: Losses::default(),
            unflushed: None,
            checkpoint_due: true,
        })
    }

    /// The log's id.
    pub(crate) fn log_id(&self) -> EventId {
        self.log_id
    }

    /// Runs until the order to close. The error is the reason why the log could not be closed cleanly.
    pub(crate) fn run(mut self) -> Result<(), Arc<str>> {
        let _guard = EndGuard { progress: self.shared.progress.clone(), queue: self.shared.queue.clone() };
        loop {
            let has_duties = self.checkpoint_due || !self.losses.is_empty();
            let wait = if has_duties { IDLE_BEFORE_CHECKPOINT } else { LOOK_EVERY };
            match self.shared.queue.take(Some(Instant::now() + wait)) {
                None => self.idle(),
                Some(first) => {
                    if let End::Close = self.serve(first) {
                        break;
                    }
                }
            }
        }
        // Events that were sent before the order to close are before it in the queue. Other callers may still send
        // events until the queue is closed here; these are committed too.
        self.shared.queue.close();
        while let Some(first) = self.shared.queue.try_take() {
            self.serve(first);
        }
        self.finish()
    }

    /// Commits the events that are waiting, and answers a flush.
    fn serve(&mut self, first: Message) -> End {
        let (items, mut end) = self.gather(first);
        self.commit(items);
        // After the commit: a flush answers for everything that was sent before it.
        if let End::Flush(answer) = &mut end
            && let Some(answer) = answer.take()
        {
            // The caller may no longer wait for the flush; then there is nobody to notify.
            let _ = answer.send(self.flush());
        }
        end
    }

    /// Takes what is waiting, up to the limits of a batch, and waits for more if `linger` is set.
    fn gather(&self, first: Message) -> (Vec<Item>, End) {
        let queue = &self.shared.queue;
        // Callers that send from now on may be too late for this batch, so they join another wait group.
        queue.begin_batch();
        let mut items = Vec::new();
        let (mut events, mut bytes, mut next) = (0, 0, Some(first));
        let deadline = (!self.config.linger.is_zero()).then(|| Instant::now() + self.config.linger);
        let end = loop {
            match next.take() {
                Some(Message::Append(item)) => {
                    events += item.events().len();
                    bytes += item.events().iter().map(|prepared| prepared.cell.len()).sum::<usize>();
                    items.push(item);
                }
                Some(Message::Flush(answer)) => break End::Flush(Some(answer)),
                Some(Message::Close) => break End::Close,
                None => break End::Batch,
            }
            if events >= self.config.batch_events || bytes >= self.config.batch_bytes {
                break End::Batch;
            }
            next = queue.try_take().or_else(|| {
                let deadline = deadline?;
                // This batch waits for more events, and their senders may wait for room.
                queue.tell_of_room();
                queue.take(Some(deadline))
            });
        };
        queue.tell_of_room();
        (items, end)
    }

    /// Commits a batch, or refuses it, and answers every receipt.
    fn commit(&mut self, items: Vec<Item>) {
        if items.is_empty() {
            return;
        }
        if let Err(reason) = self.held.ensure_open() {
            self.refuse(items, &CommitFailure::NotWritten(reason));
            return;
        }
        self.count_given_up();
        let began = Instant::now();
        match self.try_commit(&items) {
            Ok(outcomes) => {
                // The head is published already: a caller that gets its answer below finds its event committed.
                self.shared.progress.tell_commit(outcomes.len(), began.elapsed());
                let _ = self.shared.wake.try_send(());
                let (mut outcomes, mut wakes) = (outcomes.into_iter(), Wakes::default());
                for item in items {
                    item.answer(&mut outcomes, &mut wakes);
                }
                // The callers are woken before the checkpoint, which may take long.
                drop(wakes);
                if let Some(log) = &self.held.log {
                    log.checkpoints.if_large(&log.connection, &self.shared.write_lock, Who::Writer);
                }
            }
            Err(failure) => {
                let (CommitFailure::NotWritten(reason) | CommitFailure::Ambiguous(reason)) = &failure;
                // Poisoned before the senders are answered, so that they find the reason if they ask for it.
                self.held.set_poison(reason.clone());
                self.refuse(items, &failure);
            }
        }
    }

    fn try_commit(&mut self, items: &[Item]) -> Result<Vec<Outcome>, CommitFailure> {
        let not_written = |error: &dyn std::fmt::Display| CommitFailure::NotWritten(error.to_string().into());
        let Some(log) = &self.held.log else { return Err(not_written(&"the log is not open")) };
        // Declared before the batch, so dropped after it: a batch that is rolled back still holds the write lock.
        let _guard = self
            .shared
            .write_lock
            .take(Who::Writer)
            .map_err(|error| not_written(&format_args!("the lock file: {error}")))?;
        let appending = log
            .begin(self.held.acknowledged, self.shared.write_lock.in_file())
            .map_err(|error| not_written(&error))?;
        let mut batch = Batch::new(appending, self.config.clock.clone());
        // The record of lost events comes first, so that it stands before the events of this batch, and takes effect
        // with them or not at all.
        let record = self.losses.append(&mut batch).map_err(|error| not_written(&error))?;
        let mut outcomes = Vec::with_capacity(items.len());
        for item in items {
            batch.append(item, &mut outcomes).map_err(|error| not_written(&error))?;
        }
        let head = batch.head();
        if let Err(error) = batch.commit() {
            // The record is part of the batch, so it is also unknown whether the record took effect.
            self.losses.perhaps_recorded(record);
            return Err(CommitFailure::Ambiguous(error.to_string().into()));
        }
        self.losses.recorded();
        self.held.acknowledged = head;
        self.shared.progress.set_committed(head.seq);
        self.checkpoint_due = true;
        Ok(outcomes)
    }

    /// Refuses events that cannot be written, and counts them.
    fn refuse(&mut self, items: Vec<Item>, failure: &CommitFailure) {
        let now = (self.config.clock)();
        let events: usize = items.iter().map(|item| item.events().len()).sum();
        self.shared.progress.add_refused(events as u64);
        let error = match failure {
            CommitFailure::NotWritten(reason) => AppendError::NotWritten { reason: reason.clone() },
            CommitFailure::Ambiguous(reason) => AppendError::Ambiguous { reason: reason.clone() },
        };
        // `Ambiguous` stays: a flush must not report that nothing was written if something may have been.
        if !matches!(self.unflushed, Some(AppendError::Ambiguous { .. })) {
            self.unflushed = Some(error.clone());
        }
        for item in items {
            for prepared in item.events() {
                match failure {
                    CommitFailure::NotWritten(reason) => self.losses.add(prepared.event_id, now, reason),
                    CommitFailure::Ambiguous(reason) => {
                        self.losses.add_ambiguous(prepared.event_id, now, reason)
                    }
                }
            }
            item.refuse(&error);
        }
    }

    /// The answer to a flush: an error if anything was refused since the last one.
    fn flush(&mut self) -> Result<Seq, AppendError> {
        if let Some(error) = self.unflushed.take() {
            return Err(error);
        }
        match self.shared.progress.poisoned() {
            Some(reason) => Err(AppendError::NotWritten { reason }),
            None => Ok(self.shared.progress.committed()),
        }
    }

    /// Does the work of an idle writer: checks its files, opens the log again, records losses, and checkpoints.
    fn idle(&mut self) {
        self.held.check_files();
        // A failure is stored in `progress` for callers that ask, and the next round tries again.
        let _ = self.held.ensure_open();
        let _ = self.record_losses();
        if self.checkpoint_due && self.checkpoint().is_ok() {
            self.checkpoint_due = false;
        }
    }

    fn count_given_up(&mut self) {
        let events = self.shared.queue.take_given_up();
        if events > 0 {
            self.losses.add_given_up((self.config.clock)(), events);
        }
    }

    /// Records refused events in a transaction without a batch.
    fn record_losses(&mut self) -> Result<(), Arc<str>> {
        self.count_given_up();
        if self.losses.is_empty() {
            return Ok(());
        }
        self.held.ensure_open()?;
        self.try_commit(&[]).map_err(|failure| {
            let (CommitFailure::NotWritten(reason) | CommitFailure::Ambiguous(reason)) = failure;
            self.held.set_poison(reason.clone());
            reason
        })?;
        let _ = self.shared.wake.try_send(());
        Ok(())
    }

    /// Marks the log as closed in its file. The mark needs no flush of its own: it becomes durable with the rest of the
    /// write-ahead log.
    fn mark_closed(&self, log: &OpenLog) -> rusqlite::Result<()> {
        let Ok(_guard) = self.shared.write_lock.take(Who::Writer) else { return Ok(()) };
        // Nothing is written to files that are no longer the log's.
        if !matches!(log.files.standing(&self.config.path), Ok(Standing::Same)) {
            return Ok(());
        }
        log.connection.pragma_update(None, "synchronous", "NORMAL")?;
        generation::close(&log.connection)
    }

    fn checkpoint(&self) -> rusqlite::Result<()> {
        let Some(log) = &self.held.log else { return Ok(()) };
        Checkpoints::passive(&log.connection, &self.shared.write_lock, Who::Writer)
    }

    /// Closes the log, after a last attempt to record the refused events.
    fn finish(mut self) -> Result<(), Arc<str>> {
        self.held.check_files();
        // Before `try_again`, an attempt to open the log again would be refused.
        if let Some(poison) = &self.held.poison {
            std::thread::sleep(poison.try_again.saturating_duration_since(Instant::now()));
        }
        let began = Instant::now();
        // This is the last chance to move the commits that only a removed write-ahead log has into the log.
        while self.held.poison.as_ref().is_some_and(|poison| poison.removed.is_some())
            && began.elapsed() < LETTING_GO_TIMEOUT
            && self.held.ensure_open().is_err()
        {
            std::thread::sleep(REOPEN_PAUSE);
        }
        let result = self.record_losses();
        if let Some(log) = &self.held.log {
            // Without the mark, the next process that opens the log makes more checks. Nothing else depends on it.
            let _ = self.mark_closed(log);
        }
        // Closed under the write lock. Otherwise two processes that close at once could each see the other as a user of
        // the file, and neither would remove the write-ahead log.
        let _guard = self.shared.write_lock.take(Who::Writer);
        if self.held.log.take().is_some() {
            self.shared.write_lock.presence().closed();
        }
        result
    }
}

/// The reason why the gathering of a batch ended.
enum End {
    Batch,
    Flush(Option<oneshot::Sender<Result<Seq, AppendError>>>),
    Close,
}

/// Ends the queue when the writer's thread ends, even by a panic. No other thread would answer the callers.
struct EndGuard {
    progress: Arc<Progress>,
    queue: Arc<Queue>,
}

impl Drop for EndGuard {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let reason: Arc<str> = Arc::from("the writer's thread panicked; open the log again");
            self.progress.set_poisoned(Some(reason.clone()));
            // Messages that are still in the queue were not written. The acks of the current batch are dropped without
            // an answer, so their receipts report `Ambiguous`.
            self.queue.end(AppendError::NotWritten { reason });
        } else {
            self.queue.end(AppendError::Closed);
        }
    }
}
