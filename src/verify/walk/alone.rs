//! The walk of one thread, row after row. Its result is the one that counts for a log that is not good.

use rusqlite::{Connection, params_from_iter};

use super::merge::{Merge, ReadTo};
use super::run::{Checked, With};
use super::walked::{Start, Walk};
use crate::verify::error::{VerifyError, is_damage};
use crate::verify::row::{Payloads, RowRef, columns};
use crate::verify::structure::Pairs;
use crate::verify::tree::Tree;

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
        false => Err(VerifyError::from(error)),
    };
    // A walk from the first event on has no lower bound: a row with a seq below 1, which no event has, must
    // be seen too.
    let from = (before.seq != 0).then(|| before.seq.saturating_add(1));
    let narrowed = if from.is_some() { "WHERE seq >= ?1" } else { "" };
    let sql = format!("SELECT {} FROM log NOT INDEXED {narrowed} ORDER BY seq", columns(Payloads::Read));
    let mut statement = match connection.prepare(&sql) {
        Ok(statement) => statement,
        Err(error) => return merge.finish(connection, damage(before.seq, error)?),
    };
    let mut rows = statement.query(params_from_iter(from))?;
    // Damage ends the reading. The rows before it are judged all the same, and a bad one among them comes
    // first.
    let read = loop {
        match rows.next() {
            Ok(Some(row)) => match RowRef::of(|column| row.get_ref(column)) {
                Ok(row) => run.push(row, &with),
                Err(error) => break damage(run.last.seq, error)?,
            },
            Ok(None) => break ReadTo::End,
            Err(error) => break damage(run.last.seq, error)?,
        }
        // Handed on run by run, so that the leaves of one run at most wait in memory.
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
