//! A JSON list of records in a file, read one record at a time.

use std::fmt;
use std::io::Read;
use std::rc::Rc;

use serde::Deserializer;
use serde::de::{self, SeqAccess, Visitor};
use serde_json::value::RawValue;

use super::bounded::{self, Bounded, Since};
use super::document::VALUE_BYTES_MAX;
use super::error::{ImportError, Location};
use super::fields::Fields;
use super::python_json::PythonJson;
use crate::Json;

/// Calls `each` for every record of a list, in order. Only one record is in memory at a time,
/// and none has more than [`VALUE_BYTES_MAX`].
pub(super) fn for_each_record(
    reader: impl Read,
    expected: &'static str,
    mut each: impl FnMut(Fields) -> Result<(), ImportError>,
) -> Result<(), ImportError> {
    for_each_item(reader, expected, |place, item| Fields::of(place, "", item?).and_then(&mut each))
}

/// Calls `each` for every item of a list, whatever it is. One that a log cannot keep as JSON is an error by itself.
pub(super) fn for_each_item(
    reader: impl Read,
    expected: &'static str,
    mut each: impl FnMut(Location, Result<Json, ImportError>) -> Result<(), ImportError>,
) -> Result<(), ImportError> {
    let reader = Bounded::new(PythonJson::new(reader, Rc::default()), VALUE_BYTES_MAX);
    let since = reader.since();
    let mut deserializer = serde_json::Deserializer::from_reader(reader);
    let mut list = List { each: &mut each, expected, since, next: None, failure: None };
    let read = deserializer.deserialize_seq(&mut list);
    let (next, failure) = (list.next, list.failure);
    // The caller's own error wins: serde only reports that the reading was stopped.
    if let Some(failure) = failure {
        return Err(failure);
    }
    // The meaning of an error depends on the position that was reached: without one, there was no list yet.
    let failed_at = |place: Option<Location>| {
        move |error: serde_json::Error| match place.clone() {
            _ if error.is_io() => bounded::failed(place.unwrap_or(Location::Record(0)), error),
            Some(place) => ImportError::Malformed { place, reason: error.to_string() },
            None if error.is_eof() => ImportError::Empty { expected },
            None => ImportError::WrongFile { expected, reason: error.to_string() },
        }
    };
    read.map_err(failed_at(next.map(Location::Record)))?;
    deserializer.end().map_err(failed_at(Some(Location::End)))
}

/// A visitor of a list. An error of `each` cannot travel through serde's error, and waits in `failure`.
struct List<'a> {
    each: &'a mut dyn FnMut(Location, Result<Json, ImportError>) -> Result<(), ImportError>,
    expected: &'static str,
    /// Bytes of the record that is being read.
    since: Since,
    /// Index of the record that is being read; None until it is clear that there is a list.
    next: Option<usize>,
    failure: Option<ImportError>,
}

impl<'de> Visitor<'de> for &mut List<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.expected)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
        let mut index = 0;
        // From here on there is a list, so errors name a record.
        self.next = Some(index);
        while let Some(record) = list.next_element::<Box<RawValue>>()? {
            let place = Location::Record(index);
            let record = Json::of_raw(&record)
                .map_err(|error| ImportError::Malformed { place: place.clone(), reason: error.to_string() });
            if let Err(failure) = (self.each)(place, record) {
                self.failure = Some(failure);
                return Err(de::Error::custom("stopped"));
            }
            index += 1;
            self.next = Some(index);
            self.since.restart();
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> (usize, Result<(), ImportError>) {
        let mut records = 0;
        let result = for_each_record(text.as_bytes(), "a list of things", |_| {
            records += 1;
            Ok(())
        });
        (records, result)
    }

    #[test]
    fn reads_record_by_record() {
        assert!(matches!(read(r#" [{"a": 1}, {"b": 2}] "#), (2, Ok(()))));
        assert!(matches!(read("[]"), (0, Ok(()))));
    }

    #[test]
    fn a_file_that_is_no_list_is_refused() {
        assert!(matches!(read(""), (0, Err(ImportError::Empty { .. }))));
        assert!(matches!(read(" \n"), (0, Err(ImportError::Empty { .. }))));
        for text in ["{}", "3", "SQLite format 3"] {
            assert!(matches!(read(text), (0, Err(ImportError::WrongFile { .. }))), "{text}");
        }
        let (_, error) = read(r#"{"a": 1}"#);
        assert!(
            error.unwrap_err().to_string().starts_with("this is not a list of things: invalid type: map")
        );
    }

    #[test]
    fn a_bad_record_is_named_and_those_before_it_stay() {
        for text in [r#"[{}, 3]"#, r#"[{}, {"a" 1}]"#, "[{}, ", r#"[{}, {"a": 1, "a": 2}]"#] {
            let (records, result) = read(text);
            assert_eq!(records, 1, "{text}");
            let error = result.unwrap_err();
            assert!(matches!(&error, ImportError::Malformed { place: Location::Record(1), .. }), "{error}");
        }
        let (records, result) = read("[{}] x");
        assert!(matches!(result, Err(ImportError::Malformed { place: Location::End, .. })));
        assert_eq!(records, 1);
    }

    #[test]
    fn a_record_has_a_bound() {
        let text = |bytes: usize| format!("[{{}}, {{\"a\": \"{}\"}}, {{}}]", "x".repeat(bytes));
        assert!(matches!(read(&text(VALUE_BYTES_MAX - 100)), (3, Ok(()))));
        let (records, error) = read(&text(VALUE_BYTES_MAX));
        assert_eq!(records, 1);
        let expected = format!("record 1 (the first is 0): has more than {VALUE_BYTES_MAX} bytes");
        assert_eq!(error.unwrap_err().to_string(), expected);
    }

    #[test]
    fn the_words_of_python_are_texts_and_a_mark_is_skipped() {
        assert!(matches!(read("\u{feff}[{}]"), (1, Ok(()))));
        assert!(matches!(read("[{\"a\": NaN}]"), (1, Ok(()))));
    }
}
