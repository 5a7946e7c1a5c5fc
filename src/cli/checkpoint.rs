//! `annals checkpoint`: signs for the log as it is now.

use crate::note::SignedCheckpoint;
use anyhow::Context as _;
use serde_json::json;

use super::ending;
use super::log_file::LogFile;
use super::out::Out;
use super::verdict::Verdict;

/// Sign a checkpoint of the log as it is now, and print it.
///
/// A checkpoint is a few lines of text: the log's name, its number of events, the root of its Merkle tree,
/// and signatures. Give it to others. With `annals verify --checkpoint`, or with any tool that knows C2SP
/// checkpoints, they can compare the log with it later. If nothing was appended since the last checkpoint,
/// the command prints that checkpoint.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "Examples:
  annals checkpoint > handed-over.checkpoint
  annals checkpoint --last    print the last signed checkpoint, with the cosignatures of witnesses")]
pub(crate) struct Args {
    /// Sign nothing, and print the last signed checkpoint
    #[arg(long)]
    last: bool,
}

pub(crate) fn run(args: &Args, place: &LogFile, out: &mut Out) -> anyhow::Result<Verdict> {
    let checkpoint = if args.last {
        place
            .read()?
            .last_checkpoint()?
            .context("no checkpoint was signed for this log yet; `annals checkpoint` signs one")?
    } else {
        let log = place.append_existing()?;
        let checkpoint = log.checkpoint();
        // The log is closed also if signing failed.
        let closed = ending::close(log);
        let checkpoint = checkpoint?;
        closed?;
        checkpoint
    };
    print(&checkpoint, out)?;
    Ok(Verdict::Done)
}

/// Prints a checkpoint: its text as it is, or in JSON with its parts.
pub(crate) fn print(checkpoint: &SignedCheckpoint, out: &mut Out) -> anyhow::Result<()> {
    if out.is_json() {
        out.json(&json!({
            "origin": checkpoint.origin(),
            "size": checkpoint.size(),
            "root": checkpoint.root().to_string(),
            "note": checkpoint.to_string(),
        }))?;
    } else {
        out.data(&checkpoint.to_string())?;
    }
    Ok(())
}
