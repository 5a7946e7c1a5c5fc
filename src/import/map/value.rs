//! A record as a tree, in which each value still has its own text: numbers and spelling stay as they are.

use std::borrow::Cow;
use std::collections::BTreeMap;

use jsonpath_rust::query::queryable::Queryable;
use serde_json::value::RawValue;

use crate::event::{Fields, Json, JsonEventError};
use crate::limits::JSON_EVENT_DEPTH_MAX;

/// A value of a record, or one that a filter of a path compares with.
#[derive(Clone, Debug)]
pub(super) struct Node<'t> {
    /// The text of the value, borrowed from the record; empty for a value of a filter. Its address tells the value
    /// from all others of the record.
    raw: &'t str,
    content: Content<'t>,
}

#[derive(Clone, Debug)]
pub(super) enum Content<'t> {
    Null,
    Bool(bool),
    /// A number of the record, whose text is the node's.
    Number,
    /// A whole number in a filter.
    Whole(i64),
    /// Another number in a filter.
    Float(f64),
    Text(Cow<'t, str>),
    List(Vec<Node<'t>>),
    Object(Vec<(String, Node<'t>)>),
}

impl<'t> Node<'t> {
    /// The tree of a record.
    ///
    /// # Errors
    /// If the text is not a JSON object, nests too deep, or has an object with the same name twice.
    pub(super) fn of_record(text: &'t str) -> Result<Node<'t>, JsonEventError> {
        // Depth before anything else: the tree is made and walked by recursion.
        crate::event::check_depth(text, JSON_EVENT_DEPTH_MAX)?;
        // The fields are parsed first for the error of a text that is something else.
        let content = object(Fields::parse(text)?)?;
        Ok(Node { raw: text, content })
    }

    /// The tree of a value that a map has.
    pub(super) fn of_value(json: &'t str) -> Result<Node<'t>, JsonEventError> {
        crate::event::check_depth(json, JSON_EVENT_DEPTH_MAX)?;
        Node::of(parse(json)?)
    }

    fn of(raw: &'t RawValue) -> Result<Node<'t>, JsonEventError> {
        let text = raw.get();
        let content = match text.as_bytes().first() {
            Some(b'{') => object(Fields::parse(text)?)?,
            Some(b'[') => Content::List(
                parse::<Vec<&RawValue>>(text)?.into_iter().map(Node::of).collect::<Result<_, _>>()?,
            ),
            // Borrowed unless it has escapes.
            Some(b'"') => Content::Text(match serde_json::from_str::<&str>(text) {
                Ok(text) => text.into(),
                Err(_) => parse::<String>(text)?.into(),
            }),
            Some(b't') => Content::Bool(true),
            Some(b'f') => Content::Bool(false),
            Some(b'n') => Content::Null,
            _ => Content::Number,
        };
        Ok(Node { raw: text, content })
    }

    /// The value's own text.
    pub(super) fn raw(&self) -> &'t str {
        self.raw
    }

    pub(super) fn content(&self) -> &Content<'t> {
        &self.content
    }

    /// The place of the value in memory, which no other value of the record has.
    pub(super) fn place(&self) -> usize {
        self.raw.as_ptr().addr()
    }

    pub(super) fn is_null(&self) -> bool {
        matches!(self.content, Content::Null)
    }

    /// The content of a text, or the JSON of anything else.
    pub(super) fn text(&self) -> &str {
        match &self.content {
            Content::Text(text) => text,
            _ => self.raw,
        }
    }

    /// The value in the one spelling that all values equal to it share, as JSON: of texts, numbers and lists, and of
    /// objects with their members in any order.
    pub(super) fn canonical(&self) -> String {
        match &self.content {
            Content::Text(text) => Json::text(text).to_string(),
            Content::Number => decimal(self.raw).unwrap_or_else(|| self.raw.to_owned()),
            Content::List(items) => {
                let items: Vec<String> = items.iter().map(Node::canonical).collect();
                format!("[{}]", items.join(","))
            }
            Content::Object(members) => {
                let members: BTreeMap<&String, &Node<'_>> =
                    members.iter().map(|(name, node)| (name, node)).collect();
                let members =
                    members.iter().map(|(name, node)| format!("{}:{}", Json::text(name), node.canonical()));
                format!("{{{}}}", members.collect::<Vec<_>>().join(","))
            }
            Content::Null => "null".to_owned(),
            Content::Bool(value) => value.to_string(),
            Content::Whole(number) => number.to_string(),
            Content::Float(number) => number.to_string(),
        }
    }

    /// A number of any spelling, as near as floating point comes to it.
    fn number(&self) -> Option<f64> {
        match &self.content {
            Content::Whole(number) => Some(*number as f64),
            _ => self.as_f64(),
        }
    }

    /// A member of an object.
    pub(super) fn member(&self, name: &str) -> Option<&Node<'t>> {
        match &self.content {
            Content::Object(members) => members.iter().find(|(own, _)| own == name).map(|(_, node)| node),
            _ => None,
        }
    }

    /// An item of a list; negative numbers count from its end.
    pub(super) fn item(&self, index: i64) -> Option<&Node<'t>> {
        let Content::List(items) = &self.content else { return None };
        let distance = usize::try_from(index.unsigned_abs()).ok()?;
        items.get(if index < 0 { items.len().checked_sub(distance)? } else { distance })
    }
}

/// Most zeros that a number has for its exponent. A number with more keeps an exponent, so that few bytes do not become
/// many.
const ZEROS_MAX: usize = 64;

/// A number without an exponent or needless zeros. All of its digits stay, so no two values share a text. None if its
/// exponent is too large to count with.
fn decimal(number: &str) -> Option<String> {
    let (sign, number) = number.strip_prefix('-').map_or(("", number), |number| ("-", number));
    let (mantissa, exponent) = number.split_once(['e', 'E']).unwrap_or((number, "0"));
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let digits = format!("{whole}{fraction}");
    let leading = digits.trim_start_matches('0');
    let digits = leading.trim_end_matches('0');
    if digits.is_empty() {
        return Some("0".to_owned());
    }
    // The value is `digits` times ten to the power of `exponent`.
    let exponent = exponent
        .parse::<i64>()
        .ok()?
        .checked_sub(i64::try_from(fraction.len()).ok()?)?
        .checked_add(i64::try_from(leading.len() - digits.len()).ok()?)?;
    let places = usize::try_from(exponent.unsigned_abs()).unwrap_or(usize::MAX);
    Some(match digits.len().checked_sub(places) {
        _ if exponent >= 0 && places <= ZEROS_MAX => format!("{sign}{digits}{}", "0".repeat(places)),
        Some(point) if exponent < 0 && point > 0 => {
            let (whole, fraction) = digits.split_at(point);
            format!("{sign}{whole}.{fraction}")
        }
        _ if exponent < 0 && places.saturating_sub(digits.len()) <= ZEROS_MAX => {
            format!("{sign}0.{}{digits}", "0".repeat(places.saturating_sub(digits.len())))
        }
        _ => format!("{sign}{digits}e{exponent}"),
    })
}

fn parse<'t, T: serde::Deserialize<'t>>(text: &'t str) -> Result<T, JsonEventError> {
    serde_json::from_str(text).map_err(|error| JsonEventError::Syntax(error.to_string()))
}

fn object(fields: Fields<'_>) -> Result<Content<'_>, JsonEventError> {
    let members = fields.0.into_iter().map(|(name, raw)| Ok((name, Node::of(raw)?)));
    Ok(Content::Object(members.collect::<Result<_, JsonEventError>>()?))
}

/// Filters compare by value: an object equals another in any order, and a number another with the same value.
impl PartialEq for Node<'_> {
    fn eq(&self, other: &Self) -> bool {
        match (&self.content, &other.content) {
            (Content::Null, Content::Null) => true,
            (Content::Bool(own), Content::Bool(other)) => own == other,
            (Content::Text(own), Content::Text(other)) => own == other,
            (Content::List(own), Content::List(other)) => own == other,
            (Content::Object(own), Content::Object(members)) => {
                // Names appear once, so the same number of members with equal partners is all of them.
                own.len() == members.len()
                    && own.iter().all(|(name, node)| other.member(name).is_some_and(|other| other == node))
            }
            _ => match (self.as_i64(), other.as_i64()) {
                (Some(own), Some(other)) => own == other,
                _ => self.number().is_some_and(|own| Some(own) == other.number()),
            },
        }
    }
}

impl Default for Node<'_> {
    fn default() -> Self {
        Content::Null.into()
    }
}

impl<'t> From<Content<'t>> for Node<'t> {
    fn from(content: Content<'t>) -> Node<'t> {
        Node { raw: "", content }
    }
}

macro_rules! from {
    ($( $type:ty: $content:expr; )*) => {$(
        impl From<$type> for Node<'_> {
            fn from(value: $type) -> Self {
                $content(value).into()
            }
        }
    )*};
}

from! {
    bool: Content::Bool;
    i64: Content::Whole;
    f64: Content::Float;
    String: |text: String| Content::Text(text.into());
    &str: |text: &str| Content::Text(text.to_owned().into());
}

impl<'t> From<Vec<Node<'t>>> for Node<'t> {
    fn from(items: Vec<Node<'t>>) -> Node<'t> {
        Content::List(items).into()
    }
}

impl Queryable for Node<'_> {
    fn get(&self, key: &str) -> Option<&Self> {
        self.member(key)
    }

    fn as_array(&self) -> Option<&Vec<Self>> {
        match &self.content {
            Content::List(items) => Some(items),
            _ => None,
        }
    }

    fn as_object(&self) -> Option<Vec<(&str, &Self)>> {
        match &self.content {
            Content::Object(members) => {
                Some(members.iter().map(|(name, node)| (name.as_str(), node)).collect())
            }
            _ => None,
        }
    }

    fn as_str(&self) -> Option<&str> {
        match &self.content {
            Content::Text(text) => Some(text),
            _ => None,
        }
    }

    fn as_i64(&self) -> Option<i64> {
        match &self.content {
            Content::Whole(number) => Some(*number),
            Content::Number => self.raw.parse().ok(),
            _ => None,
        }
    }

    fn as_f64(&self) -> Option<f64> {
        match &self.content {
            Content::Float(number) => Some(*number),
            Content::Number => self.raw.parse().ok(),
            _ => None,
        }
    }

    fn as_bool(&self) -> Option<bool> {
        match &self.content {
            Content::Bool(value) => Some(*value),
            _ => None,
        }
    }

    fn null() -> Self {
        Node::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_value_keeps_its_text_and_has_a_place_of_its_own() {
        let text = r#"{"a": 1.10, "b": [ {"c": "\u0041"}, 10000000000000000001 ], "d": null}"#;
        let node = Node::of_record(text).unwrap();
        assert_eq!(node.member("a").unwrap().raw(), "1.10");
        let list = node.member("b").unwrap();
        assert_eq!(list.item(-1).unwrap().raw(), "10000000000000000001");
        let inner = list.item(0).unwrap();
        assert_eq!((inner.raw(), inner.member("c").unwrap().text()), (r#"{"c": "\u0041"}"#, "A"));
        assert!(node.member("d").unwrap().is_null());
        assert_ne!(inner.place(), list.place());
        assert!(list.item(-3).is_none() && list.item(2).is_none() && list.item(i64::MIN).is_none());
    }

    #[test]
    fn a_text_that_is_no_object_or_says_a_name_twice_is_refused() {
        for (text, error) in [
            ("[1]", "not a JSON object: invalid type: sequence, expected an object at line 1 column 0"),
            (r#"{"a": {"b": 1, "b": 2}}"#, "field `b` appears twice"),
        ] {
            assert_eq!(Node::of_record(text).unwrap_err().to_string(), error);
        }
        let deep = format!("{{\"a\": {}1{}}}", "[".repeat(200), "]".repeat(200));
        assert!(matches!(Node::of_record(&deep), Err(JsonEventError::TooDeep(_))));
    }

    #[test]
    fn values_are_equal_by_value() {
        let text = r#"{"a": {"x": 1, "y": [1.0]}, "b": {"y": [1], "x": 1e0}, "c": {"x": 1}}"#;
        let node = Node::of_record(text).unwrap();
        assert_eq!(node.member("a"), node.member("b"));
        assert_ne!(node.member("a"), node.member("c"));
        assert_eq!(Node::from(1), Node::from(1.0).clone());
    }

    #[test]
    fn values_that_are_equal_have_one_canonical_spelling_and_others_do_not() {
        let canonical = |json: &str| Node::of_value(json).unwrap().canonical();
        for (spellings, one) in [
            (&["1", "1.0", "1e0", "10E-1", "0.1e+1"][..], "1"),
            (&["0", "-0", "0.0", "0e99999999999999999999"], "0"),
            (&["-1200", "-1.2e3", "-1200.000"], "-1200"),
            (&["0.05", "5e-2", "0.050"], "0.05"),
            (&["12.5", "1.25e1", "125e-1"], "12.5"),
            (&["1e100", "10e99", "0.1e101"], "1e100"),
            (&["25e-400", "2.5e-399"], "25e-400"),
            (&["10000000000000000001"], "10000000000000000001"),
            (&["1e99999999999999999999"], "1e99999999999999999999"),
            (&["\"é\"", "\"\\u00e9\""], "\"é\""),
            (&["\"1\""], "\"1\""),
            (
                &["{\"b\": [1.0, null], \"a\": true}", "{ \"a\":true,\"b\":[1,null]}"],
                "{\"a\":true,\"b\":[1,null]}",
            ),
        ] {
            for spelling in spellings {
                assert_eq!(canonical(spelling), one, "{spelling}");
            }
        }
    }
}
