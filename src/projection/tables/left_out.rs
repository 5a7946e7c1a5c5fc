//! Indexes and triggers that others attach to read tables. A rebuild makes them again. One that cannot be made on
//! the tables as they are now is kept in a list, and tried again with the next rebuild.

use rusqlite::fallible_iterator::FallibleIterator;
use rusqlite::{Batch, Connection, ErrorCode, params};

use crate::limits::LISTED_MAX;
use crate::log::rows::{bounded, shown_column};
use crate::log::schema::{Found, found};

/// The table that lists them, which is there once there was something to list.
pub(crate) const NAME: &str = "annals_left_out";

/// Made when there is something to list.
const TABLE: &str = "CREATE TABLE IF NOT EXISTS annals_left_out (
  name       TEXT NOT NULL PRIMARY KEY,
  projection TEXT NOT NULL,
  table_name TEXT NOT NULL,
  sql        TEXT NOT NULL,
  error      TEXT NOT NULL
) STRICT";

/// Bytes of a statement that makes an index or a trigger: as many as SQLite takes by default.
const SQL_BYTES_MAX: usize = 1_000_000;

/// An index or a trigger on a read table.
pub(super) struct Attached {
    pub(super) name: String,
    /// The table that has the rows.
    pub(super) table: String,
    pub(super) sql: String,
}

/// One that could not be made again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct LeftOut {
    pub(crate) name: String,
    pub(crate) table: String,
    pub(crate) error: String,
}

impl Attached {
    /// Makes it, within the caller's transaction; where that is not possible, lists it.
    pub(super) fn attach(&self, connection: &Connection, projection: &str) -> rusqlite::Result<()> {
        connection.execute_batch("SAVEPOINT attaching")?;
        let error = match self.try_attach(connection) {
            Ok(()) => return connection.execute_batch("RELEASE attaching"),
            Err(error) if is_of_the_object(&error) => error,
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

    /// Runs the statement that makes it: one, of an index or a trigger. What stands in a file may be anything.
    fn make(&self, connection: &Connection) -> rusqlite::Result<()> {
        let words: Vec<String> = self.sql.split_whitespace().take(3).map(str::to_ascii_uppercase).collect();
        let makes: Vec<&str> = words.iter().map(String::as_str).collect();
        let is_one =
            matches!(makes.as_slice(), ["CREATE", "INDEX" | "TRIGGER", _] | ["CREATE", "UNIQUE", "INDEX"]);
        let mut statements = Batch::new(connection, &self.sql);
        match (is_one, statements.next()?, statements.next()) {
            (true, Some(mut statement), Ok(None)) => statement.execute([]).map(drop),
            _ => Err(rusqlite::Error::MultipleStatement),
        }
    }

    fn try_attach(&self, connection: &Connection) -> rusqlite::Result<()> {
        self.make(connection)?;
        // What a trigger names is looked for when a statement that it belongs to is prepared.
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

/// Whether an error follows from what an object is, and comes back whenever it is made.
fn is_of_the_object(error: &rusqlite::Error) -> bool {
    match error {
        rusqlite::Error::SqliteFailure(error, _) => {
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

/// Whether there is the list that Annals makes, and nothing else with its name.
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

/// Takes what is listed of a projection out of the list, up to a number that nobody reaches.
pub(super) fn take(connection: &Connection, projection: &str) -> rusqlite::Result<Vec<Attached>> {
    if !has_list(connection)? {
        return Ok(Vec::new());
    }
    let columns = ["name", "table_name", "sql"].map(|column| bounded(column, SQL_BYTES_MAX)).join(", ");
    let listed: Vec<Option<Attached>> = connection
        .prepare(&format!("SELECT {columns} FROM annals_left_out WHERE projection = ?1 LIMIT {LISTED_MAX}"))?
        .query_map([projection], |row| {
            let text =
                |column| row.get_ref(column)?.as_str().map(str::to_owned).map_err(rusqlite::Error::from);
            let whole = (text(0), text(1), text(2));
            // Values that Annals did not write stay where they are.
            let (Ok(name), Ok(table), Ok(sql)) = whole else { return Ok(None) };
            Ok(Some(Attached { name, table, sql }))
        })?
        .collect::<rusqlite::Result<_>>()?;
    let listed: Vec<Attached> = listed.into_iter().flatten().collect();
    let mut delete = connection.prepare("DELETE FROM annals_left_out WHERE name = ?1")?;
    listed.iter().try_for_each(|object| delete.execute([&object.name]).map(drop))?;
    Ok(listed)
}

/// Lists the objects of a projection that were left out, without those that somebody made again meanwhile.
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
