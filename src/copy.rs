//! A consistent copy of a log, while others append to it.

use std::path::{Path, PathBuf};

use rusqlite::backup::{Backup, StepResult};
use rusqlite::{Connection, OpenFlags};

use crate::log::schema::APPLICATION_ID;
use crate::log::uri;
use crate::log::{Head, generation, rows};
use crate::new_file::{NewFile, NewFileError};
use crate::reader::Reader;
use crate::storage::StorageError;

/// Pages that are copied between two progress reports.
const PAGES_A_STEP: i32 = 1_024;

/// A log that was not copied.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CopyError {
    /// A file exists at the path of the copy.
    #[error("{}: already exists; a copy never replaces a file", path.display())]
    Exists {
        /// The path.
        path: PathBuf,
    },
    /// The copy cannot be created.
    #[error(transparent)]
    New(NewFileError),
    /// SQLite cannot write the copy.
    #[error("{}: cannot be copied to: {source}", path.display())]
    Storage {
        /// The path.
        path: PathBuf,
        /// The cause.
        source: StorageError,
    },
    /// The written copy differs from the log that was read.
    #[error("{}: the copy differs from the log that was read; the disk may be failing", path.display())]
    Differs {
        /// The path.
        path: PathBuf,
    },
}

impl CopyError {
    /// Replaces the path in an error by the target: the path under which a copy is made no longer exists when somebody
    /// reads the error.
    fn at(self, target: &Path) -> CopyError {
        let path = target.to_owned();
        match self {
            CopyError::Storage { source, .. } => CopyError::Storage { path, source },
            CopyError::Differs { .. } => CopyError::Differs { path },
            error => error,
        }
    }
}

impl From<NewFileError> for CopyError {
    fn from(error: NewFileError) -> CopyError {
        match error {
            NewFileError::Exists { path } => CopyError::Exists { path },
            error => CopyError::New(error),
        }
    }
}

impl Reader {
    /// Copies the log to a new file and returns its head. The file has every event up to one moment and the read tables
    /// of that moment, and needs no other file beside it.
    ///
    /// `progress` is called with the number of copied pages and the number of all pages.
    ///
    /// # Errors
    /// If a file exists at `target`, or it cannot be written. There is no copy then.
    pub fn copy_to(&self, target: &Path, progress: &mut dyn FnMut(u64, u64)) -> Result<Head, CopyError> {
        let exists = || CopyError::Exists { path: target.to_owned() };
        if target.symlink_metadata().is_ok() {
            return Err(exists());
        }
        let copy = NewFile::begin(target)?;
        let head = self.copy_over(&copy.path(), progress).map_err(|error| error.at(target))?;
        copy.place()?;
        Ok(head)
    }

    /// Copies the log over an empty file and returns the log's head. The file must belong to the caller alone until
    /// this returns.
    ///
    /// # Errors
    /// If it cannot be written; it may then hold anything.
    pub fn copy_over(&self, path: &Path, progress: &mut dyn FnMut(u64, u64)) -> Result<Head, CopyError> {
        let sqlite =
            |source: rusqlite::Error| CopyError::Storage { path: path.to_owned(), source: source.into() };
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let mut copy =
            Connection::open_with_flags(uri(path, ""), flags | OpenFlags::SQLITE_OPEN_URI).map_err(sqlite)?;
        // No flush at each write: `NewFile::place` flushes the whole copy, and a crash before that leaves no copy.
        copy.pragma_update(None, "synchronous", "OFF").map_err(sqlite)?;
        let head = self.at_one_moment(|source| {
            // The transaction begins with this read, which fixes the moment of the copy. Without it, SQLite would start
            // the backup again whenever another process appends.
            let head = rows::head(source)?;
            let backup = Backup::new(source, &mut copy)?;
            loop {
                let step = backup.step(PAGES_A_STEP)?;
                let done = backup.progress();
                let count = |pages: i32| u64::try_from(pages).unwrap_or(0);
                progress(count(done.pagecount - done.remaining), count(done.pagecount));
                match step {
                    StepResult::Done => break Ok::<_, rusqlite::Error>(head),
                    StepResult::Busy | StepResult::Locked => {
                        // SQLite keeps the progress of the backup: the next step goes on with the same pages.
                        std::thread::sleep(std::time::Duration::from_millis(10));
                    }
                    _ => {}
                }
            }
        });
        let head = head.map_err(sqlite)?;
        // The copy stands alone: this mode puts everything into the file itself, and needs no write-ahead log.
        copy.query_row("PRAGMA journal_mode=DELETE", [], |_| Ok(())).map_err(sqlite)?;
        // No write-ahead log belongs to the copy, also none that lies beside it by chance.
        generation::begin_anew(&copy).map_err(sqlite)?;
        let application_id: i32 =
            copy.pragma_query_value(None, "application_id", |row| row.get(0)).map_err(sqlite)?;
        // Read back from the copy, and not from the log.
        if application_id != APPLICATION_ID || rows::head(&copy).map_err(sqlite)? != head {
            return Err(CopyError::Differs { path: path.to_owned() });
        }
        copy.close().map_err(|(_, source)| sqlite(source))?;
        Ok(head)
    }
}
