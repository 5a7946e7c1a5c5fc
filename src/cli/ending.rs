//! The end of a command that appended to a log.
//!
//! The requested work decides the exit status. Events that are committed are recorded, whether or not a checkpoint
//! could be signed for them: a program that gets an error sends them again. So errors of signing and of anchors are
//! printed beside the result, and stand in the log's status.

use crate::{AuditLog, CloseError};

use super::out;

/// Closes a log, and prints what is wrong with its evidence.
///
/// # Errors
/// If the log could not be written at the end, a thread panicked, or the read tables are behind.
pub(crate) fn close(log: AuditLog) -> Result<(), CloseError> {
    // A second handle: the anchors are asked after the log was closed.
    let kept = log.clone();
    let closed = without_evidence(log.close());
    say_anchors(&kept);
    closed
}

/// Prints the anchors that do not take checkpoints.
pub(crate) fn say_anchors(log: &AuditLog) {
    for anchor in log.anchors() {
        if let Some(error) = anchor.error {
            out::note(&format!("the anchor `{}` did not take the last checkpoint: {error}", anchor.name));
        }
    }
}

/// The result of closing a log. An error of the evidence is printed and becomes a success.
pub(crate) fn without_evidence(closed: Result<(), CloseError>) -> Result<(), CloseError> {
    match closed {
        // The events are committed, so the command did not fail.
        Err(CloseError::Evidence(reason)) => {
            out::note(&format!(
                "all events are recorded, but no checkpoint covers all of them: {reason}; `annals info` shows up to which event the log is signed"
            ));
            Ok(())
        }
        closed => closed,
    }
}
