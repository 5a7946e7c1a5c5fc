//! Rows as CSV, in the form of RFC 4180.
//!
//! NULL is an empty cell, and an empty text is `""`, as PostgreSQL reads and writes them.

use crate::query::SqlValue;

use super::text::hex;

/// The treatment of a text that a spreadsheet would take for a formula and run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cells {
    /// An apostrophe is put before it, by which spreadsheets take it for a text.
    Harmless,
    /// The text stays as it is, for programs that are no spreadsheets.
    AsTheyAre,
}

/// Help text of the flag that leaves cells as they are.
pub(crate) const AS_THEY_ARE: &str =
    "In CSV, put no apostrophe before texts that a spreadsheet would run as formulas";

impl Cells {
    /// The treatment that the flag selects.
    pub(crate) fn of(as_they_are: bool) -> Cells {
        if as_they_are { Cells::AsTheyAre } else { Cells::Harmless }
    }
}

/// A line with its end.
pub(crate) fn line(values: &[SqlValue<'_>], cells: Cells) -> String {
    let mut line = String::new();
    for (place, value) in values.iter().enumerate() {
        if place > 0 {
            line.push(',');
        }
        match value {
            // NULL is an empty cell; an empty text is quoted.
            SqlValue::Null => {}
            SqlValue::Integer(number) => line.push_str(&number.to_string()),
            SqlValue::Real(number) => line.push_str(&number.to_string()),
            SqlValue::Blob(bytes) => line.push_str(&hex(bytes)),
            SqlValue::Text(text) => push_text(&mut line, text, cells),
        }
    }
    line.push('\n');
    line
}

fn push_text(line: &mut String, text: &str, cells: Cells) {
    let guard = if cells == Cells::Harmless && is_run(text) { "'" } else { "" };
    // A text that some programs would cut or misread is quoted, too.
    let is_plain = !text.is_empty()
        && !text.contains([',', '"', '\n', '\r', '\t', ';'])
        && !text.starts_with(char::is_whitespace)
        && !text.ends_with(char::is_whitespace);
    if is_plain {
        line.push_str(guard);
        line.push_str(text);
    } else {
        line.push('"');
        // Within the quotes, because the guard must be the first character of the cell.
        line.push_str(guard);
        line.push_str(&text.replace('"', "\"\""));
        line.push('"');
    }
}

/// Returns true if a spreadsheet takes a text for a formula: by its first character, in any width, and after blanks
/// that some programs cut off. A number with a sign is a number.
fn is_run(text: &str) -> bool {
    let begins = text.starts_with(['\t', '\r', '\n'])
        || text.trim_start().starts_with(['=', '+', '-', '@', '＝', '＋', '－', '＠']);
    // Rust also reads `-inf` as a number, which a spreadsheet does not.
    begins && !text.parse::<f64>().is_ok_and(f64::is_finite)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(texts: &[&str], cells: Cells) -> String {
        line(&texts.iter().map(|text| SqlValue::Text(text)).collect::<Vec<_>>(), cells)
    }

    #[test]
    fn what_a_spreadsheet_would_run_is_made_harmless() {
        for (text, cell) in [
            ("=1+1", "'=1+1\n"),
            ("@SUM(A1)", "'@SUM(A1)\n"),
            ("-2+3", "'-2+3\n"),
            ("+cmd|'/c calc'!A0", "'+cmd|'/c calc'!A0\n"),
            ("=HYPERLINK(\"x\",\"y\")", "\"'=HYPERLINK(\"\"x\"\",\"\"y\"\")\"\n"),
            ("\t=1", "\"'\t=1\"\n"),
            (" =1", "\"' =1\"\n"),
            ("＝1", "'＝1\n"),
            ("-5", "-5\n"),
            ("+1.5e3", "+1.5e3\n"),
            ("-inf", "'-inf\n"),
            ("a=b", "a=b\n"),
        ] {
            assert_eq!(of(&[text], Cells::Harmless), cell);
        }
        assert_eq!(of(&["=1+1", "a"], Cells::AsTheyAre), "=1+1,a\n");
    }

    #[test]
    fn numbers_stay_numbers() {
        let values = [SqlValue::Integer(-1), SqlValue::Real(-0.5), SqlValue::Blob(&[0, 255])];
        assert_eq!(line(&values, Cells::Harmless), "-1,-0.5,00ff\n");
    }

    #[test]
    fn null_and_the_empty_text_are_told_apart() {
        let values = [SqlValue::Null, SqlValue::Text(""), SqlValue::Null];
        assert_eq!(line(&values, Cells::Harmless), ",\"\",\n");
    }

    #[test]
    fn what_is_written_is_read_again() {
        let texts = ["a,b", "say \"hi\"", "two\nlines", " blanks ", "a;b", "日本語", "it's"];
        let written = of(&texts, Cells::Harmless);
        let mut reader = ::csv::ReaderBuilder::new().has_headers(false).from_reader(written.as_bytes());
        let read = reader.records().next().unwrap().unwrap();
        assert_eq!(read.iter().collect::<Vec<_>>(), texts);
    }
}
