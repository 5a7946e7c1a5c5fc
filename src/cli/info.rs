//! `annals info`: what the log is, and how large.

use annals::{Info, ProjectionStatus};

use super::Verdict;
use super::out::{BOLD, DIM, Out};
use super::place::Place;
use super::{projections, text, time};

pub(crate) fn run(place: &Place, out: &mut Out) -> anyhow::Result<Verdict> {
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
    Ok(Verdict::Done)
}

fn state(projection: &ProjectionStatus) -> String {
    match projection.lag {
        0 => projections::state(projection).to_owned(),
        lag => format!("{}: {lag} events of lag", projections::state(projection)),
    }
}

fn facts(info: &Info) -> Vec<(&'static str, String)> {
    let time = |time: Option<annals::Timestamp>| {
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
