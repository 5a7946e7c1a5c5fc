//! `annals verify`: the three verdicts, and what they rest on.

use annals::verify::{self, Phase, Report, Scope};

use super::Verdict;
use super::bar::Bar;
use super::out::{BOLD, DIM, Out, style_of};
use super::place::Place;
use super::{text, time};

/// Check that nothing in the log was changed, and that the read tables say what it says.
///
/// The exit status is 0 when the log is intact, 1 when damage or tampering was found, and 2 when the
/// verification could not be carried out. Nothing is written to the log.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "Examples:
  annals verify
  annals verify --log-only              the chain alone, without the read tables
  annals verify --require-complete      exit 1 also when something is known to be missing
  annals --json verify | jq .log.head   what to write down elsewhere")]
pub(crate) struct Args {
    /// Check the chain alone, not the read tables
    #[arg(long)]
    log_only: bool,

    /// Count lost events, open sessions and lagging read tables as wrong
    #[arg(long, conflicts_with = "log_only")]
    require_complete: bool,
}

pub(crate) fn run(args: &Args, place: &Place, out: &mut Out) -> anyhow::Result<Verdict> {
    let total = match place.read() {
        Ok(reader) => reader.head().map_or(0, |head| head.seq.get()),
        Err(error) if !place.path().exists() => return Err(error),
        // What is wrong with the file is for the verification to say.
        Err(_) => 0,
    };
    let scope = if args.log_only { Scope::LogOnly } else { Scope::Everything };
    let mut phases = [(Phase::Chain, "chain", None), (Phase::Fold, "read tables", None)]
        .map(|(phase, what, bar): (Phase, &'static str, Option<Bar>)| (phase, what, bar, 0_u64));
    let report = verify::verify(place.path(), scope, &mut |phase, events| {
        for (of, what, bar, done) in &mut phases {
            if *of == phase {
                *done += events;
                bar.get_or_insert_with(|| Bar::new(what, Some(total))).set(*done);
            } else {
                *bar = None;
            }
        }
    })?;
    drop(phases);
    if out.is_json() {
        out.json(&report)?;
    } else {
        print(&report, scope, out)?;
    }
    let wrong = !report.self_consistent || (args.require_complete && !report.completeness.complete);
    Ok(if wrong { Verdict::FoundWrong } else { Verdict::Done })
}

/// Prints a report for people.
pub(crate) fn print(report: &Report, scope: Scope, out: &mut Out) -> anyhow::Result<()> {
    let facts = &report.log;
    let path = text::line(&facts.path.display().to_string());
    let heading = out.paint(BOLD, &path);
    out.line(&format!("{heading}  {} events", facts.events))?;
    if let Some(origin) = &facts.origin {
        beside(out, "origin", &text::line(origin))?;
    }
    if report.self_consistent
        && let (Some(first), Some(last)) = (facts.first_recorded_at, facts.last_recorded_at)
    {
        beside(out, "recorded", &format!("{} to {} UTC", time::shown(first), time::shown(last)))?;
    }
    if let Some(head) = facts.head {
        beside(out, "head", &head.to_string())?;
    }
    out.line("")?;
    self_consistent(report, scope, out)?;
    let note = report.anchored.note;
    verdict(out, "warning", "anchored", "no", note)?;
    complete(report, out)?;
    for redaction in &report.redactions {
        let seqs: Vec<_> = redaction.seqs.iter().map(u64::to_string).collect();
        let authority =
            redaction.authority.as_ref().map(|authority| format!(" ({authority})")).unwrap_or_default();
        let said = format!(
            "event {} records that {} erased the payloads of events {}: {}{authority}",
            redaction.licence,
            redaction.actor,
            seqs.join(", "),
            redaction.reason
        );
        beside(out, "redacted", &text::line(&said))?;
    }
    if let Some(first) = report.backward_steps.first {
        let times = if report.backward_steps.count == 1 { "once" } else { "several times" };
        beside(out, "clock", &format!("ran backwards {times}, first at event {first}"))?;
    }
    if !report.foreign_objects.is_empty() {
        beside(out, "not ours", &text::line(&report.foreign_objects.join(", ")))?;
    }
    Ok(())
}

fn self_consistent(report: &Report, scope: Scope, out: &mut Out) -> anyhow::Result<()> {
    if report.self_consistent {
        let compared: u64 = report.tables.iter().map(|table| table.rows).sum();
        let unchecked: Vec<_> = report
            .tables
            .iter()
            .filter(|table| table.not_checked.is_some())
            .map(|table| table.projection.as_str())
            .collect();
        let said = match scope {
            Scope::LogOnly => {
                "every event follows from the one before; the read tables were not checked".to_owned()
            }
            Scope::Everything if unchecked.is_empty() => {
                format!(
                    "every event follows from the one before, and {compared} rows of the read tables from the events"
                )
            }
            Scope::Everything => format!(
                "every event follows from the one before, and {compared} rows of the read tables from the events; not checked: {}",
                unchecked.join(", ")
            ),
        };
        return verdict(out, "ok", "self-consistent", "yes", &said);
    }
    let count = report.failures.len();
    let said = if count == 1 { "1 check failed".to_owned() } else { format!("{count} checks failed") };
    verdict(out, "error", "self-consistent", "NO", &said)?;
    for failure in &report.failures {
        let place = failure.seq.map(|seq| format!(" at event {seq}")).unwrap_or_default();
        let heading = out.paint(style_of("error"), &format!("{}{place}", failure.check));
        out.line(&format!("  {heading}: {}", text::line(&failure.detail)))?;
        let affected = out.paint(DIM, &format!("affected: {}", text::line(&failure.affected)));
        out.line(&format!("    {affected}"))?;
    }
    if scope == Scope::Everything && report.tables.iter().all(|table| table.not_checked.is_some()) {
        out.line("  the read tables were not held against the log, because the log itself is not good")?;
    }
    Ok(())
}

fn complete(report: &Report, out: &mut Out) -> anyhow::Result<()> {
    let complete = &report.completeness;
    if complete.complete {
        let said = "no events were lost, every session ended, and the read tables are up to date";
        return verdict(out, "ok", "complete", "yes", said);
    }
    let mut said = Vec::new();
    let mut count = |number: u64, one: &str, many: &str| match number {
        0 => {}
        1 => said.push(format!("1 {one}")),
        number => said.push(format!("{number} {many}")),
    };
    count(
        complete.events_lost,
        "event was lost while the log could not be written",
        "events were lost while the log could not be written",
    );
    count(complete.sessions_open, "session has not ended", "sessions have not ended");
    count(complete.skips, "event was skipped by a projection", "events were skipped by projections");
    for table in &report.tables {
        let why = match (&table.stopped, &table.not_checked) {
            (Some(stopped), _) => format!("stopped {stopped}"),
            (None, Some(reason)) => format!("not checked: {reason}"),
            (None, None) if table.lag > 0 => format!("{} events behind", table.lag),
            (None, None) => continue,
        };
        said.push(format!("the read tables of `{}` are {why}", table.projection));
    }
    verdict(out, "warning", "complete", "no", &text::line(&said.join("; ")))
}

fn verdict(out: &mut Out, tone: &str, name: &str, answer: &str, said: &str) -> anyhow::Result<()> {
    let answer = out.paint(style_of(tone).bold(), &format!("{answer:<3}"));
    let indent = " ".repeat(22);
    let lines = textwrap::fill(
        said,
        textwrap::Options::new(out.text_width()).initial_indent(&indent).subsequent_indent(&indent),
    );
    out.line(&format!("{name:<16}  {answer} {}", lines.trim_start()))?;
    Ok(())
}

fn beside(out: &mut Out, name: &str, said: &str) -> anyhow::Result<()> {
    let name = out.paint(DIM, &format!("{name:<16}"));
    out.line(&format!("{name}  {said}"))?;
    Ok(())
}
