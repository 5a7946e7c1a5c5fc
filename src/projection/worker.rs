//! The projections' thread: reads what is committed, folds it, and commits rows and cursor together.

use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError};
use rusqlite::{Connection, ErrorCode, Transaction};

use super::apply::{Applier, ApplyError};
use super::tables::{self, Cursor, PROJECTIONS, Projection, Stage, StoppedAt};
use crate::event::Seq;
use crate::limits::{FOLD_BYTES_MAX, FOLD_EVENTS_MAX};
use crate::log::FileIdentity;
use crate::log::checkpoint::Checkpoints;
use crate::log::open::{self, Durability, OpenError};
use crate::log::rows::{self, ReadRow};
use crate::log::turns::{Turn, Turns, Who, begin};
use crate::progress::{Place, Progress};

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
    database: FileIdentity,
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
        let (connection, database, checkpoints) = connect(path)?;
        let sqlite = |source| OpenError::sqlite(path, "its read tables cannot be opened", source);
        {
            let _turn = turns
                .take(Who::Projection)
                .map_err(|error| OpenError::io(path, "its lock file cannot be locked", error))?;
            let tx = begin(&connection).map_err(sqlite)?;
            tables::install(&tx).map_err(sqlite)?;
            stop_where_ahead(&tx).map_err(sqlite)?;
            tx.commit().map_err(sqlite)?;
        }
        let worker = Worker { path: path.to_owned(), connection, database, progress, turns, checkpoints };
        for projection in &PROJECTIONS {
            worker.publish(projection, None).map_err(sqlite)?;
        }
        Ok(worker)
    }

    /// Works until it is told to finish.
    pub(crate) fn run(mut self, wake: &Receiver<()>, orders: &Receiver<Order>) {
        let guard = PanicGuard { progress: self.progress.clone() };
        loop {
            let step = self.round(EVERYTHING);
            // Also while there is work: with another process appending, there may always be some.
            match orders.try_recv() {
                Ok(Order::Finish) | Err(crossbeam_channel::TryRecvError::Disconnected) => break,
                Err(crossbeam_channel::TryRecvError::Empty) => {}
            }
            match step {
                Step::Worked => continue,
                Step::Idle => {}
                Step::Trouble => {
                    std::thread::sleep(LOOK_EVERY / 4);
                    self.reconnect();
                }
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
                    self.reconnect();
                }
            }
        }
        // In a turn, as the writer.
        let turn = self.turns.take(Who::Projection);
        drop(self.connection);
        drop(turn);
        drop(guard);
        self.progress.set_worker_gone(Arc::from("it was closed"));
    }

    /// Opens the connection anew after an error: FTS5 keeps numbers in memory that a read which failed
    /// leaves wrong, and would write them later. Where that fails too the old one is tried again.
    fn reconnect(&mut self) {
        // Another file in this one's place is not even looked at.
        if self.database.require_at(&self.path).is_err() {
            return;
        }
        if let Ok((connection, database, checkpoints)) = connect(&self.path)
            && database == self.database
        {
            self.connection = connection;
            self.checkpoints = checkpoints;
        }
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
                        // If not even the cursors can be read, what was known of them stays.
                        let _ = self.publish(projection, Some(error.to_string()));
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
            self.publish(projection, None)?;
            if cursor.version < projection.version {
                return self.ensure_rebuild(projection);
            }
        }
        if cursor.version != projection.version || cursor.stopped.is_some() {
            return Ok(Step::Idle);
        }
        let head = rows::head(&self.connection)?.seq;
        if cursor.position > head {
            let _turn = self.take_turn()?;
            let tx = begin(&self.connection)?;
            stop_where_ahead(&tx)?;
            tx.commit()?;
            return Ok(Step::Worked);
        }
        if cursor.position >= head.min(until) && stage == Stage::Live {
            return Ok(Step::Idle);
        }
        let events = match read {
            Some((position, events)) if *position == cursor.position => events.clone(),
            _ => {
                match rows::read_after(
                    &self.connection,
                    cursor.position,
                    head,
                    FOLD_EVENTS_MAX,
                    FOLD_BYTES_MAX,
                ) {
                    Ok(events) => read.insert((cursor.position, Rc::new(events))).1.clone(),
                    Err(error) if is_damage(&error) => {
                        self.stop(projection, stage, &cursor, cursor.position.next(), &error.to_string())?;
                        return Ok(Step::Worked);
                    }
                    Err(error) => return Err(error),
                }
            }
        };
        match self.fold(projection, stage, &cursor, &events) {
            Ok(Folded::Committed) => {
                // The writer may have nothing to do while a rebuild writes.
                self.checkpoints.if_large(&self.connection, &self.turns, Who::Projection);
                self.publish(projection, None)?;
                Ok(Step::Worked)
            }
            Ok(Folded::SomebodyElseDid) => Ok(Step::Worked),
            Err(error) if is_about_the_event(&error) && !events.is_empty() => {
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
        let _turn = self.take_turn()?;
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
        Ok(Folded::Committed)
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
                Ok(Folded::Committed) => cursor.position = event.seq,
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
        let _turn = self.take_turn()?;
        let tx = begin(&self.connection)?;
        tables::stop(&tx, projection.name, stage, cursor, seq, error)?;
        tx.commit()
    }

    /// A turn at writing. What keeps it from one is told like any error that does not depend on the
    /// event: by the status, and tried again.
    fn take_turn(&self) -> rusqlite::Result<Turn<'_>> {
        self.turns
            .take(Who::Projection)
            .map_err(|error| rusqlite::Error::ToSqlConversionFailure(Box::new(error)))
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
        let _turn = self.take_turn()?;
        let tx: Transaction<'_> = begin(&self.connection)?;
        if !under_way(&tx)? {
            projection.start_rebuild(&tx)?;
        }
        tx.commit()?;
        Ok(Step::Worked)
    }

    /// Tells the rest of the process where a projection is.
    fn publish(&self, projection: &'static Projection, trouble: Option<String>) -> rusqlite::Result<()> {
        let live = tables::cursor(&self.connection, projection.name, Stage::Live)?;
        let building = tables::cursor(&self.connection, projection.name, Stage::Building)?;
        let rebuild_stopped = building
            .and_then(|building| building.stopped)
            .map(|stopped| format!("its rebuild stopped: {}", why_stopped(&stopped)));
        let Some(Cursor { version, position, stopped, .. }) = live else { return Ok(()) };
        let known = projection.version;
        let place = match stopped {
            Some(stopped) => Place {
                // Where the log was cut off the tables hold events that are no longer there.
                position: position.min(Seq::new(stopped.seq.get().saturating_sub(1))),
                stopped: Some(why_stopped(&stopped).into()),
                trouble: trouble.map(Arc::from),
            },
            None if version > known => Place {
                position,
                stopped: Some(
                    format!(
                        "its tables have version {version}, this version of Annals knows {known}; use the newer one"
                    )
                    .into(),
                ),
                trouble: trouble.map(Arc::from),
            },
            // Only the rebuild would take tables of an older version on.
            None if version < known => Place {
                position,
                stopped: rebuild_stopped.map(Arc::from),
                trouble: trouble.map(Arc::from),
            },
            None => {
                Place { position, stopped: None, trouble: trouble.or(rebuild_stopped).map(Arc::from) }
            }
        };
        self.progress.set_place(projection.name, place);
        Ok(())
    }
}

fn connect(path: &Path) -> Result<(Connection, FileIdentity, Checkpoints), OpenError> {
    let (mut connection, files) = open::open_writer(path, Durability::Normal)?;
    let sqlite = |source| OpenError::sqlite(path, "its read tables cannot be opened", source);
    connection.pragma_update(None, "legacy_alter_table", true).map_err(sqlite)?;
    let checkpoints = Checkpoints::watch(&mut connection).map_err(sqlite)?;
    Ok((connection, files.database, checkpoints))
}

fn why_stopped(stopped: &StoppedAt) -> String {
    format!("event {} cannot be applied: {}", stopped.seq, stopped.error)
}

/// Stops the projections whose tables hold events that the log no longer has: what is appended in
/// their place must not be taken for them.
fn stop_where_ahead(tx: &Transaction<'_>) -> rusqlite::Result<()> {
    let head = rows::head(tx)?.seq;
    for projection in &PROJECTIONS {
        for stage in [Stage::Live, Stage::Building] {
            match tables::cursor(tx, projection.name, stage)? {
                Some(cursor) if cursor.position > head && cursor.stopped.is_none() => {
                    let error = format!(
                        "the log ends at event {head}, and the tables hold events up to {}: it was cut off or replaced by an older copy; verify it, then rebuild the projection",
                        cursor.position
                    );
                    tables::stop(tx, projection.name, stage, &cursor, head.next(), &error)?;
                }
                _ => {}
            }
        }
    }
    Ok(())
}

enum Folded {
    Committed,
    SomebodyElseDid,
}

/// Whether trying again cannot help: the event, or the table that it goes to, is to blame. All other
/// errors are about the file, the disk or the moment.
fn is_about_the_event(error: &ApplyError) -> bool {
    match error {
        ApplyError::Unreadable(_) => true,
        ApplyError::Sqlite(error) => match error.sqlite_error_code() {
            Some(code) => {
                is_damage(error)
                    || matches!(
                        code,
                        ErrorCode::ConstraintViolation
                            | ErrorCode::TypeMismatch
                            | ErrorCode::TooBig
                            | ErrorCode::Unknown
                    )
            }
            None => !matches!(error, rusqlite::Error::ToSqlConversionFailure(_)),
        },
    }
}

/// Whether the table's part of the file is damaged, which no second attempt mends.
fn is_damage(error: &rusqlite::Error) -> bool {
    matches!(error.sqlite_error_code(), Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase))
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
