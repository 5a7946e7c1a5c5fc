//! `annals init`: a new log, with a name of its own.

use std::path::PathBuf;

use crate::evidence::Evidence;
use crate::{Projections, Reader};
use anyhow::bail;
use serde_json::json;

use super::log_file::LogFile;
use super::out::Out;
use super::verdict::Verdict;

/// Create a new log, and give it a name.
///
/// Commands that append also create a log if none exists, but only this command lets you choose its
/// name. The name is the first line of every checkpoint, and cannot be changed later.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "Examples:
  annals init --origin example.com/audit/billing
  annals --db new.db init --continues restored.db    after a backup had to be restored")]
pub(crate) struct Args {
    /// Name of the log, such as example.com/audit/billing [default: annals.internal/<log id>]
    #[arg(long, value_name = "NAME")]
    origin: Option<String>,

    /// Continue the log in this file: the first event of the new log records the old log's name, size and
    /// root [default: continue no log]
    #[arg(long, value_name = "FILE")]
    continues: Option<PathBuf>,
}

pub(crate) fn run(args: &Args, place: &LogFile, out: &mut Out) -> anyhow::Result<Verdict> {
    if place.path().exists() {
        bail!("{} already exists; name another file with --db", place.path().display());
    }
    // Only the first event is written here: commands that append fill the read tables and sign.
    let mut builder = place.builder().projections(Projections::Off).evidence(Evidence::Off);
    if let Some(path) = &args.continues {
        let before = Reader::open(path)?.as_continued()?;
        if args.origin.as_ref() == Some(&before.origin) {
            bail!(
                "the log {} already has this name; give the new log another one with --origin, because two logs with one name would contradict each other",
                path.display()
            );
        }
        builder = builder.continues(before);
    }
    if let Some(origin) = &args.origin {
        builder = builder.origin(origin);
    }
    builder.open()?.close()?;
    let origin = place.read()?.origin()?;
    if out.is_json() {
        out.json(&json!({ "path": place.path(), "origin": origin }))?;
    } else {
        out.line(&format!("{} is the log {origin}", place.path().display()))?;
    }
    Ok(Verdict::Done)
}
