//! Roots of the tree that became wanted only after the walk had passed them.

use rusqlite::Connection;

use super::error::VerifyError;
use super::hashes::{Hashes, Readable as _};
use super::tree::Tree;
use crate::merkle::{self, NodeHash};

/// The roots at sizes that became known only after the walk had passed them.
pub(super) struct PastRoots<'p> {
    connection: &'p Connection,
    tree: Option<&'p Tree>,
    pub(super) rows_read: u64,
}

impl<'p> PastRoots<'p> {
    /// The roots of the tree that was walked, if there is one.
    pub(super) fn new(connection: &'p Connection, tree: Option<&'p Tree>) -> PastRoots<'p> {
        PastRoots { connection, tree, rows_read: 0 }
    }

    /// The root at a size. None if the walk did not reach it, or if the file does not give it.
    pub(super) fn root_at(&mut self, size: u64) -> Result<Option<NodeHash>, VerifyError> {
        let Some(tree) = self.tree.filter(|tree| size <= tree.size()) else { return Ok(None) };
        if let Some(root) = tree.root_at(size) {
            return Ok(Some(root));
        }
        let mut hashes = match tree.tile_roots() {
            Some(roots) => Hashes::walked(self.connection, roots),
            None => Hashes::stored(self.connection)?,
        };
        let root = merkle::root_at(&mut hashes, size).readable()?;
        let root = match (root, tree.tile_roots()) {
            (Some(root), None) => {
                // These events were not walked, so the root is a mere claim of the file until the walked tree
                // is shown to begin with it.
                let proof = merkle::consistency_proof(&mut hashes, size, tree.size()).readable()?;
                let is_consistent = proof.is_some_and(|proof| {
                    merkle::verify_consistency(size, tree.size(), &root, &tree.root(), &proof).is_ok()
                });
                is_consistent.then_some(root)
            }
            (root, _) => root,
        };
        self.rows_read += hashes.rows_read;
        Ok(root)
    }
}
