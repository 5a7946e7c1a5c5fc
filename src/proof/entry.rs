//! The proof that one event is in the log: a C2SP tlog-proof.

use std::fmt;

use super::check::ProofError;
use super::leaf::{CheckedEvent, LeafProof};
use super::lines::{Lines, ProofFileError};
use crate::note::SignedCheckpoint;

/// The first line of the file, as <https://c2sp.org/tlog-proof> has it.
pub(super) const HEADER: &str = "c2sp.org/tlog-proof@v1";

/// The proof that one event is in the log. The text form is exact: a parsed proof prints as the same bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EntryProof {
    /// The event, and the path from it to the checkpoint's root.
    pub event: LeafProof,
    /// The checkpoint whose root the path leads to.
    pub checkpoint: SignedCheckpoint,
}

impl EntryProof {
    /// Reads a file.
    ///
    /// # Errors
    /// If it is no proof of an event; the error names the line.
    pub fn parse(file: &[u8]) -> Result<EntryProof, ProofFileError> {
        let mut lines = Lines::of(file)?;
        lines.take_one_of(&[HEADER], "`c2sp.org/tlog-proof@v1`")?;
        let event = LeafProof::take(&mut lines)?;
        Ok(EntryProof { event, checkpoint: lines.take_checkpoint()? })
    }

    /// Checks everything except the signatures of the checkpoint.
    ///
    /// # Errors
    /// If the event is not shown to be in the log.
    pub fn check(&self) -> Result<CheckedEvent, ProofError> {
        self.event.check(&self.checkpoint)
    }
}

impl fmt::Display for EntryProof {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{HEADER}\n{}{}", self.event, self.checkpoint)
    }
}
