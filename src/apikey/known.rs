//! What became of each key, as the log tells.

use std::collections::BTreeMap;

use rusqlite::{Connection, params};
use serde::Serialize;

use super::key::ApiKeyHash;
use crate::event::{ApiKeyScope, Content, Event, EventId, Recorded, Seq, Timestamp};
use crate::log::rows::shown_column;
use crate::log::schema::has_table;
use crate::log::{OpenError, ReadError, rows};
use crate::storage::{StorageError, from_sqlite};

/// Keys that cannot be read. Nobody is let in by keys that cannot be read.
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
    #[error("event {0} should be about an API key, and is not; `annals verify` says more")]
    NotAboutKeys(Seq),
    /// They were closed.
    #[error("the keys are closed: the server is about to end")]
    Closed,
    /// SQLite refused.
    #[error("the API keys cannot be read: {0}")]
    Storage(#[from] StorageError),
}

from_sqlite!(KeysError);

/// An API key, as the log tells of it; its secret is known to nobody here.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct ApiKeyRecord {
    /// Its id, and the principal of what it submitted.
    pub id: EventId,
    /// What it is called.
    pub name: String,
    /// What it may do.
    pub scopes: Vec<ApiKeyScope>,
    #[serde(skip)]
    pub(super) secret_hash: ApiKeyHash,
    /// When it was created.
    pub created_at: Timestamp,
    /// Who created it.
    pub created_by: String,
    /// What for.
    pub reason: Option<String>,
    /// The event that created it.
    pub seq: Seq,
    /// When it stops being good.
    pub expires_at: Option<Timestamp>,
    /// Who took it back, if somebody did.
    pub revoked: Option<Revocation>,
    /// When it was last used, to the minute or so.
    pub last_used_at: Option<Timestamp>,
}

/// A key that was taken back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Revocation {
    /// When.
    pub at: Timestamp,
    /// By whom.
    pub by: String,
    /// Why.
    pub reason: Option<String>,
    /// The event that says so.
    pub seq: Seq,
}

/// What a key is good for at some time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum ApiKeyStatus {
    /// What its scopes say.
    Active,
    /// Nothing: its time is over.
    Expired,
    /// Nothing: it was taken back.
    Revoked,
}

impl ApiKeyStatus {
    /// The word for it.
    pub const fn as_str(self) -> &'static str {
        match self {
            ApiKeyStatus::Active => "active",
            ApiKeyStatus::Expired => "expired",
            ApiKeyStatus::Revoked => "revoked",
        }
    }
}

impl ApiKeyRecord {
    /// What it is good for at this time.
    pub fn status(&self, now: Timestamp) -> ApiKeyStatus {
        match (&self.revoked, self.expires_at) {
            (Some(_), _) => ApiKeyStatus::Revoked,
            (None, Some(expires_at)) if expires_at <= now => ApiKeyStatus::Expired,
            _ => ApiKeyStatus::Active,
        }
    }
}

/// What is known of the keys.
#[derive(Clone, Debug, Default)]
pub(super) struct Known {
    pub(super) keys: BTreeMap<EventId, ApiKeyRecord>,
    /// The last event about keys that is taken into account.
    pub(super) until: Seq,
}

impl Known {
    /// Whether something was recorded since: one look at the end of a small table.
    pub(super) fn has_news(&self, connection: &Connection) -> rusqlite::Result<bool> {
        let sql = "SELECT EXISTS (SELECT 1 FROM api_key_events WHERE seq > ?1)";
        match connection.prepare_cached(sql) {
            Ok(mut statement) => statement.query_row([self.until.to_sql()], |row| row.get(0)),
            // A file of an earlier schema has no keys.
            Err(_) if !has_table(connection, "api_key_events")? => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Takes into account what was recorded since.
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
            let event = rows::read_at(connection, seq)?.ok_or(KeysError::NotAboutKeys(seq))?;
            self.add(event)?;
            self.until = seq;
        }
        Ok(())
    }

    /// The fold of the projection `keys` does the same with rows: where a key is revoked twice, the first
    /// time counts.
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

/// Every key that was ever created, the newest first, with when it was last used.
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
            // It is no evidence: what cannot be read is not known.
            if let Some(record) = key.parse().ok().and_then(|id: EventId| known.keys.get_mut(&id)) {
                record.last_used_at = Timestamp::from_sql(&used_at);
            }
        }
    }
    let mut keys: Vec<ApiKeyRecord> = known.keys.into_values().collect();
    keys.sort_by_key(|key| std::cmp::Reverse(key.seq));
    Ok(keys)
}
