//! The contract of an anchor.

use std::fmt;

use crate::merkle::NodeHash;
use crate::note::{Signature, SignedCheckpoint};

/// What an anchor gave for a checkpoint that it took.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Taken {
    /// Nothing: it keeps it.
    Kept,
    /// Signatures on the checkpoint, which become part of it.
    Cosigned(Vec<Signature>),
    /// Something of its own, kept beside the checkpoint.
    Receipt(Vec<u8>),
}

/// Why an anchor did not take a checkpoint, and what to do about it. It is tried again.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct AnchorError(String);

impl AnchorError {
    /// An anchor that has more of this log than there is: what it has is right, or somebody else's, and both are
    /// worth looking into.
    pub(super) fn ahead(theirs: u64, ours: u64) -> String {
        format!(
            "has a checkpoint of {theirs} events of this log, which has {ours}: events were cut off, or this is an older copy, or another copy goes on elsewhere; do not append to it before you know which"
        )
    }

    /// An error with this text.
    pub fn new(text: impl fmt::Display) -> AnchorError {
        AnchorError(text.to_string())
    }
}

/// Proves that the tree of the first size is the beginning of that of the second.
pub type Consistency<'a> = &'a mut dyn FnMut(u64, u64) -> Result<Vec<NodeHash>, AnchorError>;

/// Something that keeps checkpoints outside the log.
///
/// Each has a thread of its own, which calls [`Anchor::take`] with the newest checkpoint whenever there is
/// one that it has not taken, and again after a failure, at growing intervals. A call may block, but must
/// come back in bounded time: closing the log waits for it. It may see the same checkpoint twice, and must
/// not mind. What it took must be durable when it says so.
pub trait Anchor: Send + fmt::Debug {
    /// What it is called in reports; different for different anchors of a log.
    fn name(&self) -> String;

    /// Takes a checkpoint.
    ///
    /// # Errors
    /// If it could not be kept.
    fn take(
        &mut self,
        checkpoint: &SignedCheckpoint,
        consistency: Consistency<'_>,
    ) -> Result<Taken, AnchorError>;
}
