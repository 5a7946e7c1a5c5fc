//! Values of a record as the values of an event's fields.

use std::collections::BTreeMap;

use super::path::Root;
use super::plan::{Found, Number, Target, Value};
use super::spec::ReadAs;
use super::value::{Content, Node};
use crate::Json;
use crate::event::Form;

/// The record that an event is made from, and its item if it has one.
#[derive(Clone, Copy)]
pub(super) struct Roots<'n, 't> {
    pub(super) record: &'n Node<'t>,
    pub(super) item: Option<&'n Node<'t>>,
}

impl<'n, 't> Roots<'n, 't> {
    pub(super) fn find(self, path: &super::path::Path) -> Vec<&'n Node<'t>> {
        match (path.root(), self.item) {
            (Root::Record, _) => path.find(self.record),
            (Root::Item, Some(item)) => path.find(item),
            // A map whose event has no items cannot have such a path.
            (Root::Item, None) => Vec::new(),
        }
    }
}

/// A value that cannot be converted.
pub(super) struct Unfit {
    pub(super) path: String,
    pub(super) reason: String,
}

/// Makes the JSON of a field, or none if the record has no value for it. Adds the places of the values that are
/// wholly in the result to `taken`.
pub(super) fn json_of(
    value: &Value,
    roots: Roots<'_, '_>,
    taken: &mut Vec<usize>,
) -> Result<Option<String>, Unfit> {
    match value {
        Value::Constant(json) => Ok(Some(json.clone())),
        Value::Members(members) => {
            let mut found = Vec::new();
            for (name, value) in members {
                if let Some(json) = json_of(value, roots, taken)? {
                    found.push(format!("{}:{json}", Json::text(name)));
                }
            }
            // An object without members says nothing.
            Ok((!found.is_empty()).then(|| format!("{{{}}}", found.join(","))))
        }
        Value::Found(found) => found
            .json(roots, taken)
            .map_err(|(path, reason)| Unfit { path: path.unwrap_or_else(|| found.paths_text()), reason }),
    }
}

/// A converted value.
struct Converted {
    json: String,
    /// False if the value says more than the result.
    is_whole: bool,
}

impl Converted {
    fn whole(json: impl Into<String>) -> Converted {
        Converted { json: json.into(), is_whole: true }
    }
}

impl Found {
    fn json(
        &self,
        roots: Roots<'_, '_>,
        taken: &mut Vec<usize>,
    ) -> Result<Option<String>, (Option<String>, String)> {
        for paths in &self.paths {
            let [path] = paths.as_slice() else {
                match sum(paths, roots, taken)? {
                    Some(sum) => return Ok(Some(sum)),
                    None => continue,
                }
            };
            let nodes = roots.find(path);
            let at_path = |reason| (Some(format!("`{}`", path.text())), reason);
            if self.number == Number::All && !nodes.is_empty() {
                let mut items = Vec::new();
                for node in nodes {
                    let Converted { json, is_whole } = self.item(node).map_err(at_path)?;
                    if is_whole {
                        taken.push(node.place());
                    }
                    items.push(json);
                }
                return Ok(Some(self.list(format!("[{}]", items.join(",")))));
            }
            match nodes.as_slice() {
                [] => {}
                [node] if node.is_null() => taken.push(node.place()),
                [node] => {
                    let Some(converted) = self.convert(node).map_err(at_path)? else { continue };
                    if converted.is_whole {
                        taken.push(node.place());
                    }
                    return Ok(Some(converted.json));
                }
                nodes => {
                    let reason =
                        format!("leads to {} values; `all = true` makes a list of them", nodes.len());
                    return Err(at_path(reason));
                }
            }
        }
        Ok(self.default.clone())
    }

    /// A list of values, for a field of any form that may have one.
    fn list(&self, json: String) -> String {
        match self.target {
            Target::Form(Form::Text) => Json::text(&json).to_string(),
            _ => json,
        }
    }

    /// Converts one of the values of a list.
    fn item(&self, node: &Node<'_>) -> Result<Converted, String> {
        match (&self.words, self.read_as, node.content()) {
            (Some(words), ..) => word(words, node),
            (None, Some(read_as), Content::Text(text)) => read(read_as, text),
            _ => Ok(Converted::whole(node.raw())),
        }
    }

    /// Converts a value. None if the map has no word for it, but a default.
    fn convert(&self, node: &Node<'_>) -> Result<Option<Converted>, String> {
        if let Some(words) = &self.words {
            let has_word = words.contains_key(node.text());
            return if has_word || self.default.is_none() { word(words, node).map(Some) } else { Ok(None) };
        }
        let form = match self.target {
            Target::Time(unit) => return time(unit, node).map(Some),
            Target::Form(form) => form,
        };
        match (self.read_as, node.content()) {
            (Some(read_as), Content::Text(text)) => read(read_as, text).map(Some),
            _ => self.plain(form, node).map(Some),
        }
    }

    fn plain(&self, form: Form, node: &Node<'_>) -> Result<Converted, String> {
        let is_container = matches!(node.content(), Content::List(_) | Content::Object(_));
        match (form, &self.prefix) {
            (Form::Word, _) if is_container => Err(format!("`{}` is not a text", shown(node))),
            (Form::Text | Form::Word, Some(prefix)) => {
                Ok(Converted::whole(Json::text(&format!("{prefix}{}", node.text())).to_string()))
            }
            (Form::Text | Form::Word, None) => match node.content() {
                // The text as it is spelled, which is JSON already.
                Content::Text(_) => Ok(Converted::whole(node.raw())),
                _ => Ok(Converted::whole(Json::text(node.raw()).to_string())),
            },
            // The parser of events has the rules for everything else.
            _ => Ok(Converted::whole(node.raw())),
        }
    }
}

/// The sum of the whole numbers that paths lead to. None if there is no number.
fn sum(
    paths: &[super::path::Path],
    roots: Roots<'_, '_>,
    taken: &mut Vec<usize>,
) -> Result<Option<String>, (Option<String>, String)> {
    let mut sum: Option<u64> = None;
    for path in paths {
        for node in roots.find(path) {
            taken.push(node.place());
            if node.is_null() {
                continue;
            }
            let number = match node.content() {
                Content::Number => node.raw().parse::<u64>().ok(),
                _ => None,
            };
            let with = number.and_then(|number| sum.unwrap_or(0).checked_add(number));
            let reason = || format!("`{}` is not a whole number that can be added", shown(node));
            sum = Some(with.ok_or_else(|| (Some(format!("`{}`", path.text())), reason()))?);
        }
    }
    Ok(sum.map(|sum| sum.to_string()))
}

/// The value that a map has for a value of the record.
fn word(words: &BTreeMap<String, String>, node: &Node<'_>) -> Result<Converted, String> {
    match words.get(node.text()) {
        // The log would not have the word of the record otherwise, so it stays where it is.
        Some(json) => Ok(Converted { json: json.clone(), is_whole: false }),
        None => {
            let words: Vec<&str> = words.keys().map(String::as_str).collect();
            Err(format!("`{}` is not one of the `words` {}", shown(node), words.join(", ")))
        }
    }
}

fn read(read_as: ReadAs, text: &str) -> Result<Converted, String> {
    let json: Json =
        text.trim().parse().map_err(|error| format!("the text cannot be read as JSON: {error}"))?;
    let is_number = json.as_str().starts_with(|c: char| c == '-' || c.is_ascii_digit());
    match read_as {
        ReadAs::Number if !is_number => Err(format!("`{}` is not a number", beginning(text))),
        _ => Ok(Converted::whole(json.as_str())),
    }
}

fn time(unit: super::time::Unit, node: &Node<'_>) -> Result<Converted, String> {
    let text = match node.content() {
        Content::Text(text) => text.as_ref(),
        Content::Number => node.raw(),
        _ => return Err(format!("`{}` is not a time", shown(node))),
    };
    let read = unit.read(text).map_err(|reason| {
        // The commonest mistake: the map gives no unit.
        let is_number = matches!(node.content(), Content::Number);
        match unit.is_number() {
            false if is_number => {
                format!(
                    "`{text}` is a number; state its unit: `time` is one of \"s\", \"ms\", \"us\", \"ns\""
                )
            }
            _ => reason,
        }
    })?;
    Ok(Converted { json: Json::text(&read.time.to_string()).to_string(), is_whole: read.is_exact })
}

/// The beginning of a value, for messages.
fn shown(node: &Node<'_>) -> String {
    beginning(node.text())
}

fn beginning(text: &str) -> String {
    match crate::text::beginning(text, 80) {
        Some(beginning) => format!("{beginning}…"),
        None => text.to_owned(),
    }
}
