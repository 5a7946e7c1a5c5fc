//! Rows that are taken inside SQLite, while it reads them.
//!
//! Stepping through a statement and asking for each value of a row takes longer than the rest of SQLite's
//! work on a short row. An aggregate function gets the values while they are read.

use std::panic::{RefUnwindSafe, UnwindSafe};
use std::sync::{Arc, Mutex, PoisonError};

use rusqlite::functions::{Aggregate, Context, FunctionFlags};
use rusqlite::{Connection, Params};

/// A receiver of rows, one after the other.
pub(super) trait Take: Send + UnwindSafe + RefUnwindSafe + 'static {
    /// Takes a row by its values. Returns false if it needs no more rows.
    ///
    /// # Errors
    /// If a value has a type that it cannot have.
    fn take(&mut self, row: &Context<'_>) -> rusqlite::Result<bool>;
}

/// An aggregate function of one connection, by which rows are taken.
pub(super) struct Inside<T>(Slot<T>);

/// The slot from which the function takes the receiver of the rows, and to which it returns the receiver when
/// all rows are read.
struct Slot<T>(Arc<Mutex<Option<T>>>);

impl<T> Slot<T> {
    fn swap(&self, with: Option<T>) -> Option<T> {
        std::mem::replace(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner), with)
    }
}

impl<T: Take> Inside<T> {
    /// Registers the function with a connection. No statement that the file itself holds can call it.
    ///
    /// # Errors
    /// If SQLite has no room for it.
    pub(super) fn new(connection: &Connection, name: &str) -> rusqlite::Result<Inside<T>> {
        let slot = Arc::new(Mutex::new(None));
        let flags = FunctionFlags::SQLITE_UTF8 | FunctionFlags::SQLITE_DIRECTONLY;
        connection.create_aggregate_function(name, -1, flags, Slot(Arc::clone(&slot)))?;
        Ok(Inside(Slot(slot)))
    }

    /// Runs a statement that calls the function and does nothing else. Returns None if there were no rows.
    ///
    /// # Errors
    /// If SQLite cannot read the rows, or not all of them were taken.
    pub(super) fn run(
        &self,
        connection: &Connection,
        sql: &str,
        params: impl Params,
        taker: T,
    ) -> rusqlite::Result<Option<T>> {
        // One statement runs at a time, so the slot has one receiver: `init` takes it at the first row, and
        // `finalize` puts it back after the last.
        self.0.swap(Some(taker));
        let read = connection.prepare_cached(sql)?.query_row(params, |row| row.get::<_, bool>(0));
        // The slot is emptied before an error is returned, so that the next call does not find this receiver.
        let taker = self.0.swap(None);
        Ok(read?.then_some(taker).flatten())
    }
}

impl<T: Take> Aggregate<T, bool> for Slot<T> {
    fn init(&self, _: &mut Context<'_>) -> rusqlite::Result<T> {
        // An empty slot: the function was called from outside of `run`.
        self.swap(None).ok_or(rusqlite::Error::InvalidQuery)
    }

    #[inline]
    fn step(&self, row: &mut Context<'_>, taker: &mut T) -> rusqlite::Result<()> {
        // An aggregate function can end the reading only with an error.
        if taker.take(row)? { Ok(()) } else { Err(rusqlite::Error::QueryReturnedMoreThanOneRow) }
    }

    fn finalize(&self, _: &mut Context<'_>, taker: Option<T>) -> rusqlite::Result<bool> {
        let has_taken = taker.is_some();
        self.swap(taker);
        Ok(has_taken)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Adds numbers up to the first that is negative.
    struct Sum(i64);

    impl Take for Sum {
        fn take(&mut self, row: &Context<'_>) -> rusqlite::Result<bool> {
            let number: i64 = row.get(0)?;
            self.0 += number;
            Ok(number >= 0)
        }
    }

    #[test]
    fn rows_are_taken_once_each_and_there_is_no_result_unless_all_are() {
        let connection = Connection::open_in_memory().unwrap();
        let inside = Inside::new(&connection, "take").unwrap();
        let sum = |numbers: &str| {
            let sql = format!("SELECT take(column1) FROM (VALUES {numbers}) WHERE column1 IS NOT 100");
            inside.run(&connection, &sql, [], Sum(0)).map(|sum| sum.map(|sum| sum.0))
        };
        assert_eq!(sum("(1), (2), (3)").unwrap(), Some(6));
        assert_eq!(sum("(100)").unwrap(), None);
        assert!(sum("(1), (-2), (3)").is_err());
        assert!(sum("(1), ('two')").is_err());
        assert_eq!(sum("(4)").unwrap(), Some(4));
    }

    #[test]
    fn a_statement_of_the_file_cannot_call_the_function() {
        let connection = Connection::open_in_memory().unwrap();
        connection.execute_batch("CREATE TABLE t (n); CREATE VIEW v AS SELECT take(n) FROM t").unwrap();
        let inside = Inside::new(&connection, "take").unwrap();
        assert!(inside.run(&connection, "SELECT * FROM v", [], Sum(0)).is_err());
    }
}
