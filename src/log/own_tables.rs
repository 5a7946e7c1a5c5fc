//! Conditions for writing to a file: it has its tables and guard rails as Annals made them, and no value beside the
//! log that is too long for the memory of a process that writes or checks the table.

use std::path::Path;

use rusqlite::{Connection, OptionalExtension};

use super::error::OpenError;
use super::schema;
use crate::limits::BESIDE_BYTES_MAX;

/// Refuses to write to a file whose tables or guard rails were altered or removed.
pub(super) fn require_own_tables(connection: &Connection, path: &Path) -> Result<(), OpenError> {
    let sqlite = |source| OpenError::sqlite(path, "its schema cannot be read", source);
    // Further objects are legal: users may add indexes and views of their own.
    let found = schema::objects(connection).map_err(sqlite)?;
    for expected in schema::expected_objects(schema::version()).map_err(sqlite)? {
        if !found.contains(&expected) {
            let what = match found.iter().any(|object| object.name == expected.name) {
                true => format!("the {} `{}` was altered", expected.kind, expected.name),
                false => format!("the {} `{}` is missing", expected.kind, expected.name),
            };
            return Err(OpenError::Damaged { path: path.to_owned(), what });
        }
    }
    Ok(())
}

/// The tables of which SQLite has a whole row in memory when it looks up or changes a row beside it. `tiles` is not
/// among them: to read it through takes as long as the log is. The other tables have an integer key, which SQLite
/// compares alone.
const BESIDE: [&str; 6] =
    ["projections", "projection_skips", "anchors", "anchor_receipts", "api_key_uses", "generation"];

/// Refuses to write to a file with values that no Annals makes: a process that writes a row beside them would have
/// them in memory. Reads each table through once. `anchor_receipts` has a row for each checkpoint that was stamped;
/// none of the other tables has many rows.
pub(super) fn require_short_values(connection: &Connection, path: &Path) -> Result<(), OpenError> {
    for table in BESIDE {
        let long = long_value(connection, table)
            .map_err(|source| OpenError::sqlite(path, "the tables beside the log cannot be read", source))?;
        if let Some(long) = long {
            let what = format!("{long}; run `annals verify` to see whether the log is intact");
            return Err(OpenError::Damaged { path: path.to_owned(), what });
        }
    }
    Ok(())
}

/// Describes a value that is too long, if a table beside the log has one. Returns `None` for all other tables. A
/// column of any type can hold a long value, if the table's schema was another one for a while.
pub(crate) fn long_value(connection: &Connection, table: &str) -> rusqlite::Result<Option<String>> {
    if !BESIDE.contains(&table) {
        return Ok(None);
    }
    let columns: Vec<String> = connection
        .prepare("SELECT name FROM pragma_table_info(?1)")?
        .query_map([table], |row| row.get(0))?
        .collect::<rusqlite::Result<_>>()?;
    // A file of an older schema does not have the table.
    if columns.is_empty() {
        return Ok(None);
    }
    // SQLite finds a value's length without reading the value.
    let lengths: Vec<String> = columns.iter().map(|column| format!("octet_length({column})")).collect();
    let is_long: Vec<String> =
        lengths.iter().map(|length| format!("{length} > {BESIDE_BYTES_MAX}")).collect();
    let sql = format!("SELECT {} FROM {table} WHERE {} LIMIT 1", lengths.join(", "), is_long.join(" OR "));
    let found: Option<Vec<Option<i64>>> = connection
        .query_row(&sql, [], |row| (0..columns.len()).map(|column| row.get(column)).collect())
        .optional()?;
    let longest = found.and_then(|lengths| {
        columns
            .into_iter()
            .zip(lengths)
            .filter_map(|(column, bytes)| Some((column, bytes?)))
            .max_by_key(|(_, bytes)| *bytes)
    });
    Ok(longest.map(|(column, bytes)| {
        format!("`{column}` in a row of `{table}` has {bytes} bytes, which no Annals writes")
    }))
}

#[cfg(test)]
mod tests {
    use crate::audit::AuditLog;
    use crate::log::OpenError;
    use crate::log::{Claim, Durability, open_writer};

    #[test]
    fn the_tables_beside_the_log_are_read_through_when_a_process_first_opens_it_and_not_again() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("audit.db");
        AuditLog::open(&path).unwrap().close().unwrap();
        let long = "INSERT INTO anchor_receipts VALUES ('other', 1, zeroblob(17000000))";
        rusqlite::Connection::open(&path).unwrap().execute_batch(long).unwrap();
        for first in [Claim::Cautious, Claim::TakeOver] {
            let opened = open_writer(&path, Durability::Full, first).map(drop);
            assert!(matches!(opened, Err(OpenError::Damaged { .. })), "{opened:?}");
        }
        open_writer(&path, Durability::Full, Claim::Settled).map(drop).unwrap();
    }
}
