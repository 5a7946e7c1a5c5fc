//! Errors of SQLite, or of the system under it, reduced to what a caller can act on.

use std::error::Error;
use std::fmt;

use rusqlite::ErrorCode;

/// A file that could not be read or written at that moment, and the cause.
///
/// The [`kind`](StorageError::kind) shows what to do; the text is SQLite's own message.
#[derive(Debug)]
pub struct StorageError(Box<rusqlite::Error>);

/// The possible reactions to a [`StorageError`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum StorageErrorKind {
    /// Somebody else holds the file for longer than the timeout: try again.
    Busy,
    /// There is no room on the disk, or in memory: make room, and try again.
    NoRoom,
    /// The file may not be opened or written: change its permissions, or those of its folder.
    NotAllowed,
    /// The disk, or the system, failed: see the message.
    Failing,
    /// The operation was interrupted.
    Interrupted,
    /// The file is damaged: `annals verify` reports more.
    Damaged,
    /// Another error, which a retry does not mend: a table that is missing, or a value that does not fit.
    Other,
}

impl StorageError {
    /// The reaction to this error.
    pub fn kind(&self) -> StorageErrorKind {
        use StorageErrorKind::*;
        let Some(error) = self.0.sqlite_error() else { return Other };
        match error.code {
            // The file ends before a page that should be in it.
            _ if error.extended_code == rusqlite::ffi::SQLITE_IOERR_SHORT_READ => Damaged,
            ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked | ErrorCode::FileLockingProtocolFailed => {
                Busy
            }
            ErrorCode::DiskFull | ErrorCode::OutOfMemory => NoRoom,
            ErrorCode::CannotOpen | ErrorCode::PermissionDenied | ErrorCode::ReadOnly => NotAllowed,
            ErrorCode::SystemIoFailure => Failing,
            ErrorCode::OperationInterrupted => Interrupted,
            ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase => Damaged,
            _ => Other,
        }
    }

    /// The error of SQLite.
    pub(crate) fn sqlite(&self) -> &rusqlite::Error {
        &self.0
    }

    /// The error of SQLite.
    pub(crate) fn into_sqlite(self) -> rusqlite::Error {
        *self.0
    }
}

impl From<rusqlite::Error> for StorageError {
    fn from(error: rusqlite::Error) -> StorageError {
        StorageError(Box::new(error))
    }
}

/// The message of SQLite.
impl fmt::Display for StorageError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Has no source: its own text already is the whole message of SQLite.
impl Error for StorageError {}

/// Lets `?` convert SQLite's errors into these error types, as their variant `Storage`.
macro_rules! from_sqlite {
    ($($error:ty),+) => { $(
        impl From<rusqlite::Error> for $error {
            fn from(error: rusqlite::Error) -> $error {
                <$error>::Storage(error.into())
            }
        }
    )+ };
}

pub(crate) use from_sqlite;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_says_what_to_do_and_each_cause_once() {
        let kind = |extended_code| {
            let error = rusqlite::ffi::Error::new(extended_code);
            StorageError::from(rusqlite::Error::SqliteFailure(error, None)).kind()
        };
        for (code, expected) in [
            (rusqlite::ffi::SQLITE_BUSY, StorageErrorKind::Busy),
            (rusqlite::ffi::SQLITE_FULL, StorageErrorKind::NoRoom),
            (rusqlite::ffi::SQLITE_READONLY, StorageErrorKind::NotAllowed),
            (rusqlite::ffi::SQLITE_IOERR, StorageErrorKind::Failing),
            (rusqlite::ffi::SQLITE_IOERR_SHORT_READ, StorageErrorKind::Damaged),
            (rusqlite::ffi::SQLITE_CORRUPT, StorageErrorKind::Damaged),
            (rusqlite::ffi::SQLITE_CONSTRAINT, StorageErrorKind::Other),
        ] {
            assert_eq!(kind(code), expected, "{code}");
        }
        let error: StorageError = rusqlite::Error::QueryReturnedNoRows.into();
        assert_eq!(error.kind(), StorageErrorKind::Other);
        let outer = crate::log::ReadError::from(rusqlite::Error::QueryReturnedNoRows);
        // Everything that is printed of an error: its own text, and those of its causes.
        let mut texts = vec![outer.to_string()];
        let mut cause = std::error::Error::source(&outer);
        while let Some(error) = cause {
            texts.push(error.to_string());
            cause = error.source();
        }
        let said = error.to_string();
        assert!(texts[0].contains(&said), "{texts:?}");
    }
}
