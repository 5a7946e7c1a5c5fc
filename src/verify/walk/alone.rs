//! The walk of one thread, row after row: what it says of a log that is not good is what counts.

use rusqlite::{Connection, params_from_iter};

use super::merge::{Merge, ReadTo};
use super::run::{Checked, With};
use super::{Start, Walk};
use crate::limits::{JUDGED_ENTRY_BYTES_MAX, PAYLOAD_BYTES_MAX, SALT_BYTES};
use crate::verify::row::RowRef;
use crate::verify::structure::Pairs;
use crate::verify::tree::Tree;
use crate::verify::{VerifyError, is_damage};

/// Walks along every row after the start, whatever its seq.
pub(super) fn walk(
    connection: &Connection,
    start: Start,
    run_rows: u64,
    progress: &mut dyn FnMut(u64),
) -> Result<Walk, VerifyError> {
    let wanted = start.tree.as_ref().map(Tree::wanted);
    let with = With { wanted, pairs: Pairs::new() };
    let before = start.before();
    let mut merge = Merge::new(start);
    let mut run = Checked::after(before, &with);
    let damage = |after: i64, error: rusqlite::Error| match is_damage(&error) {
        true => Ok(ReadTo::Damage { after, error: error.to_string() }),
        false => Err(VerifyError::Sqlite(error)),
    };
    // No event is before the first, and if one is it must be seen, whatever its seq.
    let from = (before.seq != 0).then(|| before.seq.saturating_add(1));
    let narrowed = if from.is_some() { "WHERE seq >= ?1" } else { "" };
    // Nothing is read that is no blob, or too long to be what its column has. A payload that is too long is told
    // from one that is no blob: a number stands for it.
    let sql = format!(
        "SELECT seq,
                CASE WHEN typeof(event_id) = 'blob' AND length(event_id) = 16 THEN event_id END,
                CASE WHEN typeof(entry) = 'blob' AND length(entry) <= {JUDGED_ENTRY_BYTES_MAX} THEN entry END,
                CASE WHEN payload IS NULL THEN NULL
                     WHEN typeof(payload) <> 'blob' THEN typeof(payload)
                     WHEN length(payload) <= {} THEN payload
                     ELSE length(payload) END,
                CASE WHEN typeof(hash) = 'blob' AND length(hash) = 32 THEN hash END
         FROM log NOT INDEXED {narrowed} ORDER BY seq",
        SALT_BYTES + PAYLOAD_BYTES_MAX
    );
    let mut statement = match connection.prepare(&sql) {
        Ok(statement) => statement,
        Err(error) => return merge.finish(connection, damage(before.seq, error)?),
    };
    let mut rows = statement.query(params_from_iter(from))?;
    let read = loop {
        match rows.next() {
            Ok(Some(row)) => match RowRef::of(|column| row.get_ref(column)) {
                Ok(row) => run.push(row, &with),
                Err(error) => break damage(run.last.seq, error)?,
            },
            Ok(None) => break ReadTo::End,
            Err(error) => break damage(run.last.seq, error)?,
        }
        if run.rows >= run_rows {
            progress(run.rows);
            let next = Checked::after(run.last, &with);
            merge.take(merge.runs(), std::mem::replace(&mut run, next))?;
        }
    };
    progress(run.rows);
    merge.take(merge.runs(), run)?;
    merge.finish(connection, read)
}
