//! The text of a map, as TOML.

use std::collections::BTreeMap;
use std::fmt;

use serde::de::value::MapAccessDeserializer;
use serde::de::{MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, de};

use super::time::Unit;

/// A whole map.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct MapSpec {
    pub(super) source: Option<String>,
    pub(super) key: Option<OneOrMore<String>>,
    pub(super) time: Option<Unit>,
    #[serde(default)]
    pub(super) changes: bool,
    #[serde(default, rename = "query")]
    pub(super) queries: Vec<QuerySpec>,
    #[serde(default, rename = "event")]
    pub(super) events: Vec<EventSpec>,
}

/// A query of a SQLite database, whose rows are records.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct QuerySpec {
    pub(super) name: String,
    pub(super) sql: String,
    pub(super) key: Option<OneOrMore<String>>,
}

/// An event that is made from a record.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct EventSpec {
    #[serde(rename = "type")]
    pub(super) kind: String,
    pub(super) name: Option<String>,
    pub(super) query: Option<String>,
    pub(super) each: Option<OneOrMore<String>>,
    pub(super) when: Option<OneOrMore<ConditionSpec>>,
    pub(super) unless: Option<OneOrMore<ConditionSpec>>,
    #[serde(default)]
    pub(super) otherwise: bool,
    #[serde(default)]
    pub(super) rest: bool,
    #[serde(default)]
    pub(super) fields: BTreeMap<String, ValueSpec>,
}

/// A condition for an event.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ConditionSpec {
    pub(super) path: Option<String>,
    pub(super) equals: Option<toml::Value>,
    pub(super) among: Option<Vec<toml::Value>>,
    pub(super) exists: Option<bool>,
    pub(super) first: Option<String>,
}

/// The origin of a field's value: a path alone, or a table.
#[derive(Debug)]
pub(super) enum ValueSpec {
    Path(String),
    Table(Box<TableSpec>),
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct TableSpec {
    /// The first that leads to a value counts. A list of paths counts as one, whose value is the sum.
    pub(super) path: Option<OneOrMore<OneOrMore<String>>>,
    pub(super) value: Option<toml::Value>,
    pub(super) members: Option<BTreeMap<String, ValueSpec>>,
    #[serde(default)]
    pub(super) all: bool,
    #[serde(rename = "as")]
    pub(super) read_as: Option<ReadAs>,
    pub(super) time: Option<Unit>,
    pub(super) words: Option<BTreeMap<String, toml::Value>>,
    pub(super) prefix: Option<String>,
    pub(super) default: Option<toml::Value>,
}

/// The reading of a text that holds something else.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub(super) enum ReadAs {
    /// The text is JSON.
    #[serde(rename = "json")]
    Json,
    /// The text is a number.
    #[serde(rename = "number")]
    Number,
}

/// One value, or a list of them.
#[derive(Debug)]
pub(super) struct OneOrMore<T>(pub(super) Vec<T>);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for OneOrMore<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<OneOrMore<T>, D::Error> {
        struct OneVisitor<T>(std::marker::PhantomData<T>);

        impl<'de, T: Deserialize<'de>> Visitor<'de> for OneVisitor<T> {
            type Value = OneOrMore<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("one value or a list of them")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<OneOrMore<T>, E> {
                T::deserialize(de::value::StrDeserializer::new(text)).map(|one| OneOrMore(vec![one]))
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<OneOrMore<T>, A::Error> {
                T::deserialize(MapAccessDeserializer::new(map)).map(|one| OneOrMore(vec![one]))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<OneOrMore<T>, A::Error> {
                let mut items = Vec::new();
                while let Some(item) = list.next_element()? {
                    items.push(item);
                }
                Ok(OneOrMore(items))
            }
        }

        deserializer.deserialize_any(OneVisitor(std::marker::PhantomData))
    }
}

impl<'de> Deserialize<'de> for ValueSpec {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<ValueSpec, D::Error> {
        struct ValueVisitor;

        impl<'de> Visitor<'de> for ValueVisitor {
            type Value = ValueSpec;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a path such as \"$.id\", or a table such as { value = \"a constant\" }")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<ValueSpec, E> {
                Ok(ValueSpec::Path(text.to_owned()))
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<ValueSpec, A::Error> {
                TableSpec::deserialize(MapAccessDeserializer::new(map))
                    .map(|table| ValueSpec::Table(Box::new(table)))
            }
        }

        deserializer.deserialize_any(ValueVisitor)
    }
}

/// The JSON of a constant. The error is a reason.
pub(super) fn json_of(value: &toml::Value) -> Result<String, String> {
    serde_json::to_string(&plain(value)?).map_err(|error| error.to_string())
}

/// A value of TOML as one of JSON: times become their texts, and numbers that JSON lacks are refused.
fn plain(value: &toml::Value) -> Result<serde_json::Value, String> {
    Ok(match value {
        toml::Value::String(text) => text.as_str().into(),
        toml::Value::Integer(number) => (*number).into(),
        toml::Value::Float(number) => serde_json::Number::from_f64(*number)
            .map(serde_json::Value::Number)
            .ok_or_else(|| format!("JSON has no number `{number}`"))?,
        toml::Value::Boolean(value) => (*value).into(),
        toml::Value::Datetime(time) => time.to_string().into(),
        toml::Value::Array(items) => items.iter().map(plain).collect::<Result<Vec<_>, _>>()?.into(),
        toml::Value::Table(table) => {
            let members = table.iter().map(|(name, value)| Ok((name.clone(), plain(value)?)));
            serde_json::Value::Object(members.collect::<Result<_, String>>()?)
        }
    })
}
