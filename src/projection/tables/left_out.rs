//! Indexes and triggers that others attach to read tables. A rebuild makes them again. One that cannot be made on
//! the tables as they are now is kept in a list, and tried again with the next rebuild.

use rusqlite::{Connection, OptionalExtension, params};

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
        let Err(error) = self.try_attach(connection) else {
            return connection.execute_batch("RELEASE attaching");
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

    fn try_attach(&self, connection: &Connection) -> rusqlite::Result<()> {
        connection.execute_batch(&self.sql)?;
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

fn has_list(connection: &Connection) -> rusqlite::Result<bool> {
    let sql = "SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name = ?1";
    Ok(connection.query_row(sql, [NAME], |_| Ok(())).optional()?.is_some())
}

/// Takes what is listed of a projection out of the list.
pub(super) fn take(connection: &Connection, projection: &str) -> rusqlite::Result<Vec<Attached>> {
    if !has_list(connection)? {
        return Ok(Vec::new());
    }
    connection
        .prepare("DELETE FROM annals_left_out WHERE projection = ?1 RETURNING name, table_name, sql")?
        .query_map([projection], |row| {
            Ok(Attached { name: row.get(0)?, table: row.get(1)?, sql: row.get(2)? })
        })?
        .collect()
}

/// Lists the objects of a projection that were left out, but for those that somebody made again meanwhile.
pub(crate) fn listed(connection: &Connection, projection: &str) -> rusqlite::Result<Vec<LeftOut>> {
    if !has_list(connection)? {
        return Ok(Vec::new());
    }
    connection
        .prepare(
            "SELECT name, table_name, error FROM annals_left_out
             WHERE projection = ?1 AND name NOT IN (SELECT name FROM sqlite_schema) ORDER BY name",
        )?
        .query_map([projection], |row| {
            Ok(LeftOut { name: row.get(0)?, table: row.get(1)?, error: row.get(2)? })
        })?
        .collect()
}
