//! Checkpoints as signed notes.

use std::fmt;
use std::str::FromStr;

use super::checkpoint::{Checkpoint, CheckpointError};
use super::key::{SigningKey, VerifierKey};
use super::signature::Signature;
use super::signed::{SignatureError, SignedBy, SignedNote};
use crate::merkle::NodeHash;

/// A checkpoint and the signatures on it: the log's, and those of witnesses. Its text form is exact.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignedCheckpoint {
    note: SignedNote,
    checkpoint: Checkpoint,
}

impl SignedCheckpoint {
    /// Makes a checkpoint without signatures.
    pub fn unsigned(checkpoint: Checkpoint) -> SignedCheckpoint {
        let note = SignedNote::of_text(checkpoint.to_string());
        SignedCheckpoint { note, checkpoint }
    }

    /// The log's name for itself.
    pub fn origin(&self) -> &str {
        self.checkpoint.origin()
    }

    /// Number of leaves of the tree.
    pub fn size(&self) -> u64 {
        self.checkpoint.size()
    }

    /// The root of the tree of that size.
    pub fn root(&self) -> &NodeHash {
        self.checkpoint.root()
    }

    /// The checkpoint that is signed.
    pub fn checkpoint(&self) -> &Checkpoint {
        &self.checkpoint
    }

    /// The note that holds the checkpoint's text.
    pub fn note(&self) -> &SignedNote {
        &self.note
    }

    /// The text of the note, with the newline at its end.
    pub fn text(&self) -> &str {
        self.note.text()
    }

    /// All signatures, of known and unknown keys, in the order of the lines.
    pub fn signatures(&self) -> &[Signature] {
        self.note.signatures()
    }

    /// Signs the checkpoint. An earlier signature by the same key is removed.
    pub fn sign(&mut self, key: &SigningKey) {
        self.note.sign(key);
    }

    /// Adds signatures at the end, such as those of a witness's answer. Earlier ones by the same keys are
    /// removed. The signatures are not verified here.
    pub fn add_signatures(&mut self, signatures: impl IntoIterator<Item = Signature>) {
        signatures.into_iter().for_each(|signature| self.note.add(signature));
    }

    /// Returns the keys that signed the checkpoint, as [`SignedNote::verify`] does. The caller must know
    /// whether a key may sign for this origin.
    ///
    /// # Errors
    /// If none of the keys signed, or if a signature with the name and id of one of them is bad.
    pub fn verify<'k>(&self, keys: &'k [VerifierKey]) -> Result<Vec<SignedBy<'k>>, SignatureError> {
        self.note.verify(keys)
    }
}

impl TryFrom<SignedNote> for SignedCheckpoint {
    type Error = CheckpointError;

    fn try_from(note: SignedNote) -> Result<SignedCheckpoint, CheckpointError> {
        let checkpoint = note.text().parse()?;
        Ok(SignedCheckpoint { note, checkpoint })
    }
}

impl FromStr for SignedCheckpoint {
    type Err = CheckpointError;

    fn from_str(text: &str) -> Result<SignedCheckpoint, CheckpointError> {
        text.parse::<SignedNote>()?.try_into()
    }
}

impl fmt::Display for SignedCheckpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.note.fmt(f)
    }
}
