//! Translates the text of a search into a query of FTS5. Every text is a valid search. Nothing in it acts as
//! an operator, except double quotes and a star.

/// The query for events with every word of a text. Words in double quotes are a phrase; a star at the end of a word
/// or phrase finds words with that beginning. None if there is no word.
pub(super) fn to_fts(text: &str) -> Option<String> {
    let mut phrases = Vec::new();
    let mut rest = text.trim_start();
    while let Some(first) = rest.chars().next() {
        let (phrase, after) = match first {
            '"' => {
                let inner = rest.get(1..).unwrap_or_default();
                inner.split_once('"').unwrap_or((inner, ""))
            }
            _ => {
                let end = rest.find(|c: char| c.is_whitespace() || c == '"').unwrap_or(rest.len());
                rest.split_at_checked(end).unwrap_or((rest, ""))
            }
        };
        // The star of a phrase stands behind its quotes, and that of a word is its last character.
        let (phrase, starred, after) = match (phrase.strip_suffix('*'), after.strip_prefix('*')) {
            (_, Some(after)) if first == '"' => (phrase, true, after),
            (Some(stem), _) if first != '"' => (stem, true, after),
            _ => (phrase, false, after),
        };
        if phrase.chars().any(char::is_alphanumeric) {
            // FTS5 would end the query at a NUL. In quotes, everything else is a text for it, and never an
            // operator.
            let quoted = phrase.replace('\0', " ").replace('"', "\"\"");
            phrases.push(format!("\"{quoted}\"{}", if starred { "*" } else { "" }));
        }
        rest = after.trim_start();
    }
    if phrases.is_empty() { None } else { Some(phrases.join(" ")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fts(text: &str) -> String {
        to_fts(text).unwrap_or_default()
    }

    #[test]
    fn words_are_quoted_and_must_all_be_there() {
        assert_eq!(fts("refund  policy"), r#""refund" "policy""#);
        assert_eq!(fts("NOT (a OR b) NEAR c:d"), r#""NOT" "(a" "OR" "b)" "NEAR" "c:d""#);
        assert_eq!(fts("don't; drop-table"), r#""don't;" "drop-table""#);
    }

    #[test]
    fn phrases_stay_together() {
        assert_eq!(fts(r#"say "on the house" now"#), r#""say" "on the house" "now""#);
        assert_eq!(fts(r#"an "open end"#), r#""an" "open end""#);
        assert_eq!(fts(r#"a"b c"d"#), r#""a" "b c" "d""#);
    }

    #[test]
    fn a_star_at_the_end_finds_beginnings() {
        assert_eq!(fts("ref*"), r#""ref"*"#);
        assert_eq!(fts(r#""on the h"*"#), r#""on the h"*"#);
        assert_eq!(fts("a*b"), r#""a*b""#);
    }

    #[test]
    fn a_text_without_words_is_no_query() {
        for text in ["", "  ", "*", "\"\"", "-- ;", "\"*\""] {
            assert_eq!(to_fts(text), None, "{text:?}");
        }
    }

    #[test]
    fn sqlite_accepts_every_query() {
        let connection = rusqlite::Connection::open_in_memory().unwrap();
        connection
            .execute_batch("CREATE VIRTUAL TABLE t USING fts5(text); INSERT INTO t VALUES ('a b c')")
            .unwrap();
        for text in
            ["a", "\"a b\"", "a* \"b", "^a", "{a}", "a + b", "a\0b", "NEAR(a b)", "text:a", "é*", "日本 a"]
        {
            let query = fts(text);
            let found = connection
                .query_row("SELECT count(*) FROM t WHERE t MATCH ?1", [&query], |row| row.get::<_, i64>(0));
            assert!(found.is_ok(), "{text:?} became {query:?}: {found:?}");
        }
    }
}
