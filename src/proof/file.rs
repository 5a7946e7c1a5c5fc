//! A proof file of any form: the first line names the form.

use std::fmt;

use super::consistency::{self, ConsistencyProof};
use super::entry::{self, EntryProof};
use super::lines::{Lines, ProofFileError, ProofFileFault};
use super::session::{self, SessionProof};
use crate::note::{SignedCheckpoint, as_written};

/// A proof of any form.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ProofFile {
    /// The proof of an event.
    Entry(EntryProof),
    /// The proof of a session.
    Session(SessionProof),
    /// The proof that a log still begins with what it was.
    Consistency(ConsistencyProof),
}

/// The form of a proof.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProofForm {
    /// The proof of an event.
    Entry,
    /// The proof of a session.
    Session,
    /// The proof that a log still begins with what it was.
    Consistency,
}

impl ProofForm {
    /// Reads the form from the first line of a file, whatever follows it. Returns None if no proof begins so.
    ///
    /// ```
    /// use annals::proof::ProofForm;
    ///
    /// assert_eq!(ProofForm::of(b"old 7\n"), Some(ProofForm::Consistency));
    /// assert_eq!(ProofForm::of(b"Dear Ada,\n"), None);
    /// ```
    pub fn of(file: &[u8]) -> Option<ProofForm> {
        let file = &*as_written(file);
        let first = file.split(|byte| *byte == b'\n').next().unwrap_or_default();
        ProofForm::of_line(std::str::from_utf8(first).ok()?)
    }

    fn of_line(first: &str) -> Option<ProofForm> {
        match first {
            entry::HEADER => Some(ProofForm::Entry),
            session::HEADER => Some(ProofForm::Session),
            line if line.starts_with(consistency::WORD) => Some(ProofForm::Consistency),
            _ => None,
        }
    }
}

impl ProofFile {
    /// Reads a file of any form, also with a byte order mark, line ends of two characters, or empty lines at
    /// its end.
    ///
    /// # Errors
    /// If it is no proof; the error names the line.
    pub fn parse(file: &[u8]) -> Result<ProofFile, ProofFileError> {
        let file = &*as_written(file);
        let mut lines = Lines::of(file)?;
        match ProofForm::of_line(lines.take()?) {
            Some(ProofForm::Entry) => EntryProof::parse(file).map(ProofFile::Entry),
            Some(ProofForm::Session) => SessionProof::parse(file).map(ProofFile::Session),
            Some(ProofForm::Consistency) => ConsistencyProof::parse(file).map(ProofFile::Consistency),
            None => {
                Err(lines.wrong(ProofFileFault::Expected { what: "the first line of a proof, and is not" }))
            }
        }
    }

    /// The checkpoint that the proof leads to.
    pub fn checkpoint(&self) -> &SignedCheckpoint {
        match self {
            ProofFile::Entry(proof) => &proof.checkpoint,
            ProofFile::Session(proof) => &proof.checkpoint,
            ProofFile::Consistency(proof) => &proof.checkpoint,
        }
    }
}

impl fmt::Display for ProofFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ProofFile::Entry(proof) => proof.fmt(f),
            ProofFile::Session(proof) => proof.fmt(f),
            ProofFile::Consistency(proof) => proof.fmt(f),
        }
    }
}
