//! Excerpts: the part of a text around the matches of a search.

use rusqlite::{Connection, OptionalExtension};

use crate::projection::tables::index::TOKENIZE;
use crate::text::beginning;

/// A part of an excerpt.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Fragment {
    /// Its text.
    pub text: String,
    /// True for a match of the search.
    pub matches: bool,
}

/// The marks around a match, which are control characters. If a text has them itself, some of its characters look
/// like a match, and nothing worse happens.
const MATCH_BEGINS: char = '\u{1}';
const MATCH_ENDS: char = '\u{2}';

/// Length of an excerpt, in words.
const WORDS: u32 = 24;

/// Longest excerpt, in characters: several times the usual length of so many words. A text without spaces is
/// one word, and may be longer.
const CHARS_MAX: usize = 2_000;

/// Characters of a longer snippet that are kept before its first match.
const CHARS_BEFORE: usize = 500;

/// Excerpts of texts that a query finds. The index over all texts does not store them, so each text is put into an
/// index of its own, in memory.
pub(super) struct Excerpts {
    query: String,
    index: Connection,
}

impl Excerpts {
    /// Prepares excerpts for a query of FTS5.
    pub(super) fn new(query: String) -> rusqlite::Result<Excerpts> {
        let index = Connection::open_in_memory()?;
        index.execute_batch(&format!("CREATE VIRTUAL TABLE one USING fts5(text, {TOKENIZE})"))?;
        Ok(Excerpts { query, index })
    }

    /// The excerpt of a text; empty if the query does not find it.
    pub(super) fn of(&mut self, text: &str) -> rusqlite::Result<Vec<Fragment>> {
        // The transaction is rolled back, which leaves nothing. A deletion would leave the words in the index
        // for a while.
        let tx = self.index.transaction()?;
        tx.prepare_cached("INSERT INTO one (text) VALUES (?1)")?.execute([text])?;
        let sql = format!(
            "SELECT snippet(one, 0, char({}), char({}), '…', {WORDS}) FROM one WHERE one MATCH ?1",
            u32::from(MATCH_BEGINS),
            u32::from(MATCH_ENDS),
        );
        let found = tx
            .prepare_cached(&sql)?
            .query_row([&self.query], |row| Ok(fragments(bounded(row.get_ref(0)?.as_str()?))))
            .optional()?;
        Ok(found.unwrap_or_default())
    }
}

/// The part of a snippet around its first match.
fn bounded(snippet: &str) -> &str {
    let found = snippet.find(MATCH_BEGINS).unwrap_or(0);
    let before = snippet.get(..found).unwrap_or_default();
    let begin = before.char_indices().rev().nth(CHARS_BEFORE).map_or(0, |(offset, _)| offset);
    let part = snippet.get(begin..).unwrap_or(snippet);
    beginning(part, CHARS_MAX).unwrap_or(part)
}

/// Splits a snippet at its marks.
fn fragments(snippet: &str) -> Vec<Fragment> {
    let mut fragments = Vec::new();
    let mut matches = false;
    for part in snippet.split_inclusive([MATCH_BEGINS, MATCH_ENDS]) {
        let text = part.trim_end_matches([MATCH_BEGINS, MATCH_ENDS]);
        if !text.is_empty() {
            fragments.push(Fragment { text: text.to_owned(), matches });
        }
        // The mark at the end of a part decides about the next one.
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
        assert_eq!(cut.chars().count(), CHARS_MAX);
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
