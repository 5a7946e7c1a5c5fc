//! `annals demo`: a pipeline that records itself, and questions to the record.

mod parts;
mod decisions;

use std::collections::HashMap;
use std::env;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::demo::{self, Options, PuzzleReport, Solution};
use crate::query::{SessionFilter, SessionRecord, SessionSummary};
use crate::verify::{self, Scope};
use crate::{AuditLog, EventId, Reader};
use anyhow::Context as _;
use serde::Serialize;

use super::ending;
use parts::{heading, shown};

use super::out::{DIM, Out, word};
use super::table::{Arrangement, Cell, Column, Table};
use super::time;
use super::verdict::Verdict;

/// Sessions without findings that the table shows.
const PLAIN_SESSIONS_SHOWN: usize = 5;

/// Run a demonstration: solve puzzles of the Game of 24, record each step, and show the record.
///
/// A tree search solves the puzzles on several threads. It uses no network and no model. It records
/// steps, decisions with the options considered, and findings. By default it records them in a new log
/// in the system's folder for temporary files. With --db it records them in that log, which must
/// contain only demonstrations. It ignores $ANNALS_DB.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "Examples:
  annals demo
  annals --db demo.db demo --threads 8")]
pub(crate) struct Args {
    /// Solve this many puzzles at the same time
    #[arg(long, value_name = "N", default_value = "4")]
    threads: NonZeroUsize,
}

/// The demonstration in JSON.
#[derive(Serialize)]
struct Shown<'a> {
    db: &'a Path,
    run: &'a str,
    threads: usize,
    events: usize,
    elapsed_us: u128,
    call_median_ns: u128,
    call_p99_ns: u128,
    sessions: Vec<SessionSummary>,
    example: Option<SessionRecord>,
    verification: verify::Report,
}

pub(crate) fn run(args: &Args, db: Option<&Path>, out: &mut Out) -> anyhow::Result<Verdict> {
    let path = db.map_or_else(temporary, Path::to_owned);
    // A log of others is not opened for appending at all.
    if path.symlink_metadata().is_ok() {
        demo::refuse_others(&Reader::open(&path)?)?;
    }
    let log = AuditLog::open(&path)?;
    let report = demo::run(&log, Options { threads: args.threads })?;
    // Closed before it is read: the read tables are complete then.
    ending::close(log)?;

    let reader = Reader::open(&path)?;
    let filter = SessionFilter {
        conversation: Some(report.run.clone()),
        limit: report.puzzles.len(),
        ..SessionFilter::default()
    };
    let mut sessions = reader.sessions(&filter)?.sessions;
    // The list is newest first; the table has the order of the puzzles.
    let places: HashMap<&str, usize> =
        (0..).zip(&report.puzzles).map(|(place, puzzle)| (puzzle.session.as_str(), place)).collect();
    sessions.sort_by_key(|session| places.get(session.id.as_str()).copied());
    // A missed answer is the better example: its session has a finding.
    let missed = report.puzzles.iter().find(|puzzle| matches!(puzzle.answer, Solution::Missed(_)));
    let example = missed.or(report.puzzles.first());
    let record = match example {
        Some(puzzle) => reader.session(puzzle.session.as_str())?,
        None => None,
    };
    let verification = verify::verify(&path, Scope::Everything, &mut |_, _| {})
        .context("the verification of the log failed")?;
    let verdict = if verification.self_consistent { Verdict::Done } else { Verdict::FoundWrong };

    if out.is_json() {
        out.json(&Shown {
            db: &path,
            run: &report.run,
            threads: report.threads,
            events: report.events,
            elapsed_us: report.elapsed.as_micros(),
            call_median_ns: report.calls.percentile(50).as_nanos(),
            call_p99_ns: report.calls.percentile(99).as_nanos(),
            sessions,
            example: record,
            verification,
        })?;
        return Ok(verdict);
    }
    head(&report, &path, out)?;
    table(&sessions, &report.puzzles, out)?;
    if let (Some(puzzle), Some(record)) = (example, &record) {
        decisions::show(puzzle, record, out)?;
    }
    heading("Verification", out)?;
    super::verify::print(&verification, Scope::Everything, out)?;
    next_commands(&path, example, out)?;
    Ok(verdict)
}

/// A file in a new folder that nobody else can have made before.
fn temporary() -> PathBuf {
    env::temp_dir().join(format!("annals-demo-{}", EventId::generate())).join("audit.db")
}

fn head(report: &demo::Report, path: &Path, out: &mut Out) -> anyhow::Result<()> {
    let count =
        |fits: fn(&Solution) -> bool| report.puzzles.iter().filter(|puzzle| fits(&puzzle.answer)).count();
    let found = count(|answer| matches!(answer, Solution::Found(_)));
    let missed = count(|answer| matches!(answer, Solution::Missed(_)));
    let none = count(|answer| matches!(answer, Solution::NoneExists));
    out.line(&format!(
        "{} puzzles on {} threads: {found} solved, {missed} not solved, {none} without an answer",
        report.puzzles.len(),
        report.threads
    ))?;
    let seconds = report.elapsed.as_secs_f64();
    let rate = f64::from(u32::try_from(report.events).unwrap_or(u32::MAX)) / seconds.max(1e-9);
    out.line(&format!(
        "{} events recorded durably in {}: {rate:.0} events/s",
        report.events,
        time::duration(micros(report.elapsed)),
    ))?;
    out.line(&format!(
        "duration of a call to the log: {:.1} µs (median), {:.1} µs (99th percentile)",
        report.calls.percentile(50).as_secs_f64() * 1e6,
        report.calls.percentile(99).as_secs_f64() * 1e6,
    ))?;
    out.line(&format!("log file: {}", super::text::line(&path.display().to_string())))?;
    Ok(())
}

fn micros(duration: Duration) -> i64 {
    i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)
}

fn table(sessions: &[SessionSummary], puzzles: &[PuzzleReport], out: &mut Out) -> anyhow::Result<()> {
    heading("Sessions", out)?;
    let answers: HashMap<&str, &Solution> =
        puzzles.iter().map(|puzzle| (puzzle.session.as_str(), &puzzle.answer)).collect();
    let mut table = Table::new(vec![
        Column::whole("SESSION"),
        Column::whole("STATUS"),
        Column::whole("TOOK").optional(1),
        Column::whole("STEPS").optional(2),
        Column::whole("FINDINGS").optional(3),
        Column::cut("ANSWER"),
    ]);
    let (mut plain, mut hidden) = (0, 0);
    for session in sessions {
        // Sessions with findings are always shown.
        if session.finding_count == 0 {
            plain += 1;
            if plain > PLAIN_SESSIONS_SHOWN {
                hidden += 1;
                continue;
            }
        }
        table.add(vec![
            Cell::id(&session.id),
            word(&session.status),
            Cell::number(session.duration_us.map(time::duration)),
            Cell::number(Some(session.step_count)),
            Cell::number(Some(session.finding_count).filter(|count| *count > 0)),
            Cell::maybe(answers.get(session.id.as_str()).map(|answer| shown(answer))),
        ]);
    }
    out.print(&table, Arrangement::Fitting)?;
    if hidden > 0 {
        let more = out.paint(DIM, &format!("and {hidden} more solved puzzles"));
        out.line(&more)?;
    }
    Ok(())
}

fn next_commands(path: &Path, example: Option<&PuzzleReport>, out: &mut Out) -> anyhow::Result<()> {
    heading("Commands to try next", out)?;
    let annals = format!("{} --db {}", quoted(&program()), quoted(&path.display().to_string()));
    let session = example.map_or_else(String::new, |puzzle| quoted(puzzle.session.as_str()));
    for command in [
        "sessions --with-findings".to_owned(),
        format!("show {session}"),
        "verify".to_owned(),
        "search '\"fractions lead nowhere\"'".to_owned(),
        format!("replay {session} --step"),
        "sql 'SELECT module, count(*), round(avg(confidence), 2) AS confidence FROM steps GROUP BY module'"
            .to_owned(),
    ] {
        out.line(&format!("  {annals} {command}"))?;
    }
    Ok(())
}

/// The command by which this program was started: a program in a build folder is not on the shell's path.
fn program() -> String {
    let started = env::args_os().next().map(PathBuf::from).unwrap_or_default();
    // A name without a folder was found on the shell's path.
    if started.components().count() > 1 { started.display().to_string() } else { "annals".to_owned() }
}

/// A word of a command line, as shells of the Bourne family read it.
fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-@=:,+".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', "'\\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::quoted;

    #[test]
    fn words_survive_the_shell() {
        assert_eq!(quoted("/tmp/a-b/audit.db"), "/tmp/a-b/audit.db");
        assert_eq!(quoted("my log's.db"), r"'my log'\''s.db'");
        assert_eq!(quoted(""), "''");
    }
}
