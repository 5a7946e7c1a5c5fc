//! The comparison of the evidence tables with the tree of the walked log. The tables are made from the log,
//! so an error in them is no evidence against it. But proofs are made from them.

use rusqlite::Connection;

use super::report::{Check, Failure};
use super::tree::Tree;
use super::trust::Trust;
use crate::evidence::hashes_column;
use crate::log::rows::{note_column, to_sql};
use crate::log::schema::has_table;
use crate::merkle::{NodeHash, TILE_WIDTH, hashes_from_bytes, root_of};
use crate::note::SignedCheckpoint;

const WIDTH: u64 = TILE_WIDTH as u64;

/// The query for the checkpoints that the file keeps, without an order.
fn notes() -> String {
    format!("SELECT size, {} FROM checkpoints", note_column("note"))
}

/// Calls `take` with each checkpoint that the file keeps, the largest first. A note that is no checkpoint is
/// left out.
pub(super) fn each_checkpoint(
    connection: &Connection,
    mut take: impl FnMut(SignedCheckpoint),
) -> rusqlite::Result<()> {
    if !has_table(connection, "checkpoints")? {
        return Ok(());
    }
    let mut statement = connection.prepare(&format!("{} ORDER BY size DESC", notes()))?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        if let Some(checkpoint) = row.get_ref(1)?.as_str().ok().and_then(|note| note.parse().ok()) {
            take(checkpoint);
        }
    }
    Ok(())
}

/// Compares the tiles with the tree. If no key was given, compares the checkpoints too, because no signature
/// tells then which of them count. The first difference in each table is a failure.
pub(super) fn check(
    connection: &Connection,
    origin: Option<&str>,
    tree: &Tree,
    trust: &Trust,
) -> rusqlite::Result<Vec<Failure>> {
    let mut failures = Vec::new();
    if let Some(tile_roots) = tree.tile_roots()
        && has_table(connection, "tiles")?
    {
        failures.extend(check_tiles(connection, tile_roots)?.map(|detail| Failure {
            check: Check::Tiles,
            seq: None,
            detail,
            affected: "the evidence tables: proofs and checkpoints are computed from the tiles".to_owned(),
        }));
    }
    if trust.is_empty() && has_table(connection, "checkpoints")? {
        failures.extend(check_checkpoints(connection, origin, tree)?.map(|detail| Failure {
            check: Check::Checkpoints,
            seq: None,
            detail,
            affected: "the evidence tables: the checkpoints in the log's file".to_owned(),
        }));
    }
    Ok(failures)
}

/// Compares the tiles with the walked roots. Each level has the roots of the full tiles below it, and the
/// lowest level has only full tiles.
fn check_tiles(connection: &Connection, walked: &[NodeHash]) -> rusqlite::Result<Option<String>> {
    let mut statement = connection
        .prepare(&format!("SELECT level, tile, {} FROM tiles ORDER BY level, tile", hashes_column()))?;
    let mut rows = statement.query([])?;
    let (mut level, mut next) = (0_i64, 0_u64);
    // The hashes that the table must have on this level, and on the next one. At the lowest level nothing is
    // expected here: its tiles are compared with `walked`.
    let (mut expected, mut above): (Vec<NodeHash>, Vec<NodeHash>) = (Vec::new(), Vec::new());
    while let Some(row) = rows.next()? {
        let (row_level, tile): (i64, i64) = (row.get(0)?, row.get(1)?);
        let named = || format!("tile {tile} of level {row_level}");
        // Rows come by level and tile. So the level before is complete here, and `above` has all of its full
        // tiles' roots.
        if row_level != level {
            if let Some(detail) = is_short(level, next, &expected) {
                return Ok(Some(detail));
            }
            level = level.saturating_add(1);
            next = 0;
            expected = std::mem::take(&mut above);
        }
        if row_level != level || tile != to_sql(next) {
            return Ok(Some(format!("{} stands where another tile must be", named())));
        }
        let Some(hashes) = hashes_from_bytes(row.get_ref(2)?.as_blob().unwrap_or_default()) else {
            return Ok(Some(format!("{} has no whole number of hashes", named())));
        };
        let index = usize::try_from(next).unwrap_or(usize::MAX);
        let root = (hashes.len() as u64 == WIDTH).then(|| root_of(hashes.iter().copied()));
        // By induction every hash follows from the log: the lowest tiles have the walked roots, and each tile
        // above has exactly the roots of the level below.
        let is_right = match level {
            0 => root.is_some() && walked.get(index).copied() == root,
            _ => expected.chunks(usize::from(TILE_WIDTH)).nth(index) == Some(hashes.as_slice()),
        };
        if !is_right {
            return Ok(Some(format!("{} does not follow from the log", named())));
        }
        above.extend(root);
        next += 1;
    }
    // The table may not end early: the last level must have all its tiles, and no level may be missing above
    // it.
    let left_out = is_short(level, next, &expected)
        .or_else(|| (!above.is_empty()).then(|| format!("level {} is missing", level.saturating_add(1))));
    Ok(left_out)
}

/// Names the first missing tile of a level that has fewer tiles than follow from the level below. The lowest
/// level is never short: it may lag behind the log.
fn is_short(level: i64, tiles: u64, expected: &[NodeHash]) -> Option<String> {
    let needed = (expected.len() as u64).div_ceil(WIDTH);
    (level > 0 && tiles < needed).then(|| format!("tile {tiles} of level {level} is missing"))
}

fn check_checkpoints(
    connection: &Connection,
    origin: Option<&str>,
    tree: &Tree,
) -> rusqlite::Result<Option<String>> {
    let mut statement = connection.prepare(&format!("{} ORDER BY size", notes()))?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let (size, note): (i64, Option<String>) = (row.get(0)?, row.get(1)?);
        // NULL stands for a note that is too long. An empty text is no note, so both count as unreadable.
        let problem = match note.unwrap_or_default().parse::<SignedCheckpoint>() {
            Err(error) => Some(format!("cannot be read: {error}")),
            Ok(checkpoint) if to_sql(checkpoint.size()) != size => {
                Some(format!("covers {} events", checkpoint.size()))
            }
            Ok(checkpoint) if Some(checkpoint.origin()) != origin => {
                Some(format!("is for the log `{}`", checkpoint.origin()))
            }
            Ok(checkpoint) => match tree.root_at(checkpoint.size()) {
                Some(root) if root == *checkpoint.root() => None,
                Some(_) => Some("has another root than the log".to_owned()),
                None => Some(format!("covers more than the {} events of the log", tree.size())),
            },
        };
        if let Some(problem) = problem {
            return Ok(Some(format!("the stored checkpoint for size {size} {problem}")));
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::merkle::{hashes_to_bytes, leaf_hash};

    /// Enough leaves for three levels of tiles.
    const LEAVES: u64 = 65_536 + 600;

    /// A table of tiles, and the roots of the full tiles of its lowest level.
    fn stored() -> (Connection, Vec<NodeHash>) {
        let connection = Connection::open_in_memory().unwrap();
        connection.execute_batch(include_str!("../../schema/0002_evidence.sql")).unwrap();
        let mut level: Vec<NodeHash> = (0..LEAVES).map(|leaf| leaf_hash(&leaf.to_be_bytes())).collect();
        level.truncate(level.len() - level.len() % 256);
        let roots = |level: &[NodeHash]| -> Vec<NodeHash> {
            level.chunks_exact(256).map(|tile| root_of(tile.iter().copied())).collect()
        };
        let walked = roots(&level);
        for number in 0.. {
            for (tile, hashes) in (0_i64..).zip(level.chunks(256)) {
                let row = (number, tile, hashes_to_bytes(hashes));
                connection
                    .execute("INSERT INTO tiles (level, tile, hashes) VALUES (?1, ?2, ?3)", row)
                    .unwrap();
            }
            level = roots(&level);
            if level.is_empty() {
                break;
            }
        }
        (connection, walked)
    }

    #[test]
    fn tiles_that_follow_from_the_log_are_good_and_may_lag_behind_it() {
        let (connection, walked) = stored();
        let count: i64 = connection.query_row("SELECT max(level) FROM tiles", [], |row| row.get(0)).unwrap();
        assert_eq!(count, 2);
        assert_eq!(check_tiles(&connection, &walked).unwrap(), None);
        let longer: Vec<NodeHash> = walked.iter().copied().chain([leaf_hash(b"one more")]).collect();
        assert_eq!(check_tiles(&connection, &longer).unwrap(), None);
        connection.execute_batch("DELETE FROM tiles").unwrap();
        assert_eq!(check_tiles(&connection, &walked).unwrap(), None);
    }

    #[test]
    fn a_tile_that_is_wrong_missing_or_too_many_is_named() {
        let (connection, walked) = stored();
        for wrong in [
            "UPDATE tiles SET hashes = zeroblob(8192) WHERE level = 0 AND tile = 100",
            "UPDATE tiles SET hashes = zeroblob(8191) WHERE level = 0 AND tile = 100",
            "UPDATE tiles SET hashes = substr(hashes, 1, 32) WHERE level = 0 AND tile = 257",
            "DELETE FROM tiles WHERE level = 0 AND tile = 3",
            "UPDATE tiles SET hashes = zeroblob(64) WHERE level = 1 AND tile = 1",
            "UPDATE tiles SET hashes = substr(hashes, 1, 32) WHERE level = 1 AND tile = 1",
            "DELETE FROM tiles WHERE level = 1 AND tile = 1",
            "DELETE FROM tiles WHERE level = 2",
            "DELETE FROM tiles WHERE level = 1",
            "DELETE FROM tiles WHERE level = 0",
            "INSERT INTO tiles VALUES (3, 0, zeroblob(32))",
            "INSERT INTO tiles VALUES (2, 1, zeroblob(32))",
            "INSERT INTO tiles VALUES (-1, 0, zeroblob(32))",
            "INSERT INTO tiles VALUES (0, 258, zeroblob(8192))",
            "INSERT INTO tiles SELECT 0, 258, hashes FROM tiles WHERE level = 0 AND tile = 0",
        ] {
            connection.execute_batch(&format!("BEGIN; {wrong}")).unwrap();
            assert_ne!(check_tiles(&connection, &walked).unwrap(), None, "{wrong}");
            connection.execute_batch("ROLLBACK").unwrap();
        }
    }
}
