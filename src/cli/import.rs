//! `annals import`: imports the records of other programs.

use std::cell::{Cell, RefCell};
use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::{Path, PathBuf};
use std::rc::Rc;

use crate::Draft;
use crate::import::{self, BadLines, ImportError, Imported, SinkError, Source};
use anyhow::{Context as _, bail};
use clap::Subcommand;
use serde::Serialize;

use super::bar::Bar;
use super::feed::{self, Counts, Feed, Refusal};
use super::import_otlp;
use super::interrupt::Interrupt;
use super::log_file::LogFile;
use super::map_file;
use super::out::Out;
use super::record::summary;
use super::text;
use super::verdict::Verdict;

/// Import the records of other programs.
///
/// A second import of a file adds only what is new in it: the id of each event is made from the name of the source and
/// the position in the source. For sessions of coding agents it is made from the ids in the file.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "Examples:
  annals import claude-code ~/.claude/projects/*/0d9f3c52-*.jsonl
  find ~/.claude/projects -name '*.jsonl' -exec annals import claude-code {} \\;
  find ~/.codex/sessions -name 'rollout-*.jsonl' -exec annals import codex {} \\;
  annals import tau-bench results/gpt-4o-airline.json
  annals import llm \"$(llm logs path)\"")]
pub(crate) struct Args {
    #[command(subcommand)]
    format: Format,
}

#[derive(Debug, Subcommand)]
enum Format {
    /// Import a session of Claude Code (~/.claude/projects/*/*.jsonl)
    ClaudeCode(FromLines),
    /// Import a session of Codex (~/.codex/sessions/*/*/*/rollout-*.jsonl)
    Codex(FromLines),
    /// Import runs of tau-bench, from the JSON file that it saves
    TauBench(From),
    /// Import logs of Tree of Thoughts, from the JSON file that it saves
    TreeOfThought(From),
    /// Import the database of the `llm` command-line tool
    Llm(From),
    /// Import the rows of a SQLite database, by a map (see docs/mapping.md)
    Sqlite(FromMapped),
    /// Import traces, observations and scores of Langfuse, from JSON or JSON lines
    Langfuse(FromLines),
    /// Import runs and feedback of LangSmith, from JSON or JSON lines
    Langsmith(FromLines),
    /// Import a file of the OpenTelemetry Collector's file exporter
    Otlp(import_otlp::Args),
}

#[derive(Debug, clap::Args)]
struct From {
    /// File to import
    file: PathBuf,

    /// Name of the source, from which event ids are made [default: the file's name without its extension]
    #[arg(long, value_name = "NAME")]
    source: Option<String>,
}

impl From {
    fn source(&self) -> anyhow::Result<Source> {
        Ok(match &self.source {
            Some(name) => Source::new(name.as_str())?,
            None => Source::of_path(&self.file)?,
        })
    }
}

#[derive(Debug, clap::Args)]
struct FromLines {
    /// The file
    file: PathBuf,

    /// Leave bad lines out, and go on
    #[arg(long)]
    skip_bad: bool,
}

impl FromLines {
    fn on_bad(&self) -> OnBad {
        if self.skip_bad { OnBad::LeaveOut } else { OnBad::End }
    }
}

#[derive(Debug, clap::Args)]
struct FromMapped {
    /// The database
    file: PathBuf,

    /// The map, a TOML file with queries
    #[arg(long, value_name = "FILE")]
    map: PathBuf,

    /// Name of the source, from which event ids are made [default: the map's, else the file's name without its
    /// extension]
    #[arg(long, value_name = "NAME")]
    source: Option<String>,

    /// Leave bad rows out, and go on
    #[arg(long)]
    skip_bad: bool,
}

impl FromMapped {
    fn on_bad(&self) -> OnBad {
        if self.skip_bad { OnBad::LeaveOut } else { OnBad::End }
    }
}

/// The treatment of a line that cannot be imported, and of an event that the log refuses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum OnBad {
    End,
    LeaveOut,
}

#[derive(Debug, Serialize)]
struct Report {
    sessions: u64,
    steps: u64,
    decisions: u64,
    findings: u64,
    #[serde(flatten)]
    counts: Counts,
}

type Sink<'a> = dyn FnMut(Draft) -> Result<(), SinkError> + 'a;

pub(crate) fn run(args: &Args, place: &LogFile, out: &mut Out) -> anyhow::Result<Verdict> {
    let file = match &args.format {
        Format::ClaudeCode(from) | Format::Codex(from) => from.file.as_path(),
        Format::TauBench(from) | Format::TreeOfThought(from) | Format::Llm(from) => from.file.as_path(),
        Format::Langfuse(from) | Format::Langsmith(from) => from.file.as_path(),
        Format::Sqlite(from) => from.file.as_path(),
        Format::Otlp(args) => import_otlp::path(args),
    };
    let done = match &args.format {
        Format::ClaudeCode(from) => {
            let (reader, progress) = open(file)?;
            import_with(place, out, progress, from.on_bad(), |bad, sink| {
                import::claude_code(reader, bad, sink)
            })
        }
        Format::Codex(from) => {
            let (reader, progress) = open(file)?;
            import_with(place, out, progress, from.on_bad(), |bad, sink| import::codex(reader, bad, sink))
        }
        Format::TauBench(from) => {
            let source = from.source()?;
            let (reader, progress) = open(file)?;
            import_with(place, out, progress, OnBad::End, |_, sink| import::tau_bench(reader, &source, sink))
        }
        Format::TreeOfThought(from) => {
            let source = from.source()?;
            let (reader, progress) = open(file)?;
            import_with(place, out, progress, OnBad::End, |_, sink| {
                import::tree_of_thought(reader, &source, sink)
            })
        }
        Format::Llm(from) => {
            let source = from.source()?;
            // A missing file is reported before a log is made.
            open(file)?;
            import_with(place, out, Progress::Events, OnBad::End, |_, sink| import::llm(file, &source, sink))
        }
        Format::Langfuse(from) => {
            let (reader, progress) = open(file)?;
            import_with(place, out, progress, from.on_bad(), |bad, sink| import::langfuse(reader, bad, sink))
        }
        Format::Langsmith(from) => {
            let (reader, progress) = open(file)?;
            import_with(place, out, progress, from.on_bad(), |bad, sink| import::langsmith(reader, bad, sink))
        }
        Format::Sqlite(from) => sqlite(from, place, out),
        Format::Otlp(args) => import_otlp::run(args, place, out),
    };
    done.with_context(|| file.display().to_string())
}

fn sqlite(from: &FromMapped, place: &LogFile, out: &mut Out) -> anyhow::Result<Verdict> {
    let map = map_file::read(&from.map)?;
    if map.queries().is_empty() {
        bail!("the map {} has no [[query]]; use it with `annals record --map`", from.map.display());
    }
    let source = map_file::source(from.source.as_deref(), &map, Some(&from.file))?;
    // A missing file is reported before a log is made.
    open(&from.file)?;
    import_with(place, out, Progress::Events, from.on_bad(), |bad, sink| {
        import::sqlite(&from.file, &map, source, bad, sink)
    })
}

/// By what the progress of an import is measured.
enum Progress {
    /// By events, of which nobody knows how many there will be.
    Events,
    /// By the bytes of the file that were read.
    Bytes { read: Rc<Cell<u64>>, total: u64 },
}

impl Progress {
    fn bar(&self) -> Bar {
        match self {
            Progress::Events => Bar::new("importing", None),
            Progress::Bytes { total, .. } => Bar::of_bytes("importing", *total),
        }
    }
}

/// A file whose bytes are counted as they are read.
struct Counted {
    file: File,
    read: Rc<Cell<u64>>,
}

impl Read for Counted {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let bytes = self.file.read(buffer)?;
        self.read.set(self.read.get().saturating_add(bytes as u64));
        Ok(bytes)
    }
}

fn open(file: &Path) -> anyhow::Result<(BufReader<Counted>, Progress)> {
    let opened = File::open(file).with_context(|| format!("{} cannot be opened", file.display()))?;
    let read = Rc::new(Cell::new(0));
    // A pipe has no length.
    let progress = match opened.metadata() {
        Ok(metadata) if metadata.is_file() => {
            Progress::Bytes { read: Rc::clone(&read), total: metadata.len() }
        }
        _ => Progress::Events,
    };
    Ok((BufReader::with_capacity(1 << 20, Counted { file: opened, read }), progress))
}

/// An import under way.
struct Run<'p> {
    feed: Feed<'p>,
    bar: Bar,
    progress: Progress,
    on_bad: OnBad,
    interrupt: Interrupt,
    sent: u64,
    first_refusal: Option<Refusal>,
    /// True if a bad line ended the import.
    is_line_bad: bool,
}

impl Run<'_> {
    fn send(&mut self, draft: Draft) -> Result<(), SinkError> {
        // Asked here, because the importer can name the record that a draft is made from.
        feed::fits(&draft)?;
        self.sent += 1;
        let mut refusals = Vec::new();
        self.feed.send(self.sent, draft.payload_bytes()?, draft, &mut |refusal| refusals.push(refusal))?;
        self.refused(refusals);
        self.bar.set(match &self.progress {
            Progress::Events => self.sent,
            Progress::Bytes { read, .. } => read.get(),
        });
        // Asked between two events: those that were sent before are recorded.
        if self.interrupt.is_wished() {
            return Err("interrupted; import it again to add the rest".into());
        }
        // Answers are not awaited one by one, so the import ends some events after the one that was refused.
        match self.first_refusal.take() {
            None => Ok(()),
            Some(refusal) => Err(refusal.error.into()),
        }
    }

    fn refused(&mut self, refusals: Vec<Refusal>) {
        for refusal in refusals {
            if self.on_bad == OnBad::LeaveOut && !refusal.is_of_the_log() {
                let reason = refusal.error.to_string();
                self.bar.say(&format!("event {} of the source: {}", refusal.place, text::block(&reason)));
            } else {
                self.first_refusal.get_or_insert(refusal);
            }
        }
    }

    fn bad(&mut self, error: ImportError) -> Result<(), ImportError> {
        match self.on_bad {
            OnBad::End => {
                self.is_line_bad = true;
                Err(error)
            }
            OnBad::LeaveOut => {
                self.feed.count_refused();
                self.bar.say(&text::block(&error.to_string()));
                Ok(())
            }
        }
    }
}

/// Records the events that an importer hands over. Events from before an error are recorded.
fn import_with(
    place: &LogFile,
    out: &mut Out,
    progress: Progress,
    on_bad: OnBad,
    import: impl FnOnce(&mut BadLines<'_>, &mut Sink<'_>) -> Result<Imported, ImportError>,
) -> anyhow::Result<Verdict> {
    let run = RefCell::new(Run {
        feed: Feed::new(place)?,
        bar: progress.bar(),
        progress,
        on_bad,
        interrupt: Interrupt::listen(),
        sent: 0,
        first_refusal: None,
        is_line_bad: false,
    });
    let imported =
        import(&mut |error| run.borrow_mut().bad(error), &mut |draft| run.borrow_mut().send(draft));
    let mut run = run.into_inner();
    // The last answers may bring a refusal, too.
    let mut refusals = Vec::new();
    run.feed.settle(&mut |refusal| refusals.push(refusal));
    run.refused(refusals);
    let Run { mut feed, bar, first_refusal, is_line_bad, .. } = run;
    // A source without any event is valid, too, and makes the log.
    if imported.is_ok() && first_refusal.is_none() {
        feed.open()?;
    }
    let counts = feed.counts();
    let closed = feed.close();
    drop(bar);
    // Printed before any error: the events that are counted here are recorded.
    match &imported {
        Ok(imported) if out.is_json() => out.json(&Report {
            sessions: imported.sessions,
            steps: imported.steps,
            decisions: imported.decisions,
            findings: imported.findings,
            counts,
        })?,
        Ok(imported) => out.line(&format!(
            "{}: {} sessions, {} steps, {} decisions, {} findings",
            summary(&counts),
            imported.sessions,
            imported.steps,
            imported.decisions,
            imported.findings
        ))?,
        Err(_) => out.line(&summary(&counts))?,
    }
    match imported {
        Err(error) if is_line_bad => {
            bail!("{error}\nhint: what was read before it is recorded; --skip-bad leaves bad lines out")
        }
        imported => imported?,
    };
    if let Some(refusal) = first_refusal {
        return Err(refusal.error).with_context(|| format!("event {} of the source", refusal.place));
    }
    closed?;
    Ok(if counts.refused == 0 { Verdict::Done } else { Verdict::FoundWrong })
}
