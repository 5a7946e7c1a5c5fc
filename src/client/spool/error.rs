//! Errors of opening a spool.

use std::io;
use std::path::PathBuf;

/// A spool that cannot be opened, and the reason.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SpoolError {
    /// Another process uses the folder.
    #[error(
        "another process uses the spool {}; give each process a folder of its own",
        folder.display()
    )]
    InUse {
        /// The folder.
        folder: PathBuf,
    },
    /// Other users may write to the folder.
    #[error(
        "other users may write to the spool {} (mode {mode:o}), and could delete events or add their own; take \
         away their permission (`chmod go-w`), or give a folder within it",
        folder.display()
    )]
    Writable {
        /// The folder.
        folder: PathBuf,
        /// The permissions of the folder.
        mode: u32,
    },
    /// A file of the spool cannot be read or written.
    #[error("the spool {} cannot be used: {source}", folder.display())]
    Io {
        /// The folder.
        folder: PathBuf,
        /// The error of the operating system.
        source: io::Error,
    },
}
