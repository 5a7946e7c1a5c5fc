//! The files of a published log except its checkpoint, and their bytes.

use rusqlite::Connection;

use super::error::PublishError;
use crate::event::{Digest, Seq};
use crate::evidence::{TreeError, TreeReader};
use crate::log::rows;
use crate::merkle::{
    BuildError, HashReader as _, NodeHash, TILE_WIDTH, Tile, bundle_path, hashes_to_bytes, leaf_hash, root_of,
};
use crate::prove::last_checkpoint;
use crate::reader::Reader;

/// A file of a published log, by its path after `tile/`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TileFile {
    /// Hashes.
    Hashes(Tile),
    /// Entries, by the index and width of the tile that has their hashes.
    Entries(u64, u16),
}

impl TileFile {
    /// Returns the file of a path. Accepts only the text that [`Tile`] writes for it.
    pub(crate) fn of_path(path: &str) -> Option<TileFile> {
        let (level, place) = path.split_once('/')?;
        let (number, width) = match place.split_once(".p/") {
            Some((number, width)) => (number, width.parse().ok().filter(|width| *width > 0)?),
            None => (place, TILE_WIDTH),
        };
        let mut index = 0_u64;
        for group in number.split('/') {
            let digits = group.strip_prefix('x').unwrap_or(group);
            index = index.checked_mul(1_000)?.checked_add(digits.parse().ok()?)?;
        }
        let (file, written) = if level == "entries" {
            (TileFile::Entries(index, width), bundle_path(index, width))
        } else {
            let tile = Tile { level: level.parse().ok()?, index, width };
            (TileFile::Hashes(tile), tile.to_string())
        };
        // The parser above is lenient. The comparison with the one text of the file refuses everything else.
        (written.strip_prefix("tile/") == Some(path)).then_some(file)
    }

    /// The path of the file below the folder.
    pub(super) fn path(self) -> String {
        match self {
            TileFile::Hashes(tile) => tile.to_string(),
            TileFile::Entries(index, width) => bundle_path(index, width),
        }
    }

    /// Returns true if the file never changes again.
    pub(crate) fn is_full(self) -> bool {
        self.tile().is_full()
    }

    /// The tile that the file is, or the tile that has the hashes of its entries.
    fn tile(self) -> Tile {
        match self {
            TileFile::Hashes(tile) => tile,
            TileFile::Entries(index, width) => Tile { level: 0, index, width },
        }
    }

    /// Returns true if a tree of that size has the file.
    pub(super) fn is_covered_by(self, size: u64) -> bool {
        let tile = self.tile();
        let hashes = size.checked_shr(8 * u32::from(tile.level)).unwrap_or(0);
        // The numbers are from a caller's path: no overflow may make a tile look covered.
        let start = tile.index.checked_mul(TILE_WIDTH.into());
        let end = start.and_then(|start| start.checked_add(tile.width.into()));
        tile.width <= TILE_WIDTH && end.is_some_and(|end| end <= hashes)
    }

    /// The bytes of the file. Hashes are made from the level below: stored tiles are not evidence.
    pub(super) fn bytes(
        self,
        connection: &Connection,
        tree: &mut TreeReader<'_>,
    ) -> Result<Vec<u8>, PublishError> {
        let tile = self.tile();
        match self {
            TileFile::Entries(..) => {
                bundle(&leaves(connection, tile.start(), tile.width)?).ok_or(PublishError::Damaged { tile })
            }
            TileFile::Hashes(_) => {
                let hashes = tree.read(tile.level, tile.start(), tile.width).map_err(BuildError::Read)?;
                match hashes == hash_below(connection, tree, tile)? {
                    true => Ok(hashes_to_bytes(&hashes)),
                    false => Err(PublishError::Damaged { tile }),
                }
            }
        }
    }
}

/// The hashes of a tile, made from the leaves or from the level below.
fn hash_below(
    connection: &Connection,
    tree: &mut TreeReader<'_>,
    tile: Tile,
) -> Result<Vec<NodeHash>, PublishError> {
    let Some(below) = tile.level.checked_sub(1) else {
        let leaves = leaves(connection, tile.start(), tile.width)?;
        return Ok(leaves.iter().map(|leaf| leaf_hash(leaf)).collect());
    };
    let width = u64::from(TILE_WIDTH);
    let hash = |number| {
        // The level below may come from stored tiles. They are files of their own, checked in the same way.
        let tile = tree.read(below, number * width, TILE_WIDTH).map_err(BuildError::Read)?;
        Ok(root_of(tile))
    };
    (tile.start()..tile.start() + u64::from(tile.width)).map(hash).collect()
}
impl Reader {
    /// A file as [`Reader::publish`] writes it; None if the last checkpoint does not cover it.
    pub(crate) fn tile(&self, file: TileFile) -> Result<Option<Vec<u8>>, PublishError> {
        self.at_one_moment(|connection| {
            let (checkpoint, mut tree) = last_checkpoint(connection)?;
            if !file.is_covered_by(checkpoint.size()) {
                return Ok(None);
            }
            let TileFile::Hashes(tile) = file else { return file.bytes(connection, &mut tree).map(Some) };
            // Stored hashes are served as they are: whoever fetches tiles checks that they lead to the root.
            let hashes = tree.read(tile.level, tile.start(), tile.width).map_err(BuildError::Read)?;
            Ok(Some(hashes_to_bytes(&hashes)))
        })
    }
}

/// The bytes of a bundle of leaves.
fn bundle(leaves: &[Vec<u8>]) -> Option<Vec<u8>> {
    let mut bundle = Vec::new();
    for leaf in leaves {
        // Writers keep to this length; a longer leaf does not fit in a bundle.
        bundle.extend_from_slice(&u16::try_from(leaf.len()).ok()?.to_be_bytes());
        bundle.extend_from_slice(leaf);
    }
    Some(bundle)
}

/// Leaves of the log: the link before each event, then its entry.
fn leaves(connection: &Connection, start: u64, count: u16) -> Result<Vec<Vec<u8>>, PublishError> {
    let missing = |number: u64| {
        let seq = Seq::new(number).next();
        PublishError::Tree(BuildError::Read(TreeError::Missing { seq }))
    };
    // Leaf n begins with the link of event n. The first leaf has a link of zeros.
    let mut link = match start {
        0 => Digest::ZERO,
        before => rows::link_at(connection, Seq::new(before))?.ok_or_else(|| missing(before))?,
    };
    let end = start.saturating_add(count.into());
    let mut leaves = Vec::with_capacity(count.into());
    let mut number = start;
    rows::each_entry(connection, start.saturating_add(1)..=end, |row| {
        if row.seq()? != Seq::new(number).next() {
            return Err(missing(number));
        }
        leaves.push([link.bytes().as_slice(), row.entry()?].concat());
        link = row.link()?;
        number += 1;
        Ok(())
    })?;
    if number < end {
        return Err(missing(number));
    }
    Ok(leaves)
}
