//! Full-text search over what the events say.

use rusqlite::types::Value;
use rusqlite::{Connection, OptionalExtension, params_from_iter};
use serde::{Serialize, Serializer};

use super::column::cut;
use super::{QueryError, words};
use crate::event::{Seq, Timestamp};
use crate::text::beginning;

/// Around a match in a snippet. Control characters: where a text has them itself, some of its
/// characters look like a match, and nothing worse.
const MATCH_BEGINS: char = '\u{1}';
const MATCH_ENDS: char = '\u{2}';

/// Words of a snippet.
const SNIPPET_WORDS: u32 = 24;

/// Characters of a snippet: several times those of so many words. A text without spaces is one word.
const SNIPPET_CHARS_MAX: usize = 2_000;

/// Characters of it before and after its first match, if it is longer.
const SNIPPET_CHARS_BEFORE: usize = 500;

/// What to search for.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SearchFilter {
    /// Words that must all be in one event; in double quotes a phrase, with a star at its end the
    /// beginning of words.
    pub text: String,
    /// In this session.
    pub session: Option<String>,
    /// In events of this kind, by name.
    pub kind: Option<String>,
    /// In events before this one.
    pub before: Option<Seq>,
    /// In which order.
    pub order: SearchOrder,
    /// Most hits.
    pub limit: usize,
}

impl SearchFilter {
    /// A search for a text in every event.
    pub fn new(text: impl Into<String>) -> SearchFilter {
        SearchFilter {
            text: text.into(),
            session: None,
            kind: None,
            before: None,
            order: SearchOrder::Newest,
            limit: 20,
        }
    }
}

/// The order of hits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SearchOrder {
    /// The newest first.
    #[default]
    Newest,
    /// The best match first: every match must be rated for that.
    Rank,
}

/// An event that was found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
#[non_exhaustive]
pub struct Hit {
    /// The event.
    pub seq: Seq,
    /// Its session.
    pub session: Option<String>,
    /// Name of its kind.
    #[serde(rename = "type")]
    pub kind: String,
    /// What it is about.
    pub subject: Option<String>,
    /// When it was recorded, if the timeline knows it already.
    pub recorded_at: Option<Timestamp>,
    /// The text around the matches; one text in JSON.
    #[serde(serialize_with = "as_text")]
    #[cfg_attr(feature = "server", schema(value_type = String))]
    pub snippet: Vec<Fragment>,
}

/// A part of a snippet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fragment {
    /// Its text.
    pub text: String,
    /// Whether this is what was searched for.
    pub matches: bool,
}

fn as_text<S: Serializer>(snippet: &[Fragment], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&snippet.iter().map(|fragment| fragment.text.as_str()).collect::<String>())
}

/// The events that have what is searched for.
pub(crate) fn search(connection: &Connection, filter: &SearchFilter) -> Result<Vec<Hit>, QueryError> {
    let query = words::to_fts(&filter.text).ok_or_else(|| QueryError::NoWords(filter.text.clone()))?;
    let mut wheres = vec!["search MATCH ?".to_owned()];
    let mut values: Vec<Value> = vec![query.clone().into()];
    if let Some(session) = &filter.session {
        let Some((first, last)) = bounds(connection, session)? else { return Ok(Vec::new()) };
        // The events of a session stand between its first and its last: the index skips the rest.
        wheres.push(format!("search.rowid BETWEEN {first} AND {last} AND documents.session_id = ?"));
        values.push(session.clone().into());
    }
    if let Some(kind) = &filter.kind {
        wheres.push("documents.kind = ?".to_owned());
        values.push(kind.clone().into());
    }
    if let Some(before) = filter.before {
        wheres.push(format!("search.rowid < {}", before.to_sql()));
    }
    let order = match filter.order {
        SearchOrder::Newest => "search.rowid DESC",
        SearchOrder::Rank => "search.rank, search.rowid DESC",
    };
    let sql = format!(
        "SELECT documents.seq, documents.session_id, documents.kind, documents.subject_id,
                (SELECT recorded_at FROM timeline WHERE timeline.seq = documents.seq)
         FROM search CROSS JOIN documents ON documents.seq = search.rowid
         WHERE {} ORDER BY {order} LIMIT {}",
        wheres.join(" AND "),
        i64::try_from(filter.limit).unwrap_or(i64::MAX)
    );
    let mut hits = connection
        .prepare_cached(&sql)?
        .query_map(params_from_iter(values), |row| {
            let recorded_at: Option<String> = row.get(4)?;
            Ok(Hit {
                seq: Seq::from_sql(row.get(0)?),
                session: short(row.get(1)?),
                kind: short(row.get(2)?).unwrap_or_default(),
                subject: short(row.get(3)?),
                recorded_at: recorded_at.and_then(|time| Timestamp::from_sql(&time)),
                snippet: Vec::new(),
            })
        })?
        .collect::<rusqlite::Result<Vec<_>>>()?;
    // One by one: where SQLite sorts, it would keep the snippets of all that is found.
    let sql = format!(
        "SELECT snippet(search, 0, char({}), char({}), '…', {SNIPPET_WORDS})
         FROM search WHERE search MATCH ?1 AND rowid = ?2",
        u32::from(MATCH_BEGINS),
        u32::from(MATCH_ENDS),
    );
    let mut snippet = connection.prepare_cached(&sql)?;
    for hit in &mut hits {
        let found = snippet
            .query_row(rusqlite::params![query, hit.seq.to_sql()], |row| {
                Ok(fragments(bounded(row.get_ref(0)?.as_str()?)))
            })
            .optional()?;
        hit.snippet = found.unwrap_or_default();
    }
    Ok(hits)
}

/// An id or a name, of which Annals writes none that is cut here.
fn short(text: Option<String>) -> Option<String> {
    text.map(|mut text| {
        cut(&mut text, SNIPPET_CHARS_MAX);
        text
    })
}

/// The part of a snippet around its first match.
fn bounded(snippet: &str) -> &str {
    let found = snippet.find(MATCH_BEGINS).unwrap_or(0);
    let before = snippet.get(..found).unwrap_or_default();
    let begin = before.char_indices().rev().nth(SNIPPET_CHARS_BEFORE).map_or(0, |(place, _)| place);
    let part = snippet.get(begin..).unwrap_or(snippet);
    beginning(part, SNIPPET_CHARS_MAX).unwrap_or(part)
}

fn bounds(connection: &Connection, session: &str) -> rusqlite::Result<Option<(i64, i64)>> {
    connection
        .prepare_cached("SELECT first_seq, last_seq FROM sessions WHERE id = ?1")?
        .query_row([session], |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()
}

/// Takes a snippet apart at its marks.
fn fragments(snippet: &str) -> Vec<Fragment> {
    let mut fragments = Vec::new();
    let mut matches = false;
    for part in snippet.split_inclusive([MATCH_BEGINS, MATCH_ENDS]) {
        let text = part.trim_end_matches([MATCH_BEGINS, MATCH_ENDS]);
        if !text.is_empty() {
            fragments.push(Fragment { text: text.to_owned(), matches });
        }
        matches = part.ends_with(MATCH_BEGINS);
    }
    fragments
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_snippet_of_endless_words_is_cut_around_its_first_match() {
        let short = "a \u{1}b\u{2} c";
        assert_eq!(bounded(short), short);
        let long = format!("{}\u{1}{}\u{2}", "ä".repeat(1_000_000), "ß".repeat(1_000_000));
        let cut = bounded(&long);
        assert_eq!(cut.chars().count(), SNIPPET_CHARS_MAX);
        let parts = fragments(cut);
        assert_eq!(parts.iter().map(|part| part.matches).collect::<Vec<_>>(), [false, true]);
    }

    #[test]
    fn a_snippet_is_taken_apart_at_its_marks() {
        let found: Vec<_> = fragments("a \u{1}b\u{2} c \u{1}d\u{2}")
            .into_iter()
            .map(|fragment| (fragment.text, fragment.matches))
            .collect();
        let expected = [("a ", false), ("b", true), (" c ", false), ("d", true)];
        assert_eq!(found, expected.map(|(text, matches)| (text.to_owned(), matches)));
        assert!(fragments("").is_empty());
    }
}
