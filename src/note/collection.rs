//! Checkpoint files: one or more checkpoints, with an empty line between two of them.
//!
//! A checkpoint has exactly one empty line, before its signatures. So the blocks between empty lines are
//! alternately the text of a checkpoint and the signatures on it.

use std::fmt;
use std::str::FromStr;

use super::checkpoint::CheckpointError;
use super::signature::{NoteError, Signature};
use super::signed_checkpoint::SignedCheckpoint;
use crate::limits::NOTE_SIGNATURES_MAX;

/// A checkpoint file that cannot be read, and the line of the error.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {error}")]
#[non_exhaustive]
pub struct CheckpointFileError {
    /// The first line of the part that is not a checkpoint, from 1.
    pub line: usize,
    /// The reason why it is not one.
    pub error: CheckpointError,
}

/// The checkpoints of a file, in their order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CheckpointFile {
    /// The checkpoints.
    pub checkpoints: Vec<SignedCheckpoint>,
}

/// The content of a file that may be torn at its end, because a program or a machine stopped during an append.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct RecoveredCheckpoints<'a> {
    /// The checkpoints before the first bytes that are not one.
    pub checkpoints: Vec<SignedCheckpoint>,
    /// Number of bytes that these checkpoints take up. The next checkpoint belongs there, after an empty
    /// line if the number is not zero.
    pub good_bytes: usize,
    /// The bytes after them: nothing, a torn checkpoint, or any other bytes.
    pub rest: &'a [u8],
    /// The reason why the rest is not a checkpoint, if there is a rest.
    pub error: Option<CheckpointFileError>,
}

impl CheckpointFile {
    /// Reads the checkpoints of a file up to the first that is not whole. A checkpoint with a torn end
    /// keeps the signatures before the tear, if it has any.
    pub fn recover(file: &[u8]) -> RecoveredCheckpoints<'_> {
        // A file that is torn within a character is read up to that character.
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
            // `good_bytes` moves only over checkpoints that parse, so an append at this offset follows a whole one.
            let Ok(checkpoint) = whole.parse() else { break };
            checkpoints.push(checkpoint);
            // The second and each later checkpoint has an empty line before it: one more byte.
            good_bytes += whole.len() + usize::from(good_bytes > 0);
            next = text.get(good_bytes..).and_then(|rest| rest.strip_prefix('\n'));
        }
        let rest = file.get(good_bytes..).unwrap_or_default();
        let error = if rest.is_empty() { None } else { Some(error_of(text)) };
        RecoveredCheckpoints { checkpoints, good_bytes, rest, error }
    }
}

/// The checkpoint at the beginning of a text: up to the last of the signature lines after the empty line.
/// `None` if there is no such line.
fn whole_part(text: &str) -> Option<&str> {
    // The text of a checkpoint has no empty lines, so the first one ends it.
    let signatures = text.find("\n\n")? + 2;
    let lines = text.get(signatures..)?.split_inclusive('\n').take(NOTE_SIGNATURES_MAX);
    let whole = lines.take_while(|line| Signature::parse_lines(line).is_ok()).map(str::len).sum::<usize>();
    if whole == 0 { None } else { text.get(..signatures + whole) }
}

/// The reason why a file with this text is not a checkpoint file.
fn error_of(text: &str) -> CheckpointFileError {
    match text.parse::<CheckpointFile>() {
        Err(error) => error,
        // The text is whole, and the bytes after it are not text.
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

/// Prints the file. Without checkpoints it is empty, which is not a valid checkpoint file.
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

/// An iterator over the checkpoints of a file, which ends at the first part that is not one.
struct Notes<'a> {
    text: &'a str,
    /// The offset of the next checkpoint, if there must be one.
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
        // The first empty line belongs to the checkpoint. The second one is the separator after it.
        let note = match (ends.next(), ends.next()) {
            (Some(_), Some(last)) => rest.get(..=last).unwrap_or(rest),
            _ => rest,
        };
        let checkpoint = note.parse()?;
        let end = start + note.len();
        self.line += note.split_terminator('\n').count() + 1;
        // If anything follows, it must be an empty line and one more checkpoint.
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
