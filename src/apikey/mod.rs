//! API keys: the permissions of the users of a server.
//!
//! ```text
//! create, revoke ─▶ apikey.created, apikey.revoked ─▶ log ─┬─▶ api_key_events ─▶ Keys ─▶ may this key do that?
//!                                                          └─▶ projection `keys` ─▶ api_keys, for SQL
//! ```
//!
//! A key is an id and a secret. The id is that of the event that created the key. It is also the principal of all
//! events that are submitted with the key. The log has only a hash of the secret. Creation and revocation of keys
//! are events of the log, so their authors and times are as provable as every other event.
//!
//! [`Keys`] reads the events and not the read table. The transaction that appends such an event lists it in
//! `api_key_events`. So a revoked key is refused even if the read tables are behind, or no process fills them.

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

/// A request for a new key.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct ApiKeyRequest {
    /// The name of the key, for people: 1 to 200 bytes, no control characters. No other active key has the
    /// same name; an expired or revoked one may.
    pub name: String,
    /// The scopes of the key, at least one.
    pub scopes: Vec<ApiKeyScope>,
    /// The time at which the key expires. It must be in the future.
    pub expires_at: Option<Timestamp>,
    /// The person or program that creates the key.
    pub actor: String,
    /// The purpose of the key.
    pub reason: Option<String>,
}

impl ApiKeyRequest {
    /// Checks whether such a key can be made at this time.
    ///
    /// # Errors
    /// If the name, the scopes or the expiry cannot be used.
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

/// A key that could not be created or revoked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ApiKeyError {
    /// The name is empty, too long, or has control characters.
    #[error("a key needs a name of 1 to {NAME_BYTES_MAX} bytes without control characters")]
    Name,
    /// The key would have no scope.
    #[error("a key needs at least one scope: emit, read, verify or admin")]
    NoScope,
    /// The key would expire before it could be used, or at a time beyond the year 9999.
    #[error("a key cannot expire at {0}: give a time in the future, before the year 10000")]
    ExpiresAt(Timestamp),
    /// The log has no key with this id.
    #[error("the log has no key {0}")]
    Unknown(EventId),
    /// The key was already revoked.
    #[error("the key {id} was revoked already, at {at} by {by}")]
    AlreadyRevoked {
        /// The id of the key.
        id: EventId,
        /// The time of the revocation.
        at: Timestamp,
        /// The author of the revocation.
        by: String,
    },
    /// The system gave no random bytes for the secret.
    #[error("the system gave no random bytes for the key's secret: {0}")]
    Random(String),
    /// The keys of the log cannot be read.
    #[error(transparent)]
    Keys(#[from] KeysError),
    /// The event could not be recorded.
    #[error(transparent)]
    Append(#[from] AppendError),
    /// The log's file cannot be opened.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// SQLite refused to keep the times of last use.
    #[error("the times at which keys were last used cannot be stored: {0}")]
    Storage(#[from] StorageError),
    /// The lock file cannot be locked.
    #[error("the lock file cannot be locked: {0}")]
    Lock(#[from] std::io::Error),
}

from_sqlite!(ApiKeyError);
