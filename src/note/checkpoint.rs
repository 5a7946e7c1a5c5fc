//! Checkpoints: the statement of a log about its tree at one size.

use std::fmt;
use std::str::FromStr;

use super::signature::NoteError;
use super::text::{base64_decode_32, base64_encode, decimal, is_note_text};
use crate::limits::ORIGIN_BYTES_MAX;
use crate::merkle::NodeHash;

/// A text that is not a checkpoint, and the reason.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CheckpointError {
    /// The text is not a signed note.
    #[error(transparent)]
    Note(#[from] NoteError),
    /// The text has fewer than three lines, or its last line does not end.
    #[error("a checkpoint has three lines: origin, size and root")]
    Lines,
    /// The first line is not the origin of a log.
    #[error("the first line of a checkpoint, its origin, must not be empty or have control characters")]
    Origin,
    /// The first line is longer than the origin of a log may be.
    #[error("an origin has at most {max} bytes, that of this checkpoint has {bytes}")]
    OriginTooLong {
        /// The origin's length in bytes.
        bytes: usize,
        /// The largest length allowed.
        max: usize,
    },
    /// The second line is not a size.
    #[error("the second line of a checkpoint is a number of leaves in decimal, not `{line}`")]
    Size {
        /// The line.
        line: String,
    },
    /// The third line is not a root.
    #[error("the third line of a checkpoint is a root, 32 bytes in base64, not `{line}`")]
    Root {
        /// The line.
        line: String,
    },
    /// A line after the third is empty, or has control characters.
    #[error("the lines after the third line of a checkpoint must not be empty")]
    Extension,
}

/// The tree of a log at one size.
///
/// ```
/// use annals::note::Checkpoint;
///
/// let text = "example.com/behind-the-sofa\n20852163\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n";
/// let checkpoint: Checkpoint = text.parse()?;
/// assert_eq!((checkpoint.origin(), checkpoint.size()), ("example.com/behind-the-sofa", 20_852_163));
/// assert_eq!(checkpoint.to_string(), text);
/// # Ok::<(), annals::note::CheckpointError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Checkpoint {
    origin: String,
    size: u64,
    root: NodeHash,
    extensions: Vec<String>,
}

impl Checkpoint {
    /// Makes a checkpoint without extension lines, as logs of Annals have them.
    ///
    /// # Errors
    /// If the origin is empty, too long, or has control characters.
    pub fn new(origin: impl Into<String>, size: u64, root: NodeHash) -> Result<Checkpoint, CheckpointError> {
        let origin = origin.into();
        check_origin(&origin)?;
        Ok(Checkpoint { origin, size, root, extensions: Vec::new() })
    }

    /// The log's name for itself.
    pub fn origin(&self) -> &str {
        &self.origin
    }

    /// Number of leaves of the tree.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// The root of the tree of that size.
    pub fn root(&self) -> &NodeHash {
        &self.root
    }

    /// The extension lines of another log. Only that log knows their meaning, and ML-DSA-44 cosignatures do
    /// not cover them.
    pub fn extensions(&self) -> &[String] {
        &self.extensions
    }
}

pub(super) fn check_origin(origin: &str) -> Result<(), CheckpointError> {
    if origin.len() > ORIGIN_BYTES_MAX {
        return Err(CheckpointError::OriginTooLong { bytes: origin.len(), max: ORIGIN_BYTES_MAX });
    }
    if origin.is_empty() || origin.contains('\n') || !is_note_text(origin) {
        return Err(CheckpointError::Origin);
    }
    Ok(())
}

/// Reads the text of a note, which ends in a newline.
impl FromStr for Checkpoint {
    type Err = CheckpointError;

    fn from_str(text: &str) -> Result<Checkpoint, CheckpointError> {
        let mut lines = text.strip_suffix('\n').ok_or(CheckpointError::Lines)?.split('\n');
        let mut next = || lines.next().ok_or(CheckpointError::Lines);
        let (origin, size, root) = (next()?, next()?, next()?);
        check_origin(origin)?;
        let size = decimal(size).ok_or_else(|| CheckpointError::Size { line: size.to_owned() })?;
        let root = base64_decode_32(root)
            .map(NodeHash::from_bytes)
            .ok_or_else(|| CheckpointError::Root { line: root.to_owned() })?;
        let extensions: Vec<String> = lines.map(str::to_owned).collect();
        // An empty line in the text would be taken for its end where checkpoints follow each other.
        if extensions.iter().any(|line| line.is_empty() || !is_note_text(line)) {
            return Err(CheckpointError::Extension);
        }
        Ok(Checkpoint { origin: origin.to_owned(), size, root, extensions })
    }
}

/// Prints the text of the note, with the newline at its end.
impl fmt::Display for Checkpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}\n{}\n{}\n", self.origin, self.size, base64_encode(self.root.bytes()))?;
        self.extensions.iter().try_for_each(|line| writeln!(f, "{line}"))
    }
}
