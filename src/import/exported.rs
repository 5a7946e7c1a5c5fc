//! Exports of a service in JSON: lines, a list, a page of its API, or one record.

use std::cell::RefCell;
use std::io::{BufRead, BufReader, Read};

use super::error::{ImportError, Location, or_bad};
use super::fields::Fields;
use super::json_lines::{BadLines, for_each_line};
use super::json_list::for_each_item;
use crate::Json;
use crate::limits::LINE_BYTES_MAX;

/// Calls `each` for every record, in order. A record is a line, an item of a list, or an item of a page, which is an
/// object with one of the `lists`. Only one line, item or page is in memory at a time. Bad records go to `bad`: those that
/// are no objects, and those that `each` refuses.
pub(super) fn for_each(
    reader: impl Read,
    expected: &'static str,
    lists: &[&str],
    bad: &mut BadLines<'_>,
    mut each: impl FnMut(Fields, &mut BadLines<'_>) -> Result<(), ImportError>,
) -> Result<(), ImportError> {
    let mut reader = BufReader::new(reader);
    let begin = beginning(&mut reader).map_err(ImportError::Read)?;
    match begin {
        Begin::List => for_each_item(reader, expected, |place, item| {
            let fields = item.and_then(|item| Fields::of(place, "", item));
            each_of(fields, lists, &mut each, bad)
        }),
        // A record that is printed on several lines begins so, as `jq` and Python print it.
        Begin::Document => each_of(document(reader, expected), lists, &mut each, bad),
        Begin::Lines => {
            // Faults of lines and of the records in them go the same way.
            let bad = RefCell::new(bad);
            for_each_line(reader, expected, &mut |error| (bad.borrow_mut())(error), |fields| {
                each_of(Ok(fields), lists, &mut each, &mut |error| (bad.borrow_mut())(error))
            })
        }
    }
}

/// Hands over a record, or the records of a page.
fn each_of(
    fields: Result<Fields, ImportError>,
    lists: &[&str],
    each: &mut dyn FnMut(Fields, &mut BadLines<'_>) -> Result<(), ImportError>,
    bad: &mut BadLines<'_>,
) -> Result<(), ImportError> {
    let records = match fields.and_then(|fields| records(fields, lists)) {
        Ok(records) => records,
        Err(error) => return or_bad(Err(error), bad),
    };
    for fields in records {
        let done = fields.and_then(|fields| each(fields, bad));
        or_bad(done, bad)?;
    }
    Ok(())
}

/// The first bytes of a file.
enum Begin {
    List,
    Document,
    Lines,
}

fn beginning(reader: &mut BufReader<impl Read>) -> std::io::Result<Begin> {
    let bytes = reader.fill_buf()?;
    let text = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes).trim_ascii_start();
    let line = text.split(|byte| *byte == b'\n').next().unwrap_or_default();
    Ok(match text.first() {
        Some(b'[') => Begin::List,
        _ if line.trim_ascii_end() == b"{" && line.len() < text.len() => Begin::Document,
        _ => Begin::Lines,
    })
}

fn document(reader: impl Read, expected: &'static str) -> Result<Fields, ImportError> {
    let limit = u64::try_from(LINE_BYTES_MAX).unwrap_or(u64::MAX).saturating_add(1);
    let mut text = String::new();
    reader.take(limit).read_to_string(&mut text).map_err(ImportError::Read)?;
    let place = Location::Record(0);
    if text.len() > LINE_BYTES_MAX {
        let reason = format!("has more than {LINE_BYTES_MAX} bytes; export it as lines");
        return Err(ImportError::Malformed { place, reason });
    }
    let json: Json = text.trim_start_matches('\u{feff}').parse().map_err(|error: crate::JsonTextError| {
        ImportError::WrongFile { expected, reason: error.to_string() }
    })?;
    Fields::of(place, "", json)
}

/// The records of a page, or the record itself.
fn records(mut fields: Fields, lists: &[&str]) -> Result<Vec<Result<Fields, ImportError>>, ImportError> {
    let is_list = |name: &&&str| fields.see(name).is_some_and(|json| json.as_str().starts_with('['));
    match lists.iter().find(is_list) {
        Some(name) => {
            let items = fields.take(name)?.unwrap_or_default();
            Ok(fields.each_object(name, items).collect())
        }
        None => Ok(vec![Ok(fields)]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> (Vec<u64>, Vec<String>) {
        let (mut ids, mut failures) = (Vec::new(), Vec::new());
        let mut bad = |error: ImportError| {
            failures.push(error.to_string());
            Ok(())
        };
        for_each(text.as_bytes(), "records", &["data"], &mut bad, |mut fields, _| {
            ids.push(fields.require("id")?);
            Ok(())
        })
        .unwrap();
        (ids, failures)
    }

    #[test]
    fn records_are_read_from_lines_lists_pages_and_documents() {
        for text in [
            "{\"id\": 1}\n{\"id\": 2}\n",
            "[{\"id\": 1},\n{\"id\": 2}]",
            "{\"data\": [{\"id\": 1}, {\"id\": 2}], \"meta\": {}}",
            "{\n  \"meta\": {},\n  \"data\": [\n{\"id\": 1}, {\"id\": 2}]}",
            "[{\"data\": [{\"id\": 1}]}, {\"data\": [{\"id\": 2}]}]",
        ] {
            assert_eq!(read(text).0, [1, 2], "{text}");
        }
        assert_eq!(read("{\n\"id\": 3, \"data\": {}\n}").0, [3]);
    }

    #[test]
    fn a_bad_record_is_named_and_the_others_are_read() {
        let (ids, bad) = read("{\"id\": 1}\n{\n{\"data\": [{\"id\": \"x\"}, {\"id\": 2}]}\n");
        assert_eq!(ids, [1, 2]);
        assert!(
            bad[0].starts_with("line 2: ") && bad[1].starts_with("line 3: field `data[0].id`: "),
            "{bad:?}"
        );
        let (ids, bad) = read("[{\"id\": 1}, {}, {\"id\": 2}]");
        assert_eq!(
            (ids, bad),
            (vec![1, 2], vec!["record 1 (the first is 0): field `id`: is missing".to_owned()])
        );
    }

    #[test]
    fn an_item_that_is_no_object_or_has_a_number_that_is_too_long_is_bad_by_itself() {
        let (ids, bad) = read("[{\"id\": 1}, 3, {\"n\": 1e99999}, {\"id\": 2, \"id\": 2}, {\"id\": 3}]");
        assert_eq!((ids, bad.len()), (vec![1, 3], 3), "{bad:?}");
        assert!(bad[0].starts_with("record 1 (the first is 0): ") && bad[1].contains("number"), "{bad:?}");
        let (ids, bad) = read("{\"data\": [{\"id\": 1}, \"x\", {\"id\": 2}]}");
        assert_eq!((ids, bad.len()), (vec![1, 2], 1));
        assert!(bad[0].starts_with("line 1: field `data[1]`: "), "{bad:?}");
    }
}
