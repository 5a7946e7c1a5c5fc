//! The destination of events that handles and layers record: a log that is open here, or a log behind a server.

use crate::audit::AuditLog;

/// A destination of events: an open log, or the client of a server. The trait is sealed; there are no others.
pub trait Destination: sealed::Append {}

impl Destination for AuditLog {}

pub(crate) mod sealed {
    use std::fmt::Debug;
    use std::time::Duration;

    use crate::audit::AuditLog;
    use crate::event::{Draft, Timestamp};
    use crate::receipt::{AppendError, Receipt, TryAppendError};

    /// The operations of a [`Destination`](super::Destination).
    pub trait Append: Debug + Send + Sync + 'static {
        /// The current time, by the destination's clock.
        fn now(&self) -> Timestamp;

        /// Appends an event; blocks while the queue is full.
        fn append(&self, draft: Draft) -> Result<Receipt, AppendError>;

        /// Appends an event without ever blocking.
        fn try_append(&self, draft: Draft) -> Result<Receipt, TryAppendError>;

        /// Appends an event for a caller that cannot receive an error. An event that cannot be sent, or finds no room
        /// in the queue before the timeout `timeout`, is counted as refused.
        fn append_or_count(&self, draft: Box<dyn FnOnce() -> Draft + '_>, timeout: Duration);
    }

    impl Append for AuditLog {
        fn now(&self) -> Timestamp {
            AuditLog::now(self)
        }

        fn append(&self, draft: Draft) -> Result<Receipt, AppendError> {
            AuditLog::append(self, draft)
        }

        fn try_append(&self, draft: Draft) -> Result<Receipt, TryAppendError> {
            AuditLog::try_append(self, draft)
        }

        fn append_or_count(&self, draft: Box<dyn FnOnce() -> Draft + '_>, timeout: Duration) {
            AuditLog::append_or_count(self, draft, timeout);
        }
    }
}
