//! Queries in SQL that users wrote.

use crate::storage::StorageError;
use rusqlite::types::ValueRef;
use rusqlite::{Connection, ErrorCode};

/// A value of a result.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum SqlValue<'a> {
    /// NULL.
    Null,
    /// A whole number.
    Integer(i64),
    /// A number.
    Real(f64),
    /// A text. Bytes that are no UTF-8 have been replaced.
    Text(&'a str),
    /// Bytes.
    Blob(&'a [u8]),
}

/// A receiver of the rows of a result. An error that it returns ends the query.
pub trait RowSink {
    /// Takes the names of the columns, once, before the first row, and also if there is no row.
    ///
    /// # Errors
    /// If they cannot be taken.
    fn columns(&mut self, names: &[String]) -> std::io::Result<()>;

    /// Takes a row, with its values in the order of the columns.
    ///
    /// # Errors
    /// If it cannot be taken.
    fn row(&mut self, values: &[SqlValue<'_>]) -> std::io::Result<()>;
}

/// The reason why a query was not answered.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SqlError {
    /// The file is no log, or the connection for the query cannot be opened.
    #[error(transparent)]
    Open(#[from] crate::log::OpenError),
    /// The statement does something else than read.
    #[error("only reading is allowed here: {0}")]
    NotReading(String),
    /// There is no statement, or none that has a result.
    #[error("the query has no statement that returns rows")]
    Empty,
    /// There are several statements.
    #[error("the query has several statements; run one at a time")]
    Several,
    /// SQLite reported an error.
    #[error("{0}")]
    Storage(StorageError),
    /// The rows could not be taken.
    #[error("the result cannot be written: {0}")]
    Sink(#[from] std::io::Error),
}

impl From<rusqlite::Error> for SqlError {
    fn from(error: rusqlite::Error) -> SqlError {
        match (error.sqlite_error_code(), &error) {
            (_, rusqlite::Error::MultipleStatement) => SqlError::Several,
            (Some(ErrorCode::AuthorizationForStatementDenied | ErrorCode::ReadOnly), _) => {
                SqlError::NotReading(error.to_string())
            }
            _ => SqlError::Storage(error.into()),
        }
    }
}

/// Runs one statement that reads. If a user wrote it, the connection must have the guard of [`super::guard`].
/// `values` are those of its parameters.
pub(crate) fn run(
    connection: &Connection,
    query: &str,
    values: &[&str],
    sink: &mut dyn RowSink,
) -> Result<(), SqlError> {
    let mut statement = connection.prepare(query)?;
    // A query of our own passes here without the guard: SQLite itself reports whether a statement writes.
    if !statement.readonly() {
        return Err(SqlError::NotReading("the statement writes".to_owned()));
    }
    if statement.column_count() == 0 {
        return Err(SqlError::Empty);
    }
    let names: Vec<String> = statement.column_names().map(str::to_owned).collect();
    sink.columns(&names)?;
    let mut rows = statement.query(rusqlite::params_from_iter(values))?;
    while let Some(row) = rows.next()? {
        let mut values = Vec::with_capacity(names.len());
        for column in 0..names.len() {
            values.push(row.get_ref(column)?);
        }
        // Kept until the sink has taken the row, because `values` borrows them.
        let texts: Vec<_> = values
            .iter()
            .map(|value| match value {
                ValueRef::Text(bytes) => Some(String::from_utf8_lossy(bytes)),
                _ => None,
            })
            .collect();
        let values: Vec<SqlValue<'_>> = values
            .iter()
            .zip(&texts)
            .map(|(value, text)| match (value, text) {
                (_, Some(text)) => SqlValue::Text(text),
                (ValueRef::Integer(number), _) => SqlValue::Integer(*number),
                (ValueRef::Real(number), _) => SqlValue::Real(*number),
                (ValueRef::Blob(bytes), _) => SqlValue::Blob(bytes),
                _ => SqlValue::Null,
            })
            .collect();
        sink.row(&values)?;
    }
    Ok(())
}
