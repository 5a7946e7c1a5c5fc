//! Signatures as lines of a note, and the errors of such lines and of notes.

use std::fmt;

use super::text::{NameError, base64_decode, base64_encode, check_characters};
use crate::limits::{NOTE_BYTES_MAX, NOTE_SIGNATURES_MAX};

/// The beginning of every signature line: an em dash and a space.
const DASH: &str = "\u{2014} ";

/// A text that is not a signed note, and the reason.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NoteError {
    /// The note is longer than the longest that is read.
    #[error("a signed note has at most {max} bytes, this one has {bytes}")]
    TooLong {
        /// The note's length in bytes.
        bytes: usize,
        /// The largest length that is read.
        max: usize,
    },
    /// The note has a control character other than the newline.
    #[error("a signed note must not have control characters except newlines")]
    Control,
    /// The text does not end in a newline.
    #[error("the text of a note must end in a newline")]
    TextEnd,
    /// There is no empty line between text and signatures, or no signature.
    #[error(
        "a signed note must have an empty line between its text and its signatures, and this one has none"
    )]
    NoSignatures,
    /// The last line does not end in a newline.
    #[error("the last line of a signed note must end in a newline; this one may have been cut off")]
    LastLine,
    /// The note has more signatures than are read.
    #[error("a signed note has at most {max} signatures, this one has more")]
    TooManySignatures {
        /// The largest number that is read.
        max: usize,
    },
    /// A line below the text is not a signature.
    #[error("signature {number} is not a line like `\u{2014} <name> <base64>`")]
    SignatureLine {
        /// The number of the signature, from 1.
        number: usize,
    },
    /// The name of a signature cannot be that of a key.
    #[error("signature {number}: {source}")]
    SignatureName {
        /// The number of the signature, from 1.
        number: usize,
        /// The reason why the name cannot be used.
        source: NameError,
    },
}

/// The id of a key: the first four bytes of a hash over its name, algorithm and public key. It identifies a
/// key and proves nothing: a key with a given id can be found by trying.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyId([u8; 4]);

impl KeyId {
    /// Makes the id of these bytes.
    pub const fn from_bytes(bytes: [u8; 4]) -> KeyId {
        KeyId(bytes)
    }

    /// The four bytes, as they stand before a signature.
    pub const fn bytes(&self) -> &[u8; 4] {
        &self.0
    }
}

/// Prints eight hexadecimal digits in lower case, as in keys.
impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:08x}", u32::from_be_bytes(self.0))
    }
}

impl fmt::Debug for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KeyId({self})")
    }
}

/// Reads an id as [`KeyId`] prints it, and no other spelling.
pub(super) fn parse_id(text: &str) -> Option<KeyId> {
    let digits = text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    if text.len() != 8 || !digits {
        return None;
    }
    u32::from_str_radix(text, 16).ok().map(|id| KeyId(id.to_be_bytes()))
}

/// A signature, with the name and id of the key that it claims to be by.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Signature {
    pub(super) name: String,
    pub(super) id: KeyId,
    pub(super) bytes: Vec<u8>,
}

impl Signature {
    /// The name of the key.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The id of the key.
    pub fn id(&self) -> KeyId {
        self.id
    }

    /// The bytes of the signature, in the form of its algorithm. A cosignature begins with its time.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    pub(super) fn is_by_same_key(&self, other: &Signature) -> bool {
        self.name == other.name && self.id == other.id
    }

    /// Reads signature lines, such as a witness's answer: any number of lines, each with its newline.
    ///
    /// # Errors
    /// If a line is not a signature, the last line does not end, or there are too many.
    pub fn parse_lines(text: &str) -> Result<Vec<Signature>, NoteError> {
        if text.len() > NOTE_BYTES_MAX {
            return Err(NoteError::TooLong { bytes: text.len(), max: NOTE_BYTES_MAX });
        }
        if !text.is_empty() && !text.ends_with('\n') {
            return Err(NoteError::LastLine);
        }
        let mut signatures = Vec::new();
        for (line, number) in text.split_terminator('\n').zip(1..) {
            // Checked before each line is decoded, so that a hostile note costs no more than the bound.
            if number > NOTE_SIGNATURES_MAX {
                return Err(NoteError::TooManySignatures { max: NOTE_SIGNATURES_MAX });
            }
            signatures.push(parse_line(line, number)?);
        }
        Ok(signatures)
    }
}

fn parse_line(line: &str, number: usize) -> Result<Signature, NoteError> {
    let malformed = || NoteError::SignatureLine { number };
    // A line has exactly two spaces. A third one would be part of the base64, and is refused there.
    let (name, base64) =
        line.strip_prefix(DASH).and_then(|rest| rest.split_once(' ')).ok_or_else(malformed)?;
    check_characters(name).map_err(|source| NoteError::SignatureName { number, source })?;
    let bytes = base64_decode(base64).ok_or_else(malformed)?;
    // The first four bytes are the key id. A signature has at least one byte more.
    match bytes.split_first_chunk() {
        Some((id, bytes)) if !bytes.is_empty() => {
            Ok(Signature { name: name.to_owned(), id: KeyId(*id), bytes: bytes.to_vec() })
        }
        _ => Err(malformed()),
    }
}

/// Prints the signature line, without its newline.
impl fmt::Display for Signature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bytes = [self.id.bytes().as_slice(), &self.bytes].concat();
        write!(f, "{DASH}{} {}", self.name, base64_encode(bytes))
    }
}
