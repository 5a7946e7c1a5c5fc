//! Connections that write.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::Instant;

use rusqlite::{Connection, ErrorCode, MAIN_DB, OpenFlags};

use super::connect::{
    AtClose, BUSY_PAUSE, BUSY_TIMEOUT, MAKER_TIMEOUT, MAKER_TIMEOUT_AGAIN, at_close, configure, connect,
    is_about_files_beside, look,
};
use super::error::OpenError;
use super::generation::{self, Generation, RunId, Use};
use super::identity::LogFiles;
use super::inspect::{Together, check_version, inspect, refuse_foreign, require_sqlite, require_together};
use super::own_tables::{require_own_tables, require_short_values};
use super::write_lock::{Who, WriteLock};
use super::{schema, vfs};
use crate::file::{FileIdentity, folder_of};
use crate::limits::WAL_BYTES_KEEP;
use crate::new_file;

/// The failures that an acknowledged event survives.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Durability {
    /// Survives a loss of power: every commit is flushed to the disk (`synchronous=FULL`).
    #[default]
    Full,
    /// Survives the end of the process. A loss of power may cut off the last events; the rest of the log is still one
    /// unbroken chain (`synchronous=NORMAL`).
    Normal,
}

/// Refuses a file with several hard links: SQLite would keep a separate write-ahead log for each name.
fn require_one_name(path: &Path) -> Result<(), OpenError> {
    let names = || {
        let metadata = fs::metadata(path);
        metadata.map(|found| found.nlink()).map_err(|error| OpenError::io(path, "cannot be examined", error))
    };
    if names()? > 1 {
        // One of the names may be left from a maker that was killed. Remove that one and count again.
        remove_left_name(path)?;
        if names()? > 1 {
            return Err(OpenError::SeveralNames { path: path.to_owned() });
        }
    }
    Ok(())
}

/// Removes the temporary name under which the log was made. The maker removes it, unless it is killed after it gave
/// the log its own name. A name that another process removed first is no error.
fn remove_left_name(path: &Path) -> Result<(), OpenError> {
    let looked = |error| OpenError::io(path, "its other name cannot be looked for", error);
    let Some(own) = path.file_name() else { return Ok(()) };
    let database = FileIdentity::at(path).map_err(looked)?;
    for entry in fs::read_dir(folder_of(path)).map_err(looked)? {
        let entry = entry.map_err(looked)?;
        if !new_file::is_unfinished_name_of(own, &entry.file_name()) {
            continue;
        }
        // A name that is gone by now needs nothing more.
        for name in [entry.path(), new_file::unfinished_file(&entry.path())] {
            // Only a name of this very inode is removed: another unfinished file belongs to its own maker.
            let is_this =
                fs::symlink_metadata(&name).is_ok_and(|metadata| FileIdentity::of(&metadata) == database);
            if is_this {
                remove_if_there(&name)?;
            }
        }
    }
    Ok(())
}

/// Removes a name that another process may remove at the same time.
fn remove_if_there(path: &Path) -> Result<(), OpenError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(OpenError::io(path, "cannot be removed", error))
        }
        _ => Ok(()),
    }
}

/// The caller's knowledge about other users of a log, before it is opened for writing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Claim {
    /// No knowledge: the log is refused if another machine has it open or did not close it.
    #[default]
    Cautious,
    /// The operator's word that no other machine has the log open.
    TakeOver,
    /// Another connection of this process has the log open, or had, and made the checks.
    Settled,
}

/// A log that is open for writing.
pub(crate) struct Writing {
    pub(crate) connection: Connection,
    pub(crate) files: LogFiles,
    /// The run of the write-ahead log whose row the file itself is known to have.
    pub(crate) in_file: Option<RunId>,
}

/// Opens a log for writing and brings its schema up to date. Never makes a log. `path` must have no symbolic links.
pub(crate) fn open_writer(path: &Path, durability: Durability, claim: Claim) -> Result<Writing, OpenError> {
    // None of these checks opens a readable descriptor of the file: to close one would give up the locks that SQLite
    // holds on the file for this process.
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
    // Only now: on an overlay file system, opening a file for writing replaces it by a copy with another inode.
    let identity =
        FileIdentity::at(path).map_err(|error| OpenError::io(path, "cannot be examined", error))?;
    // Until the file and its write-ahead log are known to belong together, nothing may be moved from one into the
    // other.
    at_close(&connection, AtClose::LeaveAsItIs).map_err(sqlite)?;
    configure(&connection).map_err(sqlite)?;
    let maker = match claim {
        Claim::Cautious | Claim::TakeOver => MAKER_TIMEOUT,
        Claim::Settled => MAKER_TIMEOUT_AGAIN,
    };
    look(&connection, maker).map_err(|source| match is_about_files_beside(&source) {
        true => OpenError::ReadOnlyFolder { path: path.to_owned(), source: source.into() },
        false => sqlite(source),
    })?;
    // `identity` is that of the file at the path. This shows that the same file is open.
    if vfs::has_moved(&connection) {
        return Err(OpenError::Replaced { path: path.to_owned() });
    }
    let Together { generation, in_file } = require_together(&connection, file.as_ref(), path)?;
    if claim == Claim::Cautious && generation.is_some_and(|generation| is_of_another_machine(&generation)) {
        return Err(OpenError::OtherMachine { path: path.to_owned() });
    }
    drop(file);
    // The file and its write-ahead log belong together. The last connection to close may checkpoint.
    at_close(&connection, AtClose::Checkpoint).map_err(sqlite)?;
    let found = check_version(&connection, path)?;
    // A file with an older schema lacks some of the tables. They are checked after the migration below.
    if found == schema::version() {
        require_own_tables(&connection, path)?;
    }
    let journal_mode: String =
        connection.pragma_query_value(None, "journal_mode", |row| row.get(0)).map_err(sqlite)?;
    // A copy is a single file until it is first opened for appending. The change to WAL mode happens under the write
    // lock, so that no process that has the file open closes it meanwhile.
    let write_lock = (journal_mode != "wal").then(|| WriteLock::open(path)).transpose()?;
    let guard = write_lock.as_ref().map(|write_lock| write_lock.take(Who::Writer)).transpose();
    let _guard = guard.map_err(|error| OpenError::io(path, "its lock file cannot be locked", error))?;
    begin_wal(&connection, path)?;
    // No commit depends on a checkpoint: `log::checkpoint` makes them after commits, or when nothing else is to be
    // done.
    connection.pragma_update(None, "wal_autocheckpoint", 0).map_err(sqlite)?;
    // Text that was overwritten, moved or deleted before its redaction must not stay in free pages, where no
    // redaction would find it.
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
        // Read again inside the transaction: another process may have migrated the file meanwhile.
        let found = check_version(&tx, path)?;
        schema::migrate(&tx, found).map_err(sqlite)?;
        tx.commit().map_err(sqlite)?;
        require_own_tables(&connection, path)?;
    }
    // This reads whole tables. It is left out if the log was open already, because callers wait meanwhile.
    if claim != Claim::Settled {
        require_short_values(&connection, path)?;
    }
    // A file that had no write-ahead log gets one at this read, so that the look below finds it.
    look(&connection, maker).map_err(sqlite)?;
    let files = LogFiles::of(identity, path)?;
    // The files were looked at one after the other. A second look shows that none was replaced in between, and that
    // the database is still the one that was opened.
    files.require_at(path)?;
    Ok(Writing { connection, files, in_file })
}

fn is_of_another_machine(generation: &Generation) -> bool {
    let here = generation::machine();
    // An empty id stands for a machine that is not known, and proves nothing.
    generation.in_use == Use::Open
        && ![generation.machine.as_str(), here].contains(&"")
        && generation.machine != here
}

/// Switches a file without a write-ahead log to WAL mode. SQLite itself does not wait for readers here, so the
/// attempt is repeated for up to [`BUSY_TIMEOUT`].
fn begin_wal(connection: &Connection, path: &Path) -> Result<(), OpenError> {
    let deadline = Instant::now() + BUSY_TIMEOUT;
    // The change writes only within the file's first sector, so a crash leaves it done or not done. With a journal, a
    // process that is killed here would leave one behind, and nobody rolls one back.
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
