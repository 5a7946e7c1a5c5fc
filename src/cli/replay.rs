//! `annals replay`: a session's events in order, and its state as of any of them.

use std::io::{self, BufRead as _, Write as _};
use std::time::Duration;

use crate::replay::Replay;
use crate::{Recorded, Seq, SessionId, Timestamp};
use anyhow::Context as _;

use super::log_file::LogFile;
use super::out::{BOLD, Out};
use super::verdict::Verdict;
use super::{event_line, out, show, text, time};

/// Replay a session event by event, and show its state after the last event.
///
/// The same fold that fills the read tables makes the state, from the events up to that point. Payloads
/// that were erased later are missing from the state, too.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "Examples:
  annals replay 0198c5                  show all events at once, then the state
  annals replay 0198c5 --speed 10       show the events ten times as fast as they happened
  annals replay 0198c5 --step           show one event at a time, and the state when you ask for it
  annals replay 0198c5 --until 4711     show the state after event 4711")]
pub(crate) struct Args {
    /// Id of the session, or the beginning of the id
    #[arg(value_name = "SESSION")]
    reference: String,

    /// Wait between two events for the original time between them, divided by N [default: do not wait]
    #[arg(long, value_name = "N", value_parser = speed)]
    speed: Option<f64>,

    /// Wait for Enter after each event
    #[arg(long, conflicts_with = "speed")]
    step: bool,

    /// Stop after the event with this sequence number, the first column [default: the last event]
    #[arg(long, value_name = "SEQ", value_parser = seq)]
    until: Option<Seq>,
}

fn seq(text: &str) -> Result<Seq, String> {
    text.parse().map_err(|_| "give the sequence number of an event, as in the first column".to_owned())
}

fn speed(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(speed) if speed > 0.0 && f64::is_finite(speed) => Ok(speed),
        _ => Err("give a number above 0, such as 1 or 10".to_owned()),
    }
}

pub(crate) fn run(args: &Args, place: &LogFile, out: &mut Out) -> anyhow::Result<Verdict> {
    let id = SessionId::new(show::one_session(&place.read_tables()?, &args.reference)?)?;
    let replay = Replay::open(place.path(), &id)?;
    if out.is_json() {
        let mut json = out.json_writer();
        replay.write(args.until, &mut json)?;
        json.write_all(b"\n")?;
        return Ok(Verdict::Done);
    }
    let seqs = replay.seqs(args.until)?;
    let mut pace = Pace::new(args);
    let mut last = None;
    for seq in seqs {
        // One event at a time: of the whole session only the positions are in memory.
        let event = event(&replay, seq)?;
        let since_start = pace.wait(&event, out)?;
        let line = event_line::line(&event, &since_start, None, out);
        out.folded(&line, 4)?;
        last = Some(seq);
        if args.step && !step(&replay, seq, out)? {
            break;
        }
    }
    let Some(last) = last else {
        anyhow::bail!(
            "the session has no event up to event {}: --until takes a sequence number of the whole log, as in the first column",
            args.until.unwrap_or(Seq::ZERO)
        );
    };
    // With --step the user asks for the state where it is wanted.
    if !args.step {
        print_state(&replay, last, out)?;
    }
    Ok(Verdict::Done)
}

fn event(replay: &Replay, seq: Seq) -> anyhow::Result<Recorded> {
    replay
        .event(seq)?
        .with_context(|| format!("event {seq} is no longer in the log; run `annals verify` for details"))
}

fn print_state(replay: &Replay, until: Seq, out: &mut Out) -> anyhow::Result<()> {
    out.line("")?;
    let heading = out.paint(BOLD, &format!("state after event {until}"));
    out.line(&heading)?;
    if let Some(extract) = replay.state_extract(Some(until), show::SHORT)? {
        show::print_short(&extract, out)?;
    }
    Ok(())
}

/// Asks whether to go on.
fn step(replay: &Replay, seq: Seq, out: &mut Out) -> anyhow::Result<bool> {
    out.flush()?;
    loop {
        // On standard error, so that a pipe gets the events alone.
        let mut stderr = anstream::stderr();
        write!(stderr, "Enter: next   s: state   q: quit > ")?;
        stderr.flush()?;
        let mut answer = String::new();
        // The end of the input counts as `q`.
        if io::stdin().lock().read_line(&mut answer)? == 0 {
            out::say("");
            return Ok(false);
        }
        match answer.trim() {
            "" => return Ok(true),
            "q" => return Ok(false),
            "s" => {
                print_state(replay, seq, out)?;
                out.flush()?;
            }
            other => out::say(&format!("`{}` is not an answer; type Enter, s or q", text::line(other))),
        }
    }
}

/// The time between events, as it was, or divided by a speed.
struct Pace {
    speed: Option<f64>,
    first: Option<Timestamp>,
    previous: Option<Timestamp>,
}

impl Pace {
    fn new(args: &Args) -> Pace {
        Pace { speed: args.speed, first: None, previous: None }
    }

    /// Waits until an event is due, and returns its distance from the first event.
    fn wait(&mut self, event: &Recorded, out: &mut Out) -> io::Result<String> {
        let at = event.occurred_at.unwrap_or(event.recorded_at);
        let first = *self.first.get_or_insert(at);
        let passed =
            self.previous.replace(at).map_or(0, |previous| at.micros().saturating_sub(previous.micros()));
        // An event that is earlier than the one before it needs no wait: its distance is no `u64`.
        if let (Some(speed), Ok(passed)) = (self.speed, u64::try_from(passed)) {
            out.flush()?;
            // A wait that no Duration can hold is one that nobody sits through.
            if let Ok(wait) = Duration::try_from_secs_f64(Duration::from_micros(passed).as_secs_f64() / speed)
            {
                std::thread::sleep(wait);
            }
        }
        Ok(time::since(at.micros().saturating_sub(first.micros())))
    }
}
