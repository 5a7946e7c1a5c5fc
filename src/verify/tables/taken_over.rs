//! Rows that cannot be made anew: those of events whose payload was erased after the tables were written.
//!
//! These rows are copied from the tables that are checked, so that all other rows, and the full-text index as
//! a whole, can be compared as usual. The copied rows themselves are not shown to be right.

use std::collections::BTreeSet;

use rusqlite::types::Value;
use rusqlite::{Connection, OptionalExtension, params_from_iter};

use crate::event::Seq;
use crate::projection::tables::{Projection, Table, TakenBack, index};

/// Most events, or sessions, that a reason names.
const NAMED_MAX: usize = 5;

/// The rows that were taken over.
#[derive(Default)]
pub(super) struct Taken {
    pub(super) rows: u64,
    /// The events and sessions that they belong to, if there are any.
    pub(super) what: Option<String>,
}

/// Takes over the rows of events that were erased, and of their sessions.
pub(super) fn take_over(
    log: &Connection,
    scratch: &Connection,
    projection: &Projection,
    erased: &BTreeSet<Seq>,
) -> rusqlite::Result<Taken> {
    match projection.taken_back {
        TakenBack::WithItsSession { timeline } => sessions(log, scratch, projection, timeline, erased),
        TakenBack::ByItself => events(log, scratch, projection, erased),
        TakenBack::Never => Ok(Taken::default()),
    }
}

/// Takes over the rows of whole sessions, because they follow from all events of the session.
fn sessions(
    log: &Connection,
    scratch: &Connection,
    projection: &Projection,
    timeline: &str,
    erased: &BTreeSet<Seq>,
) -> rusqlite::Result<Taken> {
    let (mut sessions, mut alone) = (BTreeSet::new(), BTreeSet::new());
    for seq in erased {
        // The session is looked up in the scratch table, which follows from the log, and not in the table
        // that is checked.
        let session: Option<Option<String>> = scratch
            .prepare_cached(&format!("SELECT session_id FROM main.{timeline} WHERE seq = ?1"))?
            .query_row([seq.to_sql()], |row| row.get(0))
            .optional()?;
        match session {
            Some(Some(session)) => drop(sessions.insert(session)),
            Some(None) => drop(alone.insert(*seq)),
            None => {}
        }
    }
    let mut rows = 0;
    for table in projection.tables {
        let Some(key) = table.session else { continue };
        for session in &sessions {
            rows += copy(log, scratch, table.name, key, &session.clone().into())?;
        }
    }
    for seq in &alone {
        rows += copy(log, scratch, timeline, "seq", &seq.to_sql().into())?;
    }
    let named = [
        named("session", sessions.iter().map(|session| format!("`{session}`"))),
        named("event", alone.iter().map(Seq::to_string)),
    ];
    let named: Vec<String> = named.into_iter().flatten().collect();
    Ok(Taken { rows, what: (!named.is_empty()).then(|| named.join(" and ")) })
}

fn events(
    log: &Connection,
    scratch: &Connection,
    projection: &Projection,
    erased: &BTreeSet<Seq>,
) -> rusqlite::Result<Taken> {
    let mut rows = 0;
    let mut found = BTreeSet::new();
    for table in projection.tables.iter().filter(|table| !table.is_index()) {
        let name = table.name;
        let mut documents = Vec::new();
        for seq in erased {
            let copied = copy(log, scratch, name, "seq", &seq.to_sql().into())?;
            if copied > 0 {
                found.insert(*seq);
                rows += copied;
                documents.push(seq.to_sql());
            }
        }
        // The text itself was erased. The words in the index that is checked stand in for it.
        if let Some(Table { name, .. }) = projection.index_of(name) {
            let insert = format!("INSERT INTO main.{name} (rowid, text) VALUES (?1, ?2)");
            index::each_text(log, name, &documents, |seq, text| {
                scratch.prepare_cached(&insert)?.execute(rusqlite::params![seq, text]).map(drop)
            })?;
        }
    }
    Ok(Taken { rows, what: named("event", found.iter().map(Seq::to_string)) })
}

/// Replaces the rows with a key that were made anew by those of the checked table. Returns the number of rows
/// that were copied.
fn copy(
    log: &Connection,
    scratch: &Connection,
    table: &str,
    key: &str,
    value: &Value,
) -> rusqlite::Result<u64> {
    scratch.prepare_cached(&format!("DELETE FROM main.{table} WHERE {key} = ?1"))?.execute([value])?;
    let columns: Vec<String> = scratch
        .prepare_cached("SELECT '\"' || name || '\"' FROM pragma_table_info(?1)")?
        .query_map([table], |row| row.get(0))?
        .collect::<rusqlite::Result<_>>()?;
    let (list, marks) = (columns.join(", "), vec!["?"; columns.len()].join(", "));
    let mut found = log.prepare_cached(&format!("SELECT {list} FROM main.{table} WHERE {key} = ?1"))?;
    // IGNORE: the scratch table may have the row already, because by the log it belongs to another session.
    // That row stays, and the comparison names the difference.
    let mut insert =
        scratch.prepare_cached(&format!("INSERT OR IGNORE INTO main.{table} ({list}) VALUES ({marks})"))?;
    let mut rows = found.query([value])?;
    let mut copied = 0;
    while let Some(row) = rows.next()? {
        let values: Vec<Value> =
            (0..columns.len()).map(|column| row.get(column)).collect::<rusqlite::Result<_>>()?;
        copied += u64::try_from(insert.execute(params_from_iter(values))?).unwrap_or(0);
    }
    Ok(copied)
}

/// The first few of several events or sessions, in words.
fn named(what: &str, each: impl ExactSizeIterator<Item = String>) -> Option<String> {
    let count = each.len();
    let first: Vec<String> = each.take(NAMED_MAX).collect();
    match (count, count.saturating_sub(NAMED_MAX)) {
        (0, _) => None,
        (1, _) => Some(format!("{what} {}", first.join(", "))),
        (_, 0) => Some(format!("{what}s {}", first.join(", "))),
        (_, more) => Some(format!("{what}s {} and {more} more", first.join(", "))),
    }
}
