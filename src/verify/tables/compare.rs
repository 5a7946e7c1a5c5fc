//! The comparison of two tables, row by row in the order of their key.

use rusqlite::types::ValueRef;
use rusqlite::{Connection, Rows};

use crate::projection::tables::PROJECTIONS;
use crate::text::beginning;
use crate::verify::report::{Check, Failure};

/// The failure of a read table.
pub(super) fn failure(check: Check, table: &str, detail: String) -> Failure {
    let projection = PROJECTIONS
        .iter()
        .find(|projection| projection.tables.iter().any(|known| known.name == table))
        .map_or("", |projection| projection.name);
    Failure {
        check,
        seq: None,
        detail,
        affected: format!("the read table `{table}`; `annals projections rebuild {projection}` rebuilds it"),
    }
}

/// A table's columns, and the key that its rows are ordered by.
struct Shape {
    columns: Vec<String>,
    key: Vec<String>,
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

/// Walks both tables in the order of their key, and names the first difference.
pub(super) fn compare_table(
    log: &Connection,
    scratch: &Connection,
    table: &str,
    compared: &mut u64,
) -> rusqlite::Result<Option<Failure>> {
    let shape = shape(scratch, table)?;
    // The key comes first: the first columns of a row are compared first, and name it in a message.
    let columns: Vec<&String> =
        shape.key.iter().chain(shape.columns.iter().filter(|column| !shape.key.contains(column))).collect();
    let list = columns.iter().map(|column| format!("\"{column}\"")).collect::<Vec<_>>().join(", ");
    let order = shape.key.iter().map(|column| format!("\"{column}\"")).collect::<Vec<_>>().join(", ");
    let sql = format!("SELECT {list} FROM main.\"{table}\" ORDER BY {order}");
    let (mut found, mut expected) = (log.prepare(&sql)?, scratch.prepare(&sql)?);
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
                "`{table}`, row with {}: `{}` is {found}, but by the log it should be {expected}",
                key(row),
                columns.get(*column).map_or("?", |name| name.as_str())
            ),
        };
        failure(Check::ReadTable, table, detail)
    }))
}

pub(super) enum Difference {
    Missing(Vec<String>),
    Foreign(Vec<String>),
    Cell { row: Vec<String>, column: usize, found: String, expected: String },
}

pub(super) fn first_difference(
    found: &mut Rows<'_>,
    expected: &mut Rows<'_>,
    key: usize,
    columns: usize,
    compared: &mut u64,
) -> rusqlite::Result<Option<Difference>> {
    loop {
        // Both sides have one order and were equal so far. One row of each is in memory, however long the
        // tables are.
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
                // Both sides are in the order of the key, so the smaller key is missing on the other side.
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
        // Compared by their bits: 0.0 and -0.0 are equal as numbers, but not the same value.
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

/// The text of a value for a message: enough of it to be recognized.
fn show(value: ValueRef<'_>) -> String {
    const CHARS: usize = 60;
    match value {
        ValueRef::Null => "NULL".to_owned(),
        ValueRef::Integer(number) => number.to_string(),
        ValueRef::Real(number) => number.to_string(),
        ValueRef::Text(text) => {
            let text = String::from_utf8_lossy(text);
            match beginning(&text, CHARS) {
                Some(begin) => format!("{begin:?}…"),
                None => format!("{text:?}"),
            }
        }
        ValueRef::Blob(blob) => format!("a blob of {} bytes", blob.len()),
    }
}
