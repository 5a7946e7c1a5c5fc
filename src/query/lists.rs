//! Pages of the parts of sessions: steps, decisions, findings, and their timeline.
//!
//! Within a session a page goes on in the order of the log. Across sessions it begins with the newest session, and
//! goes backwards in it. Both are walks along an index, and stop after a number of rows, bytes or sessions. So a
//! page may be short, or empty, and still have a next one.

use std::fmt;
use std::str::FromStr;

use rusqlite::types::Value;
use rusqlite::{Connection, OptionalExtension, params_from_iter};

use super::column::{PAGE_BYTES_MAX, Record, text_bytes};
use super::margin;
use super::records::{Decision, Finding, Step, TimelineEntry};
use crate::projection::tables::{self, Stored};

/// Most sessions that are looked through for one page.
const SESSIONS_MAX: usize = 1_000;

/// A row that belongs to a session, and is listed.
pub(crate) trait Listed: Record {
    /// The column that orders the rows of a session; the table has an index over the session and this column.
    const ORDER: &'static str;
}

impl Listed for Step {
    const ORDER: &'static str = "first_seq";
}

impl Listed for Decision {
    const ORDER: &'static str = "first_seq";
}

impl Listed for Finding {
    const ORDER: &'static str = "first_seq";
}

impl Listed for TimelineEntry {
    const ORDER: &'static str = "seq";
}

/// A number greater than that of any event and row: eighteen digits, the most that a cursor's numbers have.
const END: i64 = 999_999_999_999_999_999;

/// The end of a page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Cursor {
    /// The first event of the session; 0 within one session.
    session: i64,
    order: i64,
    row: i64,
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}-{}", self.session, self.order, self.row)
    }
}

/// A text that is no cursor.
#[derive(Debug, thiserror::Error)]
#[error("`{0}` is not a cursor; use `next` of the previous page")]
pub(crate) struct NoCursor(String);

impl FromStr for Cursor {
    type Err = NoCursor;

    fn from_str(text: &str) -> Result<Cursor, NoCursor> {
        let mut numbers =
            text.split('-').map(|part| part.parse::<u64>().ok().and_then(|n| n.try_into().ok()));
        match (numbers.next(), numbers.next(), numbers.next(), numbers.next()) {
            (Some(Some(session)), Some(Some(order)), Some(Some(row)), None) => {
                Ok(Cursor { session, order, row })
            }
            _ => Err(NoCursor(text.to_owned())),
        }
    }
}

/// The rows to list.
#[derive(Clone, Debug, Default)]
pub(crate) struct ListFilter {
    session: Option<String>,
    /// Conditions on the row, and their values.
    conditions: Vec<(String, Value)>,
    after: Option<Cursor>,
    limit: usize,
}

impl ListFilter {
    pub(crate) fn new(session: Option<String>, after: Option<Cursor>, limit: usize) -> ListFilter {
        ListFilter { session, conditions: Vec::new(), after, limit: limit.max(1) }
    }

    /// Keeps only rows with this value in a column, if a value is given.
    pub(crate) fn equal(mut self, column: &'static str, value: Option<String>) -> ListFilter {
        // The plus sign keeps SQLite from using an index of the column, because the walk goes along the index
        // of the order.
        self.conditions.extend(value.map(|value| (format!("+{column} = ?"), value.into())));
        self
    }

    /// Keeps only rows of steps of this module, if one is given.
    pub(crate) fn of_module(mut self, module: Option<String>) -> ListFilter {
        // Qualified, because steps have a column `session_id` as well.
        let of_module = "EXISTS (SELECT 1 FROM annals_steps AS s WHERE s.session_id = listed.session_id
          AND s.id = listed.step_id AND s.module = ?)";
        self.conditions.extend(module.map(|module| (of_module.to_owned(), module.into())));
        self
    }

    /// Keeps only decisions that chose this option, alone or among others, if one is given.
    pub(crate) fn choosing(mut self, option: Option<String>) -> ListFilter {
        let chosen = "? IN (SELECT value FROM json_each(chosen_options))";
        self.conditions.extend(option.map(|option| (chosen.to_owned(), option.into())));
        self
    }

    /// Keeps only decisions with at most this margin, if one is given.
    pub(crate) fn margin_at_most(mut self, margin: Option<f64>) -> ListFilter {
        self.conditions.extend(margin.map(|most| (format!("{} <= ?", margin::SQL), most.into())));
        self
    }

    /// The same rows, with another page size, and after this cursor if one is given.
    pub(crate) fn page(&self, limit: usize, after: Option<Cursor>) -> ListFilter {
        ListFilter { limit: limit.max(1), after: after.or(self.after), ..self.clone() }
    }

    /// Keeps only rows with at most this value in a column, if a value is given.
    pub(crate) fn at_most(mut self, column: &'static str, value: Option<f64>) -> ListFilter {
        self.conditions.extend(value.map(|value| (format!("+{column} <= ?"), value.into())));
        self
    }
}

/// A page of rows, and the cursor at which the next one goes on.
#[derive(Clone, Debug)]
pub(crate) struct Page<T> {
    pub(crate) items: Vec<T>,
    pub(crate) next: Option<Cursor>,
}

/// The direction of a walk through the rows of a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Direction {
    Forwards,
    Backwards,
}

/// Reads a page of the rows that fit.
pub(crate) fn page<R: Listed>(connection: &Connection, filter: &ListFilter) -> rusqlite::Result<Page<R>> {
    let mut walk = Walk { connection, filter, items: Vec::new(), bytes: 0 };
    if let Some(session) = &filter.session {
        let from = filter.after.map(|after| (after.order, after.row));
        let next = walk.session(session, 0, from, Direction::Forwards)?;
        return Ok(Page { items: walk.items, next });
    }
    // The session at the cursor is included: it may have more rows.
    let newest = filter.after.map_or(i64::MAX, |after| after.session);
    let mut sessions = connection
        .prepare_cached("SELECT id, first_seq FROM sessions WHERE first_seq <= ?1 ORDER BY first_seq DESC")?;
    let mut sessions = sessions.query([newest])?;
    let (mut looked, mut last) = (0, 0);
    while let Some(row) = sessions.next()? {
        let (id, first): (String, i64) = (row.get(0)?, row.get(1)?);
        let from = filter.after.filter(|after| after.session == first).map(|after| (after.order, after.row));
        if looked == SESSIONS_MAX {
            // The session before was looked through completely: going backwards, none of its rows comes after
            // order 0.
            return Ok(Page { items: walk.items, next: Some(Cursor { session: last, order: 0, row: 0 }) });
        }
        if let Some(next) = walk.session(&id, first, from, Direction::Backwards)? {
            return Ok(Page { items: walk.items, next: Some(next) });
        }
        (looked, last) = (looked + 1, first);
    }
    Ok(Page { items: walk.items, next: None })
}

struct Walk<'a, R> {
    connection: &'a Connection,
    filter: &'a ListFilter,
    items: Vec<R>,
    bytes: usize,
}

impl<R: Listed> Walk<'_, R> {
    /// Takes the rows of a session beyond `from`. If there is no room for all, returns the last one taken.
    fn session(
        &mut self,
        id: &str,
        first: i64,
        from: Option<(i64, i64)>,
        direction: Direction,
    ) -> rusqlite::Result<Option<Cursor>> {
        let (comparison, sort) = match direction {
            Direction::Forwards => (">", "ASC"),
            Direction::Backwards => ("<", "DESC"),
        };
        let mut wheres = vec!["session_id = ?".to_owned()];
        let mut values: Vec<Value> = vec![id.to_owned().into()];
        for (condition, value) in &self.filter.conditions {
            wheres.push(condition.clone());
            values.push(value.clone());
        }
        if let Some((order, row)) = from {
            wheres.push(format!("({}, rowid) {comparison} (?, ?)", R::ORDER));
            values.extend([order.into(), row.into()]);
        }
        // The table that stores the rows gives their order, and the view gives their texts. CROSS JOIN keeps SQLite
        // from joining them the other way round.
        let Stored { rows, key } = tables::stored(self.connection, R::TABLE)?;
        let keys: Vec<_> = key.iter().map(|column| format!("{column} AS key_{column}")).collect();
        let same: Vec<_> = key.iter().map(|column| format!("{column} = key_{column}")).collect();
        let sql = format!(
            "SELECT {}, place_order, place_row
             FROM (SELECT {order} AS place_order, rowid AS place_row, {} FROM {rows} AS listed WHERE {})
             CROSS JOIN {} ON {} ORDER BY place_order {sort}, place_row {sort}",
            R::columns(self.connection)?,
            keys.join(", "),
            wheres.join(" AND "),
            R::TABLE,
            same.join(" AND "),
            order = R::ORDER,
        );
        let mut statement = self.connection.prepare_cached(&sql)?;
        let mut rows = statement.query(params_from_iter(values))?;
        let columns = R::COLUMNS.len();
        let mut last = from;
        while let Some(row) = rows.next()? {
            if self.items.len() >= self.filter.limit || self.bytes >= PAGE_BYTES_MAX {
                // If no row of this session was taken, all of them are left: `END` is beyond each.
                let (order, row) = last.unwrap_or((END, END));
                return Ok(Some(Cursor { session: first, order, row }));
            }
            self.bytes += text_bytes(row, columns)?;
            self.items.push(R::read(row)?);
            last = Some((row.get(columns)?, row.get(columns + 1)?));
        }
        Ok(None)
    }
}

/// Returns whether there is a session with this id.
pub(crate) fn has_session(connection: &Connection, id: &str) -> rusqlite::Result<bool> {
    let found: Option<i64> = connection
        .prepare_cached("SELECT 1 FROM sessions WHERE id = ?1")?
        .query_row([id], |row| row.get(0))
        .optional()?;
    Ok(found.is_some())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_is_parsed_as_it_was_printed() {
        let cursor = Cursor { session: 7, order: END, row: 3 };
        assert_eq!(cursor.to_string().parse::<Cursor>().unwrap(), cursor);
        for text in ["", "1-2", "1-2-3-4", "-1-2-3", "a-b-c", "9223372036854775808-1-1", "1-2-"] {
            assert!(text.parse::<Cursor>().is_err(), "{text}");
        }
    }
}
