//! Several connections that see one moment of the log.
//!
//! A connection to SQLite sees the file as it was when its transaction began, and no two transactions begin
//! at once. But a row never changes, except by a redaction, which erases its payload and appends an event
//! that records the erasure. So a connection that began later sees the same rows up to the first connection's
//! last event, unless one of the events after that is a redaction.

use std::path::Path;

use rusqlite::{Connection, OptionalExtension};

use super::entry_ref::EntryRef;
use super::walk::RUN_ROWS;
use crate::event::Kind;
use crate::file::FileIdentity;
use crate::log::{self, Head, rows, schema};

/// Fewest rows of a log for which other connections are opened. One connection has read a shorter log before
/// others are open.
const ROWS_SHARED: u64 = 2 * RUN_ROWS;

/// Most attempts to find a moment that every connection sees. After them one connection reads alone.
/// Redactions are rare, and the connections begin within a few milliseconds.
const ATTEMPTS: u32 = 8;

/// Makes the settings of a connection. All connections of a verification have the same, so that none gives
/// other rows than another.
pub(super) fn configure(connection: &Connection) -> rusqlite::Result<()> {
    // Temporary tables must be writable. The file is not, because it is opened for reading alone.
    connection.pragma_update(None, "query_only", false)?;
    // SQLite makes this check only when it first reads a page, so earlier reads would decide which rows it
    // gives. Here every row is judged as it is given, and the pages are checked apart from that.
    connection.pragma_update(None, "cell_size_check", false)
}

/// Begins a transaction, and opens other connections that see the same moment of the log: one for each thread
/// except the first, and at least one. Opens none if the log is too short for them, or if they do not come to
/// see the same moment.
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
        // The file may have changed since it was opened, so the table is looked for again. An error of
        // reading it is not reported here, but where the log is walked.
        let is_table = schema::has_table(connection, "log")?;
        let head = is_table
            .then(|| rows::head(connection).ok())
            .flatten()
            .filter(|head| head.seq.get() >= ROWS_SHARED);
        let Some(head) = head else { return Ok(Vec::new()) };
        // With fewer runs than threads, some threads would have nothing to do.
        let runs = usize::try_from(head.seq.get() / RUN_ROWS).unwrap_or(usize::MAX);
        let count = threads.min(runs).saturating_sub(1).max(1);
        let Some(others) = others(path, head, count) else { return Ok(Vec::new()) };
        // The others opened the file by its path, where another file may stand by now.
        let is_same_file = file.is_some() && FileIdentity::behind(path).ok() == file;
        if let Some(others) = others.into_iter().collect::<Option<Vec<_>>>().filter(|_| is_same_file) {
            return Ok(others);
        }
        // This connection begins anew too, so that it also sees the redaction that the others have seen.
        connection.execute_batch("ROLLBACK")?;
    }
    connection.execute_batch("BEGIN")?;
    Ok(Vec::new())
}

/// Opens connections. An item is None if its connection sees another moment. The result is None if one of
/// them cannot be opened.
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
    // The link covers every entry before it. If it is the same, the chain up to this event is the same.
    let hash: Option<Vec<u8>> = other
        .query_row("SELECT hash FROM log WHERE seq = ?1", [head.seq.to_sql()], |row| row.get(0))
        .optional()?;
    if hash.as_deref() != Some(head.hash.bytes()) {
        return Ok(false);
    }
    // Links do not show whether a payload was erased since. But every erasure appends a redaction, which is
    // one of the events after the head. An entry that cannot be read counts as a redaction.
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
