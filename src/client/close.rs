//! Errors of closing a client.

use std::sync::Arc;

/// A client that did not close cleanly.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CloseError {
    /// Some events are neither committed nor in the spool; their receipts return the same reason.
    #[error("{events} events could neither be sent nor spooled: {reason}")]
    NotKept {
        /// The number of these events.
        events: u64,
        /// The reason why.
        reason: Arc<str>,
    },
    /// The client's thread panicked.
    #[error("the client's thread panicked")]
    Panicked,
}
