//! The writer: one thread a process that drains the queue into the log.
//!
//! Everything that fixes the log's order happens here, inside one transaction a batch: places, times
//! of recording and links. After a commit that failed the writer appends nothing until it has opened
//! the file again and read its head.

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
use crate::log::turns::{Turns, Who};
use crate::log::{Durability, OpenError, OpenLog, Standing, rows};
use crate::progress::Progress;
use crate::receipt::gate::Calls;
use crate::receipt::{AppendError, Outcome};
use batch::Batch;
use held::{Held, REOPEN_PAUSE};
use lost::Losses;

/// How long the writer lets the log rest before it moves the write-ahead log into the file.
const IDLE_BEFORE_CHECKPOINT: Duration = Duration::from_millis(200);

/// How often an idle writer looks whether its files are still the log's: somebody who waits for it to let go
/// of a write-ahead log that was removed waits no longer than this.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// How long a writer that closes waits for readers of a write-ahead log that was removed.
const LETTING_GO_PATIENCE: Duration = Duration::from_secs(10);

/// How the writer works.
#[derive(Clone)]
pub(crate) struct Config {
    /// The file, without a symbolic link at its end.
    pub(crate) path: PathBuf,
    /// As the caller named it.
    pub(crate) name: PathBuf,
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
    pub(crate) queue: Arc<Queue>,
    /// Wakes the projections.
    pub(crate) wake: Sender<()>,
}

/// A batch that failed, and whether it may have taken effect all the same.
enum Failure {
    NotWritten(Arc<str>),
    Ambiguous(Arc<str>),
}

pub(crate) struct Writer {
    config: Config,
    shared: Shared,
    held: Held,
    log_id: EventId,
    losses: Losses,
    /// What was refused and nobody has heard of by a flush; where one event was perhaps written, that.
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
        shared.turns.presence().opened(&config.path, &log.files);
        shared.turns.in_file().set(log.in_file);
        let held = Held {
            path: config.path.clone(),
            name: config.name.clone(),
            durability: config.durability,
            database: log.database(),
            progress: shared.progress.clone(),
            turns: shared.turns.clone(),
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

    /// Works until it is told to close, and says what kept it from closing cleanly.
    pub(crate) fn run(mut self) -> Result<(), Arc<str>> {
        let _guard = EndGuard { progress: self.shared.progress.clone(), queue: self.shared.queue.clone() };
        loop {
            let has_duties = self.checkpoint_due || !self.losses.is_empty();
            let patience = if has_duties { IDLE_BEFORE_CHECKPOINT } else { LOOK_EVERY };
            match self.shared.queue.take(Some(Instant::now() + patience)) {
                None => self.rest(),
                Some(first) => {
                    if let End::Close = self.serve(first) {
                        break;
                    }
                }
            }
        }
        // What was sent before the word to close stands before it; what others were about to send
        // then may stand behind it.
        self.shared.queue.close();
        while let Some(first) = self.shared.queue.try_take() {
            self.serve(first);
        }
        self.finish()
    }

    /// Commits what is waiting, and does as it is told.
    fn serve(&mut self, first: Message) -> End {
        let (items, mut end) = self.gather(first);
        self.commit(items);
        if let End::Flush(answer) = &mut end
            && let Some(answer) = answer.take()
        {
            // The caller no longer waits for the flush; there is nobody to notify.
            let _ = answer.send(self.flush());
        }
        end
    }

    /// Takes what is waiting, up to the limits of a batch, and lingers for more if so configured.
    fn gather(&self, first: Message) -> (Vec<Item>, End) {
        let queue = &self.shared.queue;
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
                // Those who wait for room are among those who are waited for.
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
            self.refuse(items, &Failure::NotWritten(reason));
            return;
        }
        self.count_given_up();
        let began = Instant::now();
        match self.try_commit(&items) {
            Ok(outcomes) => {
                self.shared.progress.tell_commit(outcomes.len(), began.elapsed());
                let _ = self.shared.wake.try_send(());
                let (mut outcomes, mut calls) = (outcomes.into_iter(), Calls::default());
                for item in items {
                    item.answer(&mut outcomes, &mut calls);
                }
                drop(calls);
                if let Some(log) = &self.held.log {
                    log.checkpoints.if_large(&log.connection, &self.shared.turns, Who::Writer);
                }
            }
            Err(failure) => {
                let (Failure::NotWritten(reason) | Failure::Ambiguous(reason)) = &failure;
                self.held.set_poison(reason.clone());
                self.refuse(items, &failure);
            }
        }
    }

    fn try_commit(&mut self, items: &[Item]) -> Result<Vec<Outcome>, Failure> {
        let not_written = |error: &dyn std::fmt::Display| Failure::NotWritten(error.to_string().into());
        let Some(log) = &self.held.log else { return Err(not_written(&"the log is not open")) };
        let _turn = self
            .shared
            .turns
            .take(Who::Writer)
            .map_err(|error| not_written(&format_args!("the lock file: {error}")))?;
        let appending = log
            .begin(self.held.acknowledged, self.shared.turns.in_file())
            .map_err(|error| not_written(&error))?;
        let mut batch = Batch::new(appending, self.config.clock.clone());
        let record = self.losses.append(&mut batch).map_err(|error| not_written(&error))?;
        let mut outcomes = Vec::with_capacity(items.len());
        for item in items {
            batch.append(item, &mut outcomes).map_err(|error| not_written(&error))?;
        }
        let head = batch.head();
        if let Err(error) = batch.commit() {
            self.losses.perhaps_recorded(record);
            return Err(Failure::Ambiguous(error.to_string().into()));
        }
        self.losses.recorded();
        self.held.acknowledged = head;
        self.shared.progress.set_committed(head.seq);
        self.checkpoint_due = true;
        Ok(outcomes)
    }

    /// Answers what cannot be written, and counts it.
    fn refuse(&mut self, items: Vec<Item>, failure: &Failure) {
        let now = (self.config.clock)();
        let events: usize = items.iter().map(|item| item.events().len()).sum();
        self.shared.progress.add_refused(events as u64);
        let error = match failure {
            Failure::NotWritten(reason) => AppendError::NotWritten { reason: reason.clone() },
            Failure::Ambiguous(reason) => AppendError::Ambiguous { reason: reason.clone() },
        };
        if !matches!(self.unflushed, Some(AppendError::Ambiguous { .. })) {
            self.unflushed = Some(error.clone());
        }
        for item in items {
            for prepared in item.events() {
                match failure {
                    Failure::NotWritten(reason) => self.losses.add(prepared.event_id, now, reason),
                    Failure::Ambiguous(reason) => self.losses.add_unsure(prepared.event_id, now, reason),
                }
            }
            item.refuse(&error);
        }
    }

    /// What a flush is answered: an error if anything was refused since the last one.
    fn flush(&mut self) -> Result<Seq, AppendError> {
        if let Some(error) = self.unflushed.take() {
            return Err(error);
        }
        match self.shared.progress.poisoned() {
            Some(reason) => Err(AppendError::NotWritten { reason }),
            None => Ok(self.shared.progress.committed()),
        }
    }

    /// What is done when nothing is to be done.
    fn rest(&mut self) {
        self.held.look();
        // Why it cannot be done is kept for those who ask; it is tried again.
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

    /// Records refused events when no batch comes to do it.
    fn record_losses(&mut self) -> Result<(), Arc<str>> {
        self.count_given_up();
        if self.losses.is_empty() {
            return Ok(());
        }
        self.held.ensure_open()?;
        self.try_commit(&[]).map_err(|failure| {
            let (Failure::NotWritten(reason) | Failure::Ambiguous(reason)) = failure;
            self.held.set_poison(reason.clone());
            reason
        })?;
        let _ = self.shared.wake.try_send(());
        Ok(())
    }

    /// Notes in the file that the log was closed. It need not be durable before the rest of the write-ahead log
    /// is.
    fn say_closed(&self, log: &OpenLog) -> rusqlite::Result<()> {
        let Ok(_turn) = self.shared.turns.take(Who::Writer) else { return Ok(()) };
        if !matches!(log.files.standing(&self.config.path), Ok(Standing::Same)) {
            return Ok(());
        }
        log.connection.pragma_update(None, "synchronous", "NORMAL")?;
        generation::close(&log.connection)
    }

    fn checkpoint(&self) -> rusqlite::Result<()> {
        let Some(log) = &self.held.log else { return Ok(()) };
        Checkpoints::passive(&log.connection, &self.shared.turns, Who::Writer)
    }

    /// Tries once more to say in the log what was refused.
    fn finish(mut self) -> Result<(), Arc<str>> {
        self.held.look();
        if let Some(poison) = &self.held.poison {
            std::thread::sleep(poison.try_again.saturating_duration_since(Instant::now()));
        }
        let began = Instant::now();
        while self.held.poison.as_ref().is_some_and(|poison| poison.left.is_some())
            && began.elapsed() < LETTING_GO_PATIENCE
            && self.held.ensure_open().is_err()
        {
            std::thread::sleep(REOPEN_PAUSE);
        }
        let result = self.record_losses();
        if let Some(log) = &self.held.log {
            // If it cannot be said that the log was closed, the next to open it is more careful.
            let _ = self.say_closed(log);
        }
        // In a turn: of two that close at once each would take the other for a user of the file, and
        // neither would take the write-ahead log away.
        let _turn = self.shared.turns.take(Who::Writer);
        if self.held.log.take().is_some() {
            self.shared.turns.presence().closed();
        }
        result
    }
}

/// What ended the gathering of a batch.
enum End {
    Batch,
    Flush(Option<oneshot::Sender<Result<Seq, AppendError>>>),
    Close,
}

/// Ends the queue when the writer's thread ends, in whichever way: nobody else would answer.
struct EndGuard {
    progress: Arc<Progress>,
    queue: Arc<Queue>,
}

impl Drop for EndGuard {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let reason: Arc<str> = Arc::from("the writer's thread panicked; open the log again");
            self.progress.set_poisoned(Some(reason.clone()));
            self.queue.end(AppendError::NotWritten { reason });
        } else {
            self.queue.end(AppendError::Closed);
        }
    }
}
