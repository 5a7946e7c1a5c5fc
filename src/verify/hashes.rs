//! Hashes of the tree, read from the file: those that the walk does not reach, or had passed before they were
//! wanted. None of them is trusted here: the caller compares them.

use rusqlite::{Connection, params};

use super::error::is_damage;
use crate::evidence::stored_tile;
use crate::log::rows::to_sql;
use crate::log::schema;
use crate::merkle::{BuildError, HashReader, NodeHash, TILE_WIDTH, hashes_from_bytes, leaf_hash_of, root_of};

const WIDTH: u64 = TILE_WIDTH as u64;

/// The source of the roots of full tiles.
enum Tiles<'t> {
    /// The walk.
    Walked(&'t [NodeHash]),
    /// The table `tiles`.
    Table,
    /// No source: the file has no such table.
    None,
}

/// A reader of hashes. Returns fewer than it is asked for where rows are missing.
pub(super) struct Hashes<'c> {
    connection: &'c Connection,
    tiles: Tiles<'c>,
    /// The index of the first of the leaves that were hashed last, and their hashes. Successive questions
    /// about the tree ask for the leaves of the same tile: the one that is not full.
    last_leaves: (u64, Vec<NodeHash>),
    /// The number of rows of `log` that were read.
    pub(super) rows_read: u64,
}

impl<'c> Hashes<'c> {
    /// The hashes of a log that was walked from its first event on.
    pub(super) fn walked(connection: &'c Connection, tile_roots: &'c [NodeHash]) -> Hashes<'c> {
        Hashes { connection, tiles: Tiles::Walked(tile_roots), last_leaves: (0, Vec::new()), rows_read: 0 }
    }

    /// The hashes of a log that was not walked from its first event on.
    pub(super) fn stored(connection: &'c Connection) -> rusqlite::Result<Hashes<'c>> {
        let tiles = if schema::has_table(connection, "tiles")? { Tiles::Table } else { Tiles::None };
        Ok(Hashes { connection, tiles, last_leaves: (0, Vec::new()), rows_read: 0 })
    }

    fn known(&self, level: u8, start: u64, count: u16) -> rusqlite::Result<Option<Vec<NodeHash>>> {
        let part = |hashes: &[NodeHash], start: u64| {
            let start = usize::try_from(start).ok()?;
            Some(hashes.get(start..)?.get(..usize::from(count))?.to_vec())
        };
        match self.tiles {
            // The root of a full tile is a hash of level 1. The walk has no hashes of other levels: they are
            // made from rows, or from level 1.
            Tiles::Walked(roots) if level == 1 => Ok(part(roots, start)),
            Tiles::Walked(_) | Tiles::None => Ok(None),
            Tiles::Table => {
                let stored = stored_tile(self.connection, level, start / WIDTH)?;
                let hashes = stored.and_then(|bytes| hashes_from_bytes(&bytes));
                Ok(hashes.and_then(|hashes| part(&hashes, start % WIDTH)))
            }
        }
    }

    fn leaves(&mut self, start: u64, count: u16) -> rusqlite::Result<Vec<NodeHash>> {
        // Leaf n is the link of event n, then the entry of event n + 1. So `count` leaves need one row more,
        // except for leaf 0: before event 1 stands the zero link.
        let mut statement = self.connection.prepare_cached(
            "SELECT seq, entry, hash FROM log NOT INDEXED WHERE seq BETWEEN ?1 AND ?2 ORDER BY seq",
        )?;
        let end = start.saturating_add(count.into());
        let mut rows = statement.query(params![to_sql(start), to_sql(end)])?;
        let mut before = (start == 0).then(|| vec![0; 32]);
        let mut hashes = Vec::with_capacity(count.into());
        while let Some(row) = rows.next()? {
            self.rows_read += 1;
            let (seq, entry, hash): (i64, Vec<u8>, Vec<u8>) = (row.get(0)?, row.get(1)?, row.get(2)?);
            // The leaves end at a missing row, so that no later row takes its position.
            let expected =
                start.saturating_add(hashes.len() as u64).saturating_add(u64::from(before.is_some()));
            if seq != to_sql(expected) {
                break;
            }
            if let Some(before) = before {
                hashes.push(leaf_hash_of(&[&before, &entry]));
            }
            before = Some(hash);
        }
        Ok(hashes)
    }
}

impl HashReader for Hashes<'_> {
    type Error = rusqlite::Error;

    fn read(&mut self, level: u8, start: u64, count: u16) -> rusqlite::Result<Vec<NodeHash>> {
        if let Some(hashes) = self.known(level, start, count)? {
            return Ok(hashes);
        }
        if level == 0 {
            if self.last_leaves.0 != start || self.last_leaves.1.len() != usize::from(count) {
                self.last_leaves = (start, self.leaves(start, count)?);
            }
            return Ok(self.last_leaves.1.clone());
        }
        let mut hashes = Vec::with_capacity(count.into());
        // Each of these hashes is the root of the full tile below it. The recursion ends at level 0, or at a
        // tile that is known.
        for number in start..start.saturating_add(count.into()) {
            let below = self.read(level - 1, number.saturating_mul(WIDTH), TILE_WIDTH)?;
            if below.len() < usize::from(TILE_WIDTH) {
                break;
            }
            hashes.push(root_of(below));
        }
        Ok(hashes)
    }
}

/// Separates errors of the system from hashes that the file does not have.
pub(super) trait Readable<T> {
    /// Returns None if the file is damaged, or rows are missing.
    ///
    /// # Errors
    /// If the system or another program prevented the reading.
    fn readable(self) -> rusqlite::Result<Option<T>>;
}

impl<T> Readable<T> for Result<T, BuildError<rusqlite::Error>> {
    fn readable(self) -> rusqlite::Result<Option<T>> {
        match self {
            Ok(value) => Ok(Some(value)),
            Err(BuildError::Read(error)) if !is_damage(&error) => Err(error),
            Err(_) => Ok(None),
        }
    }
}
