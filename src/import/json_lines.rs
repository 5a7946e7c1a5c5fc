//! Records in a file of lines, each a JSON object, read one line at a time.

use std::io::Read;

use super::error::{ImportError, Location};
use super::fields::Fields;
use crate::Json;
use crate::lines::{Line, Lines};

/// Decides about a line that cannot be imported: an error ends the import, and without one the line is left out.
pub type BadLines<'a> = dyn FnMut(ImportError) -> Result<(), ImportError> + 'a;

/// Calls `each` for every line, in order. Only one line is in memory at a time. Bad lines, and lines that `each` refuses,
/// go to `bad`.
pub(super) fn for_each_line(
    reader: impl Read,
    expected: &'static str,
    bad: &mut BadLines<'_>,
    mut each: impl FnMut(Fields) -> Result<(), ImportError>,
) -> Result<(), ImportError> {
    let mut lines = Lines::new(reader);
    let mut is_empty = true;
    while let Some(line) = lines.next_line().map_err(ImportError::Read)? {
        is_empty = false;
        match fields(line).and_then(&mut each) {
            Err(error) if error.is_of_one_record() => bad(error)?,
            done => done?,
        }
    }
    if is_empty { Err(ImportError::Empty { expected }) } else { Ok(()) }
}

fn fields(line: Line) -> Result<Fields, ImportError> {
    let place = Location::Line(line.number);
    let malformed = |reason: String| ImportError::Malformed { place: place.clone(), reason };
    let text = line.text.map_err(|bad| malformed(bad.to_string()))?;
    // The text is one line, so the number of a line in it says nothing.
    let json: Json = text.parse().map_err(|error: crate::JsonTextError| {
        malformed(error.to_string().replace(" at line 1 column ", " at column "))
    })?;
    Fields::of(place, "", json)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str, skip: bool) -> (usize, Vec<String>, Result<(), ImportError>) {
        let (mut lines, mut bad) = (0, Vec::new());
        let mut on_bad = |error: ImportError| {
            bad.push(error.to_string());
            if skip { Ok(()) } else { Err(error) }
        };
        let result = for_each_line(text.as_bytes(), "lines of things", &mut on_bad, |mut fields| {
            fields.require::<u64>("a")?;
            lines += 1;
            Ok(())
        });
        (lines, bad, result)
    }

    #[test]
    fn a_bad_line_is_named_by_its_number_and_field_and_ends_the_import() {
        for (text, error) in [
            ("{\"a\": 1}\n\n{\"a\": \"x\"}\n{\"a\": 2}", "line 3: field `a`: invalid type"),
            ("{\"a\": 1}\n{\"b\": 1}\n{\"a\": 2}", "line 2: field `a`: is missing"),
            ("{\"a\": 1}\n[1]\n{\"a\": 2}", "line 2: invalid type: sequence, expected an object"),
            ("{\"a\": 1}\n{\"a\": \n{\"a\": 2}", "line 2: "),
        ] {
            let (lines, _, result) = read(text, false);
            let found = result.unwrap_err().to_string();
            assert!(found.starts_with(error), "{found}");
            assert_eq!(lines, 1);
        }
    }

    #[test]
    fn a_bad_line_that_is_left_out_is_told_and_the_next_lines_are_read() {
        let (lines, bad, result) = read("{\"a\": 1}\n3\n{\"a\": null}\n{\"a\": 2}", true);
        assert!(result.is_ok());
        assert_eq!((lines, bad.len()), (2, 2));
        assert!(bad[0].starts_with("line 2: ") && bad[1].starts_with("line 3: field `a`"), "{bad:?}");
    }

    #[test]
    fn a_file_without_a_line_is_refused() {
        assert!(matches!(read("\n \n", false).2, Err(ImportError::Empty { .. })));
    }
}
