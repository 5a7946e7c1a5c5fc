//! The folder of a spool: its permissions, and the lock of the one process that writes to it.

use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use super::error::SpoolError;

const LOCK: &str = "lock";

/// Permission bits with which other users than the owner may write.
const WRITE_OF_OTHERS: u32 = 0o022;

/// A folder that no other process uses while this value exists.
#[derive(Debug)]
pub(super) struct Folder {
    path: PathBuf,
    lock: File,
}

impl Folder {
    /// Creates the folder if it does not exist, and locks it.
    pub(super) fn open(path: &Path) -> Result<Folder, SpoolError> {
        let io = |source| SpoolError::Io { folder: path.to_owned(), source };
        make(path).map_err(io)?;
        let mode = fs::metadata(path).map_err(io)?.permissions().mode() & 0o7777;
        // Another user that may write to the folder could delete events, or add events that this program
        // then sends in its own name.
        if mode & WRITE_OF_OTHERS != 0 {
            return Err(SpoolError::Writable { folder: path.to_owned(), mode });
        }
        Ok(Folder { path: path.to_owned(), lock: lock(path)? })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Takes the lock again if its file was deleted, or the folder was replaced: otherwise a second process
    /// would find the folder free.
    pub(super) fn ensure_locked(&mut self) -> Result<(), SpoolError> {
        if !is_locked(&self.path, &self.lock) {
            self.lock = lock(&self.path)?;
        }
        Ok(())
    }

    /// Flushes the folder, so that the names of new files survive a loss of power.
    pub(super) fn flush(&self) -> io::Result<()> {
        flush(&self.path)
    }
}

/// Creates a folder and those above it, and flushes them, so that they survive a loss of power. Only the
/// owner may read it: the content of events is not for other users of this machine.
fn make(path: &Path) -> io::Result<()> {
    let mut missing = path.ancestors().filter(|folder| !folder.as_os_str().is_empty());
    // Collected before they are created: each new folder's name is flushed in the folder above it.
    let missing: Vec<_> = missing.by_ref().take_while(|folder| !folder.exists()).collect();
    DirBuilder::new().recursive(true).mode(0o700).create(path)?;
    for made in missing {
        let above = made.parent().filter(|above| !above.as_os_str().is_empty());
        flush(above.unwrap_or(Path::new(".")))?;
    }
    Ok(())
}

fn flush(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

fn lock(folder: &Path) -> Result<File, SpoolError> {
    let io = |source| SpoolError::Io { folder: folder.to_owned(), source };
    // Opening and locking are two calls. In between, the lock file may be deleted and another process may lock a
    // new one. So the lock counts only if its file is still the one at the path; otherwise it is tried again.
    loop {
        let mut options = OpenOptions::new();
        let file = options.create(true).truncate(false).write(true).mode(0o600).open(folder.join(LOCK));
        let file = file.map_err(io)?;
        match file.try_lock() {
            Ok(()) if is_locked(folder, &file) => return Ok(file),
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(SpoolError::InUse { folder: folder.to_owned() }),
            Err(TryLockError::Error(error)) => return Err(io(error)),
        }
    }
}

/// Returns whether this file is the one that the next process would try to lock.
fn is_locked(folder: &Path, lock: &File) -> bool {
    let (Ok(at_path), Ok(opened)) = (fs::metadata(folder.join(LOCK)), lock.metadata()) else { return false };
    (at_path.dev(), at_path.ino()) == (opened.dev(), opened.ino())
}
