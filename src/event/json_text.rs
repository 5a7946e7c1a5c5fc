//! Free-form JSON, kept as the text that was sent.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use bincode::{Decode, Encode};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use serde_json::value::RawValue;

use crate::limits::JSON_DEPTH_MAX;

/// A JSON value as the text that was sent: never parsed and printed again, so numbers, order and
/// spelling come back as they were. Only line breaks become spaces, so that an event is one line
/// wherever it is written.
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

/// Fields that a kind does not know, by name: kept, exported and searchable, never lost.
pub type Attributes = BTreeMap<String, Json>;

/// A text that is not JSON, or nested too deep.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum JsonTextError {
    /// It is not JSON; the reason names line and column.
    #[error("not JSON: {0}")]
    Syntax(String),
    /// It nests lists and objects deeper than readers can follow.
    #[error("JSON nested deeper than {max} levels")]
    TooDeep {
        /// Deepest nesting allowed.
        max: usize,
    },
}

impl Json {
    /// The JSON text of a value.
    ///
    /// # Errors
    /// If the value has no JSON form (a map with keys that are not text), or nests too deep.
    pub fn of<T: Serialize + ?Sized>(value: &T) -> Result<Json, JsonTextError> {
        let text = serde_json::to_string(value).map_err(|error| JsonTextError::Syntax(error.to_string()))?;
        check_depth(&text)?;
        Ok(Json(one_line(text)))
    }

    /// The JSON string with this content.
    pub fn text(content: &str) -> Json {
        Json(serde_json::Value::String(content.to_owned()).to_string())
    }

    /// Its text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether the text is JSON of a depth that readers can follow; what was read from a file may
    /// not be.
    pub(crate) fn check(&self) -> Result<(), JsonTextError> {
        check_depth(&self.0)?;
        serde_json::from_str::<&RawValue>(&self.0)
            .map(|_| ())
            .map_err(|error| JsonTextError::Syntax(error.to_string()))
    }
}

/// JSON without line breaks. In a string JSON has none as such, so they are white space.
pub(super) fn one_line(text: String) -> String {
    if text.contains(['\n', '\r']) { text.replace(['\n', '\r'], " ") } else { text }
}

/// Refuses text that nests lists and objects deeper than [`JSON_DEPTH_MAX`]. It looks at brackets
/// outside strings alone, so it is safe to run on anything before a parser is.
pub(crate) fn check_depth(text: &str) -> Result<(), JsonTextError> {
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
                if depth > JSON_DEPTH_MAX {
                    return Err(JsonTextError::TooDeep { max: JSON_DEPTH_MAX });
                }
            }
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
        let json = Json(text.trim().to_owned());
        json.check()?;
        Ok(Json(one_line(json.0)))
    }
}

impl Serialize for Json {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let raw: &RawValue = serde_json::from_str(&self.0).map_err(serde::ser::Error::custom)?;
        raw.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Json {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Json, D::Error> {
        let raw = Box::<RawValue>::deserialize(deserializer)?;
        check_depth(raw.get()).map_err(de::Error::custom)?;
        Ok(Json(one_line(String::from(Box::<str>::from(raw)))))
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
    fn is_always_one_line() {
        let text = "{\"a\":\r\n [1,\n2], \"b\": \"\\n\"}";
        let line = "{\"a\":   [1, 2], \"b\": \"\\n\"}";
        assert_eq!(text.parse::<Json>().map(|json| json.to_string()), Ok(line.to_owned()));
        assert_eq!(serde_json::from_str::<Json>(text).unwrap().as_str(), line);
        let raw: Box<RawValue> = serde_json::from_str(text).unwrap();
        assert_eq!(Json::of(&raw).unwrap().as_str(), line);
    }

    #[test]
    fn refuses_what_is_not_json_or_too_deep() {
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
