//! The elements of all notes: names, decimal numbers, base64. Every value has one form, so that a parsed
//! value prints as it was.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::limits::ORIGIN_BYTES_MAX;

/// A name that no key can have.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NameError {
    /// The name is empty.
    #[error("the name of a key must not be empty")]
    Empty,
    /// The name has more bytes than an origin may have.
    #[error("the name of a key has at most {max} bytes, this one has {bytes}")]
    TooLong {
        /// The name's length in bytes.
        bytes: usize,
        /// The largest length allowed.
        max: usize,
    },
    /// The name has a character that ends a name in the text of keys and signatures.
    #[error(
        "the name of a key must not have spaces, plus signs or control characters, this one has U+{0:04X}"
    )]
    Character(u32),
}

/// Checks whether a key can have this name: not empty, at most [`ORIGIN_BYTES_MAX`] bytes, without Unicode
/// spaces, plus signs and control characters.
///
/// # Errors
/// If a key cannot have this name.
pub fn check_key_name(name: &str) -> Result<(), NameError> {
    if name.len() > ORIGIN_BYTES_MAX {
        return Err(NameError::TooLong { bytes: name.len(), max: ORIGIN_BYTES_MAX });
    }
    check_characters(name)
}

/// As [`check_key_name`], without the bound on the length: signatures of unknown keys are ignored and not refused.
pub(super) fn check_characters(name: &str) -> Result<(), NameError> {
    if name.is_empty() {
        return Err(NameError::Empty);
    }
    match name.chars().find(|c| c.is_whitespace() || c.is_control() || *c == '+') {
        Some(c) => Err(NameError::Character(c as u32)),
        None => Ok(()),
    }
}

/// Returns whether every character may stand in a note. Of the control characters of ASCII, only the newline may.
pub(super) fn is_note_text(text: &str) -> bool {
    text.chars().all(|c| c >= ' ' || c == '\n')
}

/// Reads a decimal number without sign and leading zeros, so that every number has one form.
pub(crate) fn decimal(text: &str) -> Option<u64> {
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    let leading_zero = text.len() > 1 && text.starts_with('0');
    // An empty text passes both checks, and `parse` refuses it, as it refuses numbers beyond a `u64`.
    if digits && !leading_zero { text.parse().ok() } else { None }
}

/// Decodes base64 with padding, in its one canonical form.
pub(super) fn base64_decode(text: &str) -> Option<Vec<u8>> {
    STANDARD.decode(text).ok()
}

/// Decodes 32 bytes from base64.
pub(super) fn base64_decode_32(text: &str) -> Option<[u8; 32]> {
    base64_decode(text)?.try_into().ok()
}

/// Encodes bytes as base64.
pub(super) fn base64_encode(bytes: impl AsRef<[u8]>) -> String {
    STANDARD.encode(bytes)
}
