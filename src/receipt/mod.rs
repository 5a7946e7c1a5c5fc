//! The receipt for an event, and the possible outcomes of an append.

pub(crate) mod wait_group;

use std::fmt;
use std::future::{Future, IntoFuture};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use crate::event::{Digest, Draft, EventId, Seq};
use crate::prepare::PrepareError;
use wait_group::{Member, Wake, Wakes};

/// An event that is in the log, at the durability that was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Appended {
    /// The position of the event in the log.
    pub seq: Seq,
    /// The id of the event.
    pub event_id: EventId,
    /// The hash that covers the event and everything before it.
    pub hash: Digest,
    /// The effect of this call on the log.
    pub outcome: AppendOutcome,
}

/// The effect of an append on the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AppendOutcome {
    /// The event was appended.
    New,
    /// The same event with the same id was there already.
    AlreadyRecorded,
}

/// The error of an append: the event was not appended, or perhaps not.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AppendError {
    /// An event that cannot be recorded as it is.
    #[error(transparent)]
    Unfit(#[from] PrepareError),
    /// An event that the log's filter refused.
    #[error("the filter refused the event: {0}")]
    Refused(String),
    /// An event of a kind that only Annals itself writes.
    #[error("only Annals itself writes `{0}` events")]
    Reserved(&'static str),
    /// An event with the id of another event.
    #[error(
        "event {seq} already has the id {event_id}, but it is a different event, or an event of another API key; give this event another id"
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
        /// The reason, for the message.
        reason: &'static str,
    },
    /// A name that another active API key has.
    #[error(
        "the API key {id} already has the name `{name}`; give the new key another name, or revoke that key first"
    )]
    KeyNameTaken {
        /// The name.
        name: Arc<str>,
        /// The key that has it.
        id: EventId,
    },
    /// An event that was not written. Send it again with the same id.
    #[error("not written: {reason}; send it again with the same id")]
    NotWritten {
        /// The reason, for the message.
        reason: Arc<str>,
    },
    /// An event that was perhaps written: its commit failed, but may have taken effect. Send it again with the same id.
    /// If the event is in the log already, the second append changes nothing.
    #[error("perhaps not written: {reason}; send it again with the same id")]
    Ambiguous {
        /// The failure, for the message.
        reason: Arc<str>,
    },
    /// A log that was closed.
    #[error("the log is closed")]
    Closed,
    /// An event that the server behind a [`RemoteLog`](crate::client::RemoteLog) refused for good.
    #[error("the server refused the event: {reason}")]
    Rejected {
        /// The reason that the server gave.
        reason: Arc<str>,
    },
    /// An event that the server did not have yet when the [`RemoteLog`](crate::client::RemoteLog) was closed. It is in
    /// the spool, and the next program that opens the spool sends it.
    #[error("not sent yet: it is in the spool, and the next program that opens the spool sends it")]
    Spooled,
    /// An event that was neither sent nor spooled: the server behind a [`RemoteLog`](crate::client::RemoteLog) cannot
    /// be reached, and the spool accepts no more events. Nothing was recorded.
    #[error("the server is unreachable, and the spool has no more room: {reason}")]
    NoRoom {
        /// The reason, for the message.
        reason: Arc<str>,
    },
}

/// An event that [`AuditLog::try_append`](crate::AuditLog::try_append) did not accept.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TryAppendError {
    /// An event for which the queue has no room. The draft is returned, with its id.
    #[error("the queue is full")]
    Full(Box<Draft>),
    /// An event that cannot be appended.
    #[error(transparent)]
    Append(#[from] AppendError),
}

pub(crate) type Outcome = Result<Appended, AppendError>;

/// A message to a receipt.
enum Message {
    /// The final answer.
    Last(Outcome),
    /// The event is on this machine's disk, and another message follows.
    Spooled(oneshot::Receiver<Message>),
}

/// The writer's end of a receipt. If it is dropped without a message, the receipt reports that the outcome is unknown.
pub(crate) struct Ack {
    sender: oneshot::Sender<Message>,
    // Declared after the sender, and so dropped after it: a caller that is woken by this drop finds the channel closed.
    wake: Wake,
}

impl Ack {
    pub(crate) fn send(self, outcome: Outcome) {
        self.send_with(outcome, &mut Wakes::default());
    }

    /// Sends the final answer. A caller that blocks is woken when `wakes` is dropped.
    pub(crate) fn send_with(self, outcome: Outcome, wakes: &mut Wakes) {
        // The caller may have dropped its receipt; then there is nobody to notify.
        let _ = self.sender.send(Message::Last(outcome));
        wakes.add(self.wake);
    }

    /// Reports that the event is in the spool. Returns the ack for the final answer, or `None` if the receipt was
    /// dropped.
    pub(crate) fn spooled(self) -> Option<Ack> {
        let (sender, receiver) = oneshot::channel();
        // Receipts of events that can be spooled have no wait group, so the next ack wakes none.
        self.sender.send(Message::Spooled(receiver)).ok().map(|()| Ack { sender, wake: Wake::to(None) })
    }

    /// Returns true if the receipt was dropped.
    pub(crate) fn is_unheard(&self) -> bool {
        self.sender.is_closed()
    }
}

/// The state of an event that is safe on a disk. Only a [`RemoteLog`](crate::client::RemoteLog) has a spool: an event
/// of an [`AuditLog`](crate::AuditLog) is committed, or its append fails.
#[derive(Debug)]
#[non_exhaustive]
pub enum Delivery {
    /// An event that is committed in the server's log.
    Committed(Appended),
    /// An event for a server that cannot be reached. It is flushed to this machine's disk. This program, or the next
    /// one that opens the spool, sends it when the server can be reached again. The caller can still wait for the
    /// receipt.
    Spooled(Receipt),
}

/// The outcome of one append, which is not known yet. The caller can block until the answer arrives, await it, or drop
/// the receipt. The append goes on without the receipt.
#[must_use = "a receipt says whether the event was committed; wait for it, or drop it on purpose"]
pub struct Receipt {
    event_id: EventId,
    receiver: oneshot::Receiver<Message>,
    member: Option<Member>,
}

impl fmt::Debug for Receipt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Receipt").field("event_id", &self.event_id).finish_non_exhaustive()
    }
}

impl Receipt {
    /// A receipt and its ack. A caller that blocks waits in the member's wait group, or without a member for this
    /// receipt alone.
    pub(crate) fn new(event_id: EventId, member: Option<Member>) -> (Ack, Receipt) {
        let (sender, receiver) = oneshot::channel();
        (Ack { sender, wake: Wake::to(member.clone()) }, Receipt { event_id, receiver, member })
    }

    /// Blocks until a message arrives. Returns `None` if the ack was dropped without a message.
    fn message(&self) -> Option<Message> {
        let Some(member) = &self.member else { return self.receiver.recv_ref().ok() };
        member
            .wait_for(|| match self.receiver.try_recv() {
                Ok(message) => Some(Some(message)),
                Err(oneshot::TryRecvError::Empty) => None,
                Err(oneshot::TryRecvError::Disconnected) => Some(None),
            })
            .flatten()
    }

    /// The event's id, with which it can be sent again.
    pub fn event_id(&self) -> EventId {
        self.event_id
    }

    /// Blocks until the event is committed, or is known not to be. If a server cannot be reached, this blocks until the
    /// server can be reached again and has the event.
    ///
    /// # Errors
    /// If the event was not committed, or perhaps not. The error gives the reason.
    pub fn wait(self) -> Result<Appended, AppendError> {
        match self.message() {
            Some(Message::Last(outcome)) => outcome,
            // The message after this one is the final answer.
            Some(Message::Spooled(receiver)) => Receipt { receiver, ..self }.wait(),
            None => Err(writer_is_gone()),
        }
    }

    /// Blocks until the event is safe: committed, or in the spool because the server cannot be reached.
    /// [`client::Builder::spool_after`](crate::client::Builder::spool_after) sets approximately the longest time that
    /// this takes.
    ///
    /// # Errors
    /// As [`Receipt::wait`].
    pub fn delivery(self) -> Result<Delivery, AppendError> {
        match self.message() {
            Some(Message::Last(outcome)) => outcome.map(Delivery::Committed),
            Some(Message::Spooled(receiver)) => Ok(Delivery::Spooled(Receipt { receiver, ..self })),
            None => Err(writer_is_gone()),
        }
    }
}

/// The writer's end of a [`BatchReceipt`].
pub(crate) struct BatchAck(oneshot::Sender<Vec<Outcome>>);

impl BatchAck {
    pub(crate) fn send(self, outcomes: Vec<Outcome>) {
        // The caller may have dropped its receipt; then there is nobody to notify.
        let _ = self.0.send(outcomes);
    }
}

/// The outcomes of events that were sent together, which are not known yet. The caller can block until the answers
/// arrive, await them, or drop the receipt. The append goes on without the receipt.
#[derive(Debug)]
#[must_use = "a receipt says whether the events were committed; wait for it, or drop it on purpose"]
pub struct BatchReceipt {
    /// One result for each draft: `Ok` if it was sent, or the error.
    sent: Vec<Result<(), AppendError>>,
    receiver: oneshot::Receiver<Vec<Outcome>>,
}

impl BatchReceipt {
    pub(crate) fn new(sent: Vec<Result<(), AppendError>>) -> (BatchAck, BatchReceipt) {
        let (sender, receiver) = oneshot::channel();
        (BatchAck(sender), BatchReceipt { sent, receiver })
    }

    /// Blocks until every event is committed, or is known not to be. Returns one answer for each draft, in the order of
    /// the drafts: the appended event or the error. [`AppendError::Ambiguous`] means that the outcome is unknown.
    pub fn wait(self) -> Vec<Result<Appended, AppendError>> {
        let outcomes = self.receiver.recv().unwrap_or_default();
        answers(self.sent, outcomes)
    }
}

/// Awaits the answers of [`BatchReceipt::wait`] on any executor.
impl IntoFuture for BatchReceipt {
    type Output = Vec<Result<Appended, AppendError>>;
    type IntoFuture = BatchReceiptFuture;

    fn into_future(self) -> BatchReceiptFuture {
        BatchReceiptFuture { sent: self.sent, receiver: self.receiver.into_future() }
    }
}

/// The future that awaits a [`BatchReceipt`].
pub struct BatchReceiptFuture {
    sent: Vec<Result<(), AppendError>>,
    receiver: oneshot::AsyncReceiver<Vec<Outcome>>,
}

impl fmt::Debug for BatchReceiptFuture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("BatchReceiptFuture")
    }
}

impl Future for BatchReceiptFuture {
    type Output = Vec<Result<Appended, AppendError>>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let outcomes = std::task::ready!(Pin::new(&mut self.receiver).poll(context)).unwrap_or_default();
        Poll::Ready(answers(std::mem::take(&mut self.sent), outcomes))
    }
}

/// Replaces the `Ok` of each event that was sent by the writer's answer.
fn answers(sent: Vec<Result<(), AppendError>>, outcomes: Vec<Outcome>) -> Vec<Outcome> {
    let mut outcomes = outcomes.into_iter();
    sent.into_iter()
        // The writer answers in the order of the events that were sent. A missing answer means that the writer ended
        // first.
        .map(|sent| sent.and_then(|()| outcomes.next().unwrap_or_else(|| Err(writer_is_gone()))))
        .collect()
}

fn writer_is_gone() -> AppendError {
    AppendError::Ambiguous { reason: Arc::from("the writer ended before it answered") }
}

/// Awaits the answer of [`Receipt::wait`] on any executor.
impl IntoFuture for Receipt {
    type Output = Result<Appended, AppendError>;
    type IntoFuture = ReceiptFuture;

    fn into_future(self) -> ReceiptFuture {
        ReceiptFuture(self.receiver.into_future())
    }
}

/// The future that awaits a [`Receipt`].
pub struct ReceiptFuture(oneshot::AsyncReceiver<Message>);

impl fmt::Debug for ReceiptFuture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ReceiptFuture")
    }
}

impl Future for ReceiptFuture {
    type Output = Result<Appended, AppendError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        match Pin::new(&mut self.0).poll(context) {
            Poll::Pending => Poll::Pending,
            Poll::Ready(Ok(Message::Last(outcome))) => Poll::Ready(outcome),
            // The message after this one is the final answer.
            Poll::Ready(Ok(Message::Spooled(next))) => {
                self.0 = next.into_future();
                // Polled at once: the new channel does not know the waker yet, and nothing else would poll it.
                self.poll(context)
            }
            Poll::Ready(Err(_)) => Poll::Ready(Err(writer_is_gone())),
        }
    }
}
