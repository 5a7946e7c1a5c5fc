//! `annals copy`: a copy of the log, while others append to it.

use std::env;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use crate::new_file::NewFile;
use anyhow::{Context as _, bail};
use serde_json::json;

use super::bar::Bar;
use super::log_file::LogFile;
use super::out::{self, Out};
use super::record::events;
use super::verdict::Verdict;

/// Copy the log to a new file, even while programs append to it.
///
/// The copy is one file, with the log as it was at one moment. The command never replaces a file.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "Examples:
  annals copy backup.db
  annals copy - | zstd > backup.db.zst    first make the copy in the folder for temporary files")]
pub(crate) struct Args {
    /// New file; - is standard output
    file: PathBuf,
}

pub(crate) fn run(args: &Args, place: &LogFile, out: &mut Out) -> anyhow::Result<Verdict> {
    let reader = place.read()?;
    let mut bar: Option<Bar> = None;
    let mut progress = |done, total| {
        bar.get_or_insert_with(|| Bar::new("copying pages", Some(total))).set(done);
    };
    if args.file != Path::new("-") {
        let head = reader.copy_to(&args.file, &mut progress)?;
        drop(bar);
        if out.is_json() {
            out.json(&json!({ "path": args.file, "events": head.seq, "head_hash": head.hash }))?;
        } else {
            out.line(&format!("{} copied; the head is {}", events(head.seq.get()), head.hash))?;
        }
        return Ok(Verdict::Done);
    }
    if out.is_terminal() {
        bail!(
            "a copy is not text, so it is not printed on a terminal; name a file, or redirect standard output"
        );
    }
    // A pipe cannot take back what was written to it, so the copy is made whole in a file first, which goes at the end.
    let copy = NewFile::begin(&env::temp_dir().join("annals-copy"))?;
    let head = reader.copy_over(&copy.path(), &mut progress)?;
    drop(bar);
    let file = File::open(copy.path()).context("the copy cannot be read")?;
    io::copy(&mut io::BufReader::with_capacity(1 << 20, file), out.writer())?;
    out.flush()?;
    // On standard error, because standard output is the copy.
    out::say(&format!("{} copied; the head is {}", events(head.seq.get()), head.hash));
    Ok(Verdict::Done)
}
