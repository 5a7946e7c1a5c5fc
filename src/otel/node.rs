//! JSON as a tree. A string without escapes is borrowed from the text.
//!
//! Data of other programs is read leniently: a field of the wrong type counts as absent, and the rest is
//! still read. A tree allows this, because each field is asked for by itself.

use std::borrow::Cow;
use std::fmt;

use serde::de::{self, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};

use super::repair::repaired;

/// A JSON value.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Node<'a> {
    Null,
    Bool(bool),
    Integer(i64),
    /// Above the largest [`i64`].
    Large(u64),
    Float(f64),
    Text(Cow<'a, str>),
    List(Vec<Node<'a>>),
    /// Members in the order in which they stand.
    Object(Vec<(Cow<'a, str>, Node<'a>)>),
}

impl<'a> Node<'a> {
    /// Reads a text that is one JSON value. Where another program wrote JSON that serde_json refuses, the tree
    /// has U+FFFD for half of a surrogate pair, and a text for a number that no float holds.
    pub(super) fn parse(text: &'a str) -> Option<Node<'a>> {
        // serde_json refuses more than 127 levels: this bounds every recursion over a tree.
        match serde_json::from_str(text) {
            Ok(node) => Some(node),
            Err(_) => serde_json::from_str(&repaired(text)?).ok().map(Node::into_owned),
        }
    }

    /// Reads a text that is a JSON object or list. None for every other text.
    pub(super) fn parse_structure(text: &'a str) -> Option<Node<'a>> {
        if text.trim_start().starts_with(['{', '[']) { Node::parse(text) } else { None }
    }

    /// The same value, which borrows nothing.
    pub(super) fn into_owned(self) -> Node<'static> {
        match self {
            Node::Null => Node::Null,
            Node::Bool(value) => Node::Bool(value),
            Node::Integer(number) => Node::Integer(number),
            Node::Large(number) => Node::Large(number),
            Node::Float(number) => Node::Float(number),
            Node::Text(text) => Node::Text(Cow::Owned(text.into_owned())),
            Node::List(items) => Node::List(items.into_iter().map(Node::into_owned).collect()),
            Node::Object(members) => Node::Object(
                members
                    .into_iter()
                    .map(|(name, value)| (Cow::Owned(name.into_owned()), value.into_owned()))
                    .collect(),
            ),
        }
    }

    /// The first member with this name that is not `null`.
    pub(super) fn get(&self, name: &str) -> Option<&Node<'a>> {
        let Node::Object(members) = self else { return None };
        members.iter().find(|(own, value)| own == name && *value != Node::Null).map(|(_, value)| value)
    }

    /// The first member that is a field of a message of protocol buffers and not `null`, by the field's name
    /// in JSON, such as `traceId`. The name of the definition, `trace_id`, is read as the same.
    pub(super) fn field(&self, name: &str) -> Option<&Node<'a>> {
        let Node::Object(members) = self else { return None };
        members
            .iter()
            .find(|(own, value)| is_field(own, name) && *value != Node::Null)
            .map(|(_, value)| value)
    }

    pub(super) fn text(&self) -> Option<&str> {
        match self {
            Node::Text(text) => Some(text),
            _ => None,
        }
    }

    /// The text of a member.
    pub(super) fn text_of(&self, name: &str) -> Option<&str> {
        self.get(name)?.text()
    }

    pub(super) fn list(&self) -> Option<&[Node<'a>]> {
        match self {
            Node::List(items) => Some(items),
            _ => None,
        }
    }

    /// The unsigned integer, from a number or a text: in the JSON of protocol buffers integers of 64 bits are
    /// texts.
    pub(super) fn unsigned(&self) -> Option<u64> {
        match self {
            Node::Integer(number) => u64::try_from(*number).ok(),
            Node::Large(number) => Some(*number),
            Node::Text(text) => text.parse().ok(),
            // Up to 2^53 each integer is exactly one float, so the conversion is exact.
            #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
            Node::Float(number)
                if number.fract() == 0.0 && (0.0..=9_007_199_254_740_992.0).contains(number) =>
            {
                Some(*number as u64)
            }
            _ => None,
        }
    }

    /// The signed integer, in the same way.
    #[cfg(feature = "server")]
    pub(super) fn signed(&self) -> Option<i64> {
        match self {
            Node::Integer(number) => Some(*number),
            Node::Text(text) => text.parse().ok(),
            #[allow(clippy::cast_possible_truncation)]
            Node::Float(number) if number.fract() == 0.0 && number.abs() <= 9_007_199_254_740_992.0 => {
                Some(*number as i64)
            }
            _ => None,
        }
    }

    /// The number, from a number or a text.
    pub(super) fn number(&self) -> Option<f64> {
        match self {
            #[allow(clippy::cast_precision_loss)]
            Node::Integer(number) => Some(*number as f64),
            #[allow(clippy::cast_precision_loss)]
            Node::Large(number) => Some(*number as f64),
            Node::Float(number) => Some(*number),
            Node::Text(text) => text.parse().ok(),
            _ => None,
        }
    }

    /// Writes the value as compact JSON.
    pub(super) fn write(&self, out: &mut String) {
        match self {
            Node::Null => out.push_str("null"),
            Node::Bool(true) => out.push_str("true"),
            Node::Bool(false) => out.push_str("false"),
            Node::Integer(number) => out.push_str(&number.to_string()),
            Node::Large(number) => out.push_str(&number.to_string()),
            Node::Float(number) => write_float(*number, out),
            Node::Text(text) => write_text(text, out),
            Node::List(items) => {
                write_list(items, out, Node::write);
            }
            Node::Object(members) => {
                out.push('{');
                for (place, (name, value)) in members.iter().enumerate() {
                    if place > 0 {
                        out.push(',');
                    }
                    write_text(name, out);
                    out.push(':');
                    value.write(out);
                }
                out.push('}');
            }
        }
    }

    pub(super) fn to_json(&self) -> String {
        let mut out = String::new();
        self.write(&mut out);
        out
    }
}

pub(super) fn is_field(own: &str, name: &str) -> bool {
    let mut defined = name.bytes().flat_map(|byte| {
        let separator = byte.is_ascii_uppercase().then_some(b'_');
        separator.into_iter().chain([byte.to_ascii_lowercase()])
    });
    own == name || own.bytes().all(|byte| defined.next() == Some(byte)) && defined.next().is_none()
}

pub(super) fn write_list<T>(items: &[T], out: &mut String, write: impl Fn(&T, &mut String)) {
    out.push('[');
    for (place, item) in items.iter().enumerate() {
        if place > 0 {
            out.push(',');
        }
        write(item, out);
    }
    out.push(']');
}

/// Reads a JSON string, as leniently as all JSON of other programs. None for any other JSON.
#[cfg(feature = "server")]
pub(crate) fn read_text(json: &str) -> Option<String> {
    match Node::parse(json)? {
        Node::Text(text) => Some(text.into_owned()),
        _ => None,
    }
}

/// Writes a number as JSON. Numbers that JSON lacks become the texts that OTLP has for them.
pub(crate) fn write_float(number: f64, out: &mut String) {
    match serde_json::to_string(&number) {
        Ok(text) if number.is_finite() => out.push_str(&text),
        _ if number.is_nan() => out.push_str("\"NaN\""),
        _ if number > 0.0 => out.push_str("\"Infinity\""),
        _ => out.push_str("\"-Infinity\""),
    }
}

/// Writes a JSON string with this content.
pub(crate) fn write_text(text: &str, out: &mut String) {
    out.push('"');
    let mut rest = text;
    // Runs without escapes are copied whole: most texts are one run.
    while let Some(place) = rest.bytes().position(|byte| byte < b' ' || byte == b'"' || byte == b'\\') {
        // Bytes that need an escape are ASCII, so the cut is between characters.
        let (plain, from) = rest.split_at(place);
        out.push_str(plain);
        let mut characters = from.chars();
        match characters.next() {
            Some('"') => out.push_str("\\\""),
            Some('\\') => out.push_str("\\\\"),
            Some('\n') => out.push_str("\\n"),
            Some('\r') => out.push_str("\\r"),
            Some('\t') => out.push_str("\\t"),
            Some(other) => out.push_str(&format!("\\u{:04x}", u32::from(other))),
            None => {}
        }
        rest = characters.as_str();
    }
    out.push_str(rest);
    out.push('"');
}

impl<'de: 'a, 'a> Deserialize<'de> for Node<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Node<'a>, D::Error> {
        struct NodeVisitor;

        impl<'de> Visitor<'de> for NodeVisitor {
            type Value = Node<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("JSON")
            }

            fn visit_unit<E: de::Error>(self) -> Result<Node<'de>, E> {
                Ok(Node::Null)
            }

            fn visit_bool<E: de::Error>(self, value: bool) -> Result<Node<'de>, E> {
                Ok(Node::Bool(value))
            }

            fn visit_i64<E: de::Error>(self, value: i64) -> Result<Node<'de>, E> {
                Ok(Node::Integer(value))
            }

            fn visit_u64<E: de::Error>(self, value: u64) -> Result<Node<'de>, E> {
                Ok(i64::try_from(value).map_or(Node::Large(value), Node::Integer))
            }

            fn visit_f64<E: de::Error>(self, value: f64) -> Result<Node<'de>, E> {
                Ok(Node::Float(value))
            }

            fn visit_borrowed_str<E: de::Error>(self, value: &'de str) -> Result<Node<'de>, E> {
                Ok(Node::Text(Cow::Borrowed(value)))
            }

            fn visit_str<E: de::Error>(self, value: &str) -> Result<Node<'de>, E> {
                Ok(Node::Text(Cow::Owned(value.to_owned())))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Node<'de>, A::Error> {
                let mut items = Vec::new();
                while let Some(item) = seq.next_element()? {
                    items.push(item);
                }
                Ok(Node::List(items))
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Node<'de>, A::Error> {
                let mut members = Vec::new();
                // Repeated names are kept in their order; `get` finds the first.
                while let Some((Name(name), value)) = map.next_entry()? {
                    members.push((name, value));
                }
                Ok(Node::Object(members))
            }
        }

        deserializer.deserialize_any(NodeVisitor)
    }
}

/// The name of a member, borrowed if it has no escapes.
struct Name<'a>(Cow<'a, str>);

impl<'de: 'a, 'a> Deserialize<'de> for Name<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Name<'a>, D::Error> {
        struct NameVisitor;

        impl<'de> Visitor<'de> for NameVisitor {
            type Value = Name<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a name")
            }

            fn visit_borrowed_str<E: de::Error>(self, value: &'de str) -> Result<Name<'de>, E> {
                Ok(Name(Cow::Borrowed(value)))
            }

            fn visit_str<E: de::Error>(self, value: &str) -> Result<Name<'de>, E> {
                Ok(Name(Cow::Owned(value.to_owned())))
            }
        }

        deserializer.deserialize_str(NameVisitor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writes_what_it_read() {
        for text in
            [r#"{"a":[1,-2,18446744073709551615,0.5,true,null],"b\"\n\u0001ü":"x"}"#, "[]", "{}", "\"\""]
        {
            assert_eq!(Node::parse(text).unwrap().to_json(), text);
        }
    }

    #[test]
    fn borrows_texts_without_escapes() {
        let text = String::from(r#"{"plain":"text"}"#);
        let Some(Node::Object(members)) = Node::parse(&text) else { panic!() };
        assert!(matches!(members.as_slice(), [(Cow::Borrowed(_), Node::Text(Cow::Borrowed(_)))]));
    }

    #[test]
    fn reads_all_json_that_the_log_takes() {
        // The log keeps texts and numbers as they were sent.
        let text = r#"{"cut \ud83e":["\udd14 cut",1e400,-1e400,0.5]}"#;
        assert!(text.parse::<crate::event::Json>().is_ok());
        let read = "{\"cut \u{fffd}\":[\"\u{fffd} cut\",\"1e400\",\"-1e400\",0.5]}";
        assert_eq!(Node::parse(text).unwrap().to_json(), read);
        // Python writes these numbers, and a text attribute may have them.
        assert_eq!(Node::parse_structure("[NaN, Infinity]").unwrap().to_json(), r#"["NaN","Infinity"]"#);
        for text in ["{", "\"\\ud83e", "[NaN", "{1e400}", "[nan]"] {
            assert_eq!(Node::parse(text), None, "{text}");
        }
    }

    #[test]
    fn a_field_has_its_name_in_json_or_that_of_its_definition() {
        for name in ["startTimeUnixNano", "start_time_unix_nano"] {
            let node = Node::Object(vec![(name.into(), Node::Integer(1))]);
            assert_eq!(node.field("startTimeUnixNano"), Some(&Node::Integer(1)), "{name}");
        }
        for name in ["startTimeUnix", "start_time_unix", "starttimeunixnano", "StartTimeUnixNano", ""] {
            let node = Node::Object(vec![(name.into(), Node::Integer(1))]);
            assert_eq!(node.field("startTimeUnixNano"), None, "{name}");
        }
    }

    #[test]
    fn reads_integers_from_numbers_and_from_texts() {
        for text in ["7", "\"7\"", "7.0"] {
            assert_eq!(Node::parse(text).unwrap().unsigned(), Some(7));
        }
        for text in ["-7", "\"x\"", "7.5", "null", "[7]"] {
            assert_eq!(Node::parse(text).unwrap().unsigned(), None);
        }
    }
}
