//! What a caller gets for an event, and what it can turn into.

pub(crate) mod gate;

use std::fmt;
use std::future::{Future, IntoFuture};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use crate::event::{Digest, Draft, EventId, Seq};
use crate::prepare::PrepareError;
use gate::{Call, Calls, Pass};

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
    /// An API key that is good has the name of the one to be created.
    #[error("the API key {id} is called `{name}`; give the new one another name, or revoke that one first")]
    KeyNameTaken {
        /// The name.
        name: Arc<str>,
        /// The key that has it.
        id: EventId,
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
    /// The server behind a [`RemoteLog`](crate::client::RemoteLog) refused it for good.
    #[error("the server refused the event: {reason}")]
    Rejected {
        /// What the server says is wrong with it.
        reason: Arc<str>,
    },
    /// The [`RemoteLog`](crate::client::RemoteLog) was closed before the server had it. It is in the spool, and sent by the next program
    /// that opens that.
    #[error("not sent yet: it is in the spool, and sent by the next program that opens it")]
    Spooled,
    /// The server behind a [`RemoteLog`](crate::client::RemoteLog) is away, and the spool takes no more. Nothing was recorded.
    #[error("the server is away, and the spool takes no more: {reason}")]
    NoRoom {
        /// What is in the way.
        reason: Arc<str>,
    },
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

/// What a receipt is told.
enum Word {
    /// The last word.
    Last(Outcome),
    /// It is on this machine's disk; there is another word to come.
    Spooled(oneshot::Receiver<Word>),
}

/// The writer's end of a receipt. One that is dropped without a word tells the caller that it is
/// not known what became of the event.
pub(crate) struct Ack {
    sender: oneshot::Sender<Word>,
    // After the sender: where that is dropped without a word, this wakes the caller to see it.
    call: Call,
}

impl Ack {
    pub(crate) fn send(self, outcome: Outcome) {
        self.send_with(outcome, &mut Calls::default());
    }

    /// Says the last word. A caller who blocks is woken only with the `calls`.
    pub(crate) fn send_with(self, outcome: Outcome, calls: &mut Calls) {
        // A caller that dropped its receipt does not want to know.
        let _ = self.sender.send(Word::Last(outcome));
        calls.add(self.call);
    }

    /// Says that the event is in the spool. None if nobody waits for what becomes of it then.
    pub(crate) fn spooled(self) -> Option<Ack> {
        let (sender, receiver) = oneshot::channel();
        self.sender.send(Word::Spooled(receiver)).ok().map(|()| Ack { sender, call: Call::to(None) })
    }

    /// Whether nobody waits for it any more.
    pub(crate) fn is_unheard(&self) -> bool {
        self.sender.is_closed()
    }
}

/// How safe an event is. Only a [`RemoteLog`](crate::client::RemoteLog) has a spool: an event of an
/// [`AuditLog`](crate::AuditLog) is committed, or an error.
#[derive(Debug)]
#[non_exhaustive]
pub enum Delivery {
    /// It is committed in the server's log.
    Committed(Appended),
    /// The server is away. The event is flushed to this machine's disk, and sent when the server is
    /// back: by this program, or by the next one that opens the spool. The receipt can still be waited
    /// for.
    Spooled(Receipt),
}

/// The promise of an answer about one event: wait for it, await it, or drop it. The event is
/// appended in any case.
#[must_use = "a receipt says whether the event was committed; wait for it, or drop it on purpose"]
pub struct Receipt {
    event_id: EventId,
    receiver: oneshot::Receiver<Word>,
    pass: Option<Pass>,
}

impl fmt::Debug for Receipt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Receipt").field("event_id", &self.event_id).finish_non_exhaustive()
    }
}

impl Receipt {
    /// With a pass, a caller who blocks waits at its gate; without one, by itself.
    pub(crate) fn new(event_id: EventId, pass: Option<Pass>) -> (Ack, Receipt) {
        let (sender, receiver) = oneshot::channel();
        (Ack { sender, call: Call::to(pass.clone()) }, Receipt { event_id, receiver, pass })
    }

    /// Blocks until there is a word. None where the writer ended without one.
    fn word(&self) -> Option<Word> {
        let Some(pass) = &self.pass else { return self.receiver.recv_ref().ok() };
        pass.wait_for(|| match self.receiver.try_recv() {
            Ok(word) => Some(Some(word)),
            Err(oneshot::TryRecvError::Empty) => None,
            Err(oneshot::TryRecvError::Disconnected) => Some(None),
        })
        .flatten()
    }

    /// The event's id: what to send it again with.
    pub fn event_id(&self) -> EventId {
        self.event_id
    }

    /// Blocks until the event is committed, or is known not to be. An event for a server that is away
    /// is committed when the server is back: until then this blocks.
    ///
    /// # Errors
    /// Says why it was not, or that this is not known.
    pub fn wait(self) -> Result<Appended, AppendError> {
        match self.word() {
            Some(Word::Last(outcome)) => outcome,
            // The word after it is the last.
            Some(Word::Spooled(receiver)) => Receipt { receiver, ..self }.wait(),
            None => Err(writer_is_gone()),
        }
    }

    /// Blocks until the event is safe: committed, or in the spool because the server is away. That takes
    /// about as long as [`client::Builder::spool_after`](crate::client::Builder::spool_after) says, at
    /// most.
    ///
    /// # Errors
    /// As [`Receipt::wait`].
    pub fn delivery(self) -> Result<Delivery, AppendError> {
        match self.word() {
            Some(Word::Last(outcome)) => outcome.map(Delivery::Committed),
            Some(Word::Spooled(receiver)) => Ok(Delivery::Spooled(Receipt { receiver, ..self })),
            None => Err(writer_is_gone()),
        }
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
pub struct ReceiptFuture(oneshot::AsyncReceiver<Word>);

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
            Poll::Ready(Ok(Word::Last(outcome))) => Poll::Ready(outcome),
            // The word after it is the last.
            Poll::Ready(Ok(Word::Spooled(next))) => {
                self.0 = next.into_future();
                self.poll(context)
            }
            Poll::Ready(Err(_)) => Poll::Ready(Err(writer_is_gone())),
        }
    }
}
