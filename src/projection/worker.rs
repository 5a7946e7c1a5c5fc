//! The projections' thread: reads what is committed, folds it, and commits rows and cursor together.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError, TryRecvError};
use rusqlite::{Connection, Transaction};

use super::ahead::{Next, Wait};
use super::apply::ApplyError;
use super::culprit::Written;
use super::group::{Group, Member};
use super::place::place_of;
use super::rest::{Rests, Wrote};
use super::tables::{self, Cursor, PROJECTIONS, Pace, Projection, Stage};
use crate::event::Seq;
use crate::limits::{
    FOLD_BYTES_MAX, FOLD_EVENTS_MAX, FOLD_REST_AWAITED, FOLD_TIME_MAX, PROJECTIONS_CACHE_KIBIBYTES,
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
    pub(super) connection: Connection,
    database: FileIdentity,
    progress: Arc<Progress>,
    turns: Arc<Turns>,
    checkpoints: Checkpoints,
    /// Those that this thread took forward last, with what is folded ahead of them.
    kept: Vec<Group>,
    rests: Rests,
}

/// What one attempt at projections came to.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    /// Nothing is left to do.
    Idle,
    /// Something is to be done then.
    Resting(Instant),
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
            (Step::Resting(until), Step::Resting(other)) => Step::Resting(until.min(other)),
            (Step::Resting(until), _) | (_, Step::Resting(until)) => Step::Resting(until),
            (Step::Idle, Step::Idle) => Step::Idle,
        }
    }
}

/// Tables for which events are folded.
struct Due {
    group: Group,
    position: Seq,
    /// They go no further.
    limit: Seq,
}

/// Whether tables are written as soon as there is something to write.
enum Haste {
    Yes,
    No,
}

/// What is to be done about a projection's tables of one stage.
enum Look {
    Done(Step),
    /// Fold what comes after this.
    Due(Cursor),
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
            rests: Rests::default(),
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
            let step = self.round(EVERYTHING, Haste::No);
            // Also while there is work: with another process appending, there may always be some.
            match orders.try_recv() {
                Ok(Order::Finish) | Err(TryRecvError::Disconnected) => break,
                Err(TryRecvError::Empty) => {}
            }
            match step {
                Step::Worked => continue,
                // An order ends the rest, and who waits for the tables may.
                Step::Resting(until) => {
                    match orders.recv_deadline(until.min(Instant::now() + FOLD_REST_AWAITED / 2)) {
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
            match self.round(until, Haste::Yes) {
                Step::Idle => break,
                Step::Worked | Step::Resting(_) => attempts = 0,
                Step::Trouble => {
                    attempts += 1;
                    std::thread::sleep(LOOK_EVERY / 4);
                    self.reconnect();
                }
            }
        }
        self.kept.clear();
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

    /// One bounded transaction for all projections that do not hold the events up to `until`.
    fn round(&mut self, until: Seq, haste: Haste) -> Step {
        let mut result = Step::Idle;
        let mut due = Vec::new();
        for projection in &PROJECTIONS {
            for stage in [Stage::Live, Stage::Building] {
                match self.look(projection, stage, until) {
                    Ok(Look::Done(step)) => result = result.and(step),
                    Ok(Look::Due(cursor)) => due.push(Member { projection, stage, cursor }),
                    Err(error) => result = result.and(self.say_trouble(projection, &error)),
                }
            }
        }
        if let Haste::No = haste {
            result = result.and(self.leave_resting(&mut due));
        }
        result.and(self.take_forward(due, until))
    }

    /// Leaves those alone that were written just now.
    fn leave_resting(&self, due: &mut Vec<Member>) -> Step {
        let Ok(rows::Head { seq: head, .. }) = rows::head(&self.connection) else { return Step::Idle };
        let awaited = self.progress.awaited();
        let rest = |pace| self.rests.until(pace, head, awaited);
        let has_soon = due.iter().any(|member| member.projection.pace == Pace::Soon);
        let soon = rest(Pace::Soon).filter(|_| has_soon);
        // Together with the others: a transaction less that somebody may have to wait for.
        let seldom = rest(Pace::Seldom).max(soon);
        let mut step = Step::Idle;
        due.retain(|member| {
            let until = match member.projection.pace {
                Pace::Soon => soon,
                Pace::Seldom => seldom,
            };
            step = until.map_or(step, |until| step.and(Step::Resting(until)));
            until.is_none()
        });
        step
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

    /// Takes tables forward, all in one transaction; where that fails, each in one of its own, so that what
    /// is wrong with one holds up no other.
    fn take_forward(&mut self, mut due: Vec<Member>, until: Seq) -> Step {
        let mut result = Step::Idle;
        let mut ready = Vec::new();
        let place = |member: &Member| (member.projection.pace, member.cursor.position);
        due.sort_by_key(place);
        while let Some((pace, position)) = due.first().map(place) {
            let others = due.split_off(due.partition_point(|member| place(member) == (pace, position)));
            let members = std::mem::replace(&mut due, others);
            // Where it comes to the place of others, it goes on with them.
            let next = due.first().filter(|other| other.projection.pace == pace);
            let next = next.map_or(EVERYTHING, |other| other.cursor.position);
            // A rebuild goes on to the end of the log, also where the log is being closed.
            let is_live = members.iter().any(|member| member.stage == Stage::Live);
            let limit = if is_live { until } else { EVERYTHING }.min(next);
            match self.fold_first(members, (pace, position), limit) {
                Ok(group) => ready.push(group),
                Err(step) => result = result.and(step),
            }
        }
        result.and(self.write(ready))
    }

    /// Has events folded for tables at one place, and waits for the first of them: whoever writes need not
    /// wait for that. Where it is not possible, what was done instead.
    fn fold_first(
        &mut self,
        members: Vec<Member>,
        (pace, position): (Pace, Seq),
        limit: Seq,
    ) -> Result<Due, Step> {
        let head = match rows::head(&self.connection) {
            Ok(head) => head.seq,
            Err(error) => return Err(self.say_troubles(&members, &error)),
        };
        let until = limit.min(head);
        let kept = self.kept.iter().position(|kept| kept.is_of(&members));
        let mut group = match kept {
            Some(place) => self.kept.swap_remove(place),
            None => {
                self.kept.retain(|kept| !kept.has_some_of(&members));
                match Group::start(members.clone(), pace, (&self.path, self.database), position) {
                    Ok(group) => group,
                    // The tables cannot be read, perhaps those of one alone; or the file was moved.
                    Err(_) => return Err(self.take_forward_alone(members, until)),
                }
            }
        };
        if position < until {
            group.ahead.go_on(until);
            match group.ahead.peek() {
                Some(Ok(Next::Part(_))) => {}
                Some(Ok(Next::Erasure)) => return Err(self.erase(group.into_members(), position, until)),
                Some(Err(_)) | None => return Err(self.take_forward_alone(group.into_members(), until)),
            }
        }
        Ok(Due { group, position, limit })
    }

    /// Writes what was folded, and goes on as long as more is there and nobody waits too long.
    fn write(&mut self, mut due: Vec<Due>) -> Step {
        if due.is_empty() {
            return Step::Idle;
        }
        match self.try_write(&mut due) {
            Ok(Written::Committed) => {
                let mut result = Step::Worked;
                for Due { group, .. } in due {
                    for Member { projection, .. } in group.members() {
                        let published = self.publish(projection, None);
                        result = result.and(
                            published.map_or_else(|error| self.say_trouble(projection, &error), |()| result),
                        );
                    }
                    if !group.has_switched() {
                        self.kept.push(group);
                    }
                }
                result
            }
            Ok(Written::SomebodyElseDid) => Step::Resting(Instant::now() + FOLD_REST_AWAITED),
            Err(_) => due.into_iter().fold(Step::Idle, |step, Due { group, limit, .. }| {
                step.and(self.take_forward_alone(group.into_members(), limit))
            }),
        }
    }

    fn try_write(&mut self, due: &mut [Due]) -> rusqlite::Result<Written> {
        let turn = self.take_turn()?;
        let began = Instant::now();
        let tx = begin(&self.connection)?;
        for due in &*due {
            if !due.group.is_as_stored(&tx)? {
                return Ok(Written::SomebodyElseDid);
            }
        }
        let head = rows::head(&tx)?.seq;
        let mut written = Vec::new();
        for Due { group, position, limit } in &mut *due {
            let mut last = None;
            let until = head.min(*limit);
            let since = Instant::now();
            group.ahead.go_on(until);
            while *position < until && (last.is_none() || began.elapsed() < FOLD_TIME_MAX) {
                let wait = if self.turns.writer_waits() { Wait::No } else { Wait::Yes };
                let Some(part) = group.ahead.take_part(wait) else { break };
                group.save(&tx, &part)?;
                *position = part.position;
                last = Some(part);
            }
            written.push((last, Wrote { took: since.elapsed(), position: *position, head }));
        }
        let places = || due.iter().flat_map(|due| due.group.members().iter().map(|it| (it, due.position)));
        places().try_for_each(|(member, position)| member.advance(&tx, position))?;
        places().try_for_each(|(member, position)| member.switch(&tx, position, head))?;
        tx.commit()?;
        drop(turn);
        for (Due { group, position, .. }, (last, wrote)) in due.iter_mut().zip(written) {
            if let Some(last) = last {
                group.ahead.stored(&last);
            }
            group.move_to(*position, head);
            self.rests.wrote(group.pace(), wrote);
        }
        // The writer may have nothing to do while a rebuild writes.
        self.checkpoints.if_large(&self.connection, &self.turns, Who::Projection);
        Ok(Written::Committed)
    }

    /// Folds events some of which take back what earlier ones left in the tables.
    fn erase(&mut self, members: Vec<Member>, position: Seq, until: Seq) -> Step {
        let events = read_after(&self.connection, position, until).map_err(ApplyError::Sqlite);
        match events.and_then(|events| self.fold_given(&members, &events)) {
            Ok(Written::Committed) => members.iter().fold(Step::Worked, |step, member| {
                let published = self.publish(member.projection, None);
                step.and(
                    published.map_or_else(|error| self.say_trouble(member.projection, &error), |()| step),
                )
            }),
            Ok(Written::SomebodyElseDid) => Step::Resting(Instant::now() + FOLD_REST_AWAITED),
            Err(_) => self.take_forward_alone(members, until),
        }
    }

    /// Takes each of these tables forward by itself, after a failure.
    fn take_forward_alone(&mut self, members: Vec<Member>, until: Seq) -> Step {
        // Nothing that the failure left in memory comes along.
        self.reconnect();
        members.into_iter().fold(Step::Idle, |step, member| {
            let folded = self.fold_alone(&member, until);
            step.and(folded.unwrap_or_else(|error| self.say_trouble(member.projection, &error)))
        })
    }

    fn say_troubles(&self, members: &[Member], error: &rusqlite::Error) -> Step {
        members.iter().fold(Step::Idle, |step, member| step.and(self.say_trouble(member.projection, error)))
    }

    /// Says what keeps a projection from going on. If not even the cursors can be read, what was known of
    /// them stays.
    fn say_trouble(&self, projection: &'static Projection, error: &rusqlite::Error) -> Step {
        let _ = self.publish(projection, Some(error.to_string()));
        Step::Trouble
    }

    /// A turn at writing. What keeps it from one is told like any error that does not depend on the
    /// event: by the status, and tried again.
    pub(super) fn take_turn(&self) -> rusqlite::Result<Turn<'_>> {
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
    pub(super) fn publish(
        &self,
        projection: &'static Projection,
        trouble: Option<String>,
    ) -> rusqlite::Result<()> {
        let live = tables::cursor(&self.connection, projection.name, Stage::Live)?;
        let building = tables::cursor(&self.connection, projection.name, Stage::Building)?;
        let Some(live) = live else { return Ok(()) };
        let place = place_of(projection, live, building, trouble);
        self.progress.set_place(projection.name, place);
        Ok(())
    }
}

/// The events after a place that are folded at once.
pub(super) fn read_after(
    connection: &Connection,
    position: Seq,
    until: Seq,
) -> rusqlite::Result<Vec<ReadRow>> {
    rows::read_after(connection, position, until, FOLD_EVENTS_MAX, FOLD_BYTES_MAX)
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
