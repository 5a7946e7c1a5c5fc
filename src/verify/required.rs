//! The tables without which nothing of a log can be judged: docs/format.md, section 1. A view or a virtual
//! table can make up its rows as they are read, so neither is read.

use rusqlite::Connection;

use super::error::is_damage;
use super::report::Failure;
use crate::log::schema::{self, Found};

/// The required tables, with the columns that each must have.
const TABLES: [(&str, &str); 2] = [("log", "seq, event_id, entry, payload, hash"), ("redactions", "seq")];

/// Returns a failure if a required table is missing, is no ordinary table, or cannot be read.
///
/// # Errors
/// If the system keeps SQLite from reading the schema.
pub(super) fn check(connection: &Connection) -> rusqlite::Result<Option<Failure>> {
    for (name, columns) in TABLES {
        let problem = match schema::found(connection, name) {
            Ok(Found::Table) => {
                connection.prepare(&format!("SELECT {columns} FROM {name} NOT INDEXED")).err()
            }
            Ok(Found::Other) => return Ok(Some(replaced(name))),
            Ok(Found::Nothing) => {
                return Ok(Some(Failure::of_the_file(format!("the table `{name}` is missing"))));
            }
            Err(error) => Some(error),
        };
        match problem {
            None => {}
            Some(error) if is_damage(&error) => {
                return Ok(Some(Failure::of_the_file(format!("the table `{name}` cannot be read: {error}"))));
            }
            Some(error) => return Err(error),
        }
    }
    Ok(None)
}

/// The failure of a file in which something else stands in the place of a table.
pub(super) fn replaced(name: &str) -> Failure {
    Failure::of_the_file(format!(
        "`{name}` is not an ordinary table, but a view, a virtual table, or a table whose name differs in upper and lower case"
    ))
}
