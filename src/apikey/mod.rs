//! API keys: who may ask a server for what.
//!
//! ```text
//! create, revoke ─▶ apikey.created, apikey.revoked ─▶ log ─┬─▶ api_key_events ─▶ Keys ─▶ may this key do that?
//!                                                          └─▶ projection `keys` ─▶ api_keys, for SQL
//! ```
//!
//! A key is an id and a secret. The id is that of the event that created it, and the principal of what
//! is submitted with it; of the secret the log has a hash alone. What became of each key is in the log,
//! so that who gave out which key, and when it was taken back, is as provable as everything else.
//!
//! [`Keys`] goes by the events and not by the read table: these are listed in `api_key_events` by the
//! transaction that appends them. So a key that was revoked is refused however far behind the read tables
//! are, or if nobody fills them.

mod key;
mod known;
mod keys;

use serde::Serialize;

pub use key::{ApiKey, ApiKeyHash, NotAnApiKey};
pub use keys::{Allowed, Denied, Keys, Uses};
pub use known::{ApiKeyRecord, ApiKeyStatus, KeysError, Revocation};

pub(crate) use known::read;

use crate::event::{ApiKeyScope, EventId, Timestamp};
use crate::log::OpenError;
use crate::receipt::AppendError;
use crate::storage::{StorageError, from_sqlite};

/// Longest name of a key, in bytes of UTF-8: a line in a list.
pub const NAME_BYTES_MAX: usize = 200;

/// A key that somebody asks for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ApiKeyRequest {
    /// What it is called, for people: 1 to 200 bytes, no control characters. No other key that is good has
    /// its name; one that expired or was revoked may.
    pub name: String,
    /// What it may do; at least one thing.
    pub scopes: Vec<ApiKeyScope>,
    /// When it stops being good, which is not past.
    pub expires_at: Option<Timestamp>,
    /// Who makes it.
    pub actor: String,
    /// What for.
    pub reason: Option<String>,
}

impl ApiKeyRequest {
    /// Whether a key can be made as asked, at this time.
    ///
    /// # Errors
    /// Names what is wrong with the request.
    pub fn check(&self, now: Timestamp) -> Result<(), ApiKeyError> {
        let name = &self.name;
        if name.trim().is_empty() || name.len() > NAME_BYTES_MAX || name.chars().any(char::is_control) {
            return Err(ApiKeyError::Name);
        }
        if self.scopes.is_empty() {
            return Err(ApiKeyError::NoScope);
        }
        match self.expires_at {
            Some(at) if at <= now || !at.in_range() => Err(ApiKeyError::ExpiresAt(at)),
            _ => Ok(()),
        }
    }
}

/// A key that could not be made or revoked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ApiKeyError {
    /// Its name cannot be one.
    #[error("a key needs a name of 1 to {NAME_BYTES_MAX} bytes without control characters")]
    Name,
    /// It could do nothing.
    #[error("a key needs at least one scope: emit, read, verify or admin")]
    NoScope,
    /// It would never be good.
    #[error("a key that expires at {0} is good for nothing: name a time to come, before the year 10000")]
    ExpiresAt(Timestamp),
    /// There is no such key.
    #[error("the log has no key {0}")]
    Unknown(EventId),
    /// It is revoked.
    #[error("the key {id} was revoked already, at {at} by {by}")]
    AlreadyRevoked {
        /// The key.
        id: EventId,
        /// When.
        at: Timestamp,
        /// By whom.
        by: String,
    },
    /// The system gave no random bytes for the secret.
    #[error("no random bytes from the system for the key's secret: {0}")]
    Random(String),
    /// What became of the keys before cannot be read.
    #[error(transparent)]
    Keys(#[from] KeysError),
    /// It could not be recorded.
    #[error(transparent)]
    Append(#[from] AppendError),
    /// The file refused.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// SQLite refused.
    #[error("when keys were used cannot be kept: {0}")]
    Storage(#[from] StorageError),
    /// The lock file cannot be locked.
    #[error("the lock file cannot be locked: {0}")]
    Lock(#[from] std::io::Error),
}

from_sqlite!(ApiKeyError);
