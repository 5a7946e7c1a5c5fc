//! The evidence's thread: keeps the tree, signs checkpoints when they are due, and wakes the anchors.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender};
use rusqlite::Connection;

use super::anchor::{AnchorHealth, Deliverer};
use super::settings::{Evidence, Signing};
use super::signer::{KeyChangeRequest, SignError, Signer, Site, failed};
use super::stored::origin_of;
use super::tree::{self, Growth, TreeError};
use crate::event::{Draft, Event, EventId, KeyChanged};
use crate::limits::PAYLOAD_BYTES_MAX;
use crate::log::checkpoint::Checkpoints;
use crate::log::presence::{LEFT, Present};
use crate::log::turns::{Turns, Who, begin};
use crate::log::{self, AtClose, Claim, Durability, Effect, OpenError};
use crate::log::{ReadError, rows};
use crate::merkle::BuildError;
use crate::note::SignedCheckpoint;
use crate::prepare::prepare;
use crate::receipt::{AppendError, Appended, Receipt};
use crate::writer::{Clock, Item, Message, Queue};

/// How often the thread looks for new events. Proofs and checkpoints do not wait for it: what it has not
/// hashed yet they hash themselves.
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// How long it rests after an error.
const REST: Duration = Duration::from_secs(5);

/// What the thread is told.
pub(crate) enum Order {
    /// Sign for what is committed now.
    Checkpoint(oneshot::Sender<Result<SignedCheckpoint, SignError>>),
    /// Change a key.
    ChangeKey(KeyChangeRequest, oneshot::Sender<Result<SignedCheckpoint, SignError>>),
    /// Sign for the end, and end.
    Finish,
}

/// Why the thread does not get on.
#[derive(Default)]
pub(crate) struct State {
    /// It is tried again.
    now: Option<Arc<str>>,
    /// A thread is gone.
    panicked: Option<Arc<str>>,
    /// How each anchor fares.
    anchors: Vec<Arc<Mutex<AnchorHealth>>>,
}

/// Shared by the handle and the threads.
pub(crate) type Trouble = Arc<Mutex<State>>;

/// Why the threads of `trouble` do not get on now, if that is so.
pub(crate) fn why(trouble: &Trouble) -> Option<Arc<str>> {
    let state = lock(trouble);
    state.panicked.clone().or_else(|| state.now.clone())
}

/// How the anchors of `trouble` fare.
pub(crate) fn anchors(trouble: &Trouble) -> Vec<AnchorHealth> {
    let anchors = lock(trouble).anchors.clone();
    anchors.iter().map(|health| health.lock().unwrap_or_else(PoisonError::into_inner).clone()).collect()
}

fn lock(trouble: &Trouble) -> MutexGuard<'_, State> {
    // Each change is one assignment: nothing is left half done by a panic.
    trouble.lock().unwrap_or_else(PoisonError::into_inner)
}

pub(crate) struct Worker {
    path: PathBuf,
    connection: Connection,
    /// None while the log is let go of: then the connection is to nothing.
    present: Option<Present>,
    turns: Arc<Turns>,
    clock: Clock,
    queue: Arc<Queue>,
    checkpoints: Checkpoints,
    trouble: Trouble,
    signing: Option<Schedule>,
}

/// When to sign, and whom to tell.
struct Schedule {
    signer: Signer,
    every_events: u64,
    every: Duration,
    epoch: Option<Duration>,
    /// Events of the last checkpoint, and when this thread heard of it.
    last: (u64, Instant),
    anchors: Vec<(Sender<()>, JoinHandle<()>)>,
}

impl Worker {
    /// Opens a connection of its own, and starts the anchors' threads.
    pub(crate) fn open(
        path: &Path,
        evidence: Evidence,
        turns: Arc<Turns>,
        clock: Clock,
        queue: Arc<Queue>,
        trouble: Trouble,
    ) -> Result<Worker, OpenError> {
        let (connection, present, checkpoints) = connect(path, &turns)?;
        let signing = match evidence {
            Evidence::Off | Evidence::Tree => None,
            Evidence::Signed(signing) => {
                let origin = origin_of(&connection).map_err(|error| match error {
                    ReadError::Storage(error) => {
                        OpenError::sqlite(path, "its origin cannot be read", error.into_sqlite())
                    }
                    error => OpenError::Damaged { path: path.to_owned(), what: error.to_string() },
                })?;
                Some(Schedule::start(path, origin, *signing, &turns, &clock, &trouble)?)
            }
        };
        let present = Some(present);
        let path = path.to_owned();
        Ok(Worker { path, connection, present, turns, clock, queue, checkpoints, trouble, signing })
    }

    fn site(&self) -> Site<'_> {
        Site { path: &self.path, connection: &self.connection, turns: &self.turns, clock: &self.clock }
    }

    /// Works until it is told to finish.
    pub(crate) fn run(mut self, orders: &Receiver<Order>) {
        let _guard = PanicGuard { trouble: self.trouble.clone(), what: "the evidence's thread" };
        let resumed = self
            .signing
            .as_ref()
            .map(|schedule| schedule.signer.resume_change(&self.site(), &|event, id| self.append(event, id)));
        let mut rest = None;
        self.note_trouble(resumed.and_then(Result::err), &mut rest);
        loop {
            let mut wait = LOOK_EVERY;
            self.keep_with_the_writer();
            if rest.is_none_or(|until| Instant::now() >= until) {
                match self.grow() {
                    // Other orders are looked at in between: there may always be something to hash.
                    Ok(Growth::Grown) => wait = Duration::ZERO,
                    Ok(Growth::UpToDate) => {
                        let done = self.sign_if_due();
                        self.note_trouble(done.err(), &mut rest);
                    }
                    Err(error) => self.note_trouble(Some(error), &mut rest),
                }
            }
            match orders.recv_timeout(wait) {
                Ok(Order::Checkpoint(answer)) => {
                    let checkpoint = self.sign();
                    // Who asked may have gone.
                    let _ = answer.send(checkpoint);
                }
                Ok(Order::ChangeKey(request, answer)) => {
                    let checkpoint = self.change_key(&request);
                    let _ = answer.send(checkpoint);
                }
                Ok(Order::Finish) | Err(RecvTimeoutError::Disconnected) => break,
                Err(RecvTimeoutError::Timeout) => {}
            }
        }
        self.finish();
    }

    /// Signs for the end of the log, where there is something to sign for, and lets the anchors take it.
    fn finish(mut self) {
        let mut rest = None;
        let done = self.sign_what_is_new();
        self.note_trouble(done.err(), &mut rest);
        if let Some(schedule) = self.signing.take() {
            for (wake, thread) in schedule.anchors {
                // Without its sender the thread makes its last delivery and ends.
                drop(wake);
                // One that panicked has said so by its guard.
                let _ = thread.join();
            }
        }
        // In a turn, as the writer.
        let turn = self.turns.take(Who::Projection);
        drop(self.connection);
        drop(turn);
    }

    /// Closes the log while the writer lets go of it, and opens it again after the writer.
    fn keep_with_the_writer(&mut self) {
        let must_leave = self.turns.presence().must_leave();
        if must_leave && self.present.is_some() {
            // The writer moves what this connection wrote into the file.
            let _ = log::at_close(&self.connection, AtClose::LeaveAsItIs);
            if let Ok(nothing) = Connection::open_in_memory() {
                self.connection = nothing;
                self.present = None;
            }
        } else if !must_leave
            && self.present.is_none()
            && let Ok((connection, present, checkpoints)) = connect(&self.path, &self.turns)
        {
            self.connection = connection;
            self.present = Some(present);
            self.checkpoints = checkpoints;
        }
    }

    /// Refuses to work while the log is let go of.
    fn require_present(&self) -> Result<(), SignError> {
        match self.present {
            Some(_) => Ok(()),
            None => Err(SignError::Turn(std::io::Error::other(LEFT))),
        }
    }

    fn grow(&self) -> Result<Growth, SignError> {
        self.require_present()?;
        let growth = tree::grow(&self.connection, &self.turns).map_err(|error| match error {
            TreeError::Storage(error) => SignError::Storage(error),
            error => SignError::Tree(BuildError::Read(error)),
        })?;
        if growth == Growth::Grown {
            self.checkpoints.if_large(&self.connection, &self.turns, Who::Projection);
        }
        Ok(growth)
    }

    fn sign_if_due(&mut self) -> Result<(), SignError> {
        let Some(schedule) = &self.signing else { return Ok(()) };
        let append = |event, id| self.append(event, id);
        if schedule.signer.keys().has_change() {
            schedule.signer.resume_change(&self.site(), &append)?;
        }
        if let Some(length) = schedule.epoch
            && schedule.epoch_may_be_over(length, &self.clock)?
            && let Some(checkpoint) = schedule.signer.next_epoch(&self.site(), length, &append)?
        {
            self.tell(&checkpoint);
        }
        let Some(schedule) = &mut self.signing else { return Ok(()) };
        let events = rows::head(&self.connection)?.seq.get();
        schedule.look()?;
        if schedule.is_due(events) { self.sign().map(drop) } else { Ok(()) }
    }

    fn sign_what_is_new(&mut self) -> Result<(), SignError> {
        self.keep_with_the_writer();
        self.require_present()?;
        let Some(schedule) = &mut self.signing else { return Ok(()) };
        schedule.look()?;
        if rows::head(&self.connection)?.seq.get() != schedule.last.0 {
            self.sign().map(drop)
        } else {
            Ok(())
        }
    }

    fn sign(&mut self) -> Result<SignedCheckpoint, SignError> {
        self.require_present()?;
        let Some(schedule) = &self.signing else { return Err(SignError::NotSigned) };
        let signed = schedule.signer.sign(&self.site())?;
        let checkpoint = signed.checkpoint();
        self.tell(&checkpoint);
        Ok(checkpoint)
    }

    fn change_key(&mut self, request: &KeyChangeRequest) -> Result<SignedCheckpoint, SignError> {
        self.require_present()?;
        let Some(schedule) = &self.signing else { return Err(SignError::NotSigned) };
        let append = |event, id| self.append(event, id);
        let checkpoint = schedule.signer.change_key(&self.site(), request, &append)?;
        self.tell(&checkpoint);
        Ok(checkpoint)
    }

    /// Wakes the anchors for a checkpoint.
    fn tell(&mut self, checkpoint: &SignedCheckpoint) {
        if let Some(schedule) = &mut self.signing {
            schedule.last = (checkpoint.size(), Instant::now());
            for (wake, _) in &schedule.anchors {
                // One that is at work finds the newest by itself. One that is gone says so by its guard.
                let _ = wake.try_send(());
            }
        }
    }

    /// Appends an event of our own through the writer, as any other.
    fn append(&self, event: KeyChanged, id: EventId) -> Result<Appended, AppendError> {
        let mut draft = Draft::new(Event::KeyChanged(event));
        draft.id = Some(id);
        let prepared = prepare(&mut draft, None, PAYLOAD_BYTES_MAX)?;
        let (ack, receipt) = Receipt::new(id, None);
        self.queue.send(Message::Append(Item::One {
            prepared: Box::new(prepared),
            effect: Effect::None,
            ack,
        }))?;
        receipt.wait()
    }

    /// Keeps what went wrong where it is seen, in this process and in the file, and rests.
    fn note_trouble(&self, error: Option<SignError>, rest: &mut Option<Instant>) {
        let Some(error) = error else {
            *rest = None;
            lock(&self.trouble).now = None;
            return;
        };
        *rest = Some(Instant::now() + REST);
        let text = error.to_string();
        // Where the file cannot be written either, this process still says it.
        let _ = self.record_trouble(&text);
        lock(&self.trouble).now = Some(Arc::from(text));
    }

    fn record_trouble(&self, text: &str) -> Result<(), SignError> {
        self.require_present()?;
        if self.signing.is_none() {
            return Ok(());
        }
        let _turn = self.turns.take(Who::Projection).map_err(SignError::Turn)?;
        let tx = begin(&self.connection)?;
        failed(&tx, super::signer::SIGNER, text, (self.clock)())?;
        Ok(tx.commit()?)
    }
}

fn connect(path: &Path, turns: &Turns) -> Result<(Connection, Present, Checkpoints), OpenError> {
    let left = || OpenError::io(path, "cannot be opened now", std::io::Error::other(LEFT));
    let present = turns.presence().enter().ok_or_else(left)?;
    let mut connection = log::open_writer(path, Durability::Normal, Claim::Settled)?.connection;
    let checkpoints = Checkpoints::watch(&mut connection)
        .map_err(|source| OpenError::sqlite(path, "its write-ahead log cannot be watched", source))?;
    Ok((connection, present, checkpoints))
}

/// Says of a thread that panicked what became of it: nobody else would notice before the log is closed.
struct PanicGuard {
    trouble: Trouble,
    what: &'static str,
}

impl Drop for PanicGuard {
    fn drop(&mut self) {
        if std::thread::panicking() {
            lock(&self.trouble).panicked =
                Some(Arc::from(format!("{} panicked; open the log again", self.what)));
        }
    }
}

impl Schedule {
    fn start(
        path: &Path,
        origin: String,
        signing: Signing,
        turns: &Arc<Turns>,
        clock: &Clock,
        trouble: &Trouble,
    ) -> Result<Schedule, OpenError> {
        let mut anchors = Vec::new();
        for anchor in signing.anchors {
            let (wake, woken) = crossbeam_channel::bounded(1);
            let health = Arc::new(Mutex::new(AnchorHealth::new(anchor.name())));
            lock(trouble).anchors.push(health.clone());
            let deliverer = Deliverer {
                path: path.to_owned(),
                anchor,
                keys: signing.keys.clone(),
                turns: turns.clone(),
                clock: clock.clone(),
                wake: woken,
                health,
            };
            let guard = PanicGuard { trouble: trouble.clone(), what: "an anchor's thread" };
            let thread = std::thread::Builder::new()
                .name("annals-anchor".to_owned())
                .spawn(move || {
                    let _guard = guard;
                    deliverer.run();
                })
                .map_err(|error| OpenError::io(path, "its anchors' threads cannot be started", error))?;
            anchors.push((wake, thread));
        }
        Ok(Schedule {
            signer: Signer::new(origin, signing.keys, signing.given),
            every_events: signing.every_events,
            every: signing.every,
            epoch: signing.epoch,
            last: (0, Instant::now()),
            anchors,
        })
    }

    /// Looks whether another process signed: then the time until the next one begins anew. What is kept beside
    /// the key says so; anybody could have written into the file.
    fn look(&mut self) -> Result<(), SignError> {
        let size = self.signer.keys().last_signed()?.map_or(0, |last| last.size());
        if size > self.last.0 {
            self.last = (size, Instant::now());
        }
        Ok(())
    }

    fn is_due(&self, events: u64) -> bool {
        let (signed, at) = self.last;
        // A log that lost events is not signed for, and the attempt says why.
        events < signed
            || events > signed && (events - signed >= self.every_events || at.elapsed() >= self.every)
    }

    /// Whether an epoch seems to be over; under the lock that is asked again.
    fn epoch_may_be_over(&self, length: Duration, clock: &Clock) -> Result<bool, SignError> {
        let Some(epoch) = self.signer.keys().epoch()? else { return Ok(false) };
        Ok(epoch.is_over(length, clock()))
    }
}
