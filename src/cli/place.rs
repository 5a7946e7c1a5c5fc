//! Which file is the log, and how a command opens it.

use std::env;
use std::path::{Path, PathBuf};

use annals::{AuditLog, OpenError, Reader};
use anyhow::{Context as _, anyhow};

use super::out;

/// The log's file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    path: PathBuf,
    /// Whether it was named with --db. The default file is made by whoever needs it first; a file
    /// that was named and is not there is more likely a slip.
    named: bool,
}

impl Place {
    /// The file named on the command line, else the default one.
    pub(crate) fn find(named: Option<&Path>) -> anyhow::Result<Place> {
        if let Some(path) = named {
            return Ok(Place { path: path.to_owned(), named: true });
        }
        let set = |name| env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
        let path = set("ANNALS_DB")
            .or_else(|| {
                env::home_dir().filter(|home| home.is_absolute()).map(|home| home.join(".annals/audit.db"))
            })
            .context("there is no home folder to keep the log in; name a file with --db or $ANNALS_DB")?;
        Ok(Place { path, named: false })
    }

    /// The file.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Opens the log for appending, and makes it where there is none.
    pub(crate) fn append(&self) -> anyhow::Result<AuditLog> {
        Ok(AuditLog::builder(&self.path).open()?)
    }

    /// Opens a log for appending which must be there: for what makes no sense in a new one.
    pub(crate) fn append_existing(&self) -> anyhow::Result<AuditLog> {
        self.make_default()?;
        AuditLog::builder(&self.path).open_existing().map_err(with_hint)
    }

    /// Opens the log for reading.
    pub(crate) fn read(&self) -> anyhow::Result<Reader> {
        self.make_default()?;
        Reader::open(&self.path).map_err(with_hint)
    }

    /// Opens the log for reading, and says so where the read tables are behind it.
    pub(crate) fn read_tables(&self) -> anyhow::Result<Reader> {
        let reader = self.read()?;
        for projection in reader.projections()? {
            if let Some(stopped) = &projection.stopped {
                out::note(&format!(
                    "the read tables of `{}` stopped before event {}; `annals projections` says why",
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

    fn make_default(&self) -> anyhow::Result<()> {
        if !self.named && !self.path.try_exists().unwrap_or(true) {
            self.append()?.close()?;
        }
        Ok(())
    }
}

fn with_hint(error: OpenError) -> anyhow::Error {
    match error {
        OpenError::Missing { .. } => {
            anyhow!("{error}\nhint: `annals record` makes a log where there is none")
        }
        error => error.into(),
    }
}
