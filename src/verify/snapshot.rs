//! Several connections that see one moment of the log.
//!
//! SQLite has each connection see the file as it was when its transaction began, and no two transactions
//! begin at once. But nothing in a row ever changes, except that a redaction takes its payload away, and
//! with it appends an event that says so. So a connection that began later sees the same rows up to the
//! first one's last event, unless one of the events after that is a redaction.

use std::path::Path;

use rusqlite::{Connection, OptionalExtension};

use super::entry_ref::EntryRef;
use super::walk::RUN_ROWS;
use crate::event::Kind;
use crate::file::FileIdentity;
use crate::log::{self, Head, rows, schema};

/// Logs with fewer rows are read by one connection: it is done before others are open.
const ROWS_SHARED: u64 = 2 * RUN_ROWS;

/// Attempts at a moment that every connection sees, before one is left to read alone. Redactions are
/// rare, and the connections begin within a few milliseconds.
const ATTEMPTS: u32 = 8;

/// Settings that every connection of a verification has, so that none says anything else than another.
pub(super) fn configure(connection: &Connection) -> rusqlite::Result<()> {
    // Temporary tables are written, the file cannot be: it is opened for reading alone.
    connection.pragma_update(None, "query_only", false)?;
    // SQLite makes this check of a page once, so that it would depend on what was read before which rows
    // are given. Every row is judged as it is given, and the pages apart from that.
    connection.pragma_update(None, "cell_size_check", false)
}

/// Begins a transaction, and opens other connections that see the same moment of the log: one for each thread
/// but the first, and one at least. There are none where the log is too short for them, or they do not
/// come to see the same.
///
/// # Errors
/// If the transaction cannot be begun.
pub(super) fn begin(
    path: &Path,
    file: Option<FileIdentity>,
    connection: &Connection,
    threads: usize,
) -> rusqlite::Result<Vec<Connection>> {
    for _ in 0..ATTEMPTS {
        connection.execute_batch("BEGIN")?;
        // What keeps it from being read is said where it is read. The file may have changed since it was opened.
        let is_table = schema::has_table(connection, "log")?;
        let head = is_table
            .then(|| rows::head(connection).ok())
            .flatten()
            .filter(|head| head.seq.get() >= ROWS_SHARED);
        let Some(head) = head else { return Ok(Vec::new()) };
        // With fewer runs than threads some would have nothing to do.
        let runs = usize::try_from(head.seq.get() / RUN_ROWS).unwrap_or(usize::MAX);
        let count = threads.min(runs).saturating_sub(1).max(1);
        let Some(others) = others(path, head, count) else { return Ok(Vec::new()) };
        let is_same_file = file.is_some() && FileIdentity::behind(path).ok() == file;
        if let Some(others) = others.into_iter().collect::<Option<Vec<_>>>().filter(|_| is_same_file) {
            return Ok(others);
        }
        connection.execute_batch("ROLLBACK")?;
    }
    connection.execute_batch("BEGIN")?;
    Ok(Vec::new())
}

/// Opens connections; None for each that sees another moment, and for all if one cannot be opened.
fn others(path: &Path, head: Head, count: usize) -> Option<Vec<Option<Connection>>> {
    (0..count)
        .map(|_| {
            let other = log::open_reader(path).ok()?;
            configure(&other).ok()?;
            let is_same = sees_the_same(&other, head).ok()?;
            Some(is_same.then_some(other))
        })
        .collect()
}

fn sees_the_same(other: &Connection, head: Head) -> rusqlite::Result<bool> {
    other.execute_batch("BEGIN")?;
    if !schema::has_table(other, "log")? {
        return Ok(false);
    }
    let hash: Option<Vec<u8>> = other
        .query_row("SELECT hash FROM log WHERE seq = ?1", [head.seq.to_sql()], |row| row.get(0))
        .optional()?;
    if hash.as_deref() != Some(head.hash.bytes()) {
        return Ok(false);
    }
    let mut statement = other.prepare("SELECT entry FROM log NOT INDEXED WHERE seq > ?1")?;
    let mut rows = statement.query([head.seq.to_sql()])?;
    while let Some(row) = rows.next()? {
        let entry = EntryRef::read(row.get_ref(0)?.as_blob()?);
        if entry.is_ok_and(|entry| entry.kind != Kind::PayloadRedacted.code()) {
            continue;
        }
        return Ok(false);
    }
    Ok(true)
}
