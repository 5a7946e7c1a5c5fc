//! The fields of a JSON object, each taken out where it is used.

use std::collections::BTreeMap;
use std::fmt;

use serde::de::{self, DeserializeOwned, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};

use super::error::{ImportError, Location};
use crate::{Attributes, Json};

/// The fields of an object. Each is taken out once; those that nobody took are kept.
pub(super) struct Fields {
    place: Location,
    /// Path of the object in its record, with which the paths of its fields begin.
    path: String,
    raw: Json,
    fields: BTreeMap<String, Json>,
}

impl Fields {
    /// The fields of the object in `json`.
    pub(super) fn of(place: Location, path: &str, json: Json) -> Result<Fields, ImportError> {
        match serde_json::from_str::<Object>(json.as_str()) {
            Ok(Object(fields)) => Ok(Fields { place, path: path.to_owned(), raw: json, fields }),
            // The record itself is not an object, so there is no path to name.
            Err(error) if path.is_empty() => {
                Err(ImportError::Malformed { place, reason: without_position(&error) })
            }
            Err(error) => {
                Err(ImportError::Field { place, field: path.to_owned(), reason: without_position(&error) })
            }
        }
    }

    /// Fields that were read one by one.
    pub(super) fn collected(place: Location, fields: BTreeMap<String, Json>) -> Fields {
        Fields { place, path: String::new(), raw: Json::default(), fields }
    }

    /// An object without fields.
    pub(super) fn none(&self, name: &str) -> Fields {
        Fields {
            place: self.place.clone(),
            path: self.path_of(name),
            raw: Json::text(""),
            fields: BTreeMap::new(),
        }
    }

    pub(super) fn place(&self) -> &Location {
        &self.place
    }

    /// Path of the object in its record; empty for the record itself.
    pub(super) fn path(&self) -> &str {
        &self.path
    }

    /// The whole object, as it was.
    pub(super) fn raw(&self) -> &Json {
        &self.raw
    }

    /// Takes a field; `null` counts as absent.
    pub(super) fn json(&mut self, name: &str) -> Option<Json> {
        self.fields.remove(name).filter(|json| json.as_str() != "null")
    }

    /// Takes a field of a given type.
    pub(super) fn take<T: DeserializeOwned>(&mut self, name: &str) -> Result<Option<T>, ImportError> {
        self.json(name).map(|json| self.read(name, &json)).transpose()
    }

    /// Takes a required field.
    pub(super) fn require<T: DeserializeOwned>(&mut self, name: &str) -> Result<T, ImportError> {
        self.take(name)?.ok_or_else(|| self.error(name, "is missing"))
    }

    /// Takes a field if it has its usual value, which then says nothing.
    pub(super) fn drop_usual(&mut self, name: &str, usual: &str) {
        if self.see(name).is_some_and(|json| text_of(json) == usual) {
            self.fields.remove(name);
        }
    }

    /// Takes a field as a text: the content of a JSON text, or else the JSON itself.
    pub(super) fn text(&mut self, name: &str) -> Option<String> {
        self.json(name).map(|json| text_of(&json))
    }

    /// Takes an object.
    pub(super) fn object(&mut self, name: &str) -> Result<Option<Fields>, ImportError> {
        self.json(name).map(|json| Fields::of(self.place.clone(), &self.path_of(name), json)).transpose()
    }

    /// Takes a list of objects.
    pub(super) fn objects(&mut self, name: &str) -> Result<Option<Vec<Fields>>, ImportError> {
        let items = self.take::<Vec<Json>>(name)?;
        items.map(|items| self.each_object(name, items).collect()).transpose()
    }

    /// The items of a list that was taken. Each is an error by itself if it is not an object.
    pub(super) fn each_object(
        &self,
        name: &str,
        items: Vec<Json>,
    ) -> impl Iterator<Item = Result<Fields, ImportError>> {
        let (place, path) = (self.place.clone(), self.path_of(name));
        let items = items.into_iter().enumerate();
        items.map(move |(index, json)| Fields::of(place.clone(), &format!("{path}[{index}]"), json))
    }

    /// Takes content: a text, an object, or a list of these. Anything else is an error.
    pub(super) fn items(&mut self, name: &str) -> Result<Vec<Item>, ImportError> {
        let path = self.path_of(name);
        let item = |path: &str, json: Json| match json.as_str().starts_with('"') {
            true => Ok(Item::Text(text_of(&json))),
            false => Fields::of(self.place.clone(), path, json).map(Item::Object),
        };
        match self.fields.remove(name) {
            None => Ok(Vec::new()),
            Some(json) if json.is_null() => Ok(Vec::new()),
            Some(json) if json.as_str().starts_with(['"', '{']) => Ok(vec![item(&path, json)?]),
            Some(json) => {
                let items: Vec<Json> = self.read(name, &json)?;
                let items = items.into_iter().enumerate();
                items.map(|(index, json)| item(&format!("{path}[{index}]"), json)).collect()
            }
        }
    }

    /// Takes content: its texts, and the parts that have anything else.
    pub(super) fn content(&mut self, name: &str) -> Result<(Vec<String>, Vec<Json>), ImportError> {
        let (mut texts, mut others) = (Vec::new(), Vec::new());
        for item in self.items(name)? {
            match item {
                Item::Text(text) => texts.push(text),
                Item::Object(mut part) => {
                    let is_text = part.see("type").is_none_or(|kind| kind.as_str() == "\"text\"")
                        && part.see("text").is_some_and(|text| text.as_str().starts_with('"'));
                    if is_text {
                        part.drop_usual("type", "text");
                        texts.extend(part.text("text"));
                    }
                    if !part.is_empty() {
                        others.push(part.raw().clone());
                    }
                }
            }
        }
        Ok((texts, others))
    }

    /// Puts a field back that was taken.
    pub(super) fn put(&mut self, name: &str, json: Json) {
        self.fields.insert(name.to_owned(), json);
    }

    /// A field that stays where it is; `null` counts as absent.
    pub(super) fn see(&self, name: &str) -> Option<&Json> {
        self.fields.get(name).filter(|json| !json.is_null())
    }

    /// Takes a list of texts. An item that is not a text is taken as its JSON.
    pub(super) fn texts(&mut self, name: &str) -> Result<Option<Vec<String>>, ImportError> {
        let items: Option<Vec<Json>> = self.take(name)?;
        Ok(items.map(|items| items.iter().map(text_of).collect()))
    }

    /// Returns true if no field is left.
    pub(super) fn is_empty(&self) -> bool {
        self.fields.is_empty()
    }

    /// The fields that nobody took.
    pub(super) fn rest(self) -> Attributes {
        self.fields
    }

    /// The fields that nobody took, by their paths.
    pub(super) fn rest_by_path(self) -> Attributes {
        let Fields { path, fields, .. } = self;
        fields.into_iter().map(|(name, json)| (join(&path, &name), json)).collect()
    }

    pub(super) fn error(&self, name: &str, reason: impl Into<String>) -> ImportError {
        ImportError::Field { place: self.place.clone(), field: self.path_of(name), reason: reason.into() }
    }

    /// Reads the value of a field that was already taken.
    pub(super) fn read<T: DeserializeOwned>(&self, name: &str, json: &Json) -> Result<T, ImportError> {
        let mut deserializer = serde_json::Deserializer::from_str(json.as_str());
        serde_path_to_error::deserialize(&mut deserializer).map_err(|error| {
            // `.` is the field itself, and an index follows without a dot.
            let name = match error.path().to_string().as_str() {
                "." => name.to_owned(),
                inner if inner.starts_with('[') => format!("{name}{inner}"),
                inner => join(name, inner),
            };
            self.error(&name, without_position(error.inner()))
        })
    }

    fn path_of(&self, name: &str) -> String {
        join(&self.path, name)
    }
}

/// A part of content.
pub(super) enum Item {
    Text(String),
    Object(Fields),
}

fn join(path: &str, name: &str) -> String {
    if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") }
}

/// The content of a JSON text, or the JSON of anything else.
pub(super) fn text_of(json: &Json) -> String {
    serde_json::from_str(json.as_str()).unwrap_or_else(|_| json.as_str().to_owned())
}

/// An error of `serde_json` without its position, which would be one within the field.
fn without_position(error: &serde_json::Error) -> String {
    let text = error.to_string();
    // serde_json puts the position at the end of its messages.
    match text.rsplit_once(" at line ") {
        Some((reason, _)) => reason.to_owned(),
        None => text,
    }
}

/// A whole number or a text, as a text: files number their records with either.
pub(super) struct Label(pub(super) String);

impl<'de> Deserialize<'de> for Label {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Label, D::Error> {
        struct LabelVisitor;

        impl Visitor<'_> for LabelVisitor {
            type Value = Label;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a whole number or a text")
            }

            fn visit_u64<E: de::Error>(self, number: u64) -> Result<Label, E> {
                Ok(Label(number.to_string()))
            }

            fn visit_i64<E: de::Error>(self, number: i64) -> Result<Label, E> {
                Ok(Label(number.to_string()))
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Label, E> {
                Ok(Label(text.to_owned()))
            }
        }

        deserializer.deserialize_any(LabelVisitor)
    }
}

/// An object without repeated fields: of two with the same name, one would be lost.
struct Object(BTreeMap<String, Json>);

impl<'de> Deserialize<'de> for Object {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Object, D::Error> {
        struct ObjectVisitor;

        impl<'de> Visitor<'de> for ObjectVisitor {
            type Value = Object;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Object, A::Error> {
                let mut fields = BTreeMap::new();
                while let Some((name, value)) = map.next_entry::<String, Json>()? {
                    // A map of serde would silently keep the last of two.
                    if fields.contains_key(&name) {
                        return Err(de::Error::custom(format_args!("field `{name}` appears twice")));
                    }
                    fields.insert(name, value);
                }
                Ok(Object(fields))
            }
        }

        deserializer.deserialize_map(ObjectVisitor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wrong_value_is_named_by_its_path() {
        let json = r#"{"a": {"b": [1, "x"]}}"#.parse().unwrap();
        let mut fields = Fields::of(Location::Record(7), "", json).unwrap();
        let mut inner = fields.object("a").unwrap().unwrap();
        let error = inner.take::<Vec<u64>>("b").unwrap_err().to_string();
        assert!(error.starts_with("record 7 (the first is 0): field `a.b[1]`: invalid type"), "{error}");
    }
}
