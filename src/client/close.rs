//! The end of a client.

use std::sync::Arc;

/// A client that did not close cleanly.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CloseError {
    /// Events are neither committed nor in the spool; their receipts say so.
    #[error("{events} events could neither be sent nor spooled: {reason}")]
    NotKept {
        /// How many.
        events: u64,
        /// Why not.
        reason: Arc<str>,
    },
    /// The client's thread panicked.
    #[error("the client's thread panicked")]
    Panicked,
}
