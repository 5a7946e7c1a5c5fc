//! Turns at writing to the file, within the process and between processes.
//!
//! SQLite lets one transaction write at a time and makes the others poll. Here they queue instead:
//! within a process on a condition variable, between processes on a lock file.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use rusqlite::{Connection, ErrorCode, Transaction, TransactionBehavior};

use super::error::OpenError;
use super::generation::InFile;
use super::presence::Presence;
use crate::file::side_file;

/// Turns that the writer may take in a row while a projection waits. It keeps its priority, and a
/// projection is still sure of a turn.
const WRITER_TURNS_MAX: u32 = 4;

/// Who wants to write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Who {
    /// The writer: callers wait for it.
    Writer,
    /// A projection: nobody waits for it.
    Projection,
}

#[derive(Default)]
struct Queue {
    taken: bool,
    writers: u32,
    projections: u32,
    writer_turns: u32,
}

/// Hands out turns.
pub(crate) struct Turns {
    queue: Mutex<Queue>,
    freed: Condvar,
    /// Held by the process that writes. Who waits for it holds `next`, so that a process which
    /// writes again and again waits behind the one that is next.
    turn: File,
    next: File,
    presence: Presence,
    in_file: InFile,
}

/// A turn: until it is dropped nobody else writes.
pub(crate) struct Turn<'a> {
    turns: &'a Turns,
}

impl Turns {
    /// Makes or opens the lock files beside the log.
    pub(crate) fn open(path: &Path) -> Result<Turns, OpenError> {
        let file = |ending| {
            let path = side_file(path, ending);
            OpenOptions::new()
                .read(true)
                .write(true)
                .create(true)
                .truncate(false)
                .mode(0o600)
                .open(&path)
                .map_err(|error| OpenError::io(&path, "the lock file cannot be opened", error))
        };
        Ok(Turns {
            queue: Mutex::default(),
            freed: Condvar::new(),
            turn: file("-turn")?,
            next: file("-next")?,
            presence: Presence::default(),
            in_file: InFile::default(),
        })
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        // The queue's numbers are changed without calling anything that can panic.
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The connections of the handle that these turns are of.
    pub(crate) fn presence(&self) -> &Presence {
        &self.presence
    }

    /// What the handle knows to be in the file itself.
    pub(crate) fn in_file(&self) -> &InFile {
        &self.in_file
    }

    /// Whether the writer of this process waits for its turn.
    pub(crate) fn writer_waits(&self) -> bool {
        self.queue().writers > 0
    }

    /// Waits for a turn. A projection gets none at files that are no longer the log's; the writer sees to
    /// that within its transaction.
    pub(crate) fn take(&self, who: Who) -> io::Result<Turn<'_>> {
        let turn = self.take_any(who)?;
        if who == Who::Projection {
            self.presence.require_files()?;
        }
        Ok(turn)
    }

    fn take_any(&self, who: Who) -> io::Result<Turn<'_>> {
        let mut queue = self.queue();
        match who {
            Who::Writer => queue.writers += 1,
            Who::Projection => queue.projections += 1,
        }
        while queue.taken || !queue.is_next(who) {
            queue = self.freed.wait(queue).unwrap_or_else(PoisonError::into_inner);
        }
        queue.taken = true;
        match who {
            Who::Writer => {
                queue.writers -= 1;
                queue.writer_turns = if queue.projections > 0 { queue.writer_turns + 1 } else { 0 };
            }
            Who::Projection => {
                queue.projections -= 1;
                queue.writer_turns = 0;
            }
        }
        drop(queue);
        // From here on the turn is given back when it is dropped, also on an error below.
        let turn = Turn { turns: self };
        lock(&self.next)?;
        let taken = lock(&self.turn);
        self.next.unlock()?;
        taken?;
        Ok(turn)
    }
}

/// Locks a file. A signal that arrives while it waits is no reason to give up.
fn lock(file: &File) -> io::Result<()> {
    loop {
        match file.lock() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            result => return result,
        }
    }
}

/// Begins a transaction that may write. Another process that is writing is waited for, however
/// long it takes: busy is never a failure.
pub(crate) fn begin(connection: &Connection) -> rusqlite::Result<Transaction<'_>> {
    loop {
        match Transaction::new_unchecked(connection, TransactionBehavior::Immediate) {
            Err(error) if is_busy(&error) => {}
            result => return result,
        }
    }
}

/// Whether somebody else is at work on the file, and waiting helps.
fn is_busy(error: &rusqlite::Error) -> bool {
    matches!(error.sqlite_error_code(), Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked))
}

impl Queue {
    fn is_next(&self, who: Who) -> bool {
        match who {
            Who::Writer => self.projections == 0 || self.writer_turns < WRITER_TURNS_MAX,
            Who::Projection => self.writers == 0 || self.writer_turns >= WRITER_TURNS_MAX,
        }
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        // Closing the file would unlock it as well; an error here leaves nothing else to do.
        let _ = self.turns.turn.unlock();
        self.turns.queue().taken = false;
        self.turns.freed.notify_all();
    }
}
