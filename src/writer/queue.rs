//! What waits for the writer, and the bounded queue in which it waits.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, SendTimeoutError, Sender, TrySendError};
use tokio::sync::Notify;

use super::receipt::{Ack, AppendError, BatchAck, Outcome};
use crate::event::Seq;
use crate::prepare::Prepared;

/// What goes with an event into its transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Effect {
    /// Nothing.
    None,
    /// The payloads of these events are erased.
    Redact(Vec<Seq>),
    /// This projection goes on without this event.
    Skip { projection: &'static str, version: u32, seq: Seq },
    /// It is listed among those that say what became of API keys.
    ApiKey,
}

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
    pub(crate) fn answer(self, outcomes: impl Iterator<Item = Outcome>) {
        match self {
            Item::One { ack, .. } => {
                // An ack that is dropped says that it is not known.
                if let Some(outcome) = outcomes.into_iter().next() {
                    ack.send(outcome);
                }
            }
            Item::Many { prepared, ack } => ack.send(outcomes.take(prepared.len()).collect()),
        }
    }

    /// Tells the caller that none of the events is in the log, or that this is not known.
    pub(crate) fn refuse(self, error: &AppendError) {
        self.answer(std::iter::repeat_with(|| Err(error.clone())));
    }
}

/// What the writer is sent.
pub(crate) enum Message {
    /// Events to append.
    Append(Item),
    /// Answer when everything sent before is committed, or is known not to be.
    Flush(oneshot::Sender<Result<Seq, AppendError>>),
    /// Commit what was sent before, and end.
    Close,
}

/// A message that found no room, or nobody to read it.
pub(crate) enum NotSent {
    Full,
    Ended(AppendError),
}

/// The queue between the callers and the writer; both have it whole.
///
/// Nothing stays in it without an answer. The writer answers what it takes. When it ends it leaves
/// word of that and answers what is there; who puts something in later finds that word afterwards,
/// and answers what is there in the writer's stead.
pub(crate) struct Queue {
    sender: Sender<Message>,
    receiver: Receiver<Message>,
    /// Wakes those who wait for room without blocking a thread.
    room: Notify,
    /// The writer was told to close: it takes what is there, and nothing new is put in.
    closing: AtomicBool,
    /// Events that could not be put in and that nobody sends again. The writer records them with its
    /// next batch, or at the end.
    given_up: AtomicU64,
    /// The writer takes nothing any more, and this is what callers are told.
    ended: OnceLock<AppendError>,
}

impl Queue {
    pub(crate) fn new(events_max: usize) -> Queue {
        let (sender, receiver) = crossbeam_channel::bounded(events_max);
        Queue {
            sender,
            receiver,
            room: Notify::new(),
            closing: AtomicBool::new(false),
            given_up: AtomicU64::new(0),
            ended: OnceLock::new(),
        }
    }

    /// Whether there is no room now.
    pub(crate) fn is_full(&self) -> bool {
        self.sender.is_full()
    }

    fn require_open(&self) -> Result<(), AppendError> {
        match self.ended.get() {
            Some(error) => Err(error.clone()),
            None if self.closing.load(Ordering::SeqCst) => Err(AppendError::Closed),
            None => Ok(()),
        }
    }

    /// Puts a message in; blocks while there is no room.
    pub(crate) fn send(&self, message: Message) -> Result<(), AppendError> {
        self.require_open()?;
        // Never disconnected: both ends are here.
        let _ = self.sender.send(message);
        self.look_after();
        Ok(())
    }

    /// Puts a message in if there is room.
    pub(crate) fn try_send(&self, message: Message) -> Result<(), NotSent> {
        self.require_open().map_err(NotSent::Ended)?;
        match self.sender.try_send(message) {
            Err(TrySendError::Full(_)) => Err(NotSent::Full),
            Err(TrySendError::Disconnected(_)) | Ok(()) => {
                self.look_after();
                Ok(())
            }
        }
    }

    /// Puts a message in; blocks for `patience` at most while there is no room.
    pub(crate) fn send_within(&self, message: Message, patience: Duration) -> Result<(), NotSent> {
        self.require_open().map_err(NotSent::Ended)?;
        match self.sender.send_timeout(message, patience) {
            Err(SendTimeoutError::Timeout(_)) => Err(NotSent::Full),
            Err(SendTimeoutError::Disconnected(_)) | Ok(()) => {
                self.look_after();
                Ok(())
            }
        }
    }

    /// Puts a message in; waits for room without blocking the thread.
    pub(crate) async fn send_async(&self, mut message: Message) -> Result<(), AppendError> {
        loop {
            let mut room = std::pin::pin!(self.room.notified());
            // From here on no notice is missed: the queue is looked at after it.
            room.as_mut().enable();
            self.require_open()?;
            message = match self.sender.try_send(message) {
                Err(TrySendError::Full(message)) => message,
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
            match message {
                Message::Append(item) => item.refuse(error),
                // Who does not wait any longer does not want to know.
                Message::Flush(answer) => drop(answer.send(Err(error.clone()))),
                Message::Close => {}
            }
        }
    }

    /// Takes a message; waits for one until `deadline`, or for ever.
    pub(super) fn take(&self, deadline: Option<Instant>) -> Option<Message> {
        match deadline {
            None => self.receiver.recv().ok(),
            Some(deadline) => self.receiver.recv_deadline(deadline).ok(),
        }
    }

    /// Takes a message if there is one.
    pub(super) fn try_take(&self) -> Option<Message> {
        self.receiver.try_recv().ok()
    }

    /// Says that messages were taken.
    pub(super) fn tell_of_room(&self) {
        self.room.notify_waiters();
    }

    /// Counts an event that is given up.
    pub(crate) fn give_up(&self) {
        self.given_up.fetch_add(1, Ordering::SeqCst);
    }

    /// Takes the count of events that were given up.
    pub(super) fn take_given_up(&self) -> u64 {
        self.given_up.swap(0, Ordering::SeqCst)
    }

    /// Lets nothing new in.
    pub(super) fn close(&self) {
        self.closing.store(true, Ordering::SeqCst);
        self.room.notify_waiters();
    }

    /// Answers what is in the queue, and what is still to come, with an error.
    pub(super) fn end(&self, error: AppendError) {
        let error = self.ended.get_or_init(|| error);
        // This makes room, so that no one stays blocked, and each who is not answers after itself.
        self.answer_all(error);
        self.room.notify_waiters();
    }
}
