//! The rows of a SQLite database of another program, which a map turns into events.
//!
//! Each row of a query of the map becomes a JSON object with a member for each column, and that object is the record:
//!
//! | in SQLite | in JSON |
//! | --- | --- |
//! | NULL | `null` |
//! | INTEGER, REAL | a number; infinity, which JSON lacks, is the text `Infinity` or `-Infinity` |
//! | TEXT | a text |
//! | BLOB, and text that is not UTF-8 | an object: `blake3`, the digest of the content; `bytes`, its length; `hex`, the content |
//!
//! All queries are read in one transaction, so they see the database at one moment. One row at a time is in memory.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::Path;

use rusqlite::types::ValueRef;
use rusqlite::{Connection, Row};

use super::emit::{Emitter, Sink};
use super::error::{ImportError, Location, or_bad};
use super::json_lines::BadLines;
use super::map::{Map, Mapper};
use super::source::{Imported, Source};
use super::sqlite_file::{self, Stop};
use crate::{Digest, Json};

/// Reads the rows of a map's queries, without changing the database. Another program may have it open.
///
/// # Errors
/// If the file is not a SQLite database, a query of the map fails or is no query, the map cannot make events of a row and
/// `bad` does not leave it out, `stop` ends a query, or the sink refuses a draft. Drafts from before the error were handed over; queries are
/// checked before the first.
pub fn sqlite(
    path: &Path,
    map: &Map,
    source: Source,
    stop: Stop,
    bad: &mut BadLines<'_>,
    sink: &mut Sink<'_>,
) -> Result<Imported, ImportError> {
    let (connection, ()) = sqlite_file::open(path, "a SQLite database", stop, |connection| {
        connection.query_row("SELECT count(*) FROM sqlite_schema", [], |_| Ok(()))
    })?;
    for query in map.queries() {
        columns(&connection, query.name(), query.sql())?;
    }
    let mut mapper = Mapper::new(map, source);
    let mut emitter = Emitter::new(sink);
    for (index, query) in map.queries().iter().enumerate() {
        let name = query.name();
        let columns = columns(&connection, name, query.sql())?;
        let failed = |error: rusqlite::Error| wrong(name, error.to_string());
        let mut statement = connection.prepare(query.sql()).map_err(failed)?;
        let mut rows = statement.query([]).map_err(failed)?;
        let mut number = 0_u64;
        while let Some(row) = rows.next().map_err(failed)? {
            number = number.saturating_add(1);
            let place = Location::QueryRow { query: name.to_owned(), row: number };
            let record = record(&columns, row).map_err(failed)?;
            let done = match mapper.drafts(Some(index), number, &record) {
                Ok(drafts) => emitter.send_all(&place, drafts, map.change()),
                Err(error) => Err(ImportError::Malformed { place, reason: error.to_string() }),
            };
            or_bad(done, bad)?;
        }
    }
    Ok(emitter.imported())
}

fn wrong(query: &str, reason: impl Into<String>) -> ImportError {
    ImportError::Query { query: query.to_owned(), reason: reason.into() }
}

/// The names of the columns of a query. An error means that it is no query whose rows can be records.
fn columns(connection: &Connection, name: &str, sql: &str) -> Result<Vec<String>, ImportError> {
    let statement = connection.prepare(sql).map_err(|error| wrong(name, error.to_string()))?;
    if statement.column_count() == 0 || !statement.readonly() {
        return Err(wrong(name, "it is not a query: it returns no rows, or it writes"));
    }
    if statement.parameter_count() > 0 {
        return Err(wrong(name, "it has parameters, and a map gives none"));
    }
    let columns: Vec<String> = statement.column_names().map(str::to_owned).collect();
    let mut seen = BTreeSet::new();
    match columns.iter().find(|column| !seen.insert(column.as_str())) {
        Some(column) => Err(wrong(
            name,
            format!("two of its columns have the name `{column}`; rename one of them with AS"),
        )),
        None => Ok(columns),
    }
}

/// A row as a JSON object.
fn record(columns: &[String], row: &Row<'_>) -> rusqlite::Result<String> {
    let mut json = String::from("{");
    for (index, column) in columns.iter().enumerate() {
        let comma = if index == 0 { "" } else { "," };
        let _ = write!(json, "{comma}{}:", Json::text(column));
        match row.get_ref(index)? {
            ValueRef::Null => json.push_str("null"),
            ValueRef::Integer(number) => {
                let _ = write!(json, "{number}");
            }
            ValueRef::Real(number) => json.push_str(&real(number)),
            ValueRef::Text(text) => match std::str::from_utf8(text) {
                Ok(text) => json.push_str(Json::text(text).as_str()),
                Err(_) => blob(text, &mut json),
            },
            ValueRef::Blob(bytes) => blob(bytes, &mut json),
        }
    }
    json.push('}');
    Ok(json)
}

fn real(number: f64) -> String {
    match serde_json::Number::from_f64(number) {
        Some(number) => number.to_string(),
        // SQLite stores NULL for what is not a number, so infinities remain.
        None if number > 0.0 => "\"Infinity\"".to_owned(),
        None => "\"-Infinity\"".to_owned(),
    }
}

fn blob(bytes: &[u8], json: &mut String) {
    let _ = write!(json, "{{\"blake3\":\"{}\",\"bytes\":{},\"hex\":\"", Digest::of(bytes), bytes.len());
    for byte in bytes {
        let _ = write!(json, "{byte:02x}");
    }
    json.push_str("\"}");
}
