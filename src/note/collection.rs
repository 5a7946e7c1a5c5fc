//! Checkpoint files: one or more checkpoints, one after the other, each but the first after an empty
//! line.
//!
//! A checkpoint has exactly one empty line, before its signatures. So the blocks between empty lines
//! are by turns the text of a checkpoint and the signatures on it.

use std::fmt;
use std::str::FromStr;

use super::checkpoint::CheckpointError;
use super::signature::{NoteError, Signature};
use super::signed_checkpoint::SignedCheckpoint;
use crate::limits::NOTE_SIGNATURES_MAX;

/// A checkpoint file that cannot be read, and where.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {error}")]
#[non_exhaustive]
pub struct CheckpointFileError {
    /// The first line of the checkpoint that is none, from 1.
    pub line: usize,
    /// What is wrong with it.
    pub error: CheckpointError,
}

/// The checkpoints of a file, in their order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CheckpointFile {
    /// The checkpoints.
    pub checkpoints: Vec<SignedCheckpoint>,
}

/// What a file has whose end may be torn: a program or a machine stopped while it was appended to.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct RecoveredCheckpoints<'a> {
    /// The checkpoints before the first bytes that are none.
    pub checkpoints: Vec<SignedCheckpoint>,
    /// Bytes of the file that they take up. The next one belongs there, after an empty line if there
    /// are any.
    pub good_bytes: usize,
    /// What comes after them: nothing, a torn checkpoint, or anything that is none.
    pub rest: &'a [u8],
    /// Why the rest is no checkpoint, if there is a rest.
    pub error: Option<CheckpointFileError>,
}

impl CheckpointFile {
    /// Reads the checkpoints of a file up to the first that is not whole. One whose end is torn keeps
    /// the signatures before, if it has any.
    pub fn recover(file: &[u8]) -> RecoveredCheckpoints<'_> {
        // A tear within a character ends the text before it.
        let text = match std::str::from_utf8(file) {
            Ok(text) => text,
            Err(error) => file
                .get(..error.valid_up_to())
                .and_then(|valid| std::str::from_utf8(valid).ok())
                .unwrap_or(""),
        };
        let (mut checkpoints, mut good_bytes) = (Vec::new(), 0);
        let mut next = Some(text);
        while let Some(whole) = next.and_then(whole_part) {
            let Ok(checkpoint) = whole.parse() else { break };
            checkpoints.push(checkpoint);
            good_bytes += whole.len() + usize::from(good_bytes > 0);
            next = text.get(good_bytes..).and_then(|rest| rest.strip_prefix('\n'));
        }
        let rest = file.get(good_bytes..).unwrap_or_default();
        let error = if rest.is_empty() { None } else { Some(error_of(text)) };
        RecoveredCheckpoints { checkpoints, good_bytes, rest, error }
    }
}

/// The checkpoint at the beginning of a text: up to the last line after the empty one that is a
/// signature. None if there is no such line.
fn whole_part(text: &str) -> Option<&str> {
    let signatures = text.find("\n\n")? + 2;
    let lines = text.get(signatures..)?.split_inclusive('\n').take(NOTE_SIGNATURES_MAX);
    let whole = lines.take_while(|line| Signature::parse_lines(line).is_ok()).map(str::len).sum::<usize>();
    if whole == 0 { None } else { text.get(..signatures + whole) }
}

/// Why a file with this text in it is no checkpoint file.
fn error_of(text: &str) -> CheckpointFileError {
    match text.parse::<CheckpointFile>() {
        Err(error) => error,
        // The text is whole, and what comes after it is no text.
        Ok(_) => CheckpointFileError { line: text.lines().count() + 1, error: NoteError::Control.into() },
    }
}

impl FromStr for CheckpointFile {
    type Err = CheckpointFileError;

    fn from_str(text: &str) -> Result<CheckpointFile, CheckpointFileError> {
        let checkpoints = Notes::of(text).collect::<Result<Vec<_>, _>>()?;
        if checkpoints.is_empty() {
            return Err(CheckpointFileError { line: 1, error: CheckpointError::Lines });
        }
        Ok(CheckpointFile { checkpoints })
    }
}

/// The file. It is empty if there are no checkpoints, which is no checkpoint file.
impl fmt::Display for CheckpointFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.checkpoints.iter().enumerate().try_for_each(|(place, checkpoint)| {
            let between = if place == 0 { "" } else { "\n" };
            write!(f, "{between}{checkpoint}")
        })
    }
}

impl FromIterator<SignedCheckpoint> for CheckpointFile {
    fn from_iter<T: IntoIterator<Item = SignedCheckpoint>>(checkpoints: T) -> CheckpointFile {
        CheckpointFile { checkpoints: checkpoints.into_iter().collect() }
    }
}

/// Goes through a file, and ends at the first checkpoint that is none.
struct Notes<'a> {
    text: &'a str,
    /// Where the next checkpoint begins, if there must be one.
    next: Option<usize>,
    line: usize,
}

impl<'a> Notes<'a> {
    fn of(text: &'a str) -> Notes<'a> {
        Notes { text, next: if text.is_empty() { None } else { Some(0) }, line: 1 }
    }

    fn read(&mut self, start: usize) -> Result<SignedCheckpoint, CheckpointError> {
        let rest = self.text.get(start..).unwrap_or_default();
        let mut ends = rest.match_indices("\n\n").map(|(at, _)| at);
        // The first empty line is the checkpoint's own. It ends before the second.
        let note = match (ends.next(), ends.next()) {
            (Some(_), Some(last)) => rest.get(..=last).unwrap_or(rest),
            _ => rest,
        };
        let checkpoint = note.parse()?;
        let end = start + note.len();
        self.line += note.split_terminator('\n').count() + 1;
        // Whatever follows is an empty line, and one more checkpoint.
        self.next = if end < self.text.len() { Some(end + 1) } else { None };
        Ok(checkpoint)
    }
}

impl Iterator for Notes<'_> {
    type Item = Result<SignedCheckpoint, CheckpointFileError>;

    fn next(&mut self) -> Option<Self::Item> {
        let start = self.next.take()?;
        let line = self.line;
        Some(self.read(start).map_err(|error| CheckpointFileError { line, error }))
    }
}
