//! What waits for the writer.

use std::sync::Arc;

use super::receipt::Ack;
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
}

/// An event and the caller's wish to know.
pub(crate) struct Item {
    pub(crate) prepared: Prepared,
    pub(crate) effect: Effect,
    pub(crate) ack: Ack,
}

/// What the writer is sent.
pub(crate) enum Message {
    /// An event.
    Append(Box<Item>),
    /// Answer when everything sent before is committed, or is known not to be.
    Flush(oneshot::Sender<Result<Seq, Arc<str>>>),
    /// Commit what was sent before, and end.
    Close,
}
