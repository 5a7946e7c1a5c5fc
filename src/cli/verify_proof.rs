//! `annals verify-proof`: checks a proof against the keys that the caller trusts.

use std::path::PathBuf;

use crate::note::{Checkpoint, SignedCheckpoint, VerifierKey};
use crate::proof::{CheckedEvent, EntryProof, ProofFile, ProofFileFault, ProofForm, SessionProof};
use crate::{KeyRole, kind_name, merkle, verify};
use anyhow::{anyhow, bail};
use serde::Serialize;
use serde_json::value::RawValue;

use super::out::{BOLD, Out, style_of};
use super::record::events;
use super::verdict::Verdict;
use super::{event_line, given, text, time};

/// Check a proof, without the log.
///
/// The proof may be that of an event, of a session, or of consistency. A proof of consistency shows that a
/// log still begins with an older state of itself. A proof is worth only as much as the key that signed its
/// checkpoint. So give the log's public key. Get it from the operator of the log, not from the place where
/// the proof is.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "Exit status: 0 the proof holds, 1 it does not, 2 it could not be checked.

Examples:
  annals verify-proof approval.tlog-proof --key log.vkey
  annals verify-proof approval.tlog-proof --payload-file approval.payload --key log.vkey
  annals verify-proof since.proof --key log.vkey --checkpoint kept.checkpoint
  annals --json verify-proof session.proof --key log.vkey | jq .events")]
pub(crate) struct Args {
    /// Proof to check; - is standard input
    #[arg(value_name = "FILE")]
    file: PathBuf,

    /// Trust this public key of the log: a vkey, or a file of vkeys; may be given several times
    #[arg(long, value_name = "VKEY", required_unless_present = "epoch_key")]
    key: Vec<String>,

    /// Trust this epoch key of the log, and refuse every checkpoint that no epoch key signed; may be given
    /// several times
    #[arg(long, value_name = "VKEY")]
    epoch_key: Vec<String>,

    /// Check a proof of consistency against the older checkpoint in this file, which was kept elsewhere; may
    /// be given several times
    #[arg(long, value_name = "OLD")]
    checkpoint: Vec<PathBuf>,

    /// Read the event's payload from this file, if the proof does not contain it
    #[arg(long, value_name = "PAYLOAD")]
    payload_file: Option<PathBuf>,
}

/// The result of a check.
#[derive(Debug, Default, Serialize)]
struct ProofVerdict {
    /// True if everything holds that the proof claims.
    holds: bool,
    form: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    origin: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    size: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    root: Option<String>,
    /// The keys that are trusted and signed the checkpoint.
    signed_by: Vec<String>,
    shows: Vec<String>,
    does_not_show: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    events: Vec<ShownEvent>,
    #[serde(skip_serializing_if = "Option::is_none")]
    failure: Option<ProofFailure>,
}

#[derive(Debug, Serialize)]
struct ShownEvent {
    seq: u64,
    event_id: String,
    kind: String,
    session: Option<String>,
    occurred_at: Option<String>,
    recorded_at: String,
    /// The event in the form in which events are shown elsewhere, if the proof has its payload.
    #[serde(skip_serializing_if = "Option::is_none")]
    event: Option<Box<RawValue>>,
    /// The event in a line, for people.
    #[serde(skip)]
    line: String,
}

#[derive(Debug, Serialize)]
struct ProofFailure {
    check: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    seq: Option<u64>,
    detail: String,
}

impl ProofFailure {
    fn new(check: &'static str, detail: impl ToString) -> ProofFailure {
        ProofFailure { check, seq: None, detail: detail.to_string() }
    }
}

impl From<crate::proof::ProofError> for ProofFailure {
    fn from(error: crate::proof::ProofError) -> ProofFailure {
        let seq = error.seq().map(crate::Seq::get);
        ProofFailure { seq, ..ProofFailure::new(error.check(), error) }
    }
}

pub(crate) fn run(args: &Args, out: &mut Out) -> anyhow::Result<Verdict> {
    let trust = Trust { keys: given::keys(&args.key)?, epoch_keys: given::keys(&args.epoch_key)? };
    let mut old = Vec::new();
    for file in &args.checkpoint {
        old.extend(given::checkpoints(file)?.checkpoints);
    }
    let payload = args.payload_file.as_deref().map(given::payload).transpose()?;
    let bytes = given::proof(&args.file)?;
    // An option that does not fit the form of the proof is refused, and never ignored.
    match ProofForm::of(&bytes) {
        Some(ProofForm::Session | ProofForm::Consistency) if payload.is_some() => {
            bail!("--payload-file is only for the proof of an event; leave it out");
        }
        Some(ProofForm::Entry | ProofForm::Session) if !old.is_empty() => {
            bail!("--checkpoint is only for a proof of consistency; leave it out");
        }
        _ => {}
    }
    let mut answer = ProofVerdict::default();
    match ProofFile::parse(&bytes) {
        Ok(mut proof) => {
            if let (ProofFile::Entry(proof), Some(payload)) = (&mut proof, payload) {
                add_payload(proof, payload)?;
            }
            let judged = judge(&proof, &trust, &old, &mut answer, out)?;
            answer.holds = judged.is_ok();
            answer.failure = judged.err();
        }
        // A proof of a newer version may be right, but cannot be checked.
        Err(error) if matches!(error.fault, ProofFileFault::UnknownVersion { .. }) => {
            bail!("{}: {error}", args.file.display());
        }
        Err(error) => answer.failure = Some(ProofFailure::new("proof-format", error)),
    }
    // A proof that fails shows nothing, whatever was collected before the failure.
    if answer.failure.is_some() {
        answer.shows.clear();
        answer.does_not_show.clear();
        answer.events.clear();
    }
    if out.is_json() {
        out.json(&answer)?;
    } else {
        print(&answer, out)?;
    }
    Ok(if answer.holds { Verdict::Done } else { Verdict::FoundWrong })
}

/// Adds the payload from a file beside the proof.
fn add_payload(proof: &mut EntryProof, payload: Vec<u8>) -> anyhow::Result<()> {
    if proof.event.payload.is_some() {
        bail!("the proof already contains the payload; leave --payload-file out");
    }
    proof.event.payload = Some(payload);
    Ok(())
}

/// The keys that the caller trusts.
struct Trust {
    keys: Vec<VerifierKey>,
    epoch_keys: Vec<VerifierKey>,
}

impl Trust {
    /// The trusted keys that signed a checkpoint as its log's.
    fn signers(&self, checkpoint: &SignedCheckpoint) -> Result<Vec<String>, ProofFailure> {
        let stable = self.keys.iter().map(|key| (KeyRole::Stable, key.clone()));
        let given = stable.chain(self.epoch_keys.iter().map(|key| (KeyRole::Epoch, key.clone()))).collect();
        let signers = verify::signers(given, checkpoint).map_err(|why| {
            ProofFailure::new(
                "checkpoint-signature",
                format!("checkpoint of size {}: {why}", checkpoint.size()),
            )
        })?;
        let mut names: Vec<String> = Vec::new();
        for (_, key) in signers {
            let name = format!("{}+{}", key.name(), key.id());
            // The same key may be given for both roles.
            if !names.contains(&name) {
                names.push(name);
            }
        }
        Ok(names)
    }
}

/// Judges a proof. The claims in `answer` are only valid if there is no failure.
fn judge(
    proof: &ProofFile,
    trust: &Trust,
    old: &[SignedCheckpoint],
    answer: &mut ProofVerdict,
    out: &Out,
) -> anyhow::Result<Result<(), ProofFailure>> {
    let checkpoint = proof.checkpoint();
    answer.form = Some(match proof {
        ProofFile::Entry(_) => "event",
        ProofFile::Session(_) => "session",
        ProofFile::Consistency(_) => "consistency",
    });
    answer.origin = Some(checkpoint.origin().to_owned());
    answer.size = Some(checkpoint.size());
    answer.root = Some(checkpoint.root().to_string());
    // Looked up before anything is judged: a missing checkpoint is a failure to check, and no verdict.
    let older = match proof {
        ProofFile::Consistency(proof) => Some(older(proof.old, checkpoint.origin(), old)?),
        _ => None,
    };
    let judged = trust.signers(checkpoint).and_then(|signers| {
        answer.signed_by = signers;
        match (proof, older) {
            (ProofFile::Consistency(proof), Some(older)) => {
                for older in &older {
                    // Without a trusted signature the root of an older checkpoint proves nothing. Only that of an empty
                    // log is known.
                    if older.size() > 0 || !older.signatures().is_empty() {
                        trust.signers(older)?;
                    }
                    // The hashes must lead from this root to that of the newer checkpoint.
                    proof.check(older.checkpoint())?;
                }
                show_consistency(proof.old, checkpoint.size(), answer);
                let left_out = old.iter().filter(|given| given.size() != proof.old).count();
                if left_out > 0 {
                    answer.does_not_show.push(format!(
                        "anything about {} of other sizes, which were given but not used",
                        checkpoints(left_out)
                    ));
                }
            }
            (ProofFile::Session(proof), _) => show_session(proof, answer, out)?,
            (ProofFile::Entry(proof), _) => {
                let event = proof.check()?;
                answer.does_not_show.extend(without_payload(std::slice::from_ref(&event)));
                answer.does_not_show.push("anything about other events".to_owned());
                answer.shows.push(format!("event {} is in the log", event.seq()));
                answer.events.push(shown(&event, out));
            }
            // Does not happen: `older` is set for this form.
            (ProofFile::Consistency(_), None) => {}
        }
        Ok(())
    });
    Ok(judged)
}

fn checkpoints(count: usize) -> String {
    format!("{count} {}", if count == 1 { "checkpoint" } else { "checkpoints" })
}

/// Most checkpoints that an error names, because a file may hold very many.
const NAMED_MAX: usize = 10;

/// The older checkpoints that a proof of consistency is about. That of an empty log needs no file: all empty logs have
/// one root.
fn older(size: u64, origin: &str, given: &[SignedCheckpoint]) -> anyhow::Result<Vec<SignedCheckpoint>> {
    let older: Vec<SignedCheckpoint> =
        given.iter().filter(|checkpoint| checkpoint.size() == size).cloned().collect();
    if !older.is_empty() {
        return Ok(older);
    }
    if size > 0 || !given.is_empty() {
        let mut named: Vec<String> = given
            .iter()
            .take(NAMED_MAX)
            .map(|checkpoint| format!("{} of `{}`", events(checkpoint.size()), checkpoint.origin()))
            .collect();
        let more = given.len().saturating_sub(NAMED_MAX);
        if more > 0 {
            named.push(format!("and {more} more"));
        }
        let wanted = format!("the proof begins at the checkpoint of {} of the log `{origin}`", events(size));
        if named.is_empty() {
            bail!("{wanted}; give a file with that checkpoint: --checkpoint FILE");
        }
        bail!("{wanted}, but the checkpoints that --checkpoint gave cover {}", named.join(", "));
    }
    // The root of an empty tree is known, so nobody has to sign for it.
    let empty = Checkpoint::new(origin, 0, merkle::EMPTY_ROOT).map_err(|error| anyhow!(error))?;
    Ok(vec![SignedCheckpoint::unsigned(empty)])
}

fn show_consistency(old: u64, new: u64, answer: &mut ProofVerdict) {
    answer.shows.push(format!(
        "the log of {} begins with the {} of the older checkpoint, and nothing in them was changed",
        events(new),
        events(old)
    ));
    answer
        .does_not_show
        .push("the content of the events, and whether the log has more events now".to_owned());
}

fn show_session(proof: &SessionProof, answer: &mut ProofVerdict, out: &Out) -> Result<(), ProofFailure> {
    let checked = proof.check()?;
    let first = checked.events.first().map(CheckedEvent::seq);
    let last = checked.events.last().map(CheckedEvent::seq);
    let (Some(first), Some(last)) = (first, last) else { return Ok(()) };
    let count = events(checked.events.len() as u64);
    let session = &proof.session;
    let are = if checked.events.len() == 1 { "is" } else { "are" };
    let shows = format!("{count} of session `{session}`, from event {first} to {last}, {are} in the log");
    answer.shows.push(shows);
    if checked.is_complete {
        answer.shows.push("the session has no other events between these two".to_owned());
        answer.does_not_show.push("whether it has events before the first or after the last".to_owned());
    } else {
        answer.does_not_show.push("whether the session has other events: the proof is partial".to_owned());
    }
    answer.does_not_show.extend(without_payload(&checked.events));
    answer.events = checked.events.iter().map(|event| shown(event, out)).collect();
    Ok(())
}

/// The claim that stays open because the proof lacks payloads.
fn without_payload(checked: &[CheckedEvent]) -> Option<String> {
    match checked.iter().filter(|event| event.payload.is_none()).count() {
        0 => None,
        _ if checked.len() == 1 => Some("the payload of the event: it is not in the proof".to_owned()),
        count => Some(format!("the payloads of {}: they are not in the proof", events(count as u64))),
    }
}

fn shown(checked: &CheckedEvent, out: &Out) -> ShownEvent {
    let entry = &checked.entry;
    let recorded = checked.recorded();
    let session = entry.session.as_ref().map(ToString::to_string);
    let when = time::shown(entry.recorded_at);
    // Without the payload, the line is made of the entry alone.
    let line = match &recorded {
        Some(recorded) => event_line::line(recorded, &when, session.as_deref(), out),
        None => {
            let session = session.as_deref().map(text::line).unwrap_or_default();
            format!(
                "{} {when}  {}  {session}",
                entry.seq,
                out.paint(BOLD, &text::line(&kind_name(entry.kind)))
            )
        }
    };
    ShownEvent {
        seq: entry.seq,
        event_id: entry.event_id.to_string(),
        kind: kind_name(entry.kind),
        session,
        occurred_at: entry.occurred_at.map(|time| time.to_string()),
        recorded_at: entry.recorded_at.to_string(),
        event: recorded.and_then(|recorded| RawValue::from_string(recorded.to_json()).ok()),
        line: line.trim_end().to_owned(),
    }
}

fn print(answer: &ProofVerdict, out: &mut Out) -> anyhow::Result<()> {
    let (tone, word) = if answer.holds { ("ok", "holds") } else { ("error", "DOES NOT HOLD") };
    let word = out.paint(style_of(tone).bold(), word);
    let form = match answer.form {
        Some("event") => "the proof of an event",
        Some("session") => "the proof of a session",
        Some(_) => "the proof of consistency",
        None => "the proof",
    };
    out.line(&format!("{form} {word}"))?;
    if let Some(failure) = &answer.failure {
        let place = failure.seq.map(|seq| format!(" at event {seq}")).unwrap_or_default();
        let heading = out.paint(style_of("error"), &format!("{}{place}", failure.check));
        out.line(&format!("  {heading}: {}", text::line(&failure.detail)))?;
        return Ok(());
    }
    if let (Some(origin), Some(size)) = (&answer.origin, answer.size) {
        let keys = answer.signed_by.join(" and ");
        let said = format!("the checkpoint of {origin}, {}, is signed by {keys}", events(size));
        out.line(&format!("  shows      {}", text::line(&said)))?;
    }
    for shown in &answer.shows {
        out.line(&format!("             {}", text::line(shown)))?;
    }
    for not_shown in &answer.does_not_show {
        out.line(&format!("  not shown  {}", text::line(not_shown)))?;
    }
    for event in &answer.events {
        out.line(&event.line)?;
    }
    Ok(())
}
