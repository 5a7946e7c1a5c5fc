//! The read tables, held against the fold of the log: the rebuild's own code fills a scratch
//! database, and the two are compared by key, as of each projection's cursor.

use rusqlite::types::ValueRef;
use rusqlite::{Connection, Rows};

use super::VerifyError;
use super::log::Walk;
use super::report::{Check, Failure, TablesChecked};
use crate::event::Seq;
use crate::limits::{FOLD_BYTES_MAX, FOLD_EVENTS_MAX};
use crate::log::rows;
use crate::projection::apply::{Applier, ApplyError};
use crate::projection::tables::{self, Cursor, PROJECTIONS, Projection, Stage};

/// A table's columns, and the key that its rows are ordered by.
struct Shape {
    columns: Vec<String>,
    key: Vec<String>,
}

/// Checks the tables of every projection that can be checked.
pub(super) fn check(
    log: &Connection,
    walk: &Walk,
    failures: &mut Vec<Failure>,
    progress: &mut dyn FnMut(u64),
) -> Result<Vec<TablesChecked>, VerifyError> {
    let mut checked = Vec::new();
    let mut to_check = Vec::new();
    for projection in &PROJECTIONS {
        let cursor = tables::cursor(log, projection.name, Stage::Live)?;
        let report = TablesChecked {
            projection: projection.name.to_owned(),
            position: cursor.as_ref().map_or(Seq::ZERO, |cursor| cursor.position),
            lag: walk.events.saturating_sub(cursor.as_ref().map_or(0, |cursor| cursor.position.get())),
            not_checked: not_checked(projection, cursor.as_ref(), walk),
            stopped: cursor.as_ref().and_then(|cursor| {
                cursor.stopped.as_ref().map(|stopped| format!("at event {}: {}", stopped.seq, stopped.error))
            }),
            rows: 0,
        };
        if let (Some(cursor), None) = (cursor, &report.not_checked) {
            to_check.push((checked.len(), projection, cursor.position));
        }
        checked.push(report);
    }
    // An unnamed database: SQLite keeps it in a temporary file and removes that by itself.
    let scratch = Connection::open("")?;
    scratch
        .execute_batch("PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF; PRAGMA cache_size = -65536;")?;
    fold(log, &scratch, &to_check, progress)?;
    for (place, projection, _) in &to_check {
        let mut compared = 0;
        for table in projection.tables {
            let difference = match *table {
                "search" => compare_index(log, &scratch)?,
                table => compare_table(log, &scratch, table, &mut compared)?,
            };
            failures.extend(difference);
        }
        if let Some(report) = checked.get_mut(*place) {
            report.rows = compared;
        }
    }
    Ok(checked)
}

fn not_checked(projection: &Projection, cursor: Option<&Cursor>, walk: &Walk) -> Option<String> {
    let Some(cursor) = cursor else { return Some("it has no tables yet".to_owned()) };
    if cursor.version != projection.version {
        return Some(format!(
            "its tables have version {}, this version of Annals knows {}",
            cursor.version, projection.version
        ));
    }
    let ahead = walk.redactions.iter().find(|redaction| redaction.licence > cursor.position)?;
    Some(format!("it has not yet come to the redaction recorded by event {}", ahead.licence))
}

/// Fills the scratch tables up to each projection's cursor, reading the log once.
fn fold(
    log: &Connection,
    scratch: &Connection,
    projections: &[(usize, &'static Projection, Seq)],
    progress: &mut dyn FnMut(u64),
) -> Result<(), VerifyError> {
    let mut appliers = Vec::new();
    for (_, projection, until) in projections {
        projection.create_tables(scratch, Stage::Live, 1)?;
        appliers.push((Applier::new(projection, Stage::Live, scratch, log)?, *until));
    }
    let end = appliers.iter().map(|(_, until)| *until).max().unwrap_or(Seq::ZERO);
    let mut position = Seq::ZERO;
    scratch.execute_batch("BEGIN")?;
    while position < end {
        let events = rows::read_after(log, position, end, FOLD_EVENTS_MAX, FOLD_BYTES_MAX)?;
        let Some(last) = events.last() else { break };
        position = last.seq;
        for (applier, until) in &appliers {
            applier.apply(events.iter().filter(|event| event.seq <= *until)).map_err(
                |error| match error {
                    ApplyError::Sqlite(error) => VerifyError::Sqlite(error),
                    ApplyError::Unreadable(reason) => VerifyError::Fold(reason),
                },
            )?;
        }
        progress(events.len() as u64);
    }
    scratch.execute_batch("COMMIT")?;
    Ok(())
}

fn shape(scratch: &Connection, table: &str) -> rusqlite::Result<Shape> {
    let mut statement = scratch.prepare("SELECT name, pk FROM pragma_table_info(?1)")?;
    let columns: Vec<(String, i64)> = statement
        .query_map([table], |row| Ok((row.get(0)?, row.get(1)?)))?
        .collect::<rusqlite::Result<_>>()?;
    let mut key: Vec<_> = columns.iter().filter(|(_, pk)| *pk > 0).collect();
    key.sort_by_key(|(_, pk)| *pk);
    Ok(Shape {
        key: key.into_iter().map(|(name, _)| name.clone()).collect(),
        columns: columns.into_iter().map(|(name, _)| name).collect(),
    })
}

fn failure(check: Check, table: &str, detail: String) -> Failure {
    Failure {
        check,
        seq: None,
        detail,
        affected: format!("the read table `{table}`; `annals projections rebuild` makes it anew"),
    }
}

/// Walks both tables in the order of their key, and names the first difference.
fn compare_table(
    log: &Connection,
    scratch: &Connection,
    table: &str,
    compared: &mut u64,
) -> Result<Option<Failure>, VerifyError> {
    let shape = shape(scratch, table)?;
    // The key first: it names the row.
    let columns: Vec<&String> =
        shape.key.iter().chain(shape.columns.iter().filter(|column| !shape.key.contains(column))).collect();
    let list = columns.iter().map(|column| format!("\"{column}\"")).collect::<Vec<_>>().join(", ");
    let order = shape.key.iter().map(|column| format!("\"{column}\"")).collect::<Vec<_>>().join(", ");
    let sql = format!("SELECT {list} FROM main.\"{table}\" ORDER BY {order}");
    let mut found = match log.prepare(&sql) {
        Ok(statement) => statement,
        // The schema's check has said what is missing.
        Err(error) => {
            return Ok(Some(failure(Check::ReadTable, table, format!("it cannot be read: {error}"))));
        }
    };
    let mut expected = scratch.prepare(&sql)?;
    let (mut found, mut expected) = (found.query([])?, expected.query([])?);
    let difference = first_difference(&mut found, &mut expected, shape.key.len(), columns.len(), compared)?;
    Ok(difference.map(|difference| {
        let key = |values: &[String]| {
            shape
                .key
                .iter()
                .zip(values)
                .map(|(name, value)| format!("{name} {value}"))
                .collect::<Vec<_>>()
                .join(", ")
        };
        let detail = match &difference {
            Difference::Missing(row) => format!("`{table}` lacks the row with {}", key(row)),
            Difference::Foreign(row) => format!("`{table}` has a row with {} that no event made", key(row)),
            Difference::Cell { row, column, found, expected } => format!(
                "`{table}`, row with {}: `{}` is {found}, and follows from the log as {expected}",
                key(row),
                columns.get(*column).map_or("?", |name| name.as_str())
            ),
        };
        failure(Check::ReadTable, table, detail)
    }))
}

enum Difference {
    Missing(Vec<String>),
    Foreign(Vec<String>),
    Cell { row: Vec<String>, column: usize, found: String, expected: String },
}

fn first_difference(
    found: &mut Rows<'_>,
    expected: &mut Rows<'_>,
    key: usize,
    columns: usize,
    compared: &mut u64,
) -> rusqlite::Result<Option<Difference>> {
    loop {
        let (a, b) = (found.next()?, expected.next()?);
        let values = |row: &rusqlite::Row<'_>| -> rusqlite::Result<Vec<String>> {
            (0..key).map(|column| row.get_ref(column).map(show)).collect()
        };
        let (a, b) = match (a, b) {
            (None, None) => return Ok(None),
            (None, Some(b)) => return Ok(Some(Difference::Missing(values(b)?))),
            (Some(a), None) => return Ok(Some(Difference::Foreign(values(a)?))),
            (Some(a), Some(b)) => (a, b),
        };
        for column in 0..columns {
            let (x, y) = (a.get_ref(column)?, b.get_ref(column)?);
            if same(x, y) {
                continue;
            }
            if column < key {
                // Both are in the order of the key: the smaller one is missing on the other side.
                let foreign = order(x, y).is_lt();
                return Ok(Some(if foreign {
                    Difference::Foreign(values(a)?)
                } else {
                    Difference::Missing(values(b)?)
                }));
            }
            return Ok(Some(Difference::Cell { row: values(b)?, column, found: show(x), expected: show(y) }));
        }
        *compared += 1;
    }
}

fn same(a: ValueRef<'_>, b: ValueRef<'_>) -> bool {
    match (a, b) {
        (ValueRef::Real(a), ValueRef::Real(b)) => a.to_bits() == b.to_bits(),
        (a, b) => a == b,
    }
}

/// The order of keys, which are integers or texts, in SQLite's binary collation.
fn order(a: ValueRef<'_>, b: ValueRef<'_>) -> std::cmp::Ordering {
    match (a, b) {
        (ValueRef::Integer(a), ValueRef::Integer(b)) => a.cmp(&b),
        (ValueRef::Text(a), ValueRef::Text(b)) => a.cmp(b),
        (ValueRef::Null | ValueRef::Integer(_), _) => std::cmp::Ordering::Less,
        _ => std::cmp::Ordering::Greater,
    }
}

/// A value for a message: enough of it to be recognized.
fn show(value: ValueRef<'_>) -> String {
    const CHARS: usize = 60;
    match value {
        ValueRef::Null => "NULL".to_owned(),
        ValueRef::Integer(number) => number.to_string(),
        ValueRef::Real(number) => number.to_string(),
        ValueRef::Text(text) => {
            let text = String::from_utf8_lossy(text);
            match text.char_indices().nth(CHARS) {
                Some((end, _)) => format!("{:?}…", text.get(..end).unwrap_or_default()),
                None => format!("{text:?}"),
            }
        }
        ValueRef::Blob(blob) => format!("a blob of {} bytes", blob.len()),
    }
}

/// Compares the full-text indexes word by word: which word stands where in which document.
fn compare_index(log: &Connection, scratch: &Connection) -> Result<Option<Failure>, VerifyError> {
    const SQL: &str = "SELECT term, doc, col, offset FROM temp.annals_words";
    for connection in [log, scratch] {
        connection.execute_batch(
            "DROP TABLE IF EXISTS temp.annals_words;
             CREATE VIRTUAL TABLE temp.annals_words USING fts5vocab('main', 'search', 'instance');",
        )?;
    }
    let compare = || -> rusqlite::Result<Option<Failure>> {
        let (mut found, mut expected) = (log.prepare(SQL)?, scratch.prepare(SQL)?);
        let (mut found, mut expected) = (found.query([])?, expected.query([])?);
        let difference = first_difference(&mut found, &mut expected, 4, 4, &mut 0)?;
        Ok(difference.map(|difference| {
            let detail = match difference {
                Difference::Missing(row) | Difference::Cell { row, .. } => {
                    format!("the full-text index lacks the word {} of event {}", part(&row, 0), part(&row, 1))
                }
                Difference::Foreign(row) => format!(
                    "the full-text index has the word {} for event {}, which does not say it",
                    part(&row, 0),
                    part(&row, 1)
                ),
            };
            failure(Check::SearchIndex, "search", detail)
        }))
    };
    match compare() {
        Ok(difference) => Ok(difference),
        Err(error) if error.sqlite_error_code() == Some(rusqlite::ErrorCode::DatabaseCorrupt) => Ok(Some(
            failure(Check::SearchIndex, "search", format!("the full-text index cannot be read: {error}")),
        )),
        Err(error) => Err(error.into()),
    }
}

fn part(row: &[String], place: usize) -> &str {
    row.get(place).map_or("?", String::as_str)
}
