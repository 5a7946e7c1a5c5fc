//! Errors of verifications that could not be carried out, and SQLite's errors that show damage of the file.

use rusqlite::ErrorCode;

use crate::log::OpenError;
use crate::merkle;
use crate::projection::tables::PROJECTIONS;
use crate::storage::{StorageError, from_sqlite};

/// The error of a verification that could not be carried out. Nothing about the log follows from it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum VerifyError {
    /// The file cannot be opened.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The system kept SQLite from reading the file, or has no room for the scratch tables.
    #[error("the verification could not go on: {0}")]
    Storage(#[from] StorageError),
    /// The projection to leave out does not exist.
    #[error("there is no projection `{name}` to leave out; the projections are {}", projections().join(", "))]
    UnknownProjection {
        /// The name that no projection has.
        name: String,
    },
    /// A checking thread ended early.
    #[error("a checking thread ended early")]
    ThreadGone,
    /// The tree of the log cannot be made.
    #[error("the tree of the log cannot be computed: {0}")]
    Tree(#[from] merkle::RangeError),
    /// No trusted key signed the checkpoint at which the verification is to begin.
    #[error("{checkpoint}: the verification cannot begin at this checkpoint: {why}")]
    NotSigned {
        /// The name of the checkpoint.
        checkpoint: String,
        /// The keys that signed, and the trusted keys.
        why: String,
    },
}

from_sqlite!(VerifyError);

pub(super) fn projections() -> Vec<&'static str> {
    PROJECTIONS.iter().map(|projection| projection.name).collect()
}

/// Returns whether an error comes from the file itself, and not from the system or another program.
pub(super) fn is_damage(error: &rusqlite::Error) -> bool {
    // A missing page is an error of input and output to SQLite, but it shows that the file was cut off.
    is_cut_off(error)
        || !matches!(
            error.sqlite_error_code(),
            Some(
                ErrorCode::DatabaseBusy
                    | ErrorCode::DatabaseLocked
                    | ErrorCode::OutOfMemory
                    | ErrorCode::OperationInterrupted
                    | ErrorCode::SystemIoFailure
                    | ErrorCode::DiskFull
                    | ErrorCode::CannotOpen
                    | ErrorCode::PermissionDenied
                    | ErrorCode::ReadOnly
            )
        )
}

/// Returns whether a page is missing that should be there.
fn is_cut_off(error: &rusqlite::Error) -> bool {
    error.sqlite_error().is_some_and(|error| error.extended_code == rusqlite::ffi::SQLITE_IOERR_SHORT_READ)
}
