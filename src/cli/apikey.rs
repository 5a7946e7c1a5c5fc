//! `annals apikey`: the keys that admit programs to a server over this log, and their scopes.

use crate::apikey::ApiKeyStatus;
use crate::apikey::{ApiKeyRecord, ApiKeyRequest};
use crate::{ApiKeyScope, EventId, Timestamp};
use anyhow::{Context as _, bail};
use clap::Subcommand;
use serde_json::json;

use super::ending;
use super::log_file::LogFile;
use super::out::{self, Out, word};
use super::table::{Arrangement, Cell, Column, Table};
use super::verdict::Verdict;
use super::{text, time};

/// Characters of an id that a list shows: the time within it, to the millisecond.
const ID_CHARS: usize = 13;

/// Manage the API keys that programs send to a server of this log.
///
/// The log records the creation and the revocation of a key as events. Every event that is submitted with
/// a key carries the id of the key. Once the first key was created, `annals serve` refuses requests
/// without a key.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Create a key, and print it once
    ///
    /// The printed key is the only copy: the log keeps only a hash.
    #[command(after_long_help = "Scopes:
  emit    record events
  read    read and search them
  verify  verify the log, and get checkpoints and proofs
  admin   erase payloads, rebuild read tables, sign checkpoints
No scope includes another: an auditor needs read,verify.

Examples:
  KEY=$(annals apikey create --name pipeline --scopes emit)
  annals apikey create --name 'audit 2026' --scopes read,verify --expires 90d")]
    Create {
        /// Name of the key, for people
        #[arg(long)]
        name: String,
        /// Scopes of the key: emit, read, verify, admin
        #[arg(long, required = true, value_delimiter = ',', value_name = "SCOPE,…")]
        scopes: Vec<ApiKeyScope>,
        /// Expiry of the key: a duration from now (90d, 12h, 4w), or a time or date in UTC [default: never]
        #[arg(long, value_name = "WHEN", value_parser = time::parse_to_come)]
        expires: Option<Timestamp>,
        /// Purpose of the key
        #[arg(long)]
        reason: Option<String>,
        /// Name of the person or program that creates it
        #[arg(long, env = "USER", default_value = "unknown")]
        actor: String,
    },
    /// List the active keys, newest first
    List {
        /// Also list keys that expired or were revoked
        #[arg(long)]
        all: bool,
    },
    /// Revoke a key: servers refuse it within a second
    #[command(after_long_help = "Examples:
  annals apikey revoke pipeline --reason 'it leaked'
  annals apikey revoke 019aa5c2-1f3b")]
    Revoke {
        /// Id of the key, the beginning of the id, or the name of the key
        #[arg(value_name = "ID|NAME")]
        key: String,
        /// Reason for the revocation
        #[arg(long)]
        reason: Option<String>,
        /// Name of the person or program that revokes it
        #[arg(long, env = "USER", default_value = "unknown")]
        actor: String,
    },
}

pub(crate) fn run(args: &Args, place: &LogFile, out: &mut Out) -> anyhow::Result<Verdict> {
    match &args.command {
        Command::Create { name, scopes, expires, reason, actor } => {
            let request = ApiKeyRequest {
                name: name.clone(),
                scopes: scopes.clone(),
                expires_at: *expires,
                actor: actor.clone(),
                reason: reason.clone(),
            };
            create(&request, place, out)?;
        }
        Command::List { all } => list(*all, place, out)?,
        Command::Revoke { key, reason, actor } => revoke(key, actor, reason.as_deref(), place, out)?,
    }
    Ok(Verdict::Done)
}

fn create(request: &ApiKeyRequest, place: &LogFile, out: &mut Out) -> anyhow::Result<()> {
    // A key that cannot be made is refused before a log is created for it.
    request.check(Timestamp::now())?;
    let log = place.append()?;
    let created = log.create_api_key(request);
    // The log is closed before the error is returned, so its threads end in any case.
    let closed = ending::close(log);
    let (key, appended) = created?;
    if out.is_json() {
        out.json(&json!({
            "id": key.id(),
            "name": request.name,
            "scopes": request.scopes,
            "expires_at": request.expires_at,
            "seq": appended.seq,
            "key": key.reveal().as_str(),
        }))?;
    } else {
        out.line(&key.reveal())?;
        // Flushed before the note: this is the only copy of the key.
        out.flush()?;
        let expiry = request
            .expires_at
            .map_or_else(|| "never expires".to_owned(), |at| format!("expires at {} UTC", time::shown(at)));
        out::note(&format!(
            "this is the only copy of the key `{}`, which has the scopes {} and {expiry}; send it as `Authorization: Bearer <key>`",
            text::line(&request.name),
            words(&request.scopes, ", "),
        ));
    }
    closed.context("the key was created, but the log did not close cleanly")
}

fn list(all: bool, place: &LogFile, out: &mut Out) -> anyhow::Result<()> {
    let now = Timestamp::now();
    let mut keys = place.read()?.api_keys()?;
    let known = keys.len();
    keys.retain(|key| all || key.status(now) == ApiKeyStatus::Active);
    if out.is_json() {
        let keys: Vec<_> = keys
            .iter()
            .map(|key| {
                // The status depends on the time of asking, so the record lacks it.
                let mut key_json = serde_json::to_value(key)?;
                if let Some(object) = key_json.as_object_mut() {
                    object.insert("status".to_owned(), key.status(now).as_str().into());
                }
                Ok(key_json)
            })
            .collect::<serde_json::Result<_>>()?;
        out.json::<Vec<_>>(&keys)?;
        return Ok(());
    }
    if !keys.is_empty() {
        let mut table = Table::new(vec![
            Column::whole("ID"),
            Column::cut("NAME"),
            Column::whole("SCOPES").optional(1),
            Column::whole("CREATED").optional(3),
            Column::whole("EXPIRES").optional(2),
            Column::whole("LAST USED").optional(4),
            Column::whole("STATUS"),
        ]);
        for key in &keys {
            table.add(vec![
                // The beginning of an id is enough to name the key.
                Cell::new(&text::shortened(&key.id.to_string(), ID_CHARS).replace('…', "")),
                Cell::id(&key.name),
                Cell::new(&words(&key.scopes, ",")),
                Cell::new(&time::shown(key.created_at)),
                Cell::maybe(key.expires_at.map(time::shown)),
                Cell::maybe(key.last_used_at.map(time::shown)),
                word(key.status(now).as_str()),
            ]);
        }
        out.print(&table, Arrangement::Fitting)?;
        out.flush()?;
    }
    match known - keys.len() {
        0 if known == 0 => {
            out::note("no key was created yet: `annals serve` needs none on this machine");
        }
        0 => {}
        more => {
            out::note(&format!(
                "keys that expired or were revoked are not listed ({more}); --all lists them"
            ));
        }
    }
    Ok(())
}

fn revoke(
    reference: &str,
    actor: &str,
    reason: Option<&str>,
    place: &LogFile,
    out: &mut Out,
) -> anyhow::Result<()> {
    // Read from the log itself, so a key that was created just now is found, too.
    let id = find(reference, place.read()?.api_keys()?)?;
    let log = place.append_existing()?;
    let revoked = log.revoke_api_key(id, actor, reason);
    let closed = ending::close(log);
    let revoked = revoked?;
    if out.is_json() {
        out.json(&json!({ "id": id, "seq": revoked.seq }))?;
    } else {
        out.line(&format!("the key {id} is revoked; event {} records it", revoked.seq))?;
    }
    closed.context("the key was revoked, but the log did not close cleanly")
}

/// The key that a reference means: by its id with or without dashes, the beginning of the id, or its name. Among
/// several keys with one name, it is the one that is not revoked.
fn find(reference: &str, keys: Vec<ApiKeyRecord>) -> anyhow::Result<EventId> {
    let digits = reference.replace('-', "").to_ascii_lowercase();
    // An empty text begins every id, and means none.
    let is_begun =
        |key: &ApiKeyRecord| !digits.is_empty() && key.id.to_string().replace('-', "").starts_with(&digits);
    // A name wins over the beginning of an id.
    let mut meant: Vec<&ApiKeyRecord> = keys.iter().filter(|key| key.name == reference).collect();
    if meant.is_empty() {
        meant = keys.iter().filter(|key| is_begun(key)).collect();
    } else if meant.iter().any(|key| key.revoked.is_none()) {
        meant.retain(|key| key.revoked.is_none());
    }
    match meant.as_slice() {
        [] => bail!(
            "there is no key `{}`\nhint: `annals apikey list --all` lists them",
            text::line(&text::shortened(reference, 64))
        ),
        [key] => Ok(key.id),
        several => {
            let lines: Vec<String> =
                several.iter().map(|key| format!("{} {}", key.id, text::line(&key.name))).collect();
            bail!(
                "`{}` matches several keys; name one by its id:\n  {}",
                text::line(reference),
                lines.join("\n  ")
            )
        }
    }
}

fn words(scopes: &[ApiKeyScope], between: &str) -> String {
    scopes.iter().map(|scope| scope.as_str()).collect::<Vec<_>>().join(between)
}
