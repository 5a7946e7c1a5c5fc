//! The release of a log whose write-ahead log was removed.
//!
//! Every program that has the log open must close it before anybody opens it again: new connections would make a new
//! write-ahead log beside the shared memory of the old one. Commits that only the removed file holds are moved into
//! the log by a connection that still has that file open. So the writer asks the other connections of its handle to
//! close, closes last, and opens the log again when no program has it open.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::identity::LogFiles;

/// The reason why nothing is done with a log that is being released.
pub(crate) const LEFT: &str = "the log's write-ahead log was removed or replaced; the log is opened again when every program has closed it";

/// The state of the writer's connection.
#[derive(Default)]
enum Writer {
    /// Not open yet, or closed.
    #[default]
    Away,
    /// Open at this path, with these files.
    Open(PathBuf, LogFiles),
    /// About to be closed, because the log is being released.
    Leaving,
}

#[derive(Default)]
struct State {
    /// Open connections of the handle besides the writer's.
    present: usize,
    writer: Writer,
}

/// The connections of one handle. Cheap to clone: all clones share one state.
#[derive(Clone, Default)]
pub(crate) struct Presence(Arc<Mutex<State>>);

/// A connection that is open besides the writer's. It is dropped after the connection.
pub(crate) struct Present(Presence);

impl Presence {
    fn lock(&self) -> MutexGuard<'_, State> {
        // No change below calls anything that can panic, so the state is whole even if the lock is poisoned.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Registers a connection before it is opened. Returns `None` while the log is being released.
    pub(crate) fn enter(&self) -> Option<Present> {
        let mut state = self.lock();
        // The look and the count are under one lock: nobody enters after `leave`, so the writer waits only for
        // connections that were there before.
        if let Writer::Leaving = state.writer {
            return None;
        }
        state.present += 1;
        Some(Present(self.clone()))
    }

    /// Returns whether connections must be closed now.
    pub(crate) fn must_leave(&self) -> bool {
        matches!(self.lock().writer, Writer::Leaving)
    }

    /// Returns whether no connection except the writer's is open.
    pub(crate) fn is_left(&self) -> bool {
        self.lock().present == 0
    }

    /// Notes that the writer has the log open.
    pub(crate) fn opened(&self, path: &Path, files: &LogFiles) {
        self.lock().writer = Writer::Open(path.to_owned(), files.clone());
    }

    /// Notes that the writer releases the log. All other connections must be closed.
    pub(crate) fn leave(&self) {
        self.lock().writer = Writer::Leaving;
    }

    /// Notes that the writer closed the log. The files beside it may be gone too, if no other connection is open.
    pub(crate) fn closed(&self) {
        self.lock().writer = Writer::Away;
    }

    /// Refuses to write to files that are no longer the log's.
    pub(crate) fn require_files(&self) -> io::Result<()> {
        match &self.lock().writer {
            // The writer uses no files at the moment, so files that are missing are no sign of harm.
            Writer::Away => Ok(()),
            Writer::Open(path, files) => files.require_at(path).map_err(io::Error::other),
            Writer::Leaving => Err(io::Error::other(LEFT)),
        }
    }
}

impl Drop for Present {
    fn drop(&mut self) {
        self.0.lock().present -= 1;
    }
}
