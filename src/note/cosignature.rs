//! The messages that witnesses sign: a time, and the content of a checkpoint.
//!
//! A cosignature of either algorithm is a time, then the signature. The time is a `u64` in big-endian
//! order, in seconds since 1970. The signed message contains the same time.

use super::checkpoint::Checkpoint;

/// The latest time that a cosignature can state.
pub(super) const TIME_MAX: u64 = (1 << 63) - 1;

/// The message that a cosignature of [`Algorithm::CosignatureV1`] signs.
pub(super) fn v1_message(time: u64, text: &str) -> String {
    format!("cosignature/v1\ntime {time}\n{text}")
}

/// The message that a cosignature of [`Algorithm::MlDsa44`] signs: the `cosigned_message` of a subtree that
/// is the whole tree. `None` if a name is longer than its length byte can state.
pub(super) fn subtree_message(cosigner: &str, time: u64, checkpoint: &Checkpoint) -> Option<Vec<u8>> {
    let mut message = b"subtree/v1\n\0".to_vec();
    push_short(&mut message, cosigner)?;
    message.extend(time.to_be_bytes());
    push_short(&mut message, checkpoint.origin())?;
    // The subtree goes from leaf 0 to the size, so it is the whole tree.
    message.extend(0_u64.to_be_bytes());
    message.extend(checkpoint.size().to_be_bytes());
    message.extend(checkpoint.root().bytes());
    Some(message)
}

/// Appends a text with its length before it, in one byte. Without the length, two pairs of names could give
/// the same message.
fn push_short(message: &mut Vec<u8>, text: &str) -> Option<()> {
    message.push(u8::try_from(text.len()).ok()?);
    message.extend(text.as_bytes());
    Some(())
}
