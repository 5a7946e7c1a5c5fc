//! The walk along the log, shared among threads if they can read the same moment of it.
//!
//! A row's link is checked against the stored link before it. If that holds for every row, the chain is one
//! line. So rows can be checked in any order and by several threads. Each thread takes one run of rows after
//! the other, reads it through its own connection, and checks the rows inside SQLite. The results of the runs
//! are put together in order.
//!
//! If anything is wrong, one thread walks again along the whole log, row after row, and only its result
//! counts. So the first bad row does not depend on the number of threads.

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

/// Walks along the log to its end, on at most `threads` threads. `others` are connections that see the same
/// moment of the log: one for each thread except the calling one, and at least one. If there are none, the
/// calling thread walks alone.
pub(super) fn walk(
    connection: &Connection,
    others: &mut [Connection],
    threads: usize,
    start: Start,
    progress: &mut dyn FnMut(u64),
) -> Result<Walk, VerifyError> {
    // Each thread has one row in memory, and no good row is longer than this.
    bound_values(connection, others, PAYLOAD_BYTES_MAX + 2 * JUDGED_ENTRY_BYTES_MAX)?;
    let walked = walk_bounded(connection, others, threads, start, progress);
    bound_values(connection, others, COLUMN_BYTES_MAX)?;
    walked
}

/// Makes connections refuse longer values before these are in memory.
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
    let mut reported = 0_u64;
    if !others.is_empty() {
        let mut report = |events: u64| {
            reported = reported.saturating_add(events);
            progress(events);
        };
        // None is no verdict: a row may be bad, or a thread could not do its part. The walk of one thread
        // then decides.
        if let Some(walk) = together::walk(connection, others, threads, start.clone(), RUN_ROWS, &mut report)?
        {
            return Ok(walk);
        }
    }
    let mut walked = 0_u64;
    // Rows that the shared walk has reported are not reported again.
    let mut report = |events: u64| {
        let before = walked.max(reported);
        walked = walked.saturating_add(events);
        progress(walked.max(reported) - before);
    };
    alone::walk(connection, start, RUN_ROWS, &mut report)
}
