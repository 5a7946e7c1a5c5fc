//! The walk along the log, shared among threads where they can read the same moment of it.
//!
//! A row's link is checked against the stored link before it. If that holds for every row the chain
//! is one line, so rows can be checked in any order and by several threads: each takes a run of rows
//! after the other, reads it through a connection of its own, and checks the rows where SQLite has
//! them. What the runs say is put together in order.
//!
//! Where anything is not as it should be, one thread walks again along the whole log, row after row, and
//! what it says counts: which row is the first bad one does not depend on how many threads there are.

mod licence;
mod own;
mod run;
mod walked;
mod merge;
mod alone;
mod together;

use rusqlite::Connection;
use rusqlite::limits::Limit;

use super::error::VerifyError;
use crate::limits::{COLUMN_BYTES_MAX, JUDGED_ENTRY_BYTES_MAX, PAYLOAD_BYTES_MAX};

pub(super) use run::RUN_ROWS;
pub(super) use walked::{Start, Walk};

/// Walks along the log to its end, on so many threads. `others` are connections that see the same moment of
/// it, one for each thread but the calling one, and one at least; where there are none the calling thread
/// walks alone.
pub(super) fn walk(
    connection: &Connection,
    others: &mut [Connection],
    threads: usize,
    start: Start,
    progress: &mut dyn FnMut(u64),
) -> Result<Walk, VerifyError> {
    // Each thread has a row in memory, and none that is walked along is longer.
    bound_values(connection, others, PAYLOAD_BYTES_MAX + 2 * JUDGED_ENTRY_BYTES_MAX)?;
    let walked = walk_bounded(connection, others, threads, start, progress);
    bound_values(connection, others, COLUMN_BYTES_MAX)?;
    walked
}

/// Has connections refuse longer values, before they are in memory.
fn bound_values(connection: &Connection, others: &[Connection], bytes: usize) -> rusqlite::Result<()> {
    let bytes = i32::try_from(bytes).unwrap_or(i32::MAX);
    for connection in others.iter().chain([connection]) {
        connection.set_limit(Limit::SQLITE_LIMIT_LENGTH, bytes)?;
    }
    Ok(())
}

fn walk_bounded(
    connection: &Connection,
    others: &mut [Connection],
    threads: usize,
    start: Start,
    progress: &mut dyn FnMut(u64),
) -> Result<Walk, VerifyError> {
    let mut told = 0_u64;
    if !others.is_empty() {
        let mut tell = |events: u64| {
            told = told.saturating_add(events);
            progress(events);
        };
        if let Some(walk) = together::walk(connection, others, threads, start.clone(), RUN_ROWS, &mut tell)? {
            return Ok(walk);
        }
    }
    let mut walked = 0_u64;
    // What was told of already is not told of again.
    let mut tell = |events: u64| {
        let before = walked.max(told);
        walked = walked.saturating_add(events);
        progress(walked.max(told) - before);
    };
    alone::walk(connection, start, RUN_ROWS, &mut tell)
}
