//! The read side: a connection that only reads, and the queries that it answers.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use rusqlite::Connection;

use crate::apikey::{self, ApiKeyRecord, KeysError};
use crate::event::{Continues, Digest, Recorded, Seq};
use crate::evidence::{self, TreeReader};
use crate::log::still::Still;
use crate::log::{self, OpenError, Reading};
use crate::log::{Head, ReadError, rows};
use crate::merkle::root_at;
use crate::note::SignedCheckpoint;
use crate::query::{
    self, EventFilter, ExtractBounds, Found, Hit, Info, ProjectionStatus, QueryError, RowSink, SearchFilter,
    SessionExtract, SessionFilter, SessionPage, SessionRecord, SqlError, WriteError,
};

/// A log that is open for reading. Nothing can be written through it, and others go on appending while it answers.
///
/// Every answer is of one moment. The read tables may be behind the log by up to [`Reader::lag`] events.
///
/// ```
/// use annals::{AuditLog, Draft, NoteLogged, Reader};
/// use annals::query::SearchFilter;
///
/// # let folder = tempfile::tempdir()?;
/// # let path = folder.path().join("audit.db");
/// let log = AuditLog::open(&path)?;
/// log.append(Draft::new(NoteLogged { message: "cache is cold".into(), ..Default::default() }))?;
/// log.close()?;
///
/// let reader = Reader::open(&path)?;
/// let hits = reader.search(&SearchFilter::new("cold"))?;
/// assert_eq!(hits.len(), 1);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Reader {
    path: PathBuf,
    connection: Connection,
    still: Option<Still>,
    lacks_wal: bool,
}

impl fmt::Debug for Reader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reader").field("path", &self.path).finish_non_exhaustive()
    }
}

impl Reader {
    /// Opens the log at `path`, which must be there.
    ///
    /// # Errors
    /// If the file cannot be opened, or is not a log; the error states what to do.
    pub fn open(path: impl Into<PathBuf>) -> Result<Reader, OpenError> {
        let path = path.into();
        let Reading { connection, still, lacks_wal } = log::open_reading(&path)?;
        Ok(Reader { path, connection, still, lacks_wal })
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// A warning for the users of the file: it was marked as open when it was opened for reading, but no write-ahead
    /// log lay beside it.
    pub fn caution(&self) -> Option<String> {
        self.lacks_wal.then(|| {
            format!(
                "{}: is marked as open, but has no write-ahead log beside it; if this is a copy, it was made without the `-wal` file and lacks its last events",
                self.path.display()
            )
        })
    }

    /// Answers from one moment: commits of others meanwhile are not seen.
    pub(crate) fn at_one_moment<T, E: From<rusqlite::Error>>(
        &self,
        answer: impl FnOnce(&Connection) -> Result<T, E>,
    ) -> Result<T, E> {
        // Dropped without a commit, which ends the snapshot.
        let moment = self.connection.unchecked_transaction()?;
        let answer = answer(&moment);
        // The check follows the reads, so it covers all of them. It comes before the answer, also if that is an error.
        self.require_still()?;
        answer
    }

    /// Refuses an answer from a file that was read as an unchanging one, if the file was changed.
    fn require_still(&self) -> rusqlite::Result<()> {
        let still = self.still.as_ref().map_or(Ok(()), Still::require);
        still.map_err(|error| rusqlite::Error::ToSqlConversionFailure(Box::new(error)))
    }

    /// The log's own name: the first line of its checkpoints.
    ///
    /// # Errors
    /// If the first event cannot be read.
    pub fn origin(&self) -> Result<String, ReadError> {
        self.at_one_moment(evidence::origin_of)
    }

    /// The last checkpoint that was signed, with the cosignatures that witnesses gave to it. Verify it
    /// before you believe it.
    ///
    /// # Errors
    /// If the file cannot be read.
    pub fn last_checkpoint(&self) -> Result<Option<SignedCheckpoint>, QueryError> {
        self.at_one_moment(|connection| Ok(evidence::newest(connection)?))
    }

    /// Passes on what anchors returned for checkpoints, such as time stamps, with the checkpoints as they are now. It
    /// ends when `take` fails.
    ///
    /// # Errors
    /// If the file cannot be read, or `take` fails.
    pub(crate) fn each_anchor_receipt<E: From<QueryError>>(
        &self,
        mut take: impl FnMut(evidence::AnchorReceipt) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut failed = None;
        let read = self.at_one_moment(|connection| {
            evidence::each_receipt(connection, &mut |receipt| {
                // The query carries only SQLite's errors: the caller's own waits in `failed`, and wins below.
                take(receipt).map_err(|error| {
                    failed = Some(error);
                    rusqlite::Error::InvalidQuery
                })
            })
        });
        // The caller's error wins: SQLite's only ended the query.
        match (failed, read) {
            (Some(error), _) => Err(error),
            (None, read) => read.map_err(|error| QueryError::from(error).into()),
        }
    }

    /// The name, size and root that a log which follows this one records.
    ///
    /// # Errors
    /// If the log cannot be read, or an event does not follow from the one before.
    pub fn as_continued(&self) -> Result<Continues, evidence::SignError> {
        self.at_one_moment(|connection| {
            let (origin, size) = (evidence::origin_of(connection)?, rows::head(connection)?.seq.get());
            let root = root_at(&mut TreeReader::new(connection)?, size)?;
            Ok(Continues { origin, size, root: Digest::from_bytes(*root.bytes()) })
        })
    }

    /// The state of the tree, the checkpoints and their anchors, as the file records it.
    ///
    /// # Errors
    /// If the file cannot be read.
    pub fn evidence(&self) -> Result<evidence::Status, QueryError> {
        self.at_one_moment(|connection| Ok(evidence::status(connection)?))
    }

    /// Every API key that was ever created, the newest first. It is read from the log, so it is complete even if the
    /// read tables are behind.
    ///
    /// # Errors
    /// If the file cannot be read.
    pub fn api_keys(&self) -> Result<Vec<ApiKeyRecord>, KeysError> {
        self.at_one_moment(apikey::read)
    }

    /// The head of the log.
    ///
    /// # Errors
    /// If the file cannot be read.
    pub fn head(&self) -> Result<Head, QueryError> {
        self.at_one_moment(|connection| Ok(rows::head(connection)?))
    }

    /// Events of the log that at least one read table does not hold yet.
    ///
    /// # Errors
    /// If the file cannot be read.
    pub fn lag(&self) -> Result<u64, QueryError> {
        // The projection that is furthest behind decides: an answer may use any of them.
        Ok(self.projections()?.iter().map(|projection| projection.lag).max().unwrap_or(0))
    }

    /// A page of the sessions that fit, newest first.
    ///
    /// # Errors
    /// If the file cannot be read, or the filter's text has no words.
    pub fn sessions(&self, filter: &SessionFilter) -> Result<SessionPage, QueryError> {
        self.at_one_moment(|connection| query::sessions::page(connection, filter))
    }

    /// The session that a reference means: the id of a session or of a conversation, or the beginning of a session's
    /// id.
    ///
    /// # Errors
    /// If the file cannot be read.
    pub fn find(&self, reference: &str) -> Result<Found, QueryError> {
        self.at_one_moment(|connection| Ok(query::find::find(connection, reference)?))
    }

    /// A session with everything that belongs to it, if there is one with this id.
    ///
    /// # Errors
    /// If the file cannot be read.
    pub fn session(&self, id: &str) -> Result<Option<SessionRecord>, QueryError> {
        self.at_one_moment(|connection| Ok(query::session::load(connection, id)?))
    }

    /// Two sessions side by side, if there are sessions with these ids.
    ///
    /// ```
    /// # let folder = tempfile::tempdir()?;
    /// # let path = folder.path().join("audit.db");
    /// use annals::{AuditLog, Reader};
    ///
    /// let log = AuditLog::open(&path)?;
    /// for (id, answer) in [("a", "yes"), ("b", "no")] {
    ///     let session = log.session("claims").id(id).start()?;
    ///     session.step("answer").input("covered?").start()?.end().output(answer).succeeded()?;
    ///     session.end().completed()?.wait()?;
    /// }
    /// log.close()?;
    /// let diff = Reader::open(&path)?.diff("a", "b")?.ok_or("no such session")?;
    /// assert_eq!(diff.first_divergence, Some(0));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// If the file cannot be read.
    pub fn diff(&self, first: &str, second: &str) -> Result<Option<query::SessionDiff>, QueryError> {
        self.at_one_moment(|connection| Ok(query::diff::diff(connection, first, second)?))
    }

    /// The beginning of the texts of a step, if there is one with these ids.
    pub(crate) fn step_texts(
        &self,
        session: &str,
        step: &str,
    ) -> Result<Option<query::diff::StepTexts>, QueryError> {
        self.at_one_moment(|connection| Ok(query::diff::step_texts(connection, session, step)?))
    }

    /// As much of a session as fits into these bounds, if there is a session with this id.
    ///
    /// # Errors
    /// If the file cannot be read.
    pub(crate) fn session_extract(
        &self,
        id: &str,
        bounds: ExtractBounds,
    ) -> Result<Option<SessionExtract>, QueryError> {
        self.at_one_moment(|connection| Ok(query::session::extract(connection, id, bounds)?))
    }

    /// Writes the JSON form of a [`SessionRecord`]. Returns false if no session has this id. Only one row of the
    /// session is in memory at a time, however large it is.
    ///
    /// # Errors
    /// If the file cannot be read, or the session cannot be written; a part of it may have been written.
    pub(crate) fn write_session(&self, id: &str, out: &mut dyn io::Write) -> Result<bool, WriteError> {
        self.at_one_moment(|connection| query::session::write(connection, id, out))
    }

    /// The events after `after` that fit, in order, at most `limit`.
    ///
    /// # Errors
    /// If the file, or one of the events, cannot be read.
    pub fn events(&self, filter: &EventFilter, after: Seq, limit: usize) -> Result<Vec<Recorded>, ReadError> {
        self.at_one_moment(|connection| query::events::after(connection, filter, after, limit))
    }

    /// The events after `after` that fit, in order, at most `limit`, until their payloads have `bytes` together. An
    /// empty list means that no event fits.
    ///
    /// # Errors
    /// If the file, or one of the events, cannot be read.
    pub(crate) fn events_within(
        &self,
        filter: &EventFilter,
        after: Seq,
        limit: usize,
        bytes: usize,
    ) -> Result<Vec<Recorded>, ReadError> {
        self.at_one_moment(|connection| query::events::within(connection, filter, after, limit, bytes))
    }

    /// The last events that fit, in order, at most `limit`.
    ///
    /// # Errors
    /// If the file, or one of the events, cannot be read.
    pub fn last_events(&self, filter: &EventFilter, limit: usize) -> Result<Vec<Recorded>, ReadError> {
        self.at_one_moment(|connection| query::events::last(connection, filter, limit))
    }

    /// The sequence number after which the last `limit` events that fit stand, or all of them if there are fewer:
    /// [`Reader::events`] reads them from there in pages.
    ///
    /// # Errors
    /// If the file cannot be read.
    pub(crate) fn before_last_events(&self, filter: &EventFilter, limit: usize) -> Result<Seq, ReadError> {
        self.at_one_moment(|connection| query::events::before_last(connection, filter, limit))
    }

    /// A page of rows that belong to sessions.
    pub(crate) fn list<R: query::lists::Listed>(
        &self,
        filter: &query::lists::ListFilter,
    ) -> Result<query::lists::Page<R>, QueryError> {
        self.at_one_moment(|connection| Ok(query::lists::page(connection, filter)?))
    }

    /// Returns true if there is a session with this id.
    pub(crate) fn has_session(&self, id: &str) -> Result<bool, QueryError> {
        self.at_one_moment(|connection| Ok(query::lists::has_session(connection, id)?))
    }

    /// A page of events, bounded also in bytes.
    pub(crate) fn event_page(
        &self,
        filter: &EventFilter,
        after: Seq,
        limit: usize,
        bytes_max: usize,
    ) -> Result<query::events::EventPage, ReadError> {
        self.at_one_moment(|connection| query::events::page(connection, filter, after, limit, bytes_max))
    }

    /// A handle that interrupts an answer from another thread.
    pub(crate) fn interrupt_handle(&self) -> rusqlite::InterruptHandle {
        self.connection.get_interrupt_handle()
    }

    /// The event at a position, if there is one.
    ///
    /// # Errors
    /// If the file, or the event, cannot be read.
    pub fn event(&self, seq: Seq) -> Result<Option<Recorded>, ReadError> {
        self.at_one_moment(|connection| rows::read_at(connection, seq))
    }

    /// The events whose texts match the search.
    ///
    /// # Errors
    /// If the file cannot be read, or there are no words in the text.
    pub fn search(&self, filter: &SearchFilter) -> Result<Vec<Hit>, QueryError> {
        self.at_one_moment(|connection| query::search::search(connection, filter))
    }

    /// Answers one SQL statement, on a connection of its own that can only read this file.
    ///
    /// # Errors
    /// If the statement does anything else, SQLite refuses it, or the sink does.
    pub fn sql(&self, statement: &str, sink: &mut dyn RowSink) -> Result<(), SqlError> {
        // The restrictions of `only_reads` would otherwise stay on this reader's connection.
        let Reading { mut connection, still, .. } = log::open_reading(&self.path)?;
        query::guard::only_reads(&mut connection)?;
        let answered = query::sql::run(&connection, statement, &[], sink);
        // This connection has a look of its own at the file, taken when it was opened.
        still.as_ref().map_or(Ok(()), Still::require)?;
        answered
    }

    /// A summary of the log.
    ///
    /// # Errors
    /// If the file cannot be read.
    pub fn info(&self) -> Result<Info, QueryError> {
        self.at_one_moment(|connection| query::info::info(connection, &self.path))
    }

    /// The status of the projections.
    ///
    /// # Errors
    /// If the file cannot be read.
    pub fn projections(&self) -> Result<Vec<ProjectionStatus>, QueryError> {
        self.at_one_moment(|connection| Ok(query::projections::status(connection)?))
    }
}
