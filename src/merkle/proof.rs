//! The verification of proofs: RFC 6962, sections 2.1.1 and 2.1.2, without the recursion.

use super::hash::{EMPTY_ROOT, NodeHash, node_hash};

/// The reason why a proof does not show that a leaf is in a tree.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InclusionError {
    /// The tree has no such leaf.
    #[error("a tree of {size} leaves has no leaf {index}")]
    IndexOutside {
        /// The leaf.
        index: u64,
        /// Leaves of the tree.
        size: u64,
    },
    /// There are more or fewer hashes than the path from the leaf to the root needs.
    #[error("the proof has {found} hashes, and must have {expected}")]
    Length {
        /// Hashes of a proof for this leaf in this tree.
        expected: usize,
        /// Hashes that were given.
        found: usize,
    },
    /// The hashes lead to another root: the leaf, the index, the proof or the root is wrong.
    #[error("the proof leads to another root")]
    Root,
}

/// The reason why a proof does not show that one tree begins with the other.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ConsistencyError {
    /// The older tree has more leaves.
    #[error("a tree of {new} leaves does not begin with one of {old}")]
    SizesReversed {
        /// Leaves of the older tree.
        old: u64,
        /// Leaves of the newer one.
        new: u64,
    },
    /// There are more or fewer hashes than these sizes need.
    #[error("the proof has {found} hashes, and must have {expected}")]
    Length {
        /// Hashes of a proof for these sizes.
        expected: usize,
        /// Hashes that were given.
        found: usize,
    },
    /// The hashes do not lead to the older tree's root.
    #[error("the proof does not lead to the older root")]
    OldRoot,
    /// The hashes do not lead to the newer tree's root.
    #[error("the proof does not lead to the newer root")]
    NewRoot,
}

/// Checks that the tree of `size` leaves with this root has, at `index`, the leaf with this hash.
///
/// # Errors
/// If the proof does not show it.
pub fn verify_inclusion(
    index: u64,
    size: u64,
    leaf: &NodeHash,
    proof: &[NodeHash],
    root: &NodeHash,
) -> Result<(), InclusionError> {
    match root_of_inclusion(index, size, leaf, proof)? == *root {
        true => Ok(()),
        false => Err(InclusionError::Root),
    }
}

/// The root that a proof of inclusion leads to.
///
/// # Errors
/// If the tree has no such leaf, or the proof does not have as many hashes as it must have.
pub(crate) fn root_of_inclusion(
    index: u64,
    size: u64,
    leaf: &NodeHash,
    proof: &[NodeHash],
) -> Result<NodeHash, InclusionError> {
    if index >= size {
        return Err(InclusionError::IndexOutside { index, size });
    }
    // Index and size fix the number of hashes, so a proof of another length is refused before anything is hashed.
    let way = Way::of(index, size);
    let expected = way.inner + way.border;
    let Some((inner, border)) = split(proof, way.inner, expected) else {
        return Err(InclusionError::Length { expected, found: proof.len() });
    };
    Ok(climb_border(climb_inner(*leaf, inner, index), border))
}

/// Checks that the tree of `new` leaves begins with the tree of `old` leaves.
///
/// Each tree begins with the empty tree, and with itself. A proof without hashes shows both.
///
/// # Errors
/// If the proof does not show it.
pub fn verify_consistency(
    old: u64,
    new: u64,
    old_root: &NodeHash,
    new_root: &NodeHash,
    proof: &[NodeHash],
) -> Result<(), ConsistencyError> {
    if old > new {
        return Err(ConsistencyError::SizesReversed { old, new });
    }
    if old == 0 || old == new {
        return verify_trivial(old, new, old_root, new_root, proof);
    }
    // The proof starts from the largest perfect subtree at the end of the older tree. If that is the whole older
    // tree, its root is known and the proof leaves it out.
    let height = old.trailing_zeros();
    let way = Way::of(old - 1, new);
    // The path begins at the root of that subtree, so the siblings inside it are left out.
    let inner = way.inner.saturating_sub(height as usize);
    let is_whole = old.is_power_of_two();
    let expected = usize::from(!is_whole) + inner + way.border;
    let length = ConsistencyError::Length { expected, found: proof.len() };
    let (seed, rest) = match proof.split_first() {
        _ if is_whole => (old_root, proof),
        Some((seed, rest)) => (seed, rest),
        None => return Err(length),
    };
    let Some((inner, border)) = split(rest, inner, inner + way.border) else { return Err(length) };
    let place = (old - 1) >> height;
    // The same hashes must lead to both roots. The older tree has only the siblings on the left; the newer tree
    // has all of them.
    if climb_border(climb_left(*seed, inner, place), border) != *old_root {
        return Err(ConsistencyError::OldRoot);
    }
    if climb_border(climb_inner(*seed, inner, place), border) != *new_root {
        return Err(ConsistencyError::NewRoot);
    }
    Ok(())
}

fn verify_trivial(
    old: u64,
    new: u64,
    old_root: &NodeHash,
    new_root: &NodeHash,
    proof: &[NodeHash],
) -> Result<(), ConsistencyError> {
    if !proof.is_empty() {
        return Err(ConsistencyError::Length { expected: 0, found: proof.len() });
    }
    // Without hashes nothing leads to the roots, so they are compared directly.
    if old == 0 && *old_root != EMPTY_ROOT {
        return Err(ConsistencyError::OldRoot);
    }
    if old == new && old_root != new_root {
        return Err(ConsistencyError::NewRoot);
    }
    Ok(())
}

/// The numbers of siblings on the path from a leaf to the root. `inner` siblings are within the smallest subtree that
/// also has the last leaf, on either side. `border` siblings are along the right border of the tree, all on the left.
struct Way {
    inner: usize,
    border: usize,
}

impl Way {
    /// The path of a leaf that the tree has.
    fn of(index: u64, size: u64) -> Way {
        // The paths of this leaf and the last leaf meet above the highest bit in which their indexes differ. Above
        // that, each bit that is set stands for a subtree on the left; a bit that is not set has no sibling.
        let inner = u64::BITS - (index ^ size.saturating_sub(1)).leading_zeros();
        let border = index.checked_shr(inner).unwrap_or(0).count_ones();
        Way { inner: inner as usize, border: border as usize }
    }
}

/// Splits the hashes after the first `inner` ones; None if there are not as many as expected.
fn split(proof: &[NodeHash], inner: usize, expected: usize) -> Option<(&[NodeHash], &[NodeHash])> {
    if proof.len() == expected { proof.split_at_checked(inner) } else { None }
}

/// Joins a node with its siblings. The bits of `place`, from the lowest on, give the side of each sibling.
fn climb_inner(mut node: NodeHash, siblings: &[NodeHash], mut place: u64) -> NodeHash {
    for sibling in siblings {
        node = if place & 1 == 0 { node_hash(&node, sibling) } else { node_hash(sibling, &node) };
        place >>= 1;
    }
    node
}

/// Joins a node as [`climb_inner`] does, but without the siblings on the right: the older tree lacks them.
fn climb_left(mut node: NodeHash, siblings: &[NodeHash], mut place: u64) -> NodeHash {
    for sibling in siblings {
        if place & 1 == 1 {
            node = node_hash(sibling, &node);
        }
        place >>= 1;
    }
    node
}

fn climb_border(node: NodeHash, siblings: &[NodeHash]) -> NodeHash {
    siblings.iter().fold(node, |right, left| node_hash(left, &right))
}
