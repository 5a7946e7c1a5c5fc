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
use crate::log::write_lock::{Who, WriteLock, begin};
use crate::log::{self, AtClose, Claim, Durability, Effect, OpenError};
use crate::log::{ReadError, rows};
use crate::merkle::BuildError;
use crate::note::SignedCheckpoint;
use crate::prepare::prepare;
use crate::receipt::{AppendError, Appended, Receipt};
use crate::writer::{Clock, Item, Message, Queue};

/// Interval at which the thread looks for new events. Proofs and checkpoints do not wait for it: they hash
/// the missing events themselves.
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// Pause after an error.
const RETRY_PAUSE: Duration = Duration::from_secs(5);

/// An order to the thread.
pub(crate) enum Order {
    /// Sign for what is committed now.
    Checkpoint(oneshot::Sender<Result<SignedCheckpoint, SignError>>),
    /// Change a key.
    ChangeKey(KeyChangeRequest, oneshot::Sender<Result<SignedCheckpoint, SignError>>),
    /// Sign for the end of the log, and stop.
    Finish,
}

/// The last errors of the evidence's threads, and the health of the anchors.
#[derive(Default)]
pub(crate) struct State {
    /// The last error of work that is tried again.
    last_error: Option<Arc<str>>,
    /// The message about a thread that panicked and is gone.
    panicked: Option<Arc<str>>,
    /// The health of each anchor.
    anchors: Vec<Arc<Mutex<AnchorHealth>>>,
}

/// The state, shared by the handle and the threads.
pub(crate) type SharedState = Arc<Mutex<State>>;

/// The reason why the threads of `state` do not go on now, if there is one. A panic comes first.
pub(crate) fn last_error(state: &SharedState) -> Option<Arc<str>> {
    let state = lock(state);
    state.panicked.clone().or_else(|| state.last_error.clone())
}

/// The health of the anchors of `state`.
pub(crate) fn anchors(state: &SharedState) -> Vec<AnchorHealth> {
    // Cloned, so that no anchor's lock is taken while this one is held.
    let anchors = lock(state).anchors.clone();
    anchors.iter().map(|health| health.lock().unwrap_or_else(PoisonError::into_inner).clone()).collect()
}

fn lock(state: &SharedState) -> MutexGuard<'_, State> {
    // Each change is one assignment, so a panic leaves nothing half done.
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

pub(crate) struct Worker {
    path: PathBuf,
    connection: Connection,
    /// None while the log is being released. The connection is then to an empty database in memory.
    present: Option<Present>,
    write_lock: Arc<WriteLock>,
    clock: Clock,
    queue: Arc<Queue>,
    checkpoints: Checkpoints,
    state: SharedState,
    signing: Option<Schedule>,
}

/// The intervals of signing, and the anchors to wake.
struct Schedule {
    signer: Signer,
    every_events: u64,
    every: Duration,
    epoch: Option<Duration>,
    /// The size of the last checkpoint, and the time at which this thread learned of it.
    last: (u64, Instant),
    anchors: Vec<(Sender<()>, JoinHandle<()>)>,
}

impl Worker {
    /// Opens the thread's own connection, and starts the anchors' threads.
    pub(crate) fn open(
        path: &Path,
        evidence: Evidence,
        write_lock: Arc<WriteLock>,
        clock: Clock,
        queue: Arc<Queue>,
        state: SharedState,
    ) -> Result<Worker, OpenError> {
        let (connection, present, checkpoints) = connect(path, &write_lock)?;
        let signing = match evidence {
            Evidence::Off | Evidence::Tree => None,
            Evidence::Signed(signing) => {
                let origin = origin_of(&connection).map_err(|error| match error {
                    ReadError::Storage(error) => {
                        OpenError::sqlite(path, "its origin cannot be read", error.into_sqlite())
                    }
                    error => OpenError::Damaged { path: path.to_owned(), what: error.to_string() },
                })?;
                Some(Schedule::start(path, origin, *signing, &write_lock, &clock, &state)?)
            }
        };
        let present = Some(present);
        let path = path.to_owned();
        Ok(Worker { path, connection, present, write_lock, clock, queue, checkpoints, state, signing })
    }

    fn site(&self) -> Site<'_> {
        Site {
            path: &self.path,
            connection: &self.connection,
            write_lock: &self.write_lock,
            clock: &self.clock,
        }
    }

    /// Works until the order to finish comes.
    pub(crate) fn run(mut self, orders: &Receiver<Order>) {
        let _guard = PanicGuard { state: self.state.clone(), what: "the evidence's thread" };
        // A change of keys that a crash left under way is completed before anything else is signed here.
        let resumed = self
            .signing
            .as_ref()
            .map(|schedule| schedule.signer.resume_change(&self.site(), &|event, id| self.append(event, id)));
        let mut retry_at = None;
        self.note_error(resumed.and_then(Result::err), &mut retry_at);
        loop {
            let mut wait = LOOK_EVERY;
            self.follow_the_writer();
            // Only the thread's own work pauses after an error. An order is carried out at once, and its caller
            // gets the error.
            if retry_at.is_none_or(|until| Instant::now() >= until) {
                match self.grow() {
                    // Orders are received in between: under load there may always be something to hash.
                    Ok(Growth::Grown) => wait = Duration::ZERO,
                    Ok(Growth::UpToDate) => {
                        let done = self.sign_if_due();
                        self.note_error(done.err(), &mut retry_at);
                    }
                    Err(error) => self.note_error(Some(error), &mut retry_at),
                }
            }
            match orders.recv_timeout(wait) {
                Ok(Order::Checkpoint(answer)) => {
                    let checkpoint = self.sign();
                    // The caller may have gone.
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

    /// Signs for the end of the log, if that is not signed for yet, and waits until the anchors' threads have ended.
    fn finish(mut self) {
        let mut retry_at = None;
        let done = self.sign_what_is_new();
        self.note_error(done.err(), &mut retry_at);
        if let Some(schedule) = self.signing.take() {
            for (wake, thread) in schedule.anchors {
                // The thread finds its channel disconnected, makes its last delivery and ends.
                drop(wake);
                // The guard of a thread that panicked has reported it.
                let _ = thread.join();
            }
        }
        // Under the write lock, like the writer's connection. If two connections closed at the same moment,
        // each would see the other as open, and neither would move the write-ahead log into the file.
        let guard = self.write_lock.take(Who::Projection);
        drop(self.connection);
        drop(guard);
    }

    /// Closes the connection when the writer releases the log, and opens the log again after the writer.
    fn follow_the_writer(&mut self) {
        let must_leave = self.write_lock.presence().must_leave();
        if must_leave && self.present.is_some() {
            // Closed without a checkpoint of the write-ahead log: the writer moves its content into the file.
            let _ = log::at_close(&self.connection, AtClose::LeaveAsItIs);
            if let Ok(nothing) = Connection::open_in_memory() {
                // The assignment closes the old connection. Only after that it stops being counted as present.
                self.connection = nothing;
                self.present = None;
            }
        } else if !must_leave
            && self.present.is_none()
            && let Ok((connection, present, checkpoints)) = connect(&self.path, &self.write_lock)
        {
            self.connection = connection;
            self.present = Some(present);
            self.checkpoints = checkpoints;
        }
    }

    /// Fails while the log is being released.
    fn require_present(&self) -> Result<(), SignError> {
        match self.present {
            Some(_) => Ok(()),
            None => Err(SignError::WriteLock(std::io::Error::other(LEFT))),
        }
    }

    fn grow(&self) -> Result<Growth, SignError> {
        self.require_present()?;
        let growth = tree::grow(&self.connection, &self.write_lock).map_err(|error| match error {
            TreeError::Storage(error) => SignError::Storage(error),
            error => SignError::Tree(BuildError::Read(error)),
        })?;
        if growth == Growth::Grown {
            self.checkpoints.if_large(&self.connection, &self.write_lock, Who::Projection);
        }
        Ok(growth)
    }

    fn sign_if_due(&mut self) -> Result<(), SignError> {
        let Some(schedule) = &self.signing else { return Ok(()) };
        let append = |event, id| self.append(event, id);
        // Before anything else is signed: another process may have begun a change and crashed.
        if schedule.signer.keys().has_change() {
            schedule.signer.resume_change(&self.site(), &append)?;
        }
        if let Some(length) = schedule.epoch
            && schedule.epoch_may_be_over(length, &self.clock)?
            && let Some(checkpoint) = schedule.signer.next_epoch(&self.site(), length, &append)?
        {
            self.wake_anchors(&checkpoint);
        }
        let Some(schedule) = &mut self.signing else { return Ok(()) };
        let events = rows::head(&self.connection)?.seq.get();
        schedule.check_last_signed()?;
        if schedule.is_due(events) { self.sign().map(drop) } else { Ok(()) }
    }

    fn sign_what_is_new(&mut self) -> Result<(), SignError> {
        self.follow_the_writer();
        self.require_present()?;
        let Some(schedule) = &mut self.signing else { return Ok(()) };
        schedule.check_last_signed()?;
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
        self.wake_anchors(&checkpoint);
        Ok(checkpoint)
    }

    fn change_key(&mut self, request: &KeyChangeRequest) -> Result<SignedCheckpoint, SignError> {
        self.require_present()?;
        let Some(schedule) = &self.signing else { return Err(SignError::NotSigned) };
        let append = |event, id| self.append(event, id);
        let checkpoint = schedule.signer.change_key(&self.site(), request, &append)?;
        self.wake_anchors(&checkpoint);
        Ok(checkpoint)
    }

    /// Wakes the anchors for a checkpoint.
    fn wake_anchors(&mut self, checkpoint: &SignedCheckpoint) {
        if let Some(schedule) = &mut self.signing {
            schedule.last = (checkpoint.size(), Instant::now());
            for (wake, _) in &schedule.anchors {
                // The channel has room for one message. If it is full, the thread wakes anyway and takes the newest
                // checkpoint. The guard of a thread that is gone has reported it.
                let _ = wake.try_send(());
            }
        }
    }

    /// Appends an event of our own through the writer, like any other event.
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
        // This thread holds the folder's lock here, but not the write lock: the writer can commit.
        receipt.wait()
    }

    /// Records an error in this process and in the file, and begins a pause. Without an error ends the pause.
    fn note_error(&self, error: Option<SignError>, retry_at: &mut Option<Instant>) {
        let Some(error) = error else {
            *retry_at = None;
            lock(&self.state).last_error = None;
            return;
        };
        *retry_at = Some(Instant::now() + RETRY_PAUSE);
        let text = error.to_string();
        // If the file cannot be written either, this process still reports the error.
        let _ = self.record_error(&text);
        lock(&self.state).last_error = Some(Arc::from(text));
    }

    fn record_error(&self, text: &str) -> Result<(), SignError> {
        self.require_present()?;
        if self.signing.is_none() {
            return Ok(());
        }
        let _guard = self.write_lock.take(Who::Projection).map_err(SignError::WriteLock)?;
        let tx = begin(&self.connection)?;
        failed(&tx, super::signer::SIGNER, text, (self.clock)())?;
        Ok(tx.commit()?)
    }
}

fn connect(path: &Path, write_lock: &WriteLock) -> Result<(Connection, Present, Checkpoints), OpenError> {
    let left = || OpenError::io(path, "cannot be opened now", std::io::Error::other(LEFT));
    let present = write_lock.presence().enter().ok_or_else(left)?;
    let mut connection = log::open_writer(path, Durability::Normal, Claim::Settled)?.connection;
    let checkpoints = Checkpoints::watch(&mut connection)
        .map_err(|source| OpenError::sqlite(path, "its write-ahead log cannot be watched", source))?;
    Ok((connection, present, checkpoints))
}

/// Reports the panic of a thread: nobody else would notice it before the log is closed.
struct PanicGuard {
    state: SharedState,
    what: &'static str,
}

impl Drop for PanicGuard {
    fn drop(&mut self) {
        if std::thread::panicking() {
            lock(&self.state).panicked =
                Some(Arc::from(format!("{} panicked; open the log again", self.what)));
        }
    }
}

impl Schedule {
    fn start(
        path: &Path,
        origin: String,
        signing: Signing,
        write_lock: &Arc<WriteLock>,
        clock: &Clock,
        state: &SharedState,
    ) -> Result<Schedule, OpenError> {
        let mut anchors = Vec::new();
        for anchor in signing.anchors {
            // One message is enough: it has no content, and the thread takes the newest checkpoint.
            let (wake, woken) = crossbeam_channel::bounded(1);
            let health = Arc::new(Mutex::new(AnchorHealth::new(anchor.name())));
            lock(state).anchors.push(health.clone());
            let deliverer = Deliverer {
                path: path.to_owned(),
                anchor,
                keys: signing.keys.clone(),
                write_lock: write_lock.clone(),
                clock: clock.clone(),
                wake: woken,
                health,
            };
            let guard = PanicGuard { state: state.clone(), what: "an anchor's thread" };
            let thread = std::thread::Builder::new()
                .name("annals-anchor".to_owned())
                .spawn(move || {
                    // Dropped by the anchor's thread itself, where it sees a panic.
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

    /// Checks whether another process signed; if so, the time until the next checkpoint begins anew. Reads the
    /// checkpoint that is kept beside the key, because anybody could have written into the file.
    fn check_last_signed(&mut self) -> Result<(), SignError> {
        let size = self.signer.keys().last_signed()?.map_or(0, |last| last.size());
        if size > self.last.0 {
            self.last = (size, Instant::now());
        }
        Ok(())
    }

    fn is_due(&self, events: u64) -> bool {
        let (signed, at) = self.last;
        // A log that lost events is due too: the attempt to sign fails, and its error reports the loss.
        events < signed
            || events > signed && (events - signed >= self.every_events || at.elapsed() >= self.every)
    }

    /// Returns true if an epoch seems to be over. The signer checks this again under the folder's lock.
    fn epoch_may_be_over(&self, length: Duration, clock: &Clock) -> Result<bool, SignError> {
        let Some(epoch) = self.signer.keys().epoch()? else { return Ok(false) };
        Ok(epoch.is_over(length, clock()))
    }
}
