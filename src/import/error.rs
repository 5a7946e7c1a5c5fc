//! What can be wrong with a source, and where in it.

use std::error::Error;
use std::fmt;
use std::io;
use std::path::PathBuf;

use crate::limits::SESSION_ID_BYTES_MAX;
use crate::storage::StorageError;
use crate::{IdError, InvalidField};

/// Why the receiver of the drafts did not take one.
pub type SinkError = Box<dyn Error + Send + Sync>;

/// A place in a source.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Place {
    /// A record of a JSON list; the first one is 0.
    Record(usize),
    /// What follows the list.
    End,
    /// A row of a table.
    Row {
        /// The table.
        table: &'static str,
        /// The row's primary key.
        id: String,
    },
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Place::Record(index) => write!(f, "record {index} (the first is 0)"),
            Place::End => f.write_str("after the last record"),
            Place::Row { table, id } => write!(f, "table `{table}`, row `{id}`"),
        }
    }
}

/// A source that cannot be imported, or not further. Drafts of what came before it have been
/// handed over; to import again, once the cause is gone, adds only what is missing.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ImportError {
    /// There is nothing in it.
    #[error("the file is empty; expected {expected}")]
    Empty {
        /// What it should be.
        expected: &'static str,
    },
    /// It is something else altogether.
    #[error("this is not {expected}: {reason}")]
    WrongFile {
        /// What it should be.
        expected: &'static str,
        /// What it is, or where it differs first.
        reason: String,
    },
    /// It cannot be read.
    #[error("cannot be read: {0}")]
    Read(#[source] io::Error),
    /// There is no such file, or it may not be opened.
    #[error("`{}` cannot be opened: {source}", path.display())]
    Open {
        /// The file.
        path: PathBuf,
        /// Why.
        source: StorageError,
    },
    /// A record is not JSON, or not an object.
    #[error("{place}: {reason}")]
    Malformed {
        /// The record.
        place: Place,
        /// What is wrong with it.
        reason: String,
    },
    /// A field is missing or has a wrong value.
    #[error("{place}: field `{field}`: {reason}")]
    Field {
        /// The record or row.
        place: Place,
        /// The field, as a path where it is inside another.
        field: String,
        /// What is wrong with it.
        reason: String,
    },
    /// Two records are the same session: their events would contradict each other.
    #[error(
        "{place}: session `{session}` stood in the file before; \
         import what belongs to different runs from files of their own"
    )]
    Repeated {
        /// The second record.
        place: Place,
        /// The session.
        session: String,
    },
    /// Source and position do not make an id.
    #[error(
        "{place}: `{id}` cannot be the id of a session: {reason}; \
         where it is too long ({SESSION_ID_BYTES_MAX} bytes at most), give the source a shorter name (--source)"
    )]
    SessionId {
        /// The record or row.
        place: Place,
        /// What the id would be.
        id: String,
        /// What is wrong with it.
        reason: IdError,
    },
    /// An event made from the record cannot be recorded.
    #[error("{place}: {source}")]
    Invalid {
        /// The record or row.
        place: Place,
        /// The event's field, and what is wrong with it.
        source: InvalidField,
    },
    /// SQLite cannot read the file on.
    #[error("reading table `{table}`: {source}")]
    Storage {
        /// The table.
        table: &'static str,
        /// What SQLite says.
        source: StorageError,
    },
    /// The receiver of the drafts did not take one.
    #[error("cannot be recorded: {0}")]
    Sink(#[source] SinkError),
}

/// A source's name that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SourceError {
    /// It cannot be part of an id.
    #[error("`{name}` cannot name a source: {reason}; give it another name (--source)")]
    Name {
        /// The name.
        name: String,
        /// What is wrong with it.
        reason: IdError,
    },
    /// With a slash in it, the ids of two sources could be the same.
    #[error("`{0}` cannot name a source: it must not have a `/`; give it another name (--source)")]
    Slash(String),
    /// The path ends in no name of a file, or in one that is not text.
    #[error("`{}` has no file name to name the source by; give it one (--source)", .0.display())]
    Path(PathBuf),
}
