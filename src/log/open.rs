//! Connections to the file: each with the settings of its use, and only to files that are logs.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rusqlite::config::DbConfig;
use rusqlite::limits::Limit;
use rusqlite::{Connection, ErrorCode, MAIN_DB, OpenFlags};

pub use super::error::OpenError;
use super::generation::{self, Fit, Generation, RunId, Use};
use super::identity::{FileIdentity, LogFiles};
use super::own_tables::{require_own_tables, require_short_values};
pub(crate) use super::reading::{Reading, open_reader, open_reading};
use super::turns::{Turns, Who};
use super::{create, schema, vfs};
use crate::limits::{COLUMN_BYTES_MAX, WAL_BYTES_KEEP};
use crate::new_file;

/// The first SQLite that cannot corrupt a WAL which two connections write to.
const SQLITE_VERSION_MIN: i32 = 3_051_003;

/// The smallest page that a database can have, and so the smallest database.
const PAGE_BYTES_LEAST: u64 = 512;

/// How long SQLite itself waits for others before it says that the file is busy.
pub(super) const BUSY_TIMEOUT: Duration = Duration::from_secs(10);

/// How long somebody who makes the write-ahead log at this moment, or is about to let go of one that was
/// removed, is waited for. SQLite makes one in less than a millisecond, and longer on a machine that is busy.
pub(super) const MAKER_PATIENCE: Duration = Duration::from_secs(3);

/// The same where the log was open already: the next attempt comes soon, and callers wait meanwhile.
const MAKER_PATIENCE_AGAIN: Duration = Duration::from_millis(200);

/// Between two attempts at what SQLite itself does not wait for.
const BUSY_PAUSE: Duration = Duration::from_millis(5);

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

/// Keeps a connection from values and rows that no Annals writes, before they are in memory. Every connection has
/// the same bound, so that what one can write the others can read.
pub(crate) fn bound_columns(connection: &Connection) -> rusqlite::Result<()> {
    let bytes = i32::try_from(COLUMN_BYTES_MAX).unwrap_or(i32::MAX);
    connection.set_limit(Limit::SQLITE_LIMIT_LENGTH, bytes).map(drop)
}

/// Opens a connection. Where SQLite only says that it cannot, the system says why.
///
/// The path has no symbolic links: they were followed once, and what is put there later is not followed.
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
            // What was in the way is gone already. To close the file now would give up locks.
            std::mem::forget(file);
            OpenError::sqlite(path, "cannot be opened", source)
        }
    })
}

/// Refuses a file that is not a log, or a newer one, by what stands in the file itself. SQLite would
/// recover a write-ahead log or roll back a journal that lies beside it as soon as it reads it in
/// earnest, and other programs' files are not ours to change. None where the file alone cannot be read.
pub(super) fn refuse_foreign(path: &Path) -> Result<Option<Connection>, OpenError> {
    let connection = alone(path)?;
    match require_log(&connection, path) {
        Ok(_) => Ok(Some(connection)),
        // A log of which pages are still in the write-ahead log can look damaged.
        Err(OpenError::Sqlite { .. }) => Ok(None),
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

/// Opens the file without what lies beside it, as one that nobody changes.
pub(super) fn alone(path: &Path) -> Result<Connection, OpenError> {
    connect(path, "&immutable=1", OpenFlags::SQLITE_OPEN_READ_ONLY)
}

/// What the write-ahead log and the file say of each other.
pub(super) struct Together {
    pub(super) generation: Option<Generation>,
    /// The row that the file itself is known to have.
    in_file: Option<RunId>,
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

/// Makes the first look at a file. Whoever makes files beside it at this moment is waited for.
pub(super) fn look(connection: &Connection, maker: Duration) -> rusqlite::Result<()> {
    // SQLite would wait for all kinds of busy alike.
    connection.busy_timeout(Duration::ZERO)?;
    let began = Instant::now();
    loop {
        let looked = connection.query_row("SELECT count(*) FROM sqlite_schema", [], |_| Ok(()));
        let Err(error) = looked else { return connection.busy_timeout(BUSY_TIMEOUT) };
        let patience = match error.sqlite_error() {
            Some(error) if error.extended_code == vfs::OPEN_ELSEWHERE => maker,
            Some(error) if error.code == ErrorCode::DatabaseBusy => BUSY_TIMEOUT,
            // Pages are missing where the memory speaks of another write-ahead log than this one.
            _ if !vfs::wal_is_that_of_memory(connection) => return Err(vfs::open_elsewhere()),
            _ => return Err(error),
        };
        if began.elapsed() >= patience {
            return Err(error);
        }
        std::thread::sleep(BUSY_PAUSE);
    }
}

/// Whether a connection moves the write-ahead log into the file when it is the last to close.
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

/// Asserts that the SQLite library is one that keeps a WAL whole.
pub(super) fn require_sqlite() -> Result<(), OpenError> {
    if rusqlite::version_number() < SQLITE_VERSION_MIN {
        return Err(OpenError::OldSqlite { found: rusqlite::version() });
    }
    Ok(())
}

/// Settings that every connection has. `schema.sql` and user views are not trusted to be harmless,
/// and orphans are legal: children arrive before their parents.
pub(super) fn configure(connection: &Connection) -> rusqlite::Result<()> {
    connection.set_prepared_statement_cache_capacity(128);
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_TRUSTED_SCHEMA, false)?;
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_FKEY, false)?;
    connection.pragma_update(None, "recursive_triggers", true)?;
    connection.pragma_update(None, "cell_size_check", true)
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

/// Whether SQLite has the file itself open, and cannot open or make those beside it.
pub(super) fn is_about_files_beside(error: &rusqlite::Error) -> bool {
    let is_journal = error.sqlite_error().is_some_and(|error| {
        [vfs::HOT_JOURNAL, rusqlite::ffi::SQLITE_READONLY_ROLLBACK].contains(&error.extended_code)
    });
    !is_journal && matches!(error.sqlite_error_code(), Some(ErrorCode::CannotOpen | ErrorCode::ReadOnly))
}

/// A path as a URI for SQLite, with every character that a URI or SQLite would take for something
/// else escaped.
pub(crate) fn uri(path: &Path, query: &str) -> String {
    use std::fmt::Write as _;
    // What follows two slashes would be a host; and a relative name can mean something else to SQLite,
    // such as a database in memory.
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

/// The path of the file that symbolic links lead to: the files beside it are named after that.
pub(crate) fn resolved(path: &Path) -> Result<PathBuf, OpenError> {
    match fs::canonicalize(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Err(missing(path)),
        resolved => resolved.map_err(|error| OpenError::io(path, "cannot be looked at", error)),
    }
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
    for entry in fs::read_dir(create::folder_of(path)).map_err(looked)? {
        let entry = entry.map_err(looked)?;
        if !create::is_name_in_the_making(own, &entry.file_name()) {
            continue;
        }
        // One that is gone by now needs nothing more.
        for name in [entry.path(), new_file::unfinished_file(&entry.path())] {
            let is_this =
                fs::symlink_metadata(&name).is_ok_and(|metadata| FileIdentity::of(&metadata) == database);
            if is_this {
                create::remove_if_there(&name)?;
            }
        }
    }
    Ok(())
}

/// The path of a file that lies beside the log and is named after it.
pub(crate) fn side_file(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(ending);
    PathBuf::from(name)
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
        true => OpenError::ReadOnlyFolder { path: path.to_owned(), source },
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

/// Sets how many pages a connection keeps, in kibibytes. SQLite's own two megabytes are less than many a
/// transaction changes.
pub(crate) fn keep_pages(connection: &Connection, kibibytes: i32) -> rusqlite::Result<()> {
    // A negative number is a size, not a count of pages (https://sqlite.org/pragma.html#pragma_cache_size).
    connection.pragma_update(None, "cache_size", -kibibytes)
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
