//! The log's evidence as the file has it: its origin and its checkpoints.

use rusqlite::{Connection, OptionalExtension as _};

use crate::event::{Content, Event, Seq};
use crate::log::rows::{self, note_column};
use crate::log::{ReadError, schema};
use crate::note::SignedCheckpoint;

/// The origin of a log, from its first event.
pub(crate) fn origin_of(connection: &Connection) -> Result<String, ReadError> {
    match rows::read_at(connection, Seq::FIRST)?.map(|first| first.content) {
        Some(Content::Event(Event::LogCreated(created))) => Ok(created.origin),
        _ => Err(ReadError::NotCreated),
    }
}

/// The newest checkpoint that the file keeps; a file of the schema's first version has none.
pub(crate) fn newest(connection: &Connection) -> rusqlite::Result<Option<SignedCheckpoint>> {
    if !schema::has_table(connection, "checkpoints")? {
        return Ok(None);
    }
    let note: Option<String> = connection
        .prepare_cached(&format!(
            "SELECT {} FROM checkpoints ORDER BY size DESC LIMIT 1",
            note_column("note")
        ))?
        .query_row([], |row| row.get(0))
        .optional()?
        .flatten();
    // Annals did not write a note that cannot be read; verification reports it.
    Ok(note.and_then(|note| note.parse().ok()))
}

/// The checkpoint of this size that the file keeps.
pub(super) fn of_size(connection: &Connection, size: u64) -> rusqlite::Result<Option<SignedCheckpoint>> {
    let note: Option<String> = connection
        .prepare_cached(&format!("SELECT {} FROM checkpoints WHERE size = ?1", note_column("note")))?
        .query_row([i64::try_from(size).unwrap_or(i64::MAX)], |row| row.get(0))
        .optional()?
        .flatten();
    Ok(note.and_then(|note| note.parse().ok()))
}
