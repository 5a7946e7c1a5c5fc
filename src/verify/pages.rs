//! The structure of the file: SQLite's own check of the tables and their indexes.
//!
//! The tables are read along their keys elsewhere. An index that has lost a row would let queries
//! miss it all the same, and nobody would see it.

use rusqlite::{Connection, ErrorCode};

use super::error::{VerifyError, is_damage};
use super::options::Scope;
use super::report::{Check, Failure};
use super::walk::Walk;
use crate::log::{own_tables, schema};
use crate::projection::tables::PROJECTIONS;

/// Checks the structure of every table of ours.
pub(super) fn check(
    connection: &Connection,
    scope: Scope,
    walk: &Walk,
    failures: &mut Vec<Failure>,
) -> Result<(), VerifyError> {
    let read_tables = match scope {
        Scope::Everything => PROJECTIONS.as_slice(),
        Scope::LogOnly => &[],
    };
    let own = schema::tables().map(|table| (table, Check::Damage));
    let read_tables = read_tables
        .iter()
        .flat_map(|projection| projection.tables)
        .map(|table| (table.name, if table.is_index() { Check::SearchIndex } else { Check::Damage }));
    for (table, check) in own.chain(read_tables) {
        if table == "log" && walk.has_sound_pages {
            continue;
        }
        let detail = match found(connection, table) {
            Ok(None) => continue,
            Ok(Some(found)) => found,
            // It is missing, which the schema's check says, or came with a later version of the schema.
            Err(error) if error.sqlite_error_code() == Some(ErrorCode::Unknown) => continue,
            Err(error) if is_damage(&error) => error.to_string(),
            Err(error) => return Err(error.into()),
        };
        failures.push(Failure {
            check,
            seq: None,
            detail: format!("the table `{table}` or an index of it is damaged: {detail}"),
            affected: format!("what is asked of `{table}`"),
        });
    }
    Ok(())
}

/// Says what is wrong with a table, if anything is. SQLite compares keys as a whole: it does not check a table with one
/// that would fill the memory.
fn found(connection: &Connection, table: &str) -> rusqlite::Result<Option<String>> {
    if let Some(long) = own_tables::long_value(connection, table)? {
        return Ok(Some(long));
    }
    let said = connection
        .query_row(&format!("PRAGMA integrity_check(\"{table}\")"), [], |row| row.get::<_, String>(0))?;
    Ok((said != "ok").then(|| said.trim_end().to_owned()))
}
