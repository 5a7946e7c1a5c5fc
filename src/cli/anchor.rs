//! `annals anchor`: the anchors that keep a log's checkpoints outside it.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use crate::evidence::token::stamped_text;
use crate::evidence::{AnchorStatus, Evidence, KeyFolder};
use anyhow::{Context as _, bail};
use clap::Subcommand;
use serde_json::json;

use super::log_file::LogFile;
use super::out::Out;
use super::settings::{AnchorSetting, Settings, absolute};
use super::table::{Arrangement, Cell, Column, Table};
use super::verdict::Verdict;
use super::{signing, time};

/// Manage the anchors, which keep the log's checkpoints outside the log; without a command, list them.
///
/// If the same person can write both the log and the anchor, the anchor protects only against accidents.
/// Choose a place on another machine, under another account, or at another organization.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// List the anchors, and the last event that each covers
    List,
    /// Add an anchor
    Add {
        #[command(subcommand)]
        anchor: Add,
    },
    /// Write the stored time stamps to files, together with the texts that they stamp
    Stamps {
        /// Folder for the files; it is created if it does not exist
        folder: PathBuf,
    },
    /// Remove an anchor
    Remove {
        /// Name of the anchor, as `annals anchor list` prints it
        name: String,
    },
}

#[derive(Debug, Subcommand)]
enum Add {
    /// Append each checkpoint to a file
    File {
        /// File to append to; its folder must exist
        path: PathBuf,
    },
    /// Insert each checkpoint into a SQLite file, which may serve several logs
    Sqlite {
        /// SQLite file; its folder must exist
        path: PathBuf,
        /// Accept an existing database of another program, and create the table `checkpoints` in it
        #[arg(long)]
        in_existing: bool,
    },
    /// Run a program for each checkpoint, with the checkpoint on its standard input
    ///
    /// The program is started directly, without a shell. To use a shell, name it as the program:
    /// `annals anchor add command sh -c 'cat >> /mnt/elsewhere/notes'`.
    Command {
        /// Timeout after which the program is stopped, in seconds
        #[arg(long, default_value_t = 30)]
        timeout_seconds: u64,
        /// Program to run, and its arguments
        #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true)]
        command: Vec<String>,
    },
    /// Send checkpoints to a witness (C2SP tlog-witness), which cosigns those that continue earlier ones
    Witness {
        /// Address of the witness, without /add-checkpoint
        url: String,
        /// Public key of the witness, as a vkey; may be given several times
        #[arg(long, required = true, value_name = "VKEY")]
        key: Vec<String>,
        /// PEM file of the authorities that certify the witness's server [default: those that browsers trust]
        #[arg(long, value_name = "FILE")]
        authorities: Option<PathBuf>,
    },
    /// Let a time-stamp authority (RFC 3161) stamp checkpoints
    Timestamp {
        /// Address of the authority
        url: String,
        /// PEM file of the certificates with which the authority signs
        #[arg(long, value_name = "FILE")]
        certificates: PathBuf,
        /// PEM file of the authorities that certify its server [default: those that browsers trust]
        #[arg(long, value_name = "FILE")]
        authorities: Option<PathBuf>,
    },
}

pub(crate) fn run(args: &Args, place: &LogFile, out: &mut Out) -> anyhow::Result<Verdict> {
    let origin = place.read()?.origin()?;
    let keys = signing::keys(&origin)?;
    let mut settings = Settings::read(&keys)?;
    match &args.command {
        None | Some(Command::List) => {}
        Some(Command::Add { anchor }) => {
            keys.make()?;
            let setting = setting(anchor)?;
            // A setting that cannot be used is not stored.
            setting.anchor()?;
            let _locked = keys.lock()?;
            // Read again under the lock: another command may have changed them since.
            settings = Settings::read(&keys)?;
            settings.add(&keys, setting)?;
            settings.write(&keys)?;
        }
        Some(Command::Stamps { folder }) => return stamps(folder, place, out),
        Some(Command::Remove { name }) => {
            keys.make()?;
            let locked = keys.lock()?;
            settings = Settings::read(&keys)?;
            let was_set = settings.remove(&keys, name);
            if was_set {
                settings.write(&keys)?;
            }
            drop(locked);
            // The log's own record of the anchor goes too; otherwise it would be reported forever.
            let log = place.builder().evidence(Evidence::Off).open_existing()?;
            let was_known = log.forget_anchor(name)?;
            log.close()?;
            if !was_set && !was_known {
                bail!("there is no anchor `{name}`; `annals anchor` lists them");
            }
        }
    }
    list(&settings, &keys, place, out)?;
    Ok(Verdict::Done)
}

/// Most time-stamp authorities of a log.
const AUTHORITIES_MAX: usize = 1_000;

/// Writes the files that `openssl ts -verify -token_in -in SIZE.1.token -data SIZE.checkpoint` reads.
fn stamps(folder: &Path, place: &LogFile, out: &mut Out) -> anyhow::Result<Verdict> {
    fs::create_dir_all(folder).with_context(|| format!("{} cannot be created", folder.display()))?;
    let reader = place.read()?;
    let mut authorities = BTreeSet::new();
    // The names are collected first, because they number the files. The receipts are read again and not kept: a log may
    // have any number of them.
    reader.each_anchor_receipt(|receipt| {
        // A file that Annals did not write could fill the memory with names.
        if authorities.len() >= AUTHORITIES_MAX && !authorities.contains(&receipt.anchor) {
            bail!(
                "the log has time stamps of more than {AUTHORITIES_MAX} authorities, and Annals never writes so many; run `annals verify`"
            );
        }
        authorities.insert(receipt.anchor);
        anyhow::Ok(())
    })?;
    let mut stamps = 0_u64;
    reader.each_anchor_receipt(|receipt| {
        let size = receipt.checkpoint.size();
        // Several authorities may have stamped one checkpoint, so their numbers keep the files apart.
        let number = authorities.iter().position(|name| *name == receipt.anchor).unwrap_or(0) + 1;
        write(&folder.join(format!("{size}.{number}.token")), &receipt.receipt)?;
        write(&folder.join(format!("{size}.checkpoint")), stamped_text(&receipt.checkpoint).as_bytes())?;
        stamps += 1;
        anyhow::Ok(())
    })?;
    if out.is_json() {
        out.json(&json!({ "stamps": stamps }))?;
    } else {
        out.line(&format!("{stamps} time stamps written"))?;
    }
    Ok(Verdict::Done)
}

/// Writes a file. If it exists, it must have the same bytes.
fn write(path: &Path, bytes: &[u8]) -> anyhow::Result<()> {
    match fs::read(path) {
        Ok(there) if there == bytes => return Ok(()),
        Ok(_) => bail!("{} already exists, with other content; name another folder", path.display()),
        Err(_) => {}
    }
    fs::write(path, bytes).with_context(|| format!("{} cannot be written", path.display()))
}

/// The absolute path of a file whose folder exists.
fn in_a_folder(path: &Path) -> anyhow::Result<PathBuf> {
    let path = absolute(path)?;
    match path.parent() {
        Some(folder) if !folder.is_dir() => bail!("{} is not a folder; create it first", folder.display()),
        _ => Ok(path),
    }
}

fn setting(anchor: &Add) -> anyhow::Result<AnchorSetting> {
    Ok(match anchor {
        Add::File { path } => AnchorSetting::File { path: in_a_folder(path)? },
        Add::Sqlite { path, in_existing } => {
            // SQLite takes these names for a database in memory, or for a URI.
            let name = path.as_os_str().as_encoded_bytes();
            if name.is_empty() || name == b":memory:" || name.starts_with(b"file:") {
                bail!("`{}` does not name a file on a disk; give the path of a file", path.display());
            }
            AnchorSetting::Sqlite { path: in_a_folder(path)?, in_existing: *in_existing }
        }
        Add::Command { command, timeout_seconds } => {
            AnchorSetting::Command { command: command.clone(), timeout_seconds: *timeout_seconds }
        }
        Add::Witness { url, key, authorities } => AnchorSetting::Witness {
            url: url.clone(),
            keys: key.clone(),
            authorities: authorities.as_deref().map(absolute).transpose()?,
        },
        Add::Timestamp { url, certificates, authorities } => AnchorSetting::Timestamp {
            url: url.clone(),
            certificates: absolute(certificates)?,
            authorities: authorities.as_deref().map(absolute).transpose()?,
        },
    })
}

/// Prints the anchors of the settings with the log's record of each, then those that only the log knows.
fn list(settings: &Settings, keys: &KeyFolder, place: &LogFile, out: &mut Out) -> anyhow::Result<()> {
    let evidence = place.read()?.evidence()?;
    let mut known = evidence.anchors;
    let mut rows: Vec<(AnchorStatus, &'static str)> = Vec::new();
    for setting in settings.anchors(keys) {
        let name = setting.name();
        // Taken out of `known`: only the anchors that the log alone knows stay in it.
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
    let mut table = Table::new(vec![
        Column::whole("ANCHOR"),
        Column::whole("SET").optional(1),
        Column::whole("EVENT"),
        Column::whole("AT"),
        Column::whole("FAILS SINCE"),
        Column::wrapped("ERROR"),
    ]);
    for (status, set) in rows {
        table.add(vec![
            Cell::new(&status.name),
            Cell::new(set),
            Cell::number(status.size),
            Cell::maybe(status.anchored_at.map(time::shown)),
            Cell::maybe(status.failed_since.map(time::shown)),
            Cell::maybe(status.error),
        ]);
    }
    out.print(&table, Arrangement::Fitting)?;
    if evidence.anchors_left_out > 0 {
        out.line(&format!("and {} more", evidence.anchors_left_out))?;
    }
    Ok(())
}
