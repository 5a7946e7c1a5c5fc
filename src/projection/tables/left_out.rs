//! Indexes and triggers that users attach to read tables. A rebuild creates them again. One that cannot be created
//! on the new tables is kept in a list, and the next rebuild tries it again.

use rusqlite::fallible_iterator::FallibleIterator;
use rusqlite::{Batch, Connection, ErrorCode, params};

use crate::limits::LISTED_MAX;
use crate::log::rows::{bounded, shown_column};
use crate::log::schema::{Found, found};

/// The table that lists them. It exists once there was something to list.
pub(crate) const NAME: &str = "annals_left_out";

/// The statement that creates the list, run when there is something to list.
const TABLE: &str = "CREATE TABLE IF NOT EXISTS annals_left_out (
  name       TEXT NOT NULL PRIMARY KEY,
  projection TEXT NOT NULL,
  table_name TEXT NOT NULL,
  sql        TEXT NOT NULL,
  error      TEXT NOT NULL
) STRICT";

/// Longest statement that creates an index or a trigger, in bytes: as many as SQLite accepts by default.
const SQL_BYTES_MAX: usize = 1_000_000;

/// An index or a trigger on a read table.
pub(super) struct Attached {
    pub(super) name: String,
    /// The table that holds the rows.
    pub(super) table: String,
    pub(super) sql: String,
}

/// An index or a trigger that could not be created again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct LeftOut {
    pub(crate) name: String,
    pub(crate) table: String,
    pub(crate) error: String,
}

impl Attached {
    /// Creates the object within the caller's transaction. If it cannot be created, adds it to the list.
    pub(super) fn attach(&self, connection: &Connection, projection: &str) -> rusqlite::Result<()> {
        // The savepoint undoes this object alone. The caller's transaction also replaces the tables, and must
        // commit without the object.
        connection.execute_batch("SAVEPOINT attaching")?;
        let error = match self.try_attach(connection) {
            Ok(()) => return connection.execute_batch("RELEASE attaching"),
            Err(error) if is_of_the_object(&error) => error,
            // An error of the file or the disk ends the caller's transaction, and with it the savepoint.
            Err(error) => return Err(error),
        };
        connection.execute_batch("ROLLBACK TO attaching; RELEASE attaching")?;
        connection.execute_batch(TABLE)?;
        connection.execute(
            "INSERT OR REPLACE INTO annals_left_out (name, projection, table_name, sql, error)
             VALUES (?1, ?2, ?3, ?4, ?5)",
            params![self.name, projection, self.table, self.sql, error.to_string()],
        )?;
        Ok(())
    }

    /// Runs the statement that creates it. It must be a single CREATE INDEX or CREATE TRIGGER, because a file may
    /// contain anything.
    fn make(&self, connection: &Connection) -> rusqlite::Result<()> {
        let words: Vec<String> = self.sql.split_whitespace().take(3).map(str::to_ascii_uppercase).collect();
        let makes: Vec<&str> = words.iter().map(String::as_str).collect();
        let is_one =
            matches!(makes.as_slice(), ["CREATE", "INDEX" | "TRIGGER", _] | ["CREATE", "UNIQUE", "INDEX"]);
        let mut statements = Batch::new(connection, &self.sql);
        // The text after the first statement is looked at before that one runs: if there is more, nothing runs.
        match (is_one, statements.next()?, statements.next()) {
            (true, Some(mut statement), Ok(None)) => statement.execute([]).map(drop),
            _ => Err(rusqlite::Error::MultipleStatement),
        }
    }

    fn try_attach(&self, connection: &Connection) -> rusqlite::Result<()> {
        self.make(connection)?;
        // SQLite resolves the names in a trigger when it prepares a statement that fires the trigger. So such
        // statements are prepared, and never run.
        let columns: Vec<String> = connection
            .prepare("SELECT format('\"%w\" = \"%w\"', name, name) FROM pragma_table_info(?1)")?
            .query_map([&self.table], |row| row.get(0))?
            .collect::<rusqlite::Result<_>>()?;
        let table = &self.table;
        for statement in [
            format!("INSERT INTO {table} DEFAULT VALUES"),
            format!("UPDATE {table} SET {}", columns.join(", ")),
            format!("DELETE FROM {table}"),
        ] {
            connection.prepare(&statement)?;
        }
        Ok(())
    }
}

/// Returns whether an error is caused by the object itself, and comes back whenever it is created.
fn is_of_the_object(error: &rusqlite::Error) -> bool {
    match error {
        rusqlite::Error::SqliteFailure(error, _) => {
            // `Unknown` is SQLITE_ERROR: SQL that does not fit the tables, such as a missing column.
            matches!(
                error.code,
                ErrorCode::Unknown
                    | ErrorCode::ConstraintViolation
                    | ErrorCode::TypeMismatch
                    | ErrorCode::TooBig
            )
        }
        rusqlite::Error::SqlInputError { .. } | rusqlite::Error::MultipleStatement => true,
        _ => false,
    }
}

/// Returns whether the object with this name is the list that Annals creates, and nothing else.
fn has_list(connection: &Connection) -> rusqlite::Result<bool> {
    if found(connection, NAME)? != Found::Table {
        return Ok(false);
    }
    let columns: Vec<String> = connection
        .prepare("SELECT name FROM pragma_table_info(?1)")?
        .query_map([NAME], |row| row.get(0))?
        .collect::<rusqlite::Result<_>>()?;
    Ok(columns == ["name", "projection", "table_name", "sql", "error"])
}

/// Removes the listed objects of a projection from the list and returns them: at most [`LISTED_MAX`], which nobody
/// reaches.
pub(super) fn take(connection: &Connection, projection: &str) -> rusqlite::Result<Vec<Attached>> {
    if !has_list(connection)? {
        return Ok(Vec::new());
    }
    // Values that are too long are read as NULL, so that a foreign file cannot fill the memory.
    let columns = ["name", "table_name", "sql"].map(|column| bounded(column, SQL_BYTES_MAX)).join(", ");
    let listed: Vec<Option<Attached>> = connection
        .prepare(&format!("SELECT {columns} FROM annals_left_out WHERE projection = ?1 LIMIT {LISTED_MAX}"))?
        .query_map([projection], |row| {
            let text =
                |column| row.get_ref(column)?.as_str().map(str::to_owned).map_err(rusqlite::Error::from);
            let whole = (text(0), text(1), text(2));
            // A row with values that Annals did not write stays in the list.
            let (Ok(name), Ok(table), Ok(sql)) = whole else { return Ok(None) };
            Ok(Some(Attached { name, table, sql }))
        })?
        .collect::<rusqlite::Result<_>>()?;
    let listed: Vec<Attached> = listed.into_iter().flatten().collect();
    let mut delete = connection.prepare("DELETE FROM annals_left_out WHERE name = ?1")?;
    listed.iter().try_for_each(|object| delete.execute([&object.name]).map(drop))?;
    Ok(listed)
}

/// Lists the objects of a projection that were left out, without those that somebody created again since then.
pub(crate) fn listed(connection: &Connection, projection: &str) -> rusqlite::Result<Vec<LeftOut>> {
    if !has_list(connection)? {
        return Ok(Vec::new());
    }
    let columns = ["name", "table_name", "error"].map(shown_column).join(", ");
    connection
        .prepare(&format!(
            "SELECT {columns} FROM annals_left_out
             WHERE projection = ?1 AND name NOT IN (SELECT name FROM sqlite_schema) ORDER BY name LIMIT {LISTED_MAX}"
        ))?
        .query_map([projection], |row| {
            Ok(LeftOut { name: row.get(0)?, table: row.get(1)?, error: row.get(2)? })
        })?
        .collect()
}
