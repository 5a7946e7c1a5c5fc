//! The write lock on the file, within the process and between processes.
//!
//! SQLite lets one transaction write at a time and makes the others poll. Here they queue instead: within a process
//! on a condition variable, between processes on a lock file.

use std::fs::File;
use std::io;
use std::path::Path;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use rusqlite::{Connection, ErrorCode, Transaction, TransactionBehavior};

use super::error::OpenError;
use super::generation::InFile;
use super::presence::Presence;
use crate::file::{open_lock_file, side_file};

/// Times that the writer may have the write lock in a row while a projection waits. The writer keeps its priority,
/// and a projection is still sure of the lock.
const WRITER_TURNS_MAX: u32 = 4;

/// The two kinds of thread that want to write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Who {
    /// The writer, for which callers wait.
    Writer,
    /// A projection, for which nobody waits.
    Projection,
}

#[derive(Default)]
struct Queue {
    taken: bool,
    writers: u32,
    projections: u32,
    // Times that the writer had the lock in a row while a projection waited.
    writer_turns: u32,
}

/// The write lock, shared by the connections of one handle.
pub(crate) struct WriteLock {
    queue: Mutex<Queue>,
    freed: Condvar,
    /// The lock file of the process that writes. A process that waits for it holds `next`, so that a process which
    /// writes again and again waits behind the one that is next.
    lock: File,
    next: File,
    presence: Presence,
    in_file: InFile,
}

/// The write lock, held until this is dropped: nobody else writes meanwhile.
pub(crate) struct WriteGuard<'a> {
    write_lock: &'a WriteLock,
}

impl WriteLock {
    /// Makes or opens the lock files beside the log.
    pub(crate) fn open(path: &Path) -> Result<WriteLock, OpenError> {
        let file = |ending| {
            let path = side_file(path, ending);
            open_lock_file(&path)
                .map_err(|error| OpenError::io(&path, "the lock file cannot be opened", error))
        };
        Ok(WriteLock {
            queue: Mutex::default(),
            freed: Condvar::new(),
            lock: file("-turn")?,
            next: file("-next")?,
            presence: Presence::default(),
            in_file: InFile::default(),
        })
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        // No change below calls anything that can panic, so the numbers are right even if the lock is poisoned.
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The connections of the handle that this write lock belongs to.
    pub(crate) fn presence(&self) -> &Presence {
        &self.presence
    }

    /// The run that the handle knows to be in the file itself.
    pub(crate) fn in_file(&self) -> &InFile {
        &self.in_file
    }

    /// Returns whether the writer of this process waits for the write lock.
    pub(crate) fn writer_waits(&self) -> bool {
        self.queue().writers > 0
    }

    /// Waits for the write lock. A projection does not get it for files that are no longer the log's. The writer
    /// checks that within its transaction.
    pub(crate) fn take(&self, who: Who) -> io::Result<WriteGuard<'_>> {
        let guard = self.take_any(who)?;
        if who == Who::Projection {
            self.presence.require_files()?;
        }
        Ok(guard)
    }

    fn take_any(&self, who: Who) -> io::Result<WriteGuard<'_>> {
        let mut queue = self.queue();
        match who {
            Who::Writer => queue.writers += 1,
            Who::Projection => queue.projections += 1,
        }
        // Counted before the wait, so that `is_next` of the other kind sees this thread.
        while queue.taken || !queue.is_next(who) {
            queue = self.freed.wait(queue).unwrap_or_else(PoisonError::into_inner);
        }
        queue.taken = true;
        match who {
            Who::Writer => {
                queue.writers -= 1;
                // Only a projection that waits limits the writer.
                queue.writer_turns = if queue.projections > 0 { queue.writer_turns + 1 } else { 0 };
            }
            Who::Projection => {
                queue.projections -= 1;
                queue.writer_turns = 0;
            }
        }
        drop(queue);
        // From here on dropping `guard` gives the write lock back, also after an error below.
        let guard = WriteGuard { write_lock: self };
        // Only the thread that set `taken` comes here. The file locks order processes; they belong to the open files,
        // and would not keep two threads of this process apart.
        lock(&self.next)?;
        let taken = lock(&self.lock);
        self.next.unlock()?;
        // `next` is unlocked even if `lock` could not be locked: otherwise no process would come next.
        taken?;
        Ok(guard)
    }
}

/// Locks a file. A signal that arrives during the wait is no reason to give up.
fn lock(file: &File) -> io::Result<()> {
    loop {
        match file.lock() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            result => return result,
        }
    }
}

/// Begins a transaction that may write. Waits for another process that is writing, for as long as it takes: busy is
/// never a failure.
pub(crate) fn begin(connection: &Connection) -> rusqlite::Result<Transaction<'_>> {
    loop {
        match Transaction::new_unchecked(connection, TransactionBehavior::Immediate) {
            // No pause is needed here: SQLite itself waited, for the busy timeout of the connection.
            Err(error) if is_busy(&error) => {}
            result => return result,
        }
    }
}

/// Returns whether somebody else is at work on the file, so that waiting helps.
fn is_busy(error: &rusqlite::Error) -> bool {
    matches!(error.sqlite_error_code(), Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked))
}

impl Queue {
    fn is_next(&self, who: Who) -> bool {
        // If both kinds wait, exactly one of the two conditions holds, so that one thread can always go on.
        match who {
            Who::Writer => self.projections == 0 || self.writer_turns < WRITER_TURNS_MAX,
            Who::Projection => self.writers == 0 || self.writer_turns >= WRITER_TURNS_MAX,
        }
    }
}

impl Drop for WriteGuard<'_> {
    fn drop(&mut self) {
        // The file is unlocked before `taken` is cleared. In the other order the next thread could take the lock of
        // the same open file, and this call would unlock it under that thread. An error leaves nothing else to do:
        // closing the file would unlock it as well.
        let _ = self.write_lock.lock.unlock();
        self.write_lock.queue().taken = false;
        self.write_lock.freed.notify_all();
    }
}
