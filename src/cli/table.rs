//! Tables for people, laid out for the width of the terminal.
//!
//! A column is as wide as its content as long as all columns fit. Else columns of text become narrower: their cells
//! are cut with a mark, or wrapped at words. If that is not enough, the columns with the lowest priority are left out
//! and named. If not even the columns that must be there fit, or a cell would take many lines, each row is printed as a
//! record: one line for each column. So no line is wider than the terminal, and no word is broken that would fit. Table libraries do neither of
//! the last two, and break words in narrow columns.

use std::collections::BTreeSet;

use anstyle::AnsiColor;
use textwrap::core::display_width;
use textwrap::{Options, WordSplitter, WrapAlgorithm};

use super::text;

/// Blanks between two columns.
const GAP: usize = 2;
/// The smallest width of a column of text that is narrower than its content.
const TEXT_WIDTH_MIN: usize = 16;
/// The largest width of the names of a record.
const NAME_WIDTH_MAX: usize = 24;
/// Most lines of a wrapped cell. A longer text is easier to read in the whole width, as part of a record.
const CELL_LINES_MAX: usize = 8;
/// The mark of a text that was cut.
const CUT: char = '…';

/// The treatment of cells that are too wide for their column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Overflow {
    /// The column is as wide as its widest cell: ids, times and numbers, which people copy or compare.
    Never,
    /// Cells end with a mark.
    Cut,
    /// Cells continue in the next line.
    Wrap,
}

/// A column of a table.
#[derive(Clone, Debug)]
pub(crate) struct Column {
    head: String,
    overflow: Overflow,
    /// None for a column that must be there. Of the others, those with the largest number are left out first.
    left_out: Option<u8>,
}

impl Column {
    /// A column that is as wide as its content.
    pub(crate) fn whole(head: &str) -> Column {
        Column { head: head.to_owned(), overflow: Overflow::Never, left_out: None }
    }

    /// A column of texts, which are cut.
    pub(crate) fn cut(head: &str) -> Column {
        Column { overflow: Overflow::Cut, ..Column::whole(head) }
    }

    /// A column of texts, which are wrapped.
    pub(crate) fn wrapped(head: &str) -> Column {
        Column { overflow: Overflow::Wrap, ..Column::whole(head) }
    }

    /// The column may be left out. Columns with the largest number go first.
    pub(crate) fn optional(self, number: u8) -> Column {
        Column { left_out: Some(number), ..self }
    }
}

/// The side on which a cell's content is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Side {
    #[default]
    Left,
    Right,
}

/// A cell: a text in one line, safe to print.
#[derive(Clone, Debug, Default)]
pub(crate) struct Cell {
    pub(crate) text: String,
    pub(crate) colour: Option<AnsiColor>,
    pub(crate) side: Side,
}

impl Cell {
    /// A cell with a text from elsewhere.
    pub(crate) fn new(content: &str) -> Cell {
        Cell { text: text::line(content), ..Cell::default() }
    }

    /// A cell with an id from elsewhere.
    pub(crate) fn id(id: &str) -> Cell {
        Cell { text: text::id(id).into_owned(), ..Cell::default() }
    }

    /// A cell with a value that may be absent.
    pub(crate) fn maybe<T: ToString>(content: Option<T>) -> Cell {
        content.map_or_else(Cell::default, |content| Cell::new(&content.to_string()))
    }

    /// A cell with a number.
    pub(crate) fn number<T: ToString>(content: Option<T>) -> Cell {
        Cell { side: Side::Right, ..Cell::maybe(content) }
    }
}

/// Rows below their heads.
#[derive(Clone, Debug)]
pub(crate) struct Table {
    columns: Vec<Column>,
    rows: Vec<Vec<Cell>>,
}

/// A line of a printed table, in pieces that have one style each.
pub(crate) type Line = Vec<Piece>;

/// A part of a line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Piece {
    pub(crate) text: String,
    pub(crate) style: PieceStyle,
}

/// The style of a part of a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PieceStyle {
    Head,
    Plain,
    Colour(AnsiColor),
}

impl Piece {
    fn head(text: impl Into<String>) -> Piece {
        Piece { text: text.into(), style: PieceStyle::Head }
    }

    fn of(cell: &Cell, text: impl Into<String>) -> Piece {
        Piece { text: text.into(), style: cell.colour.map_or(PieceStyle::Plain, PieceStyle::Colour) }
    }
}

/// The form in which the rows of a table are printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Arrangement {
    /// Columns if they fit, else records.
    Fitting,
    /// Records.
    Records,
}

/// Help of the option that asks for records.
pub(crate) const RECORDS: &str = "Print each row as a record, with one line for each column; without this option, only rows that do not fit into the terminal are printed so";

impl Arrangement {
    /// The arrangement that the option `-x` asks for.
    pub(crate) fn records_if(asked: bool) -> Arrangement {
        if asked { Arrangement::Records } else { Arrangement::Fitting }
    }
}

/// A table with its lines, and the heads of the columns that found no room.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Printed {
    pub(crate) lines: Vec<Line>,
    pub(crate) left_out: Vec<String>,
}

impl Table {
    pub(crate) fn new(columns: Vec<Column>) -> Table {
        Table { columns, rows: Vec::new() }
    }

    /// Adds a row. Cells without a column are not printed.
    pub(crate) fn add(&mut self, row: Vec<Cell>) {
        self.rows.push(row);
    }

    /// The number of rows.
    pub(crate) fn len(&self) -> usize {
        self.rows.len()
    }

    /// Lays the table out. Without a width, lines have no end.
    pub(crate) fn print(&self, width: Option<usize>, arrangement: Arrangement) -> Printed {
        match (width, arrangement) {
            (None, Arrangement::Fitting) => {
                let widths = self.columns.iter().enumerate().map(|(index, _)| (index, self.widest(index)));
                Printed { lines: self.lines(&widths.collect::<Vec<_>>()), left_out: Vec::new() }
            }
            (Some(width), Arrangement::Fitting) => {
                match self.fit(width).filter(|widths| self.is_flat(widths)) {
                    Some(widths) => {
                        let shown: BTreeSet<usize> = widths.iter().map(|(index, _)| *index).collect();
                        let left_out =
                            self.columns.iter().enumerate().filter(|(index, _)| !shown.contains(index));
                        let left_out = left_out.map(|(_, column)| column.head.clone()).collect();
                        Printed { lines: self.lines(&widths), left_out }
                    }
                    None => Printed { lines: self.records(Some(width)), left_out: Vec::new() },
                }
            }
            (width, Arrangement::Records) => Printed { lines: self.records(width), left_out: Vec::new() },
        }
    }

    fn cell(&self, row: usize, column: usize) -> Option<&Cell> {
        self.rows.get(row)?.get(column)
    }

    fn texts(&self, column: usize) -> impl Iterator<Item = &str> {
        let head = self.columns.get(column).map(|column| column.head.as_str());
        let cells = self.rows.iter().filter_map(move |row| row.get(column));
        head.into_iter().chain(cells.map(|cell| cell.text.as_str()))
    }

    /// The width of the widest cell of a column.
    fn widest(&self, column: usize) -> usize {
        self.texts(column).map(display_width).max().unwrap_or(0)
    }

    /// The smallest width of a column.
    fn narrowest(&self, index: usize, column: &Column) -> usize {
        let widest = self.widest(index);
        match column.overflow {
            Overflow::Never => widest,
            Overflow::Cut => widest.min(TEXT_WIDTH_MIN.max(display_width(&column.head))),
            // No word is broken.
            Overflow::Wrap => {
                let words = self.texts(index).flat_map(str::split_whitespace).map(display_width);
                widest.min(TEXT_WIDTH_MIN.max(words.max().unwrap_or(0)))
            }
        }
    }

    /// The columns that fit, with their widths; None if not even the columns that must be there do.
    fn fit(&self, width: usize) -> Option<Vec<(usize, usize)>> {
        let mut shown: Vec<(usize, &Column, usize)> = self
            .columns
            .iter()
            .enumerate()
            .map(|(index, column)| (index, column, self.narrowest(index, column)))
            .collect();
        loop {
            let gaps = GAP * shown.len().saturating_sub(1);
            let least: usize = shown.iter().map(|(_, _, least)| least).sum::<usize>().saturating_add(gaps);
            if least <= width {
                return Some(self.share(&shown, width - least));
            }
            let first_to_go = shown
                .iter()
                .enumerate()
                .filter_map(|(position, (_, column, _))| Some((column.left_out?, position)))
                .max();
            shown.remove(first_to_go?.1);
        }
    }

    /// Returns true if no cell takes more lines than people like to read in a column.
    fn is_flat(&self, widths: &[(usize, usize)]) -> bool {
        self.rows.iter().all(|row| {
            widths.iter().all(|(index, width)| match (row.get(*index), self.columns.get(*index)) {
                (Some(cell), Some(column)) => {
                    folded(&cell.text, *width, column.overflow).len() <= CELL_LINES_MAX
                }
                _ => true,
            })
        })
    }

    /// Shares the room that is left among the columns that are narrower than their content: each gets the same, and
    /// what one does not need goes to the others.
    fn share(&self, shown: &[(usize, &Column, usize)], mut room: usize) -> Vec<(usize, usize)> {
        let mut wanting: Vec<(usize, usize)> = shown
            .iter()
            .map(|(index, _, least)| (*index, self.widest(*index).saturating_sub(*least)))
            .filter(|(_, wanted)| *wanted > 0)
            .collect();
        wanting.sort_by_key(|(_, wanted)| *wanted);
        let mut widths: Vec<(usize, usize)> =
            shown.iter().map(|(index, _, least)| (*index, *least)).collect();
        let mut left = wanting.len();
        for (index, wanted) in wanting {
            let more = wanted.min(room.checked_div(left).unwrap_or(0));
            if let Some((_, width)) = widths.iter_mut().find(|(own, _)| *own == index) {
                *width += more;
            }
            room -= more;
            left -= 1;
        }
        widths
    }

    fn lines(&self, widths: &[(usize, usize)]) -> Vec<Line> {
        let head = widths.iter().enumerate().map(|(position, (index, width))| {
            let head = self.columns.get(*index).map_or("", |column| column.head.as_str());
            let is_last = position + 1 == widths.len();
            // The head of numbers stands over them.
            let side = self.cell(0, *index).map_or(Side::Left, |cell| cell.side);
            Piece::head(padded(head, *width, side, is_last))
        });
        let mut lines = vec![joined(head)];
        for row in &self.rows {
            let cells: Vec<(Vec<String>, &Cell, usize)> = widths
                .iter()
                .filter_map(|(index, width)| {
                    let (cell, column) = (row.get(*index)?, self.columns.get(*index)?);
                    Some((folded(&cell.text, *width, column.overflow), cell, *width))
                })
                .collect();
            let height = cells.iter().map(|(parts, ..)| parts.len()).max().unwrap_or(1).max(1);
            for line in 0..height {
                let pieces = cells.iter().enumerate().map(|(position, (parts, cell, width))| {
                    let part = parts.get(line).map_or("", String::as_str);
                    Piece::of(cell, padded(part, *width, cell.side, position + 1 == cells.len()))
                });
                lines.push(joined(pieces));
            }
        }
        lines
    }

    /// Each row as a record: a line with its number, and a line for each column that has a value.
    fn records(&self, width: Option<usize>) -> Vec<Line> {
        let names = self.columns.iter().map(|column| display_width(&column.head)).max().unwrap_or(0);
        let half = width.map_or(usize::MAX, |width| width / 2);
        let names = names.min(NAME_WIDTH_MAX).min(half.saturating_sub(GAP)).max(1);
        let values = width.map(|width| width.saturating_sub(names + GAP).max(1));
        let mut lines = Vec::new();
        for (number, row) in self.rows.iter().enumerate() {
            lines.push(vec![Piece::head(rule(number + 1, width))]);
            for (column, cell) in self.columns.iter().zip(row).filter(|(_, cell)| !cell.text.is_empty()) {
                let parts = match values {
                    Some(values) => folded(&cell.text, values, Overflow::Wrap),
                    None => vec![cell.text.clone()],
                };
                let mut name = cut(&column.head, names);
                for part in parts {
                    let head = padded(&std::mem::take(&mut name), names, Side::Left, false);
                    lines.push(joined([Piece::head(head), Piece::of(cell, part)].into_iter()));
                }
            }
        }
        lines
    }
}

/// The line above a record.
fn rule(number: usize, width: Option<usize>) -> String {
    let begin = format!("── {number} ");
    let dashes = width.unwrap_or(40).min(40).saturating_sub(display_width(&begin));
    let line = begin + &"─".repeat(dashes);
    cut(&line, width.unwrap_or(usize::MAX))
}

/// The way in which texts are wrapped: at blanks alone, because ids have hyphens. A word is broken only if it is wider than the line.
pub(super) fn wrapping(width: usize) -> Options<'static> {
    // The other algorithm would rather overrun a line than leave one short.
    Options::new(width.max(1))
        .wrap_algorithm(WrapAlgorithm::FirstFit)
        .word_splitter(WordSplitter::NoHyphenation)
}

/// The lines of a cell in its column.
fn folded(content: &str, width: usize, overflow: Overflow) -> Vec<String> {
    match overflow {
        Overflow::Never => vec![content.to_owned()],
        Overflow::Cut => vec![cut(content, width)],
        Overflow::Wrap => textwrap::wrap(content, wrapping(width)).into_iter().map(Into::into).collect(),
    }
}

/// The beginning of a text that fits, with a mark if it was cut.
fn cut(content: &str, width: usize) -> String {
    if display_width(content) <= width {
        return content.to_owned();
    }
    let mut kept = String::new();
    let mut end = String::new();
    for c in content.chars() {
        end.push(c);
        if display_width(&end) + 1 > width {
            break;
        }
        kept.clone_from(&end);
    }
    let mut kept = kept.trim_end().to_owned();
    if width > 0 {
        kept.push(CUT);
    }
    kept
}

/// A text with blanks, so that it fills its column. The last column needs none behind it.
fn padded(content: &str, width: usize, side: Side, is_last: bool) -> String {
    let blanks = " ".repeat(width.saturating_sub(display_width(content)));
    match side {
        Side::Right => blanks + content,
        Side::Left if is_last => content.to_owned(),
        Side::Left => content.to_owned() + &blanks,
    }
}

fn joined(pieces: impl Iterator<Item = Piece>) -> Line {
    let gap = || Piece { text: " ".repeat(GAP), style: PieceStyle::Plain };
    let mut line = Line::new();
    for piece in pieces {
        if !line.is_empty() {
            line.push(gap());
        }
        line.push(piece);
    }
    line
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn shown(printed: &Printed) -> Vec<String> {
        let text = |line: &Line| line.iter().map(|piece| piece.text.as_str()).collect::<String>();
        printed.lines.iter().map(|line| text(line).trim_end().to_owned()).collect()
    }

    fn sessions() -> Table {
        let mut table = Table::new(vec![
            Column::whole("SESSION"),
            Column::whole("STATUS"),
            Column::whole("STEPS").optional(2),
            Column::whole("PROFILE").optional(1),
            Column::cut("INPUT"),
        ]);
        for (id, status, steps, input) in
            [("review-7", "failed", 12, "Is the lease fair, and what should change?"), ("b", "ok", 3, "Why?")]
        {
            table.add(vec![
                Cell::id(id),
                Cell::new(status),
                Cell::number(Some(steps)),
                Cell::new("contracts"),
                Cell::new(input),
            ]);
        }
        table
    }

    #[test]
    fn a_table_that_fits_is_as_wide_as_its_content() {
        for width in [None, Some(200), Some(79)] {
            let printed = sessions().print(width, Arrangement::Fitting);
            assert_eq!(
                shown(&printed),
                [
                    "SESSION   STATUS  STEPS  PROFILE    INPUT",
                    "review-7  failed     12  contracts  Is the lease fair, and what should change?",
                    "b         ok          3  contracts  Why?",
                ]
            );
        }
    }

    #[test]
    fn texts_are_cut_with_a_mark_before_columns_are_left_out() {
        assert_eq!(
            shown(&sessions().print(Some(60), Arrangement::Fitting)),
            [
                "SESSION   STATUS  STEPS  PROFILE    INPUT",
                "review-7  failed     12  contracts  Is the lease fair, and…",
                "b         ok          3  contracts  Why?",
            ]
        );
        let narrow = sessions().print(Some(40), Arrangement::Fitting);
        assert_eq!(
            shown(&narrow),
            ["SESSION   STATUS  INPUT", "review-7  failed  Is the lease fair, an…", "b         ok      Why?",]
        );
        assert_eq!(narrow.left_out, ["STEPS", "PROFILE"]);
    }

    #[test]
    fn rows_that_do_not_fit_are_records() {
        assert_eq!(
            shown(&sessions().print(Some(30), Arrangement::Fitting)),
            [
                "── 1 ─────────────────────────",
                "SESSION  review-7",
                "STATUS   failed",
                "STEPS    12",
                "PROFILE  contracts",
                "INPUT    Is the lease fair,",
                "         and what should",
                "         change?",
                "── 2 ─────────────────────────",
                "SESSION  b",
                "STATUS   ok",
                "STEPS    3",
                "PROFILE  contracts",
                "INPUT    Why?",
            ]
        );
    }

    #[test]
    fn a_text_of_many_lines_makes_a_record() {
        let mut table = Table::new(vec![Column::whole("ID"), Column::wrapped("TEXT")]);
        table.add(vec![Cell::id("a"), Cell::new(&"some words ".repeat(20))]);
        assert_eq!(shown(&table.print(Some(60), Arrangement::Fitting))[0], "ID  TEXT");
        assert_eq!(shown(&table.print(Some(24), Arrangement::Fitting))[0], "── 1 ───────────────────");
    }

    fn word() -> impl Strategy<Value = String> {
        prop_oneof!["[a-z]{1,12}", "[日本語한]{1,5}", "[a-z]{1,60}"]
    }

    fn cell() -> impl Strategy<Value = String> {
        prop::collection::vec(word(), 0..8).prop_map(|words| words.join(" "))
    }

    fn column() -> impl Strategy<Value = Column> {
        ("[A-Z]{1,10}", 0..3_u8, prop::option::of(0..4_u8)).prop_map(|(head, form, left_out)| Column {
            overflow: [Overflow::Never, Overflow::Cut, Overflow::Wrap][usize::from(form)],
            left_out,
            head,
        })
    }

    fn any_table() -> impl Strategy<Value = Table> {
        prop::collection::vec(column(), 1..7).prop_flat_map(|columns| {
            let row = prop::collection::vec(cell().prop_map(|cell| Cell::new(&cell)), columns.len());
            (Just(columns), prop::collection::vec(row, 0..5))
                .prop_map(|(columns, rows)| Table { columns, rows })
        })
    }

    proptest! {
        #[test]
        fn no_line_is_wider_than_the_terminal_and_no_value_is_lost_without_a_mark(
            table in any_table(),
            width in 10..220_usize,
        ) {
            let printed = table.print(Some(width), Arrangement::Fitting);
            let lines = shown(&printed);
            for line in &lines {
                prop_assert!(display_width(line) <= width, "{line:?} is wider than {width}");
            }
            let all = lines.join("\n");
            for row in &table.rows {
                for (cell, column) in row.iter().zip(&table.columns) {
                    if printed.left_out.contains(&column.head) {
                        continue;
                    }
                    // Each word is there as a whole, unless it is wider than the terminal leaves room for, or the
                    // cell was cut, which is marked.
                    for word in cell.text.split_whitespace() {
                        let is_there = all.contains(word);
                        let is_too_wide = display_width(word) > width.saturating_sub(NAME_WIDTH_MAX + GAP).max(width / 2 - GAP.min(width / 2));
                        let is_cut = column.overflow == Overflow::Cut && all.contains(CUT);
                        prop_assert!(is_there || is_too_wide || is_cut, "{word:?} is not in\n{all}");
                    }
                }
            }
        }
    }
}
