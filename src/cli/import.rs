//! `annals import`: imports the records of other programs.

use std::cell::{Cell, RefCell};
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;

use crate::import::{self, BadLines, Handed, ImportError, Imported, Location, Sink, SinkError, Source, Stop};
use anyhow::{Context as _, bail};
use clap::ValueEnum as _;
use serde::Serialize;

use super::bar::Bar;
use super::feed::{Counts, Feed, OnBad, Refusal};
use super::import_input::{INTERRUPTED, Input};
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
/// A second import of a file adds only what is new in it: the id of each event is made from ids in the file. In formats
/// without ids, it is made from the name of the source and the position in the source.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "Examples:
  annals import claude-code ~/.claude/projects/*/0d9f3c52-*.jsonl
  find ~/.claude/projects -name '*.jsonl' -exec annals import claude-code {} \\;
  find ~/.codex/sessions -name 'rollout-*.jsonl' -exec annals import codex {} \\;
  find jobs -name trajectory.json -exec annals import atif {} \\;
  annals import tau-bench results/gpt-4o-airline.json
  annals import llm \"$(llm logs path)\"")]
pub(crate) struct Args {
    /// Format of the file
    #[arg(value_name = "FORMAT")]
    format: Format,

    /// File to import
    file: PathBuf,

    /// Name of the source, from which the ids are made that the file lacks [default: the file's name without its
    /// extension]
    #[arg(long, value_name = "NAME")]
    source: Option<String>,

    /// Map by which rows become events, a TOML file with queries; only for sqlite, see docs/mapping.md
    #[arg(long, value_name = "FILE")]
    map: Option<PathBuf>,

    /// Leave bad records out, and go on
    #[arg(long)]
    skip_bad: bool,
}

/// The formats. Each is a name, a sentence, and one line in [`Format::importer`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Format {
    /// A session of Claude Code (~/.claude/projects/*/*.jsonl)
    ClaudeCode,
    /// A session of Codex (~/.codex/sessions/*/*/*/rollout-*.jsonl)
    Codex,
    /// A trajectory in the Agent Trajectory Interchange Format (trajectory.json of Harbor)
    Atif,
    /// A log of Inspect, a JSON document or an archive (*.json, *.eval)
    InspectAi,
    /// A run of SWE-agent (*.traj)
    SweAgent,
    /// A run of mini-SWE-agent (*.traj.json)
    MiniSweAgent,
    /// Output of an evaluation with OpenHands (output.jsonl)
    Openhands,
    /// Runs of tau-bench: the JSON file that it saves
    TauBench,
    /// Logs of Tree of Thoughts: the JSON file that it saves
    TreeOfThought,
    /// The database of the `llm` command-line tool
    Llm,
    /// Traces, observations and scores of Langfuse, in JSON or JSON lines
    Langfuse,
    /// Runs and feedback of LangSmith, in JSON or JSON lines
    Langsmith,
    /// A file of the OpenTelemetry Collector's file exporter
    Otlp,
    /// The rows of any SQLite database, by a map
    Sqlite,
}

/// The way in which a format is read.
struct Importer {
    read: Read,
    ids: Ids,
    records: Records,
}

/// The function that reads a file of a format.
type ReadFile = fn(Input, &Source, &mut BadLines<'_>, &mut Sink<'_>) -> Result<Imported, ImportError>;

enum Read {
    /// A file that is read once.
    Once(ReadFile),
    /// A file that is read this many times, so a pipe is copied first.
    Times(u64, ReadFile),
    /// A file that SQLite opens.
    Database(fn(&Path, &Source, Stop, &mut Sink<'_>) -> Result<Imported, ImportError>),
    /// A database whose rows a map makes to events.
    Mapped,
    /// Requests of OTLP, whose events have ids of another kind.
    Requests,
}

/// The origin of the ids of events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ids {
    /// Every file has them.
    OfFile,
    /// Some or all are made from the name of the source.
    OfSource,
}

/// The treatment of bad records that the format allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Records {
    /// One may be left out.
    Skippable,
    /// The file is read as a whole, or not at all.
    Whole,
}

impl Importer {
    /// Lines that have all ids.
    fn lines(read: ReadFile) -> Importer {
        Importer { read: Read::Once(read), ids: Ids::OfFile, records: Records::Skippable }
    }

    /// A document whose records are read after its other fields.
    fn document(times: u64, read: ReadFile) -> Importer {
        Importer { read: Read::Times(times, read), ids: Ids::OfSource, records: Records::Skippable }
    }

    /// A list that is imported as a whole, or not at all.
    fn list(read: ReadFile) -> Importer {
        Importer { read: Read::Once(read), ids: Ids::OfSource, records: Records::Whole }
    }
}

impl Format {
    fn importer(self) -> Importer {
        // Each closure passes on what its format needs.
        match self {
            Format::ClaudeCode => Importer::lines(|file, _, bad, sink| import::claude_code(file, bad, sink)),
            Format::Codex => Importer::lines(|file, _, bad, sink| import::codex(file, bad, sink)),
            Format::Atif => {
                Importer::document(2, |file, source, bad, sink| import::atif(file, source, bad, sink))
            }
            Format::InspectAi => {
                Importer::document(3, |file, source, bad, sink| import::inspect_ai(file, source, bad, sink))
            }
            Format::SweAgent => {
                Importer::document(3, |file, source, bad, sink| import::swe_agent(file, source, bad, sink))
            }
            Format::MiniSweAgent => Importer::document(2, |file, source, bad, sink| {
                import::mini_swe_agent(file, source, bad, sink)
            }),
            Format::Openhands => Importer {
                ids: Ids::OfSource,
                ..Importer::lines(|file, source, bad, sink| import::openhands(file, source, bad, sink))
            },
            Format::TauBench => Importer::list(|file, source, _, sink| import::tau_bench(file, source, sink)),
            Format::TreeOfThought => {
                Importer::list(|file, source, _, sink| import::tree_of_thought(file, source, sink))
            }
            Format::Llm => Importer {
                read: Read::Database(|path, source, stop, sink| import::llm(path, source, stop, sink)),
                ids: Ids::OfSource,
                records: Records::Whole,
            },
            Format::Langfuse => Importer::lines(|file, _, bad, sink| import::langfuse(file, bad, sink)),
            Format::Langsmith => Importer::lines(|file, _, bad, sink| import::langsmith(file, bad, sink)),
            Format::Otlp => {
                Importer { read: Read::Requests, ids: Ids::OfSource, records: Records::Skippable }
            }
            Format::Sqlite => {
                Importer { read: Read::Mapped, ids: Ids::OfSource, records: Records::Skippable }
            }
        }
    }

    fn name(self) -> String {
        self.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default()
    }
}

impl Args {
    /// Refuses options that the format has no use for.
    fn check(&self, importer: &Importer) -> anyhow::Result<()> {
        let name = self.format.name();
        if self.source.is_some() && importer.ids == Ids::OfFile {
            bail!("--source is not for {name}: all ids are in the file");
        }
        if self.map.is_some() && self.format != Format::Sqlite {
            bail!("--map is not for {name}: the format says which events its records become");
        }
        if self.skip_bad && importer.records == Records::Whole {
            bail!("--skip-bad is not for {name}: the file is imported as a whole");
        }
        Ok(())
    }

    fn source(&self, ids: Ids) -> anyhow::Result<Source> {
        Ok(match (&self.source, ids) {
            (Some(name), _) => Source::new(name.as_str())?,
            (None, Ids::OfSource) => Source::of_path(&self.file)?,
            (None, Ids::OfFile) => Source::new(self.format.name())?,
        })
    }
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

pub(crate) fn run(args: &Args, place: &LogFile, out: &mut Out) -> anyhow::Result<Verdict> {
    let importer = args.format.importer();
    args.check(&importer)?;
    let on_bad = if args.skip_bad { OnBad::LeaveOut } else { OnBad::End };
    // A missing file is reported before a log is made.
    let input = Input::open(&args.file)?;
    let done = match importer.read {
        Read::Requests => {
            let source = args.source(importer.ids)?;
            let interrupt = Arc::clone(&input.interrupt);
            import_otlp::run(input, &interrupt, &source, on_bad, place, out)
        }
        Read::Mapped => sqlite(args, &input.interrupt, on_bad, place, out),
        Read::Once(read) => {
            let source = args.source(importer.ids)?;
            let (progress, interrupt) = (Progress::of(&input, 1), Arc::clone(&input.interrupt));
            import_with(place, out, progress, &interrupt, on_bad, |bad, sink| read(input, &source, bad, sink))
        }
        Read::Times(times, read) => {
            let source = args.source(importer.ids)?;
            let input = input.seekable()?;
            let (progress, interrupt) = (Progress::of(&input, times), Arc::clone(&input.interrupt));
            import_with(place, out, progress, &interrupt, on_bad, |bad, sink| read(input, &source, bad, sink))
        }
        Read::Database(read) => {
            let source = args.source(importer.ids)?;
            import_with(place, out, Progress::Events, &input.interrupt, on_bad, |_, sink| {
                read(&args.file, &source, stop(&input.interrupt), sink)
            })
        }
    };
    done.with_context(|| args.file.display().to_string())
}

/// Imports the rows of a database, by a map.
fn sqlite(
    args: &Args,
    interrupt: &Arc<Interrupt>,
    on_bad: OnBad,
    place: &LogFile,
    out: &mut Out,
) -> anyhow::Result<Verdict> {
    let Some(map_path) = &args.map else {
        bail!("sqlite needs --map FILE, which says which events the rows become: see docs/mapping.md");
    };
    let map = map_file::read(map_path)?;
    if map.queries().is_empty() {
        bail!("the map {} has no [[query]]; use it with `annals record --map`", map_path.display());
    }
    let source = map_file::source(args.source.as_deref(), &map, Some(&args.file))?;
    import_with(place, out, Progress::Events, interrupt, on_bad, |bad, sink| {
        import::sqlite(&args.file, &map, source, stop(interrupt), bad, sink)
    })
}

/// Ends a query once the program was asked to end.
fn stop(interrupt: &Arc<Interrupt>) -> Stop {
    let interrupt = Arc::clone(interrupt);
    Box::new(move || interrupt.is_wished())
}

/// The unit of progress.
enum Progress {
    /// By events, of which nobody knows how many there will be.
    Events,
    /// By the bytes of the file that were read.
    Bytes { read: Rc<Cell<u64>>, total: u64 },
}

impl Progress {
    /// The progress of a file that is read `times` times.
    fn of(input: &Input, times: u64) -> Progress {
        match input.size {
            Some(size) => Progress::Bytes { read: Rc::clone(&input.read), total: size.saturating_mul(times) },
            None => Progress::Events,
        }
    }

    fn bar(&self) -> Bar {
        match self {
            Progress::Events => Bar::new("importing", None),
            Progress::Bytes { total, .. } => Bar::of_bytes("importing", *total),
        }
    }
}

/// An import under way.
struct Run<'p, 'i> {
    feed: Feed<'p, Location>,
    bar: Bar,
    progress: Progress,
    on_bad: OnBad,
    interrupt: &'i Interrupt,
    sent: u64,
    first_refusal: Option<Refusal<Location>>,
    /// True if a bad record ended the import.
    is_record_bad: bool,
}

impl Run<'_, '_> {
    fn send(&mut self, handed: Handed) -> Result<(), SinkError> {
        let Handed { place, drafts, bytes, change, .. } = handed;
        self.sent = self.sent.saturating_add(u64::try_from(drafts.len()).unwrap_or(u64::MAX));
        let mut refusals = Vec::new();
        self.feed.send(place, bytes, drafts, change, &mut |refusal| refusals.push(refusal))?;
        self.refused(refusals);
        self.bar.set(match &self.progress {
            Progress::Events => self.sent,
            Progress::Bytes { read, .. } => read.get(),
        });
        // Asked between two events: those that were sent before are recorded.
        if self.interrupt.is_wished() {
            return Err(INTERRUPTED.into());
        }
        // Answers are not awaited one by one, so the import ends some events after the one that was refused.
        match self.first_refusal.is_none() {
            true => Ok(()),
            false => Err("refused".into()),
        }
    }

    fn refused(&mut self, refusals: Vec<Refusal<Location>>) {
        for refusal in refusals {
            if self.on_bad == OnBad::LeaveOut && !refusal.is_of_the_log() {
                let reason = format!("{}: {}", refusal.place, refusal.error);
                self.bar.say(&text::block(&reason));
            } else {
                self.first_refusal.get_or_insert(refusal);
            }
        }
    }

    fn bad(&mut self, error: ImportError) -> Result<(), ImportError> {
        match self.on_bad {
            OnBad::End => {
                self.is_record_bad = true;
                Err(error)
            }
            // A source may have bad records alone. The error may also be that of the reading that was ended.
            OnBad::LeaveOut if self.interrupt.is_wished() => Err(ImportError::Sink(INTERRUPTED.into())),
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
    interrupt: &Interrupt,
    on_bad: OnBad,
    import: impl FnOnce(&mut BadLines<'_>, &mut Sink<'_>) -> Result<Imported, ImportError>,
) -> anyhow::Result<Verdict> {
    let run = RefCell::new(Run {
        feed: Feed::new(place)?,
        bar: progress.bar(),
        progress,
        on_bad,
        interrupt,
        sent: 0,
        first_refusal: None,
        is_record_bad: false,
    });
    let imported =
        import(&mut |error| run.borrow_mut().bad(error), &mut |handed| run.borrow_mut().send(handed));
    let mut run = run.into_inner();
    // The last answers may bring a refusal, too.
    let mut refusals = Vec::new();
    run.feed.settle(&mut |refusal| refusals.push(refusal));
    run.refused(refusals);
    let Run { mut feed, bar, first_refusal, is_record_bad, .. } = run;
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
    // The error of the import only says that an answer ended it.
    if let Some(refusal) = first_refusal {
        return Err(refusal.error).with_context(|| refusal.place.to_string());
    }
    match imported {
        // Whatever the error says, it is that of a part that was asked to end.
        Err(_) if interrupt.is_wished() && !is_record_bad => bail!(INTERRUPTED),
        Err(error) if is_record_bad => {
            bail!("{error}\nhint: what was read before it is recorded; --skip-bad leaves bad records out")
        }
        imported => imported?,
    };
    closed?;
    Ok(if counts.refused == 0 { Verdict::Done } else { Verdict::FoundWrong })
}
