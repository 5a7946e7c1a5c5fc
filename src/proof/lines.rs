//! The lines of a proof file, taken one after the other.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::encoding::DecodeError;
use crate::limits::{PROOF_BYTES_MAX, PROOF_HASHES_MAX};
use crate::merkle::{NodeHash, ParseHashError};
use crate::note::{CheckpointError, SignedCheckpoint};

/// The reason why bytes are no proof file, with the line.
#[derive(Debug, thiserror::Error)]
#[error("line {line}: {fault}")]
#[non_exhaustive]
pub struct ProofFileError {
    /// The line, from 1.
    pub line: usize,
    /// The fault of the line.
    pub fault: ProofFileFault,
}

/// The fault of a line of a proof file.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ProofFileFault {
    /// The file is longer than the longest proof that is read.
    #[error("a proof has at most {PROOF_BYTES_MAX} bytes, this one has {bytes}")]
    TooLong {
        /// The length of the file in bytes.
        bytes: usize,
    },
    /// The file is no text.
    #[error("is not text in UTF-8")]
    NotText,
    /// There are no more lines, or the last one does not end.
    #[error("the file ends here, within a line or too early; it may have been cut off")]
    CutOff,
    /// The form requires another line here.
    #[error("should be {what}")]
    Expected {
        /// The line that should be here.
        what: &'static str,
    },
    /// The line lacks a number.
    #[error("must have a decimal number, without a sign or leading zeros")]
    Number,
    /// The line is not base64.
    #[error("is not canonical base64 with padding")]
    Base64,
    /// The line is not a hash.
    #[error(transparent)]
    Hash(#[from] ParseHashError),
    /// There are more hashes than any tree needs.
    #[error("a proof has at most {PROOF_HASHES_MAX} hashes")]
    TooManyHashes,
    /// The line lacks the id of a session.
    #[error("has no JSON string after `session`")]
    Session,
    /// The extra data of the proof have an unknown version.
    #[error(
        "has version {found} of a proof's extra data, but this version of Annals knows only {known}; use a newer version"
    )]
    UnknownVersion {
        /// The version in the file.
        found: u8,
        /// The version that is known.
        known: u8,
    },
    /// The extra data cannot be decoded.
    #[error("its extra data: {0}")]
    Extra(DecodeError),
    /// The text that begins here is no checkpoint.
    #[error(transparent)]
    Checkpoint(CheckpointError),
}

/// The rest of a file, after the lines that were taken.
pub(super) struct Lines<'a> {
    rest: &'a str,
    /// The number of the next line, from 1.
    number: usize,
}

impl<'a> Lines<'a> {
    pub(super) fn of(file: &'a [u8]) -> Result<Lines<'a>, ProofFileError> {
        let at = |line, fault| ProofFileError { line, fault };
        if file.len() > PROOF_BYTES_MAX {
            return Err(at(1, ProofFileFault::TooLong { bytes: file.len() }));
        }
        match std::str::from_utf8(file) {
            Ok(rest) => Ok(Lines { rest, number: 1 }),
            Err(error) => {
                let before = file.iter().take(error.valid_up_to());
                Err(at(1 + before.filter(|byte| **byte == b'\n').count(), ProofFileFault::NotText))
            }
        }
    }

    /// An error in the line that was taken last.
    pub(super) fn wrong(&self, fault: ProofFileFault) -> ProofFileError {
        ProofFileError { line: self.number.saturating_sub(1), fault }
    }

    pub(super) fn take(&mut self) -> Result<&'a str, ProofFileError> {
        let cut_off = ProofFileError { line: self.number, fault: ProofFileFault::CutOff };
        let (line, rest) = self.rest.split_once('\n').ok_or(cut_off)?;
        self.rest = rest;
        self.number += 1;
        Ok(line)
    }

    /// Returns true if the next line begins with this text.
    pub(super) fn next_begins(&self, with: &str) -> bool {
        self.rest.starts_with(with)
    }

    /// Takes a line that must be one of `choices`, and returns it.
    pub(super) fn take_one_of(
        &mut self,
        choices: &[&'static str],
        what: &'static str,
    ) -> Result<&'static str, ProofFileError> {
        let line = self.take()?;
        let choice = choices.iter().find(|choice| **choice == line);
        choice.copied().ok_or_else(|| self.wrong(ProofFileFault::Expected { what }))
    }

    /// Takes a line and returns the text after its first word. `word` includes the space after it.
    pub(super) fn take_after(&mut self, word: &str, what: &'static str) -> Result<&'a str, ProofFileError> {
        let line = self.take()?;
        line.strip_prefix(word).ok_or_else(|| self.wrong(ProofFileFault::Expected { what }))
    }

    pub(super) fn take_number(&mut self, word: &str, what: &'static str) -> Result<u64, ProofFileError> {
        let digits = self.take_after(word, what)?;
        // `parse` would accept a plus sign and leading zeros, and one number would have several texts.
        let is_plain = digits == "0" || !digits.starts_with(['0', '+']);
        let number = if is_plain { digits.parse().ok() } else { None };
        number.ok_or_else(|| self.wrong(ProofFileFault::Number))
    }

    /// Takes hashes up to an empty line, and that line.
    pub(super) fn take_hashes(&mut self) -> Result<Vec<NodeHash>, ProofFileError> {
        let mut hashes = Vec::new();
        loop {
            match self.take()? {
                "" => return Ok(hashes),
                // Also bounds the memory: no file makes the list longer.
                _ if hashes.len() == PROOF_HASHES_MAX => {
                    return Err(self.wrong(ProofFileFault::TooManyHashes));
                }
                line => hashes.push(line.parse().map_err(|error| self.wrong(ProofFileFault::Hash(error)))?),
            }
        }
    }

    pub(super) fn decode(&self, base64: &str) -> Result<Vec<u8>, ProofFileError> {
        STANDARD.decode(base64).map_err(|_| self.wrong(ProofFileFault::Base64))
    }

    /// Parses the whole rest of the file as a checkpoint.
    pub(super) fn take_checkpoint(self) -> Result<SignedCheckpoint, ProofFileError> {
        self.rest
            .parse()
            .map_err(|error| ProofFileError { line: self.number, fault: ProofFileFault::Checkpoint(error) })
    }
}

pub(super) fn base64(bytes: &[u8]) -> String {
    STANDARD.encode(bytes)
}
