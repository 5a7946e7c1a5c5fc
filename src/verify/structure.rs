//! The pages of the table `log` and of its index, checked in less time than SQLite's own check takes.
//!
//! That check looks every row up in the index. Here the index is read once along its keys, and holds what
//! the rows say if the two sums below are the same: one over the rows that were walked along, one over
//! the index. Whatever is not found sound here is left to SQLite's check, which says what is wrong.

use std::hash::{BuildHasher as _, RandomState};

use rusqlite::{Connection, ErrorCode};

use crate::event::EventId;

/// A sum over pairs of event id and seq, in any order: under a key drawn for this verification alone,
/// so that nobody can make up other pairs with the same sum.
pub(super) struct Pairs(RandomState);

impl Pairs {
    pub(super) fn new() -> Pairs {
        Pairs(RandomState::new())
    }

    /// What a pair adds to the sum.
    #[inline]
    pub(super) fn of(&self, event_id: EventId, seq: i64) -> u64 {
        self.0.hash_one((u128::from_le_bytes(*event_id.bytes()), seq))
    }
}

/// The sum over the index on the event ids. None if its keys are not in order, or something in it is not
/// what it should be.
pub(super) fn pairs_of_index(connection: &Connection, pairs: &Pairs) -> rusqlite::Result<Option<u64>> {
    // The user may have made others, of which this says nothing.
    let indexes: u32 =
        connection.query_row("SELECT count(*) FROM pragma_index_list('log')", [], |row| row.get(0))?;
    if indexes != 1 {
        return Ok(None);
    }
    let mut statement = connection
        .prepare("SELECT event_id, seq FROM log INDEXED BY sqlite_autoindex_log_1 ORDER BY event_id")?;
    let mut rows = statement.query([])?;
    let (mut sum, mut before) = (0_u64, None);
    while let Some(row) = rows.next()? {
        let event_id = row.get_ref(0)?.as_blob().ok().and_then(|id| <[u8; 16]>::try_from(id).ok());
        let Some(event_id) = event_id.filter(|id| before.is_none_or(|before| before < *id)) else {
            return Ok(None);
        };
        before = Some(event_id);
        sum = sum.wrapping_add(pairs.of(EventId::from_bytes(event_id), row.get(1)?));
    }
    Ok(Some(sum))
}

/// Whether SQLite finds the trees sound that the table and its index are: keys in order, no page in two
/// places, every cell in its own.
///
/// `PRAGMA integrity_check` checks the trees before it looks every row up in the index, and answers at once
/// if something is wrong. SQLite asks the handler after so many steps whether to go on, and counts a step for
/// each page of a tree, so that with more steps than pages it first asks when the trees are done.
pub(super) fn has_sound_trees(connection: &mut Connection) -> rusqlite::Result<bool> {
    /// What may be counted beside pages: the hundred errors that SQLite names, and more than that.
    const SLACK: u64 = 1_000;
    let pages: u32 = connection.query_row("PRAGMA page_count", [], |row| row.get(0))?;
    let steps = u64::from(pages) + SLACK;
    let steps_asked = i32::try_from(steps).unwrap_or(i32::MAX);
    // Of a file with more pages than that number can say it is asked before, too.
    let times_before = (steps - 1) / u64::from(steps_asked.unsigned_abs());
    let mut asked = 0_u64;
    let is_enough = move || {
        asked += 1;
        asked > times_before
    };
    connection.progress_handler(steps_asked, Some(is_enough))?;
    let said = connection.query_row("PRAGMA integrity_check(\"log\")", [], |row| row.get::<_, String>(0));
    connection.progress_handler(0, None::<fn() -> bool>)?;
    match said {
        Ok(said) => Ok(said == "ok"),
        Err(error) if error.sqlite_error_code() == Some(ErrorCode::OperationInterrupted) => Ok(true),
        Err(error) => Err(error),
    }
}
