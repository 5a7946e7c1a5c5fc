//! The writer's log: open, or closed after a failure. After a failure the writer opens it again here.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::file::{FileIdentity, side_file};
use crate::log::checkpoint::move_all;
use crate::log::presence::LEFT;
use crate::log::write_lock::WriteLock;
use crate::log::{self, AtClose, Durability, Head, OpenLog, Standing, WriteAhead};
use crate::progress::Progress;

/// Shortest time between two attempts to open the log again after a failure.
pub(super) const REOPEN_PAUSE: Duration = Duration::from_millis(100);

/// The state after a failure: nothing can be appended until the log is opened again.
pub(super) struct Poison {
    pub(super) reason: Arc<str>,
    pub(super) try_again: Instant,
    /// The open log, if its write-ahead log or shared memory was removed or replaced. Commits that only the removed
    /// file has are moved into the log before this is closed. The log is opened again only after that.
    pub(super) removed: Option<OpenLog>,
}

/// The log that a writer appends to.
pub(super) struct Held {
    /// The path of the file, without a symbolic link at its end.
    pub(super) path: PathBuf,
    /// The path as the caller named it.
    pub(super) name: PathBuf,
    pub(super) durability: Durability,
    pub(super) database: FileIdentity,
    pub(super) progress: Arc<Progress>,
    pub(super) write_lock: Arc<WriteLock>,
    /// `None` while the writer is poisoned, and after it closed the log.
    pub(super) log: Option<OpenLog>,
    /// The last event that the writer acknowledged. A log that is opened again must still have it.
    pub(super) acknowledged: Head,
    pub(super) poison: Option<Poison>,
}

impl Held {
    /// Poisons the writer and closes the log. If the files beside it were removed or replaced, begins to release the
    /// log instead: other connections have the removed files open too.
    pub(super) fn set_poison(&mut self, reason: Arc<str>) {
        // Files from an earlier failure are kept: their commits may not be in the log yet.
        let removed = self.poison.take().and_then(|poison| poison.removed);
        let removed = removed.or_else(|| {
            let log = self.log.take()?;
            let standing = log.files.standing(&self.path);
            // With any other standing the log is closed here, because it is dropped.
            matches!(standing, Ok(Standing::WalReplaced)).then_some(log)
        });
        if removed.is_some() {
            self.write_lock.presence().leave();
        }
        self.progress.set_poisoned(Some(reason.clone()));
        self.poison = Some(Poison { reason, try_again: Instant::now() + REOPEN_PAUSE, removed });
    }

    /// Releases files that were removed or replaced. Moves the commits that only the removed write-ahead log has into
    /// the log, and closes the files after the other connections of this handle.
    fn release_removed_files(&mut self) -> Result<(), Arc<str>> {
        let Some(poison) = &mut self.poison else { return Ok(()) };
        let Some(log) = &poison.removed else { return Ok(()) };
        // The writer closes last: the other connections may still be in transactions on the removed files.
        if !self.write_lock.presence().is_left() {
            return Err(Arc::from(format!("{}; this program is about to close it", LEFT)));
        }
        let path = &self.path;
        let error = |error: &dyn std::fmt::Display| Arc::from(format!("{}: {error}", path.display()));
        match log.files.write_ahead_at(path).map_err(|source| error(&source))? {
            // Only the shared memory was removed. The next process that opens the log reads the write-ahead log from
            // its start, and may have done so by now. So nothing is moved.
            WriteAhead::Same => {}
            WriteAhead::Gone | WriteAhead::Empty => {
                // Nobody can have committed to another write-ahead log, so the pages of the removed one are the
                // newest.
                if !move_all(&log.connection).map_err(|source| error(&source))? {
                    return Err(Arc::from(format!(
                        "{LEFT}; a program still reads data that only the removed file has"
                    )));
                }
            }
            WriteAhead::Another => {
                // The other write-ahead log may have commits. Moving the pages of both into the file would mix them.
                log::at_close(&log.connection, AtClose::LeaveAsItIs).map_err(|source| error(&source))?;
                return Err(error(&format_args!(
                    "another program created its own write-ahead log ({}) in the place of the one in use; end that program, then this one, and verify the log",
                    side_file(path, "-wal").display()
                )));
            }
        }
        // The files beside the log now are not those of this connection, so its close must not change them.
        log::at_close(&log.connection, AtClose::LeaveAsItIs).map_err(|source| error(&source))?;
        poison.removed = None;
        Ok(())
    }

    /// Opens the log again if a failure closed it, at a limited rate. Makes sure that it is the same log, and has every
    /// event that was acknowledged.
    pub(super) fn ensure_open(&mut self) -> Result<(), Arc<str>> {
        let Some(poison) = &self.poison else { return Ok(()) };
        if Instant::now() < poison.try_again {
            return Err(poison.reason.clone());
        }
        match self.release_removed_files().and_then(|()| self.reopen()) {
            Ok(log) => {
                // From here on this handle may open its other connections again.
                self.write_lock.presence().opened(&self.path, &log.files);
                self.write_lock.in_file().set(log.in_file);
                self.log = Some(log);
                self.poison = None;
                self.progress.set_poisoned(None);
                Ok(())
            }
            Err(reason) => {
                self.set_poison(reason.clone());
                Err(reason)
            }
        }
    }

    fn reopen(&self) -> Result<OpenLog, Arc<str>> {
        let log = OpenLog::open_again(&self.path, self.durability, self.database)
            .map_err(|error| Arc::from(error.to_string()))?;
        // The identity of the file is not enough: an older copy may have been written over its bytes.
        log.require(self.acknowledged).map_err(|error| Arc::from(error.to_string()))?;
        Ok(log.named(&self.name))
    }

    /// Checks that the open files are still those of the log, so that a replacement is noticed without an append.
    pub(super) fn check_files(&mut self) {
        let Some(log) = &self.log else { return };
        let path = &self.path;
        // Files that cannot be examined now are examined by the next commit.
        let standing = log.files.standing_of(path, &log.connection, self.acknowledged);
        let reason = match standing {
            Ok(Standing::Same) | Err(_) => return,
            Ok(Standing::Cut) => log.cut_off(self.acknowledged).to_string().into(),
            // Checked a second time, for the text of the error. By now the files may be back.
            Ok(Standing::Replaced | Standing::WalReplaced) => match log.files.require_at(path) {
                Ok(()) => return,
                Err(error) => error.to_string().into(),
            },
        };
        self.set_poison(reason);
    }
}
