//! Errors of queries.

use crate::log::ReadError;
use crate::storage::{StorageError, StorageErrorKind, from_sqlite};

/// The reason why a query failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum QueryError {
    /// An event of the log cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// There is nothing to search for.
    #[error("`{0}` has no words to search for")]
    NoWords(String),
    /// SQLite reported an error.
    #[error("the read tables cannot be queried: {0}{remedy}", remedy = remedy(.0))]
    Storage(#[from] StorageError),
}

from_sqlite!(QueryError);

/// The advice for an error that another attempt does not remove: somebody may have changed a row, or a table.
pub(super) fn remedy(error: &StorageError) -> &'static str {
    match error.kind() {
        StorageErrorKind::Damaged | StorageErrorKind::Other => {
            "; `annals verify` shows whether somebody changed them, and `annals projections rebuild` rebuilds them"
        }
        _ => "",
    }
}
