//! The projections' thread: reads what is committed, folds it, and commits rows and cursor together.

use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError};
use rusqlite::{Connection, ErrorCode, Transaction};

use super::apply::{Applier, ApplyError};
use super::tables::{self, Cursor, PROJECTIONS, Projection, Stage};
use crate::event::Seq;
use crate::limits::{FOLD_BYTES_MAX, FOLD_EVENTS_MAX};
use crate::log::checkpoint::Checkpoints;
use crate::log::open::{self, Durability, OpenError};
use crate::log::rows::{self, ReadRow};
use crate::log::turns::{Turns, Who};
use crate::progress::{Place, Progress};
use crate::writer::begin;

/// How often the thread looks whether another process appended or changed something.
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// Attempts at what does not depend on the event, made when the log is closed, before the thread
/// gives up.
const ATTEMPTS_AT_CLOSE: u32 = 20;

/// Beyond the end of any log.
const EVERYTHING: Seq = Seq::new(u64::MAX);

/// What the thread is told.
pub(crate) enum Order {
    /// Catch up with the log and end.
    Finish,
}

/// The projections' thread.
pub(crate) struct Worker {
    path: PathBuf,
    connection: Connection,
    progress: Arc<Progress>,
    turns: Arc<Turns>,
    checkpoints: Checkpoints,
}

/// What one attempt at a projection came to.
enum Step {
    /// Nothing is left to do.
    Idle,
    /// Something was done; there may be more.
    Worked,
    /// It cannot be done now; why is in the progress.
    Trouble,
}

/// Events read once for all projections that are at the same place.
type Read = Option<(Seq, Rc<Vec<ReadRow>>)>;

impl Worker {
    /// Opens a connection of its own, and makes tables that the file lacks.
    pub(crate) fn open(path: &Path, progress: Arc<Progress>, turns: Arc<Turns>) -> Result<Worker, OpenError> {
        // Read tables can be made again, and a durable commit of the writer makes what was written
        // before it durable too.
        let (connection, _) = open::open_writer(path, Durability::Normal)?;
        let sqlite = |source| OpenError::sqlite(path, "its read tables cannot be opened", source);
        connection.pragma_update(None, "legacy_alter_table", true).map_err(sqlite)?;
        {
            let _turn = turns
                .take(Who::Projection)
                .map_err(|error| OpenError::io(path, "its lock file cannot be locked", error))?;
            let tx = begin(&connection).map_err(sqlite)?;
            tables::install(&tx).map_err(sqlite)?;
            tx.commit().map_err(sqlite)?;
        }
        let worker =
            Worker { path: path.to_owned(), connection, progress, turns, checkpoints: Checkpoints::new() };
        for projection in &PROJECTIONS {
            let cursor = tables::cursor(&worker.connection, projection.name, Stage::Live).map_err(sqlite)?;
            worker.publish(projection, cursor.as_ref(), None);
        }
        Ok(worker)
    }

    /// Works until it is told to finish.
    pub(crate) fn run(self, wake: &Receiver<()>, orders: &Receiver<Order>) {
        let guard = PanicGuard { progress: self.progress.clone() };
        loop {
            match self.round(EVERYTHING) {
                Step::Worked => continue,
                Step::Idle => {}
                Step::Trouble => std::thread::sleep(LOOK_EVERY / 4),
            }
            match orders.try_recv() {
                Ok(Order::Finish) | Err(crossbeam_channel::TryRecvError::Disconnected) => break,
                Err(crossbeam_channel::TryRecvError::Empty) => {}
            }
            match wake.recv_timeout(LOOK_EVERY) {
                Ok(()) | Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => break,
            }
        }
        // What other processes append from now on is theirs to fold: waiting for the end of that, a log
        // might never close.
        let until = self.progress.committed();
        let mut attempts = 0;
        while attempts < ATTEMPTS_AT_CLOSE {
            match self.round(until) {
                Step::Idle => break,
                Step::Worked => attempts = 0,
                Step::Trouble => {
                    attempts += 1;
                    std::thread::sleep(LOOK_EVERY / 4);
                }
            }
        }
        drop(guard);
        self.progress.set_worker_gone(Arc::from("it was closed"));
    }

    /// One bounded transaction for each projection that does not hold the events up to `until`.
    fn round(&self, until: Seq) -> Step {
        let mut read = None;
        let mut result = Step::Idle;
        for projection in &PROJECTIONS {
            for stage in [Stage::Live, Stage::Building] {
                match self.step(projection, stage, until, &mut read) {
                    Ok(Step::Worked) if !matches!(result, Step::Trouble) => result = Step::Worked,
                    Ok(Step::Trouble) => result = Step::Trouble,
                    Ok(_) => {}
                    Err(error) => {
                        let cursor =
                            tables::cursor(&self.connection, projection.name, Stage::Live).ok().flatten();
                        self.publish(projection, cursor.as_ref(), Some(error.to_string()));
                        result = Step::Trouble;
                    }
                }
            }
        }
        result
    }

    /// Takes a projection's tables of one stage forward. An error is one that does not depend on
    /// the event: it is tried again.
    fn step(
        &self,
        projection: &'static Projection,
        stage: Stage,
        until: Seq,
        read: &mut Read,
    ) -> rusqlite::Result<Step> {
        let Some(cursor) = tables::cursor(&self.connection, projection.name, stage)? else {
            return Ok(Step::Idle);
        };
        if stage == Stage::Live {
            self.publish(projection, Some(&cursor), None);
            if cursor.version < projection.version {
                return self.ensure_rebuild(projection);
            }
        }
        if cursor.version != projection.version || cursor.stopped.is_some() {
            return Ok(Step::Idle);
        }
        let head = rows::head(&self.connection)?.seq;
        if cursor.position >= head.min(until) && stage == Stage::Live {
            return Ok(Step::Idle);
        }
        let events = match read {
            Some((position, events)) if *position == cursor.position => events.clone(),
            _ => {
                let events = rows::read_after(
                    &self.connection,
                    cursor.position,
                    head,
                    FOLD_EVENTS_MAX,
                    FOLD_BYTES_MAX,
                )?;
                read.insert((cursor.position, Rc::new(events))).1.clone()
            }
        };
        match self.fold(projection, stage, &cursor, &events) {
            Ok(Folded::Committed(position)) => {
                // The writer may have nothing to do while a rebuild writes.
                self.checkpoints.if_large(&self.connection, &self.path, &self.turns, Who::Projection);
                if stage == Stage::Live {
                    self.publish(projection, Some(&Cursor { position, ..cursor }), None);
                }
                Ok(Step::Worked)
            }
            Ok(Folded::SomebodyElseDid) => Ok(Step::Worked),
            Err(error) if is_about_the_event(&error) => {
                self.find_culprit(projection, stage, &cursor, &events)
            }
            Err(ApplyError::Sqlite(error)) => Err(error),
            // Not reached: it is about the event.
            Err(ApplyError::Unreadable(_)) => Ok(Step::Trouble),
        }
    }

    /// Folds events and moves the cursor, in one transaction, unless somebody else moved it.
    fn fold(
        &self,
        projection: &'static Projection,
        stage: Stage,
        cursor: &Cursor,
        events: &[ReadRow],
    ) -> Result<Folded, ApplyError> {
        let _turn = self.turns.take(Who::Projection).map_err(turn_error)?;
        let tx = begin(&self.connection)?;
        if tables::cursor(&tx, projection.name, stage)?.as_ref() != Some(cursor) {
            return Ok(Folded::SomebodyElseDid);
        }
        Applier::new(projection, stage, &tx, &tx)?.apply(events)?;
        let position = events.last().map_or(cursor.position, |event| event.seq);
        if !tables::advance(&tx, projection.name, stage, cursor, position)? {
            return Ok(Folded::SomebodyElseDid);
        }
        if stage == Stage::Building && position >= rows::head(&tx)?.seq {
            projection.switch(&tx)?;
        }
        tx.commit()?;
        Ok(Folded::Committed(position))
    }

    /// After a batch that cannot be applied: folds what comes before the event that is to blame, and
    /// stops at that event.
    fn find_culprit(
        &self,
        projection: &'static Projection,
        stage: Stage,
        cursor: &Cursor,
        events: &[ReadRow],
    ) -> rusqlite::Result<Step> {
        let mut cursor = cursor.clone();
        for event in events {
            match self.fold(projection, stage, &cursor, std::slice::from_ref(event)) {
                Ok(Folded::Committed(position)) => cursor.position = position,
                Ok(Folded::SomebodyElseDid) => return Ok(Step::Worked),
                Err(error) if is_about_the_event(&error) => {
                    self.stop(projection, stage, &cursor, event.seq, &error.to_string())?;
                    return Ok(Step::Worked);
                }
                Err(ApplyError::Sqlite(error)) => return Err(error),
                Err(ApplyError::Unreadable(_)) => return Ok(Step::Trouble),
            }
        }
        Ok(Step::Worked)
    }

    fn stop(
        &self,
        projection: &'static Projection,
        stage: Stage,
        cursor: &Cursor,
        seq: Seq,
        error: &str,
    ) -> rusqlite::Result<()> {
        let Ok(_turn) = self.turns.take(Who::Projection) else { return Ok(()) };
        let tx = begin(&self.connection)?;
        tx.execute(
            "UPDATE projections SET stopped_at = ?1, error = ?2
             WHERE name = ?3 AND stage = ?4 AND version = ?5 AND generation = ?6 AND position = ?7",
            rusqlite::params![
                rows::seq_to_sql(seq),
                error,
                projection.name,
                stage.as_str(),
                cursor.version,
                cursor.generation,
                rows::seq_to_sql(cursor.position),
            ],
        )?;
        tx.commit()
    }

    /// Starts the rebuild to this version, unless one is under way.
    fn ensure_rebuild(&self, projection: &'static Projection) -> rusqlite::Result<Step> {
        let under_way = |connection: &Connection| -> rusqlite::Result<bool> {
            let building = tables::cursor(connection, projection.name, Stage::Building)?;
            Ok(building.is_some_and(|building| building.version >= projection.version))
        };
        if under_way(&self.connection)? {
            return Ok(Step::Idle);
        }
        let Ok(_turn) = self.turns.take(Who::Projection) else { return Ok(Step::Trouble) };
        let tx: Transaction<'_> = begin(&self.connection)?;
        if !under_way(&tx)? {
            projection.start_rebuild(&tx)?;
        }
        tx.commit()?;
        Ok(Step::Worked)
    }

    /// Tells the rest of the process where a projection is.
    fn publish(&self, projection: &'static Projection, cursor: Option<&Cursor>, trouble: Option<String>) {
        let stopped = cursor.and_then(|cursor| match &cursor.stopped {
            Some(stopped) => Some(format!("event {} cannot be applied: {}", stopped.seq, stopped.error)),
            None if cursor.version > projection.version => Some(format!(
                "its tables have version {}, this version of Annals knows {}; use the newer one",
                cursor.version, projection.version
            )),
            None => None,
        });
        self.progress.set_place(
            projection.name,
            Place {
                position: cursor.map_or(Seq::ZERO, |cursor| cursor.position),
                stopped: stopped.map(Arc::from),
                trouble: trouble.map(Arc::from),
            },
        );
    }
}

enum Folded {
    Committed(Seq),
    SomebodyElseDid,
}

fn turn_error(error: std::io::Error) -> ApplyError {
    ApplyError::Sqlite(rusqlite::Error::ToSqlConversionFailure(Box::new(error)))
}

/// Whether trying again cannot help: the event, or the table that it goes to, is to blame. All other
/// errors are about the file, the disk or the moment.
fn is_about_the_event(error: &ApplyError) -> bool {
    match error {
        ApplyError::Unreadable(_) => true,
        ApplyError::Sqlite(error) => match error.sqlite_error_code() {
            Some(code) => matches!(
                code,
                ErrorCode::ConstraintViolation
                    | ErrorCode::TypeMismatch
                    | ErrorCode::TooBig
                    | ErrorCode::Unknown
            ),
            None => !matches!(error, rusqlite::Error::ToSqlConversionFailure(_)),
        },
    }
}

/// Says so when the thread panics: nobody would fold any more.
struct PanicGuard {
    progress: Arc<Progress>,
}

impl Drop for PanicGuard {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.progress.set_worker_gone(Arc::from("it panicked"));
        }
    }
}
