//! The errors of publishing a log.

use std::io;
use std::path::{Path, PathBuf};

use crate::evidence::TreeError;
use crate::merkle::{BuildError, Tile};
use crate::note::CheckpointError;
use crate::prove::{ProveError, is_damage};
use crate::storage::{StorageError, from_sqlite};

/// The reason why a log was not published.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PublishError {
    /// There is no checkpoint to publish, or it does not fit the log.
    #[error(transparent)]
    Checkpoint(#[from] ProveError),
    /// The log's tree cannot be made.
    #[error("the log's tree cannot be computed: {0}")]
    Tree(#[from] BuildError<TreeError>),
    /// The log cannot be read.
    #[error("the log cannot be read: {0}")]
    Storage(#[from] StorageError),
    /// A file cannot be read or written.
    #[error("{}: {what}: {source}", path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// The operation that failed.
        what: &'static str,
        /// The error of the system.
        source: io::Error,
    },
    /// The folder holds something that is not of a published log.
    #[error("{}: does not belong to a published log; name an empty folder, or one that does not exist yet", path.display())]
    Foreign {
        /// The path that is in the way.
        path: PathBuf,
    },
    /// The checkpoint in the folder cannot be read.
    #[error("{}: is not a checkpoint: {source}", path.display())]
    OldCheckpoint {
        /// The file.
        path: PathBuf,
        /// The fault of the checkpoint.
        source: CheckpointError,
    },
    /// The folder belongs to another log.
    #[error("{} holds the log `{found}`, but this log is `{origin}`", folder.display())]
    OtherLog {
        /// The folder.
        folder: PathBuf,
        /// The origin of the log in the folder.
        found: String,
        /// The origin of this log.
        origin: String,
    },
    /// More was published than the last checkpoint covers.
    #[error(
        "{} holds a checkpoint of {published} events, but the last checkpoint of the log covers only {size}: the log was set back to an older copy",
        folder.display()
    )]
    Behind {
        /// The folder.
        folder: PathBuf,
        /// Events that were published.
        published: u64,
        /// Events that the log's checkpoint covers.
        size: u64,
    },
    /// The published checkpoint is not of the log as it is now.
    #[error(
        "the checkpoint of {size} events in {} is not of this log: the log was rewritten, or the folder was changed",
        folder.display()
    )]
    Contradicts {
        /// The folder.
        folder: PathBuf,
        /// Events of the checkpoint.
        size: u64,
    },
    /// A file differs from what the log has.
    #[error(
        "{}: differs from the log, so the file or the log was changed; if `annals verify` finds the log \
         intact, `--repair` rewrites the file",
        path.display()
    )]
    Differs {
        /// The file.
        path: PathBuf,
    },
    /// A file that the checkpoint in the folder covers is not there.
    #[error("{}: is missing, although the checkpoint covers it; `--repair` writes it again", path.display())]
    Missing {
        /// The file.
        path: PathBuf,
    },
    /// Something below the folder is a symbolic link.
    #[error(
        "{}: is a symbolic link, and links below the folder are not followed; remove it",
        path.display()
    )]
    Link {
        /// The link.
        path: PathBuf,
    },
    /// A path that belongs to a file or folder has another type.
    #[error("{}: must be a {wanted}", path.display())]
    Type {
        /// The path that is in the way.
        path: PathBuf,
        /// The type that belongs there.
        wanted: &'static str,
    },
    /// The stored tiles do not follow from the events.
    #[error("the tree of the log is damaged at {tile}; run `annals verify` for details")]
    Damaged {
        /// The damaged tile.
        tile: Tile,
    },
}

from_sqlite!(PublishError);

impl PublishError {
    /// Returns true if the log or the folder is not as it should be; false if only an operation failed.
    pub(crate) fn is_contradiction(&self) -> bool {
        match self {
            PublishError::Behind { .. }
            | PublishError::Contradicts { .. }
            | PublishError::Differs { .. }
            | PublishError::Missing { .. }
            | PublishError::Damaged { .. } => true,
            PublishError::Checkpoint(error) => error.is_damage(),
            PublishError::Tree(error) => is_damage(error),
            _ => false,
        }
    }
}

/// The error of a file that the system refuses.
pub(super) fn io_error(path: &Path, what: &'static str) -> impl FnOnce(io::Error) -> PublishError {
    let path = path.to_owned();
    move |source| PublishError::Io { path, what, source }
}
