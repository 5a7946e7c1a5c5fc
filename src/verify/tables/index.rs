//! The full-text index, held against one that was made anew.

use std::hash::RandomState;

use rusqlite::{Connection, OptionalExtension};

use super::compare::{Difference, compare_table, failure, first_difference};
use super::fts5;
use crate::verify::report::{Check, Failure};

/// Compares the full-text indexes: which word stands where in which document, how long the documents are,
/// and whether a search finds the words.
pub(super) fn compare_index(log: &Connection, scratch: &Connection) -> rusqlite::Result<Option<Failure>> {
    let has_same_pages = have_same_words(log, scratch);
    if !has_same_pages && let Some(failure) = compare_words(log, scratch)? {
        return Ok(Some(failure));
    }
    for table in ["search_docsize", "search_config"] {
        if let Some(failure) = compare_table(log, scratch, table, &mut 0)? {
            return Ok(Some(Failure { check: Check::SearchIndex, ..failure }));
        }
    }
    if let Some(failure) = compare_averages(log, scratch)? {
        return Ok(Some(failure));
    }
    if has_same_pages { Ok(None) } else { check_reach(log, scratch) }
}

/// Whether the indexes certainly have the same words in the same places, and ways to all of them.
fn have_same_words(log: &Connection, scratch: &Connection) -> bool {
    let key = RandomState::new();
    // What cannot be read here is said to be so where FTS5 reads it.
    let sum = |connection| fts5::sum(connection, &key).ok().flatten();
    sum(log).is_some_and(|found| sum(scratch) == Some(found))
}

/// Names the first difference between the words that FTS5 lists.
fn compare_words(log: &Connection, scratch: &Connection) -> rusqlite::Result<Option<Failure>> {
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
    Ok(difference)
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
