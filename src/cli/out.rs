//! Output for people, in a terminal's width and colours, or as data.

use std::io::{self, BufWriter, IsTerminal as _, Write};

use anstyle::{AnsiColor, Style};
use serde::Serialize;

use super::stdout::Output;
use super::table::{Arrangement, Cell, PieceStyle, Table, wrapping};
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

    /// Prints a line of text, on a terminal in as many lines as it takes. The further ones are indented by `indent`
    /// blanks. Words are broken only if they are wider than the terminal.
    pub(crate) fn folded(&mut self, line: &str, indent: usize) -> io::Result<()> {
        let Some(width) = self.width else { return self.line(line) };
        let blanks = " ".repeat(indent.min(width / 2));
        let options = wrapping(width).subsequent_indent(&blanks);
        textwrap::wrap(line, options).iter().try_for_each(|line| self.line(line))
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

    /// Prints a table in the width of the terminal.
    pub(crate) fn print(&mut self, table: &Table, arrangement: Arrangement) -> io::Result<()> {
        let printed = table.print(self.width, arrangement);
        for line in &printed.lines {
            let mut shown = String::new();
            for (index, piece) in line.iter().enumerate() {
                let style = match piece.style {
                    PieceStyle::Head => BOLD,
                    PieceStyle::Colour(colour) => colour.on_default(),
                    PieceStyle::Plain => Style::new(),
                };
                // No blanks at the end of a line, and none that are styled.
                let text = if index + 1 == line.len() { piece.text.trim_end() } else { &piece.text };
                let blanks = text.len() - text.trim_end().len();
                let (text, blanks) = text.split_at(text.len() - blanks);
                if piece.style == PieceStyle::Plain || text.is_empty() {
                    shown += text;
                } else {
                    shown += &self.paint(style, text);
                }
                shown += blanks;
            }
            self.line(shown.trim_end())?;
        }
        if !printed.left_out.is_empty() {
            let heads = printed.left_out.join(", ");
            let said = format!("not shown, because the terminal is too narrow: {heads}");
            for line in textwrap::wrap(&said, self.width.unwrap_or(TEXT_WIDTH_MAX)) {
                let line = self.paint(DIM, &line);
                self.line(&line)?;
            }
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

/// A cell with a word in the colour of good or bad news.
pub(crate) fn word(word: &str) -> Cell {
    Cell { colour: tone(word), ..Cell::new(word) }
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
