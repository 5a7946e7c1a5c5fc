//! `annals tail`: the last events, and those that follow.

use std::time::Duration;

use crate::query::EventFilter;
use crate::{Kind, Reader, Recorded};

use super::log_file::LogFile;
use super::out::Out;
use super::verdict::Verdict;
use super::{event_line, show, text, time};

/// Time between two looks for more events.
const LOOK_EVERY: Duration = Duration::from_millis(250);

/// Events that are requested at once.
const EVENTS_AT_ONCE: usize = 500;

/// Bytes of payloads that are requested at once.
const BYTES_AT_ONCE: usize = 8 << 20;

/// Show the last events, and with --follow also new events as they come.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "Examples:
  annals tail -f
  annals --json tail -n 100 --type finding.raised | jq .severity")]
pub(crate) struct Args {
    /// Continue with new events as they come
    #[arg(long, short)]
    follow: bool,

    /// Show only events of this session: its id, or the beginning of its id
    #[arg(long, value_name = "SESSION")]
    session: Option<String>,

    /// Show only events of this type; may be given several times
    #[arg(long = "type", value_name = "TYPE", value_parser = kind)]
    kinds: Vec<u16>,

    /// Show this many events
    #[arg(long, short = 'n', value_name = "N", default_value_t = 10)]
    lines: u32,
}

fn kind(name: &str) -> Result<u16, String> {
    let code = name.strip_prefix("kind-").and_then(|code| code.parse().ok());
    name.parse::<Kind>().map(Kind::code).ok().or(code).ok_or_else(|| {
        let names: Vec<_> = Kind::ALL.iter().map(|kind| kind.name()).collect();
        format!("the types are {}", names.join(", "))
    })
}

pub(crate) fn run(args: &Args, place: &LogFile, out: &mut Out) -> anyhow::Result<Verdict> {
    let reader = place.read()?;
    let session = args.session.as_deref().map(|reference| session(&reader, reference)).transpose()?;
    let filter = EventFilter { session, kinds: args.kinds.clone() };
    let mut left = usize::try_from(args.lines).unwrap_or(usize::MAX);
    let mut position = reader.before_last_events(&filter, left)?;
    // Read in pages, which are bounded in events and in bytes.
    while left > 0 {
        let events = reader.events_within(&filter, position, left.min(EVENTS_AT_ONCE), BYTES_AT_ONCE)?;
        let Some(last) = events.last() else { break };
        position = last.seq;
        left -= events.len();
        for event in &events {
            print(event, out)?;
        }
    }
    out.flush()?;
    if !args.follow {
        return Ok(Verdict::Done);
    }
    // A connection alone would go on reading a file that was replaced.
    let mut watch = place.watch()?;
    loop {
        let head = watch.look()?.seq;
        let events = reader.events_within(&filter, position, EVENTS_AT_ONCE, BYTES_AT_ONCE)?;
        for event in &events {
            print(event, out)?;
        }
        out.flush()?;
        // No fitting event is left up to the head that was read before the events, so the next search begins there.
        position = events.last().map_or(head.max(position), |last| last.seq);
        // A page with events is followed by the next one at once.
        if events.is_empty() {
            std::thread::sleep(LOOK_EVERY);
        }
    }
}

/// The session that a reference means. The log itself is searched first: the read tables, which know the beginnings of
/// ids, may be behind it.
fn session(reader: &Reader, reference: &str) -> anyhow::Result<String> {
    let exact = EventFilter { session: Some(reference.to_owned()), kinds: Vec::new() };
    if reader.last_events(&exact, 1)?.is_empty() {
        return show::one_session(reader, reference);
    }
    Ok(reference.to_owned())
}

fn print(event: &Recorded, out: &mut Out) -> std::io::Result<()> {
    if out.is_json() {
        return out.line(&text::json(&event.to_json()));
    }
    let when = time::shown(event.occurred_at.unwrap_or(event.recorded_at));
    let line = event_line::line(event, &when, event.session.as_ref().map(|session| session.as_str()), out);
    out.folded(&line, 4)
}
