//! Texts of others on a terminal: nothing in a log may move the cursor, change colours, rename the
//! window or turn the writing direction of the person who reads it.

use std::borrow::Cow;

/// Whether a character does something to a terminal, or to the text around it, instead of being
/// shown: control characters, and the marks that turn the writing direction or break lines.
fn acts(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}' | '\u{e0000}'..='\u{e007f}')
}

fn escaped(text: &str, keep: impl Fn(char) -> bool) -> Cow<'_, str> {
    if !text.chars().any(|c| acts(c) && !keep(c)) {
        return Cow::Borrowed(text);
    }
    let mut shown = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        if acts(c) && !keep(c) {
            shown.extend(c.escape_default());
        } else {
            shown.push(c);
        }
    }
    Cow::Owned(shown)
}

/// A text of several lines, safe to print.
pub(crate) fn block(text: &str) -> Cow<'_, str> {
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

/// The first characters of a text.
pub(crate) fn shortened(text: &str, chars: usize) -> Cow<'_, str> {
    match text.char_indices().nth(chars) {
        None => Cow::Borrowed(text),
        Some((end, _)) => Cow::Owned(format!("{}…", text.get(..end).unwrap_or(text).trim_end())),
    }
}

/// JSON, safe to print: what acts on a terminal can only stand in a string, where it may be spelled
/// as an escape just as well.
pub(crate) fn json(text: &str) -> Cow<'_, str> {
    if !text.chars().any(acts) {
        return Cow::Borrowed(text);
    }
    let mut shown = String::with_capacity(text.len() + 16);
    let mut units = [0; 2];
    for c in text.chars() {
        // Line breaks and tabs are white space between values; in strings JSON has none.
        if acts(c) && !matches!(c, '\n' | '\r' | '\t') {
            for unit in c.encode_utf16(&mut units) {
                shown.push_str(&format!("\\u{unit:04x}"));
            }
        } else {
            shown.push(c);
        }
    }
    Cow::Owned(shown)
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
        for text in ["", "naïve – 日本語", "👩‍👩‍👧", "\\u{1b}"] {
            assert_eq!(block(text), text);
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
