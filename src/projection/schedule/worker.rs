//! The projections' thread: reads what is committed, folds it, and commits rows and cursor together.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError, TryRecvError};
use rusqlite::{Connection, Transaction};

use crate::event::Seq;
use crate::file::FileIdentity;
use crate::limits::{
    FOLD_BYTES_MAX, FOLD_EVENTS_MAX, FOLD_PAUSE_AWAITED, INDEX_MERGE_PAGES, INDEX_MERGE_PAGES_SHORT,
    PROJECTIONS_CACHE_KIBIBYTES,
};
use crate::log::checkpoint::Checkpoints;
use crate::log::presence::{LEFT, Present};
use crate::log::rows::{self, ReadRow};
use crate::log::write_lock::{Who, WriteGuard, WriteLock, begin};
use crate::log::{self, AtClose, Claim, Durability, OpenError, Writing};
use crate::progress::{Awaited, Progress};
use crate::projection::schedule::group::{Group, Member};
use crate::projection::schedule::progress::progress_of;
use crate::projection::schedule::throttle::Throttle;
use crate::projection::tables::{self, Cursor, PROJECTIONS, Projection, Stage, index};

/// Interval at which the thread checks whether another process appended or changed something.
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// Number of consecutive failures, not caused by an event, after which the thread gives up while the log is being
/// closed.
const ATTEMPTS_AT_CLOSE: u32 = 20;

/// A position beyond the end of any log.
pub(in crate::projection) const EVERYTHING: Seq = Seq::new(u64::MAX);

/// An order to the thread.
pub(crate) enum Order {
    /// Catch up with the log and end.
    Finish,
}

/// The projections' thread.
pub(crate) struct Worker {
    pub(in crate::projection) path: PathBuf,
    pub(in crate::projection) connection: Connection,
    /// None while the log is being released. The connection is then to an empty database in memory.
    present: Option<Present>,
    pub(in crate::projection) database: FileIdentity,
    progress: Arc<Progress>,
    pub(in crate::projection) write_lock: Arc<WriteLock>,
    pub(in crate::projection) checkpoints: Checkpoints,
    /// The groups that this thread took forward last, with what is folded ahead for them.
    pub(in crate::projection) kept: Vec<Group>,
    pub(in crate::projection) throttle: Throttle,
    /// The full-text index that may have segments to merge.
    pub(in crate::projection) to_merge: Option<(&'static Projection, Stage)>,
}

/// The result of one attempt at projections.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(in crate::projection) enum Step {
    /// Nothing is left to do.
    Idle,
    /// The next work is due at this time.
    Paused(Instant),
    /// Something was done; there may be more.
    Worked,
    /// A failure. The last error is in the progress, and the work is tried again.
    Trouble,
}

impl Step {
    pub(in crate::projection) fn and(self, other: Step) -> Step {
        // The more urgent step counts. A failure comes first, because it needs a new connection.
        match (self, other) {
            (Step::Trouble, _) | (_, Step::Trouble) => Step::Trouble,
            (Step::Worked, _) | (_, Step::Worked) => Step::Worked,
            (Step::Paused(until), Step::Paused(other)) => Step::Paused(until.min(other)),
            (Step::Paused(until), _) | (_, Step::Paused(until)) => Step::Paused(until),
            (Step::Idle, Step::Idle) => Step::Idle,
        }
    }
}

/// The end of a release of the log: the log is open again, or the thread must finish.
enum Release {
    Over,
    Finish,
}

/// The outcome of writing events.
pub(in crate::projection) enum Written {
    Committed,
    SomebodyElseDid,
}

/// Most steps of merging the index when the log is closed. One takes some milliseconds.
const MERGES_AT_CLOSE: usize = 4;

/// The choice to write tables without the pauses of the throttle.
enum Haste {
    Yes,
    No,
}

/// The work on a projection's tables of one stage.
enum Look {
    Done(Step),
    /// Fold the events after this cursor.
    Due(Cursor),
}

impl Worker {
    /// Opens a connection of its own, and creates tables that the file lacks.
    pub(crate) fn open(
        path: &Path,
        progress: Arc<Progress>,
        write_lock: Arc<WriteLock>,
    ) -> Result<Worker, OpenError> {
        // Its commits are not flushed. Read tables can be made again, and the writer's next durable commit flushes
        // what was written before it.
        let (connection, present, database, checkpoints) = connect(path, &write_lock)?;
        let sqlite = |source| OpenError::sqlite(path, "its read tables cannot be opened", source);
        {
            let _guard = write_lock
                .take(Who::Projection)
                .map_err(|error| OpenError::io(path, "its lock file cannot be locked", error))?;
            // One transaction: a process that is killed here leaves all tables with their cursors, or none.
            let tx = begin(&connection).map_err(sqlite)?;
            tables::install(&tx).map_err(sqlite)?;
            stop_where_ahead(&tx).map_err(sqlite)?;
            tx.commit().map_err(sqlite)?;
        }
        let worker = Worker {
            path: path.to_owned(),
            connection,
            present: Some(present),
            database,
            progress,
            write_lock,
            checkpoints,
            kept: Vec::new(),
            throttle: Throttle::default(),
            to_merge: None,
        };
        for projection in &PROJECTIONS {
            worker.publish(projection, None).map_err(sqlite)?;
        }
        Ok(worker)
    }

    /// Works until it is ordered to finish.
    pub(crate) fn run(mut self, wake: &Receiver<()>, orders: &Receiver<Order>) {
        let guard = PanicGuard { progress: self.progress.clone() };
        loop {
            if self.write_lock.presence().must_leave()
                && let Release::Finish = self.wait_for_release(orders)
            {
                break;
            }
            let step = self.round(EVERYTHING, Haste::No);
            // Orders are read even while there is work: if another process appends, the work may never end.
            match orders.try_recv() {
                Ok(Order::Finish) | Err(TryRecvError::Disconnected) => break,
                Err(TryRecvError::Empty) => {}
            }
            match step {
                Step::Worked => continue,
                // An order ends the pause. The wait is short, so that the thread also notices callers that begin to
                // wait for the tables.
                Step::Paused(until) => {
                    match orders.recv_deadline(until.min(Instant::now() + FOLD_PAUSE_AWAITED / 2)) {
                        Err(RecvTimeoutError::Timeout) => continue,
                        Ok(Order::Finish) | Err(RecvTimeoutError::Disconnected) => break,
                    }
                }
                Step::Idle => {}
                Step::Trouble => {
                    // An error that does not depend on the event: the same work is tried again, on a new
                    // connection.
                    std::thread::sleep(LOOK_EVERY / 4);
                    self.reconnect();
                }
            }
            match wake.recv_timeout(LOOK_EVERY) {
                Ok(()) | Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => break,
            }
        }
        // Other processes fold what they append from now on. If this thread waited for that as well, the log might
        // never close.
        let until = self.progress.committed();
        let mut attempts = 0;
        while attempts < ATTEMPTS_AT_CLOSE {
            match self.round(until, Haste::Yes) {
                Step::Idle => break,
                // Another process that was faster counts as progress too: only consecutive failures end this.
                Step::Worked | Step::Paused(_) => attempts = 0,
                Step::Trouble => {
                    attempts += 1;
                    std::thread::sleep(LOOK_EVERY / 4);
                    self.reconnect();
                }
            }
        }
        self.merge_at_close();
        self.kept.clear();
        // Under the write lock, like the writer's connection: the last one to close moves the write-ahead log into
        // the file. The threads that fold have ended, and closed their connections, with `kept`.
        let writing = self.write_lock.take(Who::Projection);
        drop(self.connection);
        drop(writing);
        drop(guard);
        self.progress.set_worker_gone(Arc::from("it was closed"));
    }

    /// Closes the connection when the writer releases the log, and waits until the log can be opened again.
    fn wait_for_release(&mut self, orders: &Receiver<Order>) -> Release {
        self.kept.clear();
        // This connection does not checkpoint when it is closed: the writer moves what it wrote into the file.
        let _ = log::at_close(&self.connection, AtClose::LeaveAsItIs);
        let Ok(nothing) = Connection::open_in_memory() else { return Release::Finish };
        // The connection is closed first: while `present` exists, the writer counts this connection as open.
        self.connection = nothing;
        self.present = None;
        loop {
            if !self.write_lock.presence().must_leave() {
                self.reconnect();
                if self.present.is_some() {
                    return Release::Over;
                }
            }
            match orders.recv_timeout(LOOK_EVERY / 4) {
                Err(RecvTimeoutError::Timeout) => {}
                Ok(Order::Finish) | Err(RecvTimeoutError::Disconnected) => return Release::Finish,
            }
        }
    }

    /// Opens the connection anew after an error. A read that failed leaves wrong numbers in the memory of FTS5,
    /// which would write them later. If there is no new connection either, the old one is tried again.
    pub(in crate::projection) fn reconnect(&mut self) {
        // Another file in this one's place is not even opened.
        if self.database.require_at(&self.path).is_err() {
            return;
        }
        if let Ok((connection, present, database, checkpoints)) = connect(&self.path, &self.write_lock)
            // The file can be replaced while it is opened, so it is compared again.
            && database == self.database
        {
            self.kept.clear();
            self.connection = connection;
            self.present = Some(present);
            self.checkpoints = checkpoints;
        }
    }

    /// Takes all projections forward that do not hold the events up to `until`, in one bounded transaction.
    fn round(&mut self, until: Seq, haste: Haste) -> Step {
        let mut result = Step::Idle;
        let mut due = Vec::new();
        for projection in &PROJECTIONS {
            for stage in [Stage::Live, Stage::Building] {
                match self.look(projection, stage, until) {
                    Ok(Look::Done(step)) => result = result.and(step),
                    Ok(Look::Due(cursor)) => due.push(Member { projection, stage, cursor }),
                    Err(error) => result = result.and(self.record_error(projection, &error)),
                }
            }
        }
        if let Haste::No = haste {
            result = result.and(self.leave_paused(&mut due));
            result = result.and(self.merge(&mut due));
        }
        result.and(self.take_forward(due, until))
    }

    /// Removes from `due` the tables that must pause. Returns when the first of them is due again.
    fn leave_paused(&self, due: &mut Vec<Member>) -> Step {
        let head = match rows::head(&self.connection) {
            Ok(head) => head.seq,
            Err(error) => {
                let step = self.record_errors(due, &error);
                due.clear();
                return step;
            }
        };
        let awaited = self.progress.awaited();
        let mut step = Step::Idle;
        due.retain(|member| {
            let until = self.throttle.until(member.projection.throttling, head, awaited);
            step = until.map_or(step, |until| step.and(Step::Paused(until)));
            until.is_none()
        });
        step
    }

    /// Merges segments of the full-text index, if it may have some and does not pause. Merging alternates with
    /// writing to the index, so that neither has to wait until the other is done.
    fn merge(&mut self, due: &mut Vec<Member>) -> Step {
        let Some((projection, stage)) = self.to_merge else { return Step::Idle };
        let head = rows::head(&self.connection).map(|head| head.seq);
        // `Awaited::All` gives the shortest pause, which is enough after a step of a few milliseconds.
        let pause = head.map(|head| self.throttle.until(projection.throttling, head, Awaited::All));
        match pause {
            Ok(None) => {}
            Ok(Some(until)) => return Step::Paused(until),
            Err(error) => return self.record_error(projection, &error),
        }
        // The merge takes the place of writing to this index, which follows in the next round.
        let others = due.len();
        due.retain(|member| member.projection.name != projection.name || member.stage != stage);
        match self.try_merge(projection, stage) {
            // The next round merges again only if nothing waits to be written to the index. Writing asks for a
            // merge anew.
            Ok(has_merged) if has_merged && due.len() == others => {}
            Ok(_) => self.to_merge = None,
            Err(error) => {
                self.to_merge = None;
                return self.record_error(projection, &error);
            }
        }
        Step::Worked
    }

    /// Merges some segments of the index before the log is closed. Otherwise the segments of many short-lived
    /// processes would pile up, and one process would merge them all while an append waits.
    fn merge_at_close(&mut self) {
        let Some((projection, stage)) = self.to_merge else { return };
        for _ in 0..MERGES_AT_CLOSE {
            match self.try_merge(projection, stage) {
                Ok(true) => {}
                Ok(false) => return,
                Err(error) => {
                    self.record_error(projection, &error);
                    return;
                }
            }
        }
    }

    fn try_merge(&mut self, projection: &Projection, stage: Stage) -> rusqlite::Result<bool> {
        let guard = self.take_write_lock()?;
        let began = Instant::now();
        let tx = begin(&self.connection)?;
        // Another process may have put tables of a rebuild in their place since then.
        let cursor = tables::cursor(&tx, projection.name, stage)?;
        if cursor.is_none_or(|cursor| cursor.version != projection.version) {
            return Ok(false);
        }
        let mut has_merged = false;
        let pages = if self.throttle.is_pressed() { INDEX_MERGE_PAGES_SHORT } else { INDEX_MERGE_PAGES };
        for index in projection.tables.iter().filter(|table| table.is_index()) {
            has_merged |= index::merge(&tx, &stage.table(index.name), pages)?;
        }
        if has_merged {
            tx.commit()?
        } else {
            tx.rollback()?
        }
        drop(guard);
        self.throttle.worked(projection.throttling, began.elapsed());
        Ok(has_merged)
    }

    /// Finds the work on a projection's tables of one stage. An error that is returned does not depend on the
    /// event, and the caller tries again.
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
        // The log was cut off or replaced by an older copy. Cursor and head are compared again under the write
        // lock.
        if cursor.position > head {
            let _guard = self.take_write_lock()?;
            let tx = begin(&self.connection)?;
            stop_where_ahead(&tx)?;
            tx.commit()?;
            return Ok(Look::Done(Step::Worked));
        }
        // A rebuild at the end of the log is due, because it must be switched.
        if cursor.position >= head.min(until) && stage == Stage::Live {
            return idle;
        }
        Ok(Look::Due(cursor))
    }

    /// Publishes the positions of projections to the rest of the process.
    pub(in crate::projection) fn publish_all(&self, members: &[Member]) -> Step {
        members.iter().fold(Step::Idle, |step, Member { projection, .. }| {
            let published = self.publish(projection, None).map(|()| Step::Idle);
            step.and(published.unwrap_or_else(|error| self.record_error(projection, &error)))
        })
    }

    pub(in crate::projection) fn record_errors(&self, members: &[Member], error: &rusqlite::Error) -> Step {
        members.iter().fold(Step::Idle, |step, member| step.and(self.record_error(member.projection, error)))
    }

    /// Publishes the last error of a projection. If not even the cursors can be read, the position that was
    /// published before stays.
    pub(in crate::projection) fn record_error(
        &self,
        projection: &'static Projection,
        error: &rusqlite::Error,
    ) -> Step {
        let _ = self.publish(projection, Some(error.to_string()));
        Step::Trouble
    }

    /// Takes the write lock. A failure is like any error that does not depend on the event: it is reported in the
    /// status, and tried again.
    pub(in crate::projection) fn take_write_lock(&self) -> rusqlite::Result<WriteGuard<'_>> {
        self.write_lock
            .take(Who::Projection)
            // `is_about_the_event` knows an error of the write lock by this variant.
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
        let _guard = self.take_write_lock()?;
        let tx: Transaction<'_> = begin(&self.connection)?;
        // Asked again under the write lock: another process may have started it meanwhile.
        if !under_way(&tx)? {
            projection.start_rebuild(&tx)?;
        }
        tx.commit()?;
        Ok(Step::Worked)
    }

    /// Publishes the position of a projection to the rest of the process.
    pub(in crate::projection) fn publish(
        &self,
        projection: &'static Projection,
        last_error: Option<String>,
    ) -> rusqlite::Result<()> {
        let live = tables::cursor(&self.connection, projection.name, Stage::Live)?;
        let building = tables::cursor(&self.connection, projection.name, Stage::Building)?;
        let Some(live) = live else { return Ok(()) };
        let progress = progress_of(projection, live, building, last_error);
        self.progress.set_projection(projection.name, progress);
        Ok(())
    }
}

/// Reads the events after a position, as many as are folded at once.
pub(in crate::projection) fn read_after(
    connection: &Connection,
    position: Seq,
    until: Seq,
) -> rusqlite::Result<Vec<ReadRow>> {
    rows::read_after(connection, position, until, FOLD_EVENTS_MAX, FOLD_BYTES_MAX)
}

fn connect(
    path: &Path,
    write_lock: &WriteLock,
) -> Result<(Connection, Present, FileIdentity, Checkpoints), OpenError> {
    let left = || OpenError::io(path, "cannot be opened now", std::io::Error::other(LEFT));
    // Registered before it is opened: a writer that releases the log waits for it.
    let present = write_lock.presence().enter().ok_or_else(left)?;
    let Writing { mut connection, files, .. } = log::open_writer(path, Durability::Normal, Claim::Settled)?;
    let sqlite = |source| OpenError::sqlite(path, "its read tables cannot be opened", source);
    // Otherwise renaming a table would rewrite the views of users, or fail because of them
    // (<https://sqlite.org/pragma.html#pragma_legacy_alter_table>).
    connection.pragma_update(None, "legacy_alter_table", true).map_err(sqlite)?;
    log::keep_pages(&connection, PROJECTIONS_CACHE_KIBIBYTES).map_err(sqlite)?;
    let checkpoints = Checkpoints::watch(&mut connection).map_err(sqlite)?;
    Ok((connection, present, files.database, checkpoints))
}

/// Stops the projections whose tables hold events that the log no longer has. New events get the same sequence
/// numbers, and must not be taken for the lost ones.
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

/// Reports a panic of the thread, because nobody would fold any more.
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
