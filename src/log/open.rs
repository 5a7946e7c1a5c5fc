//! Connections that write.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::Instant;

use rusqlite::{Connection, ErrorCode, MAIN_DB, OpenFlags};

use super::connect::{
    AtClose, BUSY_PAUSE, BUSY_TIMEOUT, MAKER_PATIENCE, MAKER_PATIENCE_AGAIN, at_close, configure, connect,
    is_about_files_beside, look,
};
use super::error::OpenError;
use super::generation::{self, Generation, RunId, Use};
use super::identity::LogFiles;
use super::inspect::{Together, check_version, inspect, refuse_foreign, require_sqlite, require_together};
use super::own_tables::{require_own_tables, require_short_values};
use super::turns::{Turns, Who};
use super::{schema, vfs};
use crate::file::{FileIdentity, folder_of};
use crate::limits::WAL_BYTES_KEEP;
use crate::new_file;

/// How durable an acknowledged event is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Durability {
    /// It survives a loss of power: every commit is flushed to the disk (`synchronous=FULL`).
    #[default]
    Full,
    /// It survives the end of the process, and not always a loss of power, after which the log ends
    /// earlier and is still one line (`synchronous=NORMAL`).
    Normal,
}

/// Refuses a file with several names: SQLite would keep a write-ahead log for each of them.
fn require_one_name(path: &Path) -> Result<(), OpenError> {
    let names = || {
        let metadata = fs::metadata(path);
        metadata.map(|found| found.nlink()).map_err(|error| OpenError::io(path, "cannot be looked at", error))
    };
    if names()? > 1 {
        remove_left_name(path)?;
        if names()? > 1 {
            return Err(OpenError::SeveralNames { path: path.to_owned() });
        }
    }
    Ok(())
}

/// Takes away the name under which the log was made. Its maker does that, unless it is killed between
/// giving the log its own name and then; and does not mind if somebody was faster.
fn remove_left_name(path: &Path) -> Result<(), OpenError> {
    let looked = |error| OpenError::io(path, "its other name cannot be looked for", error);
    let Some(own) = path.file_name() else { return Ok(()) };
    let database = FileIdentity::at(path).map_err(looked)?;
    for entry in fs::read_dir(folder_of(path)).map_err(looked)? {
        let entry = entry.map_err(looked)?;
        if !new_file::is_unfinished_name_of(own, &entry.file_name()) {
            continue;
        }
        // One that is gone by now needs nothing more.
        for name in [entry.path(), new_file::unfinished_file(&entry.path())] {
            let is_this =
                fs::symlink_metadata(&name).is_ok_and(|metadata| FileIdentity::of(&metadata) == database);
            if is_this {
                remove_if_there(&name)?;
            }
        }
    }
    Ok(())
}

/// Removes a name that somebody else may remove too.
fn remove_if_there(path: &Path) -> Result<(), OpenError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(OpenError::io(path, "cannot be removed", error))
        }
        _ => Ok(()),
    }
}

/// Knowledge of a log before it is opened for writing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Claim {
    /// Nothing: it is refused where another machine has it open, or did not close it.
    #[default]
    Cautious,
    /// The operator says that no other machine has it open.
    TakeOver,
    /// A connection of this process has it open already, or had, and looked at it.
    Settled,
}

/// A log that is open for writing.
pub(crate) struct Writing {
    pub(crate) connection: Connection,
    pub(crate) files: LogFiles,
    /// The row of its write-ahead log that the file itself is known to have.
    pub(crate) in_file: Option<RunId>,
}

/// Opens a log for writing, and brings its schema up to date. It never makes one. The path has no symbolic
/// links.
pub(crate) fn open_writer(path: &Path, durability: Durability, claim: Claim) -> Result<Writing, OpenError> {
    require_sqlite()?;
    inspect(path)?;
    #[cfg(target_os = "linux")]
    super::mount::require_for_writing(path)?;
    require_one_name(path)?;
    let sqlite = |source| OpenError::sqlite(path, "cannot be opened for writing", source);
    let file = refuse_foreign(path)?;
    let mut connection = connect(path, "", OpenFlags::SQLITE_OPEN_READ_WRITE)?;
    if connection.is_readonly(MAIN_DB).map_err(sqlite)? {
        return Err(OpenError::ReadOnly { path: path.to_owned() });
    }
    // Only now: on an overlay of file systems, opening a file for writing makes another file of it.
    let identity =
        FileIdentity::at(path).map_err(|error| OpenError::io(path, "cannot be looked at", error))?;
    // Until it is known that they belong together, nothing is moved from one file into the other.
    at_close(&connection, AtClose::LeaveAsItIs).map_err(sqlite)?;
    configure(&connection).map_err(sqlite)?;
    let maker = match claim {
        Claim::Cautious | Claim::TakeOver => MAKER_PATIENCE,
        Claim::Settled => MAKER_PATIENCE_AGAIN,
    };
    look(&connection, maker).map_err(|source| match is_about_files_beside(&source) {
        true => OpenError::ReadOnlyFolder { path: path.to_owned(), source: source.into() },
        false => sqlite(source),
    })?;
    if vfs::has_moved(&connection) {
        return Err(OpenError::Replaced { path: path.to_owned() });
    }
    let Together { generation, in_file } = require_together(&connection, file.as_ref(), path)?;
    if claim == Claim::Cautious && generation.is_some_and(|generation| is_of_another_machine(&generation)) {
        return Err(OpenError::OtherMachine { path: path.to_owned() });
    }
    drop(file);
    at_close(&connection, AtClose::Checkpoint).map_err(sqlite)?;
    let found = check_version(&connection, path)?;
    if found == schema::version() {
        require_own_tables(&connection, path)?;
    }
    let journal_mode: String =
        connection.pragma_query_value(None, "journal_mode", |row| row.get(0)).map_err(sqlite)?;
    // A copy is one file until it is opened for appending. In a turn: nobody who has it open already
    // closes it meanwhile.
    let turns = (journal_mode != "wal").then(|| Turns::open(path)).transpose()?;
    let turn = turns.as_ref().map(|turns| turns.take(Who::Writer)).transpose();
    let _turn = turn.map_err(|error| OpenError::io(path, "its lock file cannot be locked", error))?;
    begin_wal(&connection, path)?;
    connection.pragma_update(None, "wal_autocheckpoint", 0).map_err(sqlite)?;
    // Text that was overwritten, moved or deleted before it is redacted must not be left in pages that
    // are free, where no redaction would find it.
    connection.pragma_update(None, "secure_delete", true).map_err(sqlite)?;
    connection
        .pragma_update(None, "journal_size_limit", i64::try_from(WAL_BYTES_KEEP).unwrap_or(i64::MAX))
        .map_err(sqlite)?;
    let synchronous = match durability {
        Durability::Full => "FULL",
        Durability::Normal => "NORMAL",
    };
    connection.pragma_update(None, "synchronous", synchronous).map_err(sqlite)?;
    if found < schema::version() {
        let tx =
            connection.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate).map_err(sqlite)?;
        // Another process may have been faster.
        let found = check_version(&tx, path)?;
        schema::migrate(&tx, found).map_err(sqlite)?;
        tx.commit().map_err(sqlite)?;
        require_own_tables(&connection, path)?;
    }
    // It reads tables through, and callers wait where the log was open already.
    if claim != Claim::Settled {
        require_short_values(&connection, path)?;
    }
    // A file that was none before has a write-ahead log from the first look at it on.
    look(&connection, maker).map_err(sqlite)?;
    let files = LogFiles::of(identity, path)?;
    files.require_at(path)?;
    Ok(Writing { connection, files, in_file })
}

fn is_of_another_machine(generation: &Generation) -> bool {
    let here = generation::machine();
    generation.in_use == Use::Open
        && ![generation.machine.as_str(), here].contains(&"")
        && generation.machine != here
}

/// Begins the write-ahead log of a file that has none; SQLite itself does not wait for readers here.
fn begin_wal(connection: &Connection, path: &Path) -> Result<(), OpenError> {
    let deadline = Instant::now() + BUSY_TIMEOUT;
    // The change writes bytes of the file's first sector alone, so that it happens or does not. A journal of
    // it would be left by a process that is killed then, and nobody rolls one back.
    let is_wal = connection
        .pragma_query_value(None, "journal_mode", |row| row.get::<_, String>(0))
        .is_ok_and(|mode| mode == "wal");
    if !is_wal {
        connection
            .pragma_update(None, "journal_mode", "OFF")
            .map_err(|source| OpenError::sqlite(path, "its write-ahead log cannot be begun", source))?;
    }
    let journal_mode: String = loop {
        match connection.pragma_update_and_check(None, "journal_mode", "WAL", |row| row.get(0)) {
            Ok(journal_mode) => break journal_mode,
            Err(error)
                if error.sqlite_error_code() == Some(ErrorCode::DatabaseBusy)
                    && Instant::now() < deadline =>
            {
                std::thread::sleep(BUSY_PAUSE);
            }
            Err(error) => return Err(OpenError::sqlite(path, "its write-ahead log cannot be begun", error)),
        }
    };
    if journal_mode != "wal" {
        return Err(OpenError::NoWal { path: path.to_owned(), journal_mode });
    }
    Ok(())
}
