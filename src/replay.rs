//! Time travel: a session's events in order, and its read tables as of any of them.
//!
//! The tables of an earlier moment are made by the same fold as the live ones, from the session's events up to that
//! moment, in a scratch database. A session's rows follow from its own events alone, so nothing else has to be read.
//! Content that was erased since is erased there, too.

use std::io::{self, Write};
use std::path::Path;
use std::sync::Arc;

use rusqlite::Connection;

use crate::event::{Json, Recorded, Seq, SessionId};
use crate::limits::{FOLD_BYTES_MAX, FOLD_EVENTS_MAX};
use crate::log::rows::{self, ReadError, ReadRow};
use crate::log::{self, OpenError};
use crate::projection::tables::apply::{Applier, ApplyError, Places, Texts};
use crate::projection::tables::scratch::scratch;
use crate::projection::tables::{PROJECTIONS, Projection, Stage};
use crate::query::events::{self, Next};
use crate::query::{EventFilter, ExtractBounds, SessionExtract, SessionRecord, WriteError, session};
use crate::storage::{StorageError, from_sqlite};

/// Steps of SQLite between two questions whether to stop: some milliseconds of work.
const STEPS_BETWEEN_LOOKS: i32 = 10_000;

/// A replay that fails.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReplayError {
    /// The file cannot be opened.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// An event cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// An event cannot be folded.
    #[error("the state at that moment cannot be computed: {0}")]
    Fold(String),
    /// SQLite refused.
    #[error("the log cannot be read: {0}")]
    Storage(#[from] StorageError),
    /// The output cannot be written.
    #[error("cannot be written: {0}")]
    Write(#[from] io::Error),
}

from_sqlite!(ReplayError);

impl From<WriteError> for ReplayError {
    fn from(error: WriteError) -> ReplayError {
        match error {
            WriteError::Storage(error) => ReplayError::Storage(error),
            WriteError::Write(error) => ReplayError::Write(error),
        }
    }
}

impl From<ApplyError> for ReplayError {
    fn from(error: ApplyError) -> ReplayError {
        match error {
            ApplyError::Sqlite(error) => error.into(),
            ApplyError::Unreadable(reason) => ReplayError::Fold(reason),
        }
    }
}

/// One session of a log, to be followed from its first event on.
///
/// ```
/// use annals::{AuditLog, Draft, SessionEnded, SessionId, SessionStarted};
/// use annals::replay::Replay;
///
/// # let folder = tempfile::tempdir()?;
/// # let path = folder.path().join("audit.db");
/// let id = SessionId::new("s1")?;
/// let log = AuditLog::open(&path)?;
/// let started = log.append(Draft::new(SessionStarted::default()).session(id.clone()))?.wait()?;
/// log.append(Draft::new(SessionEnded::default()).session(id.clone()))?.wait()?;
/// log.close()?;
///
/// let replay = Replay::open(&path, &id)?;
/// assert_eq!(replay.events(None)?.len(), 2);
/// let then = replay.tables_as_of(Some(started.seq))?;
/// let status: String = then.query_row("SELECT status FROM sessions", [], |row| row.get(0))?;
/// assert_eq!(status, "running");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Replay {
    log: Connection,
    session: SessionId,
}

impl Replay {
    /// Opens the log for reading, in one snapshot: what is appended later is not part of the replay.
    ///
    /// # Errors
    /// If the file cannot be opened.
    pub fn open(path: &Path, session: &SessionId) -> Result<Replay, ReplayError> {
        let log = log::open_reader(path)?;
        // SQLite takes the snapshot at the first read after this.
        log.execute_batch("BEGIN")?;
        Ok(Replay { log, session: session.clone() })
    }

    fn moment(&self) -> Moment<'_> {
        Moment { log: &self.log, session: &self.session }
    }

    /// Positions of the session's events, up to and with `until`.
    ///
    /// The timeline finds them. Events that it does not hold yet are searched for in the log itself.
    ///
    /// # Errors
    /// If the log cannot be read.
    pub fn seqs(&self, until: Option<Seq>) -> Result<Vec<Seq>, ReplayError> {
        let mut seqs = Vec::new();
        self.moment().each(until, |row| {
            // An event that cannot be read is an error here as well, and not a gap.
            row.event?;
            seqs.push(row.seq);
            Ok::<_, ReplayError>(Next::Continue)
        })?;
        Ok(seqs)
    }

    /// The event at a position.
    ///
    /// # Errors
    /// If it cannot be read.
    pub fn event(&self, seq: Seq) -> Result<Option<Recorded>, ReplayError> {
        Ok(rows::read_at(&self.log, seq)?)
    }

    /// The session's events in order, up to and with `until`.
    ///
    /// # Errors
    /// If one cannot be read.
    pub fn events(&self, until: Option<Seq>) -> Result<Vec<Recorded>, ReplayError> {
        let mut events = Vec::new();
        self.moment().each(until, |row| {
            events.push(row.event?);
            Ok::<_, ReplayError>(Next::Continue)
        })?;
        Ok(events)
    }

    /// The session's read tables as they stood after `until`, in a database of their own. A large one is kept in a
    /// temporary file.
    ///
    /// # Errors
    /// If an event cannot be read or folded.
    pub fn tables_as_of(&self, until: Option<Seq>) -> Result<Connection, ReplayError> {
        self.moment().fold(until, &PROJECTIONS.each_ref(), None)
    }

    /// The session's record as it stood after `until`; None if the session had no events yet.
    ///
    /// # Errors
    /// As [`Replay::tables_as_of`].
    pub fn state(&self, until: Option<Seq>) -> Result<Option<SessionRecord>, ReplayError> {
        Ok(session::load(&self.moment().fold_record(until, None)?, self.session.as_str())?)
    }

    /// As much of the session's record as fits into these bounds, as it stood after `until`; None if the session had no
    /// events yet.
    ///
    /// # Errors
    /// As [`Replay::tables_as_of`].
    pub(crate) fn state_extract(
        &self,
        until: Option<Seq>,
        bounds: ExtractBounds,
    ) -> Result<Option<SessionExtract>, ReplayError> {
        Ok(session::extract(&self.moment().fold_record(until, None)?, self.session.as_str(), bounds)?)
    }

    /// Writes the session's id, events and state after `until` as one JSON object. Only one event, or one row of the
    /// state, is in memory at a time, however large the session is.
    ///
    /// # Errors
    /// If an event cannot be read or folded, or the object cannot be written; a part of it may have been.
    pub fn write(&self, until: Option<Seq>, out: &mut dyn Write) -> Result<(), ReplayError> {
        self.moment().write(until, None, out)
    }
}

/// A question that long work asks now and then; the answer true stops the work.
pub(crate) type Stop = Arc<dyn Fn() -> bool + Send + Sync>;

/// A session in one snapshot of the log.
pub(crate) struct Moment<'m> {
    pub(crate) log: &'m Connection,
    pub(crate) session: &'m SessionId,
}

impl Moment<'_> {
    /// Passes on the session's events in order, up to and with `until`.
    fn each(
        &self,
        until: Option<Seq>,
        each: impl FnMut(ReadRow) -> Result<Next, ReplayError>,
    ) -> Result<(), ReplayError> {
        let filter = EventFilter { session: Some(self.session.to_string()), ..EventFilter::ALL };
        let until = until.unwrap_or(rows::head(self.log)?.seq);
        events::walk_rows(self.log, &filter, Seq::ZERO, until, each)
    }

    /// Folds the session's events up to and with `until` into tables of their own.
    fn fold(
        &self,
        until: Option<Seq>,
        projections: &[&'static Projection],
        stop: Option<Stop>,
    ) -> Result<Connection, ReplayError> {
        let mut then = scratch()?;
        if let Some(stop) = stop {
            // SQLite asks between its own steps, so a statement that takes long is stopped, too.
            then.progress_handler(STEPS_BETWEEN_LOOKS, Some(move || stop()))?;
        }
        for projection in projections {
            projection.create_tables(&then, Stage::Live, 1)?;
        }
        // The views read texts of this table for rows that refer to a payload. The rows of a replay have their texts
        // (`Texts::Whole`), so the table stays empty.
        then.execute_batch("CREATE TABLE log (seq INTEGER PRIMARY KEY, payload BLOB)")?;
        // Rows are written to the scratch database; everything else is read from the log.
        let places = Places { tables: &then, log: self.log };
        let mut appliers = projections
            .iter()
            .map(|projection| Applier::new(projection, Stage::Live, places, Texts::Whole))
            .collect::<rusqlite::Result<Vec<_>>>()?;
        // One transaction: nobody else sees this database, and after an error all of it is dropped.
        then.execute_batch("BEGIN")?;
        let (mut rows, mut bytes) = (Vec::new(), 0);
        let mut apply = |rows: &mut Vec<ReadRow>| -> Result<(), ReplayError> {
            for applier in &mut appliers {
                applier.apply(&*rows)?;
            }
            rows.clear();
            Ok(())
        };
        // Bounded in events and in bytes, like the live fold. The last part is applied after the walk.
        self.each(until, |row| {
            bytes += row.bytes;
            rows.push(row);
            if rows.len() >= FOLD_EVENTS_MAX || bytes >= FOLD_BYTES_MAX {
                apply(&mut rows)?;
                bytes = 0;
            }
            Ok(Next::Continue)
        })?;
        apply(&mut rows)?;
        drop(appliers);
        then.execute_batch("COMMIT")?;
        Ok(then)
    }

    /// Folds the tables that a [`SessionRecord`] is read from.
    fn fold_record(&self, until: Option<Seq>, stop: Option<Stop>) -> Result<Connection, ReplayError> {
        // Projections with rows of sessions, except those that also serve searching.
        let is_of_sessions = |projection: &&Projection| {
            !projection.has_index() && projection.tables.iter().any(|table| table.session.is_some())
        };
        let projections: Vec<&Projection> = PROJECTIONS.iter().filter(is_of_sessions).collect();
        self.fold(until, &projections, stop)
    }

    /// Writes the session's id, events and state after `until` as one JSON object.
    pub(crate) fn write(
        &self,
        until: Option<Seq>,
        stop: Option<Stop>,
        out: &mut dyn Write,
    ) -> Result<(), ReplayError> {
        out.write_all(b"{\"session_id\":")?;
        out.write_all(Json::text(self.session.as_str()).as_str().as_bytes())?;
        out.write_all(b",\"events\":[")?;
        let mut is_first = true;
        self.each(until, |row| {
            let event = row.event?;
            if !std::mem::take(&mut is_first) {
                out.write_all(b",")?;
            }
            out.write_all(event.to_json().as_bytes())?;
            Ok(Next::Continue)
        })?;
        out.write_all(b"],\"state\":")?;
        let then = self.fold_record(until, stop)?;
        // The object was begun already: a session without events has the state null.
        if !session::write(&then, self.session.as_str(), out)? {
            out.write_all(b"null")?;
        }
        out.write_all(b"}")?;
        Ok(())
    }
}
