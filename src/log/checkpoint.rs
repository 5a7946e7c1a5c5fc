//! Moving the write-ahead log into the file, so that it stays small. Nothing else depends on it.

use std::cell::Cell;
use std::path::Path;
use std::time::Duration;

use rusqlite::Connection;

use super::open::{BUSY_TIMEOUT, side_file};
use super::turns::{Turns, Who};
use crate::limits::{WAL_BYTES_CHECKPOINT, WAL_BYTES_RESTART};

/// How long a checkpoint that must come to an end waits for readers. Everybody who writes waits
/// with it.
const RESTART_PATIENCE: Duration = Duration::from_secs(1);

/// When to checkpoint, for one connection.
pub(crate) struct Checkpoints {
    /// The size at which readers are waited for.
    restart_at_bytes: Cell<u64>,
}

impl Checkpoints {
    pub(crate) fn new() -> Checkpoints {
        Checkpoints { restart_at_bytes: Cell::new(WAL_BYTES_RESTART) }
    }

    /// Checkpoints as far as readers allow.
    pub(crate) fn passive(connection: &Connection, turns: &Turns, who: Who) -> rusqlite::Result<()> {
        // Without a turn nothing is lost but time.
        let Ok(_turn) = turns.take(who) else { return Ok(()) };
        checkpoint(connection, "PASSIVE").map(drop)
    }

    /// Checkpoints a write-ahead log that is large, after a commit.
    ///
    /// SQLite uses the space again once everything was moved and no reader needs it. Where readers
    /// overlap, one or the other always does, so at some size they are waited for; a reader that
    /// stays for long is waited for rarely.
    pub(crate) fn if_large(&self, connection: &Connection, path: &Path, turns: &Turns, who: Who) {
        let bytes = std::fs::metadata(side_file(path, "-wal")).map_or(0, |wal| wal.len());
        if bytes < WAL_BYTES_CHECKPOINT {
            return;
        }
        if bytes < self.restart_at_bytes.get() {
            // An error is met again by the next commit or checkpoint.
            let _ = Checkpoints::passive(connection, turns, who);
            return;
        }
        let Ok(_turn) = turns.take(who) else { return };
        let _ = connection.busy_timeout(RESTART_PATIENCE);
        let done = checkpoint(connection, "RESTART").unwrap_or(false);
        let _ = connection.busy_timeout(BUSY_TIMEOUT);
        self.restart_at_bytes.set(if done { WAL_BYTES_RESTART } else { bytes.saturating_mul(2) });
    }
}

/// Whether it came to an end.
fn checkpoint(connection: &Connection, mode: &str) -> rusqlite::Result<bool> {
    connection.query_row(&format!("PRAGMA wal_checkpoint({mode})"), [], |row| {
        let blocked: i64 = row.get(0)?;
        Ok(blocked == 0)
    })
}
