//! The tree of the log, made during the walk. The checking threads hash leaves and join them to pieces. Here
//! the pieces are put together, and the root at every size that is wanted is kept on the way.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::merkle::{CompactRange, NodeHash, RangeError, TILE_HEIGHT, TILE_WIDTH, node_hash};

const WIDTH: u64 = TILE_WIDTH as u64;

/// The sizes at which roots are wanted, in ascending order, each once.
#[derive(Clone, Debug, Default)]
pub(super) struct Wanted(Arc<[u64]>);

impl Wanted {
    pub(super) fn new(mut sizes: Vec<u64>) -> Wanted {
        sizes.sort_unstable();
        sizes.dedup();
        Wanted(sizes.into())
    }

    fn has(&self, size: u64) -> bool {
        self.0.binary_search(&size).is_ok()
    }
}

/// A run of leaves, as a checking thread hands it on: joined to perfect subtrees of at most a tile. No
/// subtree reaches across a size that is wanted.
#[derive(Default)]
pub(super) struct Piece {
    next: u64,
    subtrees: Vec<(u8, NodeHash)>,
    /// The number of subtrees that must not be joined any more, because a wanted size ends with them.
    closed: usize,
}

impl Piece {
    /// A piece that begins after the first `size` leaves.
    pub(super) fn after(size: u64) -> Piece {
        Piece { next: size, ..Piece::default() }
    }

    /// Appends a leaf by its hash.
    pub(super) fn push(&mut self, leaf: NodeHash, wanted: &Wanted) {
        self.next = self.next.saturating_add(1);
        let (mut level, mut node) = (0, leaf);
        // Joins as binary addition carries, but only with subtrees of this piece. The new node is a right
        // child on this level exactly if the leaves so far are a multiple of 2^(level + 1).
        while level < TILE_HEIGHT && self.next.is_multiple_of(2 << level) {
            let open = self.subtrees.get(self.closed..).and_then(<[_]>::last);
            let Some((_, left)) = open.filter(|(height, _)| *height == level) else { break };
            node = node_hash(left, &node);
            self.subtrees.pop();
            level += 1;
        }
        self.subtrees.push((level, node));
        // The root at this size is made of the subtrees so far, so none of them may grow.
        if wanted.has(self.next) {
            self.closed = self.subtrees.len();
        }
    }
}

/// The tree of the walked part of a log.
#[derive(Clone, Debug, Default)]
pub(super) struct Tree {
    wanted: Wanted,
    roots: BTreeMap<u64, NodeHash>,
    /// The full tiles.
    tiles: CompactRange,
    /// The leaves after the last full tile: fewer than a tile.
    tile: CompactRange,
    /// The roots of the full tiles, if the walk began at the first event.
    tile_roots: Option<Vec<NodeHash>>,
}

impl Tree {
    /// A tree without leaves.
    pub(super) fn new(wanted: Wanted) -> Tree {
        let mut tree = Tree { wanted, tile_roots: Some(Vec::new()), ..Tree::default() };
        tree.keep_root();
        tree
    }

    /// The tree after leaves that were not walked, from their range.
    pub(super) fn after(known: &CompactRange, wanted: Wanted) -> Result<Tree, RangeError> {
        let size = known.size();
        // The largest subtrees come first. Those of full tiles are as many as the number of tiles has bits.
        let of_tiles = (size / WIDTH).count_ones() as usize;
        let (tiles, tile) = known.parts().split_at_checked(of_tiles).unwrap_or_default();
        let mut tree = Tree {
            wanted,
            tiles: CompactRange::from_parts(size - size % WIDTH, tiles.to_vec())?,
            tile: CompactRange::from_parts(size % WIDTH, tile.to_vec())?,
            ..Tree::default()
        };
        tree.keep_root();
        Ok(tree)
    }

    /// Appends the leaves that follow.
    pub(super) fn append(&mut self, piece: Piece) -> Result<(), RangeError> {
        for (level, node) in piece.subtrees {
            self.tile.append_subtree(level, node)?;
            // Subtrees are aligned and at most a tile, so none reaches beyond the tile: it is exactly full
            // here.
            if self.tile.size() >= WIDTH {
                let root = self.tile.root();
                self.tiles.append_subtree(TILE_HEIGHT, root)?;
                self.tile = CompactRange::new();
                if let Some(roots) = &mut self.tile_roots {
                    roots.push(root);
                }
            }
            // No subtree reaches across a wanted size, so every wanted size is met here.
            self.keep_root();
        }
        Ok(())
    }

    fn keep_root(&mut self) {
        if self.wanted.has(self.size()) {
            self.roots.insert(self.size(), self.root());
        }
    }

    /// The sizes at which its root is wanted.
    pub(super) fn wanted(&self) -> Wanted {
        self.wanted.clone()
    }

    /// The number of its leaves.
    pub(super) fn size(&self) -> u64 {
        self.tiles.size() + self.tile.size()
    }

    /// The root at its present size.
    pub(super) fn root(&self) -> NodeHash {
        if self.tile.size() == 0 {
            return self.tiles.root();
        }
        // The tile that is not full is the right edge. It joins with the subtrees before it, the smallest
        // first.
        self.tiles.parts().iter().rev().fold(self.tile.root(), |right, left| node_hash(left, &right))
    }

    /// The root at a size that was wanted, if the walk reached it.
    pub(super) fn root_at(&self, size: u64) -> Option<NodeHash> {
        self.roots.get(&size).copied()
    }

    /// The roots of the full tiles, if all of them were walked.
    pub(super) fn tile_roots(&self) -> Option<&[NodeHash]> {
        self.tile_roots.as_deref()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::merkle::leaf_hash;

    fn leaves(count: u64) -> Vec<NodeHash> {
        (0..count).map(|number| leaf_hash(&number.to_be_bytes())).collect()
    }

    /// The root that comes of appending leaf after leaf.
    fn root(leaves: &[NodeHash]) -> NodeHash {
        let mut range = CompactRange::new();
        leaves.iter().for_each(|leaf| range.append(*leaf));
        range.root()
    }

    /// Walks leaves in pieces of these lengths, over and over.
    fn walk(tree: &mut Tree, leaves: &[NodeHash], lengths: &[usize]) {
        let mut rest = leaves.get(usize::try_from(tree.size()).unwrap()..).unwrap();
        for length in lengths.iter().cycle() {
            if rest.is_empty() {
                break;
            }
            let (piece, after) = rest.split_at((*length).min(rest.len()));
            let wanted = tree.wanted.clone();
            let mut pushed = Piece::after(tree.size());
            piece.iter().for_each(|leaf| pushed.push(*leaf, &wanted));
            tree.append(pushed).unwrap();
            rest = after;
        }
    }

    #[test]
    fn roots_are_those_of_the_tree_wherever_the_pieces_end() {
        let leaves = leaves(1_300);
        let sizes: Vec<u64> = vec![0, 1, 2, 3, 255, 256, 257, 300, 511, 512, 700, 701, 1_024, 1_299, 1_300];
        for lengths in [&[1][..], &[7, 1, 300], &[256], &[1_024], &[1_300], &[513, 2]] {
            let mut tree = Tree::new(Wanted::new(sizes.clone()));
            walk(&mut tree, &leaves, lengths);
            for size in &sizes {
                let expected = root(&leaves[..usize::try_from(*size).unwrap()]);
                assert_eq!(tree.root_at(*size), Some(expected), "{size} {lengths:?}");
            }
            assert_eq!(tree.root(), root(&leaves));
            let tiles: Vec<NodeHash> = leaves.chunks_exact(256).map(root).collect();
            assert_eq!(tree.tile_roots(), Some(tiles.as_slice()));
        }
    }

    #[test]
    fn a_tree_goes_on_from_any_size() {
        let leaves = leaves(1_100);
        for known in [1, 5, 255, 256, 257, 300, 512, 1_000, 1_100] {
            let mut range = CompactRange::new();
            leaves.iter().take(known).for_each(|leaf| range.append(*leaf));
            let sizes = vec![known as u64, 1_001, 1_100];
            let mut tree = Tree::after(&range, Wanted::new(sizes.clone())).unwrap();
            walk(&mut tree, &leaves, &[100]);
            assert_eq!(tree.root(), root(&leaves), "{known}");
            assert_eq!(tree.root_at(known as u64), Some(range.root()));
        }
    }

    #[test]
    fn sizes_that_were_not_reached_have_no_root() {
        let mut tree = Tree::new(Wanted::new(vec![3]));
        walk(&mut tree, &leaves(2), &[1]);
        assert_eq!(tree.root_at(3), None);
    }
}
