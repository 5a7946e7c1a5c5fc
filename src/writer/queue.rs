//! Messages for the writer, and the bounded queue in which they wait.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, SendTimeoutError, Sender, TrySendError};
use tokio::sync::Notify;

use crate::event::{Draft, EventId, Seq};
use crate::log::Effect;
use crate::prepare::Prepared;
use crate::receipt::wait_group::{Member, WaitGroups, Wakes};
use crate::receipt::{Ack, AppendError, BatchAck, Outcome, Receipt, TryAppendError};

/// Events that go into one transaction, and the sender of their answers.
pub(crate) enum Item {
    /// One event.
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

    /// The effect of a single event. A batch has none.
    pub(crate) fn effect(&self) -> &Effect {
        match self {
            Item::One { effect, .. } => effect,
            Item::Many { .. } => &Effect::None,
        }
    }

    /// Sends the caller one outcome for each event. A caller that blocks for it is woken when `wakes` is dropped.
    pub(crate) fn answer(self, outcomes: impl Iterator<Item = Outcome>, wakes: &mut Wakes) {
        match self {
            Item::One { ack, .. } => {
                // An ack that is dropped reports that the outcome is unknown.
                if let Some(outcome) = outcomes.into_iter().next() {
                    ack.send_with(outcome, wakes);
                }
            }
            Item::Many { prepared, ack } => ack.send(outcomes.take(prepared.len()).collect()),
        }
    }
}

/// The sender of the writer's answer to a flush.
pub(crate) type FlushAnswer = oneshot::Sender<Result<Seq, AppendError>>;

/// A message that can wait in a queue. It is refused with an error if the receiving thread has ended.
pub(crate) trait Waiting {
    fn refuse(self, error: &AppendError);

    /// Bytes of payload in the message, if the queue is bounded by them.
    fn bytes(&self) -> usize {
        0
    }
}

impl Waiting for Item {
    /// Reports to the caller that none of the events is in the log, or that this is unknown.
    fn refuse(self, error: &AppendError) {
        self.answer(std::iter::repeat_with(|| Err(error.clone())), &mut Wakes::default());
    }

    fn bytes(&self) -> usize {
        self.events().iter().map(|prepared| prepared.cell.len()).sum()
    }
}

impl Waiting for FlushAnswer {
    fn refuse(self, error: &AppendError) {
        // The caller may no longer wait for the flush; then there is nobody to notify.
        let _ = self.send(Err(error.clone()));
    }
}

/// A message to the writer, or to another thread that receives events.
pub(crate) enum Message<T = Item, F = FlushAnswer> {
    /// Events to append.
    Append(T),
    /// A request for an answer when everything that was sent before is committed, or is known not to be.
    Flush(F),
    /// The order to commit what was sent before, and to end.
    Close,
}

/// The reason why a message was not put into the queue.
pub(crate) enum NotSent {
    Full,
    Ended(AppendError),
}

/// The queue between the callers and the writer, or another receiving thread. Both sides share this object.
///
/// Every message gets an answer. The writer answers the messages that it receives. When the writer ends, it sets
/// `ended` first, and then answers all messages in the queue. A sender checks `ended` after it put a message in. If
/// `ended` is set, the sender itself answers all messages in the queue.
pub(crate) struct Queue<T = Item, F = FlushAnswer> {
    sender: Sender<Message<T, F>>,
    receiver: Receiver<Message<T, F>>,
    /// Payload bytes in the queue.
    bytes: AtomicUsize,
    /// Payload bytes at which the queue accepts no further message.
    bytes_max: usize,
    /// Wakes callers that block until there are fewer bytes.
    fewer: (Mutex<()>, Condvar),
    /// Wakes callers that wait for room without blocking a thread.
    room: Notify,
    /// The wait groups of the callers that block for an answer.
    groups: Arc<WaitGroups>,
    /// Set once the writer has received the order to close: it still commits the messages in the queue, and new ones
    /// are refused.
    closing: AtomicBool,
    /// Number of events that could not be put in, and that no caller sends again. The writer records them as lost.
    given_up: AtomicU64,
    /// The error with which messages are refused for now, if there is one.
    refusing: std::sync::Mutex<Option<AppendError>>,
    /// The error for all callers, once the writer has ended.
    ended: OnceLock<AppendError>,
}

impl<T: Waiting, F: Waiting> Queue<T, F> {
    /// A queue for `events_max` messages. It accepts another one while it has fewer payload bytes than `bytes_max`.
    pub(crate) fn new(events_max: usize, bytes_max: usize) -> Queue<T, F> {
        let (sender, receiver) = crossbeam_channel::bounded(events_max);
        Queue {
            sender,
            receiver,
            bytes: AtomicUsize::new(0),
            bytes_max,
            fewer: (Mutex::default(), Condvar::new()),
            room: Notify::new(),
            groups: Arc::default(),
            closing: AtomicBool::new(false),
            given_up: AtomicU64::new(0),
            refusing: std::sync::Mutex::default(),
            ended: OnceLock::new(),
        }
    }

    /// Number of messages in the queue.
    pub(crate) fn len(&self) -> usize {
        self.sender.len()
    }

    /// Returns whether there is no room now.
    fn is_full(&self) -> bool {
        self.sender.is_full() || self.has_too_many_bytes()
    }

    fn has_too_many_bytes(&self) -> bool {
        // The size of the new message does not count, so an event of any size fits. Senders that check at the same time
        // exceed the bound by at most one message each.
        self.bytes.load(Ordering::SeqCst) >= self.bytes_max
    }

    /// Counts a message that is put in. The sender counts it first, so that the count never falls below zero.
    fn count_in(&self, message: &Message<T, F>) {
        if let Message::Append(item) = message {
            self.bytes.fetch_add(item.bytes(), Ordering::SeqCst);
        }
    }

    /// Subtracts a message that was received or found no room.
    fn count_out(&self, message: &Message<T, F>) {
        let Message::Append(item) = message else { return };
        let bytes = item.bytes();
        let before = self.bytes.fetch_sub(bytes, Ordering::SeqCst);
        if before >= self.bytes_max && before.saturating_sub(bytes) < self.bytes_max {
            // A caller that saw the old count did so under this lock, and is waiting by now: it gets the notice.
            drop(self.fewer.0.lock().unwrap_or_else(PoisonError::into_inner));
            self.fewer.1.notify_all();
        }
    }

    /// Blocks while there are too many bytes. Returns false if there still are too many at the deadline. Returns true
    /// if the queue ends during the wait.
    fn wait_for_fewer(&self, deadline: Option<Instant>) -> bool {
        if !self.has_too_many_bytes() {
            return true;
        }
        let mut guard = self.fewer.0.lock().unwrap_or_else(PoisonError::into_inner);
        while self.has_too_many_bytes() && self.ended.get().is_none() {
            guard = match deadline {
                None => self.fewer.1.wait(guard).unwrap_or_else(PoisonError::into_inner),
                Some(deadline) => {
                    let remaining = deadline.saturating_duration_since(Instant::now());
                    if remaining.is_zero() {
                        return false;
                    }
                    self.fewer.1.wait_timeout(guard, remaining).unwrap_or_else(PoisonError::into_inner).0
                }
            };
        }
        true
    }

    fn require_open(&self) -> Result<(), AppendError> {
        match self.ended.get() {
            Some(error) => Err(error.clone()),
            None if self.closing.load(Ordering::SeqCst) => Err(AppendError::Closed),
            None => self.require_accepting(),
        }
    }

    fn require_accepting(&self) -> Result<(), AppendError> {
        let refusing = self.refusing.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        refusing.clone().map_or(Ok(()), Err)
    }

    /// Sets the error with which new messages and those of callers that wait for room are refused. With `None`,
    /// messages are accepted again.
    pub(crate) fn set_refusing(&self, error: Option<AppendError>) {
        *self.refusing.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = error;
        self.room.notify_waiters();
    }

    /// Puts a message in. Blocks while there is no room, until the queue begins to refuse messages.
    pub(crate) fn send_unless_refusing(&self, mut message: Message<T, F>) -> Result<(), AppendError> {
        /// Longest time until a caller that waits for room notices that messages are refused.
        const RECHECK: Duration = Duration::from_millis(100);
        loop {
            self.require_open()?;
            // Nothing can interrupt this wait, so it is divided into short ones.
            message = match self.sender.send_timeout(message, RECHECK) {
                Err(SendTimeoutError::Timeout(message)) => message,
                Err(SendTimeoutError::Disconnected(_)) | Ok(()) => {
                    self.answer_if_ended();
                    return Ok(());
                }
            };
        }
    }

    /// The receiving end, for a thread that also waits for other channels.
    pub(crate) fn waiting(&self) -> &Receiver<Message<T, F>> {
        &self.receiver
    }

    /// Puts a message in; blocks while there is no room.
    pub(crate) fn send(&self, message: Message<T, F>) -> Result<(), AppendError> {
        self.require_open()?;
        self.wait_for_fewer(None);
        self.count_in(&message);
        // Never disconnected: the queue holds both ends.
        let _ = self.sender.send(message);
        self.answer_if_ended();
        Ok(())
    }

    /// Puts an event in if there is room; never blocks. `prepare` makes a message from the draft. If there is no room,
    /// the draft is returned, with the id that it keeps.
    pub(crate) fn try_append(
        &self,
        mut draft: Draft,
        prepare: impl FnOnce(&mut Draft) -> Result<(Message<T, F>, Receipt), AppendError>,
    ) -> Result<Receipt, TryAppendError> {
        if self.is_full() {
            // Checked before the draft is prepared, because that work would be wasted.
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
                self.answer_if_ended();
                Ok(())
            }
        }
    }

    /// Puts a message in. Blocks for at most `timeout` while there is no room.
    pub(crate) fn send_within(&self, message: Message<T, F>, timeout: Duration) -> Result<(), NotSent> {
        self.require_open().map_err(NotSent::Ended)?;
        let deadline = Instant::now() + timeout;
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
                self.answer_if_ended();
                Ok(())
            }
        }
    }

    /// Puts a message in. Waits for room without blocking the thread.
    pub(crate) async fn send_async(&self, mut message: Message<T, F>) -> Result<(), AppendError> {
        loop {
            let mut room = std::pin::pin!(self.room.notified());
            // Registered before the queue is checked, so that no notice is missed.
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
                    self.answer_if_ended();
                    return Ok(());
                }
            };
            room.await;
        }
    }

    /// Answers all messages if the writer has ended. Called after a message was put in: the writer may have emptied the
    /// queue for the last time before that.
    fn answer_if_ended(&self) {
        if let Some(error) = self.ended.get() {
            self.answer_all(error);
        }
    }

    fn answer_all(&self, error: &AppendError) {
        // Several threads may do this at once. The channel gives each message to one of them.
        for message in self.receiver.try_iter() {
            self.count_out(&message);
            match message {
                Message::Append(item) => item.refuse(error),
                Message::Flush(answer) => answer.refuse(error),
                Message::Close => {}
            }
        }
    }

    /// Receives a message. Waits for one until `deadline`, or forever.
    pub(super) fn take(&self, deadline: Option<Instant>) -> Option<Message<T, F>> {
        let message = match deadline {
            None => self.receiver.recv().ok(),
            Some(deadline) => self.receiver.recv_deadline(deadline).ok(),
        };
        message.inspect(|message| self.count_out(message))
    }

    /// Receives a message if there is one.
    pub(crate) fn try_take(&self) -> Option<Message<T, F>> {
        self.receiver.try_recv().ok().inspect(|message| self.count_out(message))
    }

    /// Adds a caller to the current wait group, before its event is sent.
    pub(crate) fn join(&self) -> Member {
        WaitGroups::join(&self.groups)
    }

    /// Begins a batch: callers that join a wait group from now on are not woken with this batch.
    pub(super) fn begin_batch(&self) {
        self.groups.next();
    }

    /// Wakes callers that wait asynchronously for room. Called after messages were received.
    pub(crate) fn tell_of_room(&self) {
        self.room.notify_waiters();
    }

    /// Counts an event that could not be put in, and that no caller sends again.
    pub(crate) fn give_up(&self) {
        self.given_up.fetch_add(1, Ordering::SeqCst);
    }

    /// Returns the number of events since the last call that [`Queue::give_up`] counted.
    pub(crate) fn take_given_up(&self) -> u64 {
        self.given_up.swap(0, Ordering::SeqCst)
    }

    /// Refuses new messages.
    pub(crate) fn close(&self) {
        self.closing.store(true, Ordering::SeqCst);
        self.room.notify_waiters();
    }

    /// Answers the messages in the queue, and all later ones, with this error.
    pub(crate) fn end(&self, error: AppendError) {
        // Set before the queue is emptied: a sender whose message comes later finds `ended`, and answers the message
        // itself.
        let error = self.ended.get_or_init(|| error);
        // This makes room, so no sender stays blocked. Each sender that gets room finds `ended`, and answers the
        // messages in the queue.
        self.answer_all(error);
        // Notified after the lock was taken: a caller that held it and did not see `ended` is waiting by now, and gets
        // the notice.
        drop(self.fewer.0.lock().unwrap_or_else(PoisonError::into_inner));
        self.fewer.1.notify_all();
        self.room.notify_waiters();
    }
}
