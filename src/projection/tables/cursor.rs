//! Cursors: the position of each projection, as the file stores it.

use rusqlite::{Connection, OptionalExtension, params};

use super::stage::Stage;
use crate::event::Seq;
use crate::log::rows::{integer_column, name_column, shown_column};

/// The stored position of a projection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Cursor {
    pub(crate) version: u32,
    /// Counts rebuilds: 1 for the first tables.
    pub(crate) generation: u32,
    pub(crate) position: Seq,
    pub(crate) stopped: Option<StoppedAt>,
}

/// The failing event of a projection, and the reason why it cannot be applied.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct StoppedAt {
    pub(crate) seq: Seq,
    pub(crate) error: String,
}

/// Reads the cursor of a projection's tables of one stage, if it has any.
pub(crate) fn cursor(connection: &Connection, name: &str, stage: Stage) -> rusqlite::Result<Option<Cursor>> {
    connection
        // Values are bounded, and rows are not looked up by name: a foreign file may have anything in this table.
        .prepare_cached(&format!(
            "SELECT {}, {}, {}, {}, {} FROM projections WHERE {} = ?1 AND {} = ?2",
            integer_column("version"),
            integer_column("generation"),
            integer_column("position"),
            integer_column("stopped_at"),
            shown_column("error"),
            name_column("name"),
            name_column("stage")
        ))?
        .query_row([name, stage.as_str()], |row| {
            let stopped_at: Option<i64> = row.get(3)?;
            let error: Option<String> = row.get(4)?;
            Ok(Cursor {
                version: row.get(0)?,
                generation: row.get(1)?,
                position: Seq::from_sql(row.get(2)?),
                stopped: stopped_at
                    .map(|seq| StoppedAt { seq: Seq::from_sql(seq), error: error.unwrap_or_default() }),
            })
        })
        .optional()
}

/// Moves a cursor, which the caller has found at `from` in the same transaction. A cursor that moves is no longer
/// stopped.
pub(crate) fn advance(
    connection: &Connection,
    name: &str,
    stage: Stage,
    from: &Cursor,
    to: Seq,
) -> rusqlite::Result<()> {
    // The condition is the whole cursor. If another process moved it, no row changes, and the transaction fails.
    let changed = connection
        .prepare_cached(
            "UPDATE projections SET position = ?1, stopped_at = NULL, error = NULL
             WHERE name = ?2 AND stage = ?3 AND version = ?4 AND generation = ?5 AND position = ?6",
        )?
        .execute(params![
            to.to_sql(),
            name,
            stage.as_str(),
            from.version,
            from.generation,
            from.position.to_sql()
        ])?;
    if changed == 1 { Ok(()) } else { Err(rusqlite::Error::StatementChangedRows(changed)) }
}

/// Records the failing event of a projection. Does nothing if somebody else moved the cursor.
pub(crate) fn stop(
    connection: &Connection,
    name: &str,
    stage: Stage,
    at: &Cursor,
    seq: Seq,
    error: &str,
) -> rusqlite::Result<()> {
    connection.execute(
        "UPDATE projections SET stopped_at = ?1, error = ?2
         WHERE name = ?3 AND stage = ?4 AND version = ?5 AND generation = ?6 AND position = ?7",
        params![seq.to_sql(), error, name, stage.as_str(), at.version, at.generation, at.position.to_sql()],
    )?;
    Ok(())
}
