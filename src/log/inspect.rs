//! Checks of a file, and of the files beside it, before SQLite trusts them: that it is a log, and that they belong
//! together.

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

/// The first SQLite that cannot corrupt a write-ahead log with two writing connections.
const SQLITE_VERSION_MIN: i32 = 3_051_003;

/// The smallest page of a database, in bytes, and so the smallest database.
const PAGE_BYTES_LEAST: u64 = 512;

/// Refuses an SQLite library that can corrupt a write-ahead log.
pub(super) fn require_sqlite() -> Result<(), OpenError> {
    if rusqlite::version_number() < SQLITE_VERSION_MIN {
        return Err(OpenError::OldSqlite { found: rusqlite::version() });
    }
    Ok(())
}

/// Refuses a file that is certainly no log before SQLite sees it, so that the message can give the reason.
///
/// Opens nothing: SQLite's locks belong to the process, and closing any descriptor of the file gives up the locks of
/// every connection that the process has. Another process would then remove the write-ahead log under them.
pub(super) fn inspect(path: &Path) -> Result<FileIdentity, OpenError> {
    let metadata = match fs::metadata(path) {
        Ok(metadata) => metadata,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(missing(path)),
        Err(error) => return Err(OpenError::io(path, "cannot be examined", error)),
    };
    if metadata.is_dir() {
        return Err(OpenError::Folder { path: path.to_owned() });
    }
    if metadata.len() == 0 {
        return Err(OpenError::Empty { path: path.to_owned() });
    }
    // SQLite takes a file that is shorter than a page for an empty database.
    if metadata.len() < PAGE_BYTES_LEAST {
        return Err(OpenError::NotADatabase { path: path.to_owned() });
    }
    Ok(FileIdentity::of(&metadata))
}

/// The error for a path without a file: it is a URL, a symbolic link that leads nowhere, or nothing is there.
fn missing(path: &Path) -> OpenError {
    if let Err(error) = new_file::refuse_url(path) {
        return error.into();
    }
    match fs::read_link(path) {
        Ok(target) => OpenError::DanglingLink { path: path.to_owned(), target },
        Err(_) => OpenError::Missing { path: path.to_owned() },
    }
}

/// Refuses a file that is not a log, or has a newer schema, by the content of the file alone. With the first ordinary
/// read, SQLite would recover a write-ahead log or roll back a journal beside it, and other programs' files are not
/// ours to change. Returns `None` if the file alone cannot be read.
pub(super) fn refuse_foreign(path: &Path) -> Result<Option<Connection>, OpenError> {
    let connection = alone(path)?;
    match require_log(&connection, path) {
        Ok(_) => Ok(Some(connection)),
        // A log can look damaged while some of its pages are still in the write-ahead log.
        Err(OpenError::Storage { .. }) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Refuses, before any row is read, a file that is not a log, has a newer schema, or has a table that would make up
/// its rows.
pub(super) fn require_log(connection: &Connection, path: &Path) -> Result<i32, OpenError> {
    let version = check_version(connection, path)?;
    match schema::replaced_table(connection) {
        Ok(None) => Ok(version),
        Ok(Some(table)) => Err(OpenError::NoTable { path: path.to_owned(), table }),
        Err(source) => Err(OpenError::sqlite(path, "its schema cannot be read", source)),
    }
}

/// The result of the comparison of a file with its write-ahead log.
pub(super) struct Together {
    pub(super) generation: Option<Generation>,
    /// The run whose row the file itself is known to have.
    pub(super) in_file: Option<RunId>,
}

/// Refuses a write-ahead log that is not the file's: one of another run, or one that the shared memory beside it does
/// not describe. `connection` must not checkpoint when it is closed. `file` is the file alone, if it can be read.
pub(super) fn require_together(
    connection: &Connection,
    file: Option<&Connection>,
    path: &Path,
) -> Result<Together, OpenError> {
    let sqlite = |source| OpenError::sqlite(path, "cannot be read", source);
    let moment = connection.unchecked_transaction().map_err(sqlite)?;
    // The first read begins the transaction.
    let log = require_log(&moment, path);
    // Before the result of the read is used: with a write-ahead log that was replaced, the read may have failed for
    // that reason.
    if !vfs::wal_is_that_of_memory(&moment) {
        return Err(OpenError::OpenElsewhere { path: path.to_owned() });
    }
    log?;
    let generation = generation::read(&moment).ok().flatten();
    let fit_of = |file: Option<&Connection>| match file {
        Some(file) => generation::fit(&moment, file),
        // A file that cannot be read proves nothing.
        None => Fit::Together(None),
    };
    let mut fit = fit_of(file);
    if fit == Fit::Strangers {
        // `file` was read before the transaction began, so it may be older than what the transaction sees. Only a
        // second look refuses.
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

/// The path of the file that symbolic links lead to. The files beside a log are named after this path.
pub(crate) fn resolved(path: &Path) -> Result<PathBuf, OpenError> {
    match fs::canonicalize(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Err(missing(path)),
        resolved => resolved.map_err(|error| OpenError::io(path, "cannot be examined", error)),
    }
}
