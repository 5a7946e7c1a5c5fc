//! Tiles: the hashes of a tree in pieces that are written once, as C2SP tlog-tiles specifies them.

use std::fmt;

use super::hash::{HASH_BYTES, NodeHash};

/// Levels of the tree from one level of tiles to the next.
pub const TILE_HEIGHT: u8 = 8;

/// Hashes of a full tile.
pub const TILE_WIDTH: u16 = 1 << TILE_HEIGHT;

/// Levels of tiles that a tree with `u64` leaves can have.
const TILE_LEVELS: u8 = 64 / TILE_HEIGHT;

/// A tile: consecutive hashes of one level. Level 0 has the hashes of leaves, level *n* + 1 the roots
/// of the full tiles of level *n*.
///
/// The text form is the path of the tile: `tile/<L>/<N>`, and `.p/<W>` if it is partial.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Tile {
    /// The level of the tile.
    pub level: u8,
    /// The index of the tile within the level, from 0.
    pub index: u64,
    /// The number of hashes in the tile: 1 to [`TILE_WIDTH`].
    pub width: u16,
}

impl Tile {
    /// Returns true if the tile never changes again.
    pub fn is_full(&self) -> bool {
        self.width >= TILE_WIDTH
    }

    /// The index of the first hash of the tile within the level.
    pub fn start(&self) -> u64 {
        self.index.saturating_mul(TILE_WIDTH.into())
    }
}

impl fmt::Display for Tile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "tile/{}/{}", self.level, TileIndex { index: self.index, width: self.width })
    }
}

/// The path of the bundle of the entries whose hashes are in tile `index` of level 0.
pub(crate) fn bundle_path(index: u64, width: u16) -> String {
    format!("tile/entries/{}", TileIndex { index, width })
}

/// The end of a path: the index in groups of three digits, all except the last after an `x`; and the width of a
/// partial tile.
struct TileIndex {
    index: u64,
    width: u16,
}

impl fmt::Display for TileIndex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut divisor = 1_u64;
        // No overflow: a new divisor is at most the index.
        while self.index / divisor >= 1_000 {
            divisor *= 1_000;
        }
        while divisor > 1 {
            write!(f, "x{:03}/", self.index / divisor % 1_000)?;
            divisor /= 1_000;
        }
        write!(f, "{:03}", self.index % 1_000)?;
        if self.width < TILE_WIDTH {
            write!(f, ".p/{}", self.width)?;
        }
        Ok(())
    }
}

/// The tiles of a tree of `size` leaves, level by level from 0 on.
///
/// ```
/// use annals::merkle::tiles_of;
///
/// let paths: Vec<String> = tiles_of(258).map(|tile| tile.to_string()).collect();
/// assert_eq!(paths, ["tile/0/000", "tile/0/001.p/2", "tile/1/000.p/1"]);
/// ```
pub fn tiles_of(size: u64) -> TilesOf {
    tiles_between(0, size)
}

/// The tiles that a tree of `new` leaves has and a tree of `old` leaves lacks: new ones, and those that have become
/// wider.
pub fn tiles_between(old: u64, new: u64) -> TilesOf {
    TilesOf { old, new, level: 0, index: old / u64::from(TILE_WIDTH) }
}

/// An iterator over tiles, level by level.
#[derive(Clone, Debug)]
pub struct TilesOf {
    old: u64,
    new: u64,
    level: u8,
    /// The index of the next tile on this level, if the level has one more.
    index: u64,
}

impl Iterator for TilesOf {
    type Item = Tile;

    fn next(&mut self) -> Option<Tile> {
        let full = u64::from(TILE_WIDTH);
        // A level with nothing new has nothing new above it.
        while self.level < TILE_LEVELS && self.old < self.new {
            let left = self.new.saturating_sub(self.index.saturating_mul(full));
            // A full tile, or the hashes that the last one has.
            if let Some(width) = u16::try_from(left.min(full)).ok().filter(|width| *width > 0) {
                let tile = Tile { level: self.level, index: self.index, width };
                self.index += 1;
                return Some(tile);
            }
            self.level += 1;
            self.old /= full;
            self.new /= full;
            // The first tile that the older tree did not fill: every tile before it is full and old.
            self.index = self.old / full;
        }
        None
    }
}

/// The bytes of a tile with these hashes.
pub fn hashes_to_bytes(hashes: &[NodeHash]) -> Vec<u8> {
    hashes.iter().flat_map(|hash| *hash.bytes()).collect()
}

/// The hashes of a tile with these bytes, if they are whole hashes.
pub fn hashes_from_bytes(bytes: &[u8]) -> Option<Vec<NodeHash>> {
    let (hashes, rest) = bytes.as_chunks::<HASH_BYTES>();
    rest.is_empty().then(|| hashes.iter().copied().map(NodeHash::from_bytes).collect())
}
