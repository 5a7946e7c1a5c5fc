//! Messages between the callers and the courier.

use crate::event::{Draft, EventId};
use crate::limits::LINE_BYTES_MAX;
use crate::prepare::PrepareError;
use crate::receipt::{Ack, AppendError, Receipt};
use crate::writer::Waiting;

/// An event, and the sender for the answer to its receipt.
pub(super) struct Item {
    pub(super) event_id: EventId,
    /// The event's JSON form, on one line.
    pub(super) line: String,
    pub(super) ack: Ack,
}

/// The condition that ends a flush.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Until {
    /// Every event is committed, or in the spool.
    Safe,
    /// Every event is committed, or was refused.
    Sent,
}

/// A caller that waits for a flush.
pub(super) struct Flush {
    pub(super) until: Until,
    pub(super) answer: oneshot::Sender<Result<Flushed, AppendError>>,
}

/// The events that a [`RemoteLog`](super::RemoteLog) has not sent yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Flushed {
    /// Number of events in the spool: on this machine's disk, and not in the server's log. Zero means that
    /// every event is committed.
    pub spooled: u64,
}

pub(super) type Queue = crate::writer::Queue<Item, Flush>;
pub(super) type Message = crate::writer::Message<Item, Flush>;

impl Waiting for Item {
    fn refuse(self, error: &AppendError) {
        self.ack.send(Err(error.clone()));
    }
}

impl Waiting for Flush {
    fn refuse(self, error: &AppendError) {
        // The caller no longer waits for the flush; there is nobody to notify.
        let _ = self.answer.send(Err(error.clone()));
    }
}

/// Checks a draft as an [`AuditLog`](crate::AuditLog) does, on the caller's thread, and encodes it as JSON.
/// The draft gets an id here, so that the event can be sent any number of times.
pub(super) fn item(draft: &mut Draft) -> Result<(Item, Receipt), AppendError> {
    let kind = draft.event.kind();
    if kind.is_reserved() {
        return Err(AppendError::Reserved(kind.name()));
    }
    // The id is written into the line below. Every attempt sends this same line, also after a crash.
    let event_id = *draft.id.get_or_insert_with(EventId::generate);
    draft.drop_nulls();
    draft.check().map_err(PrepareError::from)?;
    let line = crate::event::write_event(event_id, draft.session.as_ref(), draft.at, &draft.event)
        .map_err(|error| PrepareError::Encode(error.to_string()))?;
    if line.len() > LINE_BYTES_MAX {
        return Err(PrepareError::TooLarge { bytes: line.len(), max: LINE_BYTES_MAX }.into());
    }
    let (ack, receipt) = Receipt::new(event_id, None);
    Ok((Item { event_id, line, ack }, receipt))
}
