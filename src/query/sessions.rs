//! Pages of sessions, newest first.
//!
//! A page is found in one of two ways. If a filter fits few sessions, its own index names them, and they are
//! sorted. If it fits many, the sessions are walked from the newest back, and each is compared with the filter: a
//! page is soon full. A bounded look at the index decides which way is taken.

use rusqlite::types::Value;
use rusqlite::{Connection, OptionalExtension, params_from_iter};
use serde::Serialize;

use super::column::{PAGE_BYTES_MAX, Record, text_bytes};
use super::records::SessionSummary;
use super::{QueryError, words};
use crate::event::{Seq, Timestamp};
use crate::projection::tables;

/// Rows of an index that count as few: naming and sorting their sessions takes some milliseconds.
const FEW_ROWS: usize = 2_000;

/// Number of events with the searched words that still counts as few if there is another filter. Searching
/// the sessions one by one for words is expensive, and the other filter may make that walk long. Finding the
/// sessions of so many events takes some tenths of a second.
const FEW_EVENTS_WITH_WORDS: usize = 100_000;

/// A filter of sessions. Everything that is set must fit.
#[derive(Clone, Debug, PartialEq)]
pub struct SessionFilter {
    /// Only sessions with this status.
    pub status: Option<String>,
    /// Only sessions of this pipeline.
    pub profile: Option<String>,
    /// Only sessions of this conversation.
    pub conversation: Option<String>,
    /// Earliest start. A session without a time of its own counts as started when its first event was recorded.
    pub since: Option<Timestamp>,
    /// Time before which it started.
    pub until: Option<Timestamp>,
    /// Only sessions with a step of this module.
    pub module: Option<String>,
    /// Only sessions with a step of at most this confidence.
    pub max_confidence: Option<f64>,
    /// True to list only sessions with findings.
    pub with_findings: bool,
    /// Only sessions with these words in the texts of one event.
    pub text: Option<String>,
    /// Only sessions whose first event is before this one: the next page begins at [`SessionPage::next`].
    pub before: Option<Seq>,
    /// Most sessions of a page. It has fewer if these have some megabytes of text.
    pub limit: usize,
}

impl Default for SessionFilter {
    fn default() -> SessionFilter {
        SessionFilter {
            status: None,
            profile: None,
            conversation: None,
            since: None,
            until: None,
            module: None,
            max_confidence: None,
            with_findings: false,
            text: None,
            before: None,
            limit: 50,
        }
    }
}

/// A page of sessions, newest first.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct SessionPage {
    /// The sessions.
    pub sessions: Vec<SessionSummary>,
    /// The value of [`SessionFilter::before`] for the next page, if older sessions follow.
    pub next: Option<Seq>,
}

/// A condition on sessions, for both ways of finding a page.
struct Condition {
    /// The condition on the row of a session, with `?` for its values.
    row: String,
    /// A query that names the ids of the sessions that fit, from an index.
    ids: Option<String>,
    /// Most rows of the index for which `ids` is used.
    few: usize,
    values: Vec<Value>,
}

impl Condition {
    fn row(row: &str, value: impl Into<Value>) -> Condition {
        Condition { row: row.to_owned(), ids: None, few: 0, values: vec![value.into()] }
    }

    /// Returns whether its index names few sessions.
    fn is_narrow(&self, connection: &Connection) -> rusqlite::Result<bool> {
        let Some(ids) = &self.ids else { return Ok(false) };
        let rows: i64 = connection
            .prepare_cached(&format!("SELECT count(*) FROM ({ids} LIMIT {})", self.few.saturating_add(1)))?
            .query_row(params_from_iter(&self.values), |row| row.get(0))?;
        Ok(usize::try_from(rows).is_ok_and(|rows| rows <= self.few))
    }
}

/// Reads a page of the sessions that fit.
pub(crate) fn page(connection: &Connection, filter: &SessionFilter) -> Result<SessionPage, QueryError> {
    let (mut wheres, mut values) = (Vec::new(), Vec::new());
    let (mut narrow, mut wide) = (Vec::new(), Vec::new());
    for condition in conditions(connection, filter)? {
        if condition.is_narrow(connection)? { &mut narrow } else { &mut wide }.push(condition);
    }
    // A plus sign keeps SQLite from using another index than the one that names few sessions.
    let plus = if narrow.is_empty() { "" } else { "+" };
    for condition in narrow {
        wheres.push(format!("id IN ({})", condition.ids.unwrap_or_default()));
        values.extend(condition.values);
    }
    for condition in wide {
        wheres.push(format!("{plus}{}", condition.row));
        values.extend(condition.values);
    }
    if let Some(before) = filter.before {
        wheres.push(format!("{plus}first_seq < ?"));
        values.push(before.to_sql().into());
    }
    let wheres = if wheres.is_empty() { String::new() } else { format!(" WHERE {}", wheres.join(" AND ")) };
    let limit = filter.limit.max(1);
    let table = tables::stored(connection, "sessions")?.rows;
    let columns = SessionSummary::columns(connection)?;
    let columns = match table {
        // The table of an earlier version stores the texts itself.
        "sessions" => columns,
        _ => columns.replacen(INPUT, INPUT_BEGINNING, 1),
    };
    let sql = format!(
        "SELECT {columns} FROM {table} AS sessions{wheres} ORDER BY {plus}first_seq DESC LIMIT {}",
        limit.saturating_add(1)
    );
    let mut statement = connection.prepare_cached(&sql)?;
    let mut rows = statement.query(params_from_iter(values))?;
    let (mut sessions, mut bytes, mut next) = (Vec::<SessionSummary>::new(), 0, None);
    while let Some(row) = rows.next()? {
        // The query reads one row beyond the limit: it shows that older sessions follow.
        if sessions.len() == limit || bytes >= PAGE_BYTES_MAX {
            next = sessions.last().map(|session| session.first_seq);
            break;
        }
        bytes += text_bytes(row, SessionSummary::COLUMNS.len())?;
        sessions.push(SessionSummary::read(row)?);
    }
    Ok(SessionPage { sessions, next })
}

/// The part of a session's input that a summary has.
const INPUT: &str = "substr(input, 1, 200)";

/// The same, without building long texts: 200 characters take at most 800 bytes.
const INPUT_BEGINNING: &str = "coalesce(input_summary_text, substr(input_text, 1, 200),
    (SELECT substr(CAST(substr(payload, input_offset, min(input_length, 800)) AS TEXT), 1, 200)
     FROM log WHERE seq = input_seq))";

fn conditions(connection: &Connection, filter: &SessionFilter) -> Result<Vec<Condition>, QueryError> {
    let mut conditions = Vec::new();
    if let Some(status) = &filter.status {
        conditions.push(Condition::row("status = ?", status.clone()));
    }
    if let Some(profile) = &filter.profile {
        conditions.push(Condition::row("profile = ?", profile.clone()));
    }
    if let Some(conversation) = &filter.conversation {
        conditions.push(Condition::row("conversation_id = ?", conversation.clone()));
    }
    conditions.extend(time_condition(connection, filter)?);
    if let Some(module) = &filter.module {
        conditions.push(Condition {
            row: "EXISTS (SELECT 1 FROM steps WHERE steps.session_id = sessions.id AND +module = ?)"
                .to_owned(),
            ids: Some("SELECT session_id FROM steps WHERE module = ?".to_owned()),
            few: FEW_ROWS,
            values: vec![module.clone().into()],
        });
    }
    if let Some(confidence) = filter.max_confidence {
        conditions.push(Condition {
            row: "EXISTS (SELECT 1 FROM steps WHERE steps.session_id = sessions.id AND +confidence <= ?)"
                .to_owned(),
            ids: Some("SELECT session_id FROM steps WHERE confidence <= ?".to_owned()),
            few: FEW_ROWS,
            values: vec![confidence.into()],
        });
    }
    if filter.with_findings {
        conditions.push(Condition {
            row: "finding_count > 0".to_owned(),
            ids: Some("SELECT session_id FROM findings".to_owned()),
            few: FEW_ROWS,
            values: Vec::new(),
        });
    }
    if let Some(text) = &filter.text {
        let query = words::to_fts(text).ok_or_else(|| QueryError::NoWords(text.clone()))?;
        let newest: Option<i64> = connection
            .prepare_cached("SELECT rowid FROM search WHERE search MATCH ?1 ORDER BY rowid DESC LIMIT 1")?
            .query_row([&query], |row| row.get(0))
            .optional()?;
        let newest = newest.unwrap_or(0);
        let documents = tables::stored(connection, "search_documents")?.rows;
        // With words alone a walk from the newest session soon fills a page, so fewer events count as few.
        let few = if conditions.is_empty() { FEW_ROWS } else { FEW_EVENTS_WITH_WORDS };
        conditions.push(Condition {
            // The events of a session stand between its first and its last, and a session that began after the last
            // event with the words has none of them.
            row: format!(
                "first_seq <= {newest} AND EXISTS (SELECT 1 FROM search CROSS JOIN {documents} AS documents ON documents.seq = search.rowid
                  WHERE search MATCH ? AND search.rowid BETWEEN sessions.first_seq AND sessions.last_seq
                  AND documents.session_id = sessions.id)"
            ),
            ids: Some(format!(
                "SELECT session_id FROM search CROSS JOIN {documents} AS documents ON documents.seq = search.rowid
                 WHERE search MATCH ? AND session_id IS NOT NULL"
            )),
            few,
            values: vec![query.into()],
        });
    }
    Ok(conditions)
}

fn time_condition(connection: &Connection, filter: &SessionFilter) -> rusqlite::Result<Option<Condition>> {
    let bounds = [(">=", filter.since), ("<", filter.until)];
    let (mut rows, mut ranges, mut values) = (Vec::new(), Vec::new(), Vec::new());
    for (comparison, time) in bounds {
        let Some(time) = time else { continue };
        rows.push(format!("coalesce(started_at, first_recorded_at) {comparison} ?"));
        ranges.push(format!("started_at {comparison} ?"));
        values.push(Value::from(time.to_sql()));
    }
    if values.is_empty() {
        return Ok(None);
    }
    // The index has only the sessions with a time of their own. It is used only if there are no others.
    let some_lack_a_start: bool = connection
        .prepare_cached("SELECT EXISTS (SELECT 1 FROM sessions WHERE started_at IS NULL)")?
        .query_row([], |row| row.get(0))?;
    let ids = (!some_lack_a_start).then(|| format!("SELECT id FROM sessions WHERE {}", ranges.join(" AND ")));
    Ok(Some(Condition { row: rows.join(" AND "), ids, few: FEW_ROWS, values }))
}
