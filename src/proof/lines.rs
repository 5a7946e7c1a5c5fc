//! The lines of a proof file, taken one after the other.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::encoding::DecodeError;
use crate::limits::{PROOF_BYTES_MAX, PROOF_HASHES_MAX};
use crate::merkle::{NodeHash, ParseHashError};
use crate::note::{CheckpointError, SignedCheckpoint};

/// Bytes that are no proof file, and where.
#[derive(Debug, thiserror::Error)]
#[error("line {line}: {fault}")]
#[non_exhaustive]
pub struct ProofFileError {
    /// The line, from 1.
    pub line: usize,
    /// What is wrong with it.
    pub fault: ProofFileFault,
}

/// What is wrong with a line of a proof file.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ProofFileFault {
    /// The file is longer than proofs are read.
    #[error("a proof has at most {PROOF_BYTES_MAX} bytes, this one has {bytes}")]
    TooLong {
        /// Its length in bytes.
        bytes: usize,
    },
    /// The file is no text.
    #[error("is not text in UTF-8")]
    NotText,
    /// There are no more lines, or the last one does not end.
    #[error("the file ends here, within a line or too early; it may have been cut off")]
    CutOff,
    /// It is another line than the form asks for.
    #[error("should be {what}")]
    Expected {
        /// What it should be.
        what: &'static str,
    },
    /// It should be a number.
    #[error("has no number in decimal, without sign and leading zeros")]
    Number,
    /// It should be bytes.
    #[error("is not base64, with padding, in the one way that bytes are written")]
    Base64,
    /// It should be a hash.
    #[error(transparent)]
    Hash(#[from] ParseHashError),
    /// There are more hashes than any tree needs.
    #[error("a proof has at most {PROOF_HASHES_MAX} hashes")]
    TooManyHashes,
    /// It should be the id of a session.
    #[error("has no JSON string after `session`")]
    Session,
    /// What proves the event is of a version that is not known.
    #[error(
        "has version {found} of a proof's extra data, and this version of Annals knows {known}; use a newer one"
    )]
    UnknownVersion {
        /// Its version.
        found: u8,
        /// The version that is known.
        known: u8,
    },
    /// The extra data are not what they should be.
    #[error("its extra data: {0}")]
    Extra(DecodeError),
    /// The checkpoint that begins here is none.
    #[error(transparent)]
    Checkpoint(CheckpointError),
}

/// What is left of a file.
pub(super) struct Lines<'a> {
    rest: &'a str,
    /// Of the line that comes next, from 1.
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

    /// That something is wrong with the line taken last.
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

    /// Whether the next line begins so.
    pub(super) fn next_begins(&self, with: &str) -> bool {
        self.rest.starts_with(with)
    }

    /// Takes a line that is one of some. Says which.
    pub(super) fn take_one_of(
        &mut self,
        choices: &[&'static str],
        what: &'static str,
    ) -> Result<&'static str, ProofFileError> {
        let line = self.take()?;
        let choice = choices.iter().find(|choice| **choice == line);
        choice.copied().ok_or_else(|| self.wrong(ProofFileFault::Expected { what }))
    }

    /// Takes a line and gives what follows its first word, which is given with the space behind it.
    pub(super) fn take_after(&mut self, word: &str, what: &'static str) -> Result<&'a str, ProofFileError> {
        let line = self.take()?;
        line.strip_prefix(word).ok_or_else(|| self.wrong(ProofFileFault::Expected { what }))
    }

    pub(super) fn take_number(&mut self, word: &str, what: &'static str) -> Result<u64, ProofFileError> {
        let digits = self.take_after(word, what)?;
        let is_plain = digits == "0" || !digits.starts_with(['0', '+']);
        let number = if is_plain { digits.parse().ok() } else { None };
        number.ok_or_else(|| self.wrong(ProofFileFault::Number))
    }

    /// Takes hashes up to an empty line, and that.
    pub(super) fn take_hashes(&mut self) -> Result<Vec<NodeHash>, ProofFileError> {
        let mut hashes = Vec::new();
        loop {
            match self.take()? {
                "" => return Ok(hashes),
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

    /// The checkpoint that all the rest is.
    pub(super) fn take_checkpoint(self) -> Result<SignedCheckpoint, ProofFileError> {
        self.rest
            .parse()
            .map_err(|error| ProofFileError { line: self.number, fault: ProofFileFault::Checkpoint(error) })
    }
}

pub(super) fn base64(bytes: &[u8]) -> String {
    STANDARD.encode(bytes)
}
