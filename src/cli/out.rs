//! Output for people, in a terminal's width and colours, or as data.

use std::io::{self, BufWriter, IsTerminal as _, Write};

use anstyle::{AnsiColor, Style};
use comfy_table::{Attribute, Cell, CellAlignment, ContentArrangement, Row, Table, presets};
use serde::Serialize;

use super::stdout::Output;
use super::text;

/// Width of lines of text if the terminal is wider, or there is none.
const TEXT_WIDTH_MAX: usize = 110;

/// The destination of answers: standard output, or a file.
pub(crate) struct Out {
    json: bool,
    terminal: bool,
    colour: bool,
    width: Option<usize>,
    writer: Box<dyn Write>,
}

impl Out {
    pub(crate) fn new(json: bool) -> Out {
        let stdout = io::stdout();
        let terminal = stdout.is_terminal();
        // The choice respects NO_COLOR, CLICOLOR and TERM.
        let colour = anstream::AutoStream::choice(&stdout) != anstream::ColorChoice::Never;
        let width =
            if terminal { terminal_size::terminal_size().map(|(width, _)| width.0.into()) } else { None };
        Out { json, terminal, colour, width, writer: Box::new(BufWriter::new(Output::new(&stdout))) }
    }

    /// An output to a file instead of standard output: no person reads along.
    pub(crate) fn to(file: impl Write + 'static) -> Out {
        Out { json: false, terminal: false, colour: false, width: None, writer: Box::new(file) }
    }

    /// Returns true if answers are in JSON.
    pub(crate) fn is_json(&self) -> bool {
        self.json
    }

    /// Returns true if a person reads along.
    pub(crate) fn is_terminal(&self) -> bool {
        self.terminal
    }

    /// The writer for bytes that only programs read.
    pub(crate) fn writer(&mut self) -> &mut dyn Write {
        &mut self.writer
    }

    /// The terminal's width; None without a terminal, because lines then have no end.
    pub(crate) fn width(&self) -> Option<usize> {
        self.width
    }

    /// Width of running text.
    pub(crate) fn text_width(&self) -> usize {
        self.width.unwrap_or(TEXT_WIDTH_MAX).clamp(40, TEXT_WIDTH_MAX)
    }

    /// A text in a style, if there are colours.
    pub(crate) fn paint(&self, style: Style, text: &str) -> String {
        if self.colour { format!("{style}{text}{style:#}") } else { text.to_owned() }
    }

    /// Prints a line.
    pub(crate) fn line(&mut self, line: &str) -> io::Result<()> {
        self.writer.write_all(line.as_bytes())?;
        self.writer.write_all(b"\n")
    }

    /// Prints a value as a line of JSON.
    pub(crate) fn json<T: Serialize + ?Sized>(&mut self, value: &T) -> io::Result<()> {
        let line = serde_json::to_string(value)?;
        self.line(&text::json(&line))
    }

    /// A writer that prints JSON in parts, without an end of line.
    pub(crate) fn json_writer(&mut self) -> JsonWriter<'_> {
        JsonWriter { out: self, begun: Vec::new() }
    }

    /// Prints data as it is. On a terminal, characters that would act on it are replaced.
    pub(crate) fn data(&mut self, data: &str) -> io::Result<()> {
        if self.terminal {
            self.writer.write_all(text::block(data).as_bytes())
        } else {
            self.writer.write_all(data.as_bytes())
        }
    }

    /// Prints a line of JSON as it is. On a terminal, characters that would act on it are spelled as escapes.
    pub(crate) fn json_line(&mut self, json: &str) -> io::Result<()> {
        if self.terminal { self.line(&text::json(json)) } else { self.line(json) }
    }

    /// Prints bytes that this program made.
    pub(crate) fn bytes(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.writer.write_all(bytes)
    }

    pub(crate) fn flush(&mut self) -> io::Result<()> {
        self.writer.flush()
    }

    /// A table with these column heads.
    pub(crate) fn table(&self, heads: &[&str]) -> Table {
        let mut table = Table::new();
        table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Dynamic);
        match self.width {
            Some(width) => table.set_width(u16::try_from(width).unwrap_or(u16::MAX)),
            // No width is known, and a program may read the columns, so no line is broken.
            None => table.set_content_arrangement(ContentArrangement::Disabled),
        };
        if self.colour {
            // Colours were decided above; comfy-table must not decide by itself.
            table.enforce_styling();
        } else {
            table.force_no_tty();
        }
        table.set_header(heads.iter().map(|head| Cell::new(head).add_attribute(Attribute::Bold)));
        for column in table.column_iter_mut() {
            column.set_padding((0, 2));
        }
        table
    }

    /// Prints a table.
    pub(crate) fn print(&mut self, table: &Table) -> io::Result<()> {
        for line in table.lines() {
            self.line(line.trim_end())?;
        }
        Ok(())
    }
}

/// A writer that takes JSON piece by piece, and prints it safely.
pub(crate) struct JsonWriter<'o> {
    out: &'o mut Out,
    /// The first bytes of a character whose rest comes with the next piece.
    begun: Vec<u8>,
}

impl Write for JsonWriter<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.begun.extend_from_slice(bytes);
        // Escaping needs whole characters, and a write may end within one.
        let whole = match std::str::from_utf8(&self.begun) {
            Ok(text) => text,
            // The piece ends within a character: its first bytes wait for the next piece.
            Err(error) if error.error_len().is_none() => {
                let (whole, _) = self.begun.split_at(error.valid_up_to());
                std::str::from_utf8(whole).unwrap_or_default()
            }
            Err(error) => return Err(io::Error::other(error)),
        };
        self.out.writer.write_all(text::json(whole).as_bytes())?;
        let printed = whole.len();
        // At most three bytes stay: the beginning of one character.
        self.begun.drain(..printed);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.writer.flush()
    }
}

/// A cell with a text from elsewhere, in one line.
pub(crate) fn cell(content: &str) -> Cell {
    Cell::new(text::line(content))
}

/// A cell with an id from elsewhere.
pub(crate) fn id(id: &str) -> Cell {
    Cell::new(text::id(id))
}

/// A cell with a value that may be absent.
pub(crate) fn maybe<T: ToString>(content: Option<T>) -> Cell {
    content.map_or_else(|| Cell::new(""), |content| cell(&content.to_string()))
}

/// A cell with a number.
pub(crate) fn number<T: ToString>(content: Option<T>) -> Cell {
    maybe(content).set_alignment(CellAlignment::Right)
}

/// A cell with a word in the colour of good or bad news.
pub(crate) fn word(word: &str) -> Cell {
    let cell = cell(word);
    match tone(word) {
        Some(AnsiColor::Red) => cell.fg(comfy_table::Color::Red),
        Some(AnsiColor::Yellow) => cell.fg(comfy_table::Color::Yellow),
        Some(AnsiColor::Green) => cell.fg(comfy_table::Color::Green),
        _ => cell,
    }
}

/// A row that is one line high.
pub(crate) fn one_line(cells: Vec<Cell>) -> Row {
    let mut row = Row::from(cells);
    row.max_height(1);
    row
}

fn tone(word: &str) -> Option<AnsiColor> {
    match word {
        "failed" | "error" | "critical" | "high" | "fail" | "stopped" | "rejected" | "revoked" | "deny" => {
            Some(AnsiColor::Red)
        }
        "cancelled" | "disconnected" | "medium" | "warning" | "behind" | "outdated" | "newer"
        | "overridden" | "escalated" | "erased" | "expired" | "modified" | "escalate" => {
            Some(AnsiColor::Yellow)
        }
        "completed" | "ok" | "pass" | "approved" | "current" | "active" | "allow" => Some(AnsiColor::Green),
        _ => None,
    }
}

/// The style of a word that is good or bad news.
pub(crate) fn style_of(word: &str) -> Style {
    tone(word).map_or_else(Style::new, |colour| colour.on_default())
}

/// Style of headings.
pub(crate) const BOLD: Style = Style::new().bold();
/// Style of secondary text.
pub(crate) const DIM: Style = Style::new().dimmed();
/// Style of search hits.
pub(crate) const FOUND: Style = AnsiColor::Yellow.on_default().bold();

/// Prints a message on standard error. A failure is ignored, because it could not be reported.
pub(crate) fn say(message: &str) {
    let _ = writeln!(anstream::stderr(), "{message}");
}

/// Prints a note beside the result.
pub(crate) fn note(message: &str) {
    let style = AnsiColor::Yellow.on_default().bold();
    say(&format!("{style}note:{style:#} {}", text::block(message)));
}
