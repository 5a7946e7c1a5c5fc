//! Creation of a new log: whole, or not at all.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;

use rusqlite::{Connection, OpenFlags};

use super::connect::uri;
use super::error::OpenError;
use super::rows::Insert;
use super::schema;
use crate::event::{Continues, Digest, Event, EventId, LogCreated, Seq, Timestamp};
use crate::file::{folder_of, side_file};
use crate::limits::ORIGIN_BYTES_MAX;
use crate::new_file::{self, NewFile, NewFileError};
use crate::prepare::{Parts, salt};

/// Name and version of this program, as logs record it.
const SOFTWARE: &str = concat!("annals ", env!("CARGO_PKG_VERSION"));

/// Returns whether a text can be the first line of a checkpoint.
fn is_origin(origin: &str) -> bool {
    (1..=ORIGIN_BYTES_MAX).contains(&origin.len())
        && !origin.chars().any(|c| c.is_whitespace() || c.is_control() || c == '+')
}

/// The content of a new log's first event, and its time.
pub(crate) struct First<'a> {
    pub(crate) origin: Option<&'a str>,
    pub(crate) continues: Option<Continues>,
    pub(crate) now: Timestamp,
}

/// Makes a log at `path`, unless something is there already.
///
/// The log is written in full under another name and then put in its place, so that nobody ever sees half a log. If
/// another process was faster, its log stays, and the caller opens that one. `install` makes the tables that the
/// log's readers keep in it.
pub(crate) fn create(
    path: &Path,
    first: First<'_>,
    install: &dyn Fn(&Connection) -> rusqlite::Result<()>,
) -> Result<(), OpenError> {
    if let Some(origin) = first.origin.filter(|origin| !is_origin(origin)) {
        return Err(OpenError::Origin { origin: origin.to_owned() });
    }
    new_file::refuse_url(path)?;
    refuse_left_wal(path)?;
    let folder = folder_of(path);
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(&folder)
        .map_err(|error| OpenError::io(&folder, "cannot be created", error))?;
    let new = NewFile::begin(path)?;
    write_whole(&new.path(), EventId::generate(), first, install)?;
    match new.place() {
        // Another process was faster. Its log is whole, because it was put in its place in the same way.
        Err(NewFileError::Exists { .. }) => Ok(()),
        placed => Ok(placed?),
    }
}

/// Refuses a write-ahead log without its log: SQLite would apply it to any file that is made beside it.
fn refuse_left_wal(path: &Path) -> Result<(), OpenError> {
    let wal = side_file(path, "-wal");
    let bytes = |path: &Path| match fs::metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        metadata => metadata
            .map(|metadata| Some(metadata.len()))
            .map_err(|error| OpenError::io(path, "cannot be examined", error)),
    };
    // The order matters: a process that is making the log makes the file before its write-ahead log. An empty
    // write-ahead log, as readers leave it, holds nothing.
    if bytes(&wal)?.is_some_and(|bytes| bytes > 0) && bytes(path)?.is_none() {
        return Err(OpenError::LeftWal { wal });
    }
    Ok(())
}

fn write_whole(
    path: &Path,
    log_id: EventId,
    first: First<'_>,
    install: &dyn Fn(&Connection) -> rusqlite::Result<()>,
) -> Result<(), OpenError> {
    let io = |error| OpenError::io(path, "cannot be created", error);
    let sqlite = |source| OpenError::sqlite(path, "cannot be created", source);
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let mut connection =
        Connection::open_with_flags(uri(path, ""), flags | OpenFlags::SQLITE_OPEN_URI).map_err(sqlite)?;
    // Only a database without tables takes another page size.
    connection.pragma_update(None, "page_size", schema::PAGE_BYTES).map_err(sqlite)?;
    connection.pragma_update(None, "application_id", schema::APPLICATION_ID).map_err(sqlite)?;
    connection.pragma_update(None, "synchronous", "FULL").map_err(sqlite)?;
    let tx = connection.transaction().map_err(sqlite)?;
    schema::migrate(&tx, 0).map_err(sqlite)?;
    install(&tx).map_err(sqlite)?;
    append_first(&tx, log_id, first).map_err(|error| OpenError::io(path, "cannot be created", error))?;
    tx.commit().map_err(sqlite)?;
    // Last: everything is committed to the file itself, so the log needs no write-ahead log when it is put in its
    // place.
    connection.pragma_update(None, "journal_mode", "WAL").map_err(sqlite)?;
    connection.close().map_err(|(_, source)| sqlite(source))?;
    File::open(path).and_then(|file| file.sync_all()).map_err(io)
}

fn append_first(connection: &Connection, log_id: EventId, first: First<'_>) -> io::Result<()> {
    let First { origin, continues, now } = first;
    let created = Event::LogCreated(LogCreated {
        origin: origin.map_or_else(|| format!("annals.internal/{log_id}"), str::to_owned),
        software: SOFTWARE.to_owned(),
        continues,
    });
    let parts = Parts { event_id: log_id, session: None, occurred_at: Some(now), principal: None };
    let prepared = parts.with_payload(&created, salt()).map_err(io::Error::other)?;
    let mut entry = Vec::new();
    let link = prepared.seal(&Digest::ZERO, Seq::FIRST, now, &mut entry).map_err(io::Error::other)?;
    let mut insert = Insert::new(connection).map_err(io::Error::other)?;
    insert.row(Seq::FIRST, &prepared, &entry, &link).map_err(io::Error::other)
}
