//! The pipeline behind `annals demo`: a search over thoughts solves the Game of 24, instrumented as any pipeline would
//! be.
//!
//! The pipeline needs no network and no model. The same puzzles give the same decisions with any number of threads;
//! only the times differ, and the order of the sessions in the log.
//!
//! Each run has its own session ids, so it can be repeated on the same log. It begins with an `action.recorded`, whose
//! position in the log no other run can have. The first run of a fresh log is `game-of-24`, and its sessions are
//! `game-of-24/4-5-6-10` and so on; a later run is named after that position, as in `game-of-24@1724`.

mod calls;
mod game24;
mod puzzles;
mod report;
mod pipeline;

#[cfg(test)]
mod tests;

use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Instant;

pub(crate) use calls::Calls;
pub(crate) use report::{PuzzleReport, Report, Solution};

use crate::event::{ActionRecorded, Actor, Content, Draft, Event, Recorded, Seq, is_reserved};
use crate::query::EventFilter;
use crate::receipt::AppendError;
use crate::{AuditLog, CatchUpError, OpenError, ReadError, Reader};
use pipeline::Run;
use puzzles::PUZZLES;
use report::PROFILE;

/// The actor of a run's first event.
const ACTOR: &str = "annals demo";

/// Events that are read at once.
const EVENTS_AT_ONCE: usize = 1_000;

/// Settings of a demonstration.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Options {
    /// Puzzles that are solved at the same time.
    pub threads: NonZeroUsize,
}

impl Default for Options {
    fn default() -> Options {
        Options { threads: NonZeroUsize::MIN.saturating_add(3) }
    }
}

/// A demonstration that failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum DemoError {
    /// The log is used for something else.
    #[error(
        "event {seq} of this log is not from a demonstration; name a separate log, because a demonstration appends some 1,700 events, which stay forever"
    )]
    OthersEvents {
        /// The first event that is not the demonstration's.
        seq: Seq,
    },
    /// The log cannot be opened for reading.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// An event cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The log refused an event.
    #[error(transparent)]
    Append(#[from] AppendError),
    /// The read tables are behind.
    #[error(transparent)]
    CatchUp(#[from] CatchUpError),
    /// A thread could not be started.
    #[error("a thread could not be started: {0}")]
    Thread(#[from] std::io::Error),
    /// A thread panicked.
    #[error("a thread of the demonstration panicked")]
    Panicked,
}

/// Solves all puzzles, each in a session of its own. Returns when all of it is on the disk and in the read tables.
///
/// # Errors
/// If the log has events of others or refuses an event, or if its read tables do not catch up.
pub(crate) fn run(log: &AuditLog, options: Options) -> Result<Report, DemoError> {
    refuse_others(&Reader::open(log.path())?)?;
    let began = Instant::now();
    let name = claim_name(log)?;
    let run = Run { log, name: &name };
    let threads = options.threads.get().min(PUZZLES.len());
    let next = AtomicUsize::new(0);
    let shares = thread::scope(|scope| {
        let solvers = (0..threads).map(|number| {
            let thread = thread::Builder::new().name(format!("demo-{number}"));
            thread.spawn_scoped(scope, || solve_some(&run, &next))
        });
        let solvers = solvers.collect::<Result<Vec<_>, _>>()?;
        solvers
            .into_iter()
            .map(|solver| Ok(solver.join().map_err(|_| DemoError::Panicked)??))
            .collect::<Result<Vec<Share>, DemoError>>()
    })?;
    let last = log.flush()?;
    let elapsed = began.elapsed();
    // Not part of the time: a pipeline does not wait for the read tables.
    log.wait_caught_up(last)?;

    let (mut puzzles, mut calls) = (Vec::new(), Calls::default());
    for share in shares {
        puzzles.extend(share.puzzles);
        calls.add(share.calls);
    }
    // Each thread takes the next puzzle that is left; the report has them in the order of the list.
    puzzles.sort_by_key(|(place, _)| *place);
    let puzzles = puzzles.into_iter().map(|(_, puzzle)| puzzle).collect();
    // One event for each call, and the one that gives the run its name.
    let events = calls.count() + 1;
    Ok(Report { run: name, puzzles, threads, events, elapsed, calls: calls.sorted() })
}

/// Refuses a log that has events other than those of demonstrations and Annals' own.
///
/// # Errors
/// Names the first event of others.
pub(crate) fn refuse_others(reader: &Reader) -> Result<(), DemoError> {
    let mut after = Seq::ZERO;
    loop {
        // In pages: a log of others may have any size.
        let events = reader.events(&EventFilter::default(), after, EVENTS_AT_ONCE)?;
        if let Some(other) = events.iter().find(|event| !is_of_a_run(event)) {
            return Err(DemoError::OthersEvents { seq: other.seq });
        }
        match events.last() {
            Some(last) => after = last.seq,
            None => return Ok(()),
        }
    }
}

fn is_of_a_run(event: &Recorded) -> bool {
    match (&event.content, &event.session) {
        (Content::Event(Event::ActionRecorded(action)), None) => action.actor.id == ACTOR,
        // Another profile may begin with the same letters, so a separator must follow.
        (_, Some(session)) => session
            .as_str()
            .strip_prefix(PROFILE)
            .is_some_and(|rest| rest.starts_with('/') || rest.starts_with('@')),
        (_, None) => is_reserved(event.kind),
    }
}

/// Records the beginning of a run. Its position in the log makes the run's name unique.
fn claim_name(log: &AuditLog) -> Result<String, AppendError> {
    let began = ActionRecorded {
        actor: Actor { id: ACTOR.to_owned(), kind: Some("system".to_owned()) },
        action: "demo.started".to_owned(),
        entity_type: Some("pipeline".to_owned()),
        entity_id: Some(PROFILE.to_owned()),
        ..ActionRecorded::default()
    };
    let seq = log.append(Draft::new(began).at(log.now()))?.wait()?.seq;
    Ok(if seq == Seq::FIRST.next() { PROFILE.to_owned() } else { format!("{PROFILE}@{seq}") })
}

/// The work of one thread: puzzles with their index in the list, and its calls.
struct Share {
    puzzles: Vec<(usize, PuzzleReport)>,
    calls: Calls,
}

/// Solves puzzles that no other thread has taken, until none is left.
fn solve_some(run: &Run<'_>, next: &AtomicUsize) -> Result<Share, AppendError> {
    let mut share = Share { puzzles: Vec::new(), calls: Calls::default() };
    loop {
        // Relaxed is enough: a thread only needs an index that no other one gets.
        let place = next.fetch_add(1, Ordering::Relaxed);
        let Some(numbers) = PUZZLES.get(place) else { return Ok(share) };
        share.puzzles.push((place, run.solve(numbers, &mut share.calls)?));
    }
}
