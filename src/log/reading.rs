//! Connections that only read.

use std::path::Path;

use rusqlite::{Connection, MAIN_DB, OpenFlags};

use super::connect::{
    AtClose, MAKER_TIMEOUT, alone, at_close, configure, connect, is_about_files_beside, look,
};
use super::error::OpenError;
use super::generation::{self, Use};
use super::inspect::{inspect, refuse_foreign, require_log, require_sqlite, require_together, resolved};
use super::still::Still;
use super::vfs;
use crate::file::side_file;

/// A log that is open for reading.
pub(crate) struct Reading {
    pub(crate) connection: Connection,
    /// The state of a file that is read as one that nobody changes. It shows afterwards whether somebody did.
    pub(crate) still: Option<Still>,
    /// Set if the file is marked as open and no write-ahead log lay beside it.
    pub(crate) lacks_wal: bool,
}

/// Opens a log for reading. Nothing can be written through the connection.
///
/// # Errors
/// As [`open_reading`].
pub(crate) fn open_reader(path: &Path) -> Result<Connection, OpenError> {
    open_reading(path).map(|reading| reading.connection)
}

/// Opens a log for reading. Nothing can be written through the connection.
///
/// In a folder without write permission SQLite cannot make the files that it shares with writers. There a log without
/// a write-ahead log is read as a file that nobody changes. The caller checks afterwards that nobody did.
pub(crate) fn open_reading(path: &Path) -> Result<Reading, OpenError> {
    require_sqlite()?;
    inspect(path)?;
    let path = &resolved(path)?;
    let sqlite = |source| OpenError::sqlite(path, "cannot be opened for reading", source);
    let file = refuse_foreign(path)?;
    // Before any connection of this process can make the file.
    let had_wal = side_file(path, "-wal").symlink_metadata().is_ok();
    // SQLite's locks do not reach the other machines, so this reading takes none. It is refused if there is a
    // write-ahead log.
    #[cfg(target_os = "linux")]
    if let super::mount::Ground::Shared { name } = super::mount::ground(path)? {
        return read_still(path).map_err(|error| match error {
            OpenError::WalInReadOnlyFolder { path } => OpenError::SharedFileSystem { path, name },
            error => error,
        });
    }
    // Held until the reader has looked at the file. From then on the reader itself counts as a user of the file.
    let _maker = make_files_beside(path)?;
    let connection = connect(path, &format!("&{}=1", vfs::READER), OpenFlags::SQLITE_OPEN_READ_ONLY)?;
    let mut reading = match begin_reading(&connection) {
        Ok(()) => Reading { connection, still: None, lacks_wal: false },
        Err(error) if is_about_files_beside(&error) => {
            drop(connection);
            read_still(path)?
        }
        Err(error) => return Err(sqlite(error)),
    };
    let together = require_together(&reading.connection, file.as_ref(), path)?;
    reading.lacks_wal = !had_wal && together.generation.is_some_and(|row| row.in_use == Use::Open);
    Ok(reading)
}

/// Opens a log without locks, as a file that nobody changes.
fn read_still(path: &Path) -> Result<Reading, OpenError> {
    // Before the first read, so that every later change is noticed.
    let still = Still::of(path)?;
    let connection = alone(path)?;
    begin_reading(&connection)
        .map_err(|source| OpenError::sqlite(path, "cannot be opened for reading", source))?;
    require_log(&connection, path)?;
    let row = generation::read(&connection).ok().flatten();
    let lacks_wal = row.is_some_and(|row| row.in_use == Use::Open);
    Ok(Reading { connection, still: Some(still), lacks_wal })
}

/// Makes the missing files beside a log, through a connection that can lock the file. A reader's connection cannot
/// lock it, and would not notice that somebody has the log open without these files. Returns `None` if nothing is
/// missing or the file may not be written.
fn make_files_beside(path: &Path) -> Result<Option<Connection>, OpenError> {
    let lacks = |ending| side_file(path, ending).symlink_metadata().is_err();
    if !lacks("-wal") && !lacks("-shm") {
        return Ok(None);
    }
    let Ok(maker) = connect(path, "", OpenFlags::SQLITE_OPEN_READ_WRITE) else { return Ok(None) };
    // A read-only file cannot be locked for this. A connection that could checkpoint at its close is not used:
    // nothing shows yet that the files belong together.
    if !matches!(maker.is_readonly(MAIN_DB), Ok(false)) || at_close(&maker, AtClose::LeaveAsItIs).is_err() {
        return Ok(None);
    }
    match look(&maker, MAKER_TIMEOUT) {
        Ok(()) => Ok(Some(maker)),
        Err(error) => match OpenError::sqlite(path, "cannot be opened for reading", error) {
            error @ (OpenError::OpenElsewhere { .. } | OpenError::HotJournal { .. }) => Err(error),
            // The reader meets every other fault itself.
            _ => Ok(None),
        },
    }
}

fn begin_reading(connection: &Connection) -> rusqlite::Result<()> {
    configure(connection)?;
    connection.pragma_update(None, "query_only", true)?;
    // Only now does SQLite open the write-ahead log.
    look(connection, MAKER_TIMEOUT)
}
