//! `annals info`: the identity of the log, and its size.

use crate::query::{Info, ProjectionStatus};

use super::log_file::LogFile;
use super::out::{BOLD, DIM, Out};
use super::verdict::Verdict;
use super::{projections, text, time};

pub(crate) fn run(place: &LogFile, out: &mut Out) -> anyhow::Result<Verdict> {
    let info = place.read()?.info()?;
    if out.is_json() {
        out.json(&info)?;
        return Ok(Verdict::Done);
    }
    for (name, value) in facts(&info) {
        let name = out.paint(DIM, &format!("{name:<12}"));
        out.line(&format!("{name} {}", text::line(&value)))?;
    }
    out.line("")?;
    let rows: Vec<String> = info.rows.iter().map(|(table, rows)| format!("{rows} {table}")).collect();
    out.line(&rows.join(", "))?;
    out.line("")?;
    let heading = out.paint(BOLD, "read tables");
    out.line(&heading)?;
    for projection in &info.projections {
        out.line(&format!("  {:<10} {}", projection.name, state(projection)))?;
    }
    out.line("")?;
    let heading = out.paint(BOLD, "evidence");
    out.line(&heading)?;
    for line in evidence(&info) {
        out.line(&format!("  {}", text::line(&line)))?;
    }
    Ok(Verdict::Done)
}

/// Lines about the signed and the anchored part of the log.
fn evidence(info: &Info) -> Vec<String> {
    let shown = |time: Option<crate::Timestamp>| {
        time.map_or_else(|| "at an unknown time".to_owned(), |time| format!("{} UTC", time::shown(time)))
    };
    let evidence = &info.evidence;
    let mut lines = vec![match evidence.signed {
        None => "no checkpoint was signed; `annals key generate` creates a key, which signs them".to_owned(),
        Some(size) => format!("a checkpoint up to event {size} was signed, {}", shown(evidence.signed_at)),
    }];
    if let Some(error) = &evidence.error {
        lines.push(format!("no checkpoint can be signed: {error}"));
    }
    for anchor in &evidence.anchors {
        let reached = match anchor.size {
            None => "has no checkpoint yet".to_owned(),
            Some(size) => format!("has a checkpoint up to event {size}, {}", shown(anchor.anchored_at)),
        };
        let failure = anchor.error.as_ref().map_or_else(String::new, |error| {
            format!("; fails since {}: {error}", shown(anchor.failed_since))
        });
        lines.push(format!("{} {reached}{failure}", anchor.name));
    }
    if evidence.anchors_left_out > 0 {
        lines.push(format!("and {} more anchors", evidence.anchors_left_out));
    }
    // Without a checkpoint there is nothing that an anchor could have.
    if evidence.signed.is_some() {
        lines.push(match evidence.unanchored_events {
            0 => "all events are anchored".to_owned(),
            events => format!("no anchor has a checkpoint of the last {events} events"),
        });
    }
    lines
}

fn state(projection: &ProjectionStatus) -> String {
    match projection.lag {
        0 => projections::state(projection).to_owned(),
        lag => format!("{}: {lag} events behind the log", projections::state(projection)),
    }
}

fn facts(info: &Info) -> Vec<(&'static str, String)> {
    let time = |time: Option<crate::Timestamp>| {
        time.map_or_else(|| "unknown".to_owned(), |time| format!("{} UTC", time::shown(time)))
    };
    vec![
        ("file", info.path.display().to_string()),
        ("log id", info.log_id.to_string()),
        ("origin", info.origin.clone().unwrap_or_else(|| "unknown".to_owned())),
        ("made by", info.made_by.clone().unwrap_or_else(|| "unknown".to_owned())),
        ("events", info.events.to_string()),
        ("head", info.head_hash.to_string()),
        ("first event", time(info.first_recorded_at)),
        ("last event", time(info.last_recorded_at)),
        (
            "size",
            format!(
                "{}, pages of {}",
                time::size(info.file_bytes),
                time::size(u64::try_from(info.page_bytes).unwrap_or(0))
            ),
        ),
        ("WAL", time::size(info.wal_bytes)),
        ("schema", info.schema_version.to_string()),
        ("SQLite", info.sqlite_version.to_owned()),
    ]
}
