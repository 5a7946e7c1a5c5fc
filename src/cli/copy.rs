//! `annals copy`: a copy of the log, while others append to it.

use std::path::PathBuf;

use serde_json::json;

use super::Verdict;
use super::bar::Bar;
use super::out::Out;
use super::place::Place;
use super::record::events;

/// Copy the log to a new file, while others append to it.
///
/// The copy is one file, of one moment. It never replaces a file.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The new file
    file: PathBuf,
}

pub(crate) fn run(args: &Args, place: &Place, out: &mut Out) -> anyhow::Result<Verdict> {
    let reader = place.read()?;
    let mut bar: Option<Bar> = None;
    let head = reader.copy_to(&args.file, &mut |done, total| {
        bar.get_or_insert_with(|| Bar::new("copying pages", Some(total))).set(done);
    })?;
    drop(bar);
    if out.is_json() {
        out.json(&json!({ "path": args.file, "events": head.seq, "head_hash": head.hash }))?;
    } else {
        out.line(&format!("{} copied; the head is {}", events(head.seq.get()), head.hash))?;
    }
    Ok(Verdict::Done)
}
