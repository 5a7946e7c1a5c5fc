//! Checkpoints: moving the write-ahead log into the file, so that it stays small. Nothing else depends on them.

use std::cell::Cell;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use rusqlite::Connection;
use rusqlite::hooks::Wal;

use super::connect::BUSY_TIMEOUT;
use super::generation;
use super::write_lock::{Who, WriteLock};
use crate::limits::{WAL_BYTES_CHECKPOINT, WAL_BYTES_CHECKPOINT_WRITER, WAL_BYTES_RESTART};

/// Longest time that a checkpoint which must come to an end waits for readers. Everybody who writes waits with it.
const RESTART_TIMEOUT: Duration = Duration::from_secs(1);

/// Bytes of a frame of the write-ahead log before its page
/// (<https://sqlite.org/fileformat2.html#the_write_ahead_log>).
const FRAME_HEADER_BYTES: u64 = 24;

/// The sizes by which one connection decides when to checkpoint.
pub(crate) struct Checkpoints {
    /// Bytes in the write-ahead log after this connection's last commit. The size of its file does not show them: the
    /// file stays as large as it was when SQLite begins to write it from its start again.
    bytes: Arc<AtomicU64>,
    /// Bytes in the write-ahead log at which a checkpoint waits for readers.
    restart_at_bytes: Cell<u64>,
}

impl Checkpoints {
    /// Watches what a connection commits from now on.
    pub(crate) fn watch(connection: &mut Connection) -> rusqlite::Result<Checkpoints> {
        let page_bytes: u32 = connection.pragma_query_value(None, "page_size", |row| row.get(0))?;
        let frame_bytes = u64::from(page_bytes) + FRAME_HEADER_BYTES;
        let bytes = Arc::new(AtomicU64::new(0));
        let written = bytes.clone();
        // SQLite calls this after each commit of this connection. Relaxed order is enough: the number only decides
        // when to checkpoint, and guards no other data.
        connection.wal_hook(Some(move |_: &mut Wal, frames| {
            let frames = u64::try_from(frames).unwrap_or(0);
            written.store(frames.saturating_mul(frame_bytes), Ordering::Relaxed);
            Ok(())
        }))?;
        Ok(Checkpoints { bytes, restart_at_bytes: Cell::new(WAL_BYTES_RESTART) })
    }

    /// Checkpoints as far as readers allow.
    pub(crate) fn passive(connection: &Connection, write_lock: &WriteLock, who: Who) -> rusqlite::Result<()> {
        // Without the write lock the checkpoint comes later; nothing but time is lost.
        let Ok(_guard) = write_lock.take(who) else { return Ok(()) };
        checkpoint(connection, write_lock, "PASSIVE").map(drop)
    }

    /// Checkpoints a large write-ahead log, after a commit. Most of it is moved while others go on writing. The rest,
    /// which they wrote meanwhile, is moved under the write lock: only when everything was moved is its space used
    /// again.
    ///
    /// SQLite uses the space again once everything was moved and no reader needs it. If readers overlap, one of them
    /// always does. So at some size the checkpoint waits for them. For a reader that stays for long it waits rarely.
    pub(crate) fn if_large(&self, connection: &Connection, write_lock: &WriteLock, who: Who) {
        let bytes = self.bytes.load(Ordering::Relaxed);
        // The writer leaves it to the projections, if there are some, because they have more time.
        let large = match who {
            Who::Projection => WAL_BYTES_CHECKPOINT,
            Who::Writer => WAL_BYTES_CHECKPOINT_WRITER,
        };
        if bytes < large {
            return;
        }
        if who == Who::Projection {
            // An error comes again in the attempt under the write lock.
            let _ = checkpoint_once(connection, "PASSIVE");
        }
        if bytes < self.restart_at_bytes.get() {
            // An error comes again with the next commit or checkpoint.
            let _ = Checkpoints::passive(connection, write_lock, who);
            return;
        }
        let Ok(_guard) = write_lock.take(who) else { return };
        // The lock is held and appends wait, so the wait for readers is cut short.
        let _ = connection.busy_timeout(RESTART_TIMEOUT);
        let done = checkpoint(connection, write_lock, "RESTART").unwrap_or(false);
        let _ = connection.busy_timeout(BUSY_TIMEOUT);
        // If a reader stayed, the next wait comes only when the write-ahead log is twice as large.
        self.restart_at_bytes.set(if done { WAL_BYTES_RESTART } else { bytes.saturating_mul(2) });
    }
}

/// Checkpoints, and returns whether nobody was in the way.
fn checkpoint(connection: &Connection, write_lock: &WriteLock, mode: &str) -> rusqlite::Result<bool> {
    // Read before the checkpoint: what is in the write-ahead log now is in the file afterwards. If somebody writes a
    // new row in between, the id that is noted below is not the present one, and `InFile::renew` does nothing.
    let before = generation::read(connection)?;
    let moved = checkpoint_once(connection, mode)?;
    if moved.is_whole {
        write_lock.in_file().set(before.map(|generation| generation.id));
    }
    Ok(!moved.is_blocked)
}

struct Moved {
    is_blocked: bool,
    /// Everything that was in the write-ahead log is in the file.
    is_whole: bool,
}

fn checkpoint_once(connection: &Connection, mode: &str) -> rusqlite::Result<Moved> {
    connection.query_row(&format!("PRAGMA wal_checkpoint({mode})"), [], |row| {
        // The frames in the write-ahead log and those that were moved; -1 without a write-ahead log.
        let (blocked, frames, moved): (i64, i64, i64) = (row.get(0)?, row.get(1)?, row.get(2)?);
        Ok(Moved { is_blocked: blocked != 0, is_whole: blocked == 0 && frames >= 0 && frames == moved })
    })
}

/// Moves everything that a connection sees of its write-ahead log into the file. Returns false if a reader is in the
/// way.
pub(crate) fn move_all(connection: &Connection) -> rusqlite::Result<bool> {
    checkpoint_once(connection, "PASSIVE").map(|moved| moved.is_whole)
}
