//! The tables that evidence is read from: docs/format.md, section 1. A view or a virtual table can make up its
//! rows as they are read, so nothing is read from one.

use rusqlite::Connection;

use super::is_damage;
use super::report::{Check, Failure};
use crate::log::schema;

/// The tables without which nothing of a log can be judged, with the columns that each must have.
const TABLES: [(&str, &str); 2] = [("log", "seq, event_id, entry, payload, hash"), ("redactions", "seq")];

/// The first schema with the tables about checkpoints and tiles.
const SCHEMA_OF_CHECKPOINTS: i32 = 2;

/// Returns the failure of a file without a table of evidence.
///
/// # Errors
/// If the system keeps SQLite from reading the schema.
pub(super) fn check(connection: &Connection) -> rusqlite::Result<Option<Failure>> {
    for (name, columns) in TABLES {
        let problem = match is_ordinary(connection, name) {
            Ok(true) => connection.prepare(&format!("SELECT {columns} FROM {name} NOT INDEXED")).err(),
            Ok(false) => return Ok(Some(damage(what_is_there(connection, name)?))),
            Err(error) => Some(error),
        };
        match problem {
            None => {}
            Some(error) if is_damage(&error) => {
                return Ok(Some(damage(format!("the table `{name}` cannot be read: {error}"))));
            }
            Some(error) => return Err(error),
        }
    }
    Ok(None)
}

/// Whether the file has the table `checkpoints` or `tiles` of its schema, as an ordinary one.
pub(super) fn has_beside(connection: &Connection, name: &str) -> rusqlite::Result<bool> {
    Ok(schema::version_of(connection)? >= SCHEMA_OF_CHECKPOINTS && is_ordinary(connection, name)?)
}

/// Whether there is a table that has pages of its own: views and virtual tables have none.
fn is_ordinary(connection: &Connection, name: &str) -> rusqlite::Result<bool> {
    let sql = "SELECT count(*) > 0 FROM sqlite_schema WHERE type = 'table' AND rootpage > 0 AND name = ?1";
    connection.query_row(sql, [name], |row| row.get(0))
}

fn what_is_there(connection: &Connection, name: &str) -> rusqlite::Result<String> {
    let sql = "SELECT count(*) > 0 FROM sqlite_schema WHERE type IN ('table', 'view') AND name = ?1";
    let is_something: bool = connection.query_row(sql, [name], |row| row.get(0))?;
    Ok(match is_something {
        true => format!("`{name}` is no ordinary table, but a view or a virtual one"),
        false => format!("the table `{name}` is missing"),
    })
}

fn damage(detail: String) -> Failure {
    Failure { check: Check::Damage, seq: None, detail, affected: "the whole log".to_owned() }
}
