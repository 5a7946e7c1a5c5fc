//! The right edge of a tree: all that appending needs.

use super::hash::{EMPTY_ROOT, NodeHash, node_hash};

/// Most leaves of a range, as of SQLite's row ids. Its sums stay within `u64`.
pub const SIZE_MAX: u64 = (1 << 63) - 1;

/// The roots of the perfect subtrees that the first *n* leaves fall into, the largest first: one for
/// each bit that is set in *n*.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CompactRange {
    size: u64,
    nodes: Vec<NodeHash>,
}

/// A range that cannot be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RangeError {
    /// There are more or fewer nodes than bits that are set in the size.
    #[error("a range of {size} leaves has {expected} nodes, and not {found}")]
    NodeCount {
        /// Its leaves.
        size: u64,
        /// Nodes that so many leaves have.
        expected: u32,
        /// Nodes that were given.
        found: usize,
    },
    /// It would have more than [`SIZE_MAX`] leaves.
    #[error("a range has at most {SIZE_MAX} leaves")]
    TooLarge,
    /// The subtree does not start where a subtree of its height can start.
    #[error("a subtree of height {level} cannot follow {size} leaves")]
    Unaligned {
        /// Leaves before it.
        size: u64,
        /// Its height.
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

    /// The range of these subtrees, which were chosen for this size.
    pub(super) fn of_subtrees(size: u64, nodes: Vec<NodeHash>) -> CompactRange {
        CompactRange { size, nodes }
    }

    /// Its leaves.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Its nodes, the largest first.
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

    /// As binary addition does: the new subtree joins with each last one of its own height.
    fn push(&mut self, level: u8, root: NodeHash) {
        let mut node = root;
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
