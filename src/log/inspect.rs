//! Looks at a file before SQLite believes it, and what lies beside it: whether it is a log, and they belong together.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use rusqlite::Connection;

use super::connect::alone;
use super::error::OpenError;
use super::generation::{self, Fit, Generation, RunId};
use super::{schema, vfs};
use crate::file::{FileIdentity, side_file};
use crate::new_file;

/// The first SQLite that cannot corrupt a WAL which two connections write to.
const SQLITE_VERSION_MIN: i32 = 3_051_003;

/// The smallest page that a database can have, and so the smallest database.
const PAGE_BYTES_LEAST: u64 = 512;

/// Asserts that the SQLite library is one that keeps a WAL whole.
pub(super) fn require_sqlite() -> Result<(), OpenError> {
    if rusqlite::version_number() < SQLITE_VERSION_MIN {
        return Err(OpenError::OldSqlite { found: rusqlite::version() });
    }
    Ok(())
}

/// Refuses what is certainly no log before SQLite sees it, so that the message can say why.
///
/// It opens nothing: SQLite's locks are those of the process, and closing any descriptor of the file
/// gives up the locks of every connection that the process has. Another process would then take the
/// write-ahead log away under them.
pub(super) fn inspect(path: &Path) -> Result<FileIdentity, OpenError> {
    let metadata = match fs::metadata(path) {
        Ok(metadata) => metadata,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(missing(path)),
        Err(error) => return Err(OpenError::io(path, "cannot be looked at", error)),
    };
    if metadata.is_dir() {
        return Err(OpenError::Folder { path: path.to_owned() });
    }
    if metadata.len() == 0 {
        return Err(OpenError::Empty { path: path.to_owned() });
    }
    // SQLite takes the beginning of a page for an empty database.
    if metadata.len() < PAGE_BYTES_LEAST {
        return Err(OpenError::NotADatabase { path: path.to_owned() });
    }
    Ok(FileIdentity::of(&metadata))
}

/// Says why there is no file at a path.
fn missing(path: &Path) -> OpenError {
    if let Err(error) = new_file::refuse_url(path) {
        return error.into();
    }
    match fs::read_link(path) {
        Ok(target) => OpenError::DanglingLink { path: path.to_owned(), target },
        Err(_) => OpenError::Missing { path: path.to_owned() },
    }
}

/// Refuses a file that is not a log, or a newer one, by what stands in the file itself. SQLite would
/// recover a write-ahead log or roll back a journal that lies beside it as soon as it reads it in
/// earnest, and other programs' files are not ours to change. None where the file alone cannot be read.
pub(super) fn refuse_foreign(path: &Path) -> Result<Option<Connection>, OpenError> {
    let connection = alone(path)?;
    match require_log(&connection, path) {
        Ok(_) => Ok(Some(connection)),
        // A log of which pages are still in the write-ahead log can look damaged.
        Err(OpenError::Storage { .. }) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Refuses what is not a log, a newer one, and one of which a table would make up its rows; before any row is read.
pub(super) fn require_log(connection: &Connection, path: &Path) -> Result<i32, OpenError> {
    let version = check_version(connection, path)?;
    match schema::replaced_table(connection) {
        Ok(None) => Ok(version),
        Ok(Some(table)) => Err(OpenError::NoTable { path: path.to_owned(), table }),
        Err(source) => Err(OpenError::sqlite(path, "its schema cannot be read", source)),
    }
}

/// What the write-ahead log and the file say of each other.
pub(super) struct Together {
    pub(super) generation: Option<Generation>,
    /// The row that the file itself is known to have.
    pub(super) in_file: Option<RunId>,
}

/// Refuses a write-ahead log that is not the file's: one of another run, or another one than that of which
/// the memory beside it speaks. `connection` must not checkpoint when it is closed. `file` is the file alone, if it
/// can be read.
pub(super) fn require_together(
    connection: &Connection,
    file: Option<&Connection>,
    path: &Path,
) -> Result<Together, OpenError> {
    let sqlite = |source| OpenError::sqlite(path, "cannot be read", source);
    let moment = connection.unchecked_transaction().map_err(sqlite)?;
    // The first look begins the transaction.
    let log = require_log(&moment, path);
    if !vfs::wal_is_that_of_memory(&moment) {
        return Err(OpenError::OpenElsewhere { path: path.to_owned() });
    }
    log?;
    let generation = generation::read(&moment).ok().flatten();
    let fit_of = |file: Option<&Connection>| match file {
        Some(file) => generation::fit(&moment, file),
        // What cannot be read says nothing.
        None => Fit::Together(None),
    };
    let mut fit = fit_of(file);
    if fit == Fit::Strangers {
        // What was read before the transaction may be older than what it sees.
        fit = fit_of(refuse_foreign(path)?.as_ref());
    }
    match fit {
        Fit::Together(in_file) => Ok(Together { generation, in_file }),
        Fit::Strangers => Err(OpenError::ForeignWal { path: path.to_owned(), wal: side_file(path, "-wal") }),
    }
}

pub(super) fn check_version(connection: &Connection, path: &Path) -> Result<i32, OpenError> {
    let sqlite = |source| OpenError::sqlite(path, "cannot be read", source);
    let application_id: i32 =
        connection.pragma_query_value(None, "application_id", |row| row.get(0)).map_err(sqlite)?;
    if application_id != schema::APPLICATION_ID {
        return Err(OpenError::NotALog { path: path.to_owned(), application_id });
    }
    let found: i32 = connection.pragma_query_value(None, "user_version", |row| row.get(0)).map_err(sqlite)?;
    let known = schema::version();
    if found > known {
        return Err(OpenError::NewerSchema { path: path.to_owned(), found, known });
    }
    if found < 1 {
        let what = format!("its schema version is {found}, which no Annals writes");
        return Err(OpenError::Damaged { path: path.to_owned(), what });
    }
    Ok(found)
}

/// The path of the file that symbolic links lead to: the files beside it are named after that.
pub(crate) fn resolved(path: &Path) -> Result<PathBuf, OpenError> {
    match fs::canonicalize(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Err(missing(path)),
        resolved => resolved.map_err(|error| OpenError::io(path, "cannot be looked at", error)),
    }
}
