//! Trees compared with the RFC's own recursion: every small one, and some large ones.

use std::cell::RefCell;
use std::sync::LazyLock;

use proptest::prelude::*;

use super::naive::{self, Leaves};
use super::*;

fn leaves(count: u64) -> Vec<NodeHash> {
    (0..count).map(|number| leaf_hash(&number.to_be_bytes())).collect()
}

fn other(hash: &NodeHash) -> NodeHash {
    let mut bytes = *hash.bytes();
    bytes[17] ^= 0x40;
    NodeHash::from_bytes(bytes)
}

/// Returns true if a test tries a proof: all proofs of the smallest trees, and a seventh of the others, which still
/// comes to all positions in all forms of trees. `tools/test --heavy` tries all.
fn is_tried(place: usize, size: usize) -> bool {
    static HEAVY: LazyLock<bool> =
        LazyLock::new(|| std::env::var_os("ANNALS_TEST_HEAVY").is_some_and(|value| value == "1"));
    size <= 64 || (place + size).is_multiple_of(7) || *HEAVY
}

/// Proofs that differ from this one by one hash, which is changed, missing or added.
fn spoilt(proof: &[NodeHash]) -> impl Iterator<Item = Vec<NodeHash>> {
    let without = (0..proof.len()).map(|place| [&proof[..place], &proof[place + 1..]].concat());
    let changed = (0..proof.len()).map(|place| {
        let mut proof = proof.to_vec();
        proof[place] = other(&proof[place]);
        proof
    });
    let with = (0..=proof.len()).map(|place| {
        let mut proof = proof.to_vec();
        proof.insert(place, leaf_hash(b"one too many"));
        proof
    });
    let twice = (0..proof.len()).map(|place| {
        let mut proof = proof.to_vec();
        proof.insert(place, proof[place]);
        proof
    });
    without.chain(changed).chain(with).chain(twice)
}

#[test]
fn the_empty_root_is_the_hash_of_nothing() {
    use sha2::Digest;
    assert_eq!(EMPTY_ROOT.bytes(), &<[u8; 32]>::from(sha2::Sha256::digest([])));
    assert_eq!(CompactRange::new().root(), EMPTY_ROOT);
    assert_eq!(root_of([]), EMPTY_ROOT);
    assert_eq!(root_at(&mut Leaves::of(&[]), 0), Ok(EMPTY_ROOT));
}

#[test]
fn a_hash_is_written_as_one_text_only() {
    let text = EMPTY_ROOT.to_string();
    assert_eq!(text, "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=");
    assert_eq!(text.parse(), Ok(EMPTY_ROOT));
    let others = [
        "",
        "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU",
        "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFV=",
        "47DEQpj8HBSa-_TImW-5JCeuQeRkm5NMpJWZG3hSuFU=",
        " 47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=",
        "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuA==",
        "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFUA",
    ];
    for other in others {
        assert_eq!(other.parse::<NodeHash>(), Err(ParseHashError), "{other}");
    }
}

#[test]
fn every_small_tree_has_the_root_of_the_rfc() {
    let all = leaves(300);
    let mut range = CompactRange::new();
    for size in 1..=all.len() {
        range.append(all[size - 1]);
        let (mut reader, n) = (Leaves::of(&all[..size]), size as u64);
        let root = naive::root(&all[..size]);
        assert_eq!(range.root(), root, "{size}");
        assert_eq!(root_at(&mut reader, n), Ok(root), "{size}");
        assert_eq!(compact_range_at(&mut reader, n).as_ref(), Ok(&range), "{size}");
        assert_eq!(CompactRange::from_parts(n, range.parts().to_vec()).as_ref(), Ok(&range), "{size}");
    }
}

#[test]
fn every_small_tree_has_the_proofs_of_inclusion_of_the_rfc() {
    let all = leaves(300);
    for size in 1..=all.len() {
        let (mut reader, n) = (Leaves::of(&all[..size]), size as u64);
        let root = naive::root(&all[..size]);
        for (index, expected) in naive::paths(&all[..size]).into_iter().enumerate() {
            let m = index as u64;
            assert_eq!(verify_inclusion(m, n, &all[index], &expected, &root), Ok(()), "{index} in {size}");
            if is_tried(index, size) {
                assert_eq!(inclusion_proof(&mut reader, m, n), Ok(expected), "{index} in {size}");
            }
        }
    }
}

#[test]
fn every_small_tree_has_the_proofs_of_consistency_of_the_rfc() {
    let all = leaves(300);
    let roots: Vec<NodeHash> = (0..=all.len()).map(|size| naive::root(&all[..size])).collect();
    for size in 1..=all.len() {
        let (mut reader, n) = (Leaves::of(&all[..size]), size as u64);
        for (old, expected) in (1..).zip(naive::proofs(&all[..size])) {
            let m = old as u64;
            let verdict = verify_consistency(m, n, &roots[old], &roots[size], &expected);
            assert_eq!(verdict, Ok(()), "{old} to {size}");
            if is_tried(old, size) {
                assert_eq!(consistency_proof(&mut reader, m, n), Ok(expected), "{old} to {size}");
            }
        }
    }
}

#[test]
fn every_other_proof_of_inclusion_is_refused() {
    let all = leaves(64);
    for size in 1..=all.len() {
        let (hashes, n) = (&all[..size], size as u64);
        let root = naive::root(hashes);
        for index in 0..size {
            let m = index as u64;
            let (leaf, proof) = (hashes[index], naive::path(index, hashes));
            let check = |m, n, leaf: &NodeHash, proof: &[NodeHash], root: &NodeHash| {
                assert!(
                    verify_inclusion(m, n, leaf, proof, root).is_err(),
                    "{index} in {size}, as {m} in {n}"
                );
            };
            for place in (0..=n).filter(|place| *place != m) {
                check(place, n, &leaf, &proof, &root);
            }
            for proof in spoilt(&proof) {
                check(m, n, &leaf, &proof, &root);
            }
            check(m, n, &other(&leaf), &proof, &root);
            check(m, n, &leaf, &proof, &other(&root));
            // A tree of another size may have a path of the same form, but the path does not lead to its root.
            for other_size in (0..=all.len()).filter(|other_size| *other_size != size) {
                check(m, other_size as u64, &leaf, &proof, &naive::root(&all[..other_size]));
            }
        }
    }
}

#[test]
fn every_other_proof_of_consistency_is_refused() {
    let all = leaves(64);
    let roots: Vec<NodeHash> = (0..=all.len()).map(|size| naive::root(&all[..size])).collect();
    for new in 1..=all.len() {
        for old in 1..=new {
            let proof = naive::proof(old, &all[..new]);
            let check = |m: usize, n: usize, old_root: &NodeHash, new_root: &NodeHash, proof: &[NodeHash]| {
                let verdict = verify_consistency(m as u64, n as u64, old_root, new_root, proof);
                assert!(verdict.is_err(), "{old} to {new}, as {m} to {n}");
            };
            for proof in spoilt(&proof) {
                check(old, new, &roots[old], &roots[new], &proof);
            }
            check(old, new, &other(&roots[old]), &roots[new], &proof);
            check(old, new, &roots[old], &other(&roots[new]), &proof);
            if old < new {
                check(old, new, &roots[new], &roots[old], &proof);
                check(new, old, &roots[new], &roots[old], &proof);
                check(old, new, &roots[new], &roots[new], &proof);
                check(old, new, &roots[old], &roots[old], &proof);
            }
            for m in (0..=new).filter(|m| *m != old) {
                check(m, new, &roots[old], &roots[new], &proof);
            }
        }
    }
}

#[test]
fn every_tree_begins_with_the_empty_one() {
    let all = leaves(9);
    let root = naive::root(&all);
    assert_eq!(consistency_proof(&mut Leaves::of(&all), 0, 9), Ok(Vec::new()));
    assert_eq!(verify_consistency(0, 9, &EMPTY_ROOT, &root, &[]), Ok(()));
    assert_eq!(verify_consistency(0, 0, &EMPTY_ROOT, &EMPTY_ROOT, &[]), Ok(()));
    assert_eq!(verify_consistency(0, 9, &root, &root, &[]), Err(ConsistencyError::OldRoot));
    assert_eq!(verify_consistency(0, 0, &EMPTY_ROOT, &root, &[]), Err(ConsistencyError::NewRoot));
    let long = ConsistencyError::Length { expected: 0, found: 1 };
    assert_eq!(verify_consistency(0, 9, &EMPTY_ROOT, &root, &[root]), Err(long.clone()));
    assert_eq!(verify_consistency(9, 9, &root, &root, &[root]), Err(long));
}

#[test]
fn what_no_tree_has_is_refused() {
    let all = leaves(9);
    let mut reader = Leaves::of(&all);
    assert_eq!(inclusion_proof(&mut reader, 9, 9), Err(BuildError::IndexOutside { index: 9, size: 9 }));
    assert_eq!(inclusion_proof(&mut reader, 0, 0), Err(BuildError::IndexOutside { index: 0, size: 0 }));
    assert_eq!(consistency_proof(&mut reader, 9, 8), Err(BuildError::SizesReversed { old: 9, new: 8 }));
    assert_eq!(reader.reads, []);
}

/// A reader that returns one hash less than it is asked for, or an error.
struct Faulty(bool);

impl HashReader for Faulty {
    type Error = &'static str;

    fn read(&mut self, _: u8, _: u64, count: u16) -> Result<Vec<NodeHash>, &'static str> {
        if self.0 { Err("the disk is gone") } else { Ok(vec![EMPTY_ROOT; usize::from(count) - 1]) }
    }
}

#[test]
fn a_reader_that_fails_is_not_covered_up() {
    assert_eq!(root_at(&mut Faulty(true), 7), Err(BuildError::Read("the disk is gone")));
    let tile = Tile { level: 0, index: 0, width: 7 };
    assert_eq!(inclusion_proof(&mut Faulty(false), 3, 7), Err(BuildError::Count { tile, found: 6 }));
    assert_eq!(consistency_proof(&mut Faulty(false), 3, 7), Err(BuildError::Count { tile, found: 6 }));
}

/// A tree in which all leaves are the same, so that a subtree's root depends on its height alone.
struct Uniform {
    roots: Vec<NodeHash>,
    reads: RefCell<Vec<(u8, u64)>>,
}

impl Uniform {
    fn new() -> Uniform {
        let roots = std::iter::successors(Some(leaf_hash(b"")), |root| Some(node_hash(root, root)));
        Uniform { roots: roots.take(64).collect(), reads: RefCell::default() }
    }
}

impl HashReader for &Uniform {
    type Error = std::convert::Infallible;

    fn read(&mut self, level: u8, start: u64, count: u16) -> Result<Vec<NodeHash>, Self::Error> {
        self.reads.borrow_mut().push((level, start / 256));
        Ok(vec![self.roots[8 * usize::from(level)]; count.into()])
    }
}

#[test]
fn sizes_up_to_the_last_one_have_proofs() {
    let tree = Uniform::new();
    let leaf = tree.roots[0];
    for size in [1 << 40, (1 << 63) - 1, 1 << 63, (1 << 63) + 1, u64::MAX - 1, u64::MAX] {
        let root = root_at(&mut &tree, size).unwrap();
        for index in [0, 1, 255, 256, size / 3, size / 2, size - 2, size - 1] {
            let proof = inclusion_proof(&mut &tree, index, size).unwrap();
            assert_eq!(verify_inclusion(index, size, &leaf, &proof, &root), Ok(()), "{index} in {size}");
        }
        for old in [1, 2, 255, 256, 257, size / 3, size / 2, size - 1, size] {
            let old_root = root_at(&mut &tree, old).unwrap();
            let proof = consistency_proof(&mut &tree, old, size).unwrap();
            assert_eq!(verify_consistency(old, size, &old_root, &root, &proof), Ok(()), "{old} to {size}");
        }
    }
}

#[test]
fn a_proof_reads_each_of_its_few_tiles_once() {
    let tree = Uniform::new();
    let size = 10_000_000;
    for place in [0, 1, 65_535, 65_536, 5_000_000, 9_999_871, size - 1] {
        for prove in [inclusion_proof, consistency_proof] {
            prove(&mut &tree, place, size).unwrap();
            let mut reads = tree.reads.take();
            assert!(reads.len() <= 5, "{place}: {reads:?}");
            let count = reads.len();
            reads.sort_unstable();
            reads.dedup();
            assert_eq!(reads.len(), count, "{place}: a tile was read twice");
        }
    }
}

#[test]
fn a_range_grows_by_subtrees_as_by_their_leaves() {
    let all = leaves(300);
    let mut by_leaf = CompactRange::new();
    let mut by_subtree = CompactRange::new();
    all.iter().for_each(|leaf| by_leaf.append(*leaf));
    for (level, from) in [(8, 0), (5, 256), (3, 288), (2, 296)] {
        by_subtree.append_subtree(level, naive::root(&all[from..from + (1 << level)])).unwrap();
    }
    assert_eq!(by_subtree, by_leaf);
    let unaligned = RangeError::Unaligned { size: 300, level: 3 };
    assert_eq!(by_leaf.append_subtree(3, EMPTY_ROOT), Err(unaligned));
    assert_eq!(by_leaf, by_subtree);
}

#[test]
fn a_range_that_cannot_be_is_refused() {
    let count = |size, found, expected| Err(RangeError::NodeCount { size, expected, found });
    assert_eq!(CompactRange::from_parts(0, vec![EMPTY_ROOT]), count(0, 1, 0));
    assert_eq!(CompactRange::from_parts(7, vec![EMPTY_ROOT; 2]), count(7, 2, 3));
    assert_eq!(CompactRange::from_parts(8, vec![EMPTY_ROOT; 2]), count(8, 2, 1));
    assert_eq!(CompactRange::from_parts(1 << 63, vec![EMPTY_ROOT]), Err(RangeError::TooLarge));
    let mut largest = CompactRange::from_parts(SIZE_MAX, vec![EMPTY_ROOT; 63]).unwrap();
    for level in [0, 1, 62, 63, 64, 255] {
        assert_eq!(largest.append_subtree(level, EMPTY_ROOT), Err(RangeError::TooLarge), "{level}");
    }
    assert_eq!(CompactRange::new().append_subtree(63, EMPTY_ROOT), Err(RangeError::TooLarge));
    assert_eq!(CompactRange::new().append_subtree(62, EMPTY_ROOT), Ok(()));
}

fn listed(size: u64) -> Vec<(u8, u64, u16)> {
    tiles_of(size).map(|tile| (tile.level, tile.index, tile.width)).collect()
}

#[test]
fn a_tree_has_the_tiles_of_the_specification() {
    assert_eq!(listed(0), []);
    assert_eq!(listed(1), [(0, 0, 1)]);
    assert_eq!(listed(255), [(0, 0, 255)]);
    assert_eq!(listed(256), [(0, 0, 256), (1, 0, 1)]);
    assert_eq!(listed(257), [(0, 0, 256), (0, 1, 1), (1, 0, 1)]);
    let full = |count: u64| (0..count).map(|index| (0, index, 256)).collect::<Vec<_>>();
    assert_eq!(listed(65_536), [full(256), vec![(1, 0, 256), (2, 0, 1)]].concat());
    let rest = vec![(0, 273, 112), (1, 0, 256), (1, 1, 17), (2, 0, 1)];
    assert_eq!(listed(70_000), [full(273), rest].concat());
}

#[test]
fn a_tree_grows_by_the_tiles_that_it_had_not() {
    let sizes = (0..=600).chain([65_535, 65_536, 65_537, 65_792, 70_000, 131_072, 131_073]);
    let sizes: Vec<u64> = sizes.step_by(7).chain([256, 257, 512, 513, 65_536]).collect();
    for old in &sizes {
        let before = listed(*old);
        for new in &sizes {
            let grown: Vec<_> =
                tiles_between(*old, *new).map(|tile| (tile.level, tile.index, tile.width)).collect();
            let mut expected = if old < new { listed(*new) } else { Vec::new() };
            expected.retain(|tile| !before.contains(tile));
            assert_eq!(grown, expected, "{old} to {new}");
        }
    }
}

#[test]
fn the_largest_tree_has_a_last_tile() {
    let mut top = tiles_between(u64::MAX - 1, u64::MAX);
    assert_eq!(top.next(), Some(Tile { level: 0, index: u64::MAX / 256, width: 255 }));
    assert_eq!(top.next(), None);
    let first = tiles_between((1 << 56) - 1, 1 << 56).last();
    assert_eq!(first, Some(Tile { level: 7, index: 0, width: 1 }));
}

#[test]
fn paths_are_those_of_the_specification() {
    let path = |level, index, width| Tile { level, index, width }.to_string();
    assert_eq!(path(0, 0, 256), "tile/0/000");
    assert_eq!(path(3, 1_234_067, 256), "tile/3/x001/x234/067");
    assert_eq!(path(1, 1_000, 17), "tile/1/x001/000.p/17");
    assert_eq!(path(0, 999, 255), "tile/0/999.p/255");
    assert_eq!(path(0, u64::MAX, 1), "tile/0/x018/x446/x744/x073/x709/x551/615.p/1");
    assert_eq!(bundle_path(1_234_067, 256), "tile/entries/x001/x234/067");
    assert_eq!(bundle_path(273, 112), "tile/entries/273.p/112");
}

#[test]
fn a_tile_is_its_hashes_one_after_the_other() {
    let hashes = leaves(3);
    let bytes = hashes_to_bytes(&hashes);
    assert_eq!(bytes.len(), 96);
    assert_eq!(hashes_from_bytes(&bytes), Some(hashes));
    assert_eq!(hashes_from_bytes(&bytes[1..]), None);
    assert_eq!(hashes_from_bytes(&[]), Some(Vec::new()));
}

/// The leaves of the largest tree that is tried, hashed once.
fn many() -> &'static [NodeHash] {
    static MANY: LazyLock<Vec<NodeHash>> = LazyLock::new(|| leaves(70_000));
    &MANY
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(8))]

    #[test]
    fn larger_trees_are_those_of_the_rfc(size in 1_usize..70_000, place in any::<prop::sample::Index>()) {
        let hashes = &many()[..size];
        let index = place.index(size);
        let (n, m) = (size as u64, index as u64);
        let mut reader = Leaves::of(hashes);
        let root = naive::root(hashes);
        prop_assert_eq!(root_of(hashes.iter().copied()), root);
        prop_assert_eq!(root_at(&mut reader, n), Ok(root));
        let path = inclusion_proof(&mut reader, m, n).unwrap();
        prop_assert_eq!(&path, &naive::path(index, hashes));
        prop_assert_eq!(verify_inclusion(m, n, &hashes[index], &path, &root), Ok(()));
        let old_root = naive::root(&hashes[..=index]);
        let proof = consistency_proof(&mut reader, m + 1, n).unwrap();
        prop_assert_eq!(&proof, &naive::proof(index + 1, hashes));
        prop_assert_eq!(verify_consistency(m + 1, n, &old_root, &root, &proof), Ok(()));
    }

    #[test]
    fn no_numbers_make_a_verifier_panic(
        a in any::<u64>(), b in any::<u64>(), shift in 0_u32..64, length in 0_usize..70,
    ) {
        let proof = vec![EMPTY_ROOT; length];
        for (a, b) in [(a, b), (a >> shift, b), (a, b >> shift), (a >> shift, b >> shift)] {
            prop_assert!(verify_inclusion(a, b, &EMPTY_ROOT, &proof, &EMPTY_ROOT).is_err() || b == 1);
            let _ = verify_consistency(a, b, &EMPTY_ROOT, &EMPTY_ROOT, &proof);
            prop_assert!(tiles_between(a.max(b) - a.max(b).min(3), a.max(b)).count() <= 16);
        }
    }
}
