//! The hashes of leaves and nodes.

use std::fmt;
use std::str::FromStr;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest, Sha256};

/// Bytes of a hash.
pub const HASH_BYTES: usize = 32;

/// The byte that is hashed before a leaf. It differs from that of a node, so no leaf has the hash of a node.
const LEAF_PREFIX: u8 = 0x00;
/// The byte that is hashed before the two halves of a node.
const NODE_PREFIX: u8 = 0x01;

/// The root of the tree without leaves: SHA-256 of nothing.
pub const EMPTY_ROOT: NodeHash = NodeHash([
    0xe3, 0xb0, 0xc4, 0x42, 0x98, 0xfc, 0x1c, 0x14, 0x9a, 0xfb, 0xf4, 0xc8, 0x99, 0x6f, 0xb9, 0x24, 0x27,
    0xae, 0x41, 0xe4, 0x64, 0x9b, 0x93, 0x4c, 0xa4, 0x95, 0x99, 0x1b, 0x78, 0x52, 0xb8, 0x55,
]);

/// The hash of a leaf or of a node: the root of a subtree.
///
/// The text form is standard base64, as in checkpoints and proofs; a hash is parsed from that one text only.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct NodeHash([u8; HASH_BYTES]);

impl NodeHash {
    /// The hash with these bytes.
    pub const fn from_bytes(bytes: [u8; HASH_BYTES]) -> NodeHash {
        NodeHash(bytes)
    }

    /// The bytes of the hash.
    pub const fn bytes(&self) -> &[u8; HASH_BYTES] {
        &self.0
    }
}

impl fmt::Display for NodeHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&STANDARD.encode(self.0))
    }
}

impl fmt::Debug for NodeHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("NodeHash(")?;
        for byte in self.0 {
            write!(f, "{byte:02x}")?;
        }
        f.write_str(")")
    }
}

/// A text that is not a hash.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("is not the base64 of a hash of 32 bytes")]
pub struct ParseHashError;

impl FromStr for NodeHash {
    type Err = ParseHashError;

    fn from_str(text: &str) -> Result<NodeHash, ParseHashError> {
        // The decoder refuses a lack of padding and bits that are left over, so no other text has this hash.
        let bytes = STANDARD.decode(text).map_err(|_| ParseHashError)?;
        bytes.try_into().map(NodeHash).map_err(|_| ParseHashError)
    }
}

/// The hash of a leaf.
pub fn leaf_hash(leaf: &[u8]) -> NodeHash {
    leaf_hash_of(&[leaf])
}

/// The hash of the leaf that consists of these parts, one after the other.
pub(crate) fn leaf_hash_of(parts: &[&[u8]]) -> NodeHash {
    let mut hasher = Sha256::new();
    hasher.update([LEAF_PREFIX]);
    for part in parts {
        hasher.update(part);
    }
    NodeHash(hasher.finalize().into())
}

/// The hash of a node with these subtrees.
pub fn node_hash(left: &NodeHash, right: &NodeHash) -> NodeHash {
    // In one piece: the hasher's buffer is visited once instead of three times.
    let mut node = [NODE_PREFIX; 1 + 2 * HASH_BYTES];
    node[1..=HASH_BYTES].copy_from_slice(&left.0);
    node[1 + HASH_BYTES..].copy_from_slice(&right.0);
    NodeHash(Sha256::digest(node).into())
}
