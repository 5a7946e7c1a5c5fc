//! JSON that other programs write and serde_json refuses: half of a surrogate pair, as JavaScript makes by
//! cutting a text within a character; numbers beyond the range of a float; Python's `NaN` and `Infinity`.

use std::ops::Range;

use memchr::memchr2;

/// The same JSON in a form that serde_json reads: U+FFFD in place of half a surrogate pair, and each such
/// number as a string of its characters. None if the text has neither.
pub(super) fn repaired(text: &str) -> Option<String> {
    let mut flaws = flaws(text).peekable();
    flaws.peek()?;
    let (mut repaired, mut end) = (String::with_capacity(text.len() + 16), 0);
    for (range, flaw) in flaws {
        repaired.push_str(text.get(end..range.start)?);
        match flaw {
            Flaw::HalfPair => repaired.push(char::REPLACEMENT_CHARACTER),
            // No character of a number needs an escape in a string.
            Flaw::Number => {
                repaired.push('"');
                repaired.push_str(text.get(range.clone())?);
                repaired.push('"');
            }
        }
        end = range.end;
    }
    repaired.push_str(text.get(end..)?);
    Some(repaired)
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Flaw {
    /// The escape of half a surrogate pair, in a string.
    HalfPair,
    /// A number that no float can hold, or that JSON does not have.
    Number,
}

/// The flaws of JSON text, with their byte ranges, in order. Only single bytes are looked at, so any text is
/// safe.
fn flaws(text: &str) -> impl Iterator<Item = (Range<usize>, Flaw)> {
    let bytes = text.as_bytes();
    let (mut place, mut in_string) = (0, false);
    std::iter::from_fn(move || {
        while let Some(rest @ [byte, ..]) = bytes.get(place..) {
            let start = place;
            match byte {
                b'"' => {
                    in_string = !in_string;
                    place += 1;
                }
                b'\\' if in_string => {
                    let (length, is_half) = escape(rest);
                    place += length;
                    if is_half {
                        return Some((start..place, Flaw::HalfPair));
                    }
                }
                _ if in_string => place += memchr2(b'"', b'\\', rest).unwrap_or(rest.len()),
                // No other token of JSON begins with these, or has an upper-case letter.
                b'-' | b'0'..=b'9' | b'N' | b'I' => {
                    let is_part =
                        |byte: &&u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'+' | b'.');
                    place += rest.iter().take_while(is_part).count();
                    if text.get(start..place).is_some_and(is_out_of_range) {
                        return Some((start..place, Flaw::Number));
                    }
                }
                _ => place += 1,
            }
        }
        None
    })
}

fn is_out_of_range(number: &str) -> bool {
    match number {
        "NaN" | "Infinity" | "-Infinity" => true,
        // Other words than these are no numbers of JSON, although Rust reads some of them.
        _ => {
            let is_part = |byte: u8| matches!(byte, b'0'..=b'9' | b'-' | b'+' | b'.' | b'e' | b'E');
            number.bytes().all(is_part) && number.parse::<f64>().is_ok_and(f64::is_infinite)
        }
    }
}

/// The length of the escape at the beginning, and whether it is half of a surrogate pair. Both halves of
/// a pair count as one escape.
fn escape(bytes: &[u8]) -> (usize, bool) {
    match code_unit(bytes) {
        None => (2, false),
        Some(0xd800..=0xdbff) => match bytes.get(6..).and_then(code_unit) {
            Some(0xdc00..=0xdfff) => (12, false),
            _ => (6, true),
        },
        Some(0xdc00..=0xdfff) => (6, true),
        Some(_) => (6, false),
    }
}

/// The UTF-16 code unit of the escape at the beginning, such as `\ud83d`.
fn code_unit(bytes: &[u8]) -> Option<u16> {
    let digits = bytes.strip_prefix(b"\\u")?.get(..4)?;
    digits.iter().try_fold(0, |unit: u16, digit| {
        Some(unit << 4 | u16::try_from(char::from(*digit).to_digit(16)?).ok()?)
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn half_of_a_surrogate_pair_becomes_the_replacement_character() {
        for (text, expected) in [
            (r#""a \ud83d""#, "\"a \u{fffd}\""),
            (r#""\uDE00 a""#, "\"\u{fffd} a\""),
            (r#""\ud83d\ud83d\ude00""#, "\"\u{fffd}\\ud83d\\ude00\""),
            (r#""\ude00\ud83d""#, "\"\u{fffd}\u{fffd}\""),
            (
                r#"{"\ud83dk":["\\\ud83d\"","\\ud83d"]}"#,
                "{\"\u{fffd}k\":[\"\\\\\u{fffd}\\\"\",\"\\\\ud83d\"]}",
            ),
        ] {
            assert_eq!(repaired(text).as_deref(), Some(expected), "{text}");
        }
        for text in [r#""\ud83d\ude00""#, r#""\\ud83d""#, r#""\u00e9""#, r#""\ud83""#, r#""\"#, ""] {
            assert_eq!(repaired(text), None, "{text}");
        }
    }

    #[test]
    fn a_number_that_no_float_holds_becomes_a_string_of_its_characters() {
        for (text, expected) in [
            ("1e400", r#""1e400""#),
            ("[-1E+400, 2]", r#"["-1E+400", 2]"#),
            (r#"{"a":NaN,"b":[Infinity,-Infinity]}"#, r#"{"a":"NaN","b":["Infinity","-Infinity"]}"#),
        ] {
            assert_eq!(repaired(text).as_deref(), Some(expected), "{text}");
        }
        for text in [r#"{"NaN":"1e400"}"#, "[1e308, -0.5, true, null]", "[inf, nan, NaNs, -, 1e]"] {
            assert_eq!(repaired(text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn any_text_can_be_looked_through(
            parts in proptest::collection::vec(
                proptest::sample::select(vec![
                    "\"", "\\", "\\u", "d83d", "\\ude00", "NaN", "-Infinity", "1e400", "é", "🙂", "[", ",", ":",
                ]),
                0..20,
            ),
        ) {
            if let Some(text) = repaired(&parts.concat()) {
                prop_assert_eq!(repaired(&text), None, "nothing is left to repair in {}", text);
            }
        }
    }
}
