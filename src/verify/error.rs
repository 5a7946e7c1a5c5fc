//! Verifications that could not be carried out, and errors of SQLite that say something of the file.

use rusqlite::ErrorCode;

use crate::log::OpenError;
use crate::merkle;
use crate::projection::tables::PROJECTIONS;
use crate::storage::{StorageError, from_sqlite};

/// A verification that could not be carried out. It says nothing about the log.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum VerifyError {
    /// The file cannot be opened.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The system kept SQLite from reading it, or has no room for the scratch tables.
    #[error("the verification could not go on: {0}")]
    Storage(#[from] StorageError),
    /// Tables are to be left out that no projection fills.
    #[error("there is no projection `{name}` to leave out; there are {}", projections().join(", "))]
    UnknownProjection {
        /// Its name.
        name: String,
    },
    /// A checking thread ended early.
    #[error("a checking thread ended early")]
    ThreadGone,
    /// The tree of the log cannot be made.
    #[error("the tree of the log cannot be made: {0}")]
    Tree(#[from] merkle::RangeError),
    /// Nobody who is trusted signed the checkpoint that the verification should begin at.
    #[error("{checkpoint}: the verification cannot begin at this checkpoint: {why}")]
    NotSigned {
        /// What the checkpoint is called.
        checkpoint: String,
        /// Who signed, and who is trusted.
        why: String,
    },
}

from_sqlite!(VerifyError);

pub(super) fn projections() -> Vec<&'static str> {
    PROJECTIONS.iter().map(|projection| projection.name).collect()
}

/// Whether an error says something about the file: anything but the system or another program that
/// stood in the way.
pub(super) fn is_damage(error: &rusqlite::Error) -> bool {
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

/// Whether a page that should be there is not.
fn is_cut_off(error: &rusqlite::Error) -> bool {
    error.sqlite_error().is_some_and(|error| error.extended_code == rusqlite::ffi::SQLITE_IOERR_SHORT_READ)
}
