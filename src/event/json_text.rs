//! Free-form JSON, kept as the text that was sent.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;
use std::str::FromStr;

use bincode::{Decode, Encode};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use serde_json::value::RawValue;

use crate::canonical::{Input, WellFormed};
use crate::limits::{JSON_DEPTH_MAX, JSON_EXPONENT_MAX, JSON_NUMBER_CHARS_MAX};

/// A JSON value, kept as the text that was sent. The text is never parsed and printed again, so numbers, order and
/// spelling come back unchanged. Only line breaks between the tokens become spaces, because the JSON form of an event
/// is always one line.
///
/// ```
/// use annals::Json;
///
/// let json: Json = r#"{"price": 1.10}"#.parse()?;
/// assert_eq!(json.as_str(), r#"{"price": 1.10}"#);
/// # Ok::<(), annals::JsonTextError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
pub struct Json(String);

/// Fields that a kind does not have, by name. They are recorded, exported and searchable.
pub type Attributes = BTreeMap<String, Json>;

/// A text that is not JSON, nests too deep, or has a number that is too long for common readers.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum JsonTextError {
    /// The text is not JSON; the reason names line and column.
    #[error("not JSON: {0}")]
    Syntax(String),
    /// Lists and objects nest deeper than common readers can parse.
    #[error("JSON nested deeper than {max} levels")]
    TooDeep {
        /// Deepest nesting allowed.
        max: usize,
    },
    /// A number has too many characters or too great an exponent for common readers.
    #[error("JSON with a number of more than {chars} characters or with an exponent beyond {exponent}; write it as a string", chars = JSON_NUMBER_CHARS_MAX, exponent = JSON_EXPONENT_MAX)]
    LongNumber,
}

impl WellFormed for Json {
    fn pass(input: &mut Input<'_>) -> Option<()> {
        // Only the encoding is checked here: the text may be something other than JSON.
        String::pass(input)
    }
}

/// The value `null`.
impl Default for Json {
    fn default() -> Json {
        Json("null".into())
    }
}

impl Json {
    /// The JSON text of a value.
    ///
    /// # Errors
    /// If the value has no JSON form (a map with keys that are not text), nests too deep, or has numbers that are too
    /// long.
    pub fn of<T: Serialize + ?Sized>(value: &T) -> Result<Json, JsonTextError> {
        let text = serde_json::to_string(value).map_err(|error| JsonTextError::Syntax(error.to_string()))?;
        check_extent(&text)?;
        Ok(Json(one_line(&text).into_owned()))
    }

    /// The JSON string with this content.
    pub fn text(content: &str) -> Json {
        Json(serde_json::Value::String(content.to_owned()).to_string())
    }

    /// The JSON of a value that serde_json has parsed, so its syntax is not checked again.
    ///
    /// # Errors
    /// If it nests too deep, or has numbers that are too long.
    pub(crate) fn of_raw(raw: &RawValue) -> Result<Json, JsonTextError> {
        check_extent(raw.get())?;
        Ok(Json(one_line(raw.get()).into_owned()))
    }

    /// Accepts a text without any check. The caller has written it as JSON, on one line, and not nested deeper than the
    /// value from which it was made.
    pub(crate) fn written(text: String) -> Json {
        Json(text)
    }

    /// Returns true for `null`, which means the same as an absent field.
    pub fn is_null(&self) -> bool {
        self.0 == "null"
    }

    /// Returns true for an object.
    pub fn is_object(&self) -> bool {
        // Texts are trimmed when they are parsed, so the first byte is enough.
        self.0.starts_with('{')
    }

    /// The JSON text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Checks that the text is JSON, does not nest too deep, and has no number that is too long. A value that was
    /// decoded from a file may fail.
    pub(crate) fn check(&self) -> Result<(), JsonTextError> {
        self.check_syntax()?;
        check_extent(&self.0)
    }

    fn check_syntax(&self) -> Result<(), JsonTextError> {
        // Depth before syntax: this scan needs no stack, however deep the text nests.
        check_depth(&self.0, JSON_DEPTH_MAX)?;
        serde_json::from_str::<&RawValue>(&self.0)
            .map(|_| ())
            .map_err(|error| JsonTextError::Syntax(error.to_string()))
    }

    /// Parses the JSON of a column. The length of its numbers is not checked, because an older log may have numbers
    /// that are refused today.
    ///
    /// # Errors
    /// If it is not JSON, or nests too deep.
    pub(crate) fn of_column(text: &str) -> Result<Json, JsonTextError> {
        let json = Json(one_line(text.trim()).into_owned());
        json.check_syntax()?;
        Ok(json)
    }
}

/// Refuses text that nests too deep or has a number that is too long. It does not parse the text, so it is safe for any
/// text, before a parser reads it.
fn check_extent(text: &str) -> Result<(), JsonTextError> {
    check_depth(text, JSON_DEPTH_MAX)?;
    if long_numbers(text).next().is_some() { Err(JsonTextError::LongNumber) } else { Ok(()) }
}

/// The byte ranges of the numbers in JSON text that are too long, in order.
fn long_numbers(text: &str) -> impl Iterator<Item = Range<usize>> {
    let bytes = text.as_bytes();
    let mut offset = 0;
    std::iter::from_fn(move || {
        while let Some(byte) = bytes.get(offset) {
            let remaining = bytes.get(offset..).unwrap_or_default();
            let length = match byte {
                // Strings are skipped as a whole: digits inside them are not numbers.
                b'"' => string_length(remaining),
                b'-' | b'0'..=b'9' => {
                    // Counts all following bytes that can be part of a number. In JSON no such byte can follow a
                    // number, so these bytes are exactly the number.
                    let is_part = |byte: &&u8| matches!(byte, b'0'..=b'9' | b'-' | b'+' | b'.' | b'e' | b'E');
                    let length = remaining.iter().take_while(is_part).count();
                    if is_long(remaining.get(..length).unwrap_or_default()) {
                        let number = offset..offset + length;
                        offset = number.end;
                        return Some(number);
                    }
                    length
                }
                _ => 1,
            };
            offset += length;
        }
        None
    })
}

/// Length in bytes of the string at the start of `bytes`, including both quotes. An unclosed string extends to the end.
fn string_length(bytes: &[u8]) -> usize {
    let mut escaped = false;
    let end = bytes.iter().skip(1).position(|byte| match byte {
        _ if escaped => {
            escaped = false;
            false
        }
        b'\\' => {
            escaped = true;
            false
        }
        byte => *byte == b'"',
    });
    // `end` counts from after the opening quote, so both quotes are added.
    end.map_or(bytes.len(), |end| end + 2)
}

/// Returns true if a number has too many characters or too great an exponent.
fn is_long(number: &[u8]) -> bool {
    if number.len() > JSON_NUMBER_CHARS_MAX {
        return true;
    }
    let Some(e) = number.iter().position(|byte| matches!(byte, b'e' | b'E')) else { return false };
    // The sign is ignored, because positive and negative exponents have the same bound. A very long exponent saturates
    // above the bound.
    let digits = number.iter().skip(e + 1).filter(|byte| byte.is_ascii_digit());
    let exponent = digits
        .fold(0_u32, |exponent, digit| exponent.saturating_mul(10).saturating_add((digit - b'0').into()));
    exponent > JSON_EXPONENT_MAX
}

/// JSON text with quotes around the numbers that are too long. New events cannot have such numbers; older logs may.
fn quote_long_numbers(text: &str) -> Cow<'_, str> {
    let mut numbers = long_numbers(text).peekable();
    if numbers.peek().is_none() {
        return Cow::Borrowed(text);
    }
    let (mut quoted, mut end) = (String::with_capacity(text.len() + 16), 0);
    // A number has no byte that needs an escape in a string. Only this output changes: the payload in the log stays as
    // it is.
    for number in numbers {
        quoted.push_str(text.get(end..number.start).unwrap_or_default());
        quoted.push('"');
        quoted.push_str(text.get(number.clone()).unwrap_or_default());
        quoted.push('"');
        end = number.end;
    }
    quoted.push_str(text.get(end..).unwrap_or_default());
    Cow::Owned(quoted)
}

/// JSON text without line breaks. In JSON a line break is only between tokens; inside a string it is escaped.
fn one_line(text: &str) -> Cow<'_, str> {
    // Two searches for one character each are many times faster than one search for either.
    let is_one_line = !text.contains('\n') && !text.contains('\r');
    if is_one_line { text.into() } else { text.replace(['\n', '\r'], " ").into() }
}

/// Refuses text that nests lists and objects deeper than `max`. It only counts brackets outside strings, so it is safe
/// for any text, before a parser reads it.
pub(crate) fn check_depth(text: &str, max: usize) -> Result<(), JsonTextError> {
    let (mut depth, mut in_string, mut escaped) = (0_usize, false, false);
    for byte in text.bytes() {
        if in_string {
            match byte {
                _ if escaped => escaped = false,
                b'\\' => escaped = true,
                b'"' => in_string = false,
                _ => {}
            }
            continue;
        }
        match byte {
            b'"' => in_string = true,
            b'[' | b'{' => {
                depth += 1;
                if depth > max {
                    return Err(JsonTextError::TooDeep { max });
                }
            }
            // The text may have more closing brackets than opening ones.
            b']' | b'}' => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    Ok(())
}

impl fmt::Display for Json {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for Json {
    type Err = JsonTextError;

    fn from_str(text: &str) -> Result<Json, JsonTextError> {
        // Trimmed, because the first byte of the text must give the type of the value.
        let json = Json(one_line(text.trim()).into_owned());
        json.check()?;
        Ok(json)
    }
}

impl Serialize for Json {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        // A payload that another program wrote may have line breaks, but an export has one event per line.
        let text = one_line(&self.0);
        let text = quote_long_numbers(&text);
        let raw: &RawValue = serde_json::from_str(&text).map_err(serde::ser::Error::custom)?;
        raw.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Json {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Json, D::Error> {
        // serde_json has checked the syntax of a raw value, but neither its depth nor its numbers.
        let raw = Box::<RawValue>::deserialize(deserializer)?;
        check_extent(raw.get()).map_err(de::Error::custom)?;
        Ok(Json(one_line(raw.get()).into_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_the_text_that_was_sent() {
        for text in [r#"{"b":1,"a":1.10}"#, "1e400", "[1 , 2]", "\"\\u0041\"", "null"] {
            assert_eq!(text.parse::<Json>().map(|json| json.to_string()), Ok(text.to_owned()));
        }
    }

    #[test]
    fn has_no_line_breaks() {
        let text = "{\n  \"a\": [1,\r\n 2],\n  \"b\": \"x\\ny\"\n}";
        let json: Json = text.parse().unwrap();
        assert_eq!(json.as_str(), r#"{   "a": [1,   2],   "b": "x\ny" }"#);
        assert_eq!(serde_json::from_str::<Json>(text).unwrap(), json);
        assert_eq!(serde_json::to_string(&Json(text.to_owned())).unwrap(), json.as_str());
    }

    #[test]
    fn a_number_that_is_too_long_is_refused_and_an_already_recorded_one_is_quoted() {
        let digits = |count: usize| "9".repeat(count);
        let good = [
            digits(JSON_NUMBER_CHARS_MAX),
            "1e9999".to_owned(),
            "-0.5E-0009999".to_owned(),
            format!("\"{}\"", digits(1_000_000)),
            format!("{{\"\\\"{}e99999\": [1.5, true, null]}}", digits(5_000)),
        ];
        for text in good {
            let json: Json = text.parse().unwrap();
            assert!(serde_json::to_string(&json).unwrap() == text, "nothing is changed");
        }
        for number in [digits(JSON_NUMBER_CHARS_MAX + 1), "1e10000".into(), "-1E-99999999999999".into()] {
            for (before, after) in [("", ""), ("[1, ", ", 2]"), ("{\"a\":", "}"), ("[\"1e10000\",", "]")] {
                let text = format!("{before}{number}{after}");
                assert_eq!(text.parse::<Json>(), Err(JsonTextError::LongNumber), "{before}…{after}");
                let stored = Json::of_column(&text).unwrap();
                assert!(stored.as_str() == text, "the recorded text stays");
                assert!(serde_json::to_string(&stored).unwrap() == format!("{before}\"{number}\"{after}"));
            }
        }
    }

    #[test]
    fn refuses_text_that_is_not_json_or_nests_too_deep() {
        assert!(matches!("{".parse::<Json>(), Err(JsonTextError::Syntax(_))));
        assert!(matches!("NaN".parse::<Json>(), Err(JsonTextError::Syntax(_))));
        let deep = |levels: usize| "[".repeat(levels) + &"]".repeat(levels);
        assert!(deep(JSON_DEPTH_MAX).parse::<Json>().is_ok());
        assert!(matches!(deep(JSON_DEPTH_MAX + 1).parse::<Json>(), Err(JsonTextError::TooDeep { .. })));
        assert!(matches!(deep(1_000_000).parse::<Json>(), Err(JsonTextError::TooDeep { .. })));
        assert!(
            format!("\"{}\"", "[".repeat(1_000)).parse::<Json>().is_ok(),
            "brackets in a string are text"
        );
    }
}
