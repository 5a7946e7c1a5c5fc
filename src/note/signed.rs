//! Signed notes: a text, and the signatures on it.

use std::fmt;
use std::str::FromStr;

use super::key::{SigningKey, VerifierKey};
use super::signature::{KeyId, NoteError, Signature};
use super::text::is_note_text;
use crate::limits::NOTE_BYTES_MAX;

/// A note that no trusted key signed, or a bad signature on one.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SignatureError {
    /// A signature has the name and id of a known key, but is not by that key, or not on this text.
    #[error("the signature that claims to be by {name}+{id} is not by that key, or not on this text")]
    Bad {
        /// The key's name.
        name: String,
        /// The key's id.
        id: KeyId,
    },
    /// Two different known keys have the same name and id.
    #[error("two of the given keys are named {name}+{id}; leave one out")]
    Ambiguous {
        /// The name of both keys.
        name: String,
        /// The id of both keys.
        id: KeyId,
    },
    /// No known key signed.
    #[error("none of the given keys signed this")]
    NoneKnown,
}

/// A key that signed a note, and the time that the signature states.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SignedBy<'k> {
    /// The key, one of those that were given.
    pub key: &'k VerifierKey,
    /// The time of a cosignature in seconds since 1970, by the witness's clock. An ML-DSA-44 cosignature
    /// may state 0, which means no time.
    pub time: Option<u64>,
}

/// A text and the signatures on it. Its text form is exact: a parsed note prints as it was.
///
/// ```
/// use annals::note::{SignedNote, SigningKey};
///
/// let key = SigningKey::generate("example.com/notes")?;
/// let mut note = SignedNote::unsigned("Nothing was left out.\n")?;
/// note.sign(&key);
///
/// let read: SignedNote = note.to_string().parse()?;
/// let trusted = [key.verifier().clone()];
/// let signers = read.verify(&trusted)?;
/// assert_eq!(signers[0].key, key.verifier());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignedNote {
    text: String,
    signatures: Vec<Signature>,
}

impl SignedNote {
    /// Makes a note without signatures. Its text form can only be parsed once it has one.
    ///
    /// # Errors
    /// If the text does not end in a newline, has other control characters, or is too long.
    pub fn unsigned(text: impl Into<String>) -> Result<SignedNote, NoteError> {
        let text = text.into();
        check_text(&text)?;
        Ok(SignedNote { text, signatures: Vec::new() })
    }

    /// Makes a note of a text that is known to be well formed.
    pub(super) fn of_text(text: String) -> SignedNote {
        SignedNote { text, signatures: Vec::new() }
    }

    /// The text, with the newline at its end.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// All signatures, of known and unknown keys, in the order of the lines.
    pub fn signatures(&self) -> &[Signature] {
        &self.signatures
    }

    /// Signs the note. An earlier signature by the same key is removed.
    pub fn sign(&mut self, key: &SigningKey) {
        self.add(key.sign(&self.text));
    }

    /// Adds a signature at the end, and removes an earlier one by the same key. The signature is not verified here.
    pub fn add(&mut self, signature: Signature) {
        self.signatures.retain(|other| !other.is_by_same_key(&signature));
        self.signatures.push(signature);
    }

    /// Returns the keys that signed this text: each once, in the order of the lines. Signatures of other
    /// keys are ignored.
    ///
    /// # Errors
    /// If none of the keys signed, or if a signature with the name and id of one of them is bad.
    pub fn verify<'k>(&self, keys: &'k [VerifierKey]) -> Result<Vec<SignedBy<'k>>, SignatureError> {
        let mut signers: Vec<SignedBy<'k>> = Vec::new();
        for signature in &self.signatures {
            let named = || (signature.name.clone(), signature.id);
            // An id has 32 bits, so another key with the same name can have the same id. It would be
            // unclear which of the two the signature must verify by.
            let mut claimed = keys.iter().filter(|key| key.made(signature));
            let Some(key) = claimed.next() else { continue };
            if claimed.any(|other| other != key) {
                let (name, id) = named();
                return Err(SignatureError::Ambiguous { name, id });
            }
            // A bad signature of a known key rejects the note, however good the others are.
            let time = key.verify(&self.text, &signature.bytes).map_err(|_| {
                let (name, id) = named();
                SignatureError::Bad { name, id }
            })?;
            // A repeated signature is verified too, but counts once.
            if !signers.iter().any(|signer| signer.key == key) {
                signers.push(SignedBy { key, time });
            }
        }
        if signers.is_empty() { Err(SignatureError::NoneKnown) } else { Ok(signers) }
    }
}

fn check_text(text: &str) -> Result<(), NoteError> {
    if text.len() > NOTE_BYTES_MAX {
        return Err(NoteError::TooLong { bytes: text.len(), max: NOTE_BYTES_MAX });
    }
    if !is_note_text(text) {
        return Err(NoteError::Control);
    }
    if !text.ends_with('\n') {
        return Err(NoteError::TextEnd);
    }
    Ok(())
}

impl FromStr for SignedNote {
    type Err = NoteError;

    fn from_str(note: &str) -> Result<SignedNote, NoteError> {
        // The bound is checked before anything is copied.
        if note.len() > NOTE_BYTES_MAX {
            return Err(NoteError::TooLong { bytes: note.len(), max: NOTE_BYTES_MAX });
        }
        // The text may have empty lines. It ends at the last empty line of the note.
        let (text, lines) = note.rsplit_once("\n\n").ok_or(NoteError::NoSignatures)?;
        let text = format!("{text}\n");
        check_text(&text)?;
        if lines.is_empty() {
            return Err(NoteError::NoSignatures);
        }
        Ok(SignedNote { text, signatures: Signature::parse_lines(lines)? })
    }
}

impl fmt::Display for SignedNote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.text)?;
        self.signatures.iter().try_for_each(|signature| writeln!(f, "{signature}"))
    }
}
