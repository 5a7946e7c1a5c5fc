//! The SQLite file of an llm log, opened so that nothing can change it.

use std::collections::{HashMap, HashSet};
use std::path::Path;

use rusqlite::types::FromSql;
use rusqlite::{Connection, Row, ToSql};
use serde::Serialize;

use super::super::error::{ImportError, Location};
use super::super::sqlite_file::{self, Stop};
use crate::{Json, Timestamp};

const EXPECTED: &str = "a log of the `llm` command-line tool";

/// An llm log, at one moment: a read transaction stays open until it is dropped.
pub(super) struct Database {
    connection: Connection,
    /// Columns by table, as this version of the schema has them.
    tables: HashMap<String, HashSet<String>>,
}

impl Database {
    pub(super) fn open(path: &Path, stop: Stop) -> Result<Database, ImportError> {
        let (connection, tables) = sqlite_file::open(path, EXPECTED, stop, read_schema)?;
        let database = Database { connection, tables };
        database.check()?;
        Ok(database)
    }

    /// Checks that it is an llm log: it has one of the tables of calls, with the columns that every call needs.
    fn check(&self) -> Result<(), ImportError> {
        let wrong = |reason| Err(ImportError::WrongFile { expected: EXPECTED, reason });
        if !self.has("responses") && !self.has("turns") {
            return wrong("it has no table `responses`, and no table `turns` either".to_owned());
        }
        for (table, needed) in [
            ("responses", &["id", "conversation_id", "model", "prompt", "response"][..]),
            ("turns", &["id", "thread_id", "model", "parent_message_hash", "tip_message_hash"]),
        ] {
            // One of the two may be missing: that not both are was checked above.
            let Some(columns) = self.tables.get(table) else { continue };
            if let Some(missing) = needed.iter().find(|column| !columns.contains(**column)) {
                return wrong(format!("its table `{table}` has no column `{missing}`"));
            }
        }
        // A turn only refers to its texts, which are in these tables.
        if self.has("turns") && !(self.has("messages") && self.has("parts")) {
            return wrong("it has a table `turns`, but not `messages` and `parts`".to_owned());
        }
        Ok(())
    }

    pub(super) fn has(&self, table: &str) -> bool {
        self.tables.contains_key(table)
    }

    /// A list of columns, `"a", "b"`, with NULL for those that the table lacks in this version.
    pub(super) fn columns(&self, table: &str, names: &[&str]) -> String {
        let known = self.tables.get(table);
        let columns: Vec<String> = names
            .iter()
            .map(|name| match known {
                Some(known) if known.contains(*name) => format!("\"{table}\".\"{name}\" AS \"{name}\""),
                _ => format!("NULL AS \"{name}\""),
            })
            .collect();
        columns.join(", ")
    }

    /// Reads rows, one at a time, until `each` fails.
    pub(super) fn for_each(
        &self,
        table: &'static str,
        sql: &str,
        parameters: &[&dyn ToSql],
        mut each: impl FnMut(&Row<'_>) -> Result<(), ImportError>,
    ) -> Result<(), ImportError> {
        let failed = |source: rusqlite::Error| ImportError::Storage { table, source: source.into() };
        // The same few statements run for every call.
        let mut statement = self.connection.prepare_cached(sql).map_err(failed)?;
        let mut rows = statement.query(parameters).map_err(failed)?;
        while let Some(row) = rows.next().map_err(failed)? {
            each(row)?;
        }
        Ok(())
    }

    /// Reads rows into a list.
    pub(super) fn list<T>(
        &self,
        table: &'static str,
        sql: &str,
        parameters: &[&dyn ToSql],
        mut read: impl FnMut(&Row<'_>) -> Result<T, ImportError>,
    ) -> Result<Vec<T>, ImportError> {
        let mut list = Vec::new();
        self.for_each(table, sql, parameters, |row| {
            list.push(read(row)?);
            Ok(())
        })?;
        Ok(list)
    }
}

/// Lists the tables and their columns.
fn read_schema(connection: &Connection) -> rusqlite::Result<HashMap<String, HashSet<String>>> {
    // Virtual tables have no root page, and may need modules that are not here.
    let mut statement = connection.prepare(
        "SELECT t.name, c.name FROM sqlite_schema AS t, pragma_table_info(t.name) AS c \
         WHERE t.type = 'table' AND t.rootpage > 0",
    )?;
    let mut rows = statement.query([])?;
    let mut tables: HashMap<String, HashSet<String>> = HashMap::new();
    while let Some(row) = rows.next()? {
        tables.entry(row.get(0)?).or_default().insert(row.get(1)?);
    }
    Ok(tables)
}

/// The columns of a row, by name.
pub(super) struct Cells<'a> {
    row: &'a Row<'a>,
    pub(super) place: Location,
}

impl<'a> Cells<'a> {
    pub(super) fn of(row: &'a Row<'a>, table: &'static str, id: impl Into<String>) -> Cells<'a> {
        Cells { row, place: Location::Row { table, id: id.into() } }
    }

    /// A column; NULL counts as absent.
    pub(super) fn get<T: FromSql>(&self, column: &str) -> Result<Option<T>, ImportError> {
        self.row.get(column).map_err(|error| self.error(column, error.to_string()))
    }

    /// A text; NULL and the empty text count as absent.
    pub(super) fn text(&self, column: &str) -> Result<Option<String>, ImportError> {
        Ok(self.get::<String>(column)?.filter(|text| !text.is_empty()))
    }

    /// JSON as it is. Anything that is not JSON (Python writes `NaN`) is kept as a text.
    pub(super) fn json(&self, column: &str) -> Result<Option<Json>, ImportError> {
        Ok(self.text(column)?.map(|text| text.parse().unwrap_or_else(|_| Json::text(&text))))
    }

    /// A number of tokens.
    pub(super) fn count(&self, column: &str) -> Result<Option<u64>, ImportError> {
        self.get::<i64>(column)?
            .map(|number| {
                u64::try_from(number).map_err(|_| self.error(column, format!("is {number}, below 0")))
            })
            .transpose()
    }

    /// A time in UTC, with or without an offset; the empty text counts as absent.
    pub(super) fn time(&self, column: &str) -> Result<Option<Timestamp>, ImportError> {
        let Some(text) = self.text(column)? else { return Ok(None) };
        // A time without an offset is in UTC.
        let naive = || Timestamp::from_sql(&text.replacen('T', " ", 1)).filter(|time| time.in_range());
        match text.parse().ok().or_else(naive) {
            Some(time) => Ok(Some(time)),
            None => Err(self.error(column, format!("`{text}` is not a time"))),
        }
    }

    /// The JSON of a value that was read for this row.
    pub(super) fn json_of<T: Serialize + ?Sized>(&self, field: &str, value: &T) -> Result<Json, ImportError> {
        Json::of(value).map_err(|error| self.error(field, error.to_string()))
    }

    /// The time in a row's `datetime_utc`, and the same time plus its `duration_ms`. A duration below 0 is that of a
    /// call which was cut off, and is ignored.
    pub(super) fn period(&self) -> Result<(Option<Timestamp>, Option<Timestamp>), ImportError> {
        let started = self.time("datetime_utc")?;
        let duration_ms = self.get::<i64>("duration_ms")?.filter(|duration| *duration >= 0);
        let ended = started.zip(duration_ms).and_then(|(started, duration_ms)| {
            let ended = started.micros().checked_add(duration_ms.checked_mul(1_000)?)?;
            Some(Timestamp::from_micros(ended)).filter(|ended| ended.in_range())
        });
        Ok((started, ended))
    }

    pub(super) fn error(&self, column: &str, reason: impl Into<String>) -> ImportError {
        ImportError::Field { place: self.place.clone(), field: column.to_owned(), reason: reason.into() }
    }
}
