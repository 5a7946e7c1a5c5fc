//! The result of a verification, for people.

use crate::Timestamp;
use crate::note::VerifierKey;
use crate::verify::{Anchor, Failure, KeyChangeSeen, Report, Scope, TablesChecked};

use crate::cli::out::{BOLD, DIM, Out, style_of};
use crate::cli::{text, time};

/// Events of one redaction, and redactions, that are named.
const SEQS_SHOWN: usize = 100;
const REDACTIONS_SHOWN: usize = 1_000;

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
    for part in &report.not_checked {
        beside(out, "not checked", &text::line(&format!("{}: {}", part.what, part.why)))?;
    }
    anchored(report, out)?;
    remembered(report, out)?;
    complete(report, out)?;
    own_account(report, out)?;
    if let Some(since) = &report.since {
        let said = format!(
            "{} covers {}; {} read. Not checked: {}",
            since.checkpoint,
            events(since.size),
            rows(since.rows_read),
            since.not_looked_at.join("; ")
        );
        verdict(out, "warning", "whole", "no", &text::line(&said))?;
    }
    for change in &report.anchored.key_changes {
        beside(out, "key", &text::line(&key_change(change)))?;
    }
    // A report may name a million events, which are for programs.
    let shown = report.redactions.len().min(REDACTIONS_SHOWN);
    for redaction in report.redactions.iter().take(shown) {
        let mut seqs: Vec<_> = redaction.seqs.iter().take(SEQS_SHOWN).map(u64::to_string).collect();
        let more = redaction.seqs.len().saturating_sub(SEQS_SHOWN);
        seqs.extend((more > 0).then(|| format!("{more} more")));
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
    let more = ((report.redactions.len() - shown) as u64).saturating_add(report.redactions_left_out);
    if more > 0 {
        beside(out, "redacted", &format!("{more} more redactions are recorded"))?;
    }
    // A clock that was set back is worth knowing, and no failure: the chain has its own order.
    if let Some(first) = report.backward_steps.first {
        let times = if report.backward_steps.count == 1 { "once" } else { "several times" };
        beside(out, "clock", &format!("was set back {times}, first at event {first}"))?;
    }
    // Objects that somebody else made in the file are named, and are no failure.
    if !report.foreign_objects.is_empty() {
        let mut objects = report.foreign_objects.join(", ");
        if report.foreign_objects_left_out > 0 {
            objects += &format!(", and {} more", report.foreign_objects_left_out);
        }
        beside(out, "not ours", &text::line(&objects))?;
    }
    Ok(())
}

fn self_consistent(report: &Report, scope: Scope, out: &mut Out) -> anyhow::Result<()> {
    if report.self_consistent {
        let compared: u64 = report.tables.iter().map(|table| table.rows).sum();
        let unchecked: Vec<_> = report
            .tables
            .iter()
            .filter(|table| table.left_out.is_some())
            .map(|table| table.projection.as_str())
            .collect();
        let said = match scope {
            Scope::LogOnly if report.since.is_some() => {
                "the log begins with the events that the checkpoint covers, and every event after them follows from the one before it".to_owned()
            }
            Scope::LogOnly => {
                "every event follows from the one before it; the read tables were not checked".to_owned()
            }
            Scope::Everything if unchecked.is_empty() => {
                format!(
                    "every event follows from the one before it, and {compared} rows of the read tables follow from the events"
                )
            }
            Scope::Everything => format!(
                "every event follows from the one before it, and {compared} rows of the read tables follow from the events; left out: {}",
                unchecked.join(", ")
            ),
        };
        return verdict(out, "ok", "self-consistent", "yes", &said);
    }
    // Neither consistent nor wrong: something could not be checked.
    if report.failures.is_empty() {
        let said = "nothing wrong was found, but not everything could be checked: see `not checked`";
        return verdict(out, "warning", "self-consistent", "?", said);
    }
    failed(&report.failures, "self-consistent", out)?;
    if report.since.is_none()
        && scope == Scope::Everything
        && report.tables.iter().all(|table| table.why_not().is_some())
    {
        out.line("  the read tables were not compared with the log, because the log itself is damaged")?;
    }
    Ok(())
}

/// Prints a verdict of NO, and the reasons.
fn failed(failures: &[Failure], name: &str, out: &mut Out) -> anyhow::Result<()> {
    let said = match failures.len() {
        1 => "1 check failed".to_owned(),
        count => format!("{count} checks failed"),
    };
    verdict(out, "error", name, "NO", &said)?;
    for failure in failures {
        let place = failure.seq.map(|seq| format!(" at event {seq}")).unwrap_or_default();
        let heading = out.paint(style_of("error"), &format!("{}{place}", failure.check));
        let said = wrapped(&format!("{heading}: {}", text::line(&failure.detail)), 2, 4, out);
        out.line(&said)?;
        for line in wrapped(&format!("affected: {}", text::line(&failure.affected)), 4, 4, out).lines() {
            let line = out.paint(DIM, line);
            out.line(&line)?;
        }
    }
    Ok(())
}

/// Prints the verdict on the given checkpoints, then those of them that a retired key signed.
fn anchored(report: &Report, out: &mut Out) -> anyhow::Result<()> {
    verdict_on_anchor(report, out)?;
    for fits in &report.anchored.by_predecessors {
        let said = format!(
            "{} fits: the first {} are as they were when {} signed them; event {} retired that key",
            fits.checkpoint,
            events(fits.size),
            shortened(&fits.vkey),
            fits.retired
        );
        beside(out, "", &text::line(&said))?;
    }
    Ok(())
}

fn verdict_on_anchor(report: &Report, out: &mut Out) -> anyhow::Result<()> {
    let anchor = &report.anchored;
    let Some(size) = anchor.anchored_to else {
        if anchor.failures.is_empty() {
            let signed = anchor.signed_to.map(|size| {
                format!(
                    "; the checkpoints in the file show that the first {} were not changed, but they do not show that the end of the log is there",
                    events(size)
                )
            });
            let said = format!("{}{}", anchor.note, signed.unwrap_or_default());
            return verdict(out, "warning", "anchored", "no", &said);
        }
        return failed(&anchor.failures, "anchored", out);
    };
    let keys: Vec<String> = anchor.keys.iter().map(|key| shortened(&key.vkey)).collect();
    let name = anchor.checkpoint.as_deref().unwrap_or("a checkpoint");
    let mut said =
        format!("the first {} are those that {name} covers, signed by {}", events(size), keys.join(" and "));
    if !anchor.witnesses.is_empty() {
        let witnesses: Vec<String> = anchor
            .witnesses
            .iter()
            // A time of zero, or one that no `i64` holds, is not shown.
            .map(|witness| match i64::try_from(witness.cosigned_at) {
                Ok(seconds @ 1..) => {
                    let at = Timestamp::from_micros(seconds.saturating_mul(1_000_000));
                    format!("{} at {} UTC", witness.name, time::shown(at))
                }
                _ => witness.name.clone(),
            })
            .collect();
        said += &format!(", cosigned by {}", witnesses.join(" and "));
    }
    said += &window(anchor);
    if anchor.checkpoints_not_judged > 0 {
        said += &format!(
            "; {} of the {} given checkpoints cover events that could not be checked",
            anchor.checkpoints_not_judged, anchor.checkpoints_given
        );
    }
    if anchor.failures.is_empty() {
        return verdict(out, "ok", "anchored", "yes", &text::line(&said));
    }
    failed(&anchor.failures, "anchored", out)?;
    out.line(&format!("  nevertheless, {}", text::line(&said)))?;
    Ok(())
}

/// The end of a sentence about the events that nothing outside the file vouches for.
fn window(anchor: &Anchor) -> String {
    let duration = anchor.micros_since.map(time::duration);
    match (anchor.events_since, duration) {
        (Some(0), _) => "; no event came after it".to_owned(),
        (Some(count), Some(duration)) => format!(
            "; nothing outside the file vouches for the {} after it, recorded within {duration}",
            events(count)
        ),
        (Some(count), None) => {
            format!("; nothing outside the file vouches for the {} after it", events(count))
        }
        (None, _) => String::new(),
    }
}

fn remembered(report: &Report, out: &mut Out) -> anyhow::Result<()> {
    let Some(remembered) = &report.remembered else { return Ok(()) };
    if !remembered.failures.is_empty() {
        failed(&remembered.failures, "remembered", out)?;
    } else if remembered.not_compared.is_some() {
        let said = "the log could not be compared with all that was verified before: see `not checked`";
        verdict(out, "warning", "remembered", "?", said)?;
    } else if let Some(before) = &remembered.before {
        let said = format!(
            "the first {} are those that were verified at {}",
            events(before.size),
            before.verified_at.parse().map_or_else(|_| before.verified_at.clone(), time::shown) + " UTC"
        );
        verdict(out, "ok", "remembered", "yes", &text::line(&said))?;
    } else if remembered.is_kept {
        let said = "this user did not verify this log before; later verifications will detect a log that was set back or replaced";
        verdict(out, "warning", "remembered", "no", said)?;
    }
    if let Some(warning) = &remembered.warning {
        beside(out, "not remembered", &text::line(warning))?;
    }
    Ok(())
}

/// Prints the file's own account of its anchors, in which operators see what fails.
fn own_account(report: &Report, out: &mut Out) -> anyhow::Result<()> {
    let evidence = &report.evidence;
    if evidence.signed.is_none() && evidence.anchors.is_empty() {
        return Ok(());
    }
    // Claims of the file, which proves none of them.
    let sizes = evidence.anchors.iter().filter_map(|anchor| anchor.size).chain(evidence.signed);
    let said = match (evidence.unanchored_events, evidence.anchored_at) {
        // No checkpoint covers events that the log never had, so events are missing.
        _ if sizes.clone().any(|size| size > report.log.events) => format!(
            "the file contradicts itself: it records a checkpoint of {}, but the log has only {}; the log was cut off",
            events(sizes.max().unwrap_or_default()),
            events(report.log.events)
        ),
        (0, _) => "the file records, without proof, that anchors have checkpoints of all events".to_owned(),
        (count, Some(at)) => format!(
            "the file records that no anchor has a checkpoint of the last {}, since {} UTC",
            events(count),
            time::shown(at)
        ),
        (count, None) => {
            format!("the file records that no anchor has a checkpoint of any of the {}", events(count))
        }
    };
    beside(out, "anchors", &text::line(&said))?;
    if let Some(error) = &evidence.error {
        beside(out, "signing", &text::line(&format!("fails: {error}")))?;
    }
    for anchor in &evidence.anchors {
        if let (Some(error), Some(since)) = (&anchor.error, anchor.failed_since) {
            let said = format!("{} fails since {} UTC: {error}", anchor.name, time::shown(since));
            beside(out, "", &text::line(&said))?;
        }
    }
    Ok(())
}

fn key_change(change: &KeyChangeSeen) -> String {
    let certified = if change.is_certified {
        format!("certified by {}", change.certified)
    } else if change.leads_back {
        "a checkpoint by a given key confirms that it replaced the previous key".to_owned()
    } else if change.is_given {
        "it is one of the given keys".to_owned()
    } else if change.is_first {
        change.certified.clone()
    } else {
        format!("not certified: {}", change.certified)
    };
    // A certificate names the previous key already.
    let before = change.previous.as_deref().filter(|_| !change.is_certified);
    let before = before.map(|vkey| format!(" after {}", shortened(vkey))).unwrap_or_default();
    let reason = change.reason.as_ref().map(|reason| format!(" ({reason})")).unwrap_or_default();
    format!(
        "event {}: {} made {} the {} key ({}){before}{reason}; {certified}",
        change.seq,
        change.actor,
        shortened(&change.vkey),
        change.role,
        change.cause
    )
}

/// Name and id of a vkey.
fn shortened(vkey: &str) -> String {
    vkey.parse::<VerifierKey>().map_or_else(|_| vkey.to_owned(), |key| format!("{}+{}", key.name(), key.id()))
}

fn events(count: u64) -> String {
    if count == 1 { "1 event".to_owned() } else { format!("{count} events") }
}

fn rows(count: u64) -> String {
    if count == 1 { "1 row was".to_owned() } else { format!("{count} rows were") }
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
    let gaps = (complete.coverage_gaps.len() as u64).saturating_add(complete.coverage_gaps_left_out);
    count(complete.skips, "event was skipped by a projection", "events were skipped by projections");
    if let Some(gap) = complete.coverage_gaps.first() {
        let others = match gaps - 1 {
            0 => String::new(),
            others => format!(", and {others} more such gaps"),
        };
        said.push(format!(
            "{} announced {} of type `{}` in session {}, and {} of them are recorded{others}",
            gap.sources,
            events(gap.announced),
            gap.kind,
            gap.session_id,
            gap.recorded
        ));
    }
    // A reason that all tables share is printed once.
    let reason = report.tables.first().and_then(TablesChecked::why_not);
    let is_same = report.tables.iter().all(|table| table.stopped.is_none() && table.why_not() == reason);
    let each = match reason.filter(|_| is_same) {
        Some(reason) => {
            said.push(format!("the read tables are not checked: {reason}"));
            &[][..]
        }
        None => &report.tables,
    };
    for table in each {
        let why = match (&table.stopped, table.why_not()) {
            (Some(stopped), _) => format!("stopped {stopped}"),
            (None, Some(reason)) => format!("not checked: {reason}"),
            (None, None) if table.lag > 0 => format!("{} events behind", table.lag),
            (None, None) => continue,
        };
        said.push(format!("the read tables of `{}` are {why}", table.projection));
    }
    // Incomplete without a known reason.
    if said.is_empty() {
        said.push("it is not known whether the log is complete, because it was not read".to_owned());
    }
    verdict(out, "warning", "complete", "no", &text::line(&said.join("; ")))
}

fn verdict(out: &mut Out, tone: &str, name: &str, answer: &str, said: &str) -> anyhow::Result<()> {
    let answer = out.paint(style_of(tone).bold(), &format!("{answer:<3}"));
    // The columns of name and answer: further lines begin below the text.
    let indent = " ".repeat(22);
    let lines = textwrap::fill(
        said,
        textwrap::Options::new(out.text_width()).initial_indent(&indent).subsequent_indent(&indent),
    );
    out.line(&format!("{name:<16}  {answer} {}", lines.trim_start()))?;
    Ok(())
}

/// Running text in the available width. A word that is too long, such as a key, stays whole.
fn wrapped(said: &str, first: usize, others: usize, out: &Out) -> String {
    let (first, others) = (" ".repeat(first), " ".repeat(others));
    let options = textwrap::Options::new(out.text_width()).initial_indent(&first).subsequent_indent(&others);
    textwrap::fill(said, options.break_words(false).word_splitter(textwrap::WordSplitter::NoHyphenation))
}

fn beside(out: &mut Out, name: &str, said: &str) -> anyhow::Result<()> {
    let name = out.paint(DIM, &format!("{name:<16}"));
    let said = wrapped(said, 18, 18, out);
    out.line(&format!("{name}  {}", said.trim_start()))?;
    Ok(())
}
