//! Time travel: a session's events in order, and its read tables as of any of them.
//!
//! The tables of an earlier moment are made by the same fold as the live ones, from the session's
//! events up to that moment, in a database in memory. A session's rows follow from its own events
//! alone, so nothing else has to be read. What was erased since is erased there too.

use std::path::Path;

use rusqlite::{Connection, OptionalExtension};

use crate::event::{Recorded, Seq, SessionId};
use crate::log::open::{self, OpenError};
use crate::log::rows::{self, ReadError, ReadRow};
use crate::projection::apply::{Applier, ApplyError};
use crate::projection::tables::{PROJECTIONS, Stage};
use crate::query::events::{self, Next};
use crate::query::{EventFilter, SessionRecord, session};

/// Events that are read at once.
const EVENTS_AT_ONCE: usize = 256;

/// A replay that cannot be carried out.
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
    #[error("the tables of that moment cannot be made: {0}")]
    Fold(String),
    /// SQLite refused.
    #[error("the log cannot be read: {0}")]
    Sqlite(#[from] rusqlite::Error),
}

impl From<ApplyError> for ReplayError {
    fn from(error: ApplyError) -> ReplayError {
        match error {
            ApplyError::Sqlite(error) => ReplayError::Sqlite(error),
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
/// let started = log.append(Draft::new(SessionStarted::default()).in_session(id.clone()))?.wait()?;
/// log.append(Draft::new(SessionEnded::default()).in_session(id.clone()))?.wait()?;
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
        let log = open::open_reader(path)?;
        log.execute_batch("BEGIN")?;
        Ok(Replay { log, session: session.clone() })
    }

    /// Places of the session's events, up to and with `until`.
    ///
    /// The timeline finds them; what it does not hold yet is looked for in the log itself.
    ///
    /// # Errors
    /// If the log cannot be read.
    pub fn seqs(&self, until: Option<Seq>) -> Result<Vec<Seq>, ReplayError> {
        let filter = EventFilter { session: Some(self.session.to_string()), ..EventFilter::ALL };
        let until = until.unwrap_or(rows::head(&self.log)?.seq);
        let mut seqs = Vec::new();
        events::walk(&self.log, &filter, Seq::ZERO, until, |seq, event| {
            event?;
            seqs.push(seq);
            Ok::<_, ReplayError>(Next::Continue)
        })?;
        Ok(seqs)
    }

    /// The event at a place.
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
        for seq in self.seqs(until)? {
            events.extend(self.event(seq)?);
        }
        Ok(events)
    }

    /// The session's read tables as they stood after `until`, in a database in memory.
    ///
    /// # Errors
    /// If an event cannot be read or folded.
    pub fn tables_as_of(&self, until: Option<Seq>) -> Result<Connection, ReplayError> {
        let then = Connection::open_in_memory()?;
        for projection in &PROJECTIONS {
            projection.create_tables(&then, Stage::Live, 1)?;
        }
        let mut appliers = PROJECTIONS
            .iter()
            .map(|projection| Applier::new(projection, Stage::Live, &then, &self.log))
            .collect::<rusqlite::Result<Vec<_>>>()?;
        then.execute_batch("BEGIN")?;
        for seqs in self.seqs(until)?.chunks(EVENTS_AT_ONCE) {
            let events = seqs.iter().map(|seq| self.row(*seq)).collect::<Result<Vec<_>, _>>()?;
            let events: Vec<ReadRow> = events.into_iter().flatten().collect();
            for applier in &mut appliers {
                applier.apply(&events)?;
            }
        }
        then.execute_batch("COMMIT")?;
        drop(appliers);
        Ok(then)
    }

    /// The session's record as it stood after `until`; None where the session had no events yet.
    ///
    /// # Errors
    /// As [`Replay::tables_as_of`].
    pub fn state(&self, until: Option<Seq>) -> Result<Option<SessionRecord>, ReplayError> {
        Ok(session::load(&self.tables_as_of(until)?, self.session.as_str())?)
    }

    fn row(&self, seq: Seq) -> rusqlite::Result<Option<ReadRow>> {
        self.log
            .prepare_cached("SELECT seq, entry, payload FROM log WHERE seq = ?1")?
            .query_row([seq.to_sql()], rows::read_row)
            .optional()
    }
}
