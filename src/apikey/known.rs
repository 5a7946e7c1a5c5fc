//! The state of each key, from the events of the log.

use std::collections::BTreeMap;

use rusqlite::{Connection, params};
use serde::Serialize;

use super::key::ApiKeyHash;
use crate::event::{ApiKeyScope, Content, Event, EventId, Recorded, Seq, Timestamp};
use crate::log::rows::shown_column;
use crate::log::schema::has_table;
use crate::log::{OpenError, ReadError, rows};
use crate::storage::{StorageError, from_sqlite};

/// Keys that cannot be read. Every key is refused in this case.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KeysError {
    /// The file cannot be opened.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// An event cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The list of events about keys does not fit the log.
    #[error("event {0} should be about an API key, and is not; run `annals verify` for details")]
    NotAboutKeys(Seq),
    /// The keys were closed.
    #[error("the API keys are closed: the server is stopping")]
    Closed,
    /// SQLite refused.
    #[error("the API keys cannot be read: {0}")]
    Storage(#[from] StorageError),
}

from_sqlite!(KeysError);

/// An API key as the log has it, without the secret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct ApiKeyRecord {
    /// The id of the key: also the principal of the events that were submitted with it.
    pub id: EventId,
    /// The name of the key.
    pub name: String,
    /// The scopes of the key.
    pub scopes: Vec<ApiKeyScope>,
    #[serde(skip)]
    pub(super) secret_hash: ApiKeyHash,
    /// The time of its creation.
    pub created_at: Timestamp,
    /// The author of its creation.
    pub created_by: String,
    /// The purpose of the key.
    pub reason: Option<String>,
    /// The event that created it.
    pub seq: Seq,
    /// The time at which it expires.
    pub expires_at: Option<Timestamp>,
    /// The revocation, if the key was revoked.
    pub revoked: Option<Revocation>,
    /// The time of its last use, precise to about a minute.
    pub last_used_at: Option<Timestamp>,
}

/// The revocation of a key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Revocation {
    /// The time of the revocation.
    pub at: Timestamp,
    /// The author of the revocation.
    pub by: String,
    /// The reason.
    pub reason: Option<String>,
    /// The event that recorded it.
    pub seq: Seq,
}

/// The status of a key at some time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum ApiKeyStatus {
    /// The key can be used for its scopes.
    Active,
    /// The key has expired.
    Expired,
    /// The key was revoked.
    Revoked,
}

impl ApiKeyStatus {
    /// The status as a word, as in the JSON form.
    pub const fn as_str(self) -> &'static str {
        match self {
            ApiKeyStatus::Active => "active",
            ApiKeyStatus::Expired => "expired",
            ApiKeyStatus::Revoked => "revoked",
        }
    }
}

impl ApiKeyRecord {
    /// Returns the status at this time. A revoked key stays revoked after its expiry.
    pub fn status(&self, now: Timestamp) -> ApiKeyStatus {
        match (&self.revoked, self.expires_at) {
            (Some(_), _) => ApiKeyStatus::Revoked,
            (None, Some(expires_at)) if expires_at <= now => ApiKeyStatus::Expired,
            _ => ApiKeyStatus::Active,
        }
    }
}

/// The keys up to some event of the log.
#[derive(Clone, Debug, Default)]
pub(super) struct Known {
    pub(super) keys: BTreeMap<EventId, ApiKeyRecord>,
    /// The last event about keys that is included.
    pub(super) until: Seq,
}

impl Known {
    /// Returns whether there are newer events about keys: one look at the end of a small table.
    pub(super) fn has_news(&self, connection: &Connection) -> rusqlite::Result<bool> {
        let sql = "SELECT EXISTS (SELECT 1 FROM api_key_events WHERE seq > ?1)";
        match connection.prepare_cached(sql) {
            Ok(mut statement) => statement.query_row([self.until.to_sql()], |row| row.get(0)),
            // A file of an earlier schema has no keys.
            Err(_) if !has_table(connection, "api_key_events")? => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Reads the newer events about keys.
    pub(super) fn catch_up(&mut self, connection: &Connection) -> Result<(), KeysError> {
        // A file of an earlier schema has no keys.
        if !has_table(connection, "api_key_events")? {
            return Ok(());
        }
        let seqs: Vec<i64> = connection
            .prepare_cached("SELECT seq FROM api_key_events WHERE seq > ?1 ORDER BY seq")?
            .query_map(params![self.until.to_sql()], |row| row.get(0))?
            .collect::<rusqlite::Result<_>>()?;
        for seq in seqs.into_iter().map(Seq::from_sql) {
            // A listed event that the log lacks is an error and is not skipped: it may be a revocation.
            let event = rows::read_at(connection, seq)?.ok_or(KeysError::NotAboutKeys(seq))?;
            self.add(event)?;
            self.until = seq;
        }
        Ok(())
    }

    /// Applies one event. The fold of the projection `keys` does the same with rows: if a key is revoked
    /// twice, the first revocation counts.
    fn add(&mut self, event: Recorded) -> Result<(), KeysError> {
        let seq = event.seq;
        match event.content {
            Content::Event(Event::ApiKeyCreated(created)) => {
                let record = ApiKeyRecord {
                    id: event.event_id,
                    name: created.name,
                    scopes: created.scopes,
                    secret_hash: created.secret_hash.into(),
                    created_at: event.recorded_at,
                    created_by: created.actor,
                    reason: created.reason,
                    seq,
                    expires_at: created.expires_at,
                    revoked: None,
                    last_used_at: None,
                };
                self.keys.insert(record.id, record);
            }
            Content::Event(Event::ApiKeyRevoked(revoked)) => {
                // The revocation of an unknown key changes nothing: there is no key to refuse.
                if let Some(record) = self.keys.get_mut(&revoked.key) {
                    record.revoked.get_or_insert(Revocation {
                        at: event.recorded_at,
                        by: revoked.actor,
                        reason: revoked.reason,
                        seq,
                    });
                }
            }
            _ => return Err(KeysError::NotAboutKeys(seq)),
        }
        Ok(())
    }
}

/// Reads every key that was ever created, the newest first, with the time of its last use.
pub(crate) fn read(connection: &Connection) -> Result<Vec<ApiKeyRecord>, KeysError> {
    let mut known = Known::default();
    known.catch_up(connection)?;
    if has_table(connection, "api_key_uses")? {
        let mut statement = connection.prepare(&format!(
            "SELECT {}, {} FROM api_key_uses",
            shown_column("key"),
            shown_column("last_used_at")
        ))?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            let (key, used_at): (String, String) = (row.get(0)?, row.get(1)?);
            // The time of last use is no evidence: one that cannot be read is left out.
            if let Some(record) = key.parse().ok().and_then(|id: EventId| known.keys.get_mut(&id)) {
                record.last_used_at = Timestamp::from_sql(&used_at);
            }
        }
    }
    let mut keys: Vec<ApiKeyRecord> = known.keys.into_values().collect();
    keys.sort_by_key(|key| std::cmp::Reverse(key.seq));
    Ok(keys)
}
