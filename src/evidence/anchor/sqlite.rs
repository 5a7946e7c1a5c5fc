//! A second SQLite file that keeps the checkpoints of any number of logs.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::{Connection, OpenFlags, OptionalExtension, params};

use super::contract::{Anchor, AnchorAnswer, AnchorError, Consistency};
use crate::log::rows::note_column;
use crate::note::SignedCheckpoint;

/// Longest wait for another program that writes to the file.
const TIMEOUT: Duration = Duration::from_secs(5);

/// The application id of a file that an anchor made: the bytes `AnCp`.
const APPLICATION_ID: i64 = 0x416E_4370;

/// The only table of the file. The triggers guard against accidents.
const SCHEMA: &str = "
CREATE TABLE checkpoints (
  origin  TEXT NOT NULL,
  size    INTEGER NOT NULL, -- events that it covers
  note    TEXT NOT NULL, -- the signed note
  kept_at TEXT NOT NULL DEFAULT (strftime('%Y-%m-%d %H:%M:%f', 'now')), -- UTC, by the clock of who wrote it
  PRIMARY KEY (origin, size)
) STRICT;
CREATE TRIGGER checkpoints_stay BEFORE DELETE ON checkpoints
BEGIN
  SELECT RAISE(ABORT, 'checkpoints are never deleted');
END;
CREATE TRIGGER checkpoints_never_change BEFORE UPDATE ON checkpoints
BEGIN
  SELECT RAISE(ABORT, 'checkpoints never change');
END;";

/// The columns of the table, in their order.
const COLUMNS: &str = "origin, size, note, kept_at";

/// The files in which the table may be created: the anchor's own, or any database.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Within {
    OwnFile,
    AnyFile,
}

/// Keeps checkpoints in a table `checkpoints(origin, size, note, kept_at)` of a SQLite file. One file can serve
/// many logs, such as all logs of a team.
///
/// The anchor protects the log only if nobody who can write the log can also write that file.
#[derive(Clone, Debug)]
pub struct SqliteAnchor {
    path: PathBuf,
    within: Within,
}

impl SqliteAnchor {
    /// Keeps checkpoints in the file at a path, which is created if it is missing. A database that another
    /// program made is left alone.
    pub fn new(path: impl Into<PathBuf>) -> SqliteAnchor {
        SqliteAnchor { path: path.into(), within: Within::OwnFile }
    }

    /// Allows the table to be created in an existing database of another program.
    #[must_use]
    pub fn in_existing(mut self) -> SqliteAnchor {
        self.within = Within::AnyFile;
        self
    }
}

impl Anchor for SqliteAnchor {
    fn name(&self) -> String {
        format!("sqlite {}", self.path.display())
    }

    fn submit(
        &mut self,
        checkpoint: &SignedCheckpoint,
        _: Consistency<'_>,
    ) -> Result<AnchorAnswer, AnchorError> {
        let kept = keep(&self.path, self.within, checkpoint)
            .map_err(|error| AnchorError::new(format_args!("{}: {error}", self.path.display())))?;
        match kept {
            Kept::Now => Ok(AnchorAnswer::Kept),
            Kept::Before(other) if other == checkpoint.text() => Ok(AnchorAnswer::Kept),
            Kept::Before(_) => Err(AnchorError::new(format_args!(
                "{}: has another checkpoint of this log with {} events: two logs have the same origin, or this log was rewritten",
                self.path.display(),
                checkpoint.size()
            ))),
        }
    }
}

/// The outcome of keeping a checkpoint.
enum Kept {
    /// The checkpoint was inserted.
    Now,
    /// A checkpoint of this size was there already, with this text.
    Before(String),
}

/// The reason why a file keeps no checkpoint.
#[derive(Debug, thiserror::Error)]
enum KeepError {
    #[error("does not name a file on a disk; give the path of a file")]
    NoFile,
    #[error(
        "is a database of another program; name another file, or let Annals create its table in this one (`annals anchor add sqlite --in-existing`)"
    )]
    OfSomethingElse,
    #[error("has a table `checkpoints` whose columns are not {COLUMNS}; name another file")]
    OtherTable,
    #[error("{0}")]
    Ahead(String),
    #[error(transparent)]
    Io(#[from] io::Error),
    #[error(transparent)]
    Sqlite(#[from] rusqlite::Error),
}

/// Inserts a checkpoint, or returns the text of the one that is there already.
fn keep(path: &Path, within: Within, checkpoint: &SignedCheckpoint) -> Result<Kept, KeepError> {
    let mut connection = open(path)?;
    connection.busy_timeout(TIMEOUT)?;
    // By the contract of `Anchor` the checkpoint must be durable when this returns.
    connection.pragma_update(None, "synchronous", "FULL")?;
    // A file that is new or empty has no page yet. Asked before the transaction, which gives it one.
    let pages: i64 = connection.query_row("PRAGMA page_count", [], |row| row.get(0))?;
    let tx = connection.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
    require_table(&tx, within, if pages == 0 { Found::Nothing } else { Found::Database })?;
    // The transaction has SQLite's write lock from its start, so no other program inserts between the checks and
    // the insert.
    let size = i64::try_from(checkpoint.size()).unwrap_or(i64::MAX);
    let last: Option<i64> =
        tx.query_row("SELECT max(size) FROM checkpoints WHERE origin = ?1", [checkpoint.origin()], |row| {
            row.get(0)
        })?;
    if let Some(last) = last.filter(|last| *last > size) {
        let theirs = u64::try_from(last).unwrap_or(0);
        return Err(KeepError::Ahead(AnchorError::ahead(theirs, checkpoint.size())));
    }
    let before: Option<String> = tx
        .query_row(
            &format!("SELECT {} FROM checkpoints WHERE origin = ?1 AND size = ?2", note_column("note")),
            params![checkpoint.origin(), size],
            // A text that is too long is no checkpoint. The empty text in its place differs from every one.
            |row| Ok(row.get::<_, Option<String>>(0)?.unwrap_or_default()),
        )
        .optional()?;
    if before.is_none() {
        tx.execute(
            "INSERT INTO checkpoints (origin, size, note) VALUES (?1, ?2, ?3)",
            params![checkpoint.origin(), size, checkpoint.to_string()],
        )?;
    }
    tx.commit()?;
    // The cosignatures may differ, but not the text.
    Ok(before.map_or(Kept::Now, |note| {
        Kept::Before(match note.parse::<SignedCheckpoint>() {
            Ok(before) => before.text().to_owned(),
            Err(_) => note,
        })
    }))
}

/// Opens a file on a disk. Refuses names that SQLite would take for a database in memory or for a URI.
fn open(path: &Path) -> Result<Connection, KeepError> {
    let bytes = path.as_os_str().as_encoded_bytes();
    if bytes.is_empty() || bytes == b":memory:" || bytes.starts_with(b"file:") {
        return Err(KeepError::NoFile);
    }
    let flags =
        OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    Ok(Connection::open_with_flags(path, flags)?)
}

/// The content of a file before anything was written to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Found {
    Nothing,
    Database,
}

/// Creates the table if it is missing, in a file that was empty or that an anchor made; with
/// [`Within::AnyFile`] in any database.
fn require_table(connection: &Connection, within: Within, found: Found) -> Result<(), KeepError> {
    let columns: Option<String> = connection.query_row(
        "SELECT group_concat(name, ', ') FROM (SELECT name FROM pragma_table_info('checkpoints') ORDER BY cid)",
        [],
        |row| row.get(0),
    )?;
    // The columns decide before the application id: the table may be in a database of another program.
    match columns {
        Some(columns) if columns == COLUMNS => return Ok(()),
        Some(_) if within == Within::AnyFile => return Err(KeepError::OtherTable),
        Some(_) => return Err(KeepError::OfSomethingElse),
        None => {}
    }
    let application: i64 = connection.query_row("PRAGMA application_id", [], |row| row.get(0))?;
    if found == Found::Database && application != APPLICATION_ID && within == Within::OwnFile {
        return Err(KeepError::OfSomethingElse);
    }
    // Only a new file is marked as an anchor's: the id of an existing database is its owner's.
    if found == Found::Nothing {
        connection.pragma_update(None, "application_id", APPLICATION_ID)?;
    }
    Ok(connection.execute_batch(SCHEMA)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::merkle::{EMPTY_ROOT, NodeHash};
    use crate::note::{Checkpoint, SigningKey};

    fn checkpoint(size: u64, root: NodeHash) -> SignedCheckpoint {
        let key = SigningKey::from_seed("example.org/log", &[7; 32]).unwrap();
        let mut checkpoint =
            SignedCheckpoint::unsigned(Checkpoint::new("example.org/log", size, root).unwrap());
        checkpoint.sign(&key);
        checkpoint
    }

    fn submit(anchor: &mut SqliteAnchor, checkpoint: &SignedCheckpoint) -> Result<AnchorAnswer, AnchorError> {
        anchor.submit(checkpoint, &mut |_, _| panic!("no proof is needed"))
    }

    #[test]
    fn a_checkpoint_is_kept_once_and_another_of_its_size_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("checkpoints.db");
        let mut anchor = SqliteAnchor::new(&path);
        for size in [1, 2, 2] {
            submit(&mut anchor, &checkpoint(size, EMPTY_ROOT)).unwrap();
        }
        let fork = submit(&mut anchor, &checkpoint(2, NodeHash::from_bytes([1; 32]))).unwrap_err();

        assert!(fork.to_string().contains("two logs have the same origin"), "{fork}");
        let rows: i64 = Connection::open(&path)
            .unwrap()
            .query_row("SELECT count(*) FROM checkpoints", [], |row| row.get(0))
            .unwrap();
        assert_eq!(rows, 2);
    }

    #[test]
    fn a_checkpoint_of_more_events_than_the_log_has_is_reported() {
        let folder = tempfile::tempdir().unwrap();
        let mut anchor = SqliteAnchor::new(folder.path().join("checkpoints.db"));
        submit(&mut anchor, &checkpoint(9, EMPTY_ROOT)).unwrap();
        let ahead = submit(&mut anchor, &checkpoint(8, EMPTY_ROOT)).unwrap_err().to_string();
        assert!(ahead.contains("9 events of this log, but the log has only 8"), "{ahead}");
    }

    #[test]
    fn a_database_of_another_program_is_left_alone_unless_the_caller_allows_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("customers.db");
        Connection::open(&path).unwrap().execute_batch("CREATE TABLE customers (name)").unwrap();
        let before = std::fs::read(&path).unwrap();
        let refused = submit(&mut SqliteAnchor::new(&path), &checkpoint(1, EMPTY_ROOT)).unwrap_err();
        assert!(refused.to_string().contains("of another program"), "{refused}");
        assert_eq!(std::fs::read(&path).unwrap(), before);

        submit(&mut SqliteAnchor::new(&path).in_existing(), &checkpoint(1, EMPTY_ROOT)).unwrap();
        // The table is there now, so the file needs no permission any more.
        submit(&mut SqliteAnchor::new(&path), &checkpoint(2, EMPTY_ROOT)).unwrap();

        let other = folder.path().join("other.db");
        Connection::open(&other).unwrap().execute_batch("CREATE TABLE checkpoints (size, note)").unwrap();
        for anchor in [SqliteAnchor::new(&other), SqliteAnchor::new(&other).in_existing()] {
            submit(&mut { anchor }, &checkpoint(1, EMPTY_ROOT)).unwrap_err();
        }
    }

    #[test]
    fn a_name_that_is_not_that_of_a_file_is_refused() {
        for name in [":memory:", "", "file:checkpoints.db", "file::memory:?cache=shared"] {
            let refused = submit(&mut SqliteAnchor::new(name), &checkpoint(1, EMPTY_ROOT)).unwrap_err();
            assert!(refused.to_string().contains("does not name a file"), "{name}: {refused}");
        }
    }
}
