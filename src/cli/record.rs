//! `annals record`: events as JSON, one object a line.

use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use crate::import::map::{Mapper, RecordError};
use crate::import::{Change, fits};
use crate::lines::{BadLine, Line};
use crate::{AppendError, Draft, JsonEventError, PrepareError, parse_draft};
use anyhow::{Context as _, bail};
use crossbeam_channel::select_biased;
use serde::Serialize;

use super::bar::Bar;
use super::feed::{Feed, Refusal};
use super::interrupt::Interrupt;
use super::lines;
use super::log_file::LogFile;
use super::map_file;
use super::out::Out;
use super::text;
use super::verdict::Verdict;

/// Record events from JSON, one object per line.
///
/// A line looks like `{"type": "step.ended", "session": "s1", "step": "1", "status": "ok"}`. It may also
/// have `id` (a UUID) and `at` (the time of the event). If an event is recorded again with the same id,
/// nothing changes. Fields that the type does not define are kept under `attributes`.
///
/// A bad line stops the command. The lines before it are recorded. Fix the line, and run the command
/// again: with all lines if your events have ids, else with only those that are not recorded.
///
/// With --map, the lines are records of any program, and the map says which events each of them becomes. These events
/// have ids, made from the source and the record: another run adds only what is new.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "Examples:
  annals record events.jsonl
  my-pipeline | annals record
  annals record --check events.jsonl    report bad lines, record nothing
  annals record --map audit.toml audit.jsonl    record the lines of another program")]
pub(crate) struct Args {
    /// File to read; - is standard input [default: standard input]
    file: Option<PathBuf>,

    /// Only report bad lines, and record nothing
    #[arg(long, conflicts_with = "skip_bad")]
    check: bool,

    /// Report bad lines, but record all others instead of stopping
    #[arg(long)]
    skip_bad: bool,

    /// Make events of the lines by this map, a TOML file (see docs/mapping.md)
    #[arg(long, value_name = "FILE")]
    map: Option<PathBuf>,

    /// Name of the source, from which event ids are made [default: the map's, else the file's name without its
    /// extension]
    #[arg(long, value_name = "NAME", requires = "map")]
    source: Option<String>,
}

/// The reason why a line is not recorded.
#[derive(Debug, thiserror::Error)]
enum Trouble {
    #[error(transparent)]
    Line(#[from] BadLine),
    #[error(transparent)]
    Event(#[from] JsonEventError),
    #[error(transparent)]
    Record(#[from] RecordError),
    #[error(transparent)]
    Append(#[from] AppendError),
    #[error(transparent)]
    Unfit(#[from] PrepareError),
}

#[derive(Debug, Serialize)]
struct Checked {
    events: u64,
    bad: u64,
}

/// The way from lines to events.
enum Reading<'m> {
    /// A line is an event.
    Events,
    /// A map makes events of a line.
    Mapped(Mapper<'m>, Change),
}

impl Reading<'_> {
    fn change(&self) -> Change {
        match self {
            Reading::Events => Change::Never,
            Reading::Mapped(_, change) => *change,
        }
    }

    fn drafts(&mut self, line: &Line) -> Result<Vec<Draft>, Trouble> {
        let text = line.text.as_ref().map_err(Clone::clone)?;
        Ok(match self {
            Reading::Events => vec![parse_draft(text)?],
            Reading::Mapped(mapper, _) => mapper.drafts(None, line.number, text)?,
        })
    }
}

pub(crate) fn run(
    args: &Args,
    place: impl FnOnce() -> anyhow::Result<LogFile>,
    out: &mut Out,
) -> anyhow::Result<Verdict> {
    // Before the input is opened: a map with a fault is refused before anything is read.
    let map = args.map.as_deref().map(map_file::read).transpose()?;
    let reading = match &map {
        None => Reading::Events,
        Some(map) => {
            if !map.queries().is_empty() {
                bail!("the map has queries; use it with `annals import sqlite`");
            }
            let file = args.file.as_deref().filter(|path| *path != Path::new("-"));
            let source = map_file::source(args.source.as_deref(), map, file)?;
            Reading::Mapped(Mapper::new(map, source), map.change())
        }
    };
    let source = open(args.file.as_deref())?;
    if args.check { check(source, reading, out) } else { record(args, source, reading, &place()?, out) }
}

fn open(file: Option<&Path>) -> anyhow::Result<Box<dyn Read + Send>> {
    Ok(match file {
        None => Box::new(io::stdin()),
        Some(path) if path == Path::new("-") => Box::new(io::stdin()),
        Some(path) => {
            let file = File::open(path).with_context(|| format!("{} cannot be opened", path.display()))?;
            Box::new(file)
        }
    })
}

fn say_bad(bar: &Bar, number: u64, problem: &dyn fmt::Display) {
    bar.say(&format!("line {number}: {}", text::block(&problem.to_string())));
}

fn check(source: Box<dyn Read + Send>, mut reading: Reading<'_>, out: &mut Out) -> anyhow::Result<Verdict> {
    let mut checked = Checked { events: 0, bad: 0 };
    let mut bar = Bar::new("checking", None);
    for parcel in lines::read_in_background(source)? {
        for line in parcel.context("the events cannot be read")? {
            let drafts = reading.drafts(&line);
            match drafts.and_then(|drafts| {
                Ok((drafts.len(), drafts.iter().try_for_each(|draft| fits(draft).map(drop))?))
            }) {
                Ok((events, ())) => checked.events += u64::try_from(events).unwrap_or(u64::MAX),
                Err(problem) => {
                    checked.bad += 1;
                    say_bad(&bar, line.number, &problem);
                }
            }
            bar.set(checked.events + checked.bad);
        }
    }
    drop(bar);
    if out.is_json() {
        out.json(&checked)?;
    } else {
        out.line(&format!("{} good, {} bad; nothing was recorded", events(checked.events), checked.bad))?;
    }
    Ok(if checked.bad == 0 { Verdict::Done } else { Verdict::FoundWrong })
}

fn record(
    args: &Args,
    source: Box<dyn Read + Send>,
    reading: Reading<'_>,
    place: &LogFile,
    out: &mut Out,
) -> anyhow::Result<Verdict> {
    let feed = Feed::new(place)?;
    let interrupt = Interrupt::listen();
    let parcels = lines::read_in_background(source)?;
    let bar = Bar::new("recording", None);
    let mut run = Run { feed, reading, bar, skip_bad: args.skip_bad, stopped: None };
    let mut ended: anyhow::Result<()> = Ok(());
    while run.stopped.is_none() {
        // Nothing to read yet: a good moment to read the answers to what was sent.
        if parcels.is_empty() {
            run.settle();
            if run.stopped.is_some() {
                break;
            }
        }
        // Biased: a request to end comes before lines that wait already.
        let parcel = select_biased! {
            recv(interrupt.word) -> _ => {
                ended = Err(anyhow::anyhow!("interrupted; the summary counts the events that are recorded"));
                break;
            }
            recv(parcels) -> parcel => parcel,
        };
        match parcel {
            // The end of the input: the thread that reads it is done.
            Err(_) => break,
            Ok(Err(error)) => {
                ended = Err(error).context(
                    "the input cannot be read further (the summary counts the events that are recorded)",
                );
                break;
            }
            Ok(Ok(lines)) => {
                if let Err(error) = run.take(&lines) {
                    ended = Err(error);
                    break;
                }
            }
        }
    }
    // Answers that are still outstanding may name an earlier line than the one that ended the run.
    run.settle();
    let Run { mut feed, bar, stopped, .. } = run;
    // Valid input without any event makes the log, too.
    if stopped.is_none() && ended.is_ok() && feed.counts().refused == 0 {
        feed.open()?;
    }
    let counts = feed.counts();
    let closed = feed.close();
    drop(bar);
    // Printed before any error: the events that are counted here are recorded.
    if out.is_json() {
        out.json(&counts)?;
    } else {
        out.line(&summary(&counts))?;
    }
    if let Some((number, reason)) = stopped {
        bail!(
            "line {number}: {reason}\nhint: the lines before it are recorded; use --check to list all bad lines, or --skip-bad to record the others"
        );
    }
    ended?;
    closed?;
    Ok(if counts.refused == 0 { Verdict::Done } else { Verdict::FoundWrong })
}

struct Run<'p, 'm> {
    feed: Feed<'p, u64>,
    reading: Reading<'m>,
    bar: Bar,
    skip_bad: bool,
    /// The line that ended the run, and the reason.
    stopped: Option<(u64, String)>,
}

impl Run<'_, '_> {
    fn take(&mut self, lines: &[Line]) -> anyhow::Result<()> {
        for line in lines {
            match self.reading.drafts(line) {
                Ok(drafts) => self.send(line, drafts)?,
                Err(problem) => {
                    self.feed.count_refused();
                    self.bad(line.number, &problem, false);
                }
            }
            if self.stopped.is_some() {
                break;
            }
            self.bar.set(line.number);
        }
        Ok(())
    }

    /// Sends the events of a line: all of them, or none if one is too large.
    fn send(&mut self, line: &Line, drafts: Vec<Draft>) -> anyhow::Result<()> {
        // A single event is checked when it is sent.
        if drafts.len() > 1
            && let Err(error) = drafts.iter().try_for_each(|draft| fits(draft).map(drop))
        {
            self.feed.count_refused();
            self.bad(line.number, &error, false);
            return Ok(());
        }
        let bytes = line.text.as_ref().map_or(0, String::len);
        let mut refusals = Vec::new();
        let change = self.reading.change();
        self.feed.send(line.number, bytes, drafts, change, &mut |refusal| refusals.push(refusal))?;
        self.refused(refusals);
        Ok(())
    }

    fn settle(&mut self) {
        let mut refusals = Vec::new();
        self.feed.settle(&mut |refusal| refusals.push(refusal));
        self.refused(refusals);
    }

    fn refused(&mut self, refusals: Vec<Refusal<u64>>) {
        for refusal in refusals {
            self.bad(refusal.place, &refusal.error, refusal.is_of_the_log());
        }
    }

    fn bad(&mut self, number: u64, problem: &dyn fmt::Display, end: bool) {
        // An error of the log ends the run even if bad lines are skipped: every further line would fail.
        if self.skip_bad && !end {
            say_bad(&self.bar, number, problem);
        } else if self.stopped.as_ref().is_none_or(|(first, _)| number < *first) {
            // The first bad line counts, in whatever order the answers arrive.
            self.stopped = Some((number, problem.to_string()));
        }
    }
}

pub(super) fn events(number: u64) -> String {
    if number == 1 { "1 event".to_owned() } else { format!("{number} events") }
}

pub(super) fn summary(counts: &super::feed::Counts) -> String {
    let mut summary = format!("{} recorded", events(counts.appended));
    if counts.already_recorded > 0 {
        summary += &format!(", {} already recorded", counts.already_recorded);
    }
    if counts.refused > 0 {
        summary += &format!(", {} refused", counts.refused);
    }
    summary
}
