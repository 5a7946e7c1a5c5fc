//! The structure of the file: SQLite's own check of the tables and their indexes.
//!
//! Other checks read the tables along their keys. They do not notice an index that lost a row, although
//! queries by that index miss the row.

use rusqlite::{Connection, ErrorCode};

use super::error::{VerifyError, is_damage};
use super::options::Scope;
use super::report::{Check, Failure};
use super::walk::Walk;
use crate::log::{own_tables, schema};
use crate::projection::tables::PROJECTIONS;

/// Checks the structure of every table that Annals makes.
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
        // The walk has checked the trees of this table already, and compared the index with the rows.
        if table == "log" && walk.has_sound_pages {
            continue;
        }
        let detail = match found(connection, table) {
            Ok(None) => continue,
            Ok(Some(found)) => found,
            // The table is missing, which the check of the schema reports, or it came with a later version of
            // the schema.
            Err(error) if error.sqlite_error_code() == Some(ErrorCode::Unknown) => continue,
            Err(error) if is_damage(&error) => error.to_string(),
            Err(error) => return Err(error.into()),
        };
        failures.push(Failure {
            check,
            seq: None,
            detail: format!("the table `{table}` or an index of it is damaged: {detail}"),
            affected: format!("what is read from `{table}`"),
        });
    }
    Ok(())
}

/// The problem of a table, if it has one. SQLite compares keys as a whole, so a table with a key that would
/// fill the memory is not given to SQLite's check.
fn found(connection: &Connection, table: &str) -> rusqlite::Result<Option<String>> {
    if let Some(long) = own_tables::long_value(connection, table)? {
        return Ok(Some(long));
    }
    let answer = connection
        .query_row(&format!("PRAGMA integrity_check(\"{table}\")"), [], |row| row.get::<_, String>(0))?;
    Ok((answer != "ok").then(|| answer.trim_end().to_owned()))
}
