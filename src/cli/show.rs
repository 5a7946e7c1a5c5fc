//! `annals show`: one session, or the sessions of one conversation.

mod print;

use annals::{Found, Reader, SessionRecord};
use anyhow::{Context as _, bail};
use serde::Serialize;

use super::Verdict;
use super::out::Out;
use super::place::Place;
use super::text;

/// Show a session with its steps, decisions and findings.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "Examples:
  annals show 0198c5                    by the beginning of its id
  annals show ticket-4711               every session of a conversation
  annals --json show 0198c5 | jq .steps")]
pub(crate) struct Args {
    /// The session's id, its beginning, or a conversation's id
    #[arg(value_name = "SESSION|CONVERSATION")]
    reference: String,

    /// Show long texts whole
    #[arg(long)]
    full: bool,
}

#[derive(Debug, Serialize)]
struct Conversation<'a> {
    conversation_id: &'a str,
    sessions: Vec<SessionRecord>,
}

pub(crate) fn run(args: &Args, place: &Place, out: &mut Out) -> anyhow::Result<Verdict> {
    let reader = place.read_tables()?;
    let depth = if args.full { print::Texts::Whole } else { print::Texts::Shortened };
    match reader.find(&args.reference)? {
        Found::Conversation(ids) if out.is_json() => {
            let sessions = ids.iter().map(|id| load(&reader, id)).collect::<anyhow::Result<_>>()?;
            out.json(&Conversation { conversation_id: &args.reference, sessions })?;
        }
        Found::Conversation(ids) => {
            for (index, id) in ids.iter().enumerate() {
                if index > 0 {
                    out.line("")?;
                }
                print::session(&load(&reader, id)?, depth, out)?;
            }
        }
        found => {
            let record = load(&reader, &only(found, &args.reference)?)?;
            if out.is_json() {
                out.json(&record)?;
            } else {
                print::session(&record, depth, out)?;
            }
        }
    }
    Ok(Verdict::Done)
}

fn load(reader: &Reader, id: &str) -> anyhow::Result<SessionRecord> {
    reader.session(id)?.with_context(|| format!("the session {} is gone", text::id(id)))
}

/// Prints a session's record, long texts shortened.
pub(super) fn print_record(record: &SessionRecord, out: &mut Out) -> std::io::Result<()> {
    print::session(record, print::Texts::Shortened, out)
}

/// The one session that a reference means.
pub(super) fn one_session(reader: &Reader, reference: &str) -> anyhow::Result<String> {
    only(reader.find(reference)?, reference)
}

fn only(found: Found, reference: &str) -> anyhow::Result<String> {
    match found {
        Found::Session(id) => Ok(id),
        Found::Conversation(mut ids) if ids.len() == 1 => ids.pop().context("a conversation has sessions"),
        Found::Conversation(ids) | Found::Ambiguous(ids) => {
            let ids: Vec<_> = ids.iter().map(|id| text::id(id)).collect();
            bail!("`{reference}` may be any of these; name one:\n  {}", ids.join("\n  "))
        }
        _ => {
            bail!("there is no session and no conversation `{reference}`\nhint: `annals sessions` lists them")
        }
    }
}
