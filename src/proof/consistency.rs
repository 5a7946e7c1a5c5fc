//! The proof that a log still begins with what it was, in the form that C2SP tlog-witness sends to witnesses.

use std::fmt;

use super::check::ProofError;
use super::lines::{Lines, ProofFileError};
use crate::merkle::{NodeHash, verify_consistency};
use crate::note::{Checkpoint, SignedCheckpoint};

/// The beginning of the file, before the older size.
pub(super) const WORD: &str = "old ";

/// The proof that the log of a checkpoint begins with the log of an older size. The text form is exact: a parsed
/// proof prints as the same bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConsistencyProof {
    /// The older size.
    pub old: u64,
    /// The hashes.
    pub hashes: Vec<NodeHash>,
    /// The newer checkpoint.
    pub checkpoint: SignedCheckpoint,
}

impl ConsistencyProof {
    /// Reads a file.
    ///
    /// # Errors
    /// If it is no proof of consistency; the error names the line.
    pub fn parse(file: &[u8]) -> Result<ConsistencyProof, ProofFileError> {
        let mut lines = Lines::of(file)?;
        let old = lines.take_number(WORD, "`old` and the older size")?;
        Ok(ConsistencyProof { old, hashes: lines.take_hashes()?, checkpoint: lines.take_checkpoint()? })
    }

    /// Checks that the log of the newer checkpoint begins with the log of the older one. The caller checks the
    /// signatures of both.
    ///
    /// # Errors
    /// If the proof does not show it, or is about another log or size.
    pub fn check(&self, old: &Checkpoint) -> Result<(), ProofError> {
        let new = &self.checkpoint;
        if old.origin() != new.origin() {
            return Err(ProofError::Origin { old: old.origin().to_owned(), new: new.origin().to_owned() });
        }
        if old.size() != self.old {
            return Err(ProofError::OldSize { expected: self.old, found: old.size() });
        }
        self.check_root(old.root())
    }

    /// Checks the proof with the older root alone, which the caller knows to be this log's at the older size.
    ///
    /// # Errors
    /// If the proof does not show it.
    pub fn check_root(&self, old_root: &NodeHash) -> Result<(), ProofError> {
        let new = &self.checkpoint;
        verify_consistency(self.old, new.size(), old_root, new.root(), &self.hashes)
            .map_err(ProofError::Consistency)
    }
}

impl fmt::Display for ConsistencyProof {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{WORD}{}", self.old)?;
        self.hashes.iter().try_for_each(|hash| writeln!(f, "{hash}"))?;
        write!(f, "\n{}", self.checkpoint)
    }
}
