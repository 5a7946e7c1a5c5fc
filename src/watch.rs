//! Detects that the file at a log's path is no longer the log that was opened there.
//!
//! A connection keeps the file that it opened, whatever happens to its path, and keeps pages of it in memory,
//! whatever is written over it. So a reader that stays open has to look at the path itself.

use std::fs;
use std::path::{Path, PathBuf};

use rusqlite::Connection;

use crate::file::FileIdentity;
use crate::log::{self, OpenError};
use crate::log::{Head, LogFiles, rows};

/// A repeated check that a log is still the file that was opened, with every event that was seen in it.
///
/// Its own connection only reads, a few pages at each look.
///
/// ```
/// use annals::{AuditLog, Watch};
///
/// # let folder = tempfile::tempdir()?;
/// # let path = folder.path().join("audit.db");
/// AuditLog::open(&path)?.close()?;
/// let mut watch = Watch::open(&path)?;
/// assert_eq!(watch.look()?.seq.get(), 1);
/// std::fs::remove_file(&path)?;
/// assert!(watch.look().is_err());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Watch {
    /// The path as the caller named it.
    name: PathBuf,
    path: PathBuf,
    files: LogFiles,
    /// None after the write-ahead log was removed: a writer makes a new one only when nobody uses the old one.
    connection: Option<Connection>,
    seen: Head,
}

impl Watch {
    /// Begins to watch the log at `path`, which must be there.
    ///
    /// # Errors
    /// If the file cannot be opened, or is not a log; the error states what to do.
    pub fn open(path: impl AsRef<Path>) -> Result<Watch, OpenError> {
        let name = path.as_ref();
        let path = log::resolved(name)?;
        let database =
            FileIdentity::at(&path).map_err(|error| OpenError::io(&path, "cannot be examined", error))?;
        let (connection, files) = connect(name, &path, database)?;
        let seen = head(&connection, &path)?;
        Ok(Watch { name: name.to_owned(), path, files, connection: Some(connection), seen })
    }

    /// Looks once, and returns the head of the log.
    ///
    /// # Errors
    /// If another file, or none, is at the path or in the place of the write-ahead log; if the file lacks the last
    /// event of an earlier look, because it was cut off or overwritten; or if it cannot be read. The next look may
    /// succeed again: a file that was moved away may come back, and a writer makes the write-ahead log anew.
    pub fn look(&mut self) -> Result<Head, OpenError> {
        let Watch { name, path, files, connection, seen } = self;
        let connection = match connection {
            Some(open) => {
                if let Err(error) = files.require_at(path) {
                    // Closed, so that a writer can make a new write-ahead log.
                    if matches!(error, OpenError::WalReplaced { .. }) {
                        *connection = None;
                    }
                    return Err(error);
                }
                open
            }
            None => {
                // Another file is not opened at all: SQLite would read it together with the files beside it.
                files.database.require_at(path)?;
                let (opened, found) = connect(name, path, files.database)?;
                *files = found;
                connection.insert(opened)
            }
        };
        let metadata =
            fs::metadata(&*path).map_err(|error| OpenError::io(path, "is no longer where it was", error))?;
        // To SQLite an empty file is an empty database, so its length is checked first.
        if metadata.len() == 0 {
            return Err(OpenError::Empty { path: path.clone() });
        }
        let sqlite = |source| OpenError::sqlite(path, "cannot be read", source);
        // Drops the pages that SQLite has cached. If somebody writes over the file without SQLite's locks, cached pages
        // would hide it forever.
        connection.execute_batch("PRAGMA shrink_memory").map_err(sqlite)?;
        let moment = connection.unchecked_transaction().map_err(sqlite)?;
        let head = head(&moment, path)?;
        // The last event that was seen must still be at its position, with the same hash.
        if !head.still_has(*seen, &moment).map_err(sqlite)? {
            return Err(OpenError::CutOff { path: path.clone(), seq: seen.seq });
        }
        *seen = head;
        Ok(head)
    }

    /// The watched files, for checks of their identities alone, and their path without links.
    #[cfg(feature = "server")]
    pub(crate) fn files(&self) -> (PathBuf, LogFiles) {
        (self.path.clone(), self.files.clone())
    }
}

/// Opens a log for reading, and records the files that belong to it at that moment.
fn connect(name: &Path, path: &Path, database: FileIdentity) -> Result<(Connection, LogFiles), OpenError> {
    let connection = log::open_reader(path)?;
    let files = LogFiles::of(database, path)?.named(name, path);
    // The path may lead to another file since the connection was opened.
    files.require_at(path)?;
    Ok((connection, files))
}

fn head(connection: &Connection, path: &Path) -> Result<Head, OpenError> {
    rows::head(connection).map_err(|source| OpenError::sqlite(path, "cannot be read", source))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::AuditLog;
    use crate::event::{Draft, NoteLogged};

    struct Fixture {
        _folder: tempfile::TempDir,
        path: PathBuf,
        older: PathBuf,
    }

    fn append(path: &Path) {
        let log = AuditLog::open(path).unwrap();
        log.append(Draft::new(NoteLogged { message: "x".into(), ..Default::default() }))
            .unwrap()
            .wait()
            .unwrap();
        log.close().unwrap();
    }

    /// A log of three events, and an older copy of it, with two.
    fn log_with_older_copy() -> Fixture {
        let folder = tempfile::tempdir().unwrap();
        let (path, older) = (folder.path().join("audit.db"), folder.path().join("older.db"));
        append(&path);
        fs::copy(&path, &older).unwrap();
        append(&path);
        Fixture { _folder: folder, path, older }
    }

    #[test]
    fn a_log_that_grows_is_still_the_same() {
        let Fixture { path, _folder, .. } = log_with_older_copy();
        let mut watch = Watch::open(&path).unwrap();
        assert_eq!(watch.look().unwrap().seq.get(), 3);
        append(&path);
        assert_eq!(watch.look().unwrap().seq.get(), 4);
    }

    #[test]
    fn another_file_in_its_place_is_noticed() {
        let Fixture { path, older, _folder } = log_with_older_copy();
        let mut watch = Watch::open(&path).unwrap();
        // Another file at the same path.
        fs::rename(&older, &path).unwrap();
        assert!(matches!(watch.look(), Err(OpenError::Replaced { .. })));
    }

    #[test]
    fn a_file_that_is_gone_is_noticed_and_so_is_its_return() {
        let Fixture { path, older, _folder } = log_with_older_copy();
        let mut watch = Watch::open(&path).unwrap();
        fs::rename(&path, older.with_extension("away")).unwrap();
        assert!(matches!(watch.look(), Err(OpenError::Io { .. })));
        fs::rename(older.with_extension("away"), &path).unwrap();
        watch.look().unwrap();
    }

    #[test]
    fn a_file_that_is_cut_to_nothing_is_noticed() {
        let Fixture { path, _folder, .. } = log_with_older_copy();
        let mut watch = Watch::open(&path).unwrap();
        fs::File::create(&path).unwrap();
        assert!(matches!(watch.look(), Err(OpenError::Empty { .. })));
    }

    #[test]
    fn an_older_copy_that_is_written_over_it_in_place_is_noticed() {
        let Fixture { path, older, _folder } = log_with_older_copy();
        let mut watch = Watch::open(&path).unwrap();
        watch.look().unwrap();
        // The same file with other content: only the events show it.
        fs::copy(&older, &path).unwrap();
        assert!(matches!(watch.look(), Err(OpenError::CutOff { .. })), "{:?}", watch.look());
    }
}
