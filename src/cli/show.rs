//! `annals show`: one session, or the sessions of one conversation.

mod print;
mod judgements;

use std::io::Write as _;

use crate::Reader;
use crate::query::Found;
use crate::query::{ExtractBounds, SessionExtract};
use anyhow::{Context as _, bail};

use super::log_file::LogFile;
use super::out::{JsonWriter, Out};
use super::text;
use super::verdict::Verdict;

/// Show a session with its steps, decisions and findings, or all sessions of a conversation.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "Examples:
  annals show 0198c5                    show a session, by the beginning of its id
  annals show ticket-4711               show every session of a conversation
  annals --json show 0198c5 | jq .steps")]
pub(crate) struct Args {
    /// Id of a session, the beginning of that id, or the id of a conversation
    #[arg(value_name = "SESSION|CONVERSATION")]
    reference: String,

    /// Show long texts in full
    #[arg(long)]
    full: bool,
}

/// Bounds of a session that is shown to people: more characters of a text than are printed, and more bytes than anybody
/// reads.
pub(super) const SHORT: ExtractBounds = ExtractBounds { chars: 1_000, bytes: 64 << 20 };

/// The same bounds for texts that are shown whole.
const WHOLE: ExtractBounds = ExtractBounds { chars: usize::MAX, bytes: 256 << 20 };

pub(crate) fn run(args: &Args, place: &LogFile, out: &mut Out) -> anyhow::Result<Verdict> {
    let reader = place.read_tables()?;
    let (depth, bounds) =
        if args.full { (print::Texts::Whole, WHOLE) } else { (print::Texts::Shortened, SHORT) };
    match reader.find(&args.reference)? {
        Found::Conversation(ids) if out.is_json() => {
            let mut json = out.json_writer();
            json.write_all(b"{\"conversation_id\":")?;
            serde_json::to_writer(&mut json, &args.reference)?;
            json.write_all(b",\"sessions\":[")?;
            for (index, id) in ids.iter().enumerate() {
                if index > 0 {
                    json.write_all(b",")?;
                }
                // One session after the other, so that a conversation of any length fits into memory.
                write(&reader, id, &mut json)?;
            }
            json.write_all(b"]}\n")?;
        }
        Found::Conversation(ids) => {
            for (index, id) in ids.iter().enumerate() {
                if index > 0 {
                    out.line("")?;
                }
                print_extract(&load(&reader, id, bounds)?, depth, out)?;
            }
        }
        found => {
            let id = only(found, &args.reference)?;
            if out.is_json() {
                let mut json = out.json_writer();
                write(&reader, &id, &mut json)?;
                json.write_all(b"\n")?;
            } else {
                print_extract(&load(&reader, &id, bounds)?, depth, out)?;
            }
        }
    }
    Ok(Verdict::Done)
}

fn load(reader: &Reader, id: &str, bounds: ExtractBounds) -> anyhow::Result<SessionExtract> {
    // Each answer is of a moment of its own, so the session may be gone since it was found.
    reader.session_extract(id, bounds)?.with_context(|| gone(id))
}

fn write(reader: &Reader, id: &str, json: &mut JsonWriter<'_>) -> anyhow::Result<()> {
    if reader.write_session(id, json)? { Ok(()) } else { bail!(gone(id)) }
}

fn gone(id: &str) -> String {
    format!("the session {} is no longer in the read tables", text::id(id))
}

/// Prints a session, with long texts shortened.
pub(super) fn print_short(extract: &SessionExtract, out: &mut Out) -> std::io::Result<()> {
    print_extract(extract, print::Texts::Shortened, out)
}

fn print_extract(extract: &SessionExtract, depth: print::Texts, out: &mut Out) -> std::io::Result<()> {
    print::session(&extract.record, depth, out)?;
    if !extract.left_out.is_empty() {
        let left_out: Vec<String> =
            extract.left_out.iter().map(|(list, count)| format!("{count} {list}")).collect();
        let left_out = left_out.join(", ").replace('_', " ");
        out.line("")?;
        out.line(&format!("not shown, because it is too long: {left_out}; --json prints everything"))?;
    }
    Ok(())
}

/// The one session that a reference means.
pub(super) fn one_session(reader: &Reader, reference: &str) -> anyhow::Result<String> {
    only(reader.find(reference)?, reference)
}

fn only(found: Found, reference: &str) -> anyhow::Result<String> {
    match found {
        Found::Session(id) => Ok(id),
        // A conversation with one session means that session.
        Found::Conversation(mut ids) if ids.len() == 1 => ids.pop().context("a conversation has sessions"),
        Found::Conversation(ids) | Found::Ambiguous(ids) => {
            let ids: Vec<_> = ids.iter().map(|id| text::id(id)).collect();
            bail!("`{reference}` matches several sessions; name one:\n  {}", ids.join("\n  "))
        }
        _ => {
            bail!("there is no session and no conversation `{reference}`\nhint: `annals sessions` lists them")
        }
    }
}
