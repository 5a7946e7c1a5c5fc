//! `annals search`: searches the texts of all events.

use std::io;

use crate::query::{Hit, SearchFilter, SearchOrder};
use crate::{Kind, Seq, Timestamp};
use clap::builder::PossibleValuesParser;

use super::log_file::LogFile;
use super::out::{self, BOLD, DIM, FOUND, Out};
use super::verdict::Verdict;
use super::{show, text, time};

/// Hits that are requested at once.
const HITS_AT_ONCE: usize = 500;

/// Search the texts of all events.
///
/// An event matches if it has all of the words, in any order. Words in double quotes are a phrase; a
/// word with a star at its end matches all words that begin with it.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "Examples:
  annals search refund policy
  annals search '\"refund policy\" card*' --type decision.made
  annals search timeout --by-rank --limit 5")]
pub(crate) struct Args {
    /// Words to search for
    #[arg(required = true, value_name = "TEXT")]
    text: Vec<String>,

    /// List the best match first, instead of the newest event
    #[arg(long)]
    by_rank: bool,

    /// Search only this session: its id, or the beginning of its id
    #[arg(long, value_name = "SESSION")]
    session: Option<String>,

    /// Search only events of this type
    #[arg(long = "type", value_name = "TYPE", value_parser = kinds())]
    kind: Option<String>,

    /// List at most this many events
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..))]
    limit: u32,

    /// List the next page: the events after this one, which are older
    #[arg(long, value_name = "CURSOR", conflicts_with = "by_rank")]
    after: Option<Seq>,
}

fn kinds() -> PossibleValuesParser {
    Kind::ALL.iter().map(|kind| kind.name()).collect::<Vec<_>>().into()
}

pub(crate) fn run(args: &Args, place: &LogFile, out: &mut Out) -> anyhow::Result<Verdict> {
    let reader = place.read_tables()?;
    let mut filter = SearchFilter {
        text: args.text.join(" "),
        session: args.session.as_deref().map(|session| show::one_session(&reader, session)).transpose()?,
        kind: args.kind.clone(),
        before: args.after,
        order: if args.by_rank { SearchOrder::Rank } else { SearchOrder::Newest },
        limit: usize::try_from(args.limit).unwrap_or(usize::MAX),
    };
    // By rank there are no pages: every match is rated to find the best ones.
    let at_once = if args.by_rank { filter.limit } else { HITS_AT_ONCE };
    let (mut left, mut nothing) = (filter.limit, true);
    if out.is_json() {
        out.bytes(b"[")?;
    }
    while left > 0 {
        filter.limit = left.min(at_once);
        let hits = reader.search(&filter)?;
        if out.is_json() {
            for hit in &hits {
                if !std::mem::take(&mut nothing) {
                    out.bytes(b",")?;
                }
                serde_json::to_writer(out.json_writer(), hit)?;
            }
        } else {
            print(&hits, out)?;
        }
        nothing &= hits.is_empty();
        // A page that is not full is the last one.
        left = if hits.len() < filter.limit { 0 } else { left.saturating_sub(hits.len()) };
        // The next page begins before the last hit.
        filter.before = hits.last().map(|hit| hit.seq);
    }
    if out.is_json() {
        out.line("]")?;
    } else if nothing {
        out::say("nothing found");
    }
    Ok(Verdict::Done)
}

fn print(hits: &[Hit], out: &mut Out) -> io::Result<()> {
    for hit in hits {
        let mut head = out.paint(BOLD, &format!("{} {}", hit.seq, text::line(&hit.kind)));
        if let Some(session) = &hit.session {
            head += &format!("  session {}", text::id(session));
        }
        if let Some(subject) = &hit.subject {
            head += &format!("  {}", text::id(subject));
        }
        if let Some(time) = hit.recorded_at.map(shown) {
            head += &format!("  {}", out.paint(DIM, &time));
        }
        out.folded(&head, 4)?;
        let mut snippet = String::new();
        for fragment in &hit.snippet {
            // `line` would drop the blanks at the ends of a fragment.
            let shown = text::block(&fragment.text).replace(['\n', '\t'], " ");
            snippet += &if fragment.matches { out.paint(FOUND, &shown) } else { shown };
        }
        out.folded(&format!("    {}", snippet.trim()), 4)?;
    }
    Ok(())
}

fn shown(time: Timestamp) -> String {
    format!("{} UTC", time::shown(time))
}
