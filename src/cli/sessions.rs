//! `annals sessions`: lists sessions, newest first.

use std::io::{self, Write as _};

use crate::query::{SessionFilter, SessionSummary};
use crate::{Reader, Seq, SessionEnd, SessionProgress, Timestamp};
use clap::builder::PossibleValuesParser;
use comfy_table::{Cell, ColumnConstraint};

use super::log_file::LogFile;
use super::out::{self, Out, maybe, number, one_line, word};
use super::rows::TABLE_ROWS_MAX;
use super::time;
use super::verdict::Verdict;

/// Width of a terminal from which on every column is shown.
const WIDE: usize = 100;

/// List sessions, newest first. A session must match every filter that is given.
///
/// The newest is the one that was recorded last. A time with ~ is the time of recording, of a session that
/// does not state its own time. CONFIDENCE is the lowest confidence of its steps.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "Examples:
  annals sessions --status failed --since 7d
  annals sessions --max-confidence 0.7 --with-findings
  annals sessions --text 'refund policy' --limit 5")]
pub(crate) struct Args {
    /// With this status
    #[arg(long, value_parser = statuses())]
    status: Option<String>,

    /// Of this pipeline
    #[arg(long)]
    profile: Option<String>,

    /// Of this conversation
    #[arg(long, value_name = "ID")]
    conversation: Option<String>,

    /// Begun at this time or later: 2026-11-20, 2026-11-20T12:00:00Z, or how long ago: 24h, 7d
    #[arg(long, value_name = "TIME", value_parser = time::parse)]
    since: Option<Timestamp>,

    /// Begun before this time
    #[arg(long, value_name = "TIME", value_parser = time::parse)]
    until: Option<Timestamp>,

    /// With a step of this module
    #[arg(long)]
    module: Option<String>,

    /// With a step whose confidence is at most this, 0 to 1
    #[arg(long, value_name = "X", value_parser = fraction)]
    max_confidence: Option<f64>,

    /// With findings
    #[arg(long)]
    with_findings: bool,

    /// With these words in one event
    #[arg(long, value_name = "WORDS")]
    text: Option<String>,

    /// Maximum number of sessions
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..))]
    limit: u32,

    /// The next page: sessions that begin before this event
    #[arg(long, value_name = "SEQ")]
    before: Option<Seq>,
}

fn fraction(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(number) if (0.0..=1.0).contains(&number) => Ok(number),
        _ => Err("a number from 0 to 1, such as 0.7".to_owned()),
    }
}

fn statuses() -> PossibleValuesParser {
    let progress = SessionProgress::ALL.iter().map(|status| status.as_str());
    progress
        .chain(SessionEnd::ALL.iter().map(|status| status.as_str()))
        // No event sets this status: it follows from erasure.
        .chain(["erased"])
        .collect::<Vec<_>>()
        .into()
}

impl Args {
    fn filter(&self) -> SessionFilter {
        SessionFilter {
            status: self.status.clone(),
            profile: self.profile.clone(),
            conversation: self.conversation.clone(),
            since: self.since,
            until: self.until,
            module: self.module.clone(),
            max_confidence: self.max_confidence,
            with_findings: self.with_findings,
            text: self.text.clone(),
            before: self.before,
            limit: usize::try_from(self.limit).unwrap_or(usize::MAX),
        }
    }
}

pub(crate) fn run(args: &Args, place: &LogFile, out: &mut Out) -> anyhow::Result<Verdict> {
    let reader = place.read_tables()?;
    let mut filter = args.filter();
    if out.is_json() {
        print_json(&reader, filter, out)?;
        return Ok(Verdict::Done);
    }
    let mut left = filter.limit;
    loop {
        // Each page is a table of its own, and only one page is in memory.
        filter.limit = left.min(TABLE_ROWS_MAX);
        let page = reader.sessions(&filter)?;
        if page.sessions.is_empty() {
            out::say("no sessions");
            return Ok(Verdict::Done);
        }
        print(&page.sessions, out)?;
        left = left.saturating_sub(page.sessions.len());
        let Some(next) = page.next else { return Ok(Verdict::Done) };
        if left == 0 {
            out.flush()?;
            out::say(&format!("older ones: --before {next}"));
            return Ok(Verdict::Done);
        }
        filter.before = Some(next);
    }
}

/// Prints one object in a line, page by page.
fn print_json(reader: &Reader, mut filter: SessionFilter, out: &mut Out) -> anyhow::Result<()> {
    let mut left = filter.limit;
    let mut json = out.json_writer();
    json.write_all(b"{\"sessions\":[")?;
    let mut is_first = true;
    let next = loop {
        filter.limit = left.min(TABLE_ROWS_MAX);
        let page = reader.sessions(&filter)?;
        for session in &page.sessions {
            if !std::mem::take(&mut is_first) {
                json.write_all(b",")?;
            }
            serde_json::to_writer(&mut json, session)?;
        }
        left = left.saturating_sub(page.sessions.len());
        filter.before = page.next;
        if page.next.is_none() || left == 0 {
            break page.next;
        }
    };
    json.write_all(b"],\"next\":")?;
    serde_json::to_writer(&mut json, &next)?;
    json.write_all(b"}\n")?;
    Ok(())
}

fn print(sessions: &[SessionSummary], out: &mut Out) -> io::Result<()> {
    let wide = out.width().is_none_or(|width| width >= WIDE);
    let heads: &[&str] = if wide {
        &["SESSION", "BEGUN (UTC)", "STATUS", "PROFILE", "TOOK", "STEPS", "FINDINGS", "CONFIDENCE", "INPUT"]
    } else {
        &["SESSION", "BEGUN (UTC)", "STATUS", "INPUT"]
    };
    let mut table = out.table(heads);
    for session in sessions {
        table.add_row(one_line(cells(session, wide)));
    }
    // Columns that people copy from stay whole. The input takes the rest of the width; if nothing is left, lines are
    // long.
    for column in table.column_iter_mut().take(3) {
        column.set_constraint(ColumnConstraint::ContentWidth);
    }
    out.print(&table)
}

fn cells(session: &SessionSummary, wide: bool) -> Vec<Cell> {
    // A time that the session does not state itself is marked.
    let begun = match session.started_at {
        Some(begun) => time::shown(begun),
        None => format!("~{}", time::shown(session.first_recorded_at)),
    };
    let mut cells = vec![out::id(&session.id), Cell::new(begun), word(&session.status)];
    if wide {
        cells.push(maybe(session.profile.as_deref()));
        cells.push(number(session.duration_us.map(time::duration)));
        cells.push(number(Some(session.step_count)));
        cells.push(number(Some(session.finding_count).filter(|count| *count > 0)));
        cells.push(number(session.lowest_confidence));
    }
    cells.push(maybe(session.input_summary.as_deref()));
    cells
}
