//! The read tables, held against the fold of the log: the rebuild's own code fills a scratch
//! database, and the two are compared by key, as of each projection's cursor.

use rusqlite::types::ValueRef;
use rusqlite::{Connection, ErrorCode, OptionalExtension, Rows};

use super::log::Walk;
use super::report::{Check, Failure, TablesChecked};
use super::{VerifyError, is_damage};
use crate::event::Seq;
use crate::limits::{FOLD_BYTES_MAX, FOLD_EVENTS_MAX};
use crate::log::{rows, schema};
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
        let cursor = match tables::cursor(log, projection.name, Stage::Live) {
            Err(error) if is_damage(&error) => {
                failures.push(cursor_failure(projection, format!("its cursor cannot be read: {error}")));
                None
            }
            Ok(None) if has_tables(log, projection)? => {
                failures.push(cursor_failure(projection, "it has tables and no cursor".to_owned()));
                None
            }
            cursor => cursor?,
        };
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
        if let Some(position) = cursor.as_ref().map(|cursor| cursor.position.get())
            && position > walk.events
        {
            failures.push(cursor_failure(
                projection,
                format!(
                    "its tables hold events up to {position}, and the log ends at {}: events were cut off its end, or the cursor was moved",
                    walk.events
                ),
            ));
        }
        if let (Some(cursor), None) = (cursor, &report.not_checked) {
            to_check.push(ToCheck { place: checked.len(), projection, until: cursor.position });
        }
        checked.push(report);
    }
    // An unnamed database: SQLite keeps it in a temporary file and removes that by itself.
    let scratch = Connection::open("")?;
    scratch
        .execute_batch("PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF; PRAGMA cache_size = -65536;")?;
    let obstacles = fold(log, &scratch, &to_check, progress)?;
    for (to_check, obstacle) in to_check.iter().zip(obstacles) {
        let Some(report) = checked.get_mut(to_check.place) else { continue };
        match obstacle {
            None => report.rows = compare(log, &scratch, to_check.projection, failures)?,
            Some(Obstacle::NotKnown(reason)) => report.not_checked = Some(reason),
            Some(Obstacle::Refused(reason)) => failures.push(cursor_failure(
                to_check.projection,
                format!("its cursor is behind an event that cannot be applied: {reason}"),
            )),
        }
    }
    Ok(checked)
}

fn has_tables(log: &Connection, projection: &Projection) -> Result<bool, VerifyError> {
    let tables = schema::objects(log)?;
    Ok(tables
        .iter()
        .any(|object| object.kind == "table" && projection.tables.contains(&object.name.as_str())))
}

/// A projection whose tables are checked, and its place among the reports.
struct ToCheck {
    place: usize,
    projection: &'static Projection,
    until: Seq,
}

/// Why the fold of a projection did not come to its cursor.
enum Obstacle {
    /// This version of Annals does not know an event.
    NotKnown(String),
    /// The tables refuse an event.
    Refused(String),
}

fn cursor_failure(projection: &Projection, detail: String) -> Failure {
    Failure {
        check: Check::ReadTable,
        seq: None,
        detail: format!("the projection `{}`: {detail}", projection.name),
        affected: format!("the read tables {}", projection.tables.join(", ")),
    }
}

fn not_checked(projection: &Projection, cursor: Option<&Cursor>, walk: &Walk) -> Option<String> {
    let Some(cursor) = cursor else { return Some("it has no cursor, or one that cannot be read".to_owned()) };
    if cursor.version != projection.version {
        return Some(format!(
            "its tables have version {}, this version of Annals knows {}",
            cursor.version, projection.version
        ));
    }
    // The tables still say what the log does not any more.
    let ahead = walk.redactions.iter().find(|redaction| {
        redaction.licence > cursor.position
            && redaction.seqs.iter().any(|seq| Seq::new(*seq) <= cursor.position)
    })?;
    Some(format!("it has not yet come to the redaction recorded by event {}", ahead.licence))
}

/// Fills the scratch tables up to each projection's cursor, reading the log once. What keeps one
/// projection from its cursor does not keep the others.
fn fold(
    log: &Connection,
    scratch: &Connection,
    projections: &[ToCheck],
    progress: &mut dyn FnMut(u64),
) -> Result<Vec<Option<Obstacle>>, VerifyError> {
    let mut appliers = Vec::new();
    for to_check in projections {
        to_check.projection.create_tables(scratch, Stage::Live, 1)?;
        appliers.push((
            Applier::new(to_check.projection, Stage::Live, scratch, log)?,
            to_check.until,
            None::<Obstacle>,
        ));
    }
    let end = appliers.iter().map(|(_, until, _)| *until).max().unwrap_or(Seq::ZERO);
    let mut position = Seq::ZERO;
    scratch.execute_batch("BEGIN")?;
    while position < end {
        let events = rows::read_after(log, position, end, FOLD_EVENTS_MAX, FOLD_BYTES_MAX)?;
        let Some(last) = events.last() else { break };
        position = last.seq;
        for (applier, until, obstacle) in appliers.iter_mut().filter(|(_, _, obstacle)| obstacle.is_none()) {
            match applier.apply(events.iter().filter(|event| event.seq <= *until)) {
                Ok(()) => {}
                Err(ApplyError::Unreadable(reason)) => *obstacle = Some(Obstacle::NotKnown(reason)),
                Err(ApplyError::Sqlite(error)) if is_damage(&error) => {
                    *obstacle = Some(Obstacle::Refused(error.to_string()));
                }
                Err(ApplyError::Sqlite(error)) => return Err(error.into()),
            }
        }
        progress(events.len() as u64);
    }
    scratch.execute_batch("COMMIT")?;
    Ok(appliers.into_iter().map(|(_, _, obstacle)| obstacle).collect())
}

/// Compares the tables of a projection, and returns how many rows were equal.
fn compare(
    log: &Connection,
    scratch: &Connection,
    projection: &Projection,
    failures: &mut Vec<Failure>,
) -> Result<u64, VerifyError> {
    let mut compared = 0;
    for table in projection.tables {
        let difference = match *table {
            "search" => compare_index(log, scratch),
            table => compare_table(log, scratch, table, &mut compared),
        };
        match difference {
            Ok(difference) => failures.extend(difference),
            Err(error) if is_damage(&error) => {
                let check = match error.sqlite_error_code() {
                    _ if *table == "search" => Check::SearchIndex,
                    Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => Check::Damage,
                    _ => Check::ReadTable,
                };
                failures.push(failure(check, table, format!("`{table}` cannot be read: {error}")));
            }
            Err(error) => return Err(error.into()),
        }
    }
    Ok(compared)
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
    let projection = PROJECTIONS
        .iter()
        .find(|projection| projection.tables.contains(&table))
        .map_or("", |projection| projection.name);
    Failure {
        check,
        seq: None,
        detail,
        affected: format!(
            "the read table `{table}`; `annals projections rebuild {projection}` makes it anew"
        ),
    }
}

/// Walks both tables in the order of their key, and names the first difference.
fn compare_table(
    log: &Connection,
    scratch: &Connection,
    table: &str,
    compared: &mut u64,
) -> rusqlite::Result<Option<Failure>> {
    let shape = shape(scratch, table)?;
    // The key first: it names the row.
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

/// Compares the full-text indexes word by word: which word stands where in which document, and how
/// long the documents are.
fn compare_index(log: &Connection, scratch: &Connection) -> rusqlite::Result<Option<Failure>> {
    const SQL: &str = "SELECT term, doc, col, offset FROM temp.annals_words";
    for connection in [log, scratch] {
        connection.execute_batch(
            "DROP TABLE IF EXISTS temp.annals_words;
             CREATE VIRTUAL TABLE temp.annals_words USING fts5vocab('main', 'search', 'instance');",
        )?;
    }
    let (mut found, mut expected) = (log.prepare(SQL)?, scratch.prepare(SQL)?);
    let (mut found, mut expected) = (found.query([])?, expected.query([])?);
    let difference = first_difference(&mut found, &mut expected, 4, 4, &mut 0)?.map(|difference| {
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
    });
    if difference.is_some() {
        return Ok(difference);
    }
    for table in ["search_docsize", "search_config"] {
        if let Some(failure) = compare_table(log, scratch, table, &mut 0)? {
            return Ok(Some(Failure { check: Check::SearchIndex, ..failure }));
        }
    }
    Ok(compare_averages(log, scratch)?.or(check_reach(log, scratch)?))
}

/// Compares what the index keeps to rank by: how many words there are in how many documents.
fn compare_averages(log: &Connection, scratch: &Connection) -> rusqlite::Result<Option<Failure>> {
    let averages = |connection: &Connection| {
        connection
            .query_row("SELECT block FROM main.search_data WHERE id = 1", [], |row| row.get::<_, Vec<u8>>(0))
            .optional()
    };
    let detail = "the full-text index ranks by other numbers of words than there are";
    Ok((averages(log)? != averages(scratch)?)
        .then(|| failure(Check::SearchIndex, "search", detail.to_owned())))
}

/// Asks the index for words as a search would: the comparison above walks along its pages, and a
/// search finds its way to them through a table of their first words.
fn check_reach(log: &Connection, scratch: &Connection) -> rusqlite::Result<Option<Failure>> {
    scratch.execute_batch(
        "DROP TABLE IF EXISTS temp.annals_terms;
         CREATE VIRTUAL TABLE temp.annals_terms USING fts5vocab('main', 'search', 'row');",
    )?;
    let mut terms = scratch.prepare("SELECT term, doc FROM temp.annals_terms")?;
    let mut terms = terms.query([])?;
    let mut search = log.prepare("SELECT count(*) FROM main.search WHERE search MATCH ?1")?;
    while let Some(row) = terms.next()? {
        let (term, expected): (String, i64) = (row.get(0)?, row.get(1)?);
        let found: i64 =
            search.query_row([format!("\"{}\"", term.replace('"', "\"\""))], |row| row.get(0))?;
        if found != expected {
            let detail =
                format!("a search for {term:?} finds {found} documents, and {expected} have the word");
            return Ok(Some(failure(Check::SearchIndex, "search", detail)));
        }
    }
    Ok(None)
}

fn part(row: &[String], place: usize) -> &str {
    row.get(place).map_or("?", String::as_str)
}
