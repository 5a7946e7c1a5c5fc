//! Connections: the settings that every connection has, whatever its use.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use rusqlite::config::DbConfig;
use rusqlite::limits::Limit;
use rusqlite::{Connection, ErrorCode, OpenFlags};

use super::error::OpenError;
use super::vfs;
use crate::limits::COLUMN_BYTES_MAX;

/// Longest time that SQLite itself waits for others before it reports that the file is busy.
pub(super) const BUSY_TIMEOUT: Duration = Duration::from_secs(10);

/// Longest wait for a process that is making the write-ahead log, or that is about to release one that was removed.
/// SQLite makes one in less than a millisecond, and takes longer on a busy machine.
pub(super) const MAKER_TIMEOUT: Duration = Duration::from_secs(3);

/// The same timeout for a log that was open already: the next attempt comes soon, and callers wait meanwhile.
pub(super) const MAKER_TIMEOUT_AGAIN: Duration = Duration::from_millis(200);

/// Pause between two attempts at an operation for which SQLite itself does not wait.
pub(super) const BUSY_PAUSE: Duration = Duration::from_millis(5);

/// Makes a connection refuse values and rows that no Annals writes, before they are in memory. Every connection has
/// the same bound, so that each can read what another one wrote.
pub(crate) fn bound_columns(connection: &Connection) -> rusqlite::Result<()> {
    let bytes = i32::try_from(COLUMN_BYTES_MAX).unwrap_or(i32::MAX);
    connection.set_limit(Limit::SQLITE_LIMIT_LENGTH, bytes).map(drop)
}

/// Opens a connection. If SQLite reports only that it cannot, the error has the system's reason.
///
/// The path has no symbolic links: they were followed once, and one that is put there later is not followed.
pub(super) fn connect(path: &Path, query: &str, flags: OpenFlags) -> Result<Connection, OpenError> {
    let flags = flags
        | OpenFlags::SQLITE_OPEN_NO_MUTEX
        | OpenFlags::SQLITE_OPEN_URI
        | OpenFlags::SQLITE_OPEN_NOFOLLOW;
    let uri = uri(path, &format!("?vfs={}{query}", vfs::name()));
    let opened = Connection::open_with_flags(uri, flags)
        .and_then(|connection| bound_columns(&connection).map(|()| connection));
    opened.map_err(|source| match fs::File::open(path) {
        Err(error) => OpenError::io(path, "cannot be opened", error),
        Ok(file) => {
            // The obstacle is gone already. The descriptor is leaked: to close it now would give up SQLite's locks.
            std::mem::forget(file);
            OpenError::sqlite(path, "cannot be opened", source)
        }
    })
}

/// Opens the file alone, without the files beside it, as one that nobody changes.
pub(super) fn alone(path: &Path) -> Result<Connection, OpenError> {
    connect(path, "&immutable=1", OpenFlags::SQLITE_OPEN_READ_ONLY)
}

/// Applies the settings that every connection has. The schema and user views in the file are not trusted to be
/// harmless. Foreign keys are off, because orphans are legal: children arrive before their parents.
pub(super) fn configure(connection: &Connection) -> rusqlite::Result<()> {
    connection.set_prepared_statement_cache_capacity(128);
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_TRUSTED_SCHEMA, false)?;
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_FKEY, false)?;
    connection.pragma_update(None, "recursive_triggers", true)?;
    connection.pragma_update(None, "cell_size_check", true)
}

/// Sets the size of a connection's page cache, in kibibytes. SQLite's own two megabytes are less than the pages that
/// many a transaction changes.
pub(crate) fn keep_pages(connection: &Connection, kibibytes: i32) -> rusqlite::Result<()> {
    // A negative number is a size, not a count of pages (https://sqlite.org/pragma.html#pragma_cache_size).
    connection.pragma_update(None, "cache_size", -kibibytes)
}

/// Makes the first read of a file. Waits up to `maker` for a process that is making the files beside it.
pub(super) fn look(connection: &Connection, maker: Duration) -> rusqlite::Result<()> {
    // SQLite would wait equally long for every kind of busy. Below, each kind has its own timeout.
    connection.busy_timeout(Duration::ZERO)?;
    let began = Instant::now();
    loop {
        let looked = connection.query_row("SELECT count(*) FROM sqlite_schema", [], |_| Ok(()));
        let Err(error) = looked else { return connection.busy_timeout(BUSY_TIMEOUT) };
        let timeout = match error.sqlite_error() {
            Some(error) if error.extended_code == vfs::OPEN_ELSEWHERE => maker,
            Some(error) if error.code == ErrorCode::DatabaseBusy => BUSY_TIMEOUT,
            // The error may have another cause: pages are missing if the shared memory describes another write-ahead
            // log than this one.
            _ if !vfs::wal_is_that_of_memory(connection) => return Err(vfs::open_elsewhere()),
            _ => return Err(error),
        };
        if began.elapsed() >= timeout {
            return Err(error);
        }
        std::thread::sleep(BUSY_PAUSE);
    }
}

/// The choice whether the last connection to close moves the write-ahead log into the file.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum AtClose {
    Checkpoint,
    LeaveAsItIs,
}

/// Sets what a connection does when it is closed.
pub(crate) fn at_close(connection: &Connection, what: AtClose) -> rusqlite::Result<()> {
    let leave = what == AtClose::LeaveAsItIs;
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, leave).map(drop)
}

/// Returns whether SQLite has the file itself open, but cannot open or make the files beside it.
pub(super) fn is_about_files_beside(error: &rusqlite::Error) -> bool {
    // A hot journal has the same primary codes, but is an error of its own.
    let is_journal = error.sqlite_error().is_some_and(|error| {
        [vfs::HOT_JOURNAL, rusqlite::ffi::SQLITE_READONLY_ROLLBACK].contains(&error.extended_code)
    });
    !is_journal && matches!(error.sqlite_error_code(), Some(ErrorCode::CannotOpen | ErrorCode::ReadOnly))
}

/// A path as a URI for SQLite. Every character that a URI or SQLite would take for something else is escaped.
pub(crate) fn uri(path: &Path, query: &str) -> String {
    use std::fmt::Write as _;
    // The path must be absolute. What follows two slashes would be read as a host, and SQLite may take a relative
    // name for something else, such as a database in memory.
    let path = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let mut uri = String::from("file://");
    for byte in path.as_os_str().as_encoded_bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'/' | b'.' | b'-' | b'_' | b'~' => {
                uri.push(char::from(*byte));
            }
            // Writing to a String cannot fail.
            byte => {
                let _ = write!(uri, "%{byte:02X}");
            }
        }
    }
    uri + query
}
