//! What a caller gets for an event, and what it can turn into.

use std::future::{Future, IntoFuture};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use crate::event::{Digest, Draft, EventId, Seq};
use crate::prepare::PrepareError;

/// An event that is in the log, at the durability that was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Appended {
    /// Its place.
    pub seq: Seq,
    /// Its id.
    pub event_id: EventId,
    /// Its link.
    pub hash: Digest,
    /// Whether this call put it there.
    pub outcome: AppendOutcome,
}

/// Whether an append changed the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AppendOutcome {
    /// The event was appended.
    New,
    /// The same event with the same id was there already.
    AlreadyRecorded,
}

/// An event that was not appended, or of which that is not known.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AppendError {
    /// It cannot be recorded as it is.
    #[error(transparent)]
    Unfit(#[from] PrepareError),
    /// The log's filter refused it.
    #[error("the filter refused the event: {0}")]
    Refused(String),
    /// Only Annals itself writes events of its kind.
    #[error("only Annals itself writes `{0}` events")]
    Reserved(&'static str),
    /// Another event has its id.
    #[error(
        "event {seq} has the id {event_id} already, and is another event or another key's; give this one an id of its own"
    )]
    Conflict {
        /// The id.
        event_id: EventId,
        /// The event that has it.
        seq: Seq,
    },
    /// A redaction that cannot be made.
    #[error("event {seq} cannot be redacted: {reason}")]
    NotRedactable {
        /// The event that it names.
        seq: Seq,
        /// Why not.
        reason: &'static str,
    },
    /// It was not written. Send it again with the same id.
    #[error("not written: {reason}; send it again with the same id")]
    NotWritten {
        /// Why not.
        reason: Arc<str>,
    },
    /// The commit failed in a way that does not tell whether it took effect. Send it again with the
    /// same id, which changes nothing if it did.
    #[error("perhaps not written: {reason}; send it again with the same id")]
    Ambiguous {
        /// What happened.
        reason: Arc<str>,
    },
    /// The log was closed.
    #[error("the log is closed")]
    Closed,
}

/// An event that [`AuditLog::try_append`](crate::AuditLog::try_append) did not take.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TryAppendError {
    /// The queue is full. The draft comes back, with the id that it was given.
    #[error("the queue is full")]
    Full(Box<Draft>),
    /// It cannot be appended.
    #[error(transparent)]
    Append(#[from] AppendError),
}

pub(crate) type Outcome = Result<Appended, AppendError>;

/// The writer's end of a receipt. One that is dropped without a word tells the caller that it is
/// not known what became of the event.
pub(crate) struct Ack(oneshot::Sender<Outcome>);

impl Ack {
    pub(crate) fn send(self, outcome: Outcome) {
        // A caller that dropped its receipt does not want to know.
        let _ = self.0.send(outcome);
    }
}

/// The promise of an answer about one event: wait for it, await it, or drop it. The event is
/// appended in any case.
#[derive(Debug)]
#[must_use = "a receipt says whether the event was committed; wait for it, or drop it on purpose"]
pub struct Receipt {
    event_id: EventId,
    receiver: oneshot::Receiver<Outcome>,
}

impl Receipt {
    pub(crate) fn new(event_id: EventId) -> (Ack, Receipt) {
        let (sender, receiver) = oneshot::channel();
        (Ack(sender), Receipt { event_id, receiver })
    }

    /// The event's id: what to send it again with.
    pub fn event_id(&self) -> EventId {
        self.event_id
    }

    /// Blocks until the event is committed, or is known not to be.
    ///
    /// # Errors
    /// Says why it was not, or that this is not known.
    pub fn wait(self) -> Result<Appended, AppendError> {
        self.receiver.recv().unwrap_or_else(|_| Err(writer_is_gone()))
    }
}

/// The writer's end of a [`BatchReceipt`].
pub(crate) struct BatchAck(oneshot::Sender<Vec<Outcome>>);

impl BatchAck {
    pub(crate) fn send(self, outcomes: Vec<Outcome>) {
        // As with a single one.
        let _ = self.0.send(outcomes);
    }
}

/// The promise of an answer about events that were sent together: wait for it, await it with
/// [`BatchReceipt::answer`], or drop it. The events are appended in any case.
#[derive(Debug)]
#[must_use = "a receipt says whether the events were committed; wait for it, or drop it on purpose"]
pub struct BatchReceipt {
    /// For each draft whether it was sent, or why not.
    sent: Vec<Result<(), AppendError>>,
    receiver: oneshot::Receiver<Vec<Outcome>>,
}

impl BatchReceipt {
    pub(crate) fn new(sent: Vec<Result<(), AppendError>>) -> (BatchAck, BatchReceipt) {
        let (sender, receiver) = oneshot::channel();
        (BatchAck(sender), BatchReceipt { sent, receiver })
    }

    /// Blocks until every event is committed, or is known not to be. One answer for each draft, in
    /// their order: where it is in the log, why not, or that this is not known.
    pub fn wait(self) -> Vec<Result<Appended, AppendError>> {
        let outcomes = self.receiver.recv().unwrap_or_default();
        answers(self.sent, outcomes)
    }

    /// As [`BatchReceipt::wait`], on any executor.
    pub async fn answer(self) -> Vec<Result<Appended, AppendError>> {
        let outcomes = self.receiver.await.unwrap_or_default();
        answers(self.sent, outcomes)
    }
}

/// Puts the writer's answers in the places of the events that were sent.
fn answers(sent: Vec<Result<(), AppendError>>, outcomes: Vec<Outcome>) -> Vec<Outcome> {
    let mut outcomes = outcomes.into_iter();
    sent.into_iter()
        .map(|sent| sent.and_then(|()| outcomes.next().unwrap_or_else(|| Err(writer_is_gone()))))
        .collect()
}

fn writer_is_gone() -> AppendError {
    AppendError::Ambiguous { reason: Arc::from("the writer ended before it answered") }
}

/// Waits on any executor.
impl IntoFuture for Receipt {
    type Output = Result<Appended, AppendError>;
    type IntoFuture = ReceiptFuture;

    fn into_future(self) -> ReceiptFuture {
        ReceiptFuture(self.receiver.into_future())
    }
}

/// What awaiting a [`Receipt`] polls.
#[derive(Debug)]
pub struct ReceiptFuture(oneshot::AsyncReceiver<Outcome>);

impl Future for ReceiptFuture {
    type Output = Result<Appended, AppendError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.0).poll(context).map(|outcome| outcome.unwrap_or_else(|_| Err(writer_is_gone())))
    }
}
