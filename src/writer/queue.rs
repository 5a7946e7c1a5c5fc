//! What waits for the writer, and the bounded queue in which it waits.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, SendTimeoutError, Sender, TrySendError};
use tokio::sync::Notify;

use crate::event::{Draft, EventId, Seq};
use crate::log::Effect;
use crate::prepare::Prepared;
use crate::receipt::gate::{Calls, Gates, Pass};
use crate::receipt::{Ack, AppendError, BatchAck, Outcome, Receipt, TryAppendError};

/// What goes into one transaction, and the caller's wish to know.
pub(crate) enum Item {
    /// An event.
    One { prepared: Box<Prepared>, effect: Effect, ack: Ack },
    /// Events that were sent together.
    Many { prepared: Vec<Prepared>, ack: BatchAck },
}

impl Item {
    /// The events, in order.
    pub(crate) fn events(&self) -> &[Prepared] {
        match self {
            Item::One { prepared, .. } => std::slice::from_ref(prepared),
            Item::Many { prepared, .. } => prepared,
        }
    }

    /// What goes with them.
    pub(crate) fn effect(&self) -> &Effect {
        match self {
            Item::One { effect, .. } => effect,
            Item::Many { .. } => &Effect::None,
        }
    }

    /// Tells the caller what became of the events: as many outcomes as there are events.
    /// Who blocks for the answer is woken with the `calls`.
    pub(crate) fn answer(self, outcomes: impl Iterator<Item = Outcome>, calls: &mut Calls) {
        match self {
            Item::One { ack, .. } => {
                // An ack that is dropped says that it is not known.
                if let Some(outcome) = outcomes.into_iter().next() {
                    ack.send_with(outcome, calls);
                }
            }
            Item::Many { prepared, ack } => ack.send(outcomes.take(prepared.len()).collect()),
        }
    }
}

/// Who waits for the answer to a flush of the writer's.
pub(crate) type FlushAnswer = oneshot::Sender<Result<Seq, AppendError>>;

/// What can wait in a queue: it is told when nobody takes it any more.
pub(crate) trait Waiting {
    fn refuse(self, error: &AppendError);

    /// Bytes of payload in it, where the queue is bounded by them.
    fn bytes(&self) -> usize {
        0
    }
}

impl Waiting for Item {
    /// Tells the caller that none of the events is in the log, or that this is not known.
    fn refuse(self, error: &AppendError) {
        self.answer(std::iter::repeat_with(|| Err(error.clone())), &mut Calls::default());
    }

    fn bytes(&self) -> usize {
        self.events().iter().map(|prepared| prepared.cell.len()).sum()
    }
}

impl Waiting for FlushAnswer {
    fn refuse(self, error: &AppendError) {
        // The caller no longer waits for the flush; there is nobody to notify.
        let _ = self.send(Err(error.clone()));
    }
}

/// What the writer, or another thread that takes events, is sent.
pub(crate) enum Message<T = Item, F = FlushAnswer> {
    /// Events to append.
    Append(T),
    /// Answer when everything sent before is committed, or is known not to be.
    Flush(F),
    /// Commit what was sent before, and end.
    Close,
}

/// A message that found no room, or nobody to read it.
pub(crate) enum NotSent {
    Full,
    Ended(AppendError),
}

/// The queue between the callers and the writer, or another thread in its place; both have it whole.
///
/// Nothing stays in it without an answer. The writer answers what it takes. When it ends it leaves
/// word of that and answers what is there; who puts something in later finds that word afterwards,
/// and answers what is there in the writer's stead.
pub(crate) struct Queue<T = Item, F = FlushAnswer> {
    sender: Sender<Message<T, F>>,
    receiver: Receiver<Message<T, F>>,
    /// Payload bytes that are waiting.
    bytes: AtomicUsize,
    /// As many of them as leave room for another message.
    bytes_max: usize,
    /// Wakes those who block until there are fewer.
    fewer: (Mutex<()>, Condvar),
    /// Wakes those who wait for room without blocking a thread.
    room: Notify,
    /// Where those wait who block for an answer.
    gates: Arc<Gates>,
    /// The writer was told to close: it takes what is there, and nothing new is put in.
    closing: AtomicBool,
    /// Events that could not be put in and that nobody sends again. The writer records them with its
    /// next batch, or at the end.
    given_up: AtomicU64,
    /// Why nothing is put in for now, if that is so.
    refusing: std::sync::Mutex<Option<AppendError>>,
    /// The writer takes nothing any more, and this is what callers are told.
    ended: OnceLock<AppendError>,
}

impl<T: Waiting, F: Waiting> Queue<T, F> {
    /// A queue for so many messages, which takes another while it has fewer payload bytes than `bytes_max`.
    pub(crate) fn new(events_max: usize, bytes_max: usize) -> Queue<T, F> {
        let (sender, receiver) = crossbeam_channel::bounded(events_max);
        Queue {
            sender,
            receiver,
            bytes: AtomicUsize::new(0),
            bytes_max,
            fewer: (Mutex::default(), Condvar::new()),
            room: Notify::new(),
            gates: Arc::default(),
            closing: AtomicBool::new(false),
            given_up: AtomicU64::new(0),
            refusing: std::sync::Mutex::default(),
            ended: OnceLock::new(),
        }
    }

    /// Messages that are waiting.
    pub(crate) fn len(&self) -> usize {
        self.sender.len()
    }

    /// Whether there is no room now.
    fn is_full(&self) -> bool {
        self.sender.is_full() || self.has_too_many_bytes()
    }

    fn has_too_many_bytes(&self) -> bool {
        self.bytes.load(Ordering::SeqCst) >= self.bytes_max
    }

    /// Counts a message that is put in. Who puts it in counts first, so that the count never falls below zero.
    fn count_in(&self, message: &Message<T, F>) {
        if let Message::Append(item) = message {
            self.bytes.fetch_add(item.bytes(), Ordering::SeqCst);
        }
    }

    /// Takes a message out of the count, because it was taken or found no room.
    fn count_out(&self, message: &Message<T, F>) {
        let Message::Append(item) = message else { return };
        let bytes = item.bytes();
        let before = self.bytes.fetch_sub(bytes, Ordering::SeqCst);
        if before >= self.bytes_max && before.saturating_sub(bytes) < self.bytes_max {
            // Whoever looked before is waiting by now.
            drop(self.fewer.0.lock().unwrap_or_else(PoisonError::into_inner));
            self.fewer.1.notify_all();
        }
    }

    /// Blocks while there are too many bytes, until the deadline; false if they still are then. It ends with the
    /// queue.
    fn wait_for_fewer(&self, deadline: Option<Instant>) -> bool {
        if !self.has_too_many_bytes() {
            return true;
        }
        let mut guard = self.fewer.0.lock().unwrap_or_else(PoisonError::into_inner);
        while self.has_too_many_bytes() && self.ended.get().is_none() {
            guard = match deadline {
                None => self.fewer.1.wait(guard).unwrap_or_else(PoisonError::into_inner),
                Some(deadline) => {
                    let left = deadline.saturating_duration_since(Instant::now());
                    if left.is_zero() {
                        return false;
                    }
                    self.fewer.1.wait_timeout(guard, left).unwrap_or_else(PoisonError::into_inner).0
                }
            };
        }
        true
    }

    fn require_open(&self) -> Result<(), AppendError> {
        match self.ended.get() {
            Some(error) => Err(error.clone()),
            None if self.closing.load(Ordering::SeqCst) => Err(AppendError::Closed),
            None => self.require_taking(),
        }
    }
    fn require_taking(&self) -> Result<(), AppendError> {
        let refusing = self.refusing.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        refusing.clone().map_or(Ok(()), Err)
    }

    /// Refuses what is sent from now on with an error, and those who wait for room; or takes again.
    pub(crate) fn set_refusing(&self, error: Option<AppendError>) {
        *self.refusing.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = error;
        self.room.notify_waiters();
    }

    /// Puts a message in; blocks while there is no room, unless it begins to refuse meanwhile.
    pub(crate) fn send_unless_refusing(&self, mut message: Message<T, F>) -> Result<(), AppendError> {
        /// How long somebody who waits for room does not hear that it is in vain.
        const LOOK_UP: Duration = Duration::from_millis(100);
        loop {
            self.require_open()?;
            message = match self.sender.send_timeout(message, LOOK_UP) {
                Err(SendTimeoutError::Timeout(message)) => message,
                Err(SendTimeoutError::Disconnected(_)) | Ok(()) => {
                    self.look_after();
                    return Ok(());
                }
            };
        }
    }

    /// What there is to take, for those who wait for other things beside it.
    pub(crate) fn waiting(&self) -> &Receiver<Message<T, F>> {
        &self.receiver
    }

    /// Puts a message in; blocks while there is no room.
    pub(crate) fn send(&self, message: Message<T, F>) -> Result<(), AppendError> {
        self.require_open()?;
        self.wait_for_fewer(None);
        self.count_in(&message);
        // Never disconnected: both ends are here.
        let _ = self.sender.send(message);
        self.look_after();
        Ok(())
    }

    /// Puts an event in if there is room, without ever blocking. `prepare` makes a message of the draft; where there is
    /// no room the draft comes back, with the id that it has from then on.
    pub(crate) fn try_append(
        &self,
        mut draft: Draft,
        prepare: impl FnOnce(&mut Draft) -> Result<(Message<T, F>, Receipt), AppendError>,
    ) -> Result<Receipt, TryAppendError> {
        if self.is_full() {
            // To prepare it would be in vain.
            draft.id.get_or_insert_with(EventId::generate);
            return Err(TryAppendError::Full(Box::new(draft)));
        }
        let (message, receipt) = prepare(&mut draft)?;
        match self.try_send(message) {
            Ok(()) => Ok(receipt),
            Err(NotSent::Full) => Err(TryAppendError::Full(Box::new(draft))),
            Err(NotSent::Ended(error)) => Err(error.into()),
        }
    }

    /// Puts a message in if there is room.
    fn try_send(&self, message: Message<T, F>) -> Result<(), NotSent> {
        self.require_open().map_err(NotSent::Ended)?;
        if self.has_too_many_bytes() {
            return Err(NotSent::Full);
        }
        self.count_in(&message);
        match self.sender.try_send(message) {
            Err(TrySendError::Full(message)) => {
                self.count_out(&message);
                Err(NotSent::Full)
            }
            Err(TrySendError::Disconnected(_)) | Ok(()) => {
                self.look_after();
                Ok(())
            }
        }
    }

    /// Puts a message in; blocks for `patience` at most while there is no room.
    pub(crate) fn send_within(&self, message: Message<T, F>, patience: Duration) -> Result<(), NotSent> {
        self.require_open().map_err(NotSent::Ended)?;
        let deadline = Instant::now() + patience;
        if !self.wait_for_fewer(Some(deadline)) {
            return Err(NotSent::Full);
        }
        self.count_in(&message);
        match self.sender.send_deadline(message, deadline) {
            Err(SendTimeoutError::Timeout(message)) => {
                self.count_out(&message);
                Err(NotSent::Full)
            }
            Err(SendTimeoutError::Disconnected(_)) | Ok(()) => {
                self.look_after();
                Ok(())
            }
        }
    }

    /// Puts a message in; waits for room without blocking the thread.
    pub(crate) async fn send_async(&self, mut message: Message<T, F>) -> Result<(), AppendError> {
        loop {
            let mut room = std::pin::pin!(self.room.notified());
            // From here on no notice is missed: the queue is looked at after it.
            room.as_mut().enable();
            self.require_open()?;
            if self.has_too_many_bytes() {
                room.await;
                continue;
            }
            self.count_in(&message);
            message = match self.sender.try_send(message) {
                Err(TrySendError::Full(message)) => {
                    self.count_out(&message);
                    message
                }
                Err(TrySendError::Disconnected(_)) | Ok(()) => {
                    self.look_after();
                    return Ok(());
                }
            };
            room.await;
        }
    }

    /// After a message was put in: if the writer ended before, it may have looked for the last time.
    fn look_after(&self) {
        if let Some(error) = self.ended.get() {
            self.answer_all(error);
        }
    }

    fn answer_all(&self, error: &AppendError) {
        for message in self.receiver.try_iter() {
            self.count_out(&message);
            match message {
                Message::Append(item) => item.refuse(error),
                Message::Flush(answer) => answer.refuse(error),
                Message::Close => {}
            }
        }
    }

    /// Takes a message; waits for one until `deadline`, or for ever.
    pub(super) fn take(&self, deadline: Option<Instant>) -> Option<Message<T, F>> {
        let message = match deadline {
            None => self.receiver.recv().ok(),
            Some(deadline) => self.receiver.recv_deadline(deadline).ok(),
        };
        message.inspect(|message| self.count_out(message))
    }

    /// Takes a message if there is one.
    pub(crate) fn try_take(&self) -> Option<Message<T, F>> {
        self.receiver.try_recv().ok().inspect(|message| self.count_out(message))
    }

    /// A place to wait at for the answer to what is sent now.
    pub(crate) fn pass(&self) -> Pass {
        Gates::pass(&self.gates)
    }

    /// A batch begins: who sends something from now on is not woken with it.
    pub(super) fn begin_batch(&self) {
        self.gates.turn();
    }

    /// Says that messages were taken.
    pub(crate) fn tell_of_room(&self) {
        self.room.notify_waiters();
    }

    /// Counts an event that is given up.
    pub(crate) fn give_up(&self) {
        self.given_up.fetch_add(1, Ordering::SeqCst);
    }

    /// Takes the count of events that were given up.
    pub(crate) fn take_given_up(&self) -> u64 {
        self.given_up.swap(0, Ordering::SeqCst)
    }

    /// Lets nothing new in.
    pub(crate) fn close(&self) {
        self.closing.store(true, Ordering::SeqCst);
        self.room.notify_waiters();
    }

    /// Answers what is in the queue, and what is still to come, with an error.
    pub(crate) fn end(&self, error: AppendError) {
        let error = self.ended.get_or_init(|| error);
        // This makes room, so that no one stays blocked, and each who is not answers after itself.
        self.answer_all(error);
        drop(self.fewer.0.lock().unwrap_or_else(PoisonError::into_inner));
        self.fewer.1.notify_all();
        self.room.notify_waiters();
    }
}
