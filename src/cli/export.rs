//! `annals export`: events to record elsewhere, or a read table.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use annals::{EventId, Export, LeftOut, RowSink, SqlValue};
use anyhow::{Context as _, bail};

use super::Verdict;
use super::bar::Bar;
use super::out::{self, Out};
use super::place::Place;
use super::record::events;
use super::rows::{Form, Rows};
use super::{show, text};

/// Export events, as `annals record` reads them, or a read table.
///
/// Events whose payload was erased, or of a kind that this version does not know, cannot be recorded
/// again: they are named on standard error. Those that only Annals itself writes stay.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "Examples:
  annals export --output events.jsonl
  annals export --session 0198c5 | annals --db other.db record
  annals export --table steps --format csv --output steps.csv")]
pub(crate) struct Args {
    /// The form: csv and json are for tables
    #[arg(long, value_enum, default_value_t = ExportForm::Jsonl)]
    format: ExportForm,

    /// A read table, instead of the events
    #[arg(long, value_name = "TABLE")]
    table: Option<String>,

    /// Of this session
    #[arg(long, value_name = "SESSION")]
    session: Option<String>,

    /// To this file, which takes its place when it is whole
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,

    /// Replace the file if it is there
    #[arg(long, requires = "output")]
    force: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum ExportForm {
    /// An object a line
    Jsonl,
    /// One list of objects
    Json,
    /// Comma-separated, with the names of the columns
    Csv,
}

pub(crate) fn run(args: &Args, place: &Place, out: &mut Out) -> anyhow::Result<Verdict> {
    if args.table.is_none() && args.format != ExportForm::Jsonl {
        bail!("events are exported as jsonl alone; name a table for csv and json: --table steps");
    }
    if let Some(output) = &args.output {
        refuse_own_files(output, place.path())?;
    }
    let target = args.output.as_deref().map(|path| Target::new(path, args.force)).transpose()?;
    let Some(mut target) = target else { return write(args, place, out) };
    let verdict = {
        let mut file =
            Out::to(BufWriter::new(target.file.try_clone().context("the file cannot be written")?));
        let verdict = write(args, place, &mut file)?;
        file.flush()?;
        verdict
    };
    target.finish()?;
    Ok(verdict)
}

fn write(args: &Args, place: &Place, out: &mut Out) -> anyhow::Result<Verdict> {
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
            ExportForm::Csv => Form::Csv,
        };
        let mut rows = Counted { rows: Rows::new(out, form), bar: Bar::new("exporting", None), count: 0 };
        reader.export_table(table, session, &mut rows)?;
        rows.rows.finish()?;
        return Ok(Verdict::Done);
    }
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
        summary += &format!(", {} of the log's own", exported.own);
    }
    out.flush()?;
    out::say(&summary);
    Ok(Verdict::Done)
}

/// Rows that are counted on their way.
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

/// A file that appears when it is whole.
struct Target {
    path: PathBuf,
    temporary: PathBuf,
    file: File,
    force: bool,
}

/// Refuses to put an export in the place of the log itself, or of a file that belongs to it.
fn refuse_own_files(output: &Path, log: &Path) -> anyhow::Result<()> {
    let same = |path: &Path| match (fs::metadata(path), fs::metadata(output)) {
        (Ok(a), Ok(b)) => (a.dev(), a.ino()) == (b.dev(), b.ino()),
        _ => path == output,
    };
    let log = fs::canonicalize(log).unwrap_or_else(|_| log.to_owned());
    for ending in ["", "-wal", "-shm", "-journal", "-turn", "-next"] {
        let mut name = log.clone().into_os_string();
        name.push(ending);
        if same(Path::new(&name)) {
            bail!("{}: is the log, or belongs to it; nothing was exported", output.display());
        }
    }
    Ok(())
}

impl Target {
    fn new(path: &Path, force: bool) -> anyhow::Result<Target> {
        if !force && path.symlink_metadata().is_ok() {
            bail!("{}: is there already; --force replaces it", path.display());
        }
        let mut name = path.as_os_str().to_owned();
        name.push(format!(".{}.new", EventId::generate()));
        let temporary = PathBuf::from(name);
        let file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&temporary)
            .with_context(|| format!("{} cannot be made", path.display()))?;
        Ok(Target { path: path.to_owned(), temporary, file, force })
    }

    fn finish(&mut self) -> anyhow::Result<()> {
        let context = || format!("{} cannot be made", self.path.display());
        self.file.flush().and_then(|()| self.file.sync_all()).with_context(context)?;
        if self.force {
            return fs::rename(&self.temporary, &self.path).with_context(context);
        }
        match fs::hard_link(&self.temporary, &self.path) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                bail!("{}: is there already; --force replaces it", self.path.display())
            }
            linked => linked.with_context(context),
        }
    }
}

impl Drop for Target {
    fn drop(&mut self) {
        // Where it was renamed there is nothing left to remove.
        let _ = fs::remove_file(&self.temporary);
    }
}
