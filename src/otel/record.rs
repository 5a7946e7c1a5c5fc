//! Spans and log records as OTLP's JSON has them: <https://opentelemetry.io/docs/specs/otlp/#json-protobuf-encoding>.
//!
//! Integers of 64 bits are texts or numbers, enums are numbers or names, ids are hexadecimal digits of any
//! case. Unknown fields are ignored. A field may also have the name of its definition: `trace_id`.

use std::borrow::Cow;

use super::node::{Node, is_field, write_float, write_list, write_text};
use crate::event::{Attributes, Json, Timestamp};

/// A value of an attribute.
#[derive(Clone, Copy, Debug)]
pub(super) struct Any<'n>(&'n Node<'n>);

impl<'n> Any<'n> {
    /// The member of an `AnyValue` that is set, such as `stringValue`, with its name. Of several the first
    /// counts.
    fn kind(self) -> Option<(&'n str, &'n Node<'n>)> {
        let Node::Object(members) = self.0 else { return None };
        members
            .iter()
            .map(|(name, value)| (json_name(name), value))
            .find(|(name, value)| name.ends_with("Value") && **value != Node::Null)
    }

    pub(super) fn text(self) -> Option<&'n str> {
        match self.kind()? {
            ("stringValue", value) => value.text(),
            _ => None,
        }
    }

    /// A text as it is, any other value as JSON.
    pub(super) fn shown(self) -> Cow<'n, str> {
        match self.text() {
            Some(text) => Cow::Borrowed(text),
            None => Cow::Owned(self.to_json()),
        }
    }

    /// The JSON of an object or a list, as a text or as OTLP's own.
    pub(super) fn structure(self) -> Option<Node<'static>> {
        Node::parse_structure(&self.shown()).map(Node::into_owned)
    }

    pub(super) fn boolean(self) -> Option<bool> {
        match self.kind()? {
            ("boolValue", Node::Bool(value)) => Some(*value),
            _ => None,
        }
    }

    pub(super) fn unsigned(self) -> Option<u64> {
        match self.kind()? {
            ("intValue" | "doubleValue" | "stringValue", value) => value.unsigned(),
            _ => None,
        }
    }

    pub(super) fn number(self) -> Option<f64> {
        match self.kind()? {
            ("intValue" | "doubleValue" | "stringValue", value) => value.number(),
            ("boolValue", Node::Bool(value)) => Some(f64::from(u8::from(*value))),
            _ => None,
        }
        // Numbers of meanings must be finite, like those of drafts.
        .filter(|number| number.is_finite())
    }

    /// The number, if it can be a cost.
    pub(super) fn cost(self) -> Option<f64> {
        self.number().filter(|number| is_cost(*number))
    }

    /// Items of a list of values.
    pub(super) fn items(self) -> impl Iterator<Item = Any<'n>> {
        let values = match self.kind() {
            Some(("arrayValue", list)) => list.get("values").and_then(Node::list).unwrap_or_default(),
            _ => &[],
        };
        values.iter().map(Any)
    }

    /// Members of a map of values.
    pub(super) fn members(self) -> impl Iterator<Item = (&'n str, Any<'n>)> {
        let values = match self.kind() {
            Some(("kvlistValue", list)) => list.get("values").and_then(Node::list).unwrap_or_default(),
            _ => &[],
        };
        values.iter().filter_map(key_value)
    }

    pub(super) fn is_empty(self) -> bool {
        self.kind().is_none()
    }

    /// Writes the value as plain JSON of its type. The recursion ends, because the JSON parser bounds the
    /// depth of a node.
    pub(super) fn write(self, out: &mut String) {
        match self.kind() {
            // OTLP's JSON has integers of 64 bits, and numbers that JSON lacks, as texts. A text that is no
            // number, or not a finite one, is a text.
            Some(("intValue", Node::Text(text))) => match text.parse::<i64>() {
                Ok(number) => out.push_str(&number.to_string()),
                Err(_) => write_text(text, out),
            },
            Some(("doubleValue", Node::Text(text))) => match text.parse::<f64>() {
                Ok(number) if number.is_finite() => write_float(number, out),
                _ => write_text(text, out),
            },
            Some(("arrayValue", _)) => {
                let items: Vec<_> = self.items().collect();
                write_list(&items, out, |item, out| item.write(out));
            }
            Some(("kvlistValue", _)) => match object(self.members()) {
                Some(object) => out.push_str(&object),
                None => out.push_str("{}"),
            },
            Some((_, value)) => value.write(out),
            // No value of any known type: kept as it is, unless it is empty.
            None if matches!(self.0, Node::Object(members) if members.is_empty()) => out.push_str("null"),
            None => self.0.write(out),
        }
    }

    pub(super) fn to_json(self) -> String {
        let mut out = String::new();
        self.write(&mut out);
        out
    }
}

/// Returns true if a number can be a cost. Others would falsify the sums of a session.
pub(super) fn is_cost(number: f64) -> bool {
    number.is_finite() && number >= 0.0
}

/// The name in JSON of a member of an `AnyValue`.
fn json_name(name: &str) -> &str {
    match name {
        "string_value" => "stringValue",
        "bool_value" => "boolValue",
        "int_value" => "intValue",
        "double_value" => "doubleValue",
        "array_value" => "arrayValue",
        "kvlist_value" => "kvlistValue",
        "bytes_value" => "bytesValue",
        name => name,
    }
}

fn key_value<'n>(node: &'n Node<'n>) -> Option<(&'n str, Any<'n>)> {
    // A key without a value is an attribute with an empty value.
    static EMPTY: Node<'static> = Node::Null;
    Some((node.text_of("key")?, Any(node.get("value").unwrap_or(&EMPTY))))
}

/// The attributes of a span, log record, resource, scope or event of a span.
pub(super) fn attributes<'n>(node: &'n Node<'n>) -> impl Iterator<Item = (&'n str, Any<'n>)> {
    node.get("attributes").and_then(Node::list).unwrap_or_default().iter().filter_map(key_value)
}

/// The items of a list of attributes that have no key, or the list itself if it is none.
pub(super) fn malformed_attributes<'n>(node: &'n Node<'n>) -> Vec<&'n Node<'n>> {
    match node.get("attributes") {
        Some(Node::List(items)) => items.iter().filter(|item| key_value(item).is_none()).collect(),
        Some(other) => vec![other],
        None => Vec::new(),
    }
}

/// Attributes as a JSON object. None if there are none.
pub(super) fn object<'n>(attributes: impl Iterator<Item = (&'n str, Any<'n>)>) -> Option<String> {
    let mut out = String::new();
    for (name, value) in attributes {
        out.push(if out.is_empty() { '{' } else { ',' });
        write_text(name, &mut out);
        out.push(':');
        value.write(&mut out);
    }
    if out.is_empty() {
        return None;
    }
    out.push('}');
    Some(out)
}

/// Adds the items of a list of attributes that have no key.
pub(super) fn add_malformed(name: &str, node: &Node<'_>, into: &mut Attributes) {
    let malformed = malformed_attributes(node);
    if !malformed.is_empty() {
        let mut out = String::new();
        write_list(&malformed, &mut out, |node, out| node.write(out));
        into.insert(name.to_owned(), Json::written(out));
    }
}

/// The members that have other names than these fields, unless they have the default of their type.
pub(super) fn others<'m>(
    node: &'m Node<'_>,
    fields: &[&str],
) -> impl Iterator<Item = (&'m str, &'m Node<'m>)> {
    let members = match node {
        Node::Object(members) => members.as_slice(),
        _ => &[],
    };
    members.iter().map(|(name, value)| (name.as_ref(), value)).filter(|(name, value)| {
        let is_default = match value {
            Node::Null | Node::Integer(0) => true,
            Node::Text(text) => text.is_empty(),
            Node::List(items) => items.is_empty(),
            _ => false,
        };
        !is_default && !fields.iter().any(|field| is_field(name, field))
    })
}

/// The value of the first attribute with this name that is not empty.
pub(super) fn attribute<'n>(node: &'n Node<'n>, name: &str) -> Option<Any<'n>> {
    attributes(node).find(|(own, value)| *own == name && !value.is_empty()).map(|(_, value)| value)
}

/// A time in nanoseconds since the Unix epoch. Zero counts as absent.
pub(super) fn nanos(node: &Node<'_>, name: &str) -> Option<u64> {
    node.field(name)?.unsigned().filter(|nanos| *nanos > 0)
}

/// The time in the log's unit, microseconds. None if the log cannot hold it.
pub(super) fn time(nanos: Option<u64>) -> Option<Timestamp> {
    let micros = i64::try_from(nanos? / 1_000).ok()?;
    Some(Timestamp::from_micros(micros)).filter(|time| time.in_range())
}

/// An id of hexadecimal digits, in lower case. An empty one, or one of zeros alone, counts as absent.
pub(super) fn id<'n>(node: &'n Node<'n>, name: &str) -> Option<Cow<'n, str>> {
    let text = node.field(name)?.text()?;
    if text.is_empty() || text.bytes().all(|digit| digit == b'0') {
        return None;
    }
    // Ids are compared as texts, so their case must be the same.
    Some(if text.bytes().any(|c| c.is_ascii_uppercase()) {
        Cow::Owned(text.to_ascii_lowercase())
    } else {
        Cow::Borrowed(text)
    })
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SpanStatus {
    Unset,
    Ok,
    Error,
}

/// The members of a span that its reading needs, and its node.
pub(super) struct Span<'n> {
    pub(super) node: &'n Node<'n>,
    pub(super) id: Cow<'n, str>,
    pub(super) parent: Option<Cow<'n, str>>,
    pub(super) name: &'n str,
    pub(super) started: Option<u64>,
    pub(super) ended: Option<u64>,
    pub(super) status: SpanStatus,
    pub(super) status_message: Option<&'n str>,
    /// True if the flags report that the parent is in another process; false if they report nothing.
    pub(super) has_remote_parent: bool,
}

/// Bits of a span's flags. The first reports that the second is set on purpose, the second that the parent is
/// remote.
const REMOTE_IS_KNOWN: u64 = 0x100;
const IS_REMOTE: u64 = 0x200;

impl<'n> Span<'n> {
    /// Reads a span. None if it has no id.
    pub(super) fn read(node: &'n Node<'n>) -> Option<Span<'n>> {
        let status = node.get("status");
        let flags = node.get("flags").and_then(Node::unsigned).unwrap_or(0);
        Some(Span {
            node,
            id: id(node, "spanId")?,
            parent: id(node, "parentSpanId"),
            name: node.text_of("name").unwrap_or_default(),
            started: nanos(node, "startTimeUnixNano"),
            ended: nanos(node, "endTimeUnixNano"),
            // An enum comes as a number, as a name, or as a number in a text.
            status: match status.and_then(|status| status.get("code")) {
                Some(Node::Integer(1)) => SpanStatus::Ok,
                Some(Node::Integer(2)) => SpanStatus::Error,
                Some(Node::Text(name)) if name == "STATUS_CODE_OK" || name == "1" => SpanStatus::Ok,
                Some(Node::Text(name)) if name == "STATUS_CODE_ERROR" || name == "2" => SpanStatus::Error,
                _ => SpanStatus::Unset,
            },
            status_message: status
                .and_then(|status| status.text_of("message"))
                .filter(|message| !message.is_empty()),
            has_remote_parent: flags & REMOTE_IS_KNOWN != 0 && flags & IS_REMOTE != 0,
        })
    }

    /// The events of the span.
    pub(super) fn events(&self) -> &'n [Node<'n>] {
        self.node.get("events").and_then(Node::list).unwrap_or_default()
    }

    /// The kind of the span in one word: `client`, `server` …
    pub(super) fn kind(&self) -> Option<&'static str> {
        const KINDS: [(&str, &str); 5] = [
            ("SPAN_KIND_INTERNAL", "internal"),
            ("SPAN_KIND_SERVER", "server"),
            ("SPAN_KIND_CLIENT", "client"),
            ("SPAN_KIND_PRODUCER", "producer"),
            ("SPAN_KIND_CONSUMER", "consumer"),
        ];
        let kind = self.node.get("kind")?;
        // The enum begins with 1 for internal; 0 is unspecified.
        let place = match kind.unsigned() {
            Some(number) => usize::try_from(number).ok()?.checked_sub(1)?,
            None => KINDS.iter().position(|(name, _)| kind.text() == Some(name))?,
        };
        KINDS.get(place).map(|(_, kind)| *kind)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers_are_texts_or_numbers_enums_numbers_or_names_ids_of_any_case() {
        let texts = [
            r#"{"spanId":"EEE19B7EC3C1B174","parentSpanId":"","name":"n","kind":3,"startTimeUnixNano":"5000","endTimeUnixNano":"6000","status":{"code":2,"message":"m"},"flags":769,"new":{"x":[1]}}"#,
            r#"{"spanId":"eee19b7ec3c1b174","parentSpanId":"0000000000000000","name":"n","kind":"SPAN_KIND_CLIENT","startTimeUnixNano":5000,"endTimeUnixNano":6000,"status":{"code":"STATUS_CODE_ERROR","message":"m"},"flags":"769"}"#,
            r#"{"span_id":"eee19b7ec3c1b174","parent_span_id":"","name":"n","kind":3,"start_time_unix_nano":"5000","end_time_unix_nano":6000,"status":{"code":2,"message":"m"},"flags":769}"#,
        ];
        for text in texts {
            let node = Node::parse(text).unwrap();
            let span = Span::read(&node).unwrap();
            assert_eq!((span.id.as_ref(), span.parent.clone(), span.name), ("eee19b7ec3c1b174", None, "n"));
            assert_eq!((span.started, span.ended, span.kind()), (Some(5000), Some(6000), Some("client")));
            assert_eq!((span.status, span.status_message), (SpanStatus::Error, Some("m")));
            assert!(span.has_remote_parent);
        }
    }

    #[test]
    fn fields_of_the_wrong_type_say_nothing() {
        let node = Node::parse(r#"{"spanId":"a1","name":7,"kind":[],"startTimeUnixNano":{},"status":"x","events":3,"attributes":{"a":1}}"#)
            .unwrap();
        let span = Span::read(&node).unwrap();
        assert_eq!(
            (span.name, span.started, span.status, span.events().len()),
            ("", None, SpanStatus::Unset, 0)
        );
        assert_eq!(attributes(&node).count(), 0);
        assert!(Span::read(&Node::parse("{}").unwrap()).is_none());
    }

    #[test]
    fn values_become_json_of_their_type() {
        let values = [
            (r#"{"stringValue":"x\"y"}"#, r#""x\"y""#),
            (r#"{"array_value":{"values":[{"int_value":"1"},{"string_value":"b"}]}}"#, r#"[1,"b"]"#),
            (r#"{"intValue":"7"}"#, "7"),
            (r#"{"intValue":7}"#, "7"),
            (r#"{"doubleValue":0.5}"#, "0.5"),
            (r#"{"doubleValue":"NaN"}"#, r#""NaN""#),
            (r#"{"doubleValue":1e400}"#, r#""1e400""#),
            (r#"{"boolValue":true}"#, "true"),
            (r#"{"bytesValue":"AQI="}"#, r#""AQI=""#),
            (r#"{"arrayValue":{"values":[{"intValue":"1"},{"stringValue":"b"}]}}"#, r#"[1,"b"]"#),
            (r#"{"arrayValue":{}}"#, "[]"),
            (r#"{"kvlistValue":{"values":[{"key":"a","value":{"boolValue":false}}]}}"#, r#"{"a":false}"#),
            ("{}", "null"),
        ];
        for (text, json) in values {
            let node = Node::parse(text).unwrap();
            assert_eq!(Any(&node).to_json(), json);
        }
    }
}
