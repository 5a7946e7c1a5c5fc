//! `annals prove`: the proof of an event, or of a session, for somebody without the log.

use std::io::Write as _;
use std::path::{Path, PathBuf};

use crate::note::SignedCheckpoint;
use crate::proof::Extent;
use crate::prove::{Completeness, Payloads, ProveError};
use crate::{EventId, Reader, Seq};
use anyhow::{Context as _, bail};
use serde_json::json;

use super::failure::say_error;
use super::log_file::LogFile;
use super::out::Out;
use super::record::events;
use super::target::{self, Target, refuse_own_files};
use super::verdict::Verdict;
use super::{out, show, text};

/// Prove that an event, or the events of a session, are in the log.
///
/// The proof is one file. With it and the log's public key, `annals verify-proof` and other programs can
/// check without the log that the event was recorded. The proof contains the last checkpoint, which must
/// cover the event. It shows the event's time, kind and session. It contains the payload only with
/// --payload. With --payload-file the payload is in a separate file, because some programs that check
/// proofs refuse lines of more than 64 KiB.
#[derive(Debug, clap::Args)]
#[command(
    after_long_help = "Exit status: 1 if no proof can be made, because the log was damaged or tampered with.

Examples:
  annals prove 4711 --payload -o approval.tlog-proof
  annals prove 4711 --payload-file approval.payload -o approval.tlog-proof
  annals prove 0198c5a1-7b2e-7d01-8f00-1d2c3b4a5f60
  annals prove --session 0198c5 --complete -o session.proof
  annals verify-proof approval.tlog-proof --key log.vkey"
)]
pub(crate) struct Args {
    /// Event to prove: its sequence number or its id
    #[arg(value_name = "SEQ|EVENT_ID", required_unless_present = "session", conflicts_with = "session")]
    event: Option<String>,

    /// Prove all events of this session that the last checkpoint covers
    #[arg(long, value_name = "SESSION")]
    session: Option<String>,

    /// Include the payloads of the events in the proof
    #[arg(long)]
    payload: bool,

    /// Write the event's payload, as the log stores it, to this file, and leave it out of the proof
    #[arg(long, value_name = "FILE", conflicts_with_all = ["session", "payload"])]
    payload_file: Option<PathBuf>,

    /// Also prove that the session has no other events between its first and its last event. The proof then
    /// shows the time, kind and session of all events between these two, also of other sessions
    #[arg(long)]
    complete: bool,

    /// Write to this file, which appears only when it is complete, or to a pipe or device; - is standard output
    /// [default: standard output]
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,

    /// Replace the file if it already exists
    #[arg(long)]
    force: bool,
}

pub(crate) fn run(args: &Args, place: &LogFile, out: &mut Out) -> anyhow::Result<Verdict> {
    if args.force && args.output.is_none() && args.payload_file.is_none() {
        bail!("--force needs --output or --payload-file");
    }
    match prove(args, place) {
        Ok(proof) => proof.hand_out(args.output.as_deref(), args.force, place, out),
        Err(error) => found_wrong(error),
    }
}

/// Separates a damaged log, which is a verdict, from a failure.
pub(super) fn found_wrong(error: anyhow::Error) -> anyhow::Result<Verdict> {
    if !error.downcast_ref().is_some_and(ProveError::is_damage) {
        return Err(error);
    }
    say_error(&error);
    Ok(Verdict::FoundWrong)
}

fn prove(args: &Args, place: &LogFile) -> anyhow::Result<Proof> {
    if args.complete && args.session.is_none() {
        bail!("--complete needs --session: it proves that a session has no other events");
    }
    let payloads = if args.payload { Payloads::Included } else { Payloads::LeftOut };
    match (&args.session, &args.event) {
        (Some(session), _) => {
            // The read tables know the beginnings of ids, so their lag matters here.
            let reader = place.read_tables()?;
            let session = show::one_session(&reader, session)?;
            let wanted = if args.complete { Completeness::Complete } else { Completeness::Partial };
            let proved = reader.prove_session(&session, wanted, payloads)?;
            if proved.not_covered > 0 {
                out::note(&format!(
                    "the proof lacks {} of the session, recorded after the checkpoint of size {}; `annals checkpoint` signs a new one",
                    events(proved.not_covered),
                    proved.proof.checkpoint.size(),
                ));
            }
            let proof = proved.proof;
            // Counts only with --payload: without it, no event has one.
            let erased = proof.events.iter().filter(|event| event.payload.is_none()).count();
            if args.payload && erased > 0 {
                out::note(&format!(
                    "the proof lacks the payloads of {}, because they were erased",
                    events(erased as u64)
                ));
            }
            let others = match &proof.extent {
                Extent::Partial => String::new(),
                Extent::Complete(between) => {
                    format!(", with the entries of {} between them", events(between.len() as u64))
                }
            };
            let said =
                format!("{} of session `{}`{others}", events(proof.events.len() as u64), text::id(&session));
            Ok(Proof { text: proof.to_string(), said, checkpoint: proof.checkpoint })
        }
        (None, Some(event)) => {
            let reader = place.read()?;
            let seq = find(&reader, event)?;
            // The payload is read with the proof, at one moment, and moves to its own file below.
            let wanted = if args.payload_file.is_some() { Payloads::Included } else { payloads };
            let mut proof = reader.prove_event(seq, wanted)?;
            if let Some(file) = &args.payload_file {
                let Some(payload) = proof.event.payload.take() else {
                    bail!("the payload of event {seq} was erased; leave --payload-file out");
                };
                let Some(file) = target::named(Some(file)) else {
                    bail!("--payload-file must name a file, because the proof goes to standard output");
                };
                write(file, &payload, args.force, place)?;
            }
            if args.payload && proof.event.payload.is_none() {
                out::note(&format!("the proof lacks the payload of event {seq}, because it was erased"));
            }
            let said = format!("event {seq}");
            Ok(Proof { text: proof.to_string(), said, checkpoint: proof.checkpoint })
        }
        (None, None) => bail!("name an event, or a session with --session"),
    }
}

/// The event that a reference means: its sequence number, or its id.
fn find(reader: &Reader, reference: &str) -> anyhow::Result<Seq> {
    if let Ok(seq) = reference.parse() {
        return Ok(seq);
    }
    let id: EventId = reference
        .parse()
        .map_err(|_| anyhow::anyhow!("`{reference}` is neither a sequence number nor the id of an event"))?;
    reader.seq_of(id)?.with_context(|| format!("there is no event with the id {id}"))
}

fn write(output: &Path, bytes: &[u8], force: bool, place: &LogFile) -> anyhow::Result<()> {
    refuse_own_files(output, place.path())?;
    Target::new(output, force)?.fill(|mut file| file.write_all(bytes).context("the file cannot be written"))
}

/// A proof, ready to be handed out.
pub(super) struct Proof {
    pub(super) text: String,
    /// The subject of the proof, for people.
    pub(super) said: String,
    pub(super) checkpoint: SignedCheckpoint,
}

impl Proof {
    /// Prints the proof, or writes it to a file and prints its subject.
    pub(super) fn hand_out(
        &self,
        output: Option<&Path>,
        force: bool,
        place: &LogFile,
        out: &mut Out,
    ) -> anyhow::Result<Verdict> {
        let output = target::named(output);
        if let Some(output) = output {
            write(output, self.text.as_bytes(), force, place)?;
        }
        if out.is_json() {
            out.json(&json!({
                "proves": self.said,
                "origin": self.checkpoint.origin(),
                "size": self.checkpoint.size(),
                "root": self.checkpoint.root().to_string(),
                "proof": self.text,
            }))?;
        } else if output.is_none() {
            out.data(&self.text)?;
        } else {
            let size = self.checkpoint.size();
            out::say(&format!("proof of {}; its checkpoint covers {}", self.said, events(size)));
        }
        Ok(Verdict::Done)
    }
}
