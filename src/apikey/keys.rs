//! The decision whether a presented key is good, without a query to the file each time.

use std::collections::HashMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError, RwLock};
use std::time::{Duration, Instant};

use rusqlite::Connection;

use super::key::{ApiKey, ApiKeyHash};
use super::known::{ApiKeyStatus, KeysError, Known};
use crate::event::{ApiKeyScope, EventId, Timestamp};
use crate::log;

/// The time for which the keys in memory are used without a look at the log: half of the second within
/// which a key that another process revoked must be refused.
const BELIEVED_FOR: Duration = Duration::from_millis(500);

/// Shortest time between two writes of a key's last use. The time is for people, and each write is a transaction.
const USE_KEPT_EVERY: Duration = Duration::from_secs(60);

/// The holder of a good key.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Allowed {
    /// The key's id: the principal of all events that are submitted with it.
    pub id: EventId,
    /// The name of the key.
    pub name: String,
    /// The scopes of the key.
    pub scopes: Vec<ApiKeyScope>,
}

impl Allowed {
    /// Returns whether the key has this scope. No scope includes another.
    pub fn may(&self, scope: ApiKeyScope) -> bool {
        self.scopes.contains(&scope)
    }
}

/// The reason why a key is refused. Only a caller that knows the secret learns that the key is expired or revoked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Denied {
    /// The text is not an API key.
    #[error("this is not an API key")]
    Malformed,
    /// The log has no key with this id.
    #[error("the log has no such key")]
    Unknown,
    /// The log has a key with this id, but with another secret.
    #[error("the secret of the key is wrong")]
    WrongSecret,
    /// The key has expired.
    #[error("the key expired at {at}")]
    Expired {
        /// The time at which it expired.
        at: Timestamp,
    },
    /// The key was revoked.
    #[error("the key was revoked at {at}")]
    Revoked {
        /// The time of the revocation.
        at: Timestamp,
    },
    /// The keys cannot be read at the moment, so every key is refused.
    #[error("the API keys cannot be read: {reason}")]
    Unreadable {
        /// The reason why.
        reason: String,
    },
}

/// The last uses that are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Uses {
    /// Those of keys for which none was written in the last minute.
    Due,
    /// All of them, when the server stops.
    All,
}

/// The log's file.
enum File {
    Open(Connection),
    /// Closed; the next look at the log opens it again.
    LetGo,
    /// Closed for good.
    Closed,
}

/// The keys in memory, and the time of the last look at the log.
struct State {
    known: Known,
    looked_at: Instant,
}

#[derive(Clone, Copy)]
struct Use {
    last: Timestamp,
    /// The last use that was written, and the time of that write.
    kept: Option<(Timestamp, Instant)>,
}

/// The keys of a log, for decisions about requests.
///
/// The keys are in memory. They are brought up to date from the log every half second, and at once if an
/// unknown key is presented. If that fails, every key is refused. The read tables are not used.
///
/// ```
/// use annals::apikey::{ApiKeyRequest, Keys};
/// use annals::{ApiKeyScope, AuditLog, Timestamp};
///
/// # let folder = tempfile::tempdir()?;
/// # let path = folder.path().join("audit.db");
/// let log = AuditLog::open(&path)?;
/// let keys = Keys::open(&path)?;
/// assert!(!keys.any_ever()?);
///
/// let (key, _) = log.create_api_key(&ApiKeyRequest {
///     name: "nightly evaluation".into(),
///     scopes: vec![ApiKeyScope::Emit],
///     expires_at: None,
///     actor: "ops".into(),
///     reason: None,
/// })?;
/// let allowed = keys.check(&key.reveal(), Timestamp::now())?;
/// assert!(allowed.may(ApiKeyScope::Emit) && !allowed.may(ApiKeyScope::Read));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Keys {
    path: PathBuf,
    /// The thread that holds this lock looks at the log; the others wait for its result.
    file: Mutex<File>,
    state: RwLock<State>,
    uses: Mutex<HashMap<EventId, Use>>,
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Keys").finish_non_exhaustive()
    }
}

impl Keys {
    /// Reads the keys of the log at `path`.
    ///
    /// # Errors
    /// If the file cannot be opened, is not a log, or its keys cannot be read.
    pub fn open(path: &Path) -> Result<Keys, KeysError> {
        let connection = log::open_reader(path)?;
        let mut known = Known::default();
        known.catch_up(&connection)?;
        Ok(Keys {
            path: path.to_owned(),
            file: Mutex::new(File::Open(connection)),
            state: RwLock::new(State { known, looked_at: Instant::now() }),
            uses: Mutex::default(),
        })
    }

    /// Returns whether a key was ever created in this log. Once there is one, keys are always needed.
    ///
    /// # Errors
    /// If the keys cannot be read. A key is needed in this case too.
    pub fn any_ever(&self) -> Result<bool, KeysError> {
        // No look at the log is needed: a key that was created once stays in the log.
        if !self.with_known(|known| known.keys.is_empty()) {
            return Ok(true);
        }
        self.catch_up(BELIEVED_FOR)?;
        Ok(self.with_known(|known| !known.keys.is_empty()))
    }

    /// Checks whether a presented key is good now, and returns its holder.
    ///
    /// # Errors
    /// If the key is not good.
    pub fn check(&self, presented: &str, now: Timestamp) -> Result<Allowed, Denied> {
        let key: ApiKey = presented.parse().map_err(|_| Denied::Malformed)?;
        let hash = key.hash();
        self.catch_up(BELIEVED_FOR).map_err(unreadable)?;
        let allowed = match self.judge(key.id(), hash, now) {
            // The key may have been created a moment ago. A wrong secret costs the same look at the log as
            // an unknown id, so the time of the answer does not reveal which of the two it is.
            Err(Denied::Unknown | Denied::WrongSecret) => {
                self.catch_up(Duration::ZERO).map_err(unreadable)?;
                self.judge(key.id(), hash, now)?
            }
            judged => judged?,
        };
        self.used(allowed.id, now);
        Ok(allowed)
    }

    /// As [`Keys::check`], from memory alone: it never waits for the file. `None` if the log must be looked
    /// at, or the key is not good.
    pub fn recall(&self, presented: &str, now: Timestamp) -> Option<Allowed> {
        let key: ApiKey = presented.parse().ok()?;
        if !self.is_up_to_date() {
            return None;
        }
        // A refusal by memory is not final: the key may be new, so `check` looks at the log first.
        let allowed = self.judge(key.id(), key.hash(), now).ok()?;
        self.used(allowed.id, now);
        Some(allowed)
    }

    /// As [`Keys::is_good`], from memory alone. `None` if the log must be looked at.
    pub fn recall_good(&self, id: EventId, now: Timestamp) -> Option<bool> {
        self.is_up_to_date().then(|| self.is_active(id, now))
    }

    /// Returns whether a key that was good before is still good. False if the keys cannot be read.
    pub fn is_good(&self, id: EventId, now: Timestamp) -> bool {
        self.catch_up(BELIEVED_FOR).is_ok() && self.is_active(id, now)
    }

    fn is_active(&self, id: EventId, now: Timestamp) -> bool {
        self.with_known(|known| {
            known.keys.get(&id).is_some_and(|record| record.status(now) == ApiKeyStatus::Active)
        })
    }

    fn is_up_to_date(&self) -> bool {
        self.looked_at().elapsed() < BELIEVED_FOR
    }

    fn used(&self, id: EventId, now: Timestamp) {
        self.uses().entry(id).or_insert(Use { last: now, kept: None }).last = now;
    }

    /// Returns the keys with a last use that is to be written to the log's file.
    pub(crate) fn uses_due(&self, which: Uses) -> Vec<(EventId, Timestamp)> {
        // A use that was written is never due again. A later one is due a minute after the last write.
        let is_due = |used: &Use| match used.kept {
            None => true,
            Some((kept, _)) if kept == used.last => false,
            Some((_, at)) => which == Uses::All || at.elapsed() >= USE_KEPT_EVERY,
        };
        self.uses().iter().filter(|(_, used)| is_due(used)).map(|(id, used)| (*id, used.last)).collect()
    }

    /// Notes that these uses were written. A use that came after `kept` was collected stays due.
    pub(crate) fn uses_kept(&self, kept: &[(EventId, Timestamp)]) {
        let now = Instant::now();
        let mut uses = self.uses();
        for (id, last) in kept {
            if let Some(used) = uses.get_mut(id) {
                used.kept = Some((*last, now));
            }
        }
    }

    /// Closes the file. After that every key is refused, except that the keys in memory are still used for
    /// up to half a second.
    ///
    /// Call this before the log is closed: the last connection that closes removes the write-ahead log, and
    /// a connection that only reads cannot do that.
    pub fn close(&self) {
        *self.file() = File::Closed;
    }

    /// Closes the file until a key is checked again. A write-ahead log that was removed is created again
    /// only when nobody uses the old one.
    pub(crate) fn let_go(&self) {
        let mut file = self.file();
        if matches!(*file, File::Open(_)) {
            *file = File::LetGo;
        }
    }

    fn file(&self) -> MutexGuard<'_, File> {
        // The value is changed only by assignments, so it is whole even after a panic.
        self.file.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn judge(&self, id: EventId, hash: ApiKeyHash, now: Timestamp) -> Result<Allowed, Denied> {
        self.with_known(|known| {
            let record = known.keys.get(&id).ok_or(Denied::Unknown)?;
            // The secret is checked first: without it, a caller must not learn that the key was revoked or
            // has expired.
            if record.secret_hash != hash {
                return Err(Denied::WrongSecret);
            }
            if let Some(revoked) = &record.revoked {
                return Err(Denied::Revoked { at: revoked.at });
            }
            match record.expires_at {
                Some(at) if at <= now => Err(Denied::Expired { at }),
                _ => Ok(Allowed { id, name: record.name.clone(), scopes: record.scopes.clone() }),
            }
        })
    }

    /// Reads new events about keys, unless another thread did so within `believed_for`. A caller that comes
    /// during such a read waits for its result.
    fn catch_up(&self, believed_for: Duration) -> Result<(), KeysError> {
        let came = Instant::now();
        let is_new_enough = |looked_at: Instant| {
            // A read that began after this call sees every event that was committed before the call.
            looked_at >= came || came.duration_since(looked_at) < believed_for
        };
        if is_new_enough(self.looked_at()) {
            return Ok(());
        }
        // The values behind the locks are changed only by assignments, so they are whole even after a panic.
        let mut file = self.file();
        // Asked again: another thread may have read while this one waited for the lock.
        if is_new_enough(self.looked_at()) {
            return Ok(());
        }
        if let File::LetGo = *file {
            *file = File::Open(log::open_reader(&self.path)?);
        }
        let File::Open(connection) = &*file else { return Err(KeysError::Closed) };
        // Taken before the query: the result includes at least everything that was committed before this moment.
        let looked_at = Instant::now();
        let has_news = {
            // Only the holder of `file` writes `state`, so a read lock is enough here, and requests that
            // are decided from memory are not delayed by the query.
            let state = self.state.read().unwrap_or_else(PoisonError::into_inner);
            state.known.has_news(connection)?
        };
        let news = if has_news {
            // A copy is changed: if an event cannot be read, the keys in memory stay as they were. Keys
            // change rarely.
            let mut known = self.with_known(Known::clone);
            known.catch_up(connection)?;
            Some(known)
        } else {
            None
        };
        // Held for two assignments only.
        let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = news {
            state.known = known;
        }
        state.looked_at = looked_at;
        Ok(())
    }

    fn looked_at(&self) -> Instant {
        self.state.read().unwrap_or_else(PoisonError::into_inner).looked_at
    }

    fn with_known<T>(&self, ask: impl FnOnce(&Known) -> T) -> T {
        ask(&self.state.read().unwrap_or_else(PoisonError::into_inner).known)
    }

    fn uses(&self) -> MutexGuard<'_, HashMap<EventId, Use>> {
        self.uses.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn unreadable(error: KeysError) -> Denied {
    Denied::Unreadable { reason: error.to_string() }
}
