//! The run of the write-ahead log that a file belongs to.
//!
//! SQLite applies any complete write-ahead log that lies beside a file, even one that belongs to another file. A
//! backup that is put back would be overwritten, in whole or in part, by the write-ahead log that a crash left. So
//! the file has a row with a random id. The id is new with each run of the write-ahead log, and the row also names
//! the run before. A run begins when everything of the last one is in the file. So at any time the file alone has the
//! row of the write-ahead log, or the row before it. A file with any other row does not belong to that write-ahead
//! log.
//!
//! A new row is written only if the file is known to have the present one: after a checkpoint that moved everything,
//! by the process that made it. Several processes may do that; each finds the row that another one wrote.

use std::sync::{Mutex, MutexGuard, PoisonError};

use rand::Rng as _;
use rusqlite::{Connection, OptionalExtension as _, params};

use super::rows::{self, Head};
use super::schema::{self, Found};
use crate::chain::link;
use crate::event::{Digest, EventId, Seq};
use crate::limits::SHOWN_BYTES_MAX;

/// The id of a run of the write-ahead log: 16 random bytes.
pub(crate) type RunId = [u8; RUN_ID_BYTES];

const RUN_ID_BYTES: usize = 16;

/// The previous id if there was no run before.
const NONE_BEFORE: RunId = [0; RUN_ID_BYTES];

/// The state in which the last appending process left the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Use {
    /// Closed by the process that appended last.
    Closed,
    /// Open, or not closed by the process that appended last.
    Open,
}

/// The only row of the table `generation`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Generation {
    pub(crate) id: RunId,
    pub(crate) previous: RunId,
    pub(crate) in_use: Use,
    /// The machine that has the log open; empty if it is not known.
    pub(crate) machine: String,
}

/// Reads the row. Returns `None` for a file of an older schema.
pub(crate) fn read(connection: &Connection) -> rusqlite::Result<Option<Generation>> {
    // The table decides, not the schema version: the page with the version may be from another moment than the
    // table's.
    if schema::found(connection, "generation")? != Found::Table {
        return Ok(None);
    }
    // A foreign file may hold values of any size. Values beyond these bounds are not read.
    let sql = format!(
        "SELECT {}, {}, {}, {} FROM generation WHERE one = 1",
        rows::bounded("id", RUN_ID_BYTES),
        rows::bounded("previous", RUN_ID_BYTES),
        rows::integer_column("is_open"),
        rows::bounded("machine", SHOWN_BYTES_MAX)
    );
    connection
        .prepare_cached(&sql)?
        .query_row([], |row| {
            Ok(Generation {
                id: row.get(0)?,
                previous: row.get(1)?,
                in_use: if row.get(2)? { Use::Open } else { Use::Closed },
                machine: row.get(3)?,
            })
        })
        .optional()
}

/// The relation between a file and the write-ahead log beside it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fit {
    /// The two belong together. Has the run's id if the file itself is known to have the row of the write-ahead log.
    Together(Option<RunId>),
    /// The two do not belong together.
    Strangers,
}

/// Compares the file alone, read without its write-ahead log, with both together. `both` is in a transaction, so that
/// the file cannot run ahead of what it sees.
///
/// A row that cannot be read proves nothing. Pages of one transaction may be partly in the file and partly in the
/// write-ahead log, and damage is for verification to report.
pub(crate) fn fit(both: &Connection, alone: &Connection) -> Fit {
    let mut known = None;
    if let (Ok(merged), Ok(file)) = (read(both), read(alone)) {
        match (merged, file) {
            (Some(merged), Some(file)) if file.id == merged.id => known = Some(merged.id),
            // The new row is still in the write-ahead log alone: the normal case until a checkpoint moves it.
            (Some(merged), Some(file)) if file.id == merged.previous => {}
            // A migration made the row, which is still in the write-ahead log, and no run came after it.
            (Some(merged), None) if merged.previous == NONE_BEFORE => {}
            // A file of an older schema has no row to compare.
            (None, None) => {}
            _ => return Fit::Strangers,
        }
    }
    // The log's rows must agree as well: the last event of the file alone must be the same event with the write-ahead
    // log.
    if let Some(head) = whole_head(alone)
        && let Ok(link) = rows::link_at(both, head.seq)
        && link != Some(head.hash)
    {
        return Fit::Strangers;
    }
    Fit::Together(known)
}

/// The last event of the file alone, if its row is whole.
///
/// An interrupted checkpoint leaves pages of several moments: a row may be there while the page with its hash was not
/// written yet. Such a row proves nothing. A row whose hash follows from the row before was written whole.
fn whole_head(alone: &Connection) -> Option<Head> {
    let head = rows::head(alone).ok()?;
    let before = match head.seq {
        Seq::FIRST => Digest::ZERO,
        seq => rows::link_at(alone, Seq::new(seq.get().checked_sub(1)?)).ok()??,
    };
    let entry = rows::entry_at(alone, head.seq).ok()??;
    (link(&before, &entry) == head.hash).then_some(head)
}

/// The run whose row this process knows to be in the file itself, for all its connections to the log.
#[derive(Default)]
pub(crate) struct InFile(Mutex<Option<RunId>>);

impl InFile {
    fn lock(&self) -> MutexGuard<'_, Option<RunId>> {
        // Each change is one assignment: a panic leaves nothing half done.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes that everything of the write-ahead log is in the file, with the row of this run; `None` if nothing is
    /// known.
    pub(crate) fn set(&self, id: Option<RunId>) {
        *self.lock() = id;
    }

    /// Begins a new run within the caller's transaction, if the file is known to have the present row. Changes
    /// nothing if another process has written a new row since.
    pub(crate) fn renew(&self, tx: &Connection) -> rusqlite::Result<()> {
        let known = *self.lock();
        let Some(known) = known else { return Ok(()) };
        // `AND id = ?1` decides between processes: only the first one still finds the row that it knows.
        tx.prepare_cached(
            "UPDATE generation SET previous = id, id = ?2, is_open = 1, machine = ?3 WHERE one = 1 AND id = ?1",
        )?
        .execute(params![known, fresh(), machine()])?;
        // The known row is replaced. Should this transaction fail, the file may be in any state. In both cases
        // nothing is known until the next complete checkpoint.
        self.set(None);
        Ok(())
    }
}

fn fresh() -> RunId {
    let mut id = NONE_BEFORE;
    rand::rng().fill_bytes(&mut id);
    id
}

/// Marks the log as closed.
pub(crate) fn close(connection: &Connection) -> rusqlite::Result<()> {
    connection.execute("UPDATE generation SET is_open = 0 WHERE one = 1 AND is_open = 1", []).map(drop)
}

/// Gives a copy a run of its own, so that no existing write-ahead log belongs to it.
pub(crate) fn begin_anew(connection: &Connection) -> rusqlite::Result<()> {
    if read(connection)?.is_some() {
        connection.execute(
            "UPDATE generation SET id = ?1, previous = ?2, is_open = 0, machine = '' WHERE one = 1",
            params![fresh(), NONE_BEFORE],
        )?;
    }
    Ok(())
}

/// An id that differs between machines and does not reveal the system's own id. Empty if the system has none.
pub(crate) fn machine() -> &'static str {
    static MACHINE: std::sync::OnceLock<String> = std::sync::OnceLock::new();
    MACHINE.get_or_init(|| {
        let id = std::fs::read_to_string("/etc/machine-id").unwrap_or_default();
        match id.trim() {
            // The system writes this word while it starts for the first time.
            "" | "uninitialized" => String::new(),
            id => EventId::from_name(&format!("annals machine {id}")).to_string(),
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::AuditLog;

    #[test]
    fn a_row_that_a_cut_off_checkpoint_left_in_part_shows_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let (path, torn) = (folder.path().join("audit.db"), folder.path().join("torn.db"));
        AuditLog::open(&path).unwrap().close().unwrap();
        std::fs::copy(&path, &torn).unwrap();
        let (whole, torn) = (Connection::open(&path).unwrap(), Connection::open(&torn).unwrap());
        let triggers: Vec<String> = torn
            .prepare("SELECT name FROM sqlite_schema WHERE type = 'trigger' AND tbl_name = 'log'")
            .and_then(|mut names| names.query_map([], |row| row.get(0))?.collect())
            .unwrap();
        for trigger in triggers {
            torn.execute_batch(&format!("DROP TRIGGER {trigger}")).unwrap();
        }
        torn.execute_batch("UPDATE log SET hash = zeroblob(32)").unwrap();
        assert!(matches!(fit(&whole, &torn), Fit::Together(Some(_))));
        // The same for a row that was written whole, but belongs to another log.
        torn.execute_batch("UPDATE log SET entry = x'01'").unwrap();
        torn.execute("UPDATE log SET hash = ?1", [link(&Digest::ZERO, &[1]).bytes()]).unwrap();
        assert_eq!(fit(&whole, &torn), Fit::Strangers);
    }
}
