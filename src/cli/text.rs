//! Texts from elsewhere on a terminal. No text of a log may move the cursor, change colours, rename the window, turn
//! the reader's writing direction, or be there unseen.

use std::borrow::Cow;

use icu_properties::props::{DefaultIgnorableCodePoint, GeneralCategory, PrependedConcatenationMark};
use icu_properties::{CodePointMapData, CodePointSetData};

/// Characters that keep letters or pictures apart that would be joined, or join those that would not.
const JOINERS: [char; 2] = ['\u{200c}', '\u{200d}'];

/// Characters that choose between the forms of the one before them: black and white, or a picture.
const FORMS: [char; 2] = ['\u{fe0e}', '\u{fe0f}'];

/// A space that Unicode counts as a picture.
const BLANK_PICTURE: char = '\u{2800}';

/// Returns true if a character does something to a terminal or to the text around it, or nothing at all, instead of
/// being shown: control characters, marks that turn the writing direction or break lines, and invisible characters.
fn acts(c: char) -> bool {
    use GeneralCategory::{Control, Format, LineSeparator, ParagraphSeparator};
    if c.is_ascii() {
        return c.is_ascii_control();
    }
    let category = CodePointMapData::<GeneralCategory>::new().get(c);
    match category {
        Control | LineSeparator | ParagraphSeparator => true,
        // Some of these are visible: signs that stand around the numbers after them.
        Format => !CodePointSetData::new::<PrependedConcatenationMark>().contains(c),
        _ => c == BLANK_PICTURE || CodePointSetData::new::<DefaultIgnorableCodePoint>().contains(c),
    }
}

/// Returns true if a character that acts has its usual meaning between these neighbours: many scripts, and pictures of
/// several people, need it.
fn is_of_its_neighbours(before: Option<char>, c: char, after: Option<char>) -> bool {
    // Between ASCII characters these have no meaning, and could only deceive.
    let is_seen = |c: char| !c.is_ascii() && !acts(c) && !c.is_whitespace();
    if JOINERS.contains(&c) {
        before.is_some_and(|c| is_seen(c) || FORMS.contains(&c)) && after.is_some_and(is_seen)
    } else {
        // Also after the ASCII characters that have a picture of a key.
        FORMS.contains(&c) && before.is_some_and(|c| is_seen(c) || matches!(c, '0'..='9' | '#' | '*'))
    }
}

/// The characters of a text. True marks a character that is shown by its number.
fn marked(text: &str, keep: impl Fn(char) -> bool) -> impl Iterator<Item = (char, bool)> {
    let mut before = None;
    let mut chars = text.chars().peekable();
    std::iter::from_fn(move || {
        let c = chars.next()?;
        let acts = acts(c) && !keep(c) && !is_of_its_neighbours(before, c, chars.peek().copied());
        before = Some(c);
        Some((c, acts))
    })
}

/// Returns true if a text is ASCII and needs no escapes, which is so for most texts.
fn is_plain(text: &str, keep: impl Fn(char) -> bool) -> bool {
    text.bytes().all(|byte| byte.is_ascii() && (!byte.is_ascii_control() || keep(byte.into())))
}

fn escaped(text: &str, keep: impl Fn(char) -> bool) -> Cow<'_, str> {
    // Most texts are returned as they are, without a copy.
    if is_plain(text, &keep) || !marked(text, &keep).any(|(_, acts)| acts) {
        return Cow::Borrowed(text);
    }
    let mut shown = String::with_capacity(text.len() + 16);
    for (c, acts) in marked(text, keep) {
        if acts {
            shown.extend(c.escape_default());
        } else {
            shown.push(c);
        }
    }
    Cow::Owned(shown)
}

/// An id, safe to print. Two ids that differ look different: everything in them is visible, also blanks at the ends.
pub(crate) fn id(id: &str) -> Cow<'_, str> {
    let is_word = |c: char| !c.is_whitespace() && !acts(c);
    if id.chars().all(is_word) {
        return Cow::Borrowed(id);
    }
    let mut shown = String::with_capacity(id.len() + 16);
    let (mut before, mut chars) = (None, id.chars().peekable());
    while let Some(c) = chars.next() {
        // One space between two words can be seen. A space at an end, or beside another blank, cannot.
        let is_between = before.is_some_and(is_word) && chars.peek().is_some_and(|c| is_word(*c));
        match c {
            c if is_word(c) || (c == ' ' && is_between) => shown.push(c),
            // The default escape of a space is a space.
            c => shown.extend(c.escape_unicode()),
        }
        before = Some(c);
    }
    Cow::Owned(shown)
}

/// A text of several lines, safe to print.
pub(crate) fn block(text: &str) -> Cow<'_, str> {
    // A lone `\r` is escaped, because it would move the cursor; that of a line's end is dropped.
    if text.contains("\r\n") {
        return Cow::Owned(escaped(&text.replace("\r\n", "\n"), |c| matches!(c, '\n' | '\t')).into_owned());
    }
    escaped(text, |c| matches!(c, '\n' | '\t'))
}

/// A text in one line, safe to print: runs of white space become one space.
pub(crate) fn line(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for word in text.split_whitespace() {
        if !shown.is_empty() {
            shown.push(' ');
        }
        shown.push_str(&escaped(word, |_| false));
    }
    shown
}

/// The first characters of a text, with a mark if it was cut.
pub(crate) fn shortened(text: &str, chars: usize) -> Cow<'_, str> {
    match text.char_indices().nth(chars) {
        None => Cow::Borrowed(text),
        Some((end, _)) => Cow::Owned(format!("{}…", text.get(..end).unwrap_or(text).trim_end())),
    }
}

/// JSON, safe to print. Characters that act on a terminal can only stand in strings, where an escape means the same.
pub(crate) fn json(text: &str) -> Cow<'_, str> {
    // Line breaks and tabs are white space between values. Strings in JSON have none.
    let keep = |c| matches!(c, '\n' | '\r' | '\t');
    if is_plain(text, keep) || !marked(text, keep).any(|(_, acts)| acts) {
        return Cow::Borrowed(text);
    }
    let mut shown = String::with_capacity(text.len() + 16);
    let mut units = [0; 2];
    for (c, acts) in marked(text, keep) {
        if acts {
            // JSON spells a character beyond 16 bits as two escapes.
            for unit in c.encode_utf16(&mut units) {
                shown.push_str(&format!("\\u{unit:04x}"));
            }
        } else {
            shown.push(c);
        }
    }
    Cow::Owned(shown)
}

/// Bytes as hexadecimal digits.
pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_acts_on_a_terminal_is_shown_instead() {
        assert_eq!(block("a\u{1b}[31mb"), "a\\u{1b}[31mb");
        assert_eq!(block("a\u{9b}31mb\u{7}"), "a\\u{9b}31mb\\u{7}");
        assert_eq!(block("over\rwritten"), "over\\rwritten");
        assert_eq!(line("left\u{202e}tfel"), "left\\u{202e}tfel");
    }

    #[test]
    fn lines_of_a_block_stay_lines() {
        assert_eq!(block("a\r\nb\n\tc"), "a\nb\n\tc");
        assert_eq!(line(" a\r\nb\n\t c "), "a b c");
    }

    #[test]
    fn other_text_stays_as_it_is() {
        for text in [
            "",
            "naïve – 日本語",
            "e\u{301}",
            "👩‍👩‍👧",
            "🏳\u{fe0f}\u{200d}🌈",
            "1\u{fe0f}\u{20e3}",
            "می\u{200c}خواهم",
            "\u{600}١",
            "\\u{1b}",
        ] {
            assert_eq!(block(text), text);
        }
    }

    #[test]
    fn what_is_not_seen_is_shown() {
        for (text, shown) in [
            ("a\u{61c}b", "a\\u{61c}b"),
            ("pay\u{200b}pal", "pay\\u{200b}pal"),
            ("soft\u{ad}hyphen", "soft\\u{ad}hyphen"),
            ("\u{180e}x", "\\u{180e}x"),
            ("a\u{fff9}b\u{fffa}c\u{fffb}", "a\\u{fff9}b\\u{fffa}c\\u{fffb}"),
            ("ad\u{200d}min", "ad\\u{200d}min"),
            ("a\u{fe0f}", "a\\u{fe0f}"),
            ("日\u{200c}", "日\\u{200c}"),
            ("x\u{3164}\u{2800}", "x\\u{3164}\\u{2800}"),
            ("x\u{e0101}\u{2064}\u{1d173}", "x\\u{e0101}\\u{2064}\\u{1d173}"),
        ] {
            assert_eq!(block(text), shown);
            assert_eq!(line(text), shown);
            let json_text = serde_json::to_string(text).unwrap();
            assert!(!json(&json_text).chars().any(acts), "{shown}");
            assert_eq!(serde_json::from_str::<String>(&json(&json_text)).unwrap(), text);
        }
    }

    #[test]
    fn ids_that_differ_look_different() {
        for (text, shown) in [
            ("s1", "s1"),
            ("s1 ", "s1\\u{20}"),
            (" s1", "\\u{20}s1"),
            ("a b", "a b"),
            ("a  b", "a\\u{20}\\u{20}b"),
            ("a\u{a0}b", "a\\u{a0}b"),
            ("می\u{200c}خواهم", "می\\u{200c}خواهم"),
            ("日本語", "日本語"),
        ] {
            assert_eq!(id(text), shown);
        }
    }

    #[test]
    fn json_means_the_same_and_shows_nothing_that_acts() {
        let value = "a\u{9b}b\u{202e}\u{e0041}\u{7f}c";
        let text = serde_json::to_string(value).unwrap();
        let shown = json(&text);
        assert!(!shown.chars().any(acts), "{shown}");
        assert_eq!(serde_json::from_str::<String>(&shown).unwrap(), value);
    }

    #[test]
    fn texts_are_cut_between_characters() {
        assert_eq!(shortened("日本語", 3), "日本語");
        assert_eq!(shortened("日本語", 2), "日本…");
        assert_eq!(shortened("", 0), "");
    }
}
