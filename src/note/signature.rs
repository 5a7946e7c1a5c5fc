//! Signatures as lines of a note, and what is wrong with lines and notes that are none.

use std::fmt;

use super::text::{NameError, base64_decode, base64_encode, check_characters};
use crate::limits::{NOTE_BYTES_MAX, NOTE_SIGNATURES_MAX};

/// What every signature line begins with: an em dash and a space.
const DASH: &str = "\u{2014} ";

/// A text that is no signed note, and why.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NoteError {
    /// It is longer than notes are read.
    #[error("a signed note has at most {max} bytes, this one has {bytes}")]
    TooLong {
        /// Its length in bytes.
        bytes: usize,
        /// The longest that is read.
        max: usize,
    },
    /// It has a control character.
    #[error("a signed note has no control characters but newlines")]
    Control,
    /// Its text does not end in a newline.
    #[error("the text of a note ends in a newline")]
    TextEnd,
    /// There is no empty line before signatures.
    #[error("a signed note has an empty line between its text and its signatures, and this one has none")]
    NoSignatures,
    /// Its last line does not end.
    #[error("the last line of a signed note ends in a newline; this one may have been cut off")]
    LastLine,
    /// It has more signatures than are read.
    #[error("a signed note has at most {max} signatures, this one has more")]
    TooManySignatures {
        /// The most that are read.
        max: usize,
    },
    /// A line below the text is no signature.
    #[error("signature {number} is not a line like `\u{2014} <name> <base64>`")]
    SignatureLine {
        /// Which one, from 1.
        number: usize,
    },
    /// A signature's name can be no key's.
    #[error("signature {number}: {source}")]
    SignatureName {
        /// Which one, from 1.
        number: usize,
        /// What is wrong with the name.
        source: NameError,
    },
}

/// The first four bytes of a hash over a key's name, algorithm and public key. An identifier, and no
/// proof: whoever wants can find a key with a given id.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyId([u8; 4]);

impl KeyId {
    /// The id with these bytes.
    pub const fn from_bytes(bytes: [u8; 4]) -> KeyId {
        KeyId(bytes)
    }

    /// Its bytes, as before a signature.
    pub const fn bytes(&self) -> &[u8; 4] {
        &self.0
    }
}

/// Eight hexadecimal digits in lower case, as in keys.
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

/// Reads what [`KeyId`] prints, and no other spelling.
pub(super) fn parse_id(text: &str) -> Option<KeyId> {
    let digits = text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    if text.len() != 8 || !digits {
        return None;
    }
    u32::from_str_radix(text, 16).ok().map(|id| KeyId(id.to_be_bytes()))
}

/// A signature, and the name and id of the key that it claims to be by.
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

    /// The signature, as its algorithm has it.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    pub(super) fn is_by_same_key(&self, other: &Signature) -> bool {
        self.name == other.name && self.id == other.id
    }

    /// Reads signature lines as a witness answers with: any number of them, each with its newline.
    ///
    /// # Errors
    /// If a line is no signature, the last one does not end, or there are too many.
    pub fn parse_lines(text: &str) -> Result<Vec<Signature>, NoteError> {
        if text.len() > NOTE_BYTES_MAX {
            return Err(NoteError::TooLong { bytes: text.len(), max: NOTE_BYTES_MAX });
        }
        if !text.is_empty() && !text.ends_with('\n') {
            return Err(NoteError::LastLine);
        }
        let mut signatures = Vec::new();
        for (line, number) in text.split_terminator('\n').zip(1..) {
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
    let (name, base64) =
        line.strip_prefix(DASH).and_then(|rest| rest.split_once(' ')).ok_or_else(malformed)?;
    check_characters(name).map_err(|source| NoteError::SignatureName { number, source })?;
    let bytes = base64_decode(base64).ok_or_else(malformed)?;
    match bytes.split_first_chunk() {
        Some((id, bytes)) if !bytes.is_empty() => {
            Ok(Signature { name: name.to_owned(), id: KeyId(*id), bytes: bytes.to_vec() })
        }
        _ => Err(malformed()),
    }
}

/// The signature line, without its newline.
impl fmt::Display for Signature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bytes = [self.id.bytes().as_slice(), &self.bytes].concat();
        write!(f, "{DASH}{} {}", self.name, base64_encode(bytes))
    }
}
