//! The log's file, and the ways in which commands open it.

use std::env;
use std::path::{Path, PathBuf};

use crate::evidence::Evidence;
use crate::{AuditLog, Builder, OpenError, Projections, Reader, Watch, new_file};
use anyhow::{Context as _, anyhow};

use super::{out, signing};

/// The treatment of a log that another machine has open, or did not close.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum OtherMachines {
    /// The command refuses it.
    Refuse,
    /// The command appends to it: the operator vouches that no other machine has it open.
    TakeOver,
}

/// The log's file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct LogFile {
    path: PathBuf,
    other_machines: OtherMachines,
}

impl LogFile {
    /// The file named on the command line, else the default one.
    pub(crate) fn find(named: Option<&Path>, other_machines: OtherMachines) -> anyhow::Result<LogFile> {
        if let Some(path) = named {
            return LogFile::at(path.to_owned(), other_machines);
        }
        // An empty variable counts as unset.
        let set = |name| env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
        let path = set("ANNALS_DB")
            .or_else(|| {
                // A relative home would make the log depend on the current folder.
                env::home_dir().filter(|home| home.is_absolute()).map(|home| home.join(".annals/audit.db"))
            })
            .context("there is no home folder for the log; name a file with --db or $ANNALS_DB")?;
        LogFile::at(path, other_machines)
    }

    fn at(path: PathBuf, other_machines: OtherMachines) -> anyhow::Result<LogFile> {
        new_file::refuse_url(&path)?;
        Ok(LogFile { path, other_machines })
    }

    /// The file's path.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// A builder that opens the log for appending.
    pub(crate) fn builder(&self) -> Builder {
        let builder = AuditLog::builder(&self.path);
        match self.other_machines {
            OtherMachines::Refuse => builder,
            OtherMachines::TakeOver => builder.take_over(),
        }
    }

    /// Opens the log for appending, and makes it if there is none.
    pub(crate) fn append(&self) -> anyhow::Result<AuditLog> {
        if !self.path.try_exists()? {
            // The key is found by the log's name, which only an existing log has: so the log is made first, without a
            // signer.
            let builder = self.builder().projections(Projections::Off);
            builder.evidence(Evidence::Off).open()?.close()?;
        }
        self.append_existing()
    }

    /// Opens an existing log for appending, for commands that make no sense in a new one.
    pub(crate) fn append_existing(&self) -> anyhow::Result<AuditLog> {
        // The log's name comes first: it leads to the key.
        let reader = self.read()?;
        let evidence = signing::evidence(&reader.origin()?)?;
        // Without the note, a log that was signed would silently go unsigned.
        if matches!(evidence, Evidence::Tree) && reader.last_checkpoint()?.is_some() {
            out::note(
                "checkpoints of this log were signed, but their key is not on this machine; no checkpoint is signed for the events that are appended now",
            );
        }
        drop(reader);
        let log = self.builder().evidence(evidence).open_existing().map_err(with_hint)?;
        if let Some(caution) = log.caution() {
            out::note(&caution);
        }
        Ok(log)
    }

    /// Opens the log for reading. It is never made for that: an empty log in the place of a lost one would pass every
    /// verification.
    pub(crate) fn read(&self) -> anyhow::Result<Reader> {
        let reader = Reader::open(&self.path).map_err(with_hint)?;
        if let Some(caution) = reader.caution() {
            out::note(&caution);
        }
        Ok(reader)
    }

    /// Begins to watch the file, for a command that reads for long.
    pub(crate) fn watch(&self) -> anyhow::Result<Watch> {
        Watch::open(&self.path).map_err(with_hint)
    }

    /// Opens the log for reading, and prints a note if the read tables are behind it.
    pub(crate) fn read_tables(&self) -> anyhow::Result<Reader> {
        let reader = self.read()?;
        for projection in reader.projections()? {
            if let Some(version) = projection.version
                && version != projection.known_version
            {
                out::note(&format!(
                    "the read tables of `{}` have version {version}, but this version of Annals fills version {}; it reads them without checking their content",
                    projection.name, projection.known_version
                ));
            }
            if let Some(stopped) = &projection.stopped {
                out::note(&format!(
                    "the projection `{}` stopped before event {}; `annals projections` shows the reason",
                    projection.name, stopped.seq
                ));
            }
        }
        match reader.lag()? {
            0 => {}
            lag => {
                let events = if lag == 1 { "event" } else { "events" };
                out::note(&format!(
                    "the read tables are {lag} {events} behind the log; `annals projections catch-up` fills them"
                ));
            }
        }
        Ok(reader)
    }
}

fn with_hint(error: OpenError) -> anyhow::Error {
    match error {
        OpenError::Missing { .. } => {
            anyhow!(
                "{error}\nhint: `annals init --origin NAME` creates a log with that name; `annals record` creates one with the default name"
            )
        }
        error => error.into(),
    }
}
