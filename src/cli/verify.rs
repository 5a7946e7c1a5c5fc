//! `annals verify`: the verdicts on a log, and the reasons for them.

mod print;

use std::num::NonZeroUsize;
use std::path::PathBuf;

use crate::evidence::Home;
use crate::verify::{self, Memory, Options, Outcome, Phase, Report, Scope};
use anyhow::bail;

pub(crate) use print::print;

use super::bar::Bar;
use super::given;
use super::log_file::LogFile;
use super::out::{self, Out};
use super::verdict::Verdict;

/// Verify that nothing in the log was changed, and that the read tables agree with it.
///
/// If somebody cut off the end of the log or rewrote all of it, the file alone does not show it. So the
/// log is also compared with the results of this user's earlier verifications, and with the checkpoints
/// that you give. One of the keys that you give must have signed them. Nothing is written to the log.
#[derive(Debug, clap::Args)]
#[command(
    after_long_help = "Exit status: 0 the log is intact, 1 damage or tampering was found, or a requirement is not met,
2 the verification failed or could not check everything; the output names the unchecked parts.

Examples:
  annals verify
  annals verify --log-only              verify only the chain, not the read tables
  annals verify --skip search           leave out the search index, which another version made
  annals verify --require-complete      exit 1 also if something is known to be missing
  annals verify --key log.vkey --checkpoint kept.txt --require-anchor
                                        compare the log with checkpoints that were kept elsewhere
  annals verify --key log.vkey --from-checkpoint kept.txt
                                        verify only the events after the checkpoint
  annals --json verify | jq .log.head   print the head, to keep it elsewhere"
)]
pub(crate) struct Args {
    /// Verify only the chain, not the read tables
    #[arg(long)]
    log_only: bool,

    /// Leave out the read tables of this projection, named as in `annals projections`; may be given several
    /// times
    #[arg(long, value_name = "NAME", conflicts_with = "require_complete")]
    skip: Vec<String>,

    /// Exit with status 1 also if events were lost or skipped, sessions are open, or read tables are behind
    #[arg(long, conflicts_with_all = ["log_only", "from_checkpoint"])]
    require_complete: bool,

    /// Compare the log with the checkpoints in this file, which was kept elsewhere; may be given several times
    #[arg(long, value_name = "FILE")]
    checkpoint: Vec<PathBuf>,

    /// Trust this public key of the log: a vkey, or a file of vkeys. Get it from the operator of the log, not
    /// from the place where the log's file is; may be given several times
    #[arg(long, value_name = "VKEY")]
    key: Vec<String>,

    /// Trust this epoch key of the log, and refuse every checkpoint that no epoch key signed; may be given
    /// several times
    #[arg(long, value_name = "VKEY")]
    epoch_key: Vec<String>,

    /// Require the cosignatures of witnesses that the policy (C2SP tlog-policy) in this file asks for. They
    /// must be on the given checkpoints or, if none is given, on the checkpoints in the log's file
    #[arg(long, value_name = "FILE")]
    policy: Option<PathBuf>,

    /// Trust the events that the newest checkpoint in this file covers, and verify only the events after them
    #[arg(long, value_name = "FILE")]
    from_checkpoint: Option<PathBuf>,

    /// Use at most this many threads [default: the number of processors]
    #[arg(long, value_name = "N")]
    threads: Option<NonZeroUsize>,

    /// Exit with status 1 also if no checkpoint vouches for the log
    #[arg(long)]
    require_anchor: bool,

    /// Do not compare the log with the results of earlier verifications, and do not store this result
    #[arg(long, conflicts_with = "reset_memory")]
    no_remember: bool,

    /// Forget the results of earlier verifications of this log, and accept its present state
    #[arg(long)]
    reset_memory: bool,
}

impl Args {
    fn scope(&self) -> Scope {
        if self.log_only || self.from_checkpoint.is_some() { Scope::LogOnly } else { Scope::Everything }
    }

    fn options(&self) -> anyhow::Result<Options> {
        let mut options = Options::new().scope(self.scope());
        for name in &self.skip {
            options = options.skip(name);
        }
        let is_signer_known = !self.key.is_empty() || !self.epoch_key.is_empty();
        for key in given::keys(&self.key)? {
            options = options.key(key);
        }
        for key in given::keys(&self.epoch_key)? {
            options = options.epoch_key(key);
        }
        let policy = self.policy.as_deref().map(given::policy).transpose()?;
        let names_logs = policy.as_ref().is_some_and(|policy| !policy.logs().is_empty());
        let has_checkpoints = !self.checkpoint.is_empty() || self.from_checkpoint.is_some();
        let is_signer_asked = has_checkpoints || policy.is_some();
        // A checkpoint proves nothing without a trusted key. A policy may bring one, if it names logs.
        if is_signer_asked && !is_signer_known && !names_logs {
            bail!(
                "a checkpoint proves nothing without the key that signed it\nhint: give the log's public key with --key; the operator of the log prints it with `annals key show`"
            );
        }
        if let Some(policy) = policy {
            options = options.policy(policy);
        }
        for file in &self.checkpoint {
            options = options.checkpoints(&file.display().to_string(), given::checkpoints(file)?);
        }
        if let Some(file) = &self.from_checkpoint {
            options = options.since(&file.display().to_string(), given::newest(file)?);
        }
        if let Some(threads) = self.threads {
            options = options.threads(threads);
        }
        if self.no_remember {
            return Ok(options);
        }
        Ok(match Home::of_user() {
            Some(home) if self.reset_memory => options.memory(Memory::at(home.seen()).forget()),
            Some(home) => options.memory(Memory::at(home.seen())),
            None => {
                out::note(
                    "this result cannot be stored for later verifications, because there is no home folder; name a folder with $ANNALS_HOME",
                );
                options
            }
        })
    }
}

pub(crate) fn run(args: &Args, place: &LogFile, out: &mut Out) -> anyhow::Result<Verdict> {
    // Only for the bars: the verification opens the file itself.
    let total = match place.read() {
        Ok(reader) => reader.head().map_or(0, |head| head.seq.get()),
        Err(error) if !place.path().exists() => return Err(error),
        // The verification reports what is wrong with the file.
        Err(_) => 0,
    };
    let mut phases = [(Phase::Chain, "chain", None), (Phase::Fold, "read tables", None)]
        .map(|(phase, what, bar): (Phase, &'static str, Option<Bar>)| (phase, what, bar, 0_u64));
    let report = verify::verify(place.path(), args.options()?, &mut |phase, events| {
        for (of, what, bar, done) in &mut phases {
            if *of == phase {
                *done += events;
                bar.get_or_insert_with(|| Bar::new(what, Some(total))).set(*done);
            } else {
                // The phases follow one another: the bar of an earlier one goes.
                *bar = None;
            }
        }
    })?;
    // The last bar goes before the report is printed.
    drop(phases);
    if out.is_json() {
        out.json(&report)?;
    } else {
        print(&report, args.scope(), out)?;
        for why in missing(args, &report) {
            out.line(&format!("exit status 1: {why}"))?;
        }
    }
    // Damage comes first, then what was required, and then what could not be checked.
    Ok(match report.outcome {
        Outcome::Wrong => Verdict::FoundWrong,
        _ if !missing(args, &report).is_empty() => Verdict::FoundWrong,
        Outcome::NotAllChecked => Verdict::NotAllChecked,
        Outcome::Good => Verdict::Done,
    })
}

/// Returns true if something is missing. Anything that could not be checked is no finding.
fn is_incomplete(report: &Report) -> bool {
    let complete = &report.completeness;
    // Tables that are neither behind nor stopped count as incomplete only because they could not be checked.
    let is_unchecked = |name: &str| {
        report.tables.iter().any(|tables| {
            tables.projection == name
                && tables.not_checked.is_some()
                && tables.lag == 0
                && tables.stopped.is_none()
        })
    };
    !complete.complete
        && (report.not_checked.is_empty()
            || complete.events_lost > 0
            || (complete.sessions_open > 0 && !is_unchecked("sessions"))
            || complete.skips > 0
            || !complete.coverage_gaps.is_empty()
            || !complete.projections_behind.iter().all(|name| is_unchecked(name)))
}

/// The requirements that are not met.
fn missing(args: &Args, report: &Report) -> Vec<&'static str> {
    // A checkpoint that could not be judged is no finding.
    let is_judged = report.anchored.not_checked.is_empty();
    let anchor = args.require_anchor && report.anchored.anchored_to.is_none() && is_judged;
    let whole = args.require_complete && is_incomplete(report);
    [
        (anchor, "--require-anchor asks for a checkpoint that vouches for the log, and none does"),
        (whole, "--require-complete asks for a complete log, and this log is not known to be complete"),
    ]
    .into_iter()
    .filter_map(|(is_missing, why)| is_missing.then_some(why))
    .collect()
}
