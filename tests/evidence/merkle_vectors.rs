//! Trees against a published log, and against another implementation.

#![allow(clippy::cast_possible_truncation)]

use crate::support::published;
use std::cell::RefCell;
use std::convert::Infallible;

use annals::merkle::{
    CompactRange, EMPTY_ROOT, HashReader, NodeHash, Tile, consistency_proof, hashes_from_bytes,
    inclusion_proof, leaf_hash, root_at, tiles_between, verify_consistency, verify_inclusion,
};
use tlog_tiles::{Hash, stored_hash_index};

/// The leaves of the log that the tests of Tessera (transparency-dev/tessera, `testdata/build_log.sh`)
/// build and check in.
const TESSERA: [&str; 15] = [
    "one", "two", "three", "four", "five", "six", "seven", "eit", "nain", "ten", "ileven", "twelf",
    "threeten", "fourten", "fivten",
];

#[test]
fn the_published_log_of_tessera_has_its_root() {
    let mut range = CompactRange::new();
    for leaf in TESSERA {
        range.append(leaf_hash(leaf.as_bytes()));
    }
    assert_eq!(range.size(), 15);
    assert_eq!(range.root().to_string(), "rKbDipCvhuX1GZ7g5BBe8sA6BbJ7ja/1nk427v383cs=");
}

/// A tree in the other implementation's storage: all its hashes, in the order of their completion.
#[derive(Default)]
struct Stored(RefCell<Vec<Hash>>);

impl Stored {
    fn with(size: u64) -> Stored {
        let stored = Stored::default();
        for number in 0..size {
            let hashes = tlog_tiles::stored_hashes(number, &number.to_be_bytes(), &stored).unwrap();
            stored.0.borrow_mut().extend(hashes);
        }
        stored
    }
}

impl tlog_tiles::HashReader for Stored {
    fn read_hashes(&self, indexes: &[u64]) -> Result<Vec<Hash>, tlog_tiles::Error> {
        let hashes = self.0.borrow();
        Ok(indexes.iter().map(|index| hashes[usize::try_from(*index).unwrap()]).collect())
    }
}

/// The same storage read by tiles.
impl HashReader for &Stored {
    type Error = Infallible;

    fn read(&mut self, level: u8, start: u64, count: u16) -> Result<Vec<NodeHash>, Infallible> {
        let hashes = self.0.borrow();
        let at = |number| hashes[usize::try_from(stored_hash_index(8 * level, number)).unwrap()];
        Ok((start..start + u64::from(count)).map(|number| ours(at(number))).collect())
    }
}

fn ours(hash: Hash) -> NodeHash {
    NodeHash::from_bytes(hash.0)
}

fn theirs(hash: &NodeHash) -> Hash {
    Hash(*hash.bytes())
}

/// Small sizes, and those at the edges of tiles.
const SIZES: [u64; 19] =
    [1, 2, 3, 7, 8, 15, 100, 255, 256, 257, 511, 512, 513, 1_000, 65_535, 65_536, 65_537, 65_792, 70_000];

#[test]
fn roots_and_proofs_are_those_of_another_implementation() {
    let stored = Stored::with(70_000);
    for size in SIZES {
        let root = root_at(&mut &stored, size).unwrap();
        assert_eq!(theirs(&root), tlog_tiles::tree_hash(size, &stored).unwrap(), "{size}");
        for index in [0, 1, size / 3, size / 2, size - 1].into_iter().filter(|index| *index < size) {
            let proof = inclusion_proof(&mut &stored, index, size).unwrap();
            let expected = tlog_tiles::prove_record(size, index, &stored).unwrap();
            assert_eq!(proof.iter().map(theirs).collect::<Vec<_>>(), expected, "{index} in {size}");
            let leaf = leaf_hash(&index.to_be_bytes());
            verify_inclusion(index, size, &leaf, &proof, &root).unwrap();
            tlog_tiles::check_record(&expected, size, theirs(&root), index, theirs(&leaf)).unwrap();
        }
        for old in SIZES.into_iter().filter(|old| *old <= size) {
            let proof = consistency_proof(&mut &stored, old, size).unwrap();
            let expected = tlog_tiles::prove_tree(size, old, &stored).unwrap();
            assert_eq!(proof.iter().map(theirs).collect::<Vec<_>>(), expected, "{old} to {size}");
            let old_root = root_at(&mut &stored, old).unwrap();
            verify_consistency(old, size, &old_root, &root, &proof).unwrap();
            tlog_tiles::check_tree(&expected, size, theirs(&root), old, theirs(&old_root)).unwrap();
        }
    }
}

#[test]
fn tiles_are_those_of_another_implementation() {
    let stored = Stored::with(70_000);
    for (old, new) in SIZES.into_iter().flat_map(|old| SIZES.map(|new| (old, new))).chain([(0, 70_000)]) {
        let tiles: Vec<Tile> = tiles_between(old, new).collect();
        let expected = if old < new { tlog_tiles::Tile::new_tiles(8, old, new) } else { Vec::new() };
        // It writes the height into the path, which the present specification leaves out.
        let paths: Vec<String> =
            tiles.iter().map(|tile| tile.to_string().replacen("tile/", "tile/8/", 1)).collect();
        let expected_paths: Vec<String> = expected.iter().map(tlog_tiles::Tile::path).collect();
        assert_eq!(paths, expected_paths, "{old} to {new}");
        for (tile, expected) in tiles.iter().zip(&expected).filter(|_| old == 0) {
            let hashes = (&stored).read(tile.level, tile.start(), tile.width).unwrap();
            let bytes = expected.read_data(&stored).unwrap();
            assert_eq!(hashes_from_bytes(&bytes), Some(hashes), "{tile}");
        }
    }
}

/// The hash that a vector names. Some have words in its place, which stand for any hash.
fn named(value: &serde_json::Value) -> NodeHash {
    use base64::Engine as _;
    let bytes = base64::engine::general_purpose::STANDARD.decode(value.as_str().unwrap()).unwrap();
    <[u8; 32]>::try_from(bytes.as_slice()).map_or_else(|_| leaf_hash(&bytes), NodeHash::from_bytes)
}

fn proof(vector: &serde_json::Value) -> Vec<NodeHash> {
    vector["proof"].as_array().into_iter().flatten().map(named).collect()
}

#[test]
fn proofs_of_transparency_dev_hold_that_should_and_no_others() {
    let Some(files) = published::published_files("merkle/testdata") else { return };
    let mut judged = 0;
    for file in files {
        let vector: serde_json::Value = serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
        let proof = proof(&vector);
        let number = |name: &str| vector[name].as_u64().unwrap();
        let is_good = vector["wantErr"] == false;
        let (holds, is_good) = if vector["size1"].is_null() {
            let (leaf, root) = (named(&vector["leafHash"]), named(&vector["root"]));
            let holds = verify_inclusion(number("leafIdx"), number("treeSize"), &leaf, &proof, &root).is_ok();
            // Nothing is no hash, and stands for one here.
            (holds, is_good || vector["root"] == "" && vector["leafHash"] == "")
        } else {
            let (old, new) = (number("size1"), number("size2"));
            let (old_root, new_root) = (named(&vector["root1"]), named(&vector["root2"]));
            let holds = verify_consistency(old, new, &old_root, &new_root, &proof).is_ok();
            // Its authors refuse an older log of no events; witnesses take one, and so do we.
            let from_nothing = old == 0 && new > 0 && old_root == EMPTY_ROOT && proof.is_empty();
            (holds, is_good || from_nothing)
        };
        assert_eq!(holds, is_good, "{}", file.display());
        judged += 1;
    }
    assert_eq!(judged, 196);
}
