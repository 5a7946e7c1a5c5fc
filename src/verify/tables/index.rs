//! The comparison of the full-text index with one that was made anew.

use std::hash::RandomState;

use rusqlite::{Connection, OptionalExtension};

use super::compare::{Difference, compare_table, failure, first_difference};
use super::fts5;
use crate::verify::report::{Check, Failure};

/// Compares the full-text indexes: the positions of words in documents, the lengths of documents, and whether
/// a search finds the words.
pub(super) fn compare_index(log: &Connection, scratch: &Connection) -> rusqlite::Result<Option<Failure>> {
    // The pages are compared first, because FTS5 takes many times as long. FTS5 is asked only if the pages do
    // not settle it.
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
    // Equal pages include the paths to all words, so a search finds them.
    if has_same_pages { Ok(None) } else { check_reach(log, scratch) }
}

/// Returns whether the indexes certainly have the same words at the same positions, and paths to all of them.
fn have_same_words(log: &Connection, scratch: &Connection) -> bool {
    let key = RandomState::new();
    // An error is no verdict here. FTS5 then reads the same pages and reports what it cannot read.
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
                "the full-text index has the word {} for event {}, which does not have it",
                part(&row, 0),
                part(&row, 1)
            ),
        };
        failure(Check::SearchIndex, "search", detail)
    });
    Ok(difference)
}

/// Compares the numbers that the index keeps for ranking: how many words there are in how many documents.
fn compare_averages(log: &Connection, scratch: &Connection) -> rusqlite::Result<Option<Failure>> {
    let averages = |connection: &Connection| {
        connection
            .query_row("SELECT block FROM main.search_data WHERE id = 1", [], |row| row.get::<_, Vec<u8>>(0))
            .optional()
    };
    let detail = "the full-text index has wrong numbers of words and documents for its ranking";
    Ok((averages(log)? != averages(scratch)?)
        .then(|| failure(Check::SearchIndex, "search", detail.to_owned())))
}

/// Asks the index for each word as a search would. The comparison of words walks along the pages, but a
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
                format!("a search for {term:?} finds {found} documents, but {expected} have the word");
            return Ok(Some(failure(Check::SearchIndex, "search", detail)));
        }
    }
    Ok(None)
}

fn part(row: &[String], place: usize) -> &str {
    row.get(place).map_or("?", String::as_str)
}
