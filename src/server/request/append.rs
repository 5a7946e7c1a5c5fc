//! Appending the events of a body, in the same way for every kind of body.

use crate::event::{Draft, EventId};
use crate::prepare::{PrepareError, SentBy};
use crate::receipt::{AppendError, AppendOutcome, Appended};
use crate::server::app::App;
use crate::server::app::memory::Held;
use crate::server::problem::{Kind, Problem};
use crate::server::request::body::Received;
use crate::server::request::caller::Caller;

/// An event that was sent to the log, with its outcome.
pub(crate) struct Sent {
    /// The sender's id, or a new one.
    pub(crate) id: EventId,
    pub(crate) outcome: Result<Appended, AppendError>,
}

/// Reads events out of a body and appends them together under the caller's key. Returns what `read` gives
/// beside the drafts, and the outcome of each draft in their order. The body's memory counts for as long as
/// the caller has it. `read` takes memory for what it makes of the body, which counts until all of that is
/// committed.
///
/// # Errors
/// If the body cannot be read, the log took nothing of it, or the commit takes too long.
pub(crate) async fn append<T: Send + 'static>(
    app: &App,
    caller: &Caller,
    received: &Received,
    sent_by: SentBy,
    read: impl FnOnce(&[u8], &mut Held) -> Result<(T, Vec<Draft>), Problem> + Send + 'static,
) -> Result<(T, Vec<Sent>), Problem> {
    let log = caller.log(app);
    let bytes = received.bytes.clone();
    let length = bytes.len();
    let prepare = {
        let log = log.clone();
        let mut made = Held::of(&app.memory);
        move || -> Result<_, Problem> {
            let (beside, mut drafts) = read(&bytes, &mut made)?;
            // Absent ids are made here, not by the log. The answer names them also when it asks the client to
            // send all of it again.
            let ids: Vec<_> =
                drafts.iter_mut().map(|draft| *draft.id.get_or_insert_with(EventId::generate)).collect();
            let (message, receipt) = log.prepare_batch(drafts, sent_by);
            Ok((beside, ids, message, receipt, made))
        }
    };
    let (beside, ids, message, receipt, _made) = app.work(length, prepare).await.map_err(|_| {
        Problem::new(Kind::Internal, "an internal error in the server; nothing was recorded")
    })??;
    // A body may take long to arrive. Its key may have been revoked since the headers were checked.
    if !caller.is_still_allowed(app).await {
        return Err(Problem::new(
            Kind::Unauthorized,
            "the API key was revoked or has expired, or the log has its first key now; nothing of this request was recorded",
        ));
    }
    if let Some(message) = message {
        // A send that is given up while it waits has put nothing in the queue.
        tokio::time::timeout(app.limits.queue, log.send(message))
            .await
            .map_err(|_| {
                Problem::new(
                    Kind::Overloaded,
                    "the log's queue is full; nothing of this request was recorded",
                )
            })?
            .map_err(|error| Problem::new(Kind::Unavailable, error.to_string()))?;
    }
    // From here on the message cannot be taken back. After a timeout the events may still be committed; their
    // ids keep them single when they are sent again.
    let outcomes = tokio::time::timeout(app.limits.commit, receipt.into_future()).await.map_err(|_| {
        Problem::new(
            Kind::NotWritten,
            "the commit takes too long; send all events again with the same ids: an event that is already committed is not recorded twice",
        )
    })?;
    count(app, &outcomes);
    // The receipt has one outcome for each draft, in their order.
    let sent = ids.into_iter().zip(outcomes).map(|(id, outcome)| Sent { id, outcome }).collect();
    Ok((beside, sent))
}

fn count(app: &App, outcomes: &[Result<Appended, AppendError>]) {
    let (mut new, mut already) = (0, 0);
    for outcome in outcomes {
        match outcome {
            Ok(Appended { outcome: AppendOutcome::New, .. }) => new += 1,
            Ok(Appended { outcome: AppendOutcome::AlreadyRecorded, .. }) => already += 1,
            Err(error) => app.metrics.rejected(Kind::of(error).name(), 1),
        }
    }
    app.metrics.recorded(new, already);
}

impl Kind {
    /// The kind of problem for an event that was not appended.
    pub(crate) fn of(error: &AppendError) -> Kind {
        match error {
            AppendError::Unfit(PrepareError::TooLarge { .. }) => Kind::TooLarge,
            AppendError::Unfit(PrepareError::Invalid(_) | PrepareError::Encode(_)) => Kind::InvalidEvent,
            AppendError::NotRedactable { .. } => Kind::NotRedactable,
            AppendError::KeyNameTaken { .. } => Kind::InvalidValue,
            AppendError::Refused(_) => Kind::Filtered,
            AppendError::Reserved(_) => Kind::Reserved,
            AppendError::Conflict { .. } => Kind::Conflict,
            AppendError::NotWritten { .. } | AppendError::Ambiguous { .. } | AppendError::Closed => {
                Kind::NotWritten
            }
            // Only a client of a server returns these. This log is open in this process.
            AppendError::Rejected { .. } | AppendError::Spooled | AppendError::NoRoom { .. } => {
                Kind::NotWritten
            }
        }
    }
}
