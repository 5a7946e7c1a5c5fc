//! `annals tiles`: the log as static files.

use std::path::PathBuf;

use serde_json::json;

use super::bar::Bar;
use super::out::Out;
use super::place::Place;
use super::record::events;
use super::{Verdict, say_error};

/// Write the log into a folder as static files that anybody can fetch and check.
///
/// The files are those of C2SP tlog-tiles: the last checkpoint, the tiles of the tree, and the entries,
/// which tell when events were recorded, of which kind and session they are. What events say is not among
/// them. A folder that has an older state of this log gets what is new; one of another log is refused.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "Exit status: 1 if the folder has something that contradicts the log.

Examples:
  annals checkpoint && annals tiles /srv/www/audit
  tools/verify.py tiles /srv/www/audit --key \"$(cat log.vkey)\"")]
pub(crate) struct Args {
    /// The folder; it is made where there is none
    #[arg(value_name = "DIR")]
    folder: PathBuf,
}

pub(crate) fn run(args: &Args, place: &Place, out: &mut Out) -> anyhow::Result<Verdict> {
    let reader = place.read()?;
    let mut bar: Option<Bar> = None;
    let published = reader.publish(&args.folder, &mut |done, total| {
        bar.get_or_insert_with(|| Bar::new("writing tiles", Some(total))).set(done);
    });
    drop(bar);
    let published = match published {
        Ok(published) => published,
        Err(error) if error.is_contradiction() => {
            say_error(&error.into());
            return Ok(Verdict::FoundWrong);
        }
        Err(error) => return Err(error.into()),
    };
    let checkpoint = &published.checkpoint;
    if out.is_json() {
        out.json(&json!({
            "path": args.folder,
            "origin": checkpoint.origin(),
            "size": checkpoint.size(),
            "root": checkpoint.root().to_string(),
            "size_before": published.before,
            "files_written": published.files,
        }))?;
    } else {
        let new = checkpoint.size().saturating_sub(published.before);
        out.line(&format!("{} published, {new} of them new", events(checkpoint.size())))?;
    }
    Ok(Verdict::Done)
}
