//! API keys of an open log.

use rusqlite::params;

use super::handle::AuditLog;
use crate::apikey::{self, ApiKey, ApiKeyError, ApiKeyRequest, Keys, Uses};
use crate::event::{ApiKeyCreated, ApiKeyRevoked, Draft, Event, EventId, Timestamp};
use crate::log::{self, Effect};
use crate::receipt::Appended;

impl AuditLog {
    /// Creates an API key. A server accepts a request with this key if the scopes of the key allow it. The returned
    /// value has the only copy of the secret; the log has only a hash of the secret.
    ///
    /// # Errors
    /// If the request is not valid, an active key has its name, or the key cannot be recorded. If the error leaves open
    /// whether the key was recorded, the key cannot be used: nobody has its secret.
    pub fn create_api_key(&self, request: &ApiKeyRequest) -> Result<(ApiKey, Appended), ApiKeyError> {
        request.check(self.now())?;
        let key = ApiKey::generate().map_err(|error| ApiKeyError::Random(error.to_string()))?;
        let mut scopes = Vec::new();
        for scope in &request.scopes {
            if !scopes.contains(scope) {
                scopes.push(*scope);
            }
        }
        let effect = Effect::ApiKeyCreated { name: request.name.clone() };
        let event = ApiKeyCreated {
            name: request.name.clone(),
            scopes,
            secret_hash: key.hash().into(),
            expires_at: request.expires_at,
            actor: request.actor.clone(),
            reason: request.reason.clone(),
        };
        let appended = self.append_about_keys(Draft::new(event).id(key.id()), effect)?;
        Ok((key, appended))
    }

    /// Revokes an API key. All servers of the log refuse it within a second.
    ///
    /// # Errors
    /// If there is no such key, it is revoked already, or the revocation cannot be recorded.
    pub fn revoke_api_key(
        &self,
        id: EventId,
        actor: &str,
        reason: Option<&str>,
    ) -> Result<Appended, ApiKeyError> {
        let connection = log::open_reader(self.path())?;
        let keys = apikey::read(&connection)?;
        drop(connection);
        let key = keys.into_iter().find(|key| key.id == id).ok_or(ApiKeyError::Unknown(id))?;
        if let Some(revoked) = key.revoked {
            return Err(ApiKeyError::AlreadyRevoked { id, at: revoked.at, by: revoked.by });
        }
        let event = Event::ApiKeyRevoked(ApiKeyRevoked {
            key: id,
            actor: actor.to_owned(),
            reason: reason.map(str::to_owned),
        });
        self.append_about_keys(Draft::new(event), Effect::ApiKeyRevoked)
    }

    fn append_about_keys(&self, mut draft: Draft, effect: Effect) -> Result<Appended, ApiKeyError> {
        let (message, receipt) = self.prepare_own(&mut draft, effect)?;
        self.inner.queue.send(message)?;
        Ok(receipt.wait()?)
    }

    /// Records the times at which keys were last used. A time before the stored one changes nothing. But a stored time
    /// in the future is always replaced, because the clock was ahead when it was stored.
    pub(crate) fn keep_api_key_uses(&self, uses: &[(EventId, Timestamp)]) -> Result<(), ApiKeyError> {
        let now = self.now().to_sql();
        self.change_beside(|connection| {
            let mut statement = connection.prepare(
                "INSERT INTO api_key_uses (key, last_used_at) VALUES (?1, ?2)
                 ON CONFLICT (key) DO UPDATE SET last_used_at = CASE WHEN last_used_at > ?3
                   THEN excluded.last_used_at ELSE max(last_used_at, excluded.last_used_at) END",
            )?;
            for (key, at) in uses {
                statement.execute(params![key.to_string(), at.to_sql(), now])?;
            }
            Ok(())
        })
    }
}

impl Keys {
    /// Writes the times at which keys were last used to the log's file. A server calls this from time to time, and when
    /// it stops.
    ///
    /// # Errors
    /// If the file cannot be written. The next call tries again.
    pub fn keep_uses(&self, log: &AuditLog, which: Uses) -> Result<(), ApiKeyError> {
        let due = self.uses_due(which);
        if due.is_empty() {
            return Ok(());
        }
        log.keep_api_key_uses(&due)?;
        // Called after the commit, so that times that could not be written stay due.
        self.uses_kept(&due);
        Ok(())
    }
}
