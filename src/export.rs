//! Exports from the log: events in a form that can be recorded again, and read tables row by row.

use std::io;

use crate::event::{Content, Seq, is_reserved};
use crate::log::{ReadError, rows};
use crate::projection::tables::Table;
use crate::query::events::{Next, walk};
use crate::query::projections::read_tables;
use crate::query::sql;
use crate::query::{EventFilter, RowSink, SqlError};
use crate::reader::Reader;
use crate::storage::{StorageError, from_sqlite};

/// An exported event, or the reason why an event is left out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Export {
    /// An event, as [`parse_draft`](crate::parse_draft) reads it: one line, without its end.
    Event(String),
    /// An event that cannot be recorded again.
    LeftOut {
        /// Its sequence number.
        seq: Seq,
        /// Name of its kind.
        kind: String,
        /// The reason.
        reason: LeftOut,
    },
}

/// The reason why an event is left out of an export.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum LeftOut {
    /// Its payload was erased.
    Redacted,
    /// Its kind is not known to this version.
    Unknown,
}

/// Counts of an export.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Exported {
    /// Events that were exported.
    pub events: u64,
    /// Events that were left out, each named by an [`Export::LeftOut`].
    pub left_out: u64,
    /// Events of the kinds that only Annals writes: another log has its own.
    pub own: u64,
}

/// An export that failed before its end.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ExportError {
    /// An event cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// There is no such table.
    #[error("there is no read table `{name}` to export; the read tables are {}", exported_tables().map(|table| table.shown).collect::<Vec<_>>().join(", "))]
    NoTable {
        /// Its name.
        name: String,
    },
    /// The rows of the table belong to no session.
    #[error("the rows of the read table `{name}` belong to no session; export all of them")]
    NotOfSessions {
        /// Its name.
        name: &'static str,
    },
    /// The table cannot be read.
    #[error("the read table cannot be read: {0}")]
    Table(#[source] SqlError),
    /// SQLite refused.
    #[error("the log cannot be read: {0}")]
    Storage(#[from] StorageError),
    /// The sink refused the output.
    #[error("cannot be written: {0}")]
    Sink(#[from] io::Error),
}

from_sqlite!(ExportError);

/// The tables that hold recorded data. A full-text index holds no data of its own.
fn exported_tables() -> impl Iterator<Item = &'static Table> {
    read_tables().filter(|table| !table.is_index())
}

impl Reader {
    /// Passes the events to `sink`, all or one session's, in order, as of one moment of the log. Every event that is
    /// not exported is reported or counted.
    ///
    /// # Errors
    /// If an event cannot be read, or the sink fails; what was passed on before is valid.
    pub fn export_events(
        &self,
        session: Option<&str>,
        sink: &mut dyn FnMut(Export) -> io::Result<()>,
    ) -> Result<Exported, ExportError> {
        let filter = EventFilter { session: session.map(str::to_owned), ..EventFilter::ALL };
        self.at_one_moment(|connection| {
            // Read in the same snapshot as the events: appends in between do not move the end.
            let head = rows::head(connection)?.seq;
            let mut exported = Exported::default();
            walk(connection, &filter, Seq::ZERO, head, |seq, event| {
                let event = event?;
                // Another log writes its own events of these kinds, and would refuse them from a producer.
                if is_reserved(event.kind) {
                    exported.own += 1;
                    return Ok(Next::Continue);
                }
                match event.to_draft_json() {
                    Some(json) => {
                        sink(Export::Event(json))?;
                        exported.events += 1;
                    }
                    None => {
                        let reason = match event.content {
                            Content::Redacted => LeftOut::Redacted,
                            _ => LeftOut::Unknown,
                        };
                        sink(Export::LeftOut { seq, kind: event.kind_name(), reason })?;
                        exported.left_out += 1;
                    }
                }
                Ok::<_, ExportError>(Next::Continue)
            })?;
            Ok(exported)
        })
    }

    /// Passes the rows of a read table to `sink`, all or one session's, in the order of the log.
    ///
    /// # Errors
    /// If there is no such table, it cannot be read, or the sink refuses.
    pub fn export_table(
        &self,
        table: &str,
        session: Option<&str>,
        sink: &mut dyn RowSink,
    ) -> Result<(), ExportError> {
        // The statement below is made of the names of a known table alone, never of the caller's text.
        let Some(&Table { shown: table, session: of_session, key, order, .. }) =
            exported_tables().find(|known| known.shown == table)
        else {
            return Err(ExportError::NoTable { name: table.to_owned() });
        };
        let condition = match (session, of_session) {
            (None, _) => String::new(),
            // The column is a name from the code; the session is bound as a parameter.
            (Some(_), Some(column)) => format!(" WHERE {column} = ?1"),
            (Some(_), None) => return Err(ExportError::NotOfSessions { name: table }),
        };
        // Only the keys of the rows are sorted: SQLite would hold whole rows in memory to sort them. The limit keeps
        // SQLite from making one query of both, and CROSS JOIN keeps the sorted keys in the outer loop.
        let keys: Vec<_> = key.iter().map(|column| format!("{column} AS key_{column}")).collect();
        let same: Vec<_> = key.iter().map(|column| format!("{table}.{column} = key_{column}")).collect();
        let query = format!(
            "SELECT {table}.* FROM (SELECT {} FROM {table}{condition} ORDER BY {order}, {} LIMIT -1)
             CROSS JOIN {table} ON {}",
            keys.join(", "),
            key.join(", "),
            same.join(" AND ")
        );
        let values: Vec<&str> = session.into_iter().collect();
        self.at_one_moment(|connection| {
            sql::run(connection, &query, &values, sink).map_err(|error| match error {
                SqlError::Sink(error) => ExportError::Sink(error),
                error => ExportError::Table(error),
            })
        })
    }
}
