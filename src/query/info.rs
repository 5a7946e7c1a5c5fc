//! The summary of a log.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use rusqlite::Connection;
use serde::Serialize;

use super::QueryError;
use super::projections::{self, ProjectionStatus};
use crate::event::{Content, Digest, Event, EventId, Seq, Timestamp};
use crate::evidence;
use crate::file::side_file;
use crate::log::rows;

/// A log at a glance: its identity, its size and its state.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Info {
    /// The file.
    pub path: PathBuf,
    /// The log's id: that of its first event.
    pub log_id: EventId,
    /// The log's origin, which is its name; None if its first event cannot be read.
    pub origin: Option<String>,
    /// The program that made it.
    pub made_by: Option<String>,
    /// Number of events.
    pub events: u64,
    /// The link of the last event.
    pub head_hash: Digest,
    /// Time of recording of the first event.
    pub first_recorded_at: Option<Timestamp>,
    /// Time of recording of the last event.
    pub last_recorded_at: Option<Timestamp>,
    /// Version of the file's schema.
    pub schema_version: i64,
    /// Version of the SQLite library.
    pub sqlite_version: &'static str,
    /// Size of the file, in bytes.
    pub file_bytes: u64,
    /// Size of the write-ahead log beside it, in bytes.
    pub wal_bytes: u64,
    /// Size of a page of the file, in bytes.
    pub page_bytes: i64,
    /// State of the projections.
    pub projections: Vec<ProjectionStatus>,
    /// State of the tree, of the checkpoints, and of their anchors.
    pub evidence: evidence::Status,
    /// Number of rows of the main read tables.
    pub rows: BTreeMap<&'static str, u64>,
}

/// The tables whose rows are counted. A count reads an index of the table from end to end.
const COUNTED: [&str; 7] = ["actions", "artifacts", "decisions", "findings", "reviews", "sessions", "steps"];

/// Reads the summary of a log.
pub(crate) fn info(connection: &Connection, path: &Path) -> Result<Info, QueryError> {
    let head = rows::head(connection)?;
    let first = rows::read_at(connection, Seq::FIRST)?;
    // A last event that cannot be read does not prevent the summary; verification reports it.
    let last = rows::read_at(connection, head.seq).ok().flatten();
    let (origin, made_by) = match first.as_ref().map(|first| &first.content) {
        Some(Content::Event(Event::LogCreated(created))) => {
            (Some(created.origin.clone()), Some(created.software.clone()))
        }
        _ => (None, None),
    };
    let pragma = |name| connection.pragma_query_value(None, name, |row| row.get::<_, i64>(0));
    let bytes = |path: &Path| fs::metadata(path).map_or(0, |metadata| metadata.len());
    let mut counts = BTreeMap::new();
    for table in COUNTED {
        let count: i64 = connection
            .prepare_cached(&format!("SELECT count(*) FROM {table}"))?
            .query_row([], |row| row.get(0))?;
        counts.insert(table, u64::try_from(count).unwrap_or(0));
    }
    Ok(Info {
        path: path.to_owned(),
        log_id: rows::log_id(connection)?,
        origin,
        made_by,
        events: head.seq.get(),
        head_hash: head.hash,
        first_recorded_at: first.map(|first| first.recorded_at),
        last_recorded_at: last.map(|last| last.recorded_at),
        schema_version: pragma("user_version")?,
        sqlite_version: rusqlite::version(),
        file_bytes: bytes(path),
        wal_bytes: bytes(&side_file(path, "-wal")),
        page_bytes: pragma("page_size")?,
        projections: projections::status(connection)?,
        evidence: evidence::status(connection)?,
        rows: counts,
    })
}
