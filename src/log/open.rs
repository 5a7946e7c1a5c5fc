//! Connections to the file: each with the settings of its use, and only to files that are logs.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rusqlite::config::DbConfig;
use rusqlite::limits::Limit;
use rusqlite::{Connection, ErrorCode, MAIN_DB, OpenFlags};

use super::identity::{FileIdentity, LogFiles};
use super::turns::{Turns, Who};
use super::{create, schema};
use crate::event::Seq;
use crate::limits::{COLUMN_BYTES_MAX, WAL_BYTES_KEEP};
use crate::new_file::{self, NewFileError};

/// The first SQLite that cannot corrupt a WAL which two connections write to.
const SQLITE_VERSION_MIN: i32 = 3_051_003;

/// The smallest page that a database can have, and so the smallest database.
const PAGE_BYTES_LEAST: u64 = 512;

/// How long SQLite itself waits for others before it says that the file is busy.
pub(super) const BUSY_TIMEOUT: Duration = Duration::from_secs(10);

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

/// A file that cannot be opened as a log, and what to do about it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// There is nothing at that path.
    #[error("{}: there is no such file", path.display())]
    Missing {
        /// The path.
        path: PathBuf,
    },
    /// It is a symbolic link that leads nowhere.
    #[error("{}: is a symbolic link to {}, where there is no file; put the log back there, or remove the link", path.display(), target.display())]
    DanglingLink {
        /// The link.
        path: PathBuf,
        /// Where it leads.
        target: PathBuf,
    },
    /// It is a folder.
    #[error("{}: is a folder; name the file in it", path.display())]
    Folder {
        /// The path.
        path: PathBuf,
    },
    /// It has no bytes.
    #[error("{}: is empty, which no log ever is; delete it, or name another file", path.display())]
    Empty {
        /// The path.
        path: PathBuf,
    },
    /// It is not an SQLite database.
    #[error("{}: is not an SQLite database", path.display())]
    NotADatabase {
        /// The path.
        path: PathBuf,
    },
    /// It is an SQLite database of some other program.
    #[error("{}: is an SQLite database, but not a log of Annals (its application_id is {application_id})", path.display())]
    NotALog {
        /// The path.
        path: PathBuf,
        /// What it says it is.
        application_id: i32,
    },
    /// A newer Annals made it.
    #[error("{}: has schema version {found}, this version of Annals knows {known}; use a newer one", path.display())]
    NewerSchema {
        /// The path.
        path: PathBuf,
        /// Its version.
        found: i32,
        /// Ours.
        known: i32,
    },
    /// The table of events is not what Annals made.
    #[error("{}: is damaged: {what}", path.display())]
    Damaged {
        /// The path.
        path: PathBuf,
        /// What is wrong.
        what: String,
    },
    /// Its folder cannot be written, and a write-ahead log lies beside it.
    #[error("{}: has a write-ahead log beside it, which cannot be read in a folder without write permission; copy the file and its -wal to a folder of your own", path.display())]
    WalInReadOnlyFolder {
        /// The path.
        path: PathBuf,
    },
    /// The log was taken away, and its write-ahead log was not.
    #[error("{}: belongs to a log that is no longer there, and may hold its last events; move it to where that log is now, or delete it", wal.display())]
    LeftWal {
        /// The write-ahead log.
        wal: PathBuf,
    },
    /// It is not the file that was opened.
    #[error("{}: another file took its place; close the log, put the right file there, and open it again", path.display())]
    Replaced {
        /// The path.
        path: PathBuf,
    },
    /// The symbolic link by which it was named leads elsewhere.
    #[error("{}: leads to another file than `{}` by now; close the log and open it again", link.display(), path.display())]
    LinkMoved {
        /// The link.
        link: PathBuf,
        /// The file that it led to.
        path: PathBuf,
    },
    /// The write-ahead log, or the memory beside it, is not the one that is in use.
    #[error("{}: was removed or replaced while the log is open; leave the files beside a log alone, and end every program that has it open: what they recorded is then in the log's file", file.display())]
    WalReplaced {
        /// The file that was removed or replaced.
        file: PathBuf,
    },
    /// It lacks an event that was read or acknowledged before.
    #[error("{}: no longer has event {seq}, which it had before: it was cut off, or an older copy was written over it; close the log, put the right file there, and open it again", path.display())]
    CutOff {
        /// The path.
        path: PathBuf,
        /// The event.
        seq: Seq,
    },
    /// It may be read, and not written.
    #[error("{}: may only be read; append as a user who may write it, or change its permissions", path.display())]
    ReadOnly {
        /// The path.
        path: PathBuf,
    },
    /// The files beside it cannot be made or opened.
    #[error("{}: the files that appending makes beside it cannot be opened; make its folder writable ({source})", path.display())]
    ReadOnlyFolder {
        /// The path.
        path: PathBuf,
        /// What SQLite says.
        source: rusqlite::Error,
    },
    /// The file system has no memory that processes can share.
    #[error("{}: cannot have a write-ahead log (its journal mode stays `{journal_mode}`); keep it on a local file system", path.display())]
    NoWal {
        /// The path.
        path: PathBuf,
        /// What SQLite says.
        journal_mode: String,
    },
    /// It has several names.
    #[error("{}: has several names (hard links), and could be written through one without the others; leave it one", path.display())]
    SeveralNames {
        /// The path.
        path: PathBuf,
    },
    /// The origin cannot be the first line of a checkpoint.
    #[error(
        "the origin `{origin}` cannot be used: it has 1 to 255 bytes, no space, no `+`, no control characters"
    )]
    Origin {
        /// The origin.
        origin: String,
    },
    /// The SQLite library is too old.
    #[error(
        "the SQLite library is {found}; before 3.51.3 it can corrupt a log that two connections write to"
    )]
    OldSqlite {
        /// Its version.
        found: &'static str,
    },
    /// It cannot be made.
    #[error(transparent)]
    New(#[from] NewFileError),
    /// The system refused.
    #[error("{}: {doing}: {source}", path.display())]
    Io {
        /// The path.
        path: PathBuf,
        /// What was tried.
        doing: &'static str,
        /// Why not.
        source: io::Error,
    },
    /// SQLite refused.
    #[error("{}: {doing}: {source}", path.display())]
    Sqlite {
        /// The path.
        path: PathBuf,
        /// What was tried.
        doing: &'static str,
        /// Why not.
        source: rusqlite::Error,
    },
}

impl OpenError {
    pub(crate) fn io(path: &Path, doing: &'static str, source: io::Error) -> OpenError {
        OpenError::Io { path: path.to_owned(), doing, source }
    }

    pub(crate) fn sqlite(path: &Path, doing: &'static str, source: rusqlite::Error) -> OpenError {
        match source.sqlite_error_code() {
            Some(ErrorCode::NotADatabase) => OpenError::NotADatabase { path: path.to_owned() },
            _ => OpenError::Sqlite { path: path.to_owned(), doing, source },
        }
    }
}

/// Refuses what is certainly no log before SQLite sees it, so that the message can say why.
///
/// It opens nothing: SQLite's locks are those of the process, and closing any descriptor of the file
/// gives up the locks of every connection that the process has. Another process would then take the
/// write-ahead log away under them.
fn inspect(path: &Path) -> Result<FileIdentity, OpenError> {
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
fn connect(path: &Path, uri: &str, flags: OpenFlags) -> Result<Connection, OpenError> {
    let flags = flags | OpenFlags::SQLITE_OPEN_NO_MUTEX | OpenFlags::SQLITE_OPEN_URI;
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
/// earnest, and other programs' files are not ours to change.
fn refuse_foreign(path: &Path) -> Result<(), OpenError> {
    let connection = connect(path, &uri(path, "?immutable=1"), OpenFlags::SQLITE_OPEN_READ_ONLY)?;
    match check_version(&connection, path) {
        // A log of which pages are still in the write-ahead log can look damaged.
        Ok(_) | Err(OpenError::Sqlite { .. }) => Ok(()),
        Err(error) => Err(error),
    }
}

/// Asserts that the SQLite library is one that keeps a WAL whole.
fn require_sqlite() -> Result<(), OpenError> {
    if rusqlite::version_number() < SQLITE_VERSION_MIN {
        return Err(OpenError::OldSqlite { found: rusqlite::version() });
    }
    Ok(())
}

/// Settings that every connection has. `schema.sql` and user views are not trusted to be harmless,
/// and orphans are legal: children arrive before their parents.
fn configure(connection: &Connection) -> rusqlite::Result<()> {
    connection.set_prepared_statement_cache_capacity(128);
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_TRUSTED_SCHEMA, false)?;
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_FKEY, false)?;
    connection.pragma_update(None, "recursive_triggers", true)?;
    connection.pragma_update(None, "cell_size_check", true)
}

fn check_version(connection: &Connection, path: &Path) -> Result<i32, OpenError> {
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

/// Opens a log for reading. Nothing can be written through the connection.
///
/// In a folder without write permission, where SQLite cannot make the files that it shares with
/// writers, a log without a write-ahead log is read as a file that nobody changes.
pub(crate) fn open_reader(path: &Path) -> Result<Connection, OpenError> {
    require_sqlite()?;
    inspect(path)?;
    let path = &resolved(path)?;
    let sqlite = |source| OpenError::sqlite(path, "cannot be opened for reading", source);
    refuse_foreign(path)?;
    let connection = connect(path, &uri(path, ""), OpenFlags::SQLITE_OPEN_READ_ONLY)?;
    let connection = match begin_reading(&connection) {
        Ok(()) => connection,
        Err(error) if is_about_files_beside(&error) => {
            let wal = side_file(path, "-wal");
            if fs::metadata(&wal).is_ok_and(|metadata| metadata.len() > 0) {
                return Err(OpenError::WalInReadOnlyFolder { path: path.to_owned() });
            }
            let connection = connect(path, &uri(path, "?immutable=1"), OpenFlags::SQLITE_OPEN_READ_ONLY)?;
            begin_reading(&connection).map_err(sqlite)?;
            connection
        }
        Err(error) => return Err(sqlite(error)),
    };
    check_version(&connection, path)?;
    Ok(connection)
}

/// Whether SQLite has the file itself open, and cannot open or make those beside it.
fn is_about_files_beside(error: &rusqlite::Error) -> bool {
    matches!(error.sqlite_error_code(), Some(ErrorCode::CannotOpen | ErrorCode::ReadOnly))
}

fn begin_reading(connection: &Connection) -> rusqlite::Result<()> {
    connection.busy_timeout(BUSY_TIMEOUT)?;
    configure(connection)?;
    connection.pragma_update(None, "query_only", true)?;
    // The first look at the file: only now does SQLite open the write-ahead log.
    connection.query_row("SELECT count(*) FROM sqlite_schema", [], |_| Ok(()))
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

/// Opens a log for writing, and brings its schema up to date. It never makes one.
pub(crate) fn open_writer(path: &Path, durability: Durability) -> Result<(Connection, LogFiles), OpenError> {
    require_sqlite()?;
    let identity = inspect(path)?;
    require_one_name(path)?;
    let sqlite = |source| OpenError::sqlite(path, "cannot be opened for writing", source);
    refuse_foreign(path)?;
    let mut connection = connect(path, &uri(path, ""), OpenFlags::SQLITE_OPEN_READ_WRITE)?;
    if connection.is_readonly(MAIN_DB).map_err(sqlite)? {
        return Err(OpenError::ReadOnly { path: path.to_owned() });
    }
    connection.busy_timeout(BUSY_TIMEOUT).map_err(sqlite)?;
    configure(&connection).map_err(sqlite)?;
    let found = check_version(&connection, path).map_err(|error| match error {
        OpenError::Sqlite { source, .. } if is_about_files_beside(&source) => {
            OpenError::ReadOnlyFolder { path: path.to_owned(), source }
        }
        error => error,
    })?;
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
    // A file that was none before has a write-ahead log from the first look at it on.
    connection.query_row("SELECT count(*) FROM sqlite_schema", [], |_| Ok(())).map_err(sqlite)?;
    let files = LogFiles::of(identity, path)?;
    files.require_at(path)?;
    Ok((connection, files))
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

/// Refuses to write to a file whose tables or guard rails were altered or removed.
fn require_own_tables(connection: &Connection, path: &Path) -> Result<(), OpenError> {
    let sqlite = |source| OpenError::sqlite(path, "its schema cannot be read", source);
    let found = schema::objects(connection).map_err(sqlite)?;
    for expected in schema::expected_objects(schema::version()).map_err(sqlite)? {
        if !found.contains(&expected) {
            let what = match found.iter().any(|object| object.name == expected.name) {
                true => format!("the {} `{}` was altered", expected.kind, expected.name),
                false => format!("the {} `{}` is missing", expected.kind, expected.name),
            };
            return Err(OpenError::Damaged { path: path.to_owned(), what });
        }
    }
    Ok(())
}
