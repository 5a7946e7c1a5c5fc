//! The conversation that a log record names. It is the record's session if the record has no trace, or if a coding
//! agent sent it: such an agent makes many traces in one conversation.

use std::borrow::Cow;
use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, SeqAccess, Visitor};
use serde_json::value::RawValue;

use super::wire::{Fields, Value};
use crate::event::SessionId;
use crate::otel;

/// The attributes of a log record that determine its session. Nothing else is kept of the attributes.
#[derive(Debug, Default)]
pub(super) struct Naming {
    /// The attribute `event.name`.
    name: Option<String>,
    /// The conversation, and the rank of the attribute that names it.
    conversation: Option<(u8, String)>,
}

impl Naming {
    /// Adds an attribute. `text` reads its value; it is called only if the attribute counts.
    fn add(&mut self, key: &str, text: impl FnOnce() -> Option<String>) {
        // The rules of the mapping: the first value of a name that is not empty, and the best name.
        if key == "event.name" && self.name.is_none() {
            self.name = text().filter(|text| !text.is_empty());
        } else if let Some(rank) = otel::conversation(key)
            && self.conversation.as_ref().is_none_or(|(own, _)| rank < *own)
            && let Some(text) = text().filter(|text| !text.trim().is_empty())
        {
            self.conversation = Some((rank, text));
        }
    }

    /// The session that the record belongs to instead of its trace. `event_name` is the field of that name, and
    /// `scope` the name of the instrumentation scope.
    pub(super) fn session(self, event_name: &str, scope: Option<&str>, has_trace: bool) -> Option<SessionId> {
        let (_, conversation) = self.conversation?;
        let name = self.name.as_deref().or(Some(event_name).filter(|name| !name.is_empty()));
        if has_trace && !otel::is_of_coding_agent(name, scope) {
            return None;
        }
        SessionId::new(conversation).ok()
    }

    /// Reads a log record in OTLP's JSON. Attributes of another form are passed over.
    pub(super) fn of_json(record: &str) -> Naming {
        #[derive(Deserialize)]
        struct Record<'a> {
            #[serde(borrow, default)]
            attributes: Option<&'a RawValue>,
        }
        serde_json::from_str::<Record<'_>>(record)
            .ok()
            .and_then(|record| serde_json::from_str(record.attributes?.get()).ok())
            .unwrap_or_default()
    }

    /// Reads a log record in protocol buffers.
    pub(super) fn of_protobuf(record: &[u8]) -> Naming {
        let mut naming = Naming::default();
        // A malformed attribute rejects the record where it is written as JSON.
        for attribute in Fields(record).all(6).flatten() {
            let Ok(attribute) = attribute.bytes() else { continue };
            let Ok(Some(Ok(key))) = Fields(attribute).one(1).map(|key| key.map(Value::text)) else {
                continue;
            };
            naming.add(key, || {
                let value = Fields(attribute).one(2).ok()??.bytes().ok()?;
                Some(Fields(value).one(1).ok()??.text().ok()?.to_owned())
            });
        }
        naming
    }
}

/// A list of attributes. They are read one after the other, so that their number takes no memory.
impl<'de> Deserialize<'de> for Naming {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Naming, D::Error> {
        struct List;

        impl<'de> Visitor<'de> for List {
            type Value = Naming;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list of attributes")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Naming, A::Error> {
                let mut naming = Naming::default();
                while let Some(attribute) = seq.next_element::<&'de RawValue>()? {
                    let Ok(attribute) = serde_json::from_str::<Attribute<'de>>(attribute.get()) else {
                        continue;
                    };
                    let Attribute { key, value } = attribute;
                    naming.add(&key, || text(value?));
                }
                Ok(naming)
            }
        }

        deserializer.deserialize_seq(List)
    }
}

#[derive(Deserialize)]
struct Attribute<'a> {
    #[serde(borrow)]
    key: Cow<'a, str>,
    #[serde(borrow, default)]
    value: Option<&'a RawValue>,
}

/// The text of a value, if it is one.
fn text(value: &RawValue) -> Option<String> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Text {
        #[serde(alias = "string_value")]
        string_value: String,
    }
    serde_json::from_str::<Text>(value.get()).ok().map(|text| text.string_value)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(record: &str, event_name: &str, scope: Option<&str>, has_trace: bool) -> Option<String> {
        Naming::of_json(record).session(event_name, scope, has_trace).map(|session| session.to_string())
    }

    #[test]
    fn a_conversation_is_the_session_without_a_trace_and_of_a_coding_agent() {
        let plain = r#"{"attributes":[{"key":"session.id","value":{"stringValue":"s-1"}}]}"#;
        assert_eq!(named(plain, "", None, false).as_deref(), Some("s-1"));
        let defined = r#"{"attributes":[{"key":"session.id","value":{"string_value":"s-1"}}]}"#;
        assert_eq!(named(defined, "", None, false).as_deref(), Some("s-1"));
        assert_eq!(named(plain, "app.started", Some("app"), true), None);
        assert_eq!(named(plain, "codex.api_request", None, true).as_deref(), Some("s-1"));
        assert_eq!(named(plain, "", Some("com.anthropic.claude_code.events"), true).as_deref(), Some("s-1"));
        // The attribute is the name; the field may have a line of the source code.
        let codex = r#"{"attributes":[{"key":"event.name","value":{"stringValue":"codex.tool_result"}},{"key":"conversation.id","value":{"stringValue":"c-1"}}]}"#;
        assert_eq!(named(codex, "event otel/src/tool_result.rs:54", None, true).as_deref(), Some("c-1"));
    }

    #[test]
    fn the_best_name_of_a_conversation_counts_and_other_forms_say_nothing() {
        let both = r#"{"attributes":[{"key":"session.id","value":{"stringValue":"s"}},{"key":"gen_ai.conversation.id","value":{"stringValue":"c"}},7,{"key":[]},{"key":"conversation.id","value":{"intValue":"7"}}]}"#;
        assert_eq!(named(both, "", None, false).as_deref(), Some("c"));
        for none in [
            "{}",
            r#"{"attributes":{}}"#,
            r#"{"attributes":[{"key":"session.id","value":{"stringValue":" "}}]}"#,
            r#"{"attributes":[{"key":"session.id","value":{"stringValue":"a\nb"}}]}"#,
            r#"{"attributes":[{"key":"session.id"}]}"#,
        ] {
            assert_eq!(named(none, "", None, false), None, "{none}");
        }
    }
}
