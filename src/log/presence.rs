//! Letting go of a log together.
//!
//! Where a write-ahead log was taken away, everybody who has it open must close it before anybody opens the
//! log again: new connections would make a new one beside the memory of the old. What only the removed file
//! holds is moved into the log by a connection that still has it open. So the writer asks the other
//! connections of its handle to close, closes last, and opens the log again when no program has it.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::identity::LogFiles;

/// Why nothing is done with a log that is being let go of.
pub(crate) const LEFT: &str = "the log's write-ahead log was removed or replaced; the log is opened again when every program has closed it";

/// What the writer does with the log.
#[derive(Default)]
enum Writer {
    /// It has not opened it yet, or has closed it.
    #[default]
    Away,
    /// It has it open there, and these are the files.
    Open(PathBuf, LogFiles),
    /// It lets go of it.
    Leaving,
}

#[derive(Default)]
struct State {
    /// Connections of the handle besides the writer's.
    present: usize,
    writer: Writer,
}

/// The connections of one handle. Cheap to clone: every clone is the same.
#[derive(Clone, Default)]
pub(crate) struct Presence(Arc<Mutex<State>>);

/// A connection that is open besides the writer's. It is dropped after the connection.
pub(crate) struct Present(Presence);

impl Presence {
    fn lock(&self) -> MutexGuard<'_, State> {
        // The numbers are changed without calling anything that can panic.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Registers a connection before it is opened; None while the log is let go of.
    pub(crate) fn enter(&self) -> Option<Present> {
        let mut state = self.lock();
        if let Writer::Leaving = state.writer {
            return None;
        }
        state.present += 1;
        Some(Present(self.clone()))
    }

    /// Whether connections must be closed now.
    pub(crate) fn must_leave(&self) -> bool {
        matches!(self.lock().writer, Writer::Leaving)
    }

    /// Whether no connection but the writer's is open.
    pub(crate) fn is_left(&self) -> bool {
        self.lock().present == 0
    }

    /// The writer has the log open.
    pub(crate) fn opened(&self, path: &Path, files: &LogFiles) {
        self.lock().writer = Writer::Open(path.to_owned(), files.clone());
    }

    /// The writer lets go of the log, and so must everybody.
    pub(crate) fn leave(&self) {
        self.lock().writer = Writer::Leaving;
    }

    /// The writer closed the log. Its files may be gone with it where no other connection is open.
    pub(crate) fn closed(&self) {
        self.lock().writer = Writer::Away;
    }

    /// Refuses to write to files that are no longer the log's.
    pub(crate) fn require_files(&self) -> io::Result<()> {
        match &self.lock().writer {
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
