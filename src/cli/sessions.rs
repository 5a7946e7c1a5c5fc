//! `annals sessions`: lists sessions, newest first.

use std::io::{self, Write as _};

use crate::query::{SessionFilter, SessionSummary};
use crate::{Reader, Seq, SessionEnd, SessionProgress, Timestamp};
use clap::builder::PossibleValuesParser;

use super::log_file::LogFile;
use super::out::{self, Out, word};
use super::rows::TABLE_ROWS_MAX;
use super::table::{Arrangement, Cell, Column, RECORDS, Table};
use super::time;
use super::verdict::Verdict;

/// List the sessions that match all given filters, newest first.
///
/// The newest session is the one whose first event was recorded last. If a session does not state its own
/// time, BEGUN is the time of recording, with a ~ before it. CONFIDENCE is the lowest confidence of the
/// session's steps.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "Examples:
  annals sessions --status failed --since 7d
  annals sessions --max-confidence 0.7 --with-findings
  annals sessions --text 'refund policy' --limit 5")]
pub(crate) struct Args {
    /// List only sessions with this status
    #[arg(long, value_parser = statuses())]
    status: Option<String>,

    /// List only sessions of this pipeline
    #[arg(long)]
    profile: Option<String>,

    /// List only sessions of this conversation
    #[arg(long, value_name = "ID")]
    conversation: Option<String>,

    /// List only sessions that began at this time or later: a date or time in UTC (2026-11-20,
    /// 2026-11-20T12:00:00Z), how long ago (24h, 7d), today or yesterday
    #[arg(long, value_name = "TIME", value_parser = time::parse)]
    since: Option<Timestamp>,

    /// List only sessions that began before this time, in the form of --since
    #[arg(long, value_name = "TIME", value_parser = time::parse)]
    until: Option<Timestamp>,

    /// List only sessions that have a step of this module
    #[arg(long)]
    module: Option<String>,

    /// List only sessions that have a step with at most this confidence, from 0 to 1
    #[arg(long, value_name = "X", value_parser = fraction)]
    max_confidence: Option<f64>,

    /// List only sessions that have findings
    #[arg(long)]
    with_findings: bool,

    /// List only sessions that have an event with all these words
    #[arg(long, value_name = "WORDS")]
    text: Option<String>,

    /// List at most this many sessions
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..))]
    limit: u32,

    /// List the next page: the cursor that the previous page named
    #[arg(long, value_name = "CURSOR")]
    after: Option<Seq>,

    #[arg(short = 'x', long, help = RECORDS)]
    records: bool,
}

fn fraction(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(number) if (0.0..=1.0).contains(&number) => Ok(number),
        _ => Err("give a number from 0 to 1, such as 0.7".to_owned()),
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
            before: self.after,
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
        print(&page.sessions, Arrangement::records_if(args.records), out)?;
        left = left.saturating_sub(page.sessions.len());
        let Some(next) = page.next else { return Ok(Verdict::Done) };
        if left == 0 {
            out.flush()?;
            out::say(&format!("more sessions: --after {next}"));
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

fn print(sessions: &[SessionSummary], arrangement: Arrangement, out: &mut Out) -> io::Result<()> {
    // Columns that people copy from stay whole.
    let mut table = Table::new(vec![
        Column::whole("SESSION"),
        Column::whole("BEGUN (UTC)"),
        Column::whole("STATUS"),
        Column::cut("PROFILE").optional(2),
        Column::whole("TOOK").optional(1),
        Column::whole("STEPS").optional(4),
        Column::whole("FINDINGS").optional(3),
        Column::whole("CONFIDENCE").optional(5),
        Column::cut("INPUT"),
    ]);
    for session in sessions {
        table.add(cells(session));
    }
    out.print(&table, arrangement)
}

fn cells(session: &SessionSummary) -> Vec<Cell> {
    // A time that the session does not state itself is marked.
    let begun = match session.started_at {
        Some(begun) => time::shown(begun),
        None => format!("~{}", time::shown(session.first_recorded_at)),
    };
    vec![
        Cell::id(&session.id),
        Cell::new(&begun),
        word(&session.status),
        Cell::maybe(session.profile.as_deref()),
        Cell::number(session.duration_us.map(time::duration)),
        Cell::number(Some(session.step_count)),
        Cell::number(Some(session.finding_count).filter(|count| *count > 0)),
        Cell::number(session.lowest_confidence),
        Cell::maybe(session.input_summary.as_deref()),
    ]
}
