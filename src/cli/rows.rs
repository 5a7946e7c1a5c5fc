//! Rows of any query, printed as a table, as JSON or as CSV.

use std::io;

use crate::query::{RowSink, SqlValue};

use super::csv::{self, Cells};
use super::out::Out;
use super::table::{Arrangement, Cell, Column, Table};
use super::text::hex;

/// Characters of a cell that a terminal shows.
const CELL_CHARS: usize = 2_000;

/// Rows of one printed table. A table is in memory until its last row is there, so a long result is printed as several
/// tables, each with its own widths.
pub(super) const TABLE_ROWS_MAX: usize = 1_000;

/// The form of rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    /// A table for people.
    Table(Arrangement),
    /// One list of objects.
    Json,
    /// An object a line.
    Jsonl,
    /// Comma-separated, with the names of the columns.
    Csv(Cells),
}

/// Prints rows as they come.
pub(crate) struct Rows<'a> {
    out: &'a mut Out,
    form: Form,
    names: Vec<String>,
    count: u64,
    table: Option<Table>,
}

impl<'a> Rows<'a> {
    pub(crate) fn new(out: &'a mut Out, form: Form) -> Rows<'a> {
        Rows { out, form, names: Vec::new(), count: 0, table: None }
    }

    /// Prints what is left, and returns the number of rows.
    pub(crate) fn finish(mut self) -> io::Result<u64> {
        match self.form {
            Form::Json => self.out.line(if self.count == 0 { "[]" } else { "\n]" })?,
            Form::Table(arrangement) => self.print_table(arrangement)?,
            Form::Jsonl | Form::Csv(_) => {}
        }
        Ok(self.count)
    }

    fn begin_table(&mut self) {
        let heads = self.names.iter().map(|name| Column::wrapped(&super::text::line(name)));
        self.table = Some(Table::new(heads.collect()));
    }

    fn print_table(&mut self, arrangement: Arrangement) -> io::Result<()> {
        self.table.take().map_or(Ok(()), |table| self.out.print(&table, arrangement))
    }
}

impl RowSink for Rows<'_> {
    fn columns(&mut self, names: &[String]) -> io::Result<()> {
        self.names = names.to_vec();
        match self.form {
            Form::Table(_) => {
                self.begin_table();
                Ok(())
            }
            Form::Csv(cells) => {
                let names: Vec<SqlValue<'_>> = names.iter().map(|name| SqlValue::Text(name)).collect();
                self.out.data(&csv::line(&names, cells))
            }
            Form::Json | Form::Jsonl => Ok(()),
        }
    }

    fn row(&mut self, values: &[SqlValue<'_>]) -> io::Result<()> {
        self.count += 1;
        match self.form {
            Form::Table(arrangement) => {
                if self.table.as_ref().is_some_and(|table| table.len() >= TABLE_ROWS_MAX) {
                    self.print_table(arrangement)?;
                    self.begin_table();
                }
                if let Some(table) = &mut self.table {
                    table.add(values.iter().map(cell).collect::<Vec<_>>());
                }
                Ok(())
            }
            Form::Jsonl => {
                let line = object(&self.names, values)?;
                self.out.json_line(&line)
            }
            Form::Json => {
                let line = object(&self.names, values)?;
                // The separator stands before a row, because the last row is not known in advance.
                self.out.bytes(if self.count == 1 { b"[\n" } else { b",\n" })?;
                // Safe on a terminal, and the same value to a program.
                self.out.bytes(super::text::json(&line).as_bytes())
            }
            Form::Csv(cells) => self.out.data(&csv::line(values, cells)),
        }
    }
}

fn cell(value: &SqlValue<'_>) -> Cell {
    match value {
        SqlValue::Null => Cell::default(),
        SqlValue::Integer(number) => Cell::number(Some(number)),
        SqlValue::Real(number) => Cell::number(Some(number)),
        SqlValue::Text(text) => Cell::new(&super::text::shortened(text, CELL_CHARS)),
        // A byte takes up two characters.
        SqlValue::Blob(bytes) => match bytes.get(..CELL_CHARS / 2) {
            Some(begin) if begin.len() < bytes.len() => Cell::new(&(hex(begin) + "…")),
            _ => Cell::new(&hex(bytes)),
        },
    }
}

/// A row as a JSON object. If several columns have the same name, it stands for the first of them.
fn object(names: &[String], values: &[SqlValue<'_>]) -> io::Result<String> {
    let mut object = String::from("{");
    for (index, (name, value)) in names.iter().zip(values).enumerate() {
        if names.iter().take(index).any(|earlier| earlier == name) {
            continue;
        }
        if object.len() > 1 {
            object.push(',');
        }
        object += &serde_json::to_string(name)?;
        object.push(':');
        object += &json(value)?;
    }
    object.push('}');
    Ok(object)
}

fn json(value: &SqlValue<'_>) -> io::Result<String> {
    Ok(match value {
        SqlValue::Null => "null".to_owned(),
        SqlValue::Integer(number) => number.to_string(),
        // JSON has no infinity: it becomes null.
        SqlValue::Real(number) => serde_json::to_string(number)?,
        SqlValue::Text(text) => serde_json::to_string(text)?,
        SqlValue::Blob(bytes) => serde_json::to_string(&hex(bytes))?,
    })
}
