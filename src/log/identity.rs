//! Which file it is, whatever its path says.

use std::fs::{self, Metadata};
use std::io;
use std::path::Path;

use super::open::{OpenError, side_file};

/// Device and inode: two paths with equal ones are one file, and a path that gets others names
/// another file now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FileIdentity {
    device: u64,
    inode: u64,
}

impl FileIdentity {
    pub(crate) fn of(metadata: &Metadata) -> FileIdentity {
        use std::os::unix::fs::MetadataExt;
        FileIdentity { device: metadata.dev(), inode: metadata.ino() }
    }

    /// Makes sure that it is the file at the path.
    pub(crate) fn require_at(self, path: &Path) -> Result<(), OpenError> {
        match FileIdentity::at(path) {
            Ok(found) if found == self => Ok(()),
            Ok(_) => Err(OpenError::Replaced { path: path.to_owned() }),
            Err(error) => Err(OpenError::io(path, "is no longer where it was", error)),
        }
    }

    /// Of the file that is at the path now.
    pub(crate) fn at(path: &Path) -> io::Result<FileIdentity> {
        Ok(FileIdentity::of(&fs::metadata(path)?))
    }
}

/// The files that an open connection writes to. As long as it is open SQLite puts no others in their
/// place: what is found there then was put there by somebody else, and what is committed is in
/// neither.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LogFiles {
    pub(crate) database: FileIdentity,
    write_ahead: FileIdentity,
    /// The memory in which connections agree about the write-ahead log: with another one in its
    /// place they would write over each other's commits.
    shared_memory: FileIdentity,
}

impl LogFiles {
    /// Those of a database that a connection just opened.
    pub(crate) fn of(database: FileIdentity, path: &Path) -> Result<LogFiles, OpenError> {
        let beside = |ending| {
            let file = side_file(path, ending);
            FileIdentity::at(&file).map_err(|error| OpenError::io(&file, "cannot be looked at", error))
        };
        Ok(LogFiles { database, write_ahead: beside("-wal")?, shared_memory: beside("-shm")? })
    }

    /// Makes sure that they are the files at the path.
    pub(crate) fn require_at(self, path: &Path) -> Result<(), OpenError> {
        self.database.require_at(path)?;
        self.write_ahead.require_at(&side_file(path, "-wal"))?;
        self.shared_memory.require_at(&side_file(path, "-shm"))
    }
}
