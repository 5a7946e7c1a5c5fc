//! RFC 6962, section 2.1, written down word for word: slow, and plainly right.

use super::{EMPTY_ROOT, HashReader, NodeHash, node_hash};

/// The largest power of two smaller than `n`.
fn split(n: usize) -> usize {
    let mut k = 1;
    while 2 * k < n {
        k *= 2;
    }
    k
}

/// `MTH(D[n])`, of hashes of leaves.
pub(super) fn root(d: &[NodeHash]) -> NodeHash {
    match d {
        [] => EMPTY_ROOT,
        [leaf] => *leaf,
        _ => {
            let (left, right) = d.split_at(split(d.len()));
            node_hash(&root(left), &root(right))
        }
    }
}

/// `PATH(m, D[n])`.
pub(super) fn path(m: usize, d: &[NodeHash]) -> Vec<NodeHash> {
    if d.len() == 1 {
        return Vec::new();
    }
    let k = split(d.len());
    let (left, right) = d.split_at(k);
    let (mut path, last) =
        if m < k { (path(m, left), root(right)) } else { (path(m - k, right), root(left)) };
    path.push(last);
    path
}

/// `PROOF(m, D[n])`, for 0 < m <= n.
pub(super) fn proof(m: usize, d: &[NodeHash]) -> Vec<NodeHash> {
    subproof(m, d, true)
}

fn subproof(m: usize, d: &[NodeHash], b: bool) -> Vec<NodeHash> {
    if m == d.len() {
        return if b { Vec::new() } else { vec![root(d)] };
    }
    let k = split(d.len());
    let (left, right) = d.split_at(k);
    let (mut proof, last) = if m <= k {
        (subproof(m, left, b), root(right))
    } else {
        (subproof(m - k, right, false), root(left))
    };
    proof.push(last);
    proof
}

/// `PATH(m, D[n])` for each *m* from 0 to *n* - 1. The recursion is the same, but paths that need the root of the
/// same half share it.
pub(super) fn paths(d: &[NodeHash]) -> Vec<Vec<NodeHash>> {
    if d.len() == 1 {
        return vec![Vec::new()];
    }
    let (left, right) = d.split_at(split(d.len()));
    let (mut below_left, mut below_right) = (paths(left), paths(right));
    let (left, right) = (root(left), root(right));
    below_left.iter_mut().for_each(|path| path.push(right));
    below_right.iter_mut().for_each(|path| path.push(left));
    [below_left, below_right].concat()
}

/// `PROOF(m, D[n])` for each *m* from 1 to *n*.
pub(super) fn proofs(d: &[NodeHash]) -> Vec<Vec<NodeHash>> {
    subproofs(d, true)
}

fn subproofs(d: &[NodeHash], b: bool) -> Vec<Vec<NodeHash>> {
    let whole = if b { Vec::new() } else { vec![root(d)] };
    if d.len() == 1 {
        return vec![whole];
    }
    let (left, right) = d.split_at(split(d.len()));
    let (mut below_left, mut below_right) = (subproofs(left, b), subproofs(right, false));
    let (left, right) = (root(left), root(right));
    below_left.iter_mut().for_each(|proof| proof.push(right));
    below_right.iter_mut().for_each(|proof| proof.push(left));
    // The last of these is for m = n below the right half. The RFC has another rule for m = n here.
    let mut proofs = [below_left, below_right].concat();
    proofs.truncate(d.len() - 1);
    proofs.push(whole);
    proofs
}

/// A reader that computes hashes from those of the leaves, and records which tiles it is asked for.
pub(super) struct Leaves<'a> {
    pub(super) hashes: &'a [NodeHash],
    pub(super) reads: Vec<(u8, u64)>,
}

impl<'a> Leaves<'a> {
    pub(super) fn of(hashes: &'a [NodeHash]) -> Leaves<'a> {
        Leaves { hashes, reads: Vec::new() }
    }
}

impl HashReader for Leaves<'_> {
    type Error = std::convert::Infallible;

    fn read(&mut self, level: u8, start: u64, count: u16) -> Result<Vec<NodeHash>, Self::Error> {
        assert!(start % 256 + u64::from(count) <= 256, "{count} hashes from {start} cross the end of a tile");
        self.reads.push((level, start / 256));
        let leaves = 256_usize.pow(level.into());
        let from = usize::try_from(start).unwrap() * leaves;
        let hashes = &self.hashes[from..from + usize::from(count) * leaves];
        Ok(hashes.chunks(leaves).map(root).collect())
    }
}
