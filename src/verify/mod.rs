//! Verification of a log: the facts that the file itself can prove, and those that it cannot.
//!
//! There are four separate verdicts. **Self-consistent**: every byte of every row of the log follows from the
//! row before, and the read tables equal the fold. **Anchored**: something that is kept outside the file
//! vouches for the log. Without an anchor, a log that was cut off at its end or rewritten as a whole looks
//! like a good one. **Remembered**: the log still has the events that earlier verifications saw.
//! **Complete**: nothing is known to be missing.
//!
//! A verification reads one snapshot of the file and writes nothing to it.

mod entry_ref;
mod error;
mod hashes;
mod inside;
mod lost;
mod predecessors;
mod report;
mod required;
mod row;
mod structure;
mod tree;
mod past;
mod seen;
mod options;
mod trust;
mod stored;
mod given;
mod walk;
mod beside;
mod pages;
mod since;
mod snapshot;
mod tables;

use std::path::Path;

use rusqlite::{Connection, ErrorCode};

pub use error::VerifyError;
pub use options::{Options, Scope};
pub use report::{
    Anchor, BackwardSteps, Check, Completeness, Failure, KeyChangeSeen, LogFacts, NotChecked, Outcome,
    PredecessorFound, Record, Redaction, Remembered, Report, RowSeq, SignerFound, Since, SplitView,
    TablesChecked, WitnessFound,
};
pub use seen::Memory;
pub use trust::{NotSigned, signers};

use crate::event::{Event, Seq};
use crate::evidence;
use crate::file::FileIdentity;
use crate::limits::{LISTED_MAX, REPORTED_SEQS_MAX};
use crate::log::schema;
use crate::log::still::Still;
use crate::log::{self, OpenError, Reading};
use crate::projection::tables::{PROJECTIONS, Projection, Stage, cursor};
use crate::query::coverage::{self, CoverageGap};
use crate::storage::StorageErrorKind;
use error::{is_damage, projections};
use given::Walked;
use past::PastRoots;
use report::{listed, shortened};
use row::{OwnedRow, Payloads};
use seen::Seen;
use since::NoStart;
use tree::Wanted;
use trust::Trust;
use walk::{Start, Walk};

/// The current phase of a verification, for reports of progress.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Phase {
    /// The walk along the chain.
    Chain,
    /// The fold of the log, for the comparison with the read tables.
    Fold,
}

/// Verifies the log at `path`. Calls `progress` with the number of events done since the last call, phase by
/// phase.
///
/// Memory does not grow with the log, except for a list of the erased payloads and, where the tree is needed,
/// 32 bytes for every 256 events and about 50 bytes for every checkpoint. The check of the read tables needs
/// temporary disk space of about their size.
///
/// # Errors
/// If the file cannot be opened or read. Problems of the log itself are in the report.
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
    options: impl Into<Options>,
    progress: &mut dyn FnMut(Phase, u64),
) -> Result<Report, VerifyError> {
    let options = options.into();
    if let Some(name) = options.left_out.iter().find(|name| !projections().contains(&name.as_str())) {
        return Err(VerifyError::UnknownProjection { name: name.clone() });
    }
    let file = FileIdentity::behind(path).ok();
    let Reading { connection, still, .. } = match log::open_reading(path) {
        Err(OpenError::Storage { source, .. }) if source.kind() == StorageErrorKind::Damaged => {
            return Ok(Report::unreadable(path, options.checkpoints.len() as u64, source.sqlite()));
        }
        // This is found when the file is opened. A view or a virtual table can make up its rows, so nothing
        // below may read it.
        Err(OpenError::NoTable { table, .. }) => {
            let checkpoints = options.checkpoints.len() as u64;
            return Ok(Report::damaged(path, checkpoints, required::replaced(table)));
        }
        opened => opened?,
    };
    snapshot::configure(&connection)?;
    let mut others = snapshot::begin(path, file, &connection, options.threads_max())?;
    let report = Verification { path, connection: &connection, options: &options, failures: Vec::new() }
        .run(&mut others, progress);
    // A file that is read without locks may have changed meanwhile. Pages from two moments look like damage,
    // so no report is returned then.
    still.as_ref().map_or(Ok(()), Still::require)?;
    report
}

/// A running verification, within one transaction of its connection.
struct Verification<'v> {
    path: &'v Path,
    connection: &'v Connection,
    options: &'v Options,
    failures: Vec<Failure>,
}

impl Verification<'_> {
    fn run(
        mut self,
        others: &mut [Connection],
        progress: &mut dyn FnMut(Phase, u64),
    ) -> Result<Report, VerifyError> {
        let Verification { path, connection, options, .. } = self;
        let foreign_objects = beside::check_schema(connection, &mut self.failures);
        let foreign_objects = or_damage(foreign_objects, "the schema", &mut self.failures)?;
        if let Some(failure) = required::check(connection)? {
            return Ok(self.nothing_to_judge(failure));
        }
        // Before the walk: it keeps a root only at the sizes that it knows in advance.
        let seen = options.memory.as_ref().map(|memory| Seen::read(memory, path, self.origin().as_deref()));
        let wanted = self.wanted(seen.as_ref())?;
        let mut trust = Trust::new(options.trusted());
        let (start, since) = match &options.since {
            None => (Start::first(wanted.as_ref()), None),
            Some(given) => match since::begin(connection, given, &trust, &wanted.unwrap_or_default()) {
                Ok(begun) => (begun.start, Some(begun.known)),
                Err(NoStart::Error(error)) => return Err(error),
                Err(NoStart::Failure(failure)) => return Ok(self.nothing_to_judge(failure)),
            },
        };
        let mut walk = walk::walk(connection, others, options.threads_max(), start, &mut |events| {
            progress(Phase::Chain, events)
        })?;
        if let Some(known) = &since {
            known.complete(&mut walk);
        }
        // The first bad row comes first in the report, before what the schema's check found.
        self.failures.splice(0..0, walk.failure.clone());
        let tables = match &since {
            None => self.check_tables(others, &walk, &trust, progress)?,
            Some(_) => {
                let why = "the verification began at a checkpoint, and does not include them".to_owned();
                not_looked_at(connection, &walk, &NotLookedAt::LeftOut(why))
            }
        };
        let log = LogFacts {
            path: path.to_owned(),
            log_id: walk.log_id,
            origin: walk.origin.clone(),
            events: walk.events,
            head: walk.head,
            first_recorded_at: walk.first_recorded_at,
            last_recorded_at: walk.last_recorded_at,
        };
        let mut past = PastRoots::new(connection, walk.tree.as_ref());
        let anchored = self.anchor(&log, &walk, &mut trust, &mut past)?;
        // A bad log must not replace the record of a good one. So a log is remembered only if every row is
        // good and it contradicts nothing from outside the file. The record is about the chain: failures of
        // tables do not matter here.
        let mut remembered =
            seen.map(|seen| seen.compare(&log, &mut |size| past.root_at(size))).transpose()?;
        if let (Some(memory), Some(remembered), Some(tree), None) =
            (&options.memory, &mut remembered, &walk.tree, &walk.failure)
            && remembered.failures.is_empty()
            && remembered.not_compared.is_none()
            && anchored.failures.is_empty()
            && anchored.not_checked.is_empty()
        {
            seen::keep(memory, &log, tree, remembered);
        }
        let unseen = remembered
            .as_ref()
            .and_then(|remembered| remembered.not_compared.clone())
            .map(|why| NotChecked { what: "agreement with earlier verifications".to_owned(), why });
        let events_lost = std::mem::take(&mut walk.lost).count(connection);
        let events_lost = or_damage(events_lost, "the count of lost events", &mut self.failures)?;
        // Tables of another version may lack a column. That they were not checked is said already.
        let are_checked = tables.iter().all(|table| table.why_not().is_none());
        let gaps = if are_checked { coverage_gaps(connection) } else { Ok(Default::default()) };
        let gaps = or_damage(gaps, "the events that programs announced", &mut self.failures)?;
        let completeness = completeness(connection, &walk, &tables, events_lost, gaps);
        let rows_read = walk.rows_read + past.rows_read;
        let (redactions, redactions_left_out) = listed_redactions(walk.redactions);
        let (foreign_objects, foreign_objects_left_out) = listed(foreign_objects, LISTED_MAX);
        let unchecked: Vec<NotChecked> = tables.iter().filter_map(unchecked).collect();
        let report = Report {
            log,
            outcome: Outcome::Wrong,
            self_consistent: self.failures.is_empty() && unchecked.is_empty(),
            failures: self.failures,
            not_checked: unchecked
                .into_iter()
                .chain(unseen)
                .chain(anchored.not_checked.iter().cloned())
                .collect(),
            anchored,
            // Damage is reported above. This repeats the file's own account.
            evidence: evidence::status(connection).unwrap_or_default(),
            completeness,
            tables,
            redactions,
            redactions_left_out,
            backward_steps: walk.backward_steps,
            foreign_objects,
            foreign_objects_left_out,
            since: since.map(|known| known.report(rows_read)),
            remembered,
        };
        Ok(report.concluded())
    }

    /// The log's own name, read from its first event. The link of that event is not checked yet.
    fn origin(&self) -> Option<String> {
        let first = OwnedRow::at(self.connection, Seq::FIRST, Payloads::Read).ok()??;
        match row::own_event(first.as_ref())? {
            Event::LogCreated(created) => Some(shortened(created.origin)),
            _ => None,
        }
    }

    /// The sizes at which the tree's root is wanted, or None if no tree is needed. Each checkpoint that the
    /// file keeps takes about 50 bytes of memory until the end, for its size and root.
    fn wanted(&mut self, seen: Option<&Seen>) -> Result<Option<Wanted>, VerifyError> {
        let options = self.options;
        let mut sizes: Vec<u64> = options.checkpoints.iter().map(|given| given.checkpoint.size()).collect();
        sizes.extend(seen.iter().flat_map(|seen| seen.sizes()));
        let looks_at_tables = self.looks_at_tables() && options.since.is_none();
        let has_tables = looks_at_tables
            && (schema::has_table(self.connection, "tiles")?
                || schema::has_table(self.connection, "checkpoints")?);
        if has_tables {
            let read = stored::each_checkpoint(self.connection, |stored| sizes.push(stored.size()));
            // Damage of this table is reported where the table is judged.
            read.or_else(|error| if is_damage(&error) { Ok(()) } else { Err(error) })?;
        }
        let is_needed = !options.checkpoints.is_empty()
            || !options.keys.is_empty()
            || options.since.is_some()
            || options.memory.is_some()
            || has_tables;
        Ok(is_needed.then(|| Wanted::new(sizes)))
    }

    /// Returns whether the evidence tables are part of what was asked for.
    fn looks_at_tables(&self) -> bool {
        self.options.scope == Scope::Everything || !self.options.keys.is_empty()
    }

    /// Checks the tables that stand beside the log in the file.
    fn check_tables(
        &mut self,
        others: &mut [Connection],
        walk: &Walk,
        trust: &Trust,
        progress: &mut dyn FnMut(Phase, u64),
    ) -> Result<Vec<TablesChecked>, VerifyError> {
        let Verification { connection, options, failures, .. } = self;
        let scope = options.scope;
        let checked = beside::check_redactions(connection, walk, failures);
        or_damage(checked, "the protection of the log against changes", failures)?;
        let checked = beside::check_skips(connection, walk, failures);
        or_damage(checked, "the list of skipped events", failures)?;
        let checked = beside::check_api_keys(connection, walk, failures);
        or_damage(checked, "the API keys that a server accepts", failures)?;
        // The fold and the tree of a bad log prove nothing about the tables, so those are not compared.
        if scope == Scope::LogOnly || walk.failure.is_some() {
            pages::check(connection, scope, walk, failures)?;
            let why = match scope {
                Scope::LogOnly => NotLookedAt::LeftOut("only the log was to be verified".to_owned()),
                Scope::Everything => NotLookedAt::damaged(),
            };
            return Ok(not_looked_at(connection, walk, &why));
        }
        let mut plan = tables::Plan::new(connection, walk, &options.left_out);
        // Another thread may check the search index while this one checks the pages and the evidence tables.
        // If this one fails, the scope still waits for the other.
        let tables = std::thread::scope(|threads| {
            let apart = plan
                .as_mut()
                .ok()
                .and_then(|plan| plan.begin(threads, connection, others, options.threads_max()));
            pages::check(connection, scope, walk, failures)?;
            if let Some(tree) = &walk.tree {
                let found = stored::check(connection, walk.origin.as_deref(), tree, trust);
                let found = or_damage(found, "the evidence tables", failures)?;
                failures.extend(found);
            }
            let mut progress = |events| progress(Phase::Fold, events);
            plan.and_then(|plan| tables::check(plan, connection, apart, failures, &mut progress))
        });
        let tables = match tables {
            Err(VerifyError::Storage(error)) => {
                or_damage(Err(error.into_sqlite()), "the read tables, which were not all checked", failures)?
            }
            checked => checked?,
        };
        Ok(match tables.is_empty() {
            true => not_looked_at(connection, walk, &NotLookedAt::damaged()),
            false => tables,
        })
    }

    /// Compares the log with the checkpoints, keys and policy that were given from outside the file.
    fn anchor(
        &self,
        log: &LogFacts,
        walk: &Walk,
        trust: &mut Trust,
        past: &mut PastRoots<'_>,
    ) -> Result<Anchor, VerifyError> {
        let mut key_changes = Vec::new();
        let mut failures = Vec::new();
        // In the order of the log, and before any checkpoint: the changes decide which keys are trusted for
        // which sizes.
        for (seq, event) in &walk.key_changes {
            let mut root_at = |size| past.root_at(size);
            let (seen, failure) = trust.change(log.origin.as_deref(), *seq, event.clone(), &mut root_at)?;
            key_changes.push(seen);
            failures.extend(failure);
        }
        let mut anchor = match &walk.tree {
            Some(tree) => {
                // Damage has no seq. Nothing is known of the events after the last one that was read, so the
                // next one counts as bad.
                let after_last = log.events.saturating_add(1);
                let first_bad = walk
                    .failure
                    .as_ref()
                    .map(|failure| failure.seq.map_or(after_last, |seq| Seq::from_sql(seq.get()).get()));
                let walked = Walked { origin: log.origin.as_deref(), events: log.events, first_bad, tree };
                let (given, policy) = (&self.options.checkpoints, self.options.policy.as_ref());
                let has_stored = !trust.is_empty() && self.options.since.is_none();
                // Trust goes back to earlier keys only through changes of keys.
                if !walk.key_changes.is_empty() {
                    let stored = has_stored.then_some(self.connection);
                    let covered = given::covered(given, stored, trust, &walked)?;
                    let mut root_at = |size| past.root_at(size);
                    let events = trust.look_back(walked.origin, &walk.key_changes, covered, &mut root_at)?;
                    for seen in &mut key_changes {
                        seen.leads_back = events.contains(&seen.seq);
                    }
                }
                let mut anchor = given::judge(given, trust, policy, &walked, &walk.key_changes);
                if has_stored {
                    let judged = given::judge_stored(self.connection, trust, policy, &walked, &mut anchor);
                    or_damage(judged, "the last event for which the log was signed", &mut anchor.failures)?;
                }
                anchor
            }
            None => Anchor::nothing_asked(),
        };
        anchor.key_changes = key_changes;
        let origin = log.origin.as_deref();
        if trust.is_of_other_logs(origin) {
            let log = origin.map_or_else(|| "any log".to_owned(), |origin| format!("this log `{origin}`"));
            anchor.not_checked.push(NotChecked {
                what: "signatures".to_owned(),
                why: format!("none of the given keys is a key of {log}: {}", trust.names()),
            });
        }
        if self.options.policy.is_some() && trust.is_empty() {
            anchor.not_checked.push(NotChecked {
                what: "the policy".to_owned(),
                why: "it applies to checkpoints, and no key was given to check their signatures".to_owned(),
            });
        }
        // Failures of key changes stand before those of checkpoints: docs/format.md, section 11.
        anchor.failures.splice(0..0, failures);
        let last_covered = anchor.anchored_to.and_then(|size| {
            let last = OwnedRow::at(self.connection, Seq::new(size), Payloads::LeftOut).ok()??;
            last.own_entry().map(|entry| entry.recorded_at)
        });
        anchor.conclude(log.events, last_covered, log.last_recorded_at);
        Ok(anchor)
    }

    /// The report of a log of which no row was walked.
    fn nothing_to_judge(self, failure: Failure) -> Report {
        // Damage and a bad link are faults of the file. All other failures count as a contradiction of the
        // checkpoint at which the walk was to begin.
        let is_evidence = !matches!(failure.check, Check::Damage | Check::Link);
        let mut report = Report::empty(self.path);
        report.anchored = Anchor::not_judged(self.options.checkpoints.len() as u64);
        let failures = if is_evidence { &mut report.anchored.failures } else { &mut report.failures };
        failures.push(failure);
        report.failures.extend(self.failures);
        report.self_consistent = report.failures.is_empty();
        report.concluded()
    }
}

/// The redactions for the report, and the number of the others. The redactions name at most
/// [`REPORTED_SEQS_MAX`] events in all.
fn listed_redactions(redactions: Vec<Redaction>) -> (Vec<Redaction>, u64) {
    let mut seqs = 0_usize;
    let fitting = redactions
        .iter()
        .take_while(|redaction| {
            seqs = seqs.saturating_add(redaction.seqs.len());
            seqs <= REPORTED_SEQS_MAX
        })
        .count();
    listed(redactions, fitting)
}

/// The result of a check. If the file is too damaged for the check, adds a failure and returns the default
/// value.
fn or_damage<T: Default>(
    result: rusqlite::Result<T>,
    affected: &str,
    failures: &mut Vec<Failure>,
) -> Result<T, VerifyError> {
    match result {
        Ok(result) => Ok(result),
        Err(error) if is_damage(&error) => {
            // SQLite reports a missing table as an error without a code of its own. The check of the schema
            // has reported that table already.
            let is_missing = error.sqlite_error_code() == Some(ErrorCode::Unknown);
            let is_reported = |failure: &Failure| matches!(failure.check, Check::Schema | Check::Damage);
            if !(is_missing && failures.iter().any(is_reported)) {
                failures.push(Failure {
                    check: Check::Damage,
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

/// The reason why no read tables were compared with the log.
enum NotLookedAt {
    /// The caller did not ask for it.
    LeftOut(String),
    /// The comparison was not possible.
    NotChecked(String),
}

impl NotLookedAt {
    fn damaged() -> NotLookedAt {
        NotLookedAt::NotChecked("the log itself, or the file, is damaged".to_owned())
    }
}

/// The reports of read tables that were not compared with the log. Nothing shows that these tables are up to
/// date.
fn not_looked_at(connection: &Connection, walk: &Walk, why: &NotLookedAt) -> Vec<TablesChecked> {
    let (not_checked, left_out) = match why {
        NotLookedAt::LeftOut(why) => (None, Some(why)),
        NotLookedAt::NotChecked(why) => (Some(why), None),
    };
    let report = |projection: &Projection| {
        // A cursor that cannot be read is among the failures already.
        let cursor = cursor(connection, projection.name, Stage::Live).ok().flatten();
        let position = cursor.map_or(Seq::ZERO, |cursor| cursor.position);
        TablesChecked {
            projection: projection.name.to_owned(),
            position,
            lag: walk.events.saturating_sub(position.get()),
            not_checked: not_checked.cloned(),
            left_out: left_out.cloned(),
            stopped: None,
            rows: 0,
        }
    };
    PROJECTIONS.iter().map(report).collect()
}

/// The entry in the report for tables of a projection that were asked for and not checked.
fn unchecked(tables: &TablesChecked) -> Option<NotChecked> {
    let what = format!("the read tables of `{}`", tables.projection);
    tables.not_checked.clone().map(|why| NotChecked { what, why })
}

fn completeness(
    connection: &Connection,
    walk: &Walk,
    tables: &[TablesChecked],
    events_lost: u64,
    (coverage_gaps, coverage_gaps_left_out): (Vec<CoverageGap>, u64),
) -> Completeness {
    // A table that cannot be read is among the failures already.
    let sessions_open = connection
        .query_row(
            "SELECT count(*) FROM sessions WHERE status IN ('queued', 'running', 'paused')",
            [],
            |row| row.get::<_, u32>(0),
        )
        .map_or(0, u64::from);
    let projections_behind: Vec<String> = tables
        .iter()
        .filter(|table| table.lag > 0 || table.stopped.is_some() || table.why_not().is_some())
        .map(|table| table.projection.clone())
        .collect();
    let skips = walk.skips.len() as u64;
    let is_complete = events_lost == 0
        && sessions_open == 0
        && skips == 0
        && projections_behind.is_empty()
        && coverage_gaps.is_empty();
    Completeness {
        complete: is_complete,
        events_lost,
        sessions_open,
        skips,
        projections_behind,
        coverage_gaps,
        coverage_gaps_left_out,
    }
}

/// The first gaps of coverage, and the number of the others.
fn coverage_gaps(connection: &Connection) -> rusqlite::Result<(Vec<CoverageGap>, u64)> {
    let (mut gaps, mut left_out) = (Vec::new(), 0);
    coverage::gaps(connection, coverage::Of::All, |gap| {
        match gaps.len() {
            LISTED_MAX => left_out += 1,
            _ => gaps.push(gap),
        }
        Ok::<_, rusqlite::Error>(())
    })?;
    Ok((gaps, left_out))
}
