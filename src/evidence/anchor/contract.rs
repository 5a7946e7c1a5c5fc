//! The contract of an anchor.

use std::fmt;

use crate::merkle::NodeHash;
use crate::note::{Signature, SignedCheckpoint};

/// The answer of an anchor that took a checkpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AnchorAnswer {
    /// Nothing to store; the anchor keeps the checkpoint.
    Kept,
    /// Signatures on the checkpoint, which are added to it.
    Cosigned(Vec<Signature>),
    /// Bytes in the anchor's own format, such as a time-stamp token; stored beside the checkpoint.
    Receipt(Vec<u8>),
}

/// The reason why an anchor did not take a checkpoint, and what to do about it. The delivery is tried again.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct AnchorError(String);

impl AnchorError {
    /// The error text for an anchor that has a checkpoint of more events than the log has. Either the log
    /// lost events, or somebody else made that checkpoint. Both need an investigation.
    pub(super) fn ahead(theirs: u64, ours: u64) -> String {
        format!(
            "has a checkpoint of {theirs} events of this log, but the log has only {ours}: events were cut off, or this is an older copy, or another copy is in use elsewhere; find out which is true before you append to it"
        )
    }

    /// An error with this text.
    pub fn new(text: impl fmt::Display) -> AnchorError {
        AnchorError(text.to_string())
    }
}

/// A function that proves that the tree of the second size begins with the tree of the first size.
pub type Consistency<'a> = &'a mut dyn FnMut(u64, u64) -> Result<Vec<NodeHash>, AnchorError>;

/// A place outside the log that keeps checkpoints.
///
/// Each anchor has a thread of its own. The thread calls [`Anchor::submit`] with the newest checkpoint whenever
/// the anchor has not taken it yet, and again after a failure, at growing intervals.
///
/// A call may block, but must return in bounded time: closing the log waits for it. The same checkpoint may come
/// twice; the anchor must accept it again. A checkpoint must be durable when the call returns `Ok`.
pub trait Anchor: Send + fmt::Debug {
    /// The name of the anchor in reports. Two anchors of one log must have different names.
    fn name(&self) -> String;

    /// Takes a checkpoint.
    ///
    /// # Errors
    /// If it could not be kept.
    fn submit(
        &mut self,
        checkpoint: &SignedCheckpoint,
        consistency: Consistency<'_>,
    ) -> Result<AnchorAnswer, AnchorError>;
}
