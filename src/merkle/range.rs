//! The right edge of a tree: all that appending needs.

use super::hash::{EMPTY_ROOT, NodeHash, node_hash};

/// Most leaves of a range: the largest row id of SQLite. The sum of two sizes stays within `u64`.
pub const SIZE_MAX: u64 = (1 << 63) - 1;

/// The roots of the perfect subtrees that the first *n* leaves consist of, the largest first: one for each bit that
/// is set in *n*.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CompactRange {
    size: u64,
    nodes: Vec<NodeHash>,
}

/// The reason why a range is not possible.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RangeError {
    /// The number of nodes is not the number of bits that are set in the size.
    #[error("a range of {size} leaves has {expected} nodes, and not {found}")]
    NodeCount {
        /// The leaves of the range.
        size: u64,
        /// The nodes that a range of this size has.
        expected: u32,
        /// Nodes that were given.
        found: usize,
    },
    /// The range would have more than [`SIZE_MAX`] leaves.
    #[error("a range has at most {SIZE_MAX} leaves")]
    TooLarge,
    /// The subtree does not start where a subtree of its height can start.
    #[error("a subtree of height {level} cannot follow {size} leaves")]
    Unaligned {
        /// The leaves before the subtree.
        size: u64,
        /// The height of the subtree.
        level: u8,
    },
}

impl CompactRange {
    /// The range without leaves.
    pub fn new() -> CompactRange {
        CompactRange::default()
    }

    /// The range of `size` leaves with these nodes, the largest first.
    ///
    /// # Errors
    /// If so many leaves have another number of nodes, or are more than [`SIZE_MAX`].
    pub fn from_parts(size: u64, nodes: Vec<NodeHash>) -> Result<CompactRange, RangeError> {
        if size > SIZE_MAX {
            return Err(RangeError::TooLarge);
        }
        let expected = size.count_ones();
        if u32::try_from(nodes.len()) != Ok(expected) {
            return Err(RangeError::NodeCount { size, expected, found: nodes.len() });
        }
        Ok(CompactRange { size, nodes })
    }

    /// The range of these subtrees, which the caller chose for this size. Nothing is checked.
    pub(super) fn of_subtrees(size: u64, nodes: Vec<NodeHash>) -> CompactRange {
        CompactRange { size, nodes }
    }

    /// The number of leaves in the range.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// The nodes of the range, the largest first.
    pub fn parts(&self) -> &[NodeHash] {
        &self.nodes
    }

    /// Appends a leaf by its hash. On average that costs one hash of a node.
    pub fn append(&mut self, leaf: NodeHash) {
        self.push(0, leaf);
    }

    /// Appends the root of a perfect subtree of 2^`level` leaves.
    ///
    /// # Errors
    /// If its size is no multiple of 2^`level`, or would become larger than [`SIZE_MAX`].
    pub fn append_subtree(&mut self, level: u8, root: NodeHash) -> Result<(), RangeError> {
        let leaves = 1_u64.checked_shl(level.into()).ok_or(RangeError::TooLarge)?;
        if self.size.checked_add(leaves).is_none_or(|size| size > SIZE_MAX) {
            return Err(RangeError::TooLarge);
        }
        if !self.size.is_multiple_of(leaves) {
            return Err(RangeError::Unaligned { size: self.size, level });
        }
        self.push(level, root);
        Ok(())
    }

    /// Appends a subtree, as binary addition carries: it joins with each last subtree of its own height.
    fn push(&mut self, level: u8, root: NodeHash) {
        let mut node = root;
        // Each trailing bit that is set, from `level` on, is a subtree at the end of `nodes`; the smallest is last.
        let joins = (self.size >> level).trailing_ones() as usize;
        for left in self.nodes.drain(self.nodes.len().saturating_sub(joins)..).rev() {
            node = node_hash(&left, &node);
        }
        self.nodes.push(node);
        self.size = self.size.saturating_add(1 << level);
    }

    /// The root of the tree of its leaves.
    pub fn root(&self) -> NodeHash {
        let mut nodes = self.nodes.iter().rev();
        let Some(last) = nodes.next() else { return EMPTY_ROOT };
        // From the smallest subtree to the largest: what was joined so far is always the right half.
        nodes.fold(*last, |right, left| node_hash(left, &right))
    }
}

/// The root of the tree whose leaves, or whose subtrees of one same height, have these hashes.
pub fn root_of(hashes: impl IntoIterator<Item = NodeHash>) -> NodeHash {
    let mut range = CompactRange::new();
    for hash in hashes {
        range.append(hash);
    }
    range.root()
}
