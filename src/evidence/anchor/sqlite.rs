//! A second SQLite file that keeps the checkpoints of any number of logs.

use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::{Connection, OptionalExtension, params};

use super::{Anchor, AnchorError, Consistency, Taken};
use crate::log::rows::note_column;
use crate::note::SignedCheckpoint;

/// How long another program that writes to the file is waited for.
const PATIENCE: Duration = Duration::from_secs(5);

/// Its one table. The triggers guard against accidents.
const SCHEMA: &str = "
CREATE TABLE IF NOT EXISTS checkpoints (
  origin  TEXT NOT NULL,
  size    INTEGER NOT NULL, -- events that it covers
  note    TEXT NOT NULL, -- the signed note
  kept_at TEXT NOT NULL DEFAULT (strftime('%Y-%m-%d %H:%M:%f', 'now')), -- UTC, by the clock of who wrote it
  PRIMARY KEY (origin, size)
) STRICT;
CREATE TRIGGER IF NOT EXISTS checkpoints_stay BEFORE DELETE ON checkpoints
BEGIN
  SELECT RAISE(ABORT, 'checkpoints are never deleted');
END;
CREATE TRIGGER IF NOT EXISTS checkpoints_never_change BEFORE UPDATE ON checkpoints
BEGIN
  SELECT RAISE(ABORT, 'checkpoints never change');
END;";

/// Keeps checkpoints in a table `checkpoints(origin, size, note, kept_at)` of a SQLite file: of all logs of
/// a team, say. It protects as far as whoever can write the log cannot write that file.
#[derive(Clone, Debug)]
pub struct SqliteAnchor {
    path: PathBuf,
}

impl SqliteAnchor {
    /// Keeps them in the file at a path, which is made where there is none.
    pub fn new(path: impl Into<PathBuf>) -> SqliteAnchor {
        SqliteAnchor { path: path.into() }
    }
}

impl Anchor for SqliteAnchor {
    fn name(&self) -> String {
        format!("sqlite {}", self.path.display())
    }

    fn take(&mut self, checkpoint: &SignedCheckpoint, _: Consistency<'_>) -> Result<Taken, AnchorError> {
        let kept = keep(&self.path, checkpoint)
            .map_err(|error| AnchorError::new(format_args!("{}: {error}", self.path.display())))?;
        match kept {
            Some(other) if other != checkpoint.text() => Err(AnchorError::new(format_args!(
                "{}: has another checkpoint of this log with {} events: two logs have one origin, or history was rewritten",
                self.path.display(),
                checkpoint.size()
            ))),
            _ => Ok(Taken::Kept),
        }
    }
}

/// Keeps a checkpoint, or says the text of the one that is there already.
fn keep(path: &Path, checkpoint: &SignedCheckpoint) -> rusqlite::Result<Option<String>> {
    let mut connection = Connection::open(path)?;
    connection.busy_timeout(PATIENCE)?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    let tx = connection.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
    tx.execute_batch(SCHEMA)?;
    let size = i64::try_from(checkpoint.size()).unwrap_or(i64::MAX);
    let before: Option<String> = tx
        .query_row(
            &format!("SELECT {} FROM checkpoints WHERE origin = ?1 AND size = ?2", note_column("note")),
            params![checkpoint.origin(), size],
            // One that is too long is no checkpoint, and not this one.
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
    // Cosignatures may differ; the text is what must not.
    Ok(before.map(|note| match note.parse::<SignedCheckpoint>() {
        Ok(before) => before.text().to_owned(),
        Err(_) => note,
    }))
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

    fn take(anchor: &mut SqliteAnchor, checkpoint: &SignedCheckpoint) -> Result<Taken, AnchorError> {
        anchor.take(checkpoint, &mut |_, _| panic!("no proof is needed"))
    }

    #[test]
    fn a_checkpoint_is_kept_once_and_another_of_its_size_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("checkpoints.db");
        let mut anchor = SqliteAnchor::new(&path);
        for size in [1, 2, 2] {
            take(&mut anchor, &checkpoint(size, EMPTY_ROOT)).unwrap();
        }
        let fork = take(&mut anchor, &checkpoint(2, NodeHash::from_bytes([1; 32]))).unwrap_err();

        assert!(fork.to_string().contains("two logs have one origin"), "{fork}");
        let rows: i64 = Connection::open(&path)
            .unwrap()
            .query_row("SELECT count(*) FROM checkpoints", [], |row| row.get(0))
            .unwrap();
        assert_eq!(rows, 2);
    }
}
