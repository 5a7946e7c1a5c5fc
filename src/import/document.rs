//! A JSON document in a file, of which parts are read one at a time.
//!
//! A route says for each value whether it is handed over whole, entered, or skipped. So a list of records that is deep
//! in a document is read record by record, and a document whose fields have no fixed order is read twice: once for its
//! other fields, and once for its records.

use std::cell::Cell;
use std::collections::HashSet;
use std::fmt;
use std::io::{Read, Seek, SeekFrom};
use std::rc::Rc;

use serde::de::{self, DeserializeSeed, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};

use super::bounded::{self, Bounded, Since};
use super::error::{ImportError, Location};
use super::python_json::PythonJson;
use crate::Json;
use crate::limits::PAYLOAD_BYTES_DEFAULT;

/// Longest value that is handed over whole, in bytes: a record makes several events, none of which is longer than an
/// event may be.
pub(super) const VALUE_BYTES_MAX: usize = 4 * PAYLOAD_BYTES_DEFAULT;

/// Most names of one object whose fields are handed over one by one. They are remembered, so that none is read twice.
const NAMES_MAX: usize = 1 << 20;

/// A step of a path.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Key {
    Name(String),
    Index(usize),
}

/// The position of a value in a document.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Path {
    /// The beginning of its text, if the document is a part of a file.
    base: String,
    keys: Vec<Key>,
}

impl Path {
    /// The path without its indexes: `steps[]`, `subagents[].steps[]`.
    pub(super) fn shape(&self) -> String {
        self.spell(|_| String::new())
    }

    /// The last name of the path.
    pub(super) fn name(&self) -> &str {
        let names = self.keys.iter().rev().find_map(|key| match key {
            Key::Name(name) => Some(name.as_str()),
            Key::Index(_) => None,
        });
        names.unwrap_or_default()
    }

    /// The last index of the path.
    pub(super) fn index(&self) -> usize {
        let indexes = self.keys.iter().rev().find_map(|key| match key {
            Key::Name(_) => None,
            Key::Index(index) => Some(*index),
        });
        indexes.unwrap_or_default()
    }

    /// The path of the object or list that the value is in.
    pub(super) fn parent(&self) -> Path {
        let mut parent = self.clone();
        parent.keys.pop();
        parent
    }

    /// Returns true for an item of a list.
    pub(super) fn is_item(&self) -> bool {
        matches!(self.keys.last(), Some(Key::Index(_)))
    }

    /// The number of names and indexes.
    pub(super) fn depth(&self) -> usize {
        self.keys.len()
    }

    pub(super) fn place(&self) -> Location {
        Location::Path(self.to_string())
    }

    fn spell(&self, index: impl Fn(usize) -> String) -> String {
        let mut text = String::new();
        for key in &self.keys {
            match key {
                Key::Name(name) if text.is_empty() => text.push_str(name),
                Key::Name(name) => {
                    text.push('.');
                    text.push_str(name);
                }
                Key::Index(number) => text.push_str(&format!("[{}]", index(*number))),
            }
        }
        text
    }
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.keys.is_empty() {
            true => f.write_str(self.base.trim_end_matches([':', '.', ' '])),
            false => write!(f, "{}{}", self.base, self.spell(|index| index.to_string())),
        }
    }
}

/// The treatment of a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Want {
    /// Handed over.
    Whole,
    /// Its fields or items are asked for one by one. A value that has none is handed over: an empty list or object, a
    /// text, a number.
    Within,
    /// Skipped.
    Nothing,
    /// Skipped, and its position in the file is handed over: the list of its first byte and the one after its
    /// last. Only an object has one.
    Region,
}

/// Returns true for a list without items, which stands for no list, too.
pub(super) fn is_empty_list(json: &Json) -> bool {
    json.is_null() || json.as_str() == "[]"
}

/// A document that can be read several times.
pub(super) struct Document<R> {
    reader: R,
    expected: &'static str,
}

impl<R: Read + Seek> Document<R> {
    pub(super) fn new(reader: R, expected: &'static str) -> Document<R> {
        Document { reader, expected }
    }

    /// Reads the whole document, and calls `each` for the values that the route hands over, in their order.
    pub(super) fn walk(
        &mut self,
        route: &dyn Fn(&Path) -> Want,
        each: &mut dyn FnMut(&Path, Json) -> Result<(), ImportError>,
    ) -> Result<(), ImportError> {
        self.reader.seek(SeekFrom::Start(0)).map_err(ImportError::Read)?;
        walk(&mut self.reader, self.expected, route, each)
    }
}

/// Reads a document once.
pub(super) fn walk(
    reader: impl Read,
    expected: &'static str,
    route: &dyn Fn(&Path) -> Want,
    each: &mut dyn FnMut(&Path, Json) -> Result<(), ImportError>,
) -> Result<(), ImportError> {
    walk_part(reader, expected, "", VALUE_BYTES_MAX, route, each)
}

/// Reads a document that is a part of a file, such as an entry of an archive. All paths begin with `base`.
pub(super) fn walk_part(
    reader: impl Read,
    expected: &'static str,
    base: &str,
    value_bytes_max: usize,
    route: &dyn Fn(&Path) -> Want,
    each: &mut dyn FnMut(&Path, Json) -> Result<(), ImportError>,
) -> Result<(), ImportError> {
    let read = Rc::new(Cell::new(0));
    let reader = Bounded::new(PythonJson::new(reader, Rc::clone(&read)), value_bytes_max);
    let since = reader.since();
    let mut deserializer = serde_json::Deserializer::from_reader(reader);
    let path = Path { base: base.to_owned(), keys: Vec::new() };
    let mut walk = Walk { route, each, expected, path, since, read, is_begun: false, failure: None };
    let done = Here(&mut walk).deserialize(&mut deserializer);
    let Walk { path, is_begun, failure, .. } = walk;
    // The caller's own error wins: serde only reports that the reading was stopped.
    if let Some(failure) = failure {
        return Err(failure);
    }
    let failed_at = |error: serde_json::Error| match error {
        error if error.is_io() => bounded::failed(path.place(), error),
        error if !is_begun && error.is_eof() => ImportError::Empty { expected },
        error if !is_begun => ImportError::WrongFile { expected, reason: error.to_string() },
        error => ImportError::Malformed { place: path.place(), reason: error.to_string() },
    };
    done.map_err(&failed_at)?;
    deserializer
        .end()
        .map_err(|error| ImportError::Malformed { place: Location::End, reason: error.to_string() })
}

/// A walk through a document. An error of `each` cannot travel through serde's error, and waits in `failure`.
struct Walk<'a> {
    route: &'a dyn Fn(&Path) -> Want,
    each: &'a mut dyn FnMut(&Path, Json) -> Result<(), ImportError>,
    expected: &'static str,
    path: Path,
    /// Bytes that were read since the last value began.
    since: Since,
    /// All bytes that were read.
    read: Rc<Cell<u64>>,
    /// True once the document is known to be an object.
    is_begun: bool,
    failure: Option<ImportError>,
}

impl Walk<'_> {
    fn hand_over(&mut self, json: Json) -> Result<(), ()> {
        (self.each)(&self.path, json).map_err(|failure| self.failure = Some(failure))
    }
}

/// The value at the path of a walk.
struct Here<'w, 'a>(&'w mut Walk<'a>);

impl<'de> DeserializeSeed<'de> for Here<'_, '_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        self.0.since.restart();
        if self.0.path.keys.is_empty() {
            // A message about another file says what it should be.
            return deserializer.deserialize_map(Within(self.0));
        }
        match (self.0.route)(&self.0.path) {
            Want::Whole => {
                let json = Json::deserialize(deserializer)?;
                self.0.hand_over(json).map_err(|()| de::Error::custom("stopped"))
            }
            Want::Within => deserializer.deserialize_any(Within(self.0)),
            Want::Nothing => {
                self.0.since.stop();
                IgnoredAny::deserialize(deserializer).map(drop)
            }
            Want::Region => {
                self.0.since.stop();
                // The first byte of the value was read to find out that there is one.
                let begin = self.0.read.get().saturating_sub(1);
                IgnoredAny::deserialize(deserializer)?;
                let region = Json::written(format!("[{begin},{}]", self.0.read.get()));
                self.0.hand_over(region).map_err(|()| de::Error::custom("stopped"))
            }
        }
    }
}

struct Within<'w, 'a>(&'w mut Walk<'a>);

impl Within<'_, '_> {
    fn scalar<E: de::Error>(self, json: Json) -> Result<(), E> {
        self.0.hand_over(json).map_err(|()| E::custom("stopped"))
    }
}

impl<'de> Visitor<'de> for Within<'_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.expected)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        self.0.is_begun = true;
        let mut names = HashSet::new();
        while let Some(name) = map.next_key::<String>()? {
            // Of two fields with the same name, one would be lost.
            if names.contains(&name) {
                return Err(de::Error::custom(format_args!("field `{name}` appears twice")));
            }
            if names.len() >= NAMES_MAX {
                return Err(de::Error::custom(format_args!("has more than {NAMES_MAX} fields")));
            }
            names.insert(name.clone());
            self.0.path.keys.push(Key::Name(name));
            map.next_value_seed(Here(self.0))?;
            self.0.path.keys.pop();
            self.0.since.restart();
        }
        // Nobody asks for the document itself.
        match names.is_empty() && !self.0.path.keys.is_empty() {
            true => self.scalar(Json::written("{}".to_owned())),
            false => Ok(()),
        }
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
        for index in 0.. {
            self.0.path.keys.push(Key::Index(index));
            if list.next_element_seed(Here(self.0))?.is_none() {
                self.0.path.keys.pop();
                return if index == 0 { self.scalar(Json::written("[]".to_owned())) } else { Ok(()) };
            }
            self.0.path.keys.pop();
            self.0.since.restart();
        }
        Ok(())
    }

    fn visit_unit<E: de::Error>(self) -> Result<(), E> {
        self.scalar(Json::default())
    }

    fn visit_bool<E: de::Error>(self, value: bool) -> Result<(), E> {
        self.scalar(Json::written(value.to_string()))
    }

    fn visit_i64<E: de::Error>(self, value: i64) -> Result<(), E> {
        self.scalar(Json::written(value.to_string()))
    }

    fn visit_u64<E: de::Error>(self, value: u64) -> Result<(), E> {
        self.scalar(Json::written(value.to_string()))
    }

    fn visit_f64<E: de::Error>(self, value: f64) -> Result<(), E> {
        self.scalar(Json::of(&value).unwrap_or_default())
    }

    fn visit_str<E: de::Error>(self, value: &str) -> Result<(), E> {
        self.scalar(Json::text(value))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BYTES_MAX: usize = 1_000;

    fn read(text: &str) -> (Vec<String>, Result<(), ImportError>) {
        let mut seen = Vec::new();
        let route = |path: &Path| match path.shape().as_str() {
            "steps" | "runs" | "runs[]" | "runs[].steps" | "parts" => Want::Within,
            "skipped" => Want::Nothing,
            "parts[]" => Want::Region,
            _ => Want::Whole,
        };
        let result = walk_part(text.as_bytes(), "a thing", "", BYTES_MAX, &route, &mut |path, json| {
            seen.push(format!("{path}={json}"));
            if json.as_str() == "\"bad\"" {
                return Err(ImportError::Malformed { place: path.place(), reason: "bad".to_owned() });
            }
            Ok(())
        });
        (seen, result)
    }

    #[test]
    fn values_are_handed_over_as_the_route_says() {
        let (seen, result) = read(
            r#"{"a": {"b": 1.50}, "steps": [{"x": 1}, 2], "skipped": [[{}]],
                "runs": [{"id": "r", "steps": [3]}, {"steps": null}, {"steps": []}, {}], "z": null}"#,
        );
        result.unwrap();
        assert_eq!(
            seen,
            [
                r#"a={"b": 1.50}"#,
                r#"steps[0]={"x": 1}"#,
                "steps[1]=2",
                r#"runs[0].id="r""#,
                "runs[0].steps[0]=3",
                "runs[1].steps=null",
                "runs[2].steps=[]",
                "runs[3]={}",
                "z=null"
            ]
        );
    }

    #[test]
    fn another_file_is_refused() {
        assert!(matches!(read(" ").1, Err(ImportError::Empty { .. })));
        for text in ["[]", "3", "SQLite format 3"] {
            let error = read(text).1.unwrap_err();
            assert!(error.to_string().starts_with("this is not a thing: "), "{error}");
        }
    }

    #[test]
    fn an_error_names_the_path() {
        for (text, error) in [
            (r#"{"steps": [1, {"a" 1}]}"#, "steps[1]: "),
            (r#"{"steps": [1, "bad", 2]}"#, "steps[1]: bad"),
            (r#"{"runs": [{"id": 1, "id": 2}]}"#, "runs[0]: field `id` appears twice"),
            (r#"{"a": 1} x"#, "after the last record: "),
        ] {
            let found = read(text).1.unwrap_err().to_string();
            assert!(found.starts_with(error), "{found}");
        }
    }

    #[test]
    fn a_value_has_a_bound_and_a_skipped_one_has_none() {
        let long = "x".repeat(BYTES_MAX);
        let found = read(&format!(r#"{{"steps": [1, "{long}"]}}"#)).1.unwrap_err().to_string();
        assert_eq!(found, format!("steps[1]: has more than {BYTES_MAX} bytes"));
        assert!(read(&format!(r#"{{"skipped": "{long}", "parts": [{{"a": "{long}"}}]}}"#)).1.is_ok());
        let many = vec!["1"; BYTES_MAX].join(",");
        assert!(read(&format!(r#"{{"steps": [{many}, 1, 1]}}"#)).1.is_ok());
    }

    #[test]
    fn a_region_is_that_of_the_object_in_the_file() {
        let text = r#"{"a": NaN, "parts": [ {"x": "}"} , {"y": -1}], "z": 1}"#;
        let (seen, result) = read(text);
        result.unwrap();
        let regions: Vec<&str> = seen
            .iter()
            .filter_map(|seen| seen.strip_prefix("parts["))
            .map(|seen| {
                let (begin, end) =
                    seen.split_once("=[").unwrap().1.trim_end_matches(']').split_once(',').unwrap();
                text.get(begin.parse().unwrap()..end.parse().unwrap()).unwrap()
            })
            .collect();
        assert_eq!(regions, [r#"{"x": "}"}"#, r#"{"y": -1}"#]);
    }

    #[test]
    fn a_part_of_a_file_is_named_before_the_path() {
        let route = |_: &Path| Want::Whole;
        let fail = &mut |path: &Path, _| {
            Err(ImportError::Malformed { place: path.place(), reason: "bad".to_owned() })
        };
        for (text, error) in [(r#"{"a": 1}"#, "part: a: bad"), (r#"{"a" 1}"#, "part: ")] {
            let found = walk_part(text.as_bytes(), "a thing", "part: ", BYTES_MAX, &route, fail);
            let found = found.unwrap_err().to_string();
            assert!(found.starts_with(error), "{found}");
        }
    }
}
