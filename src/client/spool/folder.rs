//! The folder of a spool: who may write to it, and the lock of the one process that does.

use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use super::error::SpoolError;

const LOCK: &str = "lock";

/// Permission to write for others than the owner.
const WRITE_OF_OTHERS: u32 = 0o022;

/// A folder that no other process uses for as long as this lives.
#[derive(Debug)]
pub(super) struct Folder {
    path: PathBuf,
    lock: File,
}

impl Folder {
    /// Makes the folder where there is none, and locks it.
    pub(super) fn open(path: &Path) -> Result<Folder, SpoolError> {
        let io = |source| SpoolError::Io { folder: path.to_owned(), source };
        make(path).map_err(io)?;
        let mode = fs::metadata(path).map_err(io)?.permissions().mode() & 0o7777;
        // Whoever may write to the folder may delete events, or have this program send others' in its name.
        if mode & WRITE_OF_OTHERS != 0 {
            return Err(SpoolError::Writable { folder: path.to_owned(), mode });
        }
        Ok(Folder { path: path.to_owned(), lock: lock(path)? })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Takes the lock again where somebody deleted its file or put another folder in this one's place: a
    /// second process would find the folder free.
    pub(super) fn keep(&mut self) -> Result<(), SpoolError> {
        if !is_locked(&self.path, &self.lock) {
            self.lock = lock(&self.path)?;
        }
        Ok(())
    }

    /// Flushes the names of the files in it.
    pub(super) fn flush(&self) -> io::Result<()> {
        flush(&self.path)
    }
}

/// Makes a folder and those above it, so that they are there after a loss of power. What events say is for
/// nobody else on this machine.
fn make(path: &Path) -> io::Result<()> {
    let mut missing = path.ancestors().filter(|folder| !folder.as_os_str().is_empty());
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
    loop {
        let mut options = OpenOptions::new();
        let file = options.create(true).truncate(false).write(true).mode(0o600).open(folder.join(LOCK));
        let file = file.map_err(io)?;
        match file.try_lock() {
            // Else its file was deleted between the two calls, and the lock is worth nothing.
            Ok(()) if is_locked(folder, &file) => return Ok(file),
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(SpoolError::InUse { folder: folder.to_owned() }),
            Err(TryLockError::Error(error)) => return Err(io(error)),
        }
    }
}

/// Whether this file is the one that the next process would try to lock.
fn is_locked(folder: &Path, lock: &File) -> bool {
    let (Ok(there), Ok(held)) = (fs::metadata(folder.join(LOCK)), lock.metadata()) else { return false };
    (there.dev(), there.ino()) == (held.dev(), held.ino())
}
