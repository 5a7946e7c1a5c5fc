//! Verification: what the file itself can prove, and what it cannot.
//!
//! Three verdicts, never one. **Self-consistent**: every byte of every row of the log follows from
//! the one before, and the read tables equal the fold. **Anchored**: something kept outside the file
//! vouches for it; without that, a log that was cut off at its end or rewritten whole cannot be told
//! from a good one. **Complete**: nothing is known to be missing.
//!
//! It reads one snapshot of the file and writes nothing to it.

mod log;
mod pages;
mod report;
mod row;
mod tables;

use std::collections::BTreeSet;
use std::path::Path;

use rusqlite::{Connection, ErrorCode};

pub use report::{
    Anchor, BackwardSteps, Check, Completeness, Failure, LogFacts, Redaction, Report, TablesChecked,
};

use crate::event::Seq;
use crate::log::open::{self, OpenError};
use crate::log::schema::{self, Object};
use crate::projection::tables::{Cursor, PROJECTIONS, Projection, Stage, cursor};

/// What is verified.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Scope {
    /// The log and the read tables.
    #[default]
    Everything,
    /// The log alone.
    LogOnly,
}

/// What a verification is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// It walks along the chain.
    Chain,
    /// It folds the log to hold the read tables against it.
    Fold,
}

/// A verification that could not be carried out. It says nothing about the log.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum VerifyError {
    /// The file cannot be opened.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The system kept SQLite from reading it, or has no room for the scratch tables.
    #[error("the verification could not go on: {0}")]
    Sqlite(#[from] rusqlite::Error),
    /// A checking thread ended early.
    #[error("a checking thread ended early")]
    ThreadGone,
}

/// Verifies the log at `path`. `progress` is told of events done, phase by phase.
///
/// Memory stays the same however long the log is, but for the erased payloads, of which a list is
/// kept; the check of the read tables needs temporary disk space of about their size.
///
/// # Errors
/// If the file cannot be opened or read; what is wrong with the log is in the report.
///
/// ```
/// # let folder = tempfile::tempdir()?;
/// # let path = folder.path().join("audit.db");
/// # annals::AuditLog::open(&path)?.close()?;
/// use annals::verify::{self, Scope};
///
/// let report = verify::verify(&path, Scope::Everything, &mut |_phase, _events| {})?;
/// assert!(report.self_consistent);
/// assert_eq!(report.anchored.anchored_to, None); // nothing outside the file was asked
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn verify(
    path: &Path,
    scope: Scope,
    progress: &mut dyn FnMut(Phase, u64),
) -> Result<Report, VerifyError> {
    let connection = match open::open_reader(path) {
        Err(OpenError::Sqlite { source, .. })
            if source.sqlite_error_code() == Some(ErrorCode::DatabaseCorrupt) =>
        {
            return Ok(Report::unreadable(path, &source));
        }
        opened => opened?,
    };
    // Temporary tables are written, the file cannot be: it is opened for reading alone.
    connection.pragma_update(None, "query_only", false)?;
    connection.execute_batch("BEGIN")?;
    let mut failures = Vec::new();
    let foreign_objects = check_schema(&connection, &mut failures);
    let foreign_objects = or_damage(foreign_objects, "the schema", &mut failures)?;
    let walk = log::walk(&connection, &mut |events| progress(Phase::Chain, events))?;
    failures.splice(0..0, walk.failure.clone());
    let checked = check_redactions(&connection, &walk, &mut failures);
    or_damage(checked, "the guard against changes of the log", &mut failures)?;
    let checked = check_skips(&connection, &walk, &mut failures);
    or_damage(checked, "the list of skipped events", &mut failures)?;
    pages::check(&connection, scope, &mut failures)?;
    // The fold of a log that is not good says nothing about the tables.
    let tables = match scope {
        Scope::Everything if walk.failure.is_none() => {
            let mut progress = |events| progress(Phase::Fold, events);
            match tables::check(&connection, &walk, &mut failures, &mut progress) {
                Err(VerifyError::Sqlite(error)) => {
                    or_damage(Err(error), "the read tables, which were not all checked", &mut failures)?
                }
                checked => checked?,
            }
        }
        _ => Vec::new(),
    };
    let tables = if tables.is_empty() { not_looked_at(&connection, &walk, scope) } else { tables };
    let completeness = completeness(&connection, &walk, &tables);
    Ok(Report {
        log: LogFacts {
            path: path.to_owned(),
            log_id: walk.log_id,
            origin: walk.origin,
            events: walk.events,
            head: walk.head,
            first_recorded_at: walk.first_recorded_at,
            last_recorded_at: walk.last_recorded_at,
        },
        self_consistent: failures.is_empty(),
        failures,
        anchored: Anchor::nothing_asked(),
        completeness,
        tables,
        redactions: walk.redactions,
        backward_steps: walk.backward_steps,
        foreign_objects,
    })
}

/// Whether an error says something about the file: anything but the system or another program that
/// stood in the way.
fn is_damage(error: &rusqlite::Error) -> bool {
    !matches!(
        error.sqlite_error_code(),
        Some(
            ErrorCode::DatabaseBusy
                | ErrorCode::DatabaseLocked
                | ErrorCode::OutOfMemory
                | ErrorCode::OperationInterrupted
                | ErrorCode::SystemIoFailure
                | ErrorCode::DiskFull
                | ErrorCode::CannotOpen
                | ErrorCode::PermissionDenied
                | ErrorCode::ReadOnly
        )
    )
}

/// The result of a check; where the file is too damaged for it, a failure.
fn or_damage<T: Default>(
    result: rusqlite::Result<T>,
    affected: &str,
    failures: &mut Vec<Failure>,
) -> Result<T, VerifyError> {
    match result {
        Ok(result) => Ok(result),
        Err(error) if is_damage(&error) => {
            // That something is missing has been said already.
            let is_missing = error.sqlite_error_code() == Some(ErrorCode::Unknown);
            if !(is_missing && failures.iter().any(|failure| failure.check == Check::Schema)) {
                failures.push(Failure {
                    check: Check::File,
                    seq: None,
                    detail: format!("the file cannot be read: {error}"),
                    affected: affected.to_owned(),
                });
            }
            Ok(T::default())
        }
        Err(error) => Err(error.into()),
    }
}

/// Holds the schema against what Annals makes, and names what is not ours.
fn check_schema(connection: &Connection, failures: &mut Vec<Failure>) -> rusqlite::Result<Vec<String>> {
    let mut expected: BTreeSet<Object> =
        schema::expected_objects(schema::version_of(connection)?)?.into_iter().collect();
    for projection in &PROJECTIONS {
        for stage in [Stage::Live, Stage::Building] {
            match cursor(connection, projection.name, stage) {
                Ok(Some(Cursor { version, generation, .. })) if version == projection.version => {
                    expected.extend(projection.objects(stage, generation)?);
                }
                // Tables of another version are not known here; a table that is gone is named below.
                Ok(_) | Err(_) => {}
            }
        }
    }
    let found = schema::objects(connection)?;
    for object in &expected {
        // A trigger may have the name of a table.
        let same_name = found.iter().find(|other| other.kind == object.kind && other.name == object.name);
        let what = match same_name {
            Some(other) if other == object => continue,
            Some(_) => "was altered",
            None => "is missing",
        };
        failures.push(Failure {
            check: Check::Schema,
            seq: None,
            detail: format!("the {} `{}` {what}", object.kind, object.name),
            affected: "what it holds or guards".to_owned(),
        });
    }
    failures.extend(foreign_cursors(connection)?);
    let ours: BTreeSet<(&str, &str)> =
        expected.iter().map(|object| (object.kind.as_str(), object.name.as_str())).collect();
    Ok(found
        .into_iter()
        .filter(|object| !ours.contains(&(object.kind.as_str(), object.name.as_str())))
        .map(|object| format!("{} {}", object.kind, object.name))
        .collect())
}

/// Holds the table that the trigger reads against the licences.
fn check_redactions(
    connection: &Connection,
    walk: &log::Walk,
    failures: &mut Vec<Failure>,
) -> rusqlite::Result<()> {
    if walk.failure.is_some() {
        return Ok(());
    }
    let table: BTreeSet<u64> = connection
        .prepare("SELECT seq FROM redactions")?
        .query_map([], |row| row.get(0).map(Seq::from_sql).map(Seq::get))?
        .collect::<rusqlite::Result<_>>()?;
    let licensed = walk.redactions.iter().flat_map(|redaction| redaction.seqs.iter().copied()).collect();
    if let Some(seq) = table.symmetric_difference(&licensed).next() {
        failures.push(Failure {
            check: Check::Redaction,
            seq: Some(Seq::new(*seq)),
            detail: if table.contains(seq) {
                format!("the table `redactions` names event {seq}, and no redaction of it is recorded")
            } else {
                format!("the table `redactions` does not name event {seq}, and a redaction of it is recorded")
            },
            affected: "the guard against changes of the log".to_owned(),
        });
    }
    Ok(())
}

/// Rows of `projections` that no Annals writes: they would have the check of tables passed over.
fn foreign_cursors(connection: &Connection) -> rusqlite::Result<Vec<Failure>> {
    // A table that is not there has been named already.
    let Ok(mut statement) = connection.prepare("SELECT name, stage, version, generation FROM projections")
    else {
        return Ok(Vec::new());
    };
    let mut rows = statement.query([])?;
    let mut failures = Vec::new();
    while let Some(row) = rows.next()? {
        let (name, stage): (String, String) = (row.get(0)?, row.get(1)?);
        let (version, generation): (i64, i64) = (row.get(2)?, row.get(3)?);
        let is_known = PROJECTIONS.iter().any(|projection| projection.name == name);
        // Negative numbers cannot be read as a cursor, which has been said.
        if is_known && version != 0 && generation != 0 {
            continue;
        }
        failures.push(Failure {
            check: Check::Schema,
            seq: None,
            detail: format!(
                "`projections` has a row for `{name}` ({stage}) with version {version} and generation {generation}, which no Annals writes"
            ),
            affected: "the check of the read tables".to_owned(),
        });
    }
    Ok(failures)
}

/// Holds the list of skipped events against the events that record the skips.
fn check_skips(
    connection: &Connection,
    walk: &log::Walk,
    failures: &mut Vec<Failure>,
) -> rusqlite::Result<()> {
    if walk.failure.is_some() {
        return Ok(());
    }
    let table: BTreeSet<(String, i64, u64)> = connection
        .prepare("SELECT projection, version, seq FROM projection_skips")?
        .query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2).map(Seq::from_sql)?.get())))?
        .collect::<rusqlite::Result<_>>()?;
    let recorded = walk
        .skips
        .iter()
        .map(|(projection, version, seq)| (projection.clone(), i64::from(*version), *seq))
        .collect();
    if let Some((projection, _, seq)) = table.symmetric_difference(&recorded).next() {
        failures.push(Failure {
            check: Check::Skips,
            seq: Some(Seq::new(*seq)),
            detail: format!("`projection_skips` and the log differ about `{projection}` and event {seq}"),
            affected: format!("the read tables of `{projection}`"),
        });
    }
    Ok(())
}

/// Read tables that nobody held against the log: that they are up to date cannot be said of them.
fn not_looked_at(connection: &Connection, walk: &log::Walk, scope: Scope) -> Vec<TablesChecked> {
    let why = match scope {
        Scope::LogOnly => "only the log was asked for",
        Scope::Everything => "the log itself, or the file, is damaged",
    };
    let report = |projection: &Projection| {
        // A cursor that cannot be read has been named among the failures.
        let cursor = cursor(connection, projection.name, Stage::Live).ok().flatten();
        let position = cursor.map_or(Seq::ZERO, |cursor| cursor.position);
        TablesChecked {
            projection: projection.name.to_owned(),
            position,
            lag: walk.events.saturating_sub(position.get()),
            not_checked: Some(why.to_owned()),
            stopped: None,
            rows: 0,
        }
    };
    PROJECTIONS.iter().map(report).collect()
}

fn completeness(connection: &Connection, walk: &log::Walk, tables: &[TablesChecked]) -> Completeness {
    // A table that cannot be read has been named among the failures.
    let sessions_open = connection
        .query_row(
            "SELECT count(*) FROM sessions WHERE status IN ('queued', 'running', 'paused')",
            [],
            |row| row.get::<_, u32>(0),
        )
        .map_or(0, u64::from);
    let projections_behind: Vec<String> = tables
        .iter()
        .filter(|table| table.lag > 0 || table.stopped.is_some() || table.not_checked.is_some())
        .map(|table| table.projection.clone())
        .collect();
    let skips = walk.skips.len() as u64;
    Completeness {
        complete: walk.events_lost == 0 && sessions_open == 0 && skips == 0 && projections_behind.is_empty(),
        events_lost: walk.events_lost,
        sessions_open,
        skips,
        projections_behind,
    }
}
