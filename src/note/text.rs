//! What all notes are written with: names, decimal numbers, base64. Every value has one form, so
//! that what is parsed prints as it was.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::limits::ORIGIN_BYTES_MAX;

/// A name that no key can have.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NameError {
    /// It has no characters.
    #[error("the name of a key must not be empty")]
    Empty,
    /// It has more bytes than an origin may have.
    #[error("the name of a key has at most {max} bytes, this one has {bytes}")]
    TooLong {
        /// Its length in bytes.
        bytes: usize,
        /// The longest allowed.
        max: usize,
    },
    /// It has a character that ends a name where keys and signatures are written.
    #[error(
        "the name of a key must not have spaces, plus signs or control characters, this one has U+{0:04X}"
    )]
    Character(u32),
}

/// Whether a key can have this name: not empty, at most [`ORIGIN_BYTES_MAX`] bytes, without Unicode
/// spaces, plus signs and control characters.
///
/// # Errors
/// If not.
pub fn check_key_name(name: &str) -> Result<(), NameError> {
    if name.len() > ORIGIN_BYTES_MAX {
        return Err(NameError::TooLong { bytes: name.len(), max: ORIGIN_BYTES_MAX });
    }
    check_characters(name)
}

/// As [`check_key_name`], of any length: signatures of keys that are none of ours are passed over,
/// not refused.
pub(super) fn check_characters(name: &str) -> Result<(), NameError> {
    if name.is_empty() {
        return Err(NameError::Empty);
    }
    match name.chars().find(|c| c.is_whitespace() || c.is_control() || *c == '+') {
        Some(c) => Err(NameError::Character(c as u32)),
        None => Ok(()),
    }
}

/// Whether every character may stand in a note: of ASCII's control characters only the newline does.
pub(super) fn is_note_text(text: &str) -> bool {
    text.chars().all(|c| c >= ' ' || c == '\n')
}

/// A number in decimal, without sign and leading zeros.
pub(crate) fn decimal(text: &str) -> Option<u64> {
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    let leading_zero = text.len() > 1 && text.starts_with('0');
    if digits && !leading_zero { text.parse().ok() } else { None }
}

/// Bytes from base64, with padding and in the one way that they are written.
pub(super) fn base64_decode(text: &str) -> Option<Vec<u8>> {
    STANDARD.decode(text).ok()
}

/// 32 bytes from base64.
pub(super) fn base64_decode_32(text: &str) -> Option<[u8; 32]> {
    base64_decode(text)?.try_into().ok()
}

/// Bytes in base64.
pub(super) fn base64_encode(bytes: impl AsRef<[u8]>) -> String {
    STANDARD.encode(bytes)
}
