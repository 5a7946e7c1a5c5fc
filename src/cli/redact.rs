//! `annals redact`: erases the payloads of events forever.

use std::io::{self, BufRead as _, IsTerminal as _, Write as _};

use crate::{Content, RedactionRequest, Seq};
use anyhow::{Context as _, bail};
use serde_json::json;

use super::ending;
use super::log_file::LogFile;
use super::out::{self, Out};
use super::record::events;
use super::text;
use super::verdict::Verdict;

/// Erase the payloads of events forever.
///
/// The log still shows the time, kind and session of each event, who erased the payload, and why. It can
/// still be verified. Copies and exports that were made before still have the payloads.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "Example:
  annals redact 4711 4712 --reason 'request of the customer' --authority 'GDPR Art. 17'")]
pub(crate) struct Args {
    /// Sequence numbers of the events
    #[arg(required = true, value_name = "SEQ")]
    seqs: Vec<Seq>,

    /// Reason for the erasure
    #[arg(long, value_parser = clap::builder::NonEmptyStringValueParser::new())]
    reason: String,

    /// Name of the person who decided it
    #[arg(long, env = "USER", value_parser = clap::builder::NonEmptyStringValueParser::new())]
    actor: String,

    /// Basis of the decision: a law, a policy, a request
    #[arg(long)]
    authority: Option<String>,

    /// Do not ask for confirmation
    #[arg(long, short)]
    yes: bool,
}

pub(crate) fn run(args: &Args, place: &LogFile, out: &mut Out) -> anyhow::Result<Verdict> {
    let mut seqs = args.seqs.clone();
    seqs.sort_unstable();
    seqs.dedup();
    // Checked before the user is asked, and before anything is recorded.
    require_payloads(&seqs, place)?;
    if !args.yes && !is_confirmed(&seqs, place)? {
        bail!("nothing was erased");
    }
    let log = place.append_existing()?;
    let redacted = log.redact(RedactionRequest {
        seqs: seqs.clone(),
        actor: args.actor.clone(),
        reason: args.reason.clone(),
        authority: args.authority.clone(),
    });
    let closed = ending::close(log);
    let redacted = redacted?;
    if out.is_json() {
        out.json(&json!({ "seq": redacted.seq, "redacted": seqs }))?;
    } else {
        let number = u64::try_from(seqs.len()).unwrap_or(u64::MAX);
        out.line(&format!(
            "the payloads of {} were erased; event {} records it",
            events(number),
            redacted.seq
        ))?;
    }
    closed?;
    Ok(Verdict::Done)
}

/// Refuses events that are erased already: a second record would claim something that did not happen.
fn require_payloads(seqs: &[Seq], place: &LogFile) -> anyhow::Result<()> {
    let reader = place.read()?;
    for seq in seqs {
        match reader.event(*seq)? {
            None => bail!("the log has no event {seq}; nothing was erased"),
            Some(event) if event.content == Content::Redacted => {
                bail!(
                    "the payload of event {seq} was erased before; `annals verify` lists all erasures. Nothing was erased now"
                )
            }
            Some(_) => {}
        }
    }
    Ok(())
}

fn is_confirmed(seqs: &[Seq], place: &LogFile) -> anyhow::Result<bool> {
    // Nobody can answer, and silence is no consent.
    if !io::stdin().is_terminal() {
        bail!("erased payloads cannot be restored, and standard input is not a terminal; confirm with --yes");
    }
    let reader = place.read()?;
    for seq in seqs {
        match reader.event(*seq)? {
            None => bail!("the log has no event {seq}"),
            Some(event) => {
                let session = event
                    .session
                    .as_ref()
                    .map_or_else(String::new, |id| format!(" of session {}", text::id(id.as_str())));
                let gone = if event.content == Content::Redacted { " (erased before)" } else { "" };
                out::say(&text::line(&format!("event {seq}, {}{session}{gone}", event.kind_name())));
            }
        }
    }
    // On standard error: standard output may be a pipe, and is for the answer.
    let mut stderr = io::stderr();
    write!(stderr, "Erase their payloads forever? [y/N] ")?;
    stderr.flush()?;
    let mut answer = String::new();
    io::stdin().lock().read_line(&mut answer).context("the answer cannot be read")?;
    Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
}
