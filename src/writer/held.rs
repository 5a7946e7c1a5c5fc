//! The log as the writer holds it: open, or why it cannot be appended to, and how the writer comes back to it.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::file::{FileIdentity, side_file};
use crate::log::checkpoint::move_all;
use crate::log::presence::LEFT;
use crate::log::turns::Turns;
use crate::log::{self, AtClose, Durability, Head, OpenLog, Standing, WriteAhead};
use crate::progress::Progress;

/// Least time between two attempts to open the log again after a failure.
pub(super) const REOPEN_PAUSE: Duration = Duration::from_millis(100);

/// Why nothing can be appended now.
pub(super) struct Poison {
    pub(super) reason: Arc<str>,
    pub(super) try_again: Instant,
    /// Open files that somebody took from their places: what only they hold is moved into the log before they
    /// are closed, and nothing is opened before that.
    pub(super) left: Option<OpenLog>,
}

/// The log that a writer appends to.
pub(super) struct Held {
    /// The file, without a symbolic link at its end.
    pub(super) path: PathBuf,
    /// As the caller named it.
    pub(super) name: PathBuf,
    pub(super) durability: Durability,
    pub(super) database: FileIdentity,
    pub(super) progress: Arc<Progress>,
    pub(super) turns: Arc<Turns>,
    /// None while the writer is poisoned, and when it has closed the log.
    pub(super) log: Option<OpenLog>,
    /// The last event that the writer acknowledged: a log that is opened again must still have it.
    pub(super) acknowledged: Head,
    pub(super) poison: Option<Poison>,
}

impl Held {
    /// Closes the log, or lets go of it where its files are not at their places: others have them open too.
    pub(super) fn set_poison(&mut self, reason: Arc<str>) {
        let left = self.poison.take().and_then(|poison| poison.left);
        let left = left.or_else(|| {
            let log = self.log.take()?;
            let standing = log.files.standing(&self.path);
            matches!(standing, Ok(Standing::WalReplaced)).then_some(log)
        });
        if left.is_some() {
            self.turns.presence().leave();
        }
        self.progress.set_poisoned(Some(reason.clone()));
        self.poison = Some(Poison { reason, try_again: Instant::now() + REOPEN_PAUSE, left });
    }

    /// Lets go of files that were taken from their places: moves what only they hold into the log, and closes
    /// them after the other connections of this handle.
    fn let_go(&mut self) -> Result<(), Arc<str>> {
        let Some(poison) = &mut self.poison else { return Ok(()) };
        let Some(log) = &poison.left else { return Ok(()) };
        if !self.turns.presence().is_left() {
            return Err(Arc::from(format!("{}; this program is about to close it", LEFT)));
        }
        let path = &self.path;
        let error = |error: &dyn std::fmt::Display| Arc::from(format!("{}: {error}", path.display()));
        match log.files.write_ahead_at(path).map_err(|source| error(&source))? {
            // Only the memory was taken: the next to open the log reads the write-ahead log anew, and by now
            // somebody may have done so.
            WriteAhead::Same => {}
            WriteAhead::Gone | WriteAhead::Empty => {
                if !move_all(&log.connection).map_err(|source| error(&source))? {
                    return Err(Arc::from(format!(
                        "{LEFT}; somebody still reads what only the removed file holds"
                    )));
                }
            }
            WriteAhead::Another => {
                log::at_close(&log.connection, AtClose::LeaveAsItIs).map_err(|source| error(&source))?;
                return Err(error(&format_args!(
                    "another program wrote a write-ahead log of its own ({}) in the place of the one in use; end that program, and then this one, and verify the log",
                    side_file(path, "-wal").display()
                )));
            }
        }
        // Whatever lies beside the log now is not what this connection had.
        log::at_close(&log.connection, AtClose::LeaveAsItIs).map_err(|source| error(&source))?;
        poison.left = None;
        Ok(())
    }

    /// After a failure: opens the log again, at a limited rate, and makes sure that it is the same
    /// log with everything in it that was acknowledged.
    pub(super) fn ensure_open(&mut self) -> Result<(), Arc<str>> {
        let Some(poison) = &self.poison else { return Ok(()) };
        if Instant::now() < poison.try_again {
            return Err(poison.reason.clone());
        }
        match self.let_go().and_then(|()| self.reopen()) {
            Ok(log) => {
                self.turns.presence().opened(&self.path, &log.files);
                self.turns.in_file().set(log.in_file);
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
        // The bytes of an older copy may have been written over the file, which stays the same file.
        log.require(self.acknowledged).map_err(|error| Arc::from(error.to_string()))?;
        Ok(log.named(&self.name))
    }

    /// Sees whether the files that are open are still those of the log, so that nobody has to append to hear
    /// that they are not.
    pub(super) fn look(&mut self) {
        let Some(log) = &self.log else { return };
        let path = &self.path;
        // What cannot be looked at now is looked at by the next commit.
        let standing = log.files.standing_of(path, &log.connection, self.acknowledged);
        let reason = match standing {
            Ok(Standing::Same) | Err(_) => return,
            Ok(Standing::Cut) => log.cut_off(self.acknowledged).to_string().into(),
            Ok(Standing::Replaced | Standing::WalReplaced) => match log.files.require_at(path) {
                Ok(()) => return,
                Err(error) => error.to_string().into(),
            },
        };
        self.set_poison(reason);
    }
}
