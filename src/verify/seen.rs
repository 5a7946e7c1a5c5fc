//! The memory of earlier verifications, kept outside the file. With it, the next verification needs no key to
//! notice that a log was set back to an older copy, written anew or replaced.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use super::report::{Check, Failure, LogFacts, Record, Remembered};
use super::tree::Tree;
use crate::event::{EventId, Timestamp};
use crate::merkle::NodeHash;

/// Longest file that is read as a record, in bytes. A record has some hundred bytes and a path, at most the
/// longest one.
const RECORD_BYTES_MAX: u64 = 64 << 10;

/// A folder in which verifications keep what they saw.
#[derive(Clone, Debug)]
pub struct Memory {
    folder: PathBuf,
    forgets: bool,
}

impl Memory {
    /// The memory in a folder. The folder is made when a log is first remembered.
    pub fn at(folder: impl Into<PathBuf>) -> Memory {
        Memory { folder: folder.into(), forgets: false }
    }

    /// Treats the records of the log as outdated: nothing is compared with them, and the record of this
    /// verification replaces them.
    #[must_use]
    pub fn forget(mut self) -> Memory {
        self.forgets = true;
        self
    }

    /// The file of a record of one `kind`: `paths` or `logs`. Its name is the hash of the path or of the
    /// origin.
    fn file(&self, kind: &str, of: &[u8]) -> PathBuf {
        self.folder.join(kind).join(format!("{}.json", blake3::hash(of).to_hex()))
    }

    fn by_path(&self, path: &Path) -> PathBuf {
        // All symbolic links to a file lead to the same record.
        let path = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
        self.file("paths", path.as_os_str().as_encoded_bytes())
    }

    fn by_origin(&self, origin: &str) -> PathBuf {
        self.file("logs", origin.as_bytes())
    }
}

/// The records of one log: one by its path, and one by its origin.
#[derive(Debug, Default)]
pub(super) struct Seen {
    at_path: Option<Record>,
    of_origin: Option<Record>,
    warning: Option<String>,
}

impl Seen {
    /// Reads the records of a path and of an origin.
    pub(super) fn read(memory: &Memory, path: &Path, origin: Option<&str>) -> Seen {
        let mut seen = Seen::default();
        if memory.forgets {
            return seen;
        }
        seen.at_path = seen.record(&memory.by_path(path));
        seen.of_origin = origin.and_then(|origin| seen.record(&memory.by_origin(origin)));
        seen
    }

    fn record(&mut self, file: &Path) -> Option<Record> {
        match read_record(file) {
            Ok(record) => record,
            Err(error) => {
                self.warning = Some(format!(
                    "{}: cannot be read, so nothing was compared with it: {error}; --reset-memory replaces it",
                    file.display()
                ));
                None
            }
        }
    }

    fn records(&self) -> impl Iterator<Item = &Record> {
        // Usually both records are the same, and then it is compared once.
        self.at_path
            .iter()
            .chain(self.of_origin.iter().filter(|record| Some(*record) != self.at_path.as_ref()))
    }

    /// The sizes whose roots are in the records.
    pub(super) fn sizes(&self) -> impl Iterator<Item = u64> {
        self.records().map(|record| record.size)
    }

    /// Compares the log with the records. `root_at` returns the root of its tree at a size.
    pub(super) fn compare<E>(
        self,
        log: &LogFacts,
        root_at: &mut dyn FnMut(u64) -> Result<Option<NodeHash>, E>,
    ) -> Result<Remembered, E> {
        let (mut failures, mut not_compared) = (Vec::new(), self.warning.clone());
        for record in self.records() {
            match compared(record, log, root_at)? {
                Compared::Same => {}
                Compared::Contradicts(failure) => failures.push(failure),
                Compared::Unknown(why) => not_compared = not_compared.or(Some(why)),
            }
        }
        let before = self.of_origin.or(self.at_path);
        Ok(Remembered { before, failures, not_compared, is_kept: false, warning: self.warning })
    }
}

const WAY_OUT: &str = "use --no-remember to verify this file alone, for example an older copy, or --reset-memory to accept the log as it is now";

/// The result of comparing a log with a record.
enum Compared {
    Same,
    Contradicts(Failure),
    /// The two could not be compared.
    Unknown(String),
}

fn compared<E>(
    record: &Record,
    log: &LogFacts,
    root_at: &mut dyn FnMut(u64) -> Result<Option<NodeHash>, E>,
) -> Result<Compared, E> {
    let Record { origin: was, size, verified_at, .. } = record;
    let unknown = |why: &str| {
        Ok(Compared::Unknown(format!("{why}, so the {size} events verified at {verified_at} may be others")))
    };
    let Some(log_id) = log.log_id else { return unknown("the first event cannot be read") };
    // If a newer version wrote the first event, this version cannot read the log's origin from it. The log's
    // id and its events still tell it from others.
    let has_other_name = log.origin.as_ref().is_some_and(|origin| origin != was);
    let (check, what) = if record.log_id != log_id.to_string() || has_other_name {
        let this = match &log.origin {
            Some(origin) => format!("this log is `{origin}` with the id {log_id}"),
            None => format!("this log has the id {log_id}, and {NAMELESS}"),
        };
        let what = format!(
            "the log `{was}` with the id {} and {size} events was verified at this path, or under this name, at {verified_at}; {this}: another log took its place",
            record.log_id
        );
        (Check::RememberedLog, what)
    } else if log.events < *size {
        let what = format!(
            "the log had {size} events when it was verified at {verified_at}, but has only {} now: it was cut off, or set back to an older copy",
            log.events
        );
        (Check::RememberedSize, what)
    } else {
        match root_at(*size)? {
            None => {
                return unknown(
                    "the log cannot be read up to that size, or the root of its beginning is not known",
                );
            }
            Some(root) if root.to_string() == record.root => return Ok(Compared::Same),
            Some(_) => {
                let what = format!(
                    "the first {size} events are not those that were verified at {verified_at}: the log was rewritten"
                );
                (Check::RememberedRoot, what)
            }
        }
    };
    let affected = "every event of the log".to_owned();
    Ok(Compared::Contradicts(Failure { check, seq: None, detail: format!("{what}; {WAY_OUT}"), affected }))
}

/// The text about a log whose first event a newer version wrote.
const NAMELESS: &str = "its first event does not give the name of the log";

/// Writes the records of a log that was found good.
pub(super) fn keep(memory: &Memory, log: &LogFacts, tree: &Tree, remembered: &mut Remembered) {
    let (Some(log_id), Some(origin)) = (log.log_id, &log.origin) else {
        remembered.warning =
            Some(format!("{NAMELESS}, so the next verification has nothing to compare with"));
        return;
    };
    let path = fs::canonicalize(&log.path).unwrap_or_else(|_| log.path.clone());
    let record = Record {
        version: 1,
        path: path.display().to_string(),
        origin: origin.clone(),
        log_id: log_id.to_string(),
        size: tree.size(),
        root: tree.root().to_string(),
        verified_at: Timestamp::now().to_string(),
    };
    let cannot = |file: &Path, error: io::Error| {
        format!(
            "{}: cannot be written, so the next verification has nothing to compare with: {error}",
            file.display()
        )
    };
    let lock_file = memory.folder.join("lock");
    // Held until both records are written: another verification may end at the same time.
    let _lock = match lock(&lock_file) {
        Ok(lock) => lock,
        Err(error) => {
            remembered.warning = Some(cannot(&lock_file, error));
            return;
        }
    };
    for file in [memory.by_path(&log.path), memory.by_origin(origin)] {
        // A record of more events of the same log stays: that verification began later and ended earlier.
        let before = match read_record(&file) {
            _ if memory.forgets => None,
            Ok(before) => before,
            // A record that cannot be read may contradict the log, so it stays. A warning about it was given.
            Err(_) => continue,
        };
        let is_outdone = |before: &Record| before.log_id == record.log_id && before.size > record.size;
        if before.as_ref().is_some_and(is_outdone) {
            continue;
        }
        if let Err(error) = write_record(&file, &record) {
            remembered.warning = Some(cannot(&file, error));
            return;
        }
    }
    remembered.is_kept = true;
}

/// Locks the memory until the file is dropped. The lock ends with the process, so a crash leaves none behind.
fn lock(path: &Path) -> io::Result<File> {
    if let Some(folder) = path.parent() {
        DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    }
    let file = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(path)?;
    loop {
        match file.lock() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            result => return result.map(|()| file),
        }
    }
}

fn read_record(file: &Path) -> io::Result<Option<Record>> {
    let text = match fs::metadata(file) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
        // Only an ordinary file: a pipe or a device might never end.
        Ok(metadata) if !metadata.is_file() || metadata.len() > RECORD_BYTES_MAX => {
            return Err(io::Error::other("it is not a record of a verification"));
        }
        Ok(_) => fs::read(file)?,
    };
    let record: Record = serde_json::from_slice(&text).map_err(io::Error::other)?;
    if record.version == 1 { Ok(Some(record)) } else { Err(io::Error::other("a newer version wrote it")) }
}

/// Writes a record whole or not at all: to a temporary file beside it, which is then renamed.
fn write_record(file: &Path, record: &Record) -> io::Result<()> {
    let Some(folder) = file.parent() else { return Ok(()) };
    DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    let temporary = file.with_extension(format!("{}.new", EventId::generate()));
    let write = || {
        let mut open = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&temporary)?;
        serde_json::to_writer(&mut open, record)?;
        open.write_all(b"\n")?;
        // Before the rename: after a crash the name must not lead to a file without its content.
        open.sync_all()?;
        fs::rename(&temporary, file)?;
        // The rename itself survives a crash only once the folder is flushed.
        File::open(folder)?.sync_all()
    };
    write().inspect_err(|_| {
        // An error does not matter: perhaps the temporary file was not made.
        let _ = fs::remove_file(&temporary);
    })
}
