//! `annals anchor`: who keeps a log's checkpoints outside it.

use std::path::PathBuf;

use annals::evidence::{AnchorStatus, KeyFolder};
use clap::Subcommand;
use serde_json::json;

use super::Verdict;
use super::out::{Out, cell, maybe, number};
use super::place::Place;
use super::settings::{AnchorSetting, Settings, absolute};
use super::{signing, time};

/// Say who keeps the log's checkpoints outside it, and how far they are.
///
/// What is kept where whoever can write the log can write too protects against accidents alone. Choose
/// another machine, another account, or somebody else.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Say who keeps them, and how far they are
    List,
    /// Give the checkpoints to one more
    Add {
        #[command(subcommand)]
        anchor: Add,
    },
    /// Give them to one no longer
    Remove {
        /// Its name, as it is listed
        name: String,
    },
}

#[derive(Debug, Subcommand)]
enum Add {
    /// A file that each checkpoint is appended to
    File {
        /// The file
        path: PathBuf,
    },
    /// A SQLite file of its own, for any number of logs
    Sqlite {
        /// The file
        path: PathBuf,
    },
    /// A program that gets each checkpoint on its standard input
    Command {
        /// Seconds after which it is stopped
        #[arg(long, default_value_t = 30)]
        timeout_seconds: u64,
        /// The program, and its arguments
        #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true)]
        command: Vec<String>,
    },
}

pub(crate) fn run(args: &Args, place: &Place, out: &mut Out) -> anyhow::Result<Verdict> {
    let origin = place.read()?.origin()?;
    let keys = signing::keys(&origin)?;
    let mut settings = Settings::read(&keys)?;
    match &args.command {
        None | Some(Command::List) => {}
        Some(Command::Add { anchor }) => {
            keys.make()?;
            settings.add(&keys, setting(anchor)?)?;
            settings.write(&keys)?;
        }
        Some(Command::Remove { name }) => {
            settings.remove(&keys, name)?;
            settings.write(&keys)?;
        }
    }
    list(&settings, &keys, place, out)?;
    Ok(Verdict::Done)
}

fn setting(anchor: &Add) -> anyhow::Result<AnchorSetting> {
    Ok(match anchor {
        Add::File { path } => AnchorSetting::File { path: absolute(path)? },
        Add::Sqlite { path } => AnchorSetting::Sqlite { path: absolute(path)? },
        Add::Command { command, timeout_seconds } => {
            AnchorSetting::Command { command: command.clone(), timeout_seconds: *timeout_seconds }
        }
    })
}

/// The anchors of the settings, with what the log says of them; then those that only the log knows.
fn list(settings: &Settings, keys: &KeyFolder, place: &Place, out: &mut Out) -> anyhow::Result<()> {
    let mut known = place.read()?.evidence()?.anchors;
    let mut rows: Vec<(AnchorStatus, &'static str)> = Vec::new();
    for setting in settings.anchors(keys) {
        let name = setting.anchor()?.name();
        let status = match known.iter().position(|status| status.name == name) {
            Some(place) => known.remove(place),
            None => AnchorStatus::unused(name),
        };
        rows.push((status, "here"));
    }
    rows.extend(known.into_iter().map(|status| (status, "elsewhere")));
    if out.is_json() {
        let rows: Vec<_> = rows.iter().map(|(status, set)| json!({ "status": status, "set": set })).collect();
        out.json(&rows)?;
        return Ok(());
    }
    let mut table = out.table(&["ANCHOR", "SET", "EVENT", "AT", "FAILS SINCE", "WHY"]);
    for (status, set) in rows {
        table.add_row(vec![
            cell(&status.name),
            cell(set),
            number(status.size),
            maybe(status.anchored_at.map(time::shown)),
            maybe(status.failed_since.map(time::shown)),
            maybe(status.error),
        ]);
    }
    out.print(&table)?;
    Ok(())
}
