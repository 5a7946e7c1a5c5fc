//! Errors of queries.

use crate::log::ReadError;
use crate::storage::{StorageError, from_sqlite};

/// A question that could not be answered.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum QueryError {
    /// An event of the log cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// There is nothing to search for.
    #[error("`{0}` has no words to search for")]
    NoWords(String),
    /// SQLite refused.
    #[error("the read tables cannot be queried: {0}")]
    Storage(#[from] StorageError),
}

from_sqlite!(QueryError);
