//! `annals tiles`: the log as static files.

use std::path::PathBuf;

use crate::publish::ExistingFiles;
use serde_json::json;

use super::bar::Bar;
use super::failure::say_error;
use super::log_file::LogFile;
use super::out::Out;
use super::record::events;
use super::verdict::Verdict;

/// Write the log into a folder as static files that anybody can fetch and check.
///
/// The files are those of C2SP tlog-tiles: the last checkpoint, the tiles of the tree, and the entries. The
/// entries show the time, kind and session of each event; payloads are not written. If the folder has an
/// older state of this log, only the new parts are written. Before that, the command compares the log with
/// the checkpoint in the folder and with the files that the new files continue. A folder of another log is
/// refused. Symbolic links below the folder are not followed.
#[derive(Debug, clap::Args)]
#[command(
    after_long_help = "Exit status: 1 if the checkpoint or a checked file in the folder contradicts the log, or a file is missing.

Examples:
  annals checkpoint && annals tiles /srv/www/audit
  annals tiles /srv/www/audit --check
  tools/verify.py tiles /srv/www/audit --key \"$(cat log.vkey)\""
)]
pub(crate) struct Args {
    /// Folder to write to; it is created if it does not exist
    #[arg(value_name = "DIR")]
    folder: PathBuf,

    /// Compare every file in the folder with the log, not only those that the new files continue
    #[arg(long)]
    check: bool,

    /// Compare every file, as --check does, and rewrite each file that is missing or differs from the log. A
    /// checkpoint that is not of this log is not repaired
    #[arg(long, conflicts_with = "check")]
    repair: bool,
}

impl Args {
    fn existing(&self) -> ExistingFiles {
        match (self.check, self.repair) {
            (_, true) => ExistingFiles::Repaired,
            (true, false) => ExistingFiles::Checked,
            (false, false) => ExistingFiles::Continued,
        }
    }
}

pub(crate) fn run(args: &Args, place: &LogFile, out: &mut Out) -> anyhow::Result<Verdict> {
    let reader = place.read()?;
    let mut bar: Option<Bar> = None;
    let published = reader.publish(&args.folder, args.existing(), &mut |done, total| {
        bar.get_or_insert_with(|| Bar::new("writing tiles", Some(total))).set(done);
    });
    drop(bar);
    let published = match published {
        Ok(published) => published,
        // A folder that contradicts the log is a verdict, and no failure.
        Err(error) if error.is_contradiction() => {
            say_error(&error.into());
            return Ok(Verdict::FoundWrong);
        }
        Err(error) => return Err(error.into()),
    };
    let checkpoint = &published.checkpoint;
    if out.is_json() {
        out.json(&json!({
            "path": args.folder,
            "origin": checkpoint.origin(),
            "size": checkpoint.size(),
            "root": checkpoint.root().to_string(),
            "size_before": published.before,
            "files_written": published.files,
            "files_repaired": published.repaired,
        }))?;
    } else {
        let new = checkpoint.size().saturating_sub(published.before);
        let repaired = match published.repaired {
            0 => String::new(),
            1 => "; 1 file repaired".to_owned(),
            files => format!("; {files} files repaired"),
        };
        out.line(&format!("{} published, {new} of them new{repaired}", events(checkpoint.size())))?;
    }
    Ok(Verdict::Done)
}
