//! The comparison of the read tables with the fold of the log. The code of a rebuild fills a scratch
//! database, and the two are compared by key, as of each projection's cursor.
//!
//! The search index takes about as long as all other tables. If another connection sees the same tables, a
//! thread of its own makes and compares the index.

mod compare;
mod fold;
mod fts5;
mod index;
mod taken_over;

use std::thread::{Scope, ScopedJoinHandle};

use crossbeam_channel::{Receiver, Sender};
use rusqlite::{Connection, ErrorCode};

use super::error::{VerifyError, is_damage};
use super::report::{Check, Failure, TablesChecked};
use super::walk::Walk;
use crate::event::Seq;
use crate::limits::LISTED_MAX;
use crate::log::rows::shown_column;
use crate::log::schema;
use crate::projection::tables::scratch::scratch;
use crate::projection::tables::{self, Cursor, Form, PROJECTIONS, Projection, Stage};
use compare::{compare_table, failure};
use fold::{Obstacle, ToCheck};
use index::compare_index;

/// The projections to check, and the failures that were found before the check.
pub(super) struct Plan {
    reports: Vec<TablesChecked>,
    failures: Vec<Failure>,
    to_check: Vec<ToCheck>,
}

impl Plan {
    /// Finds the projections that can be checked.
    pub(super) fn new(log: &Connection, walk: &Walk, left_out: &[String]) -> Result<Plan, VerifyError> {
        let mut failures = Vec::new();
        let mut reports = Vec::new();
        let mut to_check = Vec::new();
        let found = schema::version_of(log)?;
        for projection in &PROJECTIONS {
            let cursor = match tables::cursor(log, projection.name, Stage::Live) {
                Err(error) if is_damage(&error) => {
                    failures.push(cursor_failure(projection, format!("its cursor cannot be read: {error}")));
                    None
                }
                Ok(None) if has_tables(log, projection)? => {
                    failures.push(cursor_failure(projection, "it has tables, but no cursor".to_owned()));
                    None
                }
                cursor => cursor?,
            };
            let why_left_out = if left_out.iter().any(|name| name == projection.name) {
                Some("the caller left them out".to_owned())
            } else if cursor.is_none() && found < schema::version() && !has_tables(log, projection)? {
                // Tables that are not there yet mislead nobody, so they need no check.
                Some(format!(
                    "the file has none: its schema version is {found}; opening the log for writing makes them"
                ))
            } else {
                None
            };
            let report = TablesChecked {
                projection: projection.name.to_owned(),
                position: cursor.as_ref().map_or(Seq::ZERO, |cursor| cursor.position),
                lag: walk.events.saturating_sub(cursor.as_ref().map_or(0, |cursor| cursor.position.get())),
                not_checked: not_checked(projection, cursor.as_ref()).filter(|_| why_left_out.is_none()),
                left_out: why_left_out,
                stopped: cursor.as_ref().and_then(|cursor| {
                    cursor
                        .stopped
                        .as_ref()
                        .map(|stopped| format!("at event {}: {}", stopped.seq, stopped.error))
                }),
                rows: 0,
            };
            if let Some(position) = cursor.as_ref().map(|cursor| cursor.position.get())
                && position > walk.events
            {
                failures.push(cursor_failure(
                projection,
                format!(
                    "its tables hold events up to {position}, but the log ends at {}: events were cut off at the end, or the cursor was moved",
                    walk.events
                ),
            ));
            }
            if let (Some(cursor), None) = (cursor, report.why_not()) {
                // Erasures after the cursor: the tables still hold these events, but the fold can no longer
                // make their rows, because the payloads are gone.
                let erased_later = walk
                    .redactions
                    .iter()
                    .filter(|redaction| redaction.licence > cursor.position)
                    .flat_map(|redaction| redaction.seqs.iter().copied().map(Seq::new))
                    .filter(|seq| *seq <= cursor.position)
                    .collect();
                let until = cursor.position;
                to_check.push(ToCheck { report_index: reports.len(), projection, until, erased_later });
            }
            reports.push(report);
        }
        Ok(Plan { reports, failures, to_check })
    }
}

/// Tables that are checked by another thread.
pub(super) struct Apart<'s> {
    part: ScopedJoinHandle<'s, Result<Vec<Outcome>, VerifyError>>,
    /// Messages of that thread, each with a number of events that it folded.
    folded: Receiver<u64>,
}

impl Plan {
    /// Starts a thread that checks the search index, if more than one thread is allowed and another
    /// connection sees the same tables.
    pub(super) fn begin<'s>(
        &mut self,
        scope: &'s Scope<'s, '_>,
        log: &Connection,
        others: &'s mut [Connection],
        threads: usize,
    ) -> Option<Apart<'s>> {
        if threads == 1 {
            return None;
        }
        let index = self.to_check.iter().position(|to_check| to_check.projection.has_index())?;
        let cursors = cursors(log).ok()?;
        // The other connection may have begun later. Its tables are the same only if no cursor has moved.
        let other =
            others.iter_mut().find(|other| self::cursors(other).is_ok_and(|found| found == cursors))?;
        let search = self.to_check.get(index)?.clone();
        let (folded_here, folded) = crossbeam_channel::unbounded();
        let check = move || check_part(other, &[search], &mut |events| send(&folded_here, events));
        let thread = std::thread::Builder::new().name("annals-verify".to_owned());
        let part = thread.spawn_scoped(scope, check).ok()?;
        // Removed only after the thread was started: otherwise the calling thread checks the index.
        self.to_check.remove(index);
        Some(Apart { part, folded })
    }
}

fn send(folded: &Sender<u64>, events: u64) {
    // The receiver is gone if the verification ended with an error.
    let _ = folded.send(events);
}

/// The cursors of all projections. Tables change only together with their cursor. Foreign rows are reported
/// elsewhere.
fn cursors(connection: &Connection) -> rusqlite::Result<Vec<[rusqlite::types::Value; 7]>> {
    let sql = format!(
        "SELECT {}, {}, version, generation, position, stopped_at, {} FROM projections LIMIT {LISTED_MAX}",
        shown_column("name"),
        shown_column("stage"),
        shown_column("error")
    );
    connection
        .prepare(&sql)?
        .query_map([], |row| {
            Ok([row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?, row.get(4)?, row.get(5)?, row.get(6)?])
        })?
        .collect()
}

/// Checks the tables of every projection that can be checked, and collects the results of the other thread.
pub(super) fn check(
    plan: Plan,
    log: &Connection,
    apart: Option<Apart<'_>>,
    failures: &mut Vec<Failure>,
    progress: &mut dyn FnMut(u64),
) -> Result<Vec<TablesChecked>, VerifyError> {
    let Plan { mut reports, failures: found, to_check } = plan;
    failures.extend(found);
    let mut folded = Folded { here: 0, apart: 0, reported: 0, progress };
    // The smaller number of the two counts as progress, so a part that does not exist must not hold it back.
    if apart.is_none() {
        folded.apart = u64::MAX;
    }
    let here = check_part(log, &to_check, &mut |events| {
        folded.here += events;
        if let Some(apart) = &apart {
            folded.apart += apart.folded.try_iter().sum::<u64>();
        }
        folded.report();
    });
    let mut outcomes = Vec::new();
    if let Some(Apart { part, folded: events }) = apart {
        folded.here = u64::MAX;
        // Ends when the other thread has dropped its sender.
        for events in events {
            folded.apart += events;
            folded.report();
        }
        outcomes.extend(part.join().map_err(|_| VerifyError::ThreadGone)??);
    }
    outcomes.extend(here?);
    // In the order of the projections, whichever thread checked them.
    outcomes.sort_by_key(|outcome| outcome.report_index);
    for outcome in outcomes {
        failures.extend(outcome.failures);
        if let Some(report) = reports.get_mut(outcome.report_index) {
            report.rows = outcome.rows;
            report.not_checked = outcome.not_checked;
        }
    }
    Ok(reports)
}

/// The progress of the folding, which is that of the slower of two threads.
struct Folded<'p> {
    here: u64,
    apart: u64,
    reported: u64,
    progress: &'p mut dyn FnMut(u64),
}

impl Folded<'_> {
    fn report(&mut self) {
        let by_both = self.here.min(self.apart);
        if by_both > self.reported {
            (self.progress)(by_both - self.reported);
            self.reported = by_both;
        }
    }
}

/// The result of the check of one projection.
struct Outcome {
    report_index: usize,
    rows: u64,
    not_checked: Option<String>,
    failures: Vec<Failure>,
}

/// Makes the tables of some projections anew, and compares them.
fn check_part(
    log: &Connection,
    part: &[ToCheck],
    progress: &mut dyn FnMut(u64),
) -> Result<Vec<Outcome>, VerifyError> {
    if part.is_empty() {
        return Ok(Vec::new());
    }
    let scratch = scratch()?;
    let obstacles = fold::fold(log, &scratch, part, progress)?;
    let check = |(to_check, obstacle): (&ToCheck, Option<Obstacle>)| {
        let report_index = to_check.report_index;
        let mut outcome = Outcome { report_index, rows: 0, not_checked: None, failures: Vec::new() };
        match obstacle {
            None => {
                let taken_over = take_over(log, &scratch, to_check, &mut outcome)?;
                let rows = compare(log, &scratch, to_check.projection, &mut outcome.failures)?;
                // Rows that were taken over were compared with themselves, so they do not count.
                outcome.rows = rows.saturating_sub(taken_over);
            }
            Some(Obstacle::NotKnown(reason)) => outcome.not_checked = Some(reason),
            Some(Obstacle::Refused(reason)) => outcome.failures.push(cursor_failure(
                to_check.projection,
                format!("its cursor is behind an event that cannot be applied: {reason}"),
            )),
        }
        Ok(outcome)
    };
    part.iter().zip(obstacles).map(check).collect()
}

/// Copies into the scratch tables the rows that cannot be made anew: their events were erased, and the tables
/// have not come to the erasure. Returns the number of these rows.
fn take_over(
    log: &Connection,
    scratch: &Connection,
    to_check: &ToCheck,
    outcome: &mut Outcome,
) -> Result<u64, VerifyError> {
    if to_check.erased_later.is_empty() {
        return Ok(0);
    }
    match taken_over::take_over(log, scratch, to_check.projection, &to_check.erased_later) {
        Ok(taken) => {
            outcome.not_checked = taken.what.map(|what| {
                format!(
                    "they do not reflect the erasure of {what} yet, and the rows of erased events cannot be compared; run `annals projections catch-up`, and verify again"
                )
            });
            Ok(taken.rows)
        }
        Err(error) if is_damage(&error) => {
            outcome.failures.push(cursor_failure(
                to_check.projection,
                format!("its rows of events that were erased cannot be read: {error}"),
            ));
            Ok(0)
        }
        Err(error) => Err(error.into()),
    }
}

fn has_tables(log: &Connection, projection: &Projection) -> Result<bool, VerifyError> {
    let tables = schema::objects(log)?;
    Ok(tables.iter().any(|object| {
        object.kind == "table" && projection.tables.iter().any(|table| table.name == object.name)
    }))
}

fn cursor_failure(projection: &Projection, detail: String) -> Failure {
    Failure {
        check: Check::ReadTable,
        seq: None,
        detail: format!("the projection `{}`: {detail}", projection.name),
        affected: format!("the read tables {}", projection.table_names().join(", ")),
    }
}

fn not_checked(projection: &Projection, cursor: Option<&Cursor>) -> Option<String> {
    let Some(cursor) = cursor else {
        return Some(
            "the file has no cursor for them, or an unreadable one; the next command that appends creates one"
                .to_owned(),
        );
    };
    if cursor.version == projection.version {
        return None;
    }
    let way_out = match cursor.version < projection.version {
        true => "`annals projections catch-up` rebuilds them",
        false => "verify with the version that filled them",
    };
    Some(format!(
        "they have version {}, but this version of Annals fills version {}; {way_out}, or leave them out with `--skip {}`",
        cursor.version, projection.version, projection.name
    ))
}

/// Compares the tables of a projection, and returns how many rows were equal.
fn compare(
    log: &Connection,
    scratch: &Connection,
    projection: &Projection,
    failures: &mut Vec<Failure>,
) -> Result<u64, VerifyError> {
    let mut compared = 0;
    for table in projection.tables {
        let difference = match table.form {
            Form::Index { .. } => compare_index(log, scratch),
            Form::Rows | Form::Workings => compare_table(log, scratch, table.name, &mut compared),
        };
        match difference {
            Ok(difference) => failures.extend(difference),
            Err(error) if is_damage(&error) => {
                let check = match error.sqlite_error_code() {
                    _ if table.is_index() => Check::SearchIndex,
                    Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => Check::Damage,
                    _ => Check::ReadTable,
                };
                let name = table.name;
                failures.push(failure(check, name, format!("`{name}` cannot be read: {error}")));
            }
            Err(error) => return Err(error.into()),
        }
    }
    Ok(compared)
}
