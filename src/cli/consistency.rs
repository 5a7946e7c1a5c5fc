//! `annals consistency`: the proof that the log still begins with an older state of itself.

use std::path::{Path, PathBuf};

use crate::note::Checkpoint;
use crate::proof::ProofError;
use crate::prove::ProveError;
use anyhow::{Context as _, anyhow, bail};

use super::failure::say_error;
use super::given;
use super::log_file::LogFile;
use super::out::Out;
use super::prove::{Proof, found_wrong};
use super::record::events;
use super::verdict::Verdict;

/// Prove that the first OLD events of the log are still the same.
///
/// The proof is for a person or a witness that kept the checkpoint of that size. `annals verify-proof
/// --checkpoint` checks it. If OLD is a file with that checkpoint, this command also compares the log with
/// it.
#[derive(Debug, clap::Args)]
#[command(
    after_long_help = "Exit status: 1 if the log does not begin with the events that the checkpoint in OLD covers, or was damaged.

Examples:
  annals consistency 4000               prove from 4000 events to the last checkpoint
  annals consistency kept.checkpoint 5000 -o since.proof"
)]
pub(crate) struct Args {
    /// Older size: a number of events, or a checkpoint file, whose newest checkpoint gives the size
    #[arg(value_name = "OLD")]
    old: String,

    /// Newer size: that of a checkpoint that was signed [default: that of the last checkpoint]
    #[arg(value_name = "NEW")]
    new: Option<u64>,

    /// Write to this file, which appears only when it is complete [default: standard output]
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,

    /// Replace the file if it already exists
    #[arg(long, requires = "output")]
    force: bool,
}

/// The older state of the log, as far as it is known.
enum Old {
    Size(u64),
    Checkpoint(Checkpoint),
}

impl Old {
    fn find(named: &str) -> anyhow::Result<Old> {
        // A number is a size, even if a file has that name.
        if let Ok(size) = named.parse() {
            return Ok(Old::Size(size));
        }
        // A file may hold many checkpoints; the newest one counts.
        let last = given::newest(Path::new(named))
            .with_context(|| format!("`{named}` is neither a number of events nor a checkpoint file"))?;
        Ok(Old::Checkpoint(last.checkpoint().clone()))
    }

    fn size(&self) -> u64 {
        match self {
            Old::Size(size) => *size,
            Old::Checkpoint(checkpoint) => checkpoint.size(),
        }
    }
}

pub(crate) fn run(args: &Args, place: &LogFile, out: &mut Out) -> anyhow::Result<Verdict> {
    let old = Old::find(&args.old)?;
    let reader = place.read()?;
    let proof = match reader.prove_consistency(old.size(), args.new) {
        Ok(proof) => proof,
        Err(ProveError::SizesReversed { old, new }) if args.new.is_none() => {
            bail!(
                "the last checkpoint covers {}, fewer than {old}; `annals checkpoint` signs a new one, of the whole log",
                events(new)
            );
        }
        Err(error) => return found_wrong(error.into()),
    };
    if let Old::Checkpoint(checkpoint) = &old {
        match proof.check(checkpoint) {
            Ok(()) => {}
            // Another name is another log: the wrong file was given, and this log is not to blame.
            Err(error @ ProofError::Origin { .. }) => return Err(error.into()),
            Err(error) => {
                say_error(&anyhow!("{}: {error}", args.old));
                return Ok(Verdict::FoundWrong);
            }
        }
    }
    let (text, checkpoint) = (proof.to_string(), proof.checkpoint);
    let said = format!("consistency with the first {}", events(old.size()));
    Proof { text, said, checkpoint }.hand_out(args.output.as_deref(), args.force, place, out)
}
