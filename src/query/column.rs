//! Columns of read tables as the types that they stand for.

use std::collections::HashSet;

use rusqlite::types::{FromSqlError, FromSqlResult, Type, ValueRef};
use rusqlite::{Connection, Row};

use crate::event::{Json, Seq, Timestamp};
use crate::text::beginning;

/// A type that a column is read as.
pub(super) trait FromColumn: Sized {
    fn from_column(value: ValueRef<'_>) -> FromSqlResult<Self>;
}

impl FromColumn for String {
    fn from_column(value: ValueRef<'_>) -> FromSqlResult<String> {
        value.as_str().map(str::to_owned)
    }
}

impl FromColumn for i64 {
    fn from_column(value: ValueRef<'_>) -> FromSqlResult<i64> {
        value.as_i64()
    }
}

impl FromColumn for f64 {
    fn from_column(value: ValueRef<'_>) -> FromSqlResult<f64> {
        value.as_f64()
    }
}

impl FromColumn for Seq {
    fn from_column(value: ValueRef<'_>) -> FromSqlResult<Seq> {
        value.as_i64().map(Seq::from_sql)
    }
}

impl FromColumn for Timestamp {
    fn from_column(value: ValueRef<'_>) -> FromSqlResult<Timestamp> {
        let text = value.as_str()?;
        Timestamp::from_sql(text)
            .ok_or_else(|| FromSqlError::Other(format!("`{text}` is not a time of the read tables").into()))
    }
}

impl FromColumn for Json {
    fn from_column(value: ValueRef<'_>) -> FromSqlResult<Json> {
        Json::of_column(value.as_str()?).map_err(|error| FromSqlError::Other(Box::new(error)))
    }
}

impl<T: FromColumn> FromColumn for Option<T> {
    fn from_column(value: ValueRef<'_>) -> FromSqlResult<Option<T>> {
        match value {
            ValueRef::Null => Ok(None),
            value => T::from_column(value).map(Some),
        }
    }
}

/// A value whose beginning can stand for the whole.
pub(super) trait Shorten {
    /// Keeps the first `chars` characters. Returns the bytes that the value takes up besides its own size.
    fn shorten(&mut self, chars: usize) -> usize;
}

/// Factor by which JSON may be longer than a text before it is cut. A part of a JSON value is no longer JSON,
/// and its members can no longer be found.
const JSON_CHARS: usize = 64;

pub(super) fn cut(text: &mut String, chars: usize) {
    if let Some(begin) = beginning(text, chars) {
        // Copied, not cut in place: a text that is cut keeps the memory of the long one.
        *text = begin.to_owned();
    }
}

impl Shorten for String {
    fn shorten(&mut self, chars: usize) -> usize {
        cut(self, chars);
        self.len()
    }
}

impl Shorten for Json {
    fn shorten(&mut self, chars: usize) -> usize {
        if self.as_str().len() > chars.saturating_mul(JSON_CHARS) {
            let mut text = self.as_str().to_owned();
            cut(&mut text, chars);
            *self = Json::text(&text);
        }
        self.as_str().len()
    }
}

macro_rules! never_long {
    ($($name:ident),*) => { $(
        impl Shorten for $name {
            fn shorten(&mut self, _: usize) -> usize {
                0
            }
        }
    )* };
}

never_long!(i64, f64, Seq, Timestamp);

impl<T: Shorten> Shorten for Option<T> {
    fn shorten(&mut self, chars: usize) -> usize {
        self.as_mut().map_or(0, |value| value.shorten(chars))
    }
}

/// Bytes of text after which a page ends.
pub(super) const PAGE_BYTES_MAX: usize = 8 << 20;

/// Counts the bytes of text in the first columns of a row.
pub(super) fn text_bytes(row: &Row<'_>, columns: usize) -> rusqlite::Result<usize> {
    let mut bytes = 0;
    for column in 0..columns {
        if let ValueRef::Text(text) = row.get_ref(column)? {
            bytes += text.len();
        }
    }
    Ok(bytes)
}

/// Reads the next column of a row.
pub(super) fn next_column<T: FromColumn>(row: &Row<'_>, next: &mut usize) -> rusqlite::Result<T> {
    let column = *next;
    *next += 1;
    T::from_column(row.get_ref(column)?)
        .map_err(|error| rusqlite::Error::FromSqlConversionFailure(column, Type::Text, Box::new(error)))
}

/// A row of a read table.
pub(crate) trait Record: Sized {
    /// The table or view to select from.
    const TABLE: &'static str;
    /// The columns to select, in the order in which [`Record::read`] reads them.
    const COLUMNS: &'static [&'static str];

    fn read(row: &Row<'_>) -> rusqlite::Result<Self>;

    /// Keeps the first `chars` characters of each text. Returns the bytes that the texts take up.
    fn shorten(&mut self, chars: usize) -> usize;

    /// The columns to select from the table as the file has it. A table of an earlier version lacks the columns that were
    /// added later, until this version's has replaced it: NULL stands for those.
    fn columns(connection: &Connection) -> rusqlite::Result<String> {
        let mut statement = connection.prepare_cached("SELECT name FROM pragma_table_xinfo(?1)")?;
        let held = statement.query_map([Self::TABLE], |row| row.get(0))?;
        let held = held.collect::<rusqlite::Result<HashSet<String>>>()?;
        let selected = Self::COLUMNS.iter().map(|column| {
            let is_expression = column.contains('(');
            if is_expression || held.contains(*column) {
                (*column).to_owned()
            } else {
                format!("NULL AS {column}")
            }
        });
        Ok(selected.collect::<Vec<_>>().join(", "))
    }

    /// Returns whether the file has the table.
    fn is_there(connection: &Connection) -> rusqlite::Result<bool> {
        connection.prepare_cached("SELECT 1 FROM sqlite_schema WHERE name = ?1")?.exists([Self::TABLE])
    }

    /// The statement `SELECT … FROM …`, to which conditions and order are added.
    fn select(connection: &Connection) -> rusqlite::Result<String> {
        Ok(format!("SELECT {} FROM {}", Self::columns(connection)?, Self::TABLE))
    }
}

/// Declares records: their table, and their fields, each a column or an expression over columns.
macro_rules! records {
    ($(
        $(#[$doc:meta])*
        $name:ident from $table:literal {
            $( $(#[$column_doc:meta])* $column:ident $(= $expression:literal)?: $type:ty, )*
        }
    )*) => {$(
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, serde::Serialize)]
        #[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
        #[non_exhaustive]
        pub struct $name {
            $( $(#[$column_doc])* pub $column: $type, )*
        }

        impl $crate::query::column::Record for $name {
            const TABLE: &'static str = $table;
            const COLUMNS: &'static [&'static str] =
                &[$( $crate::query::column::column!($column $(= $expression)?) ),*];

            fn read(row: &rusqlite::Row<'_>) -> rusqlite::Result<$name> {
                let mut next = 0;
                Ok($name { $( $column: $crate::query::column::next_column(row, &mut next)?, )* })
            }

            fn shorten(&mut self, chars: usize) -> usize {
                [$( $crate::query::column::Shorten::shorten(&mut self.$column, chars) ),*].into_iter().sum()
            }
        }
    )*};
}

macro_rules! column {
    ($column:ident) => {
        stringify!($column)
    };
    ($column:ident = $expression:literal) => {
        $expression
    };
}

pub(super) use {column, records};
