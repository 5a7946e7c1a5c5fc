//! The Merkle tree of a log in SQLite: full tiles are stored, and the rest is hashed from the log when it is needed.
//!
//! So an append does no work for the tree: a thread stores a tile for every 256 events. While the tiles lag
//! behind the log, roots and proofs are the same, and only take longer.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use rusqlite::{Connection, OptionalExtension, params};

use crate::chain;
use crate::event::{Digest, Seq};
use crate::limits::TREE_TILES_MAX;
use crate::log::rows::{self, to_sql};
use crate::log::schema;
use crate::log::write_lock::{Who, WriteLock, begin};
use crate::merkle::{
    CompactRange, HASH_BYTES, HashReader, NodeHash, TILE_WIDTH, hashes_from_bytes, hashes_to_bytes,
    leaf_hash_of, root_of,
};
use crate::storage::{StorageError, from_sqlite};

/// The reason why a tree cannot be made from the log.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TreeError {
    /// The file cannot be read or written.
    #[error("the file cannot be read or written: {0}")]
    Storage(#[from] StorageError),
    /// The lock file cannot be locked.
    #[error("the lock file cannot be locked: {0}")]
    WriteLock(std::io::Error),
    /// An event is missing.
    #[error("event {seq} is missing; run `annals verify` for details")]
    Missing {
        /// The sequence number of the event.
        seq: Seq,
    },
    /// An event does not follow from the one before. Nothing from this event on can be vouched for.
    #[error("event {seq} does not follow from the one before; run `annals verify` for details")]
    Broken {
        /// The sequence number of the event.
        seq: Seq,
    },
    /// A stored tile has a wrong size.
    #[error("tile {tile} of level {level} is damaged; `annals projections rebuild tree` rebuilds the tiles")]
    Tile {
        /// The level of the tile.
        level: u8,
        /// The index of the tile within the level.
        tile: u64,
    },
}

from_sqlite!(TreeError);

const WIDTH: u64 = TILE_WIDTH as u64;
const TILE_BYTES: usize = TILE_WIDTH as usize * HASH_BYTES;

/// The number of stored full tiles on level 0, the level of the leaves.
pub(crate) fn full_tiles(connection: &Connection) -> rusqlite::Result<u64> {
    // Tiles are stored in order and deleted only all at once, so the last index gives the number.
    let last: Option<i64> = connection
        .prepare_cached("SELECT max(tile) FROM tiles WHERE level = 0")?
        .query_row([], |row| row.get(0))?;
    Ok(last.map_or(0, |tile| u64::try_from(tile).unwrap_or(0).saturating_add(1)))
}

/// The bytes of a tile as they are stored; None if there is no such row, or if it is longer than a tile.
pub(crate) fn stored_tile(
    connection: &Connection,
    level: u8,
    tile: u64,
) -> rusqlite::Result<Option<Vec<u8>>> {
    connection
        .prepare_cached(&format!("SELECT {} FROM tiles WHERE level = ?1 AND tile = ?2", hashes_column()))?
        .query_row(params![level, to_sql(tile)], |row| row.get(0))
        .optional()
        .map(Option::flatten)
}

/// The column `hashes` of the table `tiles` in a query. A value that is longer than a tile is not read.
pub(crate) fn hashes_column() -> String {
    rows::bounded("hashes", TILE_BYTES)
}

/// Hashes `count` leaves from leaf `start` on, and checks that each event follows from the one before.
fn hash_leaves(connection: &Connection, start: u64, count: u64) -> Result<Vec<NodeHash>, TreeError> {
    // Leaf n is event n + 1, and begins with the link of event n. So one row more is read, the one before the first
    // leaf; it gives a link and no hash. The first leaf of all has a link of zeros before it.
    let mut hashes = Vec::with_capacity(usize::try_from(count).unwrap_or(0));
    let mut previous = (start == 0).then_some(Digest::ZERO);
    let mut expected = if start == 0 { 1 } else { start };
    rows::each_entry(connection, start..=start + count, |row| {
        // The query skips numbers that are missing.
        if row.seq()? != Seq::new(expected) {
            return Err(TreeError::Missing { seq: Seq::new(expected) });
        }
        let link = row.link()?;
        if let Some(previous) = previous {
            let entry = row.entry()?;
            if chain::link(&previous, entry) != link {
                return Err(TreeError::Broken { seq: Seq::new(expected) });
            }
            hashes.push(leaf_hash_of(&[previous.bytes(), entry]));
        }
        previous = Some(link);
        expected += 1;
        Ok(())
    })?;
    // Rows may also be missing at the end.
    if expected != start + count + 1 {
        return Err(TreeError::Missing { seq: Seq::new(expected) });
    }
    Ok(hashes)
}

/// Leaves that are hashed at a time, which bounds the hashes in memory.
const STRETCH: u64 = 4_096;

/// Appends the leaves of a log to a range of its tree, up to a size. Hashes them from the events.
pub(crate) fn hash_on(connection: &Connection, range: &mut CompactRange, size: u64) -> Result<(), TreeError> {
    while range.size() < size {
        let count = (size - range.size()).min(STRETCH);
        for hash in hash_leaves(connection, range.size(), count)? {
            range.append(hash);
        }
    }
    Ok(())
}

/// A reader of a log's tree. The caller's transaction fixes the moment that it reads.
pub(crate) struct TreeReader<'c> {
    connection: &'c Connection,
    has_tiles: bool,
}

impl<'c> TreeReader<'c> {
    pub(crate) fn new(connection: &'c Connection) -> rusqlite::Result<TreeReader<'c>> {
        Ok(TreeReader { connection, has_tiles: schema::has_table(connection, "tiles")? })
    }

    /// The hash of a leaf, from the event itself and not from a tile.
    pub(crate) fn hash_of_event(&self, leaf: u64) -> Result<NodeHash, TreeError> {
        let hash = hash_leaves(self.connection, leaf, 1)?.pop();
        hash.ok_or(TreeError::Missing { seq: Seq::new(leaf.saturating_add(1)) })
    }
}

impl HashReader for TreeReader<'_> {
    type Error = TreeError;

    fn read(&mut self, level: u8, start: u64, count: u16) -> Result<Vec<NodeHash>, TreeError> {
        let tile = start / WIDTH;
        if self.has_tiles
            && let Some(bytes) = stored_tile(self.connection, level, tile)?
        {
            let hashes = hashes_from_bytes(&bytes).ok_or(TreeError::Tile { level, tile })?;
            let first = usize::try_from(start % WIDTH).unwrap_or(usize::MAX);
            // A tile above level 0 grows, and may lack hashes that the log has by now. Then they are hashed below.
            if let Some(wanted) = hashes.get(first..).and_then(|rest| rest.get(..count.into())) {
                return Ok(wanted.to_vec());
            }
        }
        if level == 0 {
            return hash_leaves(self.connection, start, count.into());
        }
        // The evidence's thread has not stored these hashes yet. They are made from the tiles below. The
        // recursion ends at level 0.
        (start..start + u64::from(count))
            .map(|number| Ok(root_of(self.read(level - 1, number * WIDTH, TILE_WIDTH)?)))
            .collect()
    }
}

/// The outcome of an attempt to grow the tree.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Growth {
    /// Every full tile is stored.
    UpToDate,
    /// Tiles were stored; there may be more.
    Grown,
}

/// Stores the next full tiles that are not stored yet, a bounded number at a time. Takes the write lock only to
/// write them, and not while it hashes.
pub(crate) fn grow(connection: &Connection, write_lock: &WriteLock) -> Result<Growth, TreeError> {
    let first = full_tiles(connection)?;
    let due = (rows::head(connection)?.seq.get() / WIDTH).saturating_sub(first).min(TREE_TILES_MAX);
    if due == 0 {
        return Ok(Growth::UpToDate);
    }
    // No lock is needed to hash: the entries and links of committed events never change.
    let tiles: Vec<Vec<NodeHash>> = (first..first + due)
        .map(|tile| hash_leaves(connection, tile * WIDTH, WIDTH))
        .collect::<Result<_, _>>()?;
    let _guard = write_lock.take(Who::Projection).map_err(TreeError::WriteLock)?;
    let tx = begin(connection)?;
    // Another process may have stored them meanwhile. Then these are dropped, and the next call goes on after
    // those that are stored.
    if full_tiles(&tx)? == first {
        store(&tx, first, &tiles)?;
        tx.commit()?;
    }
    Ok(Growth::Grown)
}

/// Writes full tiles of leaves, and their roots into the levels above.
fn store(connection: &Connection, first: u64, tiles: &[Vec<NodeHash>]) -> Result<(), TreeError> {
    // Collected in memory first: a tile above changes for many tiles below, and is written once.
    let mut changed: BTreeMap<(u8, u64), Vec<u8>> = BTreeMap::new();
    for (tile, hashes) in (first..).zip(tiles) {
        changed.insert((0, tile), hashes_to_bytes(hashes));
        // The root of a full tile is a hash of the level above. If it fills a tile there, that tile's root goes one
        // level higher, as a carry does in an addition.
        let (mut level, mut number) = (1_u8, tile);
        let mut root = root_of(hashes.iter().copied());
        loop {
            let at = number / WIDTH;
            let bytes = match changed.entry((level, at)) {
                Entry::Occupied(tile) => tile.into_mut(),
                Entry::Vacant(tile) => tile.insert(stored_tile(connection, level, at)?.unwrap_or_default()),
            };
            // A hash is appended only at its own index. A tile with more or fewer hashes is damaged.
            if bytes.len() as u64 != (number % WIDTH) * HASH_BYTES as u64 {
                return Err(TreeError::Tile { level, tile: at });
            }
            bytes.extend_from_slice(root.bytes());
            if bytes.len() < TILE_BYTES {
                break;
            }
            let full = hashes_from_bytes(bytes).ok_or(TreeError::Tile { level, tile: at })?;
            root = root_of(full);
            number = at;
            level += 1;
        }
    }
    let mut insert = connection
        .prepare_cached("INSERT OR REPLACE INTO tiles (level, tile, hashes) VALUES (?1, ?2, ?3)")?;
    for ((level, tile), bytes) in changed {
        insert.execute(params![level, to_sql(tile), bytes])?;
    }
    Ok(())
}

/// Deletes the stored tiles, which are made anew from the log.
pub(crate) fn forget(connection: &Connection) -> rusqlite::Result<()> {
    connection.execute("DELETE FROM tiles", []).map(drop)
}
