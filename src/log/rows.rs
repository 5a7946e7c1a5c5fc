//! Rows of the log: one way to write them, and one way to read them.
//!
//! Reads along the keys are `NOT INDEXED`. Anybody may make an index with all columns, and SQLite would take the rows
//! from there if the file's statistics claim that it is smaller than the table. A verifier must see what others see.

use std::ops::RangeInclusive;

use rusqlite::{CachedStatement, Connection, OptionalExtension, Row, params};

use crate::encoding::DecodeError;
use crate::entry::Entry;
use crate::event::{Content, Digest, EventId, PayloadError, Recorded, Seq, Strictness};
use crate::limits::{NOTE_BYTES_MAX, REFERRED_BYTES_MIN, SHOWN_BYTES_MAX};
use crate::prepare::{Prepared, without_salt};
use crate::storage::{StorageError, from_sqlite};

/// A position or a size as an SQLite integer. Both count rows, so they stay below 2^63.
pub(crate) fn to_sql(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// A column of text in a query that shows it. A value that is too long is not read; its size stands in its place.
pub(crate) fn shown_column(column: &str) -> String {
    format!(
        "CASE WHEN octet_length({column}) > {SHOWN_BYTES_MAX} \
         THEN '(' || octet_length({column}) || ' bytes, not shown)' ELSE {column} END"
    )
}

/// A bounded column in a query. A value of more bytes is not read; NULL stands in its place.
pub(crate) fn bounded(column: &str, bytes: usize) -> String {
    format!("CASE WHEN octet_length({column}) <= {bytes} THEN {column} END")
}

/// A column of integers in a query. Somebody may have made the table hold other values meanwhile.
pub(crate) fn integer_column(column: &str) -> String {
    // The length of an integer is that of its text: a sign and nineteen digits.
    bounded(column, 20)
}

/// A column of names in a condition that goes through all rows instead of looking one up. SQLite has a row that it
/// looks up, and those that it compares it with, in memory as a whole. A name that is too long is not read. For
/// tables of few rows.
pub(crate) fn name_column(column: &str) -> String {
    bounded(column, SHOWN_BYTES_MAX)
}

/// A column of notes, of the table `checkpoints`, in a query. A value that is too long to be a note is not read.
pub(crate) fn note_column(column: &str) -> String {
    bounded(column, NOTE_BYTES_MAX)
}

/// The end of the log, to which the next event is chained.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Head {
    /// Position of the last event; also the number of events.
    pub seq: Seq,
    /// The hash that covers all events up to this one.
    pub hash: Digest,
}

impl Head {
    /// Returns whether the log that ends here still has the event that was once its end. Both are of one moment: that
    /// of the caller's transaction.
    pub(crate) fn still_has(self, seen: Head, connection: &Connection) -> rusqlite::Result<bool> {
        // Nothing was appended since: the usual case, for which no row is read.
        if self.seq == seen.seq { Ok(self == seen) } else { has(connection, seen) }
    }
}

/// Returns whether the log has an event with this hash at this position.
pub(crate) fn has(connection: &Connection, seen: Head) -> rusqlite::Result<bool> {
    Ok(link_at(connection, seen.seq)? == Some(seen.hash))
}

/// The prepared statement that appends rows.
pub(crate) struct Insert<'c>(CachedStatement<'c>);

impl<'c> Insert<'c> {
    pub(crate) fn new(connection: &'c Connection) -> rusqlite::Result<Insert<'c>> {
        let insert = "INSERT INTO log (seq, event_id, entry, payload, hash) VALUES (?1, ?2, ?3, ?4, ?5)";
        connection.prepare_cached(insert).map(Insert)
    }

    /// Appends a row: an event, with its position, its entry and its link.
    pub(crate) fn row(
        &mut self,
        seq: Seq,
        prepared: &Prepared,
        entry: &[u8],
        link: &Digest,
    ) -> rusqlite::Result<()> {
        let row = params![seq.to_sql(), prepared.event_id.bytes(), entry, prepared.cell, link.bytes()];
        let inserted = self.0.execute(row)?;
        // A foreign trigger can make SQLite skip a row without an error.
        if inserted == 1 { Ok(()) } else { Err(rusqlite::Error::StatementChangedRows(inserted)) }
    }
}

/// The end of the log, within the caller's transaction. Every log has at least its first event.
pub(crate) fn head(connection: &Connection) -> rusqlite::Result<Head> {
    connection
        .prepare_cached("SELECT seq, hash FROM log NOT INDEXED ORDER BY seq DESC LIMIT 1")?
        .query_row([], |row| {
            Ok(Head { seq: Seq::from_sql(row.get(0)?), hash: Digest::from_bytes(row.get(1)?) })
        })
}

/// The link at a position, if there is an event.
pub(crate) fn link_at(connection: &Connection, seq: Seq) -> rusqlite::Result<Option<Digest>> {
    connection
        .prepare_cached("SELECT hash FROM log WHERE seq = ?1")?
        .query_row([seq.to_sql()], |row| row.get(0).map(Digest::from_bytes))
        .optional()
}

/// The entry at a position, as it is stored.
pub(crate) fn entry_at(connection: &Connection, seq: Seq) -> rusqlite::Result<Option<Vec<u8>>> {
    connection
        .prepare_cached("SELECT entry FROM log WHERE seq = ?1")?
        .query_row([seq.to_sql()], |row| row.get(0))
        .optional()
}

/// The payload cell at a position. `None` if it was erased, or if there is no event.
pub(crate) fn cell_at(connection: &Connection, seq: Seq) -> rusqlite::Result<Option<Vec<u8>>> {
    connection
        .prepare_cached("SELECT payload FROM log WHERE seq = ?1")?
        .query_row([seq.to_sql()], |row| row.get(0))
        .optional()
        .map(Option::flatten)
}

/// The part of a row that is chained, as SQLite has it.
pub(crate) struct EntryRow<'r>(&'r Row<'r>);

impl EntryRow<'_> {
    pub(crate) fn seq(&self) -> rusqlite::Result<Seq> {
        self.0.get(0).map(Seq::from_sql)
    }

    pub(crate) fn entry(&self) -> rusqlite::Result<&[u8]> {
        Ok(self.0.get_ref(1)?.as_blob()?)
    }

    pub(crate) fn link(&self) -> rusqlite::Result<Digest> {
        self.0.get(2).map(Digest::from_bytes)
    }
}

/// Calls `each` with the events at these positions, in order, until it fails. The caller checks that none is missing.
pub(crate) fn each_entry<E: From<rusqlite::Error>>(
    connection: &Connection,
    places: RangeInclusive<u64>,
    mut each: impl FnMut(EntryRow<'_>) -> Result<(), E>,
) -> Result<(), E> {
    let mut statement = connection.prepare_cached(
        "SELECT seq, entry, hash FROM log NOT INDEXED WHERE seq BETWEEN ?1 AND ?2 ORDER BY seq",
    )?;
    let mut rows = statement.query([to_sql(*places.start()), to_sql(*places.end())])?;
    while let Some(row) = rows.next()? {
        each(EntryRow(row))?;
    }
    Ok(())
}

/// The position of the event with this id.
pub(crate) fn seq_of(connection: &Connection, event_id: EventId) -> rusqlite::Result<Option<Seq>> {
    connection
        .prepare_cached("SELECT seq FROM log WHERE event_id = ?1")?
        .query_row([event_id.bytes()], |row| row.get(0).map(Seq::from_sql))
        .optional()
}

/// The log's id: that of its first event.
pub(crate) fn log_id(connection: &Connection) -> rusqlite::Result<EventId> {
    connection
        .query_row("SELECT event_id FROM log WHERE seq = 1", [], |row| row.get(0).map(EventId::from_bytes))
}

/// A row as it is stored; nothing is checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct StoredRow {
    pub(crate) seq: i64,
    pub(crate) event_id: Vec<u8>,
    pub(crate) entry: Vec<u8>,
    pub(crate) payload: Option<Vec<u8>>,
    pub(crate) hash: Vec<u8>,
}

impl StoredRow {
    pub(crate) fn read(row: &Row<'_>) -> rusqlite::Result<StoredRow> {
        Ok(StoredRow {
            seq: row.get(0)?,
            event_id: row.get(1)?,
            entry: row.get(2)?,
            payload: row.get(3)?,
            hash: row.get(4)?,
        })
    }

    pub(crate) fn find(connection: &Connection, event_id: EventId) -> rusqlite::Result<Option<StoredRow>> {
        connection
            .prepare_cached("SELECT seq, event_id, entry, payload, hash FROM log WHERE event_id = ?1")?
            .query_row([event_id.bytes()], StoredRow::read)
            .optional()
    }
}

/// A row that cannot be read as an event.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReadError {
    /// An entry that cannot be decoded.
    #[error("event {seq}: its entry {source}; run `annals verify` for details")]
    Entry {
        /// The position of the event.
        seq: Seq,
        /// The error of the decoder.
        source: DecodeError,
    },
    /// A payload that is not what its entry states.
    #[error("event {seq}: its payload {source}")]
    Payload {
        /// The position of the event.
        seq: Seq,
        /// The error of the payload's decoder.
        source: PayloadError,
    },
    /// A payload that is shorter than a salt.
    #[error("event {seq}: its payload is shorter than a salt; run `annals verify` for details")]
    ShortPayload {
        /// The position of the event.
        seq: Seq,
    },
    /// A first event that is missing, or another one than every log begins with.
    #[error("event 1 does not record the creation and the name of the log; run `annals verify` for details")]
    NotCreated,
    /// A row that SQLite cannot read.
    #[error("the log cannot be read: {0}")]
    Storage(#[from] StorageError),
}

from_sqlite!(ReadError);

/// Makes an event from an entry and a payload cell. Without a cell the payload was erased.
pub(crate) fn recorded(seq: Seq, entry: &[u8], payload: Option<&[u8]>) -> Result<Recorded, ReadError> {
    let entry = Entry::decode(entry).map_err(|source| ReadError::Entry { seq, source })?;
    let content = match payload {
        None => Content::Redacted,
        Some(cell) => {
            let bytes = without_salt(cell).ok_or(ReadError::ShortPayload { seq })?;
            Content::decode(entry.kind, entry.kind_version, entry.encoding, bytes, Strictness::Whole)
                .map_err(|source| ReadError::Payload { seq, source })?
        }
    };
    Ok(Recorded {
        seq,
        event_id: entry.event_id,
        kind: entry.kind,
        session: entry.session,
        occurred_at: entry.occurred_at,
        recorded_at: entry.recorded_at,
        principal: entry.principal,
        content,
    })
}

/// An event with the size of its payload cell. If the event cannot be read, the error takes its place, so that a
/// projection stops at that event and no earlier.
pub(crate) struct ReadRow {
    pub(crate) seq: Seq,
    pub(crate) bytes: usize,
    /// The payload cell, if it is so long that a row may refer to it.
    pub(crate) cell: Option<Vec<u8>>,
    pub(crate) event: Result<Recorded, ReadError>,
}

/// The events after `position` and up to `until`, in order: at most `events_max`, and about `bytes_max` bytes of
/// payload.
pub(crate) fn read_after(
    connection: &Connection,
    position: Seq,
    until: Seq,
    events_max: usize,
    bytes_max: usize,
) -> rusqlite::Result<Vec<ReadRow>> {
    let mut statement = connection.prepare_cached(
        "SELECT seq, entry, payload FROM log NOT INDEXED WHERE seq > ?1 AND seq <= ?2 ORDER BY seq LIMIT ?3",
    )?;
    let limit = i64::try_from(events_max).unwrap_or(i64::MAX);
    let mut rows = statement.query(params![position.to_sql(), until.to_sql(), limit])?;
    let (mut events, mut bytes) = (Vec::new(), 0);
    while let Some(row) = rows.next()? {
        let read = read_row(row)?;
        bytes += read.bytes;
        events.push(read);
        // After the event was added: a single event beyond the bound is still returned, so the caller always gets on.
        if bytes >= bytes_max {
            break;
        }
    }
    Ok(events)
}

/// The event at a position.
pub(crate) fn read_at(connection: &Connection, seq: Seq) -> Result<Option<Recorded>, ReadError> {
    row_at(connection, seq)?.map(|row| row.event).transpose()
}

/// The event at a position, with its size.
pub(crate) fn row_at(connection: &Connection, seq: Seq) -> rusqlite::Result<Option<ReadRow>> {
    connection
        .prepare_cached("SELECT seq, entry, payload FROM log WHERE seq = ?1")?
        .query_row([seq.to_sql()], read_row)
        .optional()
}

/// Reads a row with the columns seq, entry, payload.
pub(crate) fn read_row(row: &Row<'_>) -> rusqlite::Result<ReadRow> {
    let seq = Seq::from_sql(row.get(0)?);
    let entry = row.get_ref(1)?.as_blob()?;
    let payload = row.get_ref(2)?.as_blob_or_null()?;
    Ok(ReadRow {
        seq,
        bytes: payload.map_or(0, <[u8]>::len),
        cell: payload.filter(|cell| cell.len() >= REFERRED_BYTES_MIN).map(<[u8]>::to_vec),
        event: recorded(seq, entry, payload),
    })
}
