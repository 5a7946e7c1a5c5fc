//! The fields of spans and events, and reading values from them.

use std::error::Error;
use std::fmt::{Debug, Write as _};
use std::str::FromStr;

use serde_json::{Number, Value};
use tracing::field::{Field, Visit};

use crate::event::{Attributes, ConsideredOption, Json};
use crate::limits::TOKENS_MAX;

/// The prefix that may stand before the name of a field that has a meaning here.
const PREFIX: &str = "annals.";

/// Fields in the order of their first recording. A later value of the same name replaces an earlier one.
#[derive(Clone, Debug, Default)]
pub(super) struct Fields(Vec<(&'static str, Value)>);

impl Fields {
    fn put(&mut self, name: &'static str, value: Value) {
        // A span has few fields, so a search through the list is enough.
        match self.0.iter_mut().find(|(other, _)| *other == name) {
            Some((_, old)) => *old = value,
            None => self.0.push((name, value)),
        }
    }

    /// Adds fields that were recorded later.
    pub(super) fn extend(&mut self, later: Fields) {
        later.0.into_iter().for_each(|(name, value)| self.put(name, value));
    }

    pub(super) fn has(&self, name: &str) -> bool {
        self.0.iter().any(|(other, _)| *other == name)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Adds a field unless there is one of that name.
    pub(super) fn put_if_absent(&mut self, name: &'static str, value: Value) {
        if !self.has(name) {
            self.put(name, value);
        }
    }

    /// Removes and returns the fields with these names, with or without the prefix, and those of these groups.
    pub(super) fn split(&mut self, names: &[&str], groups: &[&str]) -> Fields {
        let is_one = |name: &str| {
            let name = name.strip_prefix(PREFIX).unwrap_or(name);
            names.contains(&name) || groups.iter().any(|group| in_group(name, group).is_some())
        };
        let (those, others) = std::mem::take(&mut self.0).into_iter().partition(|(name, _)| is_one(name));
        self.0 = others;
        Fields(those)
    }

    /// Takes the field with exactly this name.
    pub(super) fn take_exact(&mut self, name: &str) -> Option<Value> {
        let place = self.0.iter().position(|(other, _)| *other == name)?;
        Some(self.0.remove(place).1)
    }

    /// Takes a field if `read` accepts its value; the one with the prefix is tried first. A value that
    /// `read` does not accept stays, and becomes an attribute.
    fn take<T>(&mut self, name: &str, read: impl Fn(&Value) -> Option<T>) -> Option<T> {
        for with_prefix in [true, false] {
            let place = self.0.iter().position(|(other, _)| match other.strip_prefix(PREFIX) {
                Some(rest) => with_prefix && rest == name,
                None => !with_prefix && *other == name,
            });
            if let Some(place) = place
                && let Some(value) = self.0.get(place).and_then(|(_, value)| read(value))
            {
                self.0.remove(place);
                return Some(value);
            }
        }
        None
    }

    pub(super) fn text(&mut self, name: &str) -> Option<String> {
        self.take(name, |value| Some(text_of(value)))
    }

    /// A value with a fixed form: a word of a list, or an id.
    pub(super) fn parsed<T: FromStr>(&mut self, name: &str) -> Option<T> {
        self.take(name, |value| text_of(value).parse().ok())
    }

    /// An id. Only a name with the prefix counts: a program may use names such as `step` and `decision` for
    /// purposes of its own.
    pub(super) fn id<T: FromStr>(&mut self, name: &str) -> Option<T> {
        let place = self.0.iter().position(|(other, _)| other.strip_prefix(PREFIX) == Some(name))?;
        let id = text_of(&self.0.get(place)?.1).parse().ok()?;
        self.0.remove(place);
        Some(id)
    }

    pub(super) fn number(&mut self, name: &str) -> Option<f64> {
        self.take(name, finite)
    }

    pub(super) fn fraction(&mut self, name: &str) -> Option<f64> {
        self.take(name, |value| finite(value).filter(|number| (0.0..=1.0).contains(number)))
    }

    pub(super) fn tokens(&mut self, name: &str) -> Option<u64> {
        self.take(name, |value| value.as_u64().filter(|&tokens| tokens <= TOKENS_MAX))
    }

    /// Any JSON value. A text that is a JSON list or object is parsed; any other value stands for itself.
    pub(super) fn json(&mut self, name: &str) -> Option<Json> {
        self.take(name, |value| match value {
            Value::String(text) if text.starts_with(['[', '{']) => {
                text.parse().ok().or_else(|| Some(Json::text(text)))
            }
            value => Json::of(value).ok(),
        })
    }

    /// A list of texts, written as JSON. The debug format `?` prints a list in the same way.
    pub(super) fn texts(&mut self, name: &str) -> Vec<String> {
        self.take(name, |value| serde_json::from_str(value.as_str()?).ok()).unwrap_or_default()
    }

    /// Options: first a JSON list of texts and objects, then the fields `option.<name>` with a score each.
    pub(super) fn options(&mut self) -> Vec<ConsideredOption> {
        let listed: Option<Vec<ConsideredOption>> =
            self.take("options_considered", |value| serde_json::from_str(value.as_str()?).ok());
        let mut options = listed.unwrap_or_default();
        for (name, score) in self.group("option", finite) {
            options.push(ConsideredOption::scored(name, score));
        }
        options
    }

    /// Takes the fields `<group>.<name>`, as pairs of the inner name and the value.
    pub(super) fn group<T>(&mut self, group: &str, read: impl Fn(&Value) -> Option<T>) -> Vec<(String, T)> {
        let mut found = Vec::new();
        // A field of the group with a value that cannot be read stays, and becomes an attribute.
        self.0.retain(|(name, value)| {
            let inner = in_group(name.strip_prefix(PREFIX).unwrap_or(name), group);
            match inner.and_then(|inner| Some((inner.to_owned(), read(value)?))) {
                Some(pair) => {
                    found.push(pair);
                    false
                }
                None => true,
            }
        });
        found
    }

    /// The fields that are left, as attributes under their own names.
    pub(super) fn into_attributes(self) -> Attributes {
        // A value without a JSON form is kept as text.
        let json = |value: &Value| Json::of(value).unwrap_or_else(|_| Json::text(&text_of(value)));
        self.0.iter().map(|(name, value)| ((*name).to_owned(), json(value))).collect()
    }
}

fn in_group<'n>(name: &'n str, group: &str) -> Option<&'n str> {
    name.strip_prefix(group)?.strip_prefix('.').filter(|inner| !inner.is_empty())
}

pub(super) fn text_of(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        value => value.to_string(),
    }
}

pub(super) fn finite(value: &Value) -> Option<f64> {
    value.as_f64().filter(|number| number.is_finite())
}

impl Visit for Fields {
    fn record_f64(&mut self, field: &Field, value: f64) {
        // JSON has only finite numbers. Others are kept as text.
        let number = Number::from_f64(value).map_or_else(|| Value::String(value.to_string()), Value::Number);
        self.put(field.name(), number);
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.put(field.name(), value.into());
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.put(field.name(), value.into());
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.put(field.name(), value.into());
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.put(field.name(), value.into());
    }

    fn record_error(&mut self, field: &Field, value: &(dyn Error + 'static)) {
        // The causes are part of the text, because only this text is recorded.
        let mut text = value.to_string();
        let mut source = value.source();
        while let Some(error) = source {
            let _ = write!(text, ": {error}");
            source = error.source();
        }
        self.put(field.name(), text.into());
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.put(field.name(), format!("{value:?}").into());
    }
}
