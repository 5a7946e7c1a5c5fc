//! The walk of any number of threads, for logs in which every row is good.
//!
//! Each thread takes the next run that nobody has taken, finds its first row by its seq, and requires that
//! all rows of the run are there and good. The pages of the table are checked beside this. If they are sound,
//! the rows found by their seq are those that one reading from the first row to the last would find.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

use crossbeam_channel::{Receiver, Sender};
use rusqlite::types::ValueRef;
use rusqlite::{Connection, OptionalExtension};

use super::merge::{Merge, ReadTo};
use super::run::{Checked, Run, With};
use super::walked::{Start, Walk};
use crate::log::rows::to_sql;
use crate::verify::error::VerifyError;
use crate::verify::inside::Inside;
use crate::verify::row::{Before, RowRef};
use crate::verify::structure::{self, Fingerprint, Pairs};
use crate::verify::tree::Tree;

/// The work that the threads share, and how far it is.
struct Work {
    begin: Before,
    /// The seq of the last event.
    last: i64,
    run_rows: u64,
    runs: u64,
    next_run: AtomicU64,
    next_page_check: AtomicUsize,
    /// True if something is wrong, or could not be checked: no thread takes a new run then. The walk of one
    /// thread finds the problem.
    is_given_up: AtomicBool,
    with: With,
}

/// A check of the pages, beside the rows. The longest comes first.
#[derive(Clone, Copy)]
enum PageCheck {
    Trees,
    Index,
}

/// The name of the SQL function with which each connection reads runs.
const RUN: &str = "annals_run";

const PAGE_CHECKS: [PageCheck; 2] = [PageCheck::Trees, PageCheck::Index];

/// The result of a piece of work.
enum Done {
    Run(u64, Box<Checked>),
    /// The pages of the table and its index are sound.
    Trees,
    /// The fingerprint of the index on the event ids.
    Index(Fingerprint),
}

/// Walks along a log in which every row is good. None if a row is bad, or if that could not be ruled out.
pub(super) fn walk(
    connection: &Connection,
    others: &mut [Connection],
    threads: usize,
    start: Start,
    run_rows: u64,
    progress: &mut dyn FnMut(u64),
) -> Result<Option<Walk>, VerifyError> {
    let wanted = start.tree.as_ref().map(Tree::wanted);
    let begin = start.before();
    let Ok(Some(last)) = end(connection, begin) else { return Ok(None) };
    let rows = u64::try_from(last.saturating_sub(begin.seq)).unwrap_or(0);
    // A walk from a later event on does not check pages.
    let checks_pages = begin.seq == 0;
    let work = Work {
        begin,
        last,
        run_rows,
        runs: rows.div_ceil(run_rows),
        next_run: AtomicU64::new(0),
        next_page_check: AtomicUsize::new(if checks_pages { 0 } else { PAGE_CHECKS.len() }),
        is_given_up: AtomicBool::new(false),
        with: With { wanted, pairs: Pairs::new() },
    };
    let mut found = Found { merge: Merge::new(start), has_sound_trees: false, index: None };
    // Unbounded, because with one thread the checks of the pages send before anybody receives. There are no
    // more messages than runs and such checks.
    let (send, done) = crossbeam_channel::unbounded::<Done>();
    std::thread::scope(|scope| {
        if threads == 1 {
            // Through another connection even then: the check of the trees stops SQLite in the middle of its
            // work.
            others.iter_mut().take(1).for_each(|other| work.run_page_checks(other, &send));
        }
        for other in others.iter_mut().take(threads - 1) {
            let (work, send) = (&work, send.clone());
            let thread = std::thread::Builder::new().name("annals-verify".to_owned());
            // If a thread cannot be started, the others do its part.
            let _ = thread.spawn_scoped(scope, move || work.help(other, &send));
        }
        // The channel closes when the last of the other threads ends, and with it the loop in `lead`.
        drop(send);
        work.lead(connection, &done, &mut found, progress)
    })?;
    let Found { merge, has_sound_trees, index } = found;
    // A thread may have ended early, so every run must have arrived. Without sound trees a row that was found
    // by its seq may not be the one that a reading in order would find.
    let is_whole = merge.runs() == work.runs && merge.is_good() && (has_sound_trees || !checks_pages);
    if !is_whole || work.is_given_up() {
        return Ok(None);
    }
    // The index is sound too only if the fingerprints are equal. Otherwise SQLite's own check of it runs
    // later.
    let has_sound_pages = has_sound_trees && index == Some(merge.pairs);
    let walk = merge.finish(connection, ReadTo::End)?;
    // A failure can only be one of redactions here, which are judged last. The walk of one thread decides on
    // it too.
    Ok(walk.failure.is_none().then_some(Walk { has_sound_pages, ..walk }))
}

/// The seq of the last event. None if no event comes after the start, or if the first one of the log is not
/// event 1.
fn end(connection: &Connection, begin: Before) -> rusqlite::Result<Option<i64>> {
    let sql = "SELECT (SELECT min(seq) FROM log NOT INDEXED), (SELECT max(seq) FROM log NOT INDEXED)";
    let number = |value: ValueRef<'_>| value.as_i64().ok();
    let (first, last): (Option<i64>, Option<i64>) =
        connection.query_row(sql, [], |row| Ok((number(row.get_ref(0)?), number(row.get_ref(1)?))))?;
    Ok(last.filter(|last| first == Some(1) && *last > begin.seq))
}

/// The results so far.
struct Found {
    merge: Merge,
    has_sound_trees: bool,
    index: Option<Fingerprint>,
}

impl Found {
    fn take(&mut self, done: Done, progress: &mut dyn FnMut(u64)) -> Result<(), VerifyError> {
        match done {
            Done::Run(index, checked) => {
                progress(checked.rows);
                self.merge.take(index, *checked)?;
            }
            Done::Trees => self.has_sound_trees = true,
            Done::Index(pairs) => self.index = Some(pairs),
        }
        Ok(())
    }
}

impl Work {
    /// The part of the calling thread, which also puts all results together.
    fn lead(
        &self,
        connection: &Connection,
        done: &Receiver<Done>,
        found: &mut Found,
        progress: &mut dyn FnMut(u64),
    ) -> Result<(), VerifyError> {
        let mut lead = || -> Result<(), VerifyError> {
            let inside = Inside::new(connection, RUN)?;
            while let Some(run) = self.next_run() {
                if let Some(run) = self.checked(connection, &inside, run) {
                    found.take(run, progress)?;
                }
                // After each of its own runs it takes the results of the others, so that few of them wait in
                // memory.
                done.try_iter().try_for_each(|done| found.take(done, progress))?;
            }
            done.iter().try_for_each(|done| found.take(done, progress))
        };
        // After an error nobody needs the results, so the other threads must stop.
        lead().inspect_err(|_| self.give_up())
    }

    /// The part of every other thread.
    fn help(&self, connection: &mut Connection, send: &Sender<Done>) {
        self.run_page_checks(connection, send);
        // A thread that cannot begin leaves its part to the calling thread.
        let Ok(inside) = Inside::new(connection, RUN) else { return };
        while let Some(run) = self.next_run() {
            let checked = self.checked(connection, &inside, run);
            let is_taken = checked.is_some_and(|run| send.send(run).is_ok());
            if !is_taken {
                return;
            }
        }
    }

    /// Makes the checks of the pages that no other thread has taken.
    fn run_page_checks(&self, connection: &mut Connection, send: &Sender<Done>) {
        // Each number is given out once, so no check is made twice. Relaxed is enough: the counters guard no
        // other memory, and results go through the channel.
        while let Some(check) = PAGE_CHECKS.get(self.next_page_check.fetch_add(1, Ordering::Relaxed)) {
            let done = match check {
                PageCheck::Trees => match structure::has_sound_trees(connection) {
                    Ok(true) => Done::Trees,
                    Ok(false) | Err(_) => return self.give_up(),
                },
                // The walk goes on without this. SQLite's own check of the index runs later then.
                PageCheck::Index => match structure::pairs_of_index(connection, &self.with.pairs) {
                    Ok(Some(pairs)) => Done::Index(pairs),
                    Ok(None) | Err(_) => continue,
                },
            };
            if send.send(done).is_err() {
                return;
            }
        }
    }

    fn next_run(&self) -> Option<u64> {
        let run = self.next_run.fetch_add(1, Ordering::Relaxed);
        (run < self.runs && !self.is_given_up()).then_some(run)
    }

    fn give_up(&self) {
        self.is_given_up.store(true, Ordering::Relaxed);
    }

    fn is_given_up(&self) -> bool {
        self.is_given_up.load(Ordering::Relaxed)
    }

    /// Checks a run. If not all of its rows are there and good, gives up the walk of all threads and returns
    /// None.
    fn checked(&self, connection: &Connection, inside: &Inside<Run>, run: u64) -> Option<Done> {
        match self.check(connection, inside, run) {
            Ok(Some(checked)) => Some(Done::Run(run, Box::new(checked))),
            Ok(None) | Err(_) => {
                self.give_up();
                None
            }
        }
    }

    fn check(
        &self,
        connection: &Connection,
        inside: &Inside<Run>,
        run: u64,
    ) -> rusqlite::Result<Option<Checked>> {
        let skipped = to_sql(run.saturating_mul(self.run_rows));
        let before_first = self.begin.seq.saturating_add(skipped);
        let last = before_first.saturating_add(to_sql(self.run_rows)).min(self.last);
        // The stored link before the run is taken as it is. The run that ends with that row checks it, and
        // only all runs together show that the chain is one line.
        let before = match run {
            0 => Some(self.begin),
            _ => before(connection, before_first)?,
        };
        let Some(before) = before else { return Ok(None) };
        // Without ORDER BY: the rows come in the order of their keys, or they fail `sequence` and are not
        // good.
        let sql = "SELECT annals_run(seq, event_id, entry, payload, hash) FROM log NOT INDEXED WHERE seq > ?1 AND seq <= ?2";
        let run = inside.run(connection, sql, [before_first, last], Run::after(before, &self.with))?;
        // A run that ends before its last seq lacks rows at its end.
        Ok(run.map(Run::checked).filter(|checked| checked.last.seq == last))
    }
}

/// The seq and the link before the row that follows a seq. None if there is no row with that seq.
fn before(connection: &Connection, seq: i64) -> rusqlite::Result<Option<Before>> {
    connection
        .prepare_cached("SELECT hash FROM log WHERE seq = ?1")?
        .query_row([seq], |row| {
            let hash: Vec<u8> = row.get(0)?;
            Ok(Before::after(RowRef {
                seq,
                event_id: &[],
                entry: &[],
                payload: None,
                is_payload_too_long: false,
                hash: &hash,
            }))
        })
        .optional()
}
