//! SQLite files of other programs, opened so that nothing can change them.

use std::path::Path;

use rusqlite::limits::Limit;
use rusqlite::{Connection, ErrorCode, OpenFlags};

use super::error::ImportError;
use crate::limits::COLUMN_BYTES_MAX;

/// Asked again and again while a query runs: true ends the query, and so the import.
pub type Stop = Box<dyn FnMut() -> bool + Send>;

/// Steps of SQLite's machine between two questions whether to stop: some hundred microseconds.
const STEPS_BETWEEN: i32 = 10_000;

/// Opens a file and begins the transaction in which everything is read. `look` then takes its first look, in the same
/// transaction. `expected` describes the file, for errors.
pub(super) fn open<T>(
    path: &Path,
    expected: &'static str,
    stop: Stop,
    look: impl Fn(&Connection) -> rusqlite::Result<T>,
) -> Result<(Connection, T), ImportError> {
    let opening =
        |source: rusqlite::Error| ImportError::Open { path: path.to_owned(), source: source.into() };
    // SQLite would take an empty file for an empty database.
    if std::fs::metadata(path).is_ok_and(|file| file.is_file() && file.len() == 0) {
        return Err(ImportError::Empty { expected });
    }
    let begin = |connection: &Connection| {
        // The file comes from elsewhere: nothing in its schema is run, and nothing is written.
        connection.execute_batch("PRAGMA trusted_schema = OFF; PRAGMA query_only = ON; BEGIN")?;
        look(connection)
    };
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let mut connection = bounded(Connection::open_with_flags(path, flags)).map_err(opening)?;
    let looked = match begin(&connection) {
        Err(error) if wants_to_write(&error) && !has_wal(path) => {
            // A log in WAL mode needs a file beside it even to be read. If that cannot be made, and there is no
            // write-ahead log whose content would be missed, the log is read as a file that nobody changes.
            let flags = flags | OpenFlags::SQLITE_OPEN_URI;
            connection = bounded(Connection::open_with_flags(immutable_uri(path), flags)).map_err(opening)?;
            begin(&connection)
        }
        looked => looked,
    }
    .map_err(|error| match error.sqlite_error_code() {
        Some(ErrorCode::NotADatabase) => {
            ImportError::WrongFile { expected, reason: "it is not a SQLite file".to_owned() }
        }
        _ => opening(error),
    })?;
    connection.progress_handler(STEPS_BETWEEN, Some(stop)).map_err(opening)?;
    Ok((connection, looked))
}

fn wants_to_write(error: &rusqlite::Error) -> bool {
    matches!(error.sqlite_error_code(), Some(ErrorCode::CannotOpen | ErrorCode::ReadOnly))
}

fn has_wal(path: &Path) -> bool {
    let mut wal = path.as_os_str().to_owned();
    wal.push("-wal");
    // If that cannot be determined, there may be one.
    Path::new(&wal).try_exists().unwrap_or(true)
}

/// A URI of the file that promises SQLite that nobody writes to it.
fn immutable_uri(path: &Path) -> String {
    let mut uri = String::from("file:");
    for byte in path.as_os_str().as_encoded_bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'/' | b'.' | b'-' | b'_' => {
                uri.push(char::from(*byte))
            }
            _ => uri.push_str(&format!("%{byte:02X}")),
        }
    }
    uri + "?immutable=1"
}

/// A connection that refuses values which are too long for any log.
fn bounded(connection: rusqlite::Result<Connection>) -> rusqlite::Result<Connection> {
    let connection = connection?;
    let bytes = i32::try_from(COLUMN_BYTES_MAX).unwrap_or(i32::MAX);
    connection.set_limit(Limit::SQLITE_LIMIT_LENGTH, bytes)?;
    Ok(connection)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_with_special_characters_makes_a_uri() {
        assert_eq!(immutable_uri(Path::new("/a b/c?#%.db")), "file:/a%20b/c%3F%23%25.db?immutable=1");
    }
}
