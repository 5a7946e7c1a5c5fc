//! What leaves the log: events as they can be recorded again, and read tables row by row.

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

/// An event on its way out, or the reason why it stays.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Export {
    /// An event, as [`parse_draft`](crate::parse_draft) reads it: one line, without its end.
    Event(String),
    /// An event that cannot be recorded again.
    LeftOut {
        /// Its place.
        seq: Seq,
        /// Name of its kind.
        kind: String,
        /// Why.
        reason: LeftOut,
    },
}

/// Why an event is left out of an export.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum LeftOut {
    /// Its payload was erased.
    Redacted,
    /// Its kind is not known to this version.
    Unknown,
}

/// What was exported.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Exported {
    /// Events.
    pub events: u64,
    /// Events that were left out, each named by an [`Export::LeftOut`].
    pub left_out: u64,
    /// Events of the kinds that only Annals writes: another log has its own.
    pub own: u64,
}

/// An export that did not come to its end.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ExportError {
    /// An event cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// There is no such table.
    #[error("there is no read table `{name}` to export; there are {}", exported_tables().map(|table| table.shown).collect::<Vec<_>>().join(", "))]
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
    /// What was exported cannot be taken.
    #[error("cannot be written: {0}")]
    Sink(#[from] io::Error),
}

from_sqlite!(ExportError);

/// The tables that hold what was recorded. A full-text index holds nothing of its own.
fn exported_tables() -> impl Iterator<Item = &'static Table> {
    read_tables().filter(|table| !table.is_index())
}

impl Reader {
    /// Hands over the events, all or a session's, in order, of one moment of the log. None is
    /// missing in silence.
    ///
    /// # Errors
    /// If an event cannot be read, or the sink refuses; what was handed over before is good.
    pub fn export_events(
        &self,
        session: Option<&str>,
        sink: &mut dyn FnMut(Export) -> io::Result<()>,
    ) -> Result<Exported, ExportError> {
        let filter = EventFilter { session: session.map(str::to_owned), ..EventFilter::ALL };
        self.at_one_moment(|connection| {
            let head = rows::head(connection)?.seq;
            let mut exported = Exported::default();
            walk(connection, &filter, Seq::ZERO, head, |seq, event| {
                let event = event?;
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

    /// Hands over the rows of a read table, all or a session's, in the order of the log.
    ///
    /// # Errors
    /// If there is no such table, it cannot be read, or the sink refuses.
    pub fn export_table(
        &self,
        table: &str,
        session: Option<&str>,
        sink: &mut dyn RowSink,
    ) -> Result<(), ExportError> {
        let Some(&Table { shown: table, session: of_session, key, order, .. }) =
            exported_tables().find(|known| known.shown == table)
        else {
            return Err(ExportError::NoTable { name: table.to_owned() });
        };
        let condition = match (session, of_session) {
            (None, _) => String::new(),
            (Some(_), Some(column)) => format!(" WHERE {column} = ?1"),
            (Some(_), None) => return Err(ExportError::NotOfSessions { name: table }),
        };
        // The keys of the rows are put in order, and not the rows: SQLite would have all of those in memory. The
        // limit keeps it from making one query of both.
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
