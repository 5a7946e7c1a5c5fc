//! `annals export`: events to record elsewhere, or a read table.

use std::io::{self, BufWriter};
use std::path::PathBuf;

use crate::export::{Export, LeftOut};
use crate::query::{RowSink, SqlValue};
use anyhow::{Context as _, bail};

use super::bar::Bar;
use super::csv::{self, Cells};
use super::log_file::LogFile;
use super::out::{self, Out};
use super::record::events;
use super::rows::{Form, Rows};
use super::target::{self, Target, refuse_own_files};
use super::verdict::Verdict;
use super::{show, text};

/// Export events in the form that `annals record` reads, or a read table.
///
/// An event whose payload was erased, or whose kind this version does not know, cannot be recorded
/// again. It is left out and named on standard error. Events that only Annals itself writes are not
/// exported.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "Examples:
  annals export --output events.jsonl
  annals export --session 0198c5 | annals --db other.db record
  annals export --table steps --format csv --output steps.csv")]
pub(crate) struct Args {
    /// Format of the output; json and csv are only for --table
    #[arg(long, value_enum, default_value_t = ExportForm::Jsonl)]
    format: ExportForm,

    #[arg(long, help = csv::AS_THEY_ARE)]
    cells_as_they_are: bool,

    /// Export this read table instead of the events
    #[arg(long, value_name = "TABLE")]
    table: Option<String>,

    /// Export only this session: its id, or the beginning of its id
    #[arg(long, value_name = "SESSION")]
    session: Option<String>,

    /// Write to this file, which appears only when it is complete, or to a pipe or device; - is standard output
    /// [default: standard output]
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,

    /// Replace the file if it already exists
    #[arg(long, requires = "output")]
    force: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum ExportForm {
    /// One object per line
    Jsonl,
    /// One list of objects
    Json,
    /// Comma-separated, with the names of the columns
    Csv,
}

pub(crate) fn run(args: &Args, place: &LogFile, out: &mut Out) -> anyhow::Result<Verdict> {
    if args.table.is_none() && args.format != ExportForm::Jsonl {
        bail!("events are exported only as jsonl; for json or csv, name a read table with --table");
    }
    let Some(output) = target::named(args.output.as_deref()) else { return write(args, place, out) };
    refuse_own_files(output, place.path())?;
    // The file appears only if the whole export succeeds.
    Target::new(output, args.force)?.fill(|file| {
        let mut out = Out::to(BufWriter::new(file.try_clone().context("the file cannot be written")?));
        let verdict = write(args, place, &mut out)?;
        out.flush()?;
        Ok(verdict)
    })
}

fn write(args: &Args, place: &LogFile, out: &mut Out) -> anyhow::Result<Verdict> {
    let reader = match args.table {
        Some(_) => place.read_tables()?,
        None => place.read()?,
    };
    let session = args.session.as_deref().map(|session| show::one_session(&reader, session)).transpose()?;
    let session = session.as_deref();
    if let Some(table) = &args.table {
        let form = match args.format {
            ExportForm::Jsonl => Form::Jsonl,
            ExportForm::Json => Form::Json,
            ExportForm::Csv => Form::Csv(Cells::of(args.cells_as_they_are)),
        };
        let mut rows = Counted { rows: Rows::new(out, form), bar: Bar::new("exporting", None), count: 0 };
        reader.export_table(table, session, &mut rows)?;
        rows.rows.finish()?;
        return Ok(Verdict::Done);
    }
    // The number of a session's events is not known in advance.
    let total = if session.is_none() { Some(reader.head()?.seq.get()) } else { None };
    let mut bar = Bar::new("exporting", total);
    let mut done = 0;
    let exported = reader.export_events(session, &mut |export| {
        done += 1;
        bar.set(done);
        match export {
            Export::Event(json) => out.json_line(&json),
            Export::LeftOut { seq, kind, reason } => {
                let reason = match reason {
                    LeftOut::Redacted => "its payload was erased",
                    _ => "its kind is not known to this version",
                };
                bar.say(&format!("left out: event {seq}, {}: {reason}", text::line(&kind)));
                Ok(())
            }
        }
    })?;
    drop(bar);
    let mut summary = format!("{} exported", events(exported.events));
    if exported.left_out > 0 {
        summary += &format!(", {} left out", exported.left_out);
    }
    if exported.own > 0 {
        summary += &format!(", {} not exported because Annals itself wrote them", exported.own);
    }
    // The events are out before the summary follows on standard error.
    out.flush()?;
    out::say(&summary);
    Ok(Verdict::Done)
}

/// A sink that counts rows on their way.
struct Counted<'a> {
    rows: Rows<'a>,
    bar: Bar,
    count: u64,
}

impl RowSink for Counted<'_> {
    fn columns(&mut self, names: &[String]) -> io::Result<()> {
        self.rows.columns(names)
    }

    fn row(&mut self, values: &[SqlValue<'_>]) -> io::Result<()> {
        self.count += 1;
        self.bar.set(self.count);
        self.rows.row(values)
    }
}
