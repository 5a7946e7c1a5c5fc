//! Which file it is, whatever its path says.

use std::fs::{self, Metadata};
use std::io;
use std::path::Path;

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

    /// Of the file that is at the path now.
    pub(crate) fn at(path: &Path) -> io::Result<FileIdentity> {
        Ok(FileIdentity::of(&fs::metadata(path)?))
    }
}
