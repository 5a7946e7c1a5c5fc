//! `annals key`: the keys that sign a log's checkpoints.

mod chain;

use crate::evidence::{Epochs, KeyChangeRequest, KeyFolder, PublicKeys};
use crate::{KeyChangeCause, KeyRole, Timestamp};
use anyhow::{Context as _, bail};
use clap::Subcommand;
use serde_json::json;

use super::ending;
use super::log_file::LogFile;
use super::out::{self, Out};
use super::signing;
use super::verdict::Verdict;
use chain::Chain;

/// Manage the keys that sign a log's checkpoints.
///
/// Keys are files in $ANNALS_HOME, else in the folder `annals` of the user's data folder. They are never
/// stored beside the log. Once a key exists, every command that appends signs checkpoints. $ANNALS_KEY may
/// hold a private key in place of the file.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Create the first key of a log, and print its public key
    Generate {
        /// Create it for the log with this name, which need not exist yet [default: the log that --db names]
        #[arg(long, value_name = "NAME")]
        origin: Option<String>,
        /// Use epoch keys as well. Each certifies the next one and is then erased, so that an intruder cannot
        /// sign for the past
        #[arg(long)]
        epochs: bool,
        /// Name of the person or program that creates it
        #[arg(long, env = "USER", default_value = "unknown")]
        actor: String,
    },
    /// Print the public key and the keys before it, for auditors
    ///
    /// The first line is the present key. The earlier keys are comments, so that the output can be kept as a file
    /// for `annals verify --key`. An auditor who has the present key or an earlier one can follow the changes of keys
    /// in the log. After a key was lost or compromised, the auditor must get the new key from you.
    Show {
        /// Print the key of the present epoch instead
        #[arg(long)]
        epoch: bool,
    },
    /// Replace the key: the old key certifies the new one, and an event records the change
    Rotate {
        /// Replace a key that is lost. The new key has no certificate, and every verification reports that
        #[arg(long)]
        lost: bool,
        /// Replace a key that somebody else may have. The old key is retired, and auditors must get the new one
        /// from you, because a thief could also certify a key
        #[arg(long, conflicts_with = "lost")]
        compromised: bool,
        /// Replace the epoch key now, instead of the stable key
        #[arg(long, conflicts_with = "lost")]
        epoch: bool,
        /// Reason for the change
        #[arg(long)]
        reason: Option<String>,
        /// Name of the person or program that replaces it
        #[arg(long, env = "USER", default_value = "unknown")]
        actor: String,
    },
}

pub(crate) fn run(
    args: &Args,
    place: impl FnOnce() -> anyhow::Result<LogFile>,
    out: &mut Out,
) -> anyhow::Result<Verdict> {
    match &args.command {
        Command::Generate { origin: Some(origin), epochs, .. } => {
            let keys = signing::keys(origin)?;
            // The log need not exist yet: the key waits for it.
            keys.generate(origin, kept(*epochs), Timestamp::now())?;
            shown(&keys, origin, out)?;
        }
        Command::Generate { origin: None, epochs, actor } => {
            let place = place()?;
            let origin = place.read()?.origin()?;
            let keys = signing::keys(&origin)?;
            if *epochs && keys.has_key()? && keys.public()?.epoch.is_none() {
                // The log already has a stable key; this adds its first epoch key.
                change(&place, &origin, &request(KeyRole::Epoch, KeyChangeCause::Generated, actor, None))?;
                return shown(&keys, &origin, out).map(|()| Verdict::Done);
            }
            if keys.has_key()? {
                bail!(
                    "the log {origin} already has a key; `annals key show` prints it, `annals key rotate` replaces it"
                );
            }
            // Checkpoints show that there was a key. A second first key would contradict it.
            if place.read()?.last_checkpoint()?.is_some() {
                bail!(
                    "checkpoints of this log were signed, but their key is not on this machine; copy the key to {}, or, if it is lost, use `annals key rotate --lost`",
                    keys.path().display()
                );
            }
            change(&place, &origin, &request(KeyRole::Stable, KeyChangeCause::Generated, actor, None))?;
            if *epochs {
                change(&place, &origin, &request(KeyRole::Epoch, KeyChangeCause::Generated, actor, None))?;
            }
            shown(&keys, &origin, out)?;
        }
        Command::Show { epoch } => {
            let reader = place()?.read()?;
            let origin = reader.origin()?;
            let mut keys = match signing::given(&origin)? {
                // A key from the environment has no folder, and so no epoch key.
                Some(key) => PublicKeys { stable: key.verifier().clone(), epoch: None },
                None => signing::keys(&origin)?.public()?,
            };
            if *epoch {
                keys.stable = keys
                    .epoch
                    .take()
                    .context("the log has no epoch key; `annals key generate --epochs` creates one")?;
            }
            let chain = Chain::read(&reader)?;
            if out.is_json() {
                out.json(&chain.to_json(&keys))?;
            } else {
                print(&keys, out)?;
                chain.print(&origin, out)?;
            }
        }
        Command::Rotate { lost, compromised, epoch, reason, actor } => {
            let place = place()?;
            let origin = place.read()?.origin()?;
            let keys = signing::keys(&origin)?;
            let role = if *epoch { KeyRole::Epoch } else { KeyRole::Stable };
            let cause = match (lost, compromised) {
                (true, _) => KeyChangeCause::Lost,
                (false, true) => KeyChangeCause::Compromised,
                (false, false) => KeyChangeCause::Rotated,
            };
            change(&place, &origin, &request(role, cause, actor, reason.as_deref()))?;
            if *epoch {
                // The epoch key is printed in the place of the stable one.
                let mut public = keys.public()?;
                public.stable = public.epoch.take().context("the log has no epoch key")?;
                print(&public, out)?;
                say_to_hand_out(cause);
                return Ok(Verdict::Done);
            }
            shown(&keys, &origin, out)?;
            say_to_hand_out(cause);
        }
    }
    Ok(Verdict::Done)
}

/// Prints the advice that auditors need the new key from the user, because the log cannot vouch for it.
fn say_to_hand_out(cause: KeyChangeCause) {
    match cause {
        KeyChangeCause::Lost => {
            out::note(
                "no earlier key certifies this key, so auditors cannot find it by themselves; send it to them",
            );
        }
        KeyChangeCause::Compromised => out::note(
            "a thief who has the old key could also certify a key, so no verification trusts the certificate of this key; send the key to the auditors",
        ),
        KeyChangeCause::Generated | KeyChangeCause::Rotated => {}
    }
}

fn kept(epochs: bool) -> Epochs {
    if epochs { Epochs::Kept } else { Epochs::None }
}

fn request(role: KeyRole, cause: KeyChangeCause, actor: &str, reason: Option<&str>) -> KeyChangeRequest {
    KeyChangeRequest { role, cause, actor: actor.to_owned(), reason: reason.map(str::to_owned) }
}

fn change(place: &LogFile, origin: &str, request: &KeyChangeRequest) -> anyhow::Result<()> {
    let log = place.builder().evidence(signing::signed(origin)?).open_existing()?;
    let changed = log.change_key(request);
    let closed = ending::close(log);
    changed?;
    closed.context("the key was changed, but the log did not close cleanly")
}

fn shown(keys: &KeyFolder, origin: &str, out: &mut Out) -> anyhow::Result<()> {
    let public = keys.public()?;
    print(&public, out)?;
    out.flush()?;
    if let Some(epoch) = &public.epoch {
        out::note(&format!("the key of the present epoch is {epoch}"));
    }
    out::note(&format!(
        "the private key of {origin} is in {}; keep a copy in a place where only you can read it",
        keys.key_file().display()
    ));
    Ok(())
}

fn print(keys: &PublicKeys, out: &mut Out) -> anyhow::Result<()> {
    let epoch = keys.epoch.as_ref().map(ToString::to_string);
    if out.is_json() {
        out.json(&json!({ "stable": keys.stable.to_string(), "epoch": epoch }))?;
        return Ok(());
    }
    Ok(out.line(&keys.stable.to_string())?)
}
