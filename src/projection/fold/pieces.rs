//! Texts joined from pieces of a payload: those of spans and log records. Their messages are strings of JSON,
//! and often strings of JSON that is itself a string of the outer JSON.

use memchr::{memchr, memchr2};
use serde::Serialize;

use crate::limits::{PIECE_BYTES_MIN, PIECES_BYTES_MAX};
use crate::projection::fold::find::find;

/// A string of JSON, and its offset in the payload.
pub(in crate::projection) struct Source {
    text: String,
    /// Offset of its first byte in the payload, from 0.
    offset: usize,
    /// Length in the payload, in bytes.
    length: usize,
    /// Number of times that it must be unescaped, as the content of a JSON string, to become `text`.
    escapes: usize,
}

/// Levels of JSON within JSON that are searched for strings. SQL unescapes at most as often.
const DEPTH_MAX: usize = 2;

/// Lists the long strings of the JSON that begins at an offset of a payload, in their order.
pub(in crate::projection) fn sources(json: &str, offset: usize) -> Vec<Source> {
    let mut found = Vec::new();
    for string in strings(json) {
        let Some(raw) = json.get(string.clone()) else { continue };
        let offset = offset.saturating_add(string.start);
        // Without a backslash the bytes of the payload are the text.
        if memchr(b'\\', raw.as_bytes()).is_none() {
            found.push(Source { text: raw.to_owned(), offset, length: raw.len(), escapes: 0 });
            continue;
        }
        let Some(text) = unescaped(raw) else { continue };
        let inner =
            if text.trim_start().starts_with(['{', '[']) { within(&text, raw, offset) } else { Vec::new() };
        // A string comes before the strings within it. `cover` tries sources in this order, and the outer
        // string covers more.
        found.push(Source { text, offset, length: raw.len(), escapes: 1 });
        found.extend(inner);
    }
    // SQL would end such a text at U+0000.
    found.retain(|source| !source.text.contains('\0'));
    found
}

/// Lists the long strings of a string that is itself JSON. `raw` is its escaped form in the outer JSON.
fn within(text: &str, raw: &str, offset: usize) -> Vec<Source> {
    let mut offsets = Offsets { text: 0, raw: 0 };
    let mut found = Vec::new();
    for string in strings(text) {
        let Some(inner) = text.get(string.clone()) else { continue };
        let Some(inner) = unescaped(inner) else { continue };
        // Offsets only grow, so one pass over `raw` translates those of all strings.
        let (Some(start), Some(end)) = (offsets.advance(raw, string.start), offsets.advance(raw, string.end))
        else {
            break;
        };
        // Bytes without a backslash mean the same at any depth.
        let has_escapes = raw.get(start..end).is_some_and(|raw| memchr(b'\\', raw.as_bytes()).is_some());
        found.push(Source {
            text: inner,
            offset: offset.saturating_add(start),
            length: end.saturating_sub(start),
            escapes: if has_escapes { DEPTH_MAX } else { 0 },
        });
    }
    found
}

/// An offset in a text, and the equivalent offset in its escaped form.
struct Offsets {
    text: usize,
    raw: usize,
}

impl Offsets {
    /// Moves on to an offset of the text. Returns the equivalent offset in the escaped form.
    fn advance(&mut self, raw: &str, to: usize) -> Option<usize> {
        while self.text < to {
            let rest = raw.as_bytes().get(self.raw..)?;
            // Up to the next backslash both forms have the same bytes.
            let plain = memchr(b'\\', rest).unwrap_or(rest.len()).min(to - self.text);
            (self.text, self.raw) = (self.text + plain, self.raw + plain);
            if self.text < to {
                let (text, raw) = escape_length(rest.get(plain..)?)?;
                (self.text, self.raw) = (self.text + text, self.raw + raw);
            }
        }
        Some(self.raw)
    }
}

/// The lengths of the character that an escape means, and of the escape, in bytes.
fn escape_length(escape: &[u8]) -> Option<(usize, usize)> {
    if escape.get(1) != Some(&b'u') {
        return Some((1, 2));
    }
    let unit = u32::from_str_radix(std::str::from_utf8(escape.get(2..6)?).ok()?, 16).ok()?;
    match char::from_u32(unit) {
        Some(c) => Some((c.len_utf8(), 6)),
        // Half of a surrogate pair. The other half follows, because `unescaped` accepted the text.
        None => Some((4, 12)),
    }
}

/// Unescapes the content of a JSON string. None if it is not a valid one, such as half of a surrogate pair.
fn unescaped(raw: &str) -> Option<String> {
    serde_json::from_str(&format!("\"{raw}\"")).ok()
}

/// The ranges of the long strings of JSON text, without their quotes.
fn strings(json: &str) -> impl Iterator<Item = std::ops::Range<usize>> {
    let bytes = json.as_bytes();
    let mut from = 0;
    std::iter::from_fn(move || {
        loop {
            // Between strings, a quote can only begin the next one: nothing else of JSON needs to be parsed.
            let start = from + memchr(b'"', bytes.get(from..)?)? + 1;
            let end = start + string_end(bytes.get(start..)?)?;
            from = end + 1;
            if end - start >= PIECE_BYTES_MIN {
                return Some(start..end);
            }
        }
    })
}

/// The offset of the quote that ends a string.
fn string_end(string: &[u8]) -> Option<usize> {
    let mut from = 0;
    loop {
        let offset = from + memchr2(b'"', b'\\', string.get(from..)?)?;
        if string.get(offset) == Some(&b'"') {
            return Some(offset);
        }
        // A backslash escapes the byte after it, which may be a quote or another backslash.
        from = offset + 2;
    }
}

/// A part of a text, as SQL reads it from JSON.
#[derive(Serialize)]
#[serde(untagged)]
enum Piece<'t> {
    Literal(&'t str),
    /// Offset of the first byte in the payload, from 1, and length in bytes.
    Plain(usize, usize),
    /// The same, and how often it must be unescaped.
    Escaped(usize, usize, usize),
}

impl Source {
    fn piece<'t>(&self) -> Piece<'t> {
        let first = self.offset.saturating_add(1);
        match self.escapes {
            0 => Piece::Plain(first, self.length),
            escapes => Piece::Escaped(first, self.length, escapes),
        }
    }
}

/// Bytes of a text that are searched for the next source. Most texts have the sources in their order.
const AHEAD_BYTES: usize = 16 << 10;

/// Splits a text into a list of pieces, as JSON. SQL joins them again with a payload of `payload` bytes. None
/// if the list takes up more than half of the text's own length, or would be slow to read. Subtracts the
/// bytes that it searches from `room`, and leaves text beyond the room as literals.
pub(in crate::projection) fn pieces(
    text: &str,
    sources: &[Source],
    payload: usize,
    room: &mut usize,
) -> Option<String> {
    // SQL copies the payload for each piece. The views have the same bound, and show nothing beyond it.
    let most = PIECES_BYTES_MAX / payload.max(1);
    let mut pieces = Vec::new();
    for piece in cover(text, sources, room) {
        match piece {
            // A second pass finds texts that stand in another order than their sources.
            Piece::Literal(literal) if literal.len() >= PIECE_BYTES_MIN => {
                pieces.extend(cover(literal, sources, room));
            }
            piece => pieces.push(piece),
        }
        if pieces.len() > most {
            return None;
        }
    }
    // A list of literals alone saves nothing: the row stores the text itself.
    if pieces.iter().all(|piece| matches!(piece, Piece::Literal(_))) {
        return None;
    }
    serde_json::to_string(&pieces).ok().filter(|list| list.len() <= text.len() / 2)
}

/// Splits a text into the sources that it contains and the literals between them.
fn cover<'t>(text: &'t str, sources: &[Source], room: &mut usize) -> Vec<Piece<'t>> {
    let mut pieces = Vec::new();
    let mut rest = text;
    // Invariant: `pieces` covers the text up to `rest`, and each source is searched for once, within `rest`.
    for source in sources.iter().filter(|source| source.text.len() <= text.len()) {
        if rest.len() < source.text.len() {
            continue;
        }
        if *room == 0 || rest.len() < PIECE_BYTES_MIN {
            break;
        }
        // Bounded: otherwise, each of many sources that do not occur would be searched for in the whole text.
        let ahead = AHEAD_BYTES.saturating_add(source.text.len()).min(rest.len());
        let found = find(rest.as_bytes().get(..ahead).unwrap_or_default(), source.text.as_bytes());
        let searched = found.map_or(ahead, |offset| offset.saturating_add(source.text.len()));
        *room = room.saturating_sub(searched);
        let parts = found.and_then(|offset| rest.split_at_checked(offset));
        // A source that is not found here may be in a literal, where the second pass of `pieces` finds it.
        let Some((before, after)) = parts else { continue };
        let Some(after) = after.get(source.text.len()..) else { continue };
        if !before.is_empty() {
            pieces.push(Piece::Literal(before));
        }
        pieces.push(source.piece());
        rest = after;
    }
    if !rest.is_empty() {
        pieces.push(Piece::Literal(rest));
    }
    pieces
}

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;

    use proptest::prelude::*;
    use rusqlite::Connection;

    use super::*;

    /// JSON of a text. Some libraries escape everything that is not ASCII.
    fn json(text: &str, ascii: bool) -> String {
        let json = serde_json::to_string(text).unwrap();
        if !ascii {
            return json;
        }
        let mut escaped = String::new();
        for c in json.chars() {
            if c.is_ascii() {
                escaped.push(c);
            } else {
                for unit in c.encode_utf16(&mut [0; 2]) {
                    write!(escaped, "\\u{unit:04x}").unwrap();
                }
            }
        }
        escaped
    }

    /// Reads a text of pieces, as the view of the steps does.
    fn read(payload: &str, pieces: &str) -> Option<String> {
        let connection = Connection::open_in_memory().unwrap();
        connection
            .execute_batch(
                "CREATE TABLE log (seq INTEGER PRIMARY KEY, event_id BLOB, entry BLOB, payload BLOB, link BLOB)",
            )
            .unwrap();
        connection.execute_batch(include_str!("../../../schema/read/sessions.sql")).unwrap();
        connection.execute("INSERT INTO log (seq, payload) VALUES (7, ?1)", [payload.as_bytes()]).unwrap();
        connection
            .execute(
                "INSERT INTO annals_steps (id, session_id, status, first_recorded_at, last_recorded_at, first_seq, last_seq, input_seq, input_pieces)
                 VALUES ('a', 's', 'ok', '', '', 7, 7, 7, ?1)",
                [pieces],
            )
            .unwrap();
        connection.query_row("SELECT input FROM steps", [], |row| row.get(0)).unwrap()
    }

    /// Makes pieces with room for all searches.
    fn pieces(text: &str, sources: &[Source], payload: usize) -> Option<String> {
        super::pieces(text, sources, payload, &mut usize::MAX.clone())
    }

    fn joined(texts: &[String]) -> String {
        texts.iter().map(|text| format!("user: {text}\n\n")).collect()
    }

    fn long_text() -> impl Strategy<Value = String> {
        let c = prop_oneof![
            6 => proptest::char::range(' ', '~'),
            1 => proptest::sample::select(vec!['\n', '\t', '"', '\\', '/', '\u{1}', '\u{7f}', 'é', '漢', '\u{2028}', '\u{ffff}', '🙂']),
            1 => any::<char>(),
        ];
        proptest::collection::vec(c, 150..400).prop_map(String::from_iter)
    }

    proptest! {
        #[test]
        fn a_text_is_joined_again_whatever_its_characters_and_escapes(
            texts in proptest::collection::vec(long_text(), 1..6),
            rotation in 0_usize..6,
            (outer, inner, is_nested) in any::<(bool, bool, bool)>(),
        ) {
            let texts: Vec<String> = texts.into_iter().map(|text| text.replace('\0', "␀")).collect();
            let list = format!("[{}]", texts.iter().map(|text| json(text, inner)).collect::<Vec<_>>().join(","));
            let document = format!(r#"{{"k":{}}}"#, if is_nested { json(&list, outer) } else { list });
            let mut shown = texts.clone();
            shown.rotate_left(rotation % texts.len());
            let text = joined(&shown);
            let payload = format!("before{document}");
            let pieces = pieces(&text, &sources(&document, 6), payload.len()).unwrap();
            prop_assert!(pieces.len() < 60 * texts.len(), "{pieces}");
            prop_assert_eq!(read(&payload, &pieces), Some(text));
        }

        #[test]
        fn any_text_that_resembles_json_is_joined_correctly_or_not_at_all(
            parts in proptest::collection::vec(
                prop_oneof![
                    proptest::sample::select(vec!["\"", "\\", "\\\\\"", "\\u", "d83d", "\\u00e9", "[", "{", "é", "🙂"]),
                    Just("a text that is so long that two of it are long enough to be a piece of "),
                ],
                0..40,
            ),
        ) {
            let text = parts.concat();
            let found = sources(&text, 0);
            for source in &found {
                prop_assert!(source.offset + source.length <= text.len());
            }
            let shown: String = found.iter().map(|source| format!("{}, ", source.text)).collect();
            if let Some(pieces) = pieces(&shown, &found, text.len()) {
                prop_assert_eq!(read(&text, &pieces), Some(shown));
            }
        }
    }

    #[test]
    fn a_string_that_sql_would_read_differently_is_no_source() {
        let long = "x".repeat(PIECE_BYTES_MIN);
        for escape in [r"\u0000", r"\ud800", r"\udc00\ud800", r"\q"] {
            assert!(sources(&format!(r#"["{long}{escape}"]"#), 0).is_empty(), "{escape}");
        }
        assert_eq!(sources(&format!(r#"["{long}\ud83d\ude42"]"#), 0).len(), 1);
        // Beside it, other texts of the same JSON are.
        let nested = json(&format!(r#"["{long}\ud83d", "{long}\n"]"#), true);
        let texts: Vec<String> = sources(&nested, 0).into_iter().map(|source| source.text).collect();
        assert_eq!(texts.last(), Some(&format!("{long}\n")));
        assert!(texts.iter().all(|text| !text.contains('\u{fffd}')), "{texts:?}");
    }

    #[test]
    fn a_text_that_shares_little_with_the_payload_is_not_split() {
        let source = "of the payload, ".repeat(8);
        let document = json(&source, false);
        let sources = sources(&document, 0);
        assert!(pieces(&format!("{source}and"), &sources, document.len()).is_some());
        assert_eq!(pieces(&format!("{source}{}", "other ".repeat(60)), &sources, document.len()), None);
        assert_eq!(pieces(&"other ".repeat(60), &sources, document.len()), None);
    }

    #[test]
    fn no_more_pieces_are_made_than_sql_reads() {
        assert!(
            include_str!("../../../schema/read/sessions.sql").contains(&format!("<= {PIECES_BYTES_MAX})"))
        );
        let source = "of the payload, ".repeat(8);
        let document = json(&source, false);
        let sources = sources(&document, 0);
        // One piece, and the literal after it.
        let text = format!("{source}and");
        assert!(pieces(&text, &sources, PIECES_BYTES_MAX / 2).is_some());
        assert_eq!(pieces(&text, &sources, PIECES_BYTES_MAX / 2 + 1), None);
        let most = format!("{document}{}", " ".repeat(PIECES_BYTES_MAX / 2 - document.len()));
        assert_eq!(read(&most, &pieces(&text, &sources, most.len()).unwrap()), Some(text));
        assert_eq!(read(&format!("{most} "), "[[2,4],\"and\"]"), None);
        // SQL does not read what only looks like few pieces either.
        assert_eq!(read(&most, r#"{"a":[2,4],"b":[2,4]}"#), None);
    }

    #[test]
    fn text_beyond_the_room_stays_a_literal() {
        let texts = [24, 8].map(|times| format!("a text that is repeated {times} times, ").repeat(times));
        let document = format!("[{}, {}]", json(&texts[0], false), json(&texts[1], false));
        let sources = sources(&document, 0);
        assert_eq!(sources.len(), 2);
        let text = texts.concat();
        let mut room = 10;
        let list = super::pieces(&text, &sources, document.len(), &mut room).unwrap();
        assert_eq!(
            (list.matches("8 times").count(), list.matches("24 times").count(), room),
            (8, 0, 0),
            "{list}"
        );
        assert_eq!(super::pieces(&text, &sources, document.len(), &mut room), None);
    }

    #[test]
    fn all_views_read_texts_in_the_same_way() {
        let sql = include_str!("../../../schema/read/sessions.sql");
        let ways: Vec<String> = ["input", "summary", "output", "evidence"]
            .iter()
            .flat_map(|name| {
                let begin = format!("CASE\n    WHEN {name}_text IS NOT NULL");
                let end = format!("END AS {name},");
                sql.split(&begin)
                    .skip(1)
                    .map(|rest| rest.split(&end).next().unwrap().replace(&format!("{name}_"), "it_"))
                    .collect::<Vec<_>>()
            })
            .collect();
        assert_eq!(ways.len(), 5);
        assert!(ways[0].contains(&format!("<= {PIECES_BYTES_MAX})")));
        assert!(ways.iter().all(|way| *way == ways[0]), "{ways:?}");
    }
}
