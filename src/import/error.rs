//! Errors in a source, and their positions.

use std::error::Error;
use std::fmt;
use std::io;
use std::path::PathBuf;

use crate::limits::SESSION_ID_BYTES_MAX;
use crate::storage::StorageError;
use crate::{IdError, InvalidField, PrepareError};

/// The reason why the receiver refused a draft.
pub type SinkError = Box<dyn Error + Send + Sync>;

/// A position in a source.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Location {
    /// A record of a JSON list; the first one is 0.
    Record(usize),
    /// The part after the list.
    End,
    /// A line of a file; the first one is 1.
    Line(u64),
    /// A value in a JSON document, by its path; the first item of a list is 0.
    Path(String),
    /// A row of a table.
    Row {
        /// The table.
        table: &'static str,
        /// The row's primary key.
        id: String,
    },
    /// A row in the result of a map's query.
    QueryRow {
        /// Name of the query in the map.
        query: String,
        /// Position in the result; the first one is 1.
        row: u64,
    },
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Location::Record(index) => write!(f, "record {index} (the first is 0)"),
            Location::End => f.write_str("after the last record"),
            Location::Line(number) => write!(f, "line {number}"),
            Location::Path(path) if path.is_empty() => f.write_str("the document"),
            Location::Path(path) => f.write_str(path),
            Location::Row { table, id } => write!(f, "table `{table}`, row `{id}`"),
            Location::QueryRow { query, row } => write!(f, "query `{query}`, row {row}"),
        }
    }
}

/// A source that cannot be imported, or not completely. Drafts from before the error were handed over; another import,
/// once the cause is gone, adds only what is missing.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ImportError {
    /// The source is empty.
    #[error("the file is empty; expected {expected}")]
    Empty {
        /// The expected content.
        expected: &'static str,
    },
    /// The source is something else altogether.
    #[error("this is not {expected}: {reason}")]
    WrongFile {
        /// The expected content.
        expected: &'static str,
        /// Its content, or the first difference.
        reason: String,
    },
    /// The source cannot be read.
    #[error("cannot be read: {0}")]
    Read(#[source] io::Error),
    /// There is no such file, or it may not be opened.
    #[error("`{}` cannot be opened: {source}", path.display())]
    Open {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: StorageError,
    },
    /// A record is not JSON, or not an object.
    #[error("{place}: {reason}")]
    Malformed {
        /// The record.
        place: Location,
        /// The fault.
        reason: String,
    },
    /// A field is missing or has a wrong value.
    #[error("{place}: field `{field}`: {reason}")]
    Field {
        /// The record or row.
        place: Location,
        /// The field, as a path if it is inside another.
        field: String,
        /// The fault.
        reason: String,
    },
    /// Two records are the same session, so their events would contradict each other.
    #[error(
        "{place}: session `{session}` appears twice in the file; \
         import different runs from separate files"
    )]
    Repeated {
        /// The second record.
        place: Location,
        /// The session.
        session: String,
    },
    /// Source and position make no valid id.
    #[error(
        "{place}: `{id}` cannot be the id of a session: {reason}; \
         if it is too long ({SESSION_ID_BYTES_MAX} bytes at most), give the source a shorter name (--source)"
    )]
    SessionId {
        /// The record or row.
        place: Location,
        /// The id that they would make.
        id: String,
        /// The fault.
        reason: IdError,
    },
    /// An event made from the record cannot be recorded.
    #[error("{place}: {source}")]
    Invalid {
        /// The record or row.
        place: Location,
        /// The event's field and its fault.
        source: InvalidField,
    },
    /// An event made from the record does not fit into a log.
    #[error("{place}: {source}")]
    Unfit {
        /// The record or row.
        place: Location,
        /// The reason.
        source: PrepareError,
    },
    /// SQLite cannot read the rest of the file.
    #[error("the table `{table}` cannot be read: {source}")]
    Storage {
        /// The table.
        table: &'static str,
        /// The error of SQLite.
        source: StorageError,
    },
    /// A query of a map cannot be used.
    #[error("the query `{query}` of the map: {reason}")]
    Query {
        /// Name of the query in the map.
        query: String,
        /// The fault.
        reason: String,
    },
    /// The receiver refused a draft.
    #[error("cannot be recorded: {0}")]
    Sink(#[source] SinkError),
}

impl ImportError {
    /// Returns true if one record is to blame, so that an import can go on without it.
    pub(super) fn is_of_one_record(&self) -> bool {
        match self {
            ImportError::Malformed { .. }
            | ImportError::Field { .. }
            | ImportError::SessionId { .. }
            | ImportError::Invalid { .. }
            | ImportError::Unfit { .. } => true,
            ImportError::Empty { .. }
            | ImportError::WrongFile { .. }
            | ImportError::Read(_)
            | ImportError::Open { .. }
            | ImportError::Repeated { .. }
            | ImportError::Storage { .. }
            | ImportError::Query { .. }
            | ImportError::Sink(_) => false,
        }
    }
}

/// Lets `bad` decide about an error that one record is to blame for. Any other ends the import.
pub(super) fn or_bad(
    done: Result<(), ImportError>,
    bad: &mut dyn FnMut(ImportError) -> Result<(), ImportError>,
) -> Result<(), ImportError> {
    match done {
        Err(error) if error.is_of_one_record() => bad(error),
        done => done,
    }
}

/// A source's name that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SourceError {
    /// The name cannot be part of an id.
    #[error("`{name}` cannot name a source: {reason}; give it another name (--source)")]
    Name {
        /// The name.
        name: String,
        /// The fault.
        reason: IdError,
    },
    /// The name has a slash, by which the ids of two sources could be the same.
    #[error("`{0}` cannot name a source: it must not have a `/`; give it another name (--source)")]
    Slash(String),
    /// The path ends in no name of a file, or in one that is not text.
    #[error("`{}` has no file name that can name the source; give the source a name (--source)", .0.display())]
    Path(PathBuf),
}
