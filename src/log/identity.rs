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
    ///
    /// Asks for the inode alone. Who has asked for a file's times is owed an exact one by its next write
    /// (Linux 6.13, multigrain timestamps), which flushing then has to put into the file system's journal:
    /// before and after each commit, that takes a quarter of the rate of a single producer.
    #[cfg(target_os = "linux")]
    pub(crate) fn at(path: &Path) -> io::Result<FileIdentity> {
        use rustix::fs::{AtFlags, CWD, StatxFlags, makedev, statx};
        use rustix::io::Errno;
        match statx(CWD, path, AtFlags::empty(), StatxFlags::INO) {
            Ok(found) => Ok(FileIdentity {
                device: makedev(found.stx_dev_major, found.stx_dev_minor),
                inode: found.stx_ino,
            }),
            // Old kernels and sandboxes know the call not, or forbid it.
            Err(Errno::NOSYS | Errno::PERM) => Ok(FileIdentity::of(&fs::metadata(path)?)),
            Err(error) => Err(error.into()),
        }
    }

    /// Of the file that is at the path now.
    #[cfg(not(target_os = "linux"))]
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_the_same_whichever_call_was_asked_for_it() {
        let folder = tempfile::tempdir().unwrap();
        let (path, other) = (folder.path().join("log"), folder.path().join("other"));
        fs::write(&path, "log").unwrap();
        fs::write(&other, "log").unwrap();
        let identity = FileIdentity::of(&fs::metadata(&path).unwrap());
        identity.require_at(&path).unwrap();
        assert!(matches!(identity.require_at(&other), Err(OpenError::Replaced { .. })));
        fs::remove_file(&path).unwrap();
        assert!(matches!(identity.require_at(&path), Err(OpenError::Io { .. })));
    }
}
