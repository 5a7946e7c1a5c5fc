//! `annals import`: imports the records of other programs.

use std::fs::File;
use std::io::BufReader;
use std::path::{Path, PathBuf};

use crate::Draft;
use crate::import::{self, ImportError, Imported, SinkError, Source};
use anyhow::Context as _;
use clap::Subcommand;
use serde::Serialize;

use super::bar::Bar;
use super::feed::{Counts, Feed, Refusal};
use super::interrupt::Interrupt;
use super::log_file::LogFile;
use super::out::Out;
use super::record::summary;
use super::verdict::Verdict;

/// Import the records of other programs.
///
/// The id of each event is made from the name of the source and the position in the source. So a second
/// import of a file adds only the events that are new in it.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "Examples:
  annals import tau-bench results/gpt-4o-airline.json
  annals import llm \"$(llm logs path)\"")]
pub(crate) struct Args {
    #[command(subcommand)]
    format: Format,
}

#[derive(Debug, Subcommand)]
enum Format {
    /// Import runs of tau-bench, from the JSON file that it saves
    TauBench(From),
    /// Import logs of Tree of Thoughts, from the JSON file that it saves
    TreeOfThought(From),
    /// Import the database of the `llm` command-line tool
    Llm(From),
}

#[derive(Debug, clap::Args)]
struct From {
    /// File to import
    file: PathBuf,

    /// Name of the source, from which event ids are made [default: the file's name without its extension]
    #[arg(long, value_name = "NAME")]
    source: Option<String>,
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
    let (Format::TauBench(from) | Format::TreeOfThought(from) | Format::Llm(from)) = &args.format;
    let source = match &from.source {
        Some(name) => Source::new(name.as_str())?,
        None => Source::of_path(&from.file)?,
    };
    let file = from.file.as_path();
    // A missing file is reported before a log is made.
    let opened = open(file)?;
    import_with(place, out, |sink| match &args.format {
        Format::TauBench(_) => import::tau_bench(opened, &source, sink),
        Format::TreeOfThought(_) => import::tree_of_thought(opened, &source, sink),
        Format::Llm(_) => import::llm(file, &source, sink),
    })
    .with_context(|| file.display().to_string())
}

fn open(file: &Path) -> anyhow::Result<BufReader<File>> {
    let opened = File::open(file).with_context(|| format!("{} cannot be opened", file.display()))?;
    Ok(BufReader::with_capacity(1 << 20, opened))
}

/// Records the events that an importer hands over. Events from before an error are recorded.
fn import_with(
    place: &LogFile,
    out: &mut Out,
    import: impl FnOnce(&mut Sink<'_>) -> Result<Imported, ImportError>,
) -> anyhow::Result<Verdict> {
    let mut feed = Feed::new(place)?;
    let interrupt = Interrupt::listen();
    let mut bar = Bar::new("importing", None);
    let mut first_refusal: Option<Refusal> = None;
    let mut sent = 0;
    let imported = import(&mut |draft| {
        sent += 1;
        feed.send(sent, draft.payload_bytes()?, draft, &mut |refusal| {
            first_refusal.get_or_insert(refusal);
        })?;
        bar.set(sent);
        // Asked between two events: those that were sent before are recorded.
        if interrupt.is_wished() {
            return Err("interrupted; import the file again to add the rest".into());
        }
        // Answers are not awaited one by one, so the import ends some events after the one that was refused.
        match first_refusal.take() {
            None => Ok(()),
            Some(refusal) => Err(refusal.error.into()),
        }
    });
    // The last answers may bring a refusal, too.
    feed.settle(&mut |refusal| {
        first_refusal.get_or_insert(refusal);
    });
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
    imported?;
    if let Some(refusal) = first_refusal {
        return Err(refusal.error).with_context(|| format!("event {} of the source", refusal.place));
    }
    closed?;
    Ok(Verdict::Done)
}
