//! Which run of its write-ahead log the file belongs to.
//!
//! SQLite applies any whole write-ahead log that lies beside a file, also one that was left beside another
//! file: a backup that is put back is overwritten by what a crash left, in whole or in part. So the file
//! has a row that is random and new with each run of the write-ahead log, and names the one before. A run
//! begins when everything of the last one is in the file, so at any time the file alone has the row of the
//! write-ahead log, or the one before. A file that has another does not belong to it.
//!
//! A new row is written only where the file is known to have the present one: after a checkpoint that came to
//! its end, by whoever made it. Several processes may do that; each finds the row that another wrote.

use std::sync::{Mutex, MutexGuard, PoisonError};

use rand::Rng as _;
use rusqlite::{Connection, OptionalExtension as _, params};

use super::rows::{self, Head};
use super::schema::{self, Found};
use crate::chain::link;
use crate::event::{Digest, EventId, Seq};
use crate::limits::SHOWN_BYTES_MAX;

/// A run of the write-ahead log: 16 random bytes.
pub(crate) type RunId = [u8; RUN_ID_BYTES];

const RUN_ID_BYTES: usize = 16;

/// What is written where there was no run before.
const NONE_BEFORE: RunId = [0; RUN_ID_BYTES];

/// Whether somebody appended and did not close the log since.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Use {
    /// Whoever appended last closed the log.
    Closed,
    /// The log is open, or was not closed.
    Open,
}

/// The row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Generation {
    pub(crate) id: RunId,
    pub(crate) previous: RunId,
    pub(crate) in_use: Use,
    /// The machine that has the log open; empty if it is not known.
    pub(crate) machine: String,
}

/// Reads the row; None in a file of an older schema.
pub(crate) fn read(connection: &Connection) -> rusqlite::Result<Option<Generation>> {
    // Whatever the version says: the page that says it may be of another moment than the table's.
    if schema::found(connection, "generation")? != Found::Table {
        return Ok(None);
    }
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

/// Whether a file and the write-ahead log beside it belong together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fit {
    /// They do. If the file is known to have the row of the write-ahead log, that row's id.
    Together(Option<RunId>),
    /// They do not.
    Strangers,
}

/// Holds the file alone, read without its write-ahead log, against both together. `both` is in a transaction,
/// which keeps the file from running ahead of what it sees.
///
/// What cannot be read says nothing: pages of one transaction may be in the file and in the write-ahead log,
/// and damage is for verification to report.
pub(crate) fn fit(both: &Connection, alone: &Connection) -> Fit {
    let mut known = None;
    if let (Ok(merged), Ok(file)) = (read(both), read(alone)) {
        match (merged, file) {
            (Some(merged), Some(file)) if file.id == merged.id => known = Some(merged.id),
            (Some(merged), Some(file)) if file.id == merged.previous => {}
            // The row was made by a migration that is in the write-ahead log, and no run came after it.
            (Some(merged), None) if merged.previous == NONE_BEFORE => {}
            (None, None) => {}
            _ => return Fit::Strangers,
        }
    }
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
/// A checkpoint that was cut off leaves pages of several moments: a row may be there whose link is in a page that
/// was not written yet. It shows nothing. A row that follows from the one before was written as it is.
fn whole_head(alone: &Connection) -> Option<Head> {
    let head = rows::head(alone).ok()?;
    let before = match head.seq {
        Seq::FIRST => Digest::ZERO,
        seq => rows::link_at(alone, Seq::new(seq.get().checked_sub(1)?)).ok()??,
    };
    let entry = rows::entry_at(alone, head.seq).ok()??;
    (link(&before, &entry) == head.hash).then_some(head)
}

/// What this process knows to be in the file itself, for all its connections to the log.
#[derive(Default)]
pub(crate) struct InFile(Mutex<Option<RunId>>);

impl InFile {
    fn lock(&self) -> MutexGuard<'_, Option<RunId>> {
        // Each change is one assignment.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes that everything of the write-ahead log is in the file, with this row.
    pub(crate) fn set(&self, id: Option<RunId>) {
        *self.lock() = id;
    }

    /// Begins a new run within the caller's transaction, where the file is known to have the present row. A
    /// row that another process wrote since leaves everything as it is.
    pub(crate) fn renew(&self, tx: &Connection) -> rusqlite::Result<()> {
        let known = *self.lock();
        let Some(known) = known else { return Ok(()) };
        tx.prepare_cached(
            "UPDATE generation SET previous = id, id = ?2, is_open = 1, machine = ?3 WHERE one = 1 AND id = ?1",
        )?
        .execute(params![known, fresh(), machine()])?;
        // If this transaction fails, the file may be in any state, and a checkpoint says so anew.
        self.set(None);
        Ok(())
    }
}

fn fresh() -> RunId {
    let mut id = NONE_BEFORE;
    rand::rng().fill_bytes(&mut id);
    id
}

/// Says that the log was closed.
pub(crate) fn close(connection: &Connection) -> rusqlite::Result<()> {
    connection.execute("UPDATE generation SET is_open = 0 WHERE one = 1 AND is_open = 1", []).map(drop)
}

/// Makes a copy a file of its own, to which no write-ahead log belongs.
pub(crate) fn begin_anew(connection: &Connection) -> rusqlite::Result<()> {
    if read(connection)?.is_some() {
        connection.execute(
            "UPDATE generation SET id = ?1, previous = ?2, is_open = 0, machine = '' WHERE one = 1",
            params![fresh(), NONE_BEFORE],
        )?;
    }
    Ok(())
}

/// What tells this machine from others, without giving its id away; empty where it has none.
pub(crate) fn machine() -> &'static str {
    static MACHINE: std::sync::OnceLock<String> = std::sync::OnceLock::new();
    MACHINE.get_or_init(|| {
        let id = std::fs::read_to_string("/etc/machine-id").unwrap_or_default();
        match id.trim() {
            // As it stands while the system starts for the first time.
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
        // The same of a row that was written whole, and is another log's.
        torn.execute_batch("UPDATE log SET entry = x'01'").unwrap();
        torn.execute("UPDATE log SET hash = ?1", [link(&Digest::ZERO, &[1]).bytes()]).unwrap();
        assert_eq!(fit(&whole, &torn), Fit::Strangers);
    }
}
