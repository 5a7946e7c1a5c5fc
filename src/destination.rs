//! Where events go that handles and layers record: a log that is open here, or one behind a server.

use crate::audit::AuditLog;

/// What events can be appended to: an open log, or the client of a server. Nothing else can be one.
pub trait Destination: sealed::Append {}

impl Destination for AuditLog {}

pub(crate) mod sealed {
    use std::fmt::Debug;
    use std::time::Duration;

    use crate::audit::AuditLog;
    use crate::event::{Draft, Timestamp};
    use crate::receipt::{AppendError, Receipt, TryAppendError};

    /// What a [`Destination`](super::Destination) does.
    pub trait Append: Debug + Send + Sync + 'static {
        /// Now, by its clock.
        fn now(&self) -> Timestamp;

        /// Appends an event; blocks while the queue is full.
        fn append(&self, draft: Draft) -> Result<Receipt, AppendError>;

        /// Appends an event without ever blocking.
        fn try_append(&self, draft: Draft) -> Result<Receipt, TryAppendError>;

        /// Appends where nobody is there to hear of an error: what cannot be sent, or finds no room in
        /// time, is counted as refused.
        fn append_or_count(&self, draft: Box<dyn FnOnce() -> Draft + '_>, patience: Duration);
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

        fn append_or_count(&self, draft: Box<dyn FnOnce() -> Draft + '_>, patience: Duration) {
            AuditLog::append_or_count(self, draft, patience);
        }
    }
}
