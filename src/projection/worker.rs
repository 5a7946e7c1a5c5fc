//! The projections' thread: reads what is committed, folds it, and commits rows and cursor together.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError};
use rusqlite::{Connection, ErrorCode, Transaction};

use super::apply::{ApplyError, Batch, Fold, Places};
use super::place::place_of;
use super::tables::{self, Cursor, PROJECTIONS, Projection, Stage};
use crate::event::Seq;
use crate::limits::{
    FOLD_BYTES_MAX, FOLD_EVENTS_MAX, FOLD_PAUSE, FOLD_TIME_MAX, PROJECTIONS_CACHE_KIBIBYTES,
};
use crate::log::FileIdentity;
use crate::log::checkpoint::Checkpoints;
use crate::log::open::{self, Durability, OpenError};
use crate::log::rows::{self, ReadRow};
use crate::log::turns::{Turn, Turns, Who, begin};
use crate::progress::Progress;

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
    /// Those that this thread took forward last, as far as nobody else did since.
    kept: Vec<Member>,
}

/// A projection's tables of one stage, and where they are.
struct Member {
    projection: &'static Projection,
    stage: Stage,
    cursor: Cursor,
    fold: Fold,
}

/// What one attempt at projections came to.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Step {
    /// Nothing is left to do.
    Idle,
    /// Something was done; there may be more.
    Worked,
    /// It cannot be done now; why is in the progress.
    Trouble,
}

impl Step {
    fn and(self, other: Step) -> Step {
        match (self, other) {
            (Step::Trouble, _) | (_, Step::Trouble) => Step::Trouble,
            (Step::Worked, _) | (_, Step::Worked) => Step::Worked,
            (Step::Idle, Step::Idle) => Step::Idle,
        }
    }
}

/// What is to be done about a projection's tables of one stage.
enum Look {
    Done(Step),
    /// Fold what comes after this.
    Due(Cursor),
}

/// How far one transaction goes.
#[derive(Clone, Copy)]
enum Reach {
    /// The events that were given.
    Given,
    /// On to this event, as long as the writer does not wait and the time is not over.
    Until(Seq),
}

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
        let worker = Worker {
            path: path.to_owned(),
            connection,
            database,
            progress,
            turns,
            checkpoints,
            kept: Vec::new(),
        };
        for projection in &PROJECTIONS {
            worker.publish(projection, None).map_err(sqlite)?;
        }
        Ok(worker)
    }

    /// Works until it is told to finish.
    pub(crate) fn run(mut self, wake: &Receiver<()>, orders: &Receiver<Order>) {
        let guard = PanicGuard { progress: self.progress.clone() };
        loop {
            let began = Instant::now();
            let step = self.round(EVERYTHING);
            // Also while there is work: with another process appending, there may always be some.
            match orders.try_recv() {
                Ok(Order::Finish) | Err(crossbeam_channel::TryRecvError::Disconnected) => break,
                Err(crossbeam_channel::TryRecvError::Empty) => {}
            }
            match step {
                Step::Worked => {
                    // An order ends the pause.
                    match orders.recv_timeout(FOLD_PAUSE.saturating_sub(began.elapsed())) {
                        Err(RecvTimeoutError::Timeout) => continue,
                        Ok(Order::Finish) | Err(RecvTimeoutError::Disconnected) => break,
                    }
                }
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
            self.kept.clear();
            self.connection = connection;
            self.checkpoints = checkpoints;
        }
    }

    /// One bounded transaction for all projections that stand at one place, for each place where some do
    /// that do not hold the events up to `until`.
    fn round(&mut self, until: Seq) -> Step {
        let mut result = Step::Idle;
        let mut due = Vec::new();
        for projection in &PROJECTIONS {
            for stage in [Stage::Live, Stage::Building] {
                let looked = self.look(projection, stage, until).and_then(|look| match look {
                    Look::Done(step) => Ok(step),
                    Look::Due(cursor) => {
                        due.push(self.member(projection, stage, cursor)?);
                        Ok(Step::Idle)
                    }
                });
                result = result.and(looked.unwrap_or_else(|error| self.say_trouble(projection, &error)));
            }
        }
        due.sort_by_key(|member| member.cursor.position);
        while let Some(position) = due.first().map(|member| member.cursor.position) {
            let others = due.split_off(due.partition_point(|member| member.cursor.position == position));
            let group = std::mem::replace(&mut due, others);
            // Where it comes to the place of others, it goes on with them.
            let next = due.first().map_or(EVERYTHING, |other| other.cursor.position);
            // A rebuild goes on to the end of the log, also where the log is being closed.
            let is_live = group.iter().any(|member| member.stage == Stage::Live);
            let until = if is_live { until } else { EVERYTHING };
            result = result.and(self.take_forward(group, until.min(next)));
        }
        result
    }

    /// Sees what there is to do. An error is one that does not depend on the event: it is tried again.
    fn look(&self, projection: &'static Projection, stage: Stage, until: Seq) -> rusqlite::Result<Look> {
        let idle = Ok(Look::Done(Step::Idle));
        let Some(cursor) = tables::cursor(&self.connection, projection.name, stage)? else { return idle };
        if stage == Stage::Live {
            self.publish(projection, None)?;
            if cursor.version < projection.version {
                return self.ensure_rebuild(projection).map(Look::Done);
            }
        }
        if cursor.version != projection.version || cursor.stopped.is_some() {
            return idle;
        }
        let head = rows::head(&self.connection)?.seq;
        if cursor.position > head {
            let _turn = self.take_turn()?;
            let tx = begin(&self.connection)?;
            stop_where_ahead(&tx)?;
            tx.commit()?;
            return Ok(Look::Done(Step::Worked));
        }
        if cursor.position >= head.min(until) && stage == Stage::Live {
            return idle;
        }
        Ok(Look::Due(cursor))
    }

    /// The tables at this place, with the rows that were kept where nobody else has changed them since.
    fn member(
        &mut self,
        projection: &'static Projection,
        stage: Stage,
        cursor: Cursor,
    ) -> rusqlite::Result<Member> {
        let kept = self.kept.iter().position(|kept| kept.is_of(projection, stage));
        match kept.map(|place| self.kept.swap_remove(place)) {
            Some(member) if member.cursor == cursor => Ok(member),
            _ => Member::new(projection, stage, cursor, &self.connection),
        }
    }

    /// Takes tables that stand at one place forward, all in one transaction; where that fails, each in one
    /// of its own, so that what is wrong with one holds up no other.
    fn take_forward(&mut self, mut group: Vec<Member>, until: Seq) -> Step {
        let projections: Vec<_> = group.iter().map(|member| member.projection).collect();
        match self.fold_together(&mut group, until) {
            Ok(Folded::Committed) => {
                self.kept.extend(group);
                projections.into_iter().fold(Step::Worked, |step, projection| {
                    let published = self.publish(projection, None);
                    step.and(published.map_or_else(|error| self.say_trouble(projection, &error), |()| step))
                })
            }
            Ok(Folded::SomebodyElseDid) => Step::Worked,
            Err(_) => {
                // Nothing that the failure left in memory comes along.
                self.reconnect();
                group.into_iter().fold(Step::Idle, |step, Member { projection, stage, cursor, .. }| {
                    let folded = self.fold_alone(projection, stage, &cursor, until);
                    step.and(folded.unwrap_or_else(|error| self.say_trouble(projection, &error)))
                })
            }
        }
    }

    fn fold_together(&self, group: &mut [Member], until: Seq) -> Result<Folded, ApplyError> {
        let Some(position) = group.first().map(|member| member.cursor.position) else {
            return Ok(Folded::SomebodyElseDid);
        };
        let until = rows::head(&self.connection)?.seq.min(until);
        let events = read_after(&self.connection, position, until)?;
        self.fold(group, &events, Reach::Until(until))
    }

    /// Takes one projection's tables forward, and finds the event that keeps them from it. An error is one
    /// that does not depend on the event: it is tried again.
    fn fold_alone(
        &self,
        projection: &'static Projection,
        stage: Stage,
        cursor: &Cursor,
        until: Seq,
    ) -> rusqlite::Result<Step> {
        let until = rows::head(&self.connection)?.seq.min(until);
        let events = match read_after(&self.connection, cursor.position, until) {
            Ok(events) => events,
            Err(error) if is_damage(&error) => {
                self.stop(projection, stage, cursor, cursor.position.next(), &error.to_string())?;
                return Ok(Step::Worked);
            }
            Err(error) => return Err(error),
        };
        match self.fold_given(projection, stage, cursor, &events) {
            Ok(Folded::Committed) => {
                self.publish(projection, None)?;
                Ok(Step::Worked)
            }
            Ok(Folded::SomebodyElseDid) => Ok(Step::Worked),
            Err(error) if is_about_the_event(&error) && !events.is_empty() => {
                self.find_culprit(projection, stage, cursor, &events)
            }
            Err(ApplyError::Sqlite(error)) => Err(error),
            // Not reached: it is about the event.
            Err(ApplyError::Unreadable(_)) => Ok(Step::Trouble),
        }
    }

    /// Folds these events, and no others, for one projection.
    fn fold_given(
        &self,
        projection: &'static Projection,
        stage: Stage,
        cursor: &Cursor,
        events: &[ReadRow],
    ) -> Result<Folded, ApplyError> {
        let mut member = Member::new(projection, stage, cursor.clone(), &self.connection)?;
        self.fold(std::slice::from_mut(&mut member), events, Reach::Given)
    }

    /// Folds events and moves the cursors, in one transaction, unless somebody else moved one.
    fn fold(&self, members: &mut [Member], events: &[ReadRow], reach: Reach) -> Result<Folded, ApplyError> {
        let Some(start) = members.first().map(|member| member.cursor.position) else {
            return Ok(Folded::SomebodyElseDid);
        };
        let mut position = events.last().map_or(start, |event| event.seq);
        let batch = Batch::of(events);
        // What does not write is done before the turn, where nobody waits for it. If somebody else moves a
        // cursor meanwhile, it was in vain.
        let is_folded = matches!(reach, Reach::Until(_)) && !batch.erases();
        if is_folded {
            for member in &mut *members {
                member.fold.fold(&self.connection, &batch)?;
            }
        }
        let turn = self.take_turn()?;
        let began = Instant::now();
        let tx = begin(&self.connection)?;
        for member in &*members {
            if !member.is_as_stored(&tx)? {
                return Ok(Folded::SomebodyElseDid);
            }
        }
        let places = Places { tables: &tx, log: &tx };
        for member in &mut *members {
            match is_folded {
                true => member.fold.save(&tx)?,
                false => member.fold.apply(places, &batch)?,
            }
        }
        if let Reach::Until(until) = reach {
            while position < until && began.elapsed() < FOLD_TIME_MAX && !self.turns.writer_waits() {
                let events = read_after(&tx, position, until)?;
                let Some(last) = events.last() else { break };
                position = last.seq;
                let batch = Batch::of(&events);
                members.iter_mut().try_for_each(|member| member.fold.apply(places, &batch))?;
            }
        }
        let head = rows::head(&tx)?.seq;
        for Member { projection, stage, cursor, .. } in &*members {
            if !tables::advance(&tx, projection.name, *stage, cursor, position)? {
                return Ok(Folded::SomebodyElseDid);
            }
            if *stage == Stage::Building && position >= head {
                projection.switch(&tx)?;
            }
        }
        tx.commit()?;
        for member in members {
            member.cursor.position = position;
        }
        drop(turn);
        // The writer may have nothing to do while a rebuild writes.
        self.checkpoints.if_large(&self.connection, &self.turns, Who::Projection);
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
            match self.fold_given(projection, stage, &cursor, std::slice::from_ref(event)) {
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

    /// Says what keeps a projection from going on. If not even the cursors can be read, what was known of
    /// them stays.
    fn say_trouble(&self, projection: &'static Projection, error: &rusqlite::Error) -> Step {
        let _ = self.publish(projection, Some(error.to_string()));
        Step::Trouble
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
        let Some(live) = live else { return Ok(()) };
        let place = place_of(projection, live, building, trouble);
        self.progress.set_place(projection.name, place);
        Ok(())
    }
}

/// The events after a place that are folded at once.
fn read_after(connection: &Connection, position: Seq, until: Seq) -> rusqlite::Result<Vec<ReadRow>> {
    rows::read_after(connection, position, until, FOLD_EVENTS_MAX, FOLD_BYTES_MAX)
}

impl Member {
    fn new(
        projection: &'static Projection,
        stage: Stage,
        cursor: Cursor,
        connection: &Connection,
    ) -> rusqlite::Result<Member> {
        let fold = Fold::new(projection, stage, connection)?;
        Ok(Member { projection, stage, cursor, fold })
    }

    fn is_of(&self, projection: &Projection, stage: Stage) -> bool {
        self.projection.name == projection.name && self.stage == stage
    }

    /// Whether nobody else moved the cursor, or had an event skipped.
    fn is_as_stored(&self, tx: &Transaction<'_>) -> rusqlite::Result<bool> {
        let stored = tables::cursor(tx, self.projection.name, self.stage)?;
        Ok(stored.as_ref() == Some(&self.cursor) && self.fold.skips_are(tx)?)
    }
}

fn connect(path: &Path) -> Result<(Connection, FileIdentity, Checkpoints), OpenError> {
    let (mut connection, files) = open::open_writer(path, Durability::Normal)?;
    let sqlite = |source| OpenError::sqlite(path, "its read tables cannot be opened", source);
    connection.pragma_update(None, "legacy_alter_table", true).map_err(sqlite)?;
    open::keep_pages(&connection, PROJECTIONS_CACHE_KIBIBYTES).map_err(sqlite)?;
    let checkpoints = Checkpoints::watch(&mut connection).map_err(sqlite)?;
    Ok((connection, files.database, checkpoints))
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
