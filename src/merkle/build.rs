//! Roots and proofs made from tiles: O(log n) tiles, each read once for a root or a proof.

use super::hash::NodeHash;
use super::range::{CompactRange, root_of};
use super::tile::{TILE_HEIGHT, TILE_WIDTH, Tile};

/// A source of hashes: tiles in a table, in a folder, in memory.
///
/// On level *L*, hash number *i* is the root of the perfect subtree number *i* of 256^*L* leaves; so
/// level 0 has the hashes of the leaves. A reader must have every hash whose leaves all belong to the tree in
/// question. It is never asked for other hashes, and never for hashes on both sides of the end of a tile.
pub trait HashReader {
    /// The reason why hashes cannot be read.
    type Error;

    /// Reads exactly `count` hashes of a level, from number `start` on.
    ///
    /// # Errors
    /// If they cannot be read.
    fn read(&mut self, level: u8, start: u64, count: u16) -> Result<Vec<NodeHash>, Self::Error>;
}

/// The reason why a root or a proof cannot be made.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BuildError<E> {
    /// Hashes cannot be read.
    #[error("the tree's hashes cannot be read: {0}")]
    Read(#[source] E),
    /// The reader returned more or fewer hashes than it was asked for.
    #[error("{tile} has {found} hashes, and must have {}", tile.width)]
    Count {
        /// The tile, as wide as it is in the tree that was asked about.
        tile: Tile,
        /// The number of hashes that the reader returned.
        found: usize,
    },
    /// The tree has no such leaf.
    #[error("a tree of {size} leaves has no leaf {index}")]
    IndexOutside {
        /// The leaf.
        index: u64,
        /// Leaves of the tree.
        size: u64,
    },
    /// The older tree has more leaves.
    #[error("a tree of {new} leaves does not begin with one of {old}")]
    SizesReversed {
        /// Leaves of the older tree.
        old: u64,
        /// Leaves of the newer one.
        new: u64,
    },
}

/// The root of the tree of the first `size` leaves.
///
/// # Errors
/// If hashes cannot be read.
pub fn root_at<R: HashReader>(reader: &mut R, size: u64) -> Result<NodeHash, BuildError<R::Error>> {
    Tree::new(reader, size).root(0, size)
}

/// The right edge of the tree of the first `size` leaves, to append to.
///
/// # Errors
/// If hashes cannot be read.
pub(crate) fn compact_range_at<R: HashReader>(
    reader: &mut R,
    size: u64,
) -> Result<CompactRange, BuildError<R::Error>> {
    let mut tree = Tree::new(reader, size);
    let nodes = subtrees(0, size).map(|subtree| tree.node(subtree)).collect::<Result<_, _>>()?;
    Ok(CompactRange::of_subtrees(size, nodes))
}

/// The proof that leaf `index` is in the tree of the first `size` leaves: siblings, from the leaf's
/// to those below the root.
///
/// # Errors
/// If there is no such leaf, or hashes cannot be read.
pub fn inclusion_proof<R: HashReader>(
    reader: &mut R,
    index: u64,
    size: u64,
) -> Result<Vec<NodeHash>, BuildError<R::Error>> {
    if index >= size {
        return Err(BuildError::IndexOutside { index, size });
    }
    let mut tree = Tree::new(reader, size);
    let (mut start, mut end) = (0, size);
    let mut proof = Vec::new();
    // From the root down to the leaf: at each split the half without the leaf gives a hash of the proof. A proof
    // begins at the leaf, so the list is reversed.
    while end - start > 1 {
        let middle = start + split(end - start);
        if index < middle {
            proof.push(tree.root(middle, end)?);
            end = middle;
        } else {
            proof.push(tree.root(start, middle)?);
            start = middle;
        }
    }
    proof.reverse();
    Ok(proof)
}

/// The proof that the tree of the first `new` leaves begins with that of the first `old`. It has no
/// hashes if the older tree has no leaves, or is the newer one.
///
/// # Errors
/// If `old` is more than `new`, or hashes cannot be read.
pub fn consistency_proof<R: HashReader>(
    reader: &mut R,
    old: u64,
    new: u64,
) -> Result<Vec<NodeHash>, BuildError<R::Error>> {
    if old > new {
        return Err(BuildError::SizesReversed { old, new });
    }
    let mut proof = Vec::new();
    if old == 0 {
        return Ok(proof);
    }
    let mut tree = Tree::new(reader, new);
    let (mut start, mut end) = (0, new);
    // From the root down along the right border of the older tree, until a subtree ends where that tree ends.
    // Each split gives the half that the border is not in.
    while old < end {
        let middle = start + split(end - start);
        if old <= middle {
            proof.push(tree.root(middle, end)?);
            end = middle;
        } else {
            proof.push(tree.root(start, middle)?);
            start = middle;
        }
    }
    // The last perfect subtree of the older tree. If that is the whole tree, the verifier has its root.
    if start > 0 {
        proof.push(tree.root(start, end)?);
    }
    proof.reverse();
    Ok(proof)
}

/// The leaves in the left half of a tree of this many leaves, at least two: the largest power of two below that
/// number.
fn split(leaves: u64) -> u64 {
    1 << (leaves - 1).ilog2()
}

/// A perfect subtree: number `index` of those with 2^`height` leaves.
#[derive(Clone, Copy)]
struct Subtree {
    height: u32,
    index: u64,
}

/// The perfect subtrees that the leaves from `start` to before `end` consist of, the largest first. The largest must
/// be able to begin at `start`.
fn subtrees(start: u64, end: u64) -> impl Iterator<Item = Subtree> {
    let leaves = end - start;
    (0..u64::BITS).rev().filter(move |height| leaves >> height & 1 == 1).map(move |height| {
        // Only smaller subtrees follow, so it is the last one of its height before `end`.
        Subtree { height, index: (end >> height) - 1 }
    })
}

/// The tree of the first `size` leaves, and those of its tiles that were read.
struct Tree<'r, R> {
    reader: &'r mut R,
    size: u64,
    /// A handful: at most two for each level, so a list is searched fast enough.
    tiles: Vec<(Tile, Vec<NodeHash>)>,
}

impl<R: HashReader> Tree<'_, R> {
    fn new(reader: &mut R, size: u64) -> Tree<'_, R> {
        Tree { reader, size, tiles: Vec::new() }
    }

    /// The root over the leaves from `start` to before `end`, which are a subtree, perfect or cut off
    /// by the tree's end.
    fn root(&mut self, start: u64, end: u64) -> Result<NodeHash, BuildError<R::Error>> {
        let nodes = subtrees(start, end).map(|subtree| self.node(subtree)).collect::<Result<_, _>>()?;
        Ok(CompactRange::of_subtrees(end - start, nodes).root())
    }

    /// The root of a perfect subtree. Tiles hold every eighth level of them; the levels between are
    /// hashed here.
    fn node(&mut self, subtree: Subtree) -> Result<NodeHash, BuildError<R::Error>> {
        let level = subtree.height / u32::from(TILE_HEIGHT);
        let within = subtree.height % u32::from(TILE_HEIGHT);
        let start = subtree.index << within;
        // The 2^`within` hashes below the subtree are all in one tile: their number divides the width, and their
        // first index is a multiple of it.
        let width = u64::from(TILE_WIDTH);
        let tile = self.tile(level, start / width)?;
        let before = usize::try_from(start % width).unwrap_or(usize::MAX);
        Ok(root_of(tile.iter().skip(before).take(1 << within).copied()))
    }

    /// The hashes of a tile, as far as the tree fills it.
    fn tile(&mut self, level: u32, index: u64) -> Result<&[NodeHash], BuildError<R::Error>> {
        let known =
            self.tiles.iter().position(|(tile, _)| u32::from(tile.level) == level && tile.index == index);
        let place = match known {
            Some(place) => place,
            None => {
                let read = self.read(level, index)?;
                self.tiles.push(read);
                self.tiles.len() - 1
            }
        };
        Ok(self.tiles.get(place).map_or(&[], |(_, hashes)| hashes))
    }

    fn read(&mut self, level: u32, index: u64) -> Result<(Tile, Vec<NodeHash>), BuildError<R::Error>> {
        let width = u64::from(TILE_WIDTH);
        // The hashes of the level from this tile on. A stored tile may be wider by now; only the width that it had in
        // the tree of this size is read.
        let left = (self.size >> (level * u32::from(TILE_HEIGHT))).saturating_sub(index * width);
        let tile = Tile {
            level: u8::try_from(level).unwrap_or(u8::MAX),
            index,
            width: u16::try_from(left.min(width)).unwrap_or(TILE_WIDTH),
        };
        let hashes = self.reader.read(tile.level, tile.start(), tile.width).map_err(BuildError::Read)?;
        if hashes.len() == usize::from(tile.width) {
            Ok((tile, hashes))
        } else {
            Err(BuildError::Count { tile, found: hashes.len() })
        }
    }
}
