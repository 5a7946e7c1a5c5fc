//! The Merkle tree of RFC 6962, section 2.1, with SHA-256. Signed checkpoints cover its root, and its proofs show an
//! event to somebody without the log.
//!
//! ```text
//! leaves ─▶ leaf_hash ─▶ CompactRange ─▶ root            appending: the right edge is all it needs
//!               │
//!               ▼
//!            tiles ─▶ HashReader ─▶ root_at, inclusion_proof, consistency_proof
//!                                          │
//!                                          ▼
//!                              verify_inclusion, verify_consistency   no log, no tiles
//! ```
//!
//! Leaves are counted from 0. All sizes and indexes are `u64`, and no input makes anything here panic.

mod hash;
mod proof;
mod range;
mod tile;
mod build;

#[cfg(test)]
mod naive;
#[cfg(test)]
mod tests;

pub(crate) use build::compact_range_at;
pub use build::{BuildError, HashReader, consistency_proof, inclusion_proof, root_at};
pub(crate) use hash::leaf_hash_of;
pub use hash::{EMPTY_ROOT, HASH_BYTES, NodeHash, ParseHashError, leaf_hash, node_hash};
pub use proof::{ConsistencyError, InclusionError, verify_consistency, verify_inclusion};
pub use range::{CompactRange, RangeError, SIZE_MAX, root_of};
pub(crate) use tile::bundle_path;
pub use tile::{
    TILE_HEIGHT, TILE_WIDTH, Tile, TilesOf, hashes_from_bytes, hashes_to_bytes, tiles_between, tiles_of,
};
