//! How a command ends with a log that it appended to.
//!
//! What was asked for decides the exit status. Events that are committed are recorded, whether or not somebody could
//! sign for them: a program that is told otherwise sends them again. So what is wrong with signing and with anchors is
//! said beside the result, and stands in the log's status.

use annals::{AuditLog, CloseError};

use super::out;

/// Closes a log, and says what is wrong with its evidence.
///
/// # Errors
/// If the log could not be written at the end, a thread panicked, or the read tables are behind.
pub(crate) fn close(log: AuditLog) -> Result<(), CloseError> {
    let kept = log.clone();
    let closed = without_evidence(log.close());
    say_anchors(&kept);
    closed
}

/// Says which anchors do not take checkpoints.
pub(crate) fn say_anchors(log: &AuditLog) {
    for anchor in log.anchors() {
        if let Some(error) = anchor.error {
            out::note(&format!("the anchor {} does not take checkpoints: {error}", anchor.name));
        }
    }
}

/// The result of closing a log, with what is wrong with its evidence said and not counted.
pub(crate) fn without_evidence(closed: Result<(), CloseError>) -> Result<(), CloseError> {
    match closed {
        Err(CloseError::Evidence(reason)) => {
            out::note(&format!(
                "everything is recorded, and no checkpoint vouches for all of it: {reason}; `annals info` says how far signing is"
            ));
            Ok(())
        }
        closed => closed,
    }
}
