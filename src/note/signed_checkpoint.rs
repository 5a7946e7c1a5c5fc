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
    /// A checkpoint that nobody signed yet.
    pub fn unsigned(checkpoint: Checkpoint) -> SignedCheckpoint {
        let note = SignedNote::of_text(checkpoint.to_string());
        SignedCheckpoint { note, checkpoint }
    }

    /// The log's name for itself.
    pub fn origin(&self) -> &str {
        self.checkpoint.origin()
    }

    /// How many leaves the tree has.
    pub fn size(&self) -> u64 {
        self.checkpoint.size()
    }

    /// The root of the tree of that size.
    pub fn root(&self) -> &NodeHash {
        self.checkpoint.root()
    }

    /// What is signed.
    pub fn checkpoint(&self) -> &Checkpoint {
        &self.checkpoint
    }

    /// The note.
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

    /// Signs it; a signature by the same key makes place.
    pub fn sign(&mut self, key: &SigningKey) {
        self.note.sign(key);
    }

    /// Adds signatures at the end, such as a witness answered with; one by the same key makes place.
    /// They are not verified here.
    pub fn add_signatures(&mut self, signatures: impl IntoIterator<Item = Signature>) {
        signatures.into_iter().for_each(|signature| self.note.add(signature));
    }

    /// Says which of the keys signed it, as [`SignedNote::verify`] does. That a key may sign for this
    /// origin is for the caller to know.
    ///
    /// # Errors
    /// If none of them did, or if a signature has name and id of one of them and is not good.
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
