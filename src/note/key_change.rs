//! The certificate by which a key hands over to the next one.

use std::fmt;
use std::str::FromStr;

use super::checkpoint::check_origin;
use super::key::{KeyError, VerifierKey};
use super::text::{base64_decode_32, base64_encode, decimal};
use crate::event::KeyRole;
use crate::merkle::NodeHash;

/// The first line. No log can make a checkpoint of this text: the second line of a checkpoint is a size,
/// and the third a root.
const HEAD: &str = "annals key change";

/// A text that is not a change of a key, and the reason.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum KeyChangeError {
    /// The first line is a different one.
    #[error("this is not a change of a key: its first line is not `{HEAD}`")]
    Head,
    /// The text does not have six lines.
    #[error("a change of a key has six lines: `{HEAD}`, origin, role, key, size and root")]
    Lines,
    /// The second line is not the origin of a log.
    #[error("the second line, the origin, cannot be that of a log")]
    Origin,
    /// The third line is not a role.
    #[error("the third line is the key's role, `stable` or `epoch`, not `{line}`")]
    Role {
        /// The line.
        line: String,
    },
    /// The fourth line is not a public key.
    #[error("the fourth line is the new key: {0}")]
    Key(#[from] KeyError),
    /// The fifth line is not a size.
    #[error("the fifth line is a number of events in decimal, not `{line}`")]
    Size {
        /// The line.
        line: String,
    },
    /// The sixth line is not a root.
    #[error("the sixth line is a root, 32 bytes in base64, not `{line}`")]
    Root {
        /// The line.
        line: String,
    },
}

/// A change of a log's key: the text of a certificate, which the previous key signs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyChange {
    origin: String,
    role: KeyRole,
    key: VerifierKey,
    size: u64,
    root: NodeHash,
}

impl KeyChange {
    /// Makes the change to `key` after the first `size` events, which have a tree with this root.
    ///
    /// # Errors
    /// If the origin cannot be that of a log.
    pub fn new(
        origin: impl Into<String>,
        role: KeyRole,
        key: VerifierKey,
        size: u64,
        root: NodeHash,
    ) -> Result<KeyChange, KeyChangeError> {
        let origin = origin.into();
        check_origin(&origin).map_err(|_| KeyChangeError::Origin)?;
        Ok(KeyChange { origin, role, key, size, root })
    }

    /// The log's name for itself.
    pub fn origin(&self) -> &str {
        &self.origin
    }

    /// The role of the new key.
    pub fn role(&self) -> KeyRole {
        self.role
    }

    /// The new key.
    pub fn key(&self) -> &VerifierKey {
        &self.key
    }

    /// Number of events before the change.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// The root of the tree of that size.
    pub fn root(&self) -> &NodeHash {
        &self.root
    }
}

/// Reads the text of a note, which ends in a newline.
impl FromStr for KeyChange {
    type Err = KeyChangeError;

    fn from_str(text: &str) -> Result<KeyChange, KeyChangeError> {
        let rest =
            text.strip_prefix(HEAD).and_then(|rest| rest.strip_prefix('\n')).ok_or(KeyChangeError::Head)?;
        let rest = rest.strip_suffix('\n').ok_or(KeyChangeError::Lines)?;
        let lines: Vec<&str> = rest.split('\n').collect();
        let [origin, role, key, size, root] = lines.as_slice() else { return Err(KeyChangeError::Lines) };
        let size = decimal(size).ok_or_else(|| KeyChangeError::Size { line: (*size).to_owned() })?;
        let root = base64_decode_32(root)
            .map(NodeHash::from_bytes)
            .ok_or_else(|| KeyChangeError::Root { line: (*root).to_owned() })?;
        let role = role.parse().map_err(|_| KeyChangeError::Role { line: (*role).to_owned() })?;
        KeyChange::new(*origin, role, key.parse()?, size, root)
    }
}

/// Prints the text of the note, with the newline at its end.
impl fmt::Display for KeyChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let KeyChange { origin, role, key, size, root } = self;
        write!(f, "{HEAD}\n{origin}\n{role}\n{key}\n{size}\n{}\n", base64_encode(root.bytes()))
    }
}
