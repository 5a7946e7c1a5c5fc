//! Whether a key that somebody shows is good, without asking the file each time.

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

/// How long it is believed that no key was created or revoked: half of the second in which a key that
/// another process revoked must be refused.
const BELIEVED_FOR: Duration = Duration::from_millis(500);

/// Least time between two writings of when a key was last used: it is for people, and each writing is a
/// transaction.
const USE_KEPT_EVERY: Duration = Duration::from_secs(60);

/// Who showed a good key.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Allowed {
    /// The key's id: the principal of what is submitted with it.
    pub id: EventId,
    /// What it is called.
    pub name: String,
    /// What it may do.
    pub scopes: Vec<ApiKeyScope>,
}

impl Allowed {
    /// Whether the key may be used for this. No scope includes another.
    pub fn may(&self, scope: ApiKeyScope) -> bool {
        self.scopes.contains(&scope)
    }
}

/// Why a key is not good. Only who knows the secret hears that it is expired or revoked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Denied {
    /// It is no key.
    #[error("this is not an API key")]
    Malformed,
    /// The log knows none with this id.
    #[error("the log has no such key")]
    Unknown,
    /// The log knows one with this id and another secret.
    #[error("the secret of the key is wrong")]
    WrongSecret,
    /// Its time is over.
    #[error("the key expired at {at}")]
    Expired {
        /// When.
        at: Timestamp,
    },
    /// It was taken back.
    #[error("the key was revoked at {at}")]
    Revoked {
        /// When.
        at: Timestamp,
    },
    /// What became of the keys cannot be read now, so that nobody is let in.
    #[error("the API keys cannot be read: {reason}")]
    Unreadable {
        /// Why not.
        reason: String,
    },
}

/// Which uses are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Uses {
    /// Those of keys whose last use was not written for a minute.
    Due,
    /// All of them, at the end.
    All,
}

/// The log's file.
enum File {
    Open(Connection),
    /// Closed, and to be opened again by the next look.
    LetGo,
    /// Closed for good.
    Closed,
}

/// What is known of the keys, and since when.
struct State {
    known: Known,
    looked_at: Instant,
}

#[derive(Clone, Copy)]
struct Use {
    last: Timestamp,
    /// What was written, and when.
    kept: Option<(Timestamp, Instant)>,
}

/// The keys of a log, for deciding about requests.
///
/// What became of them is in memory, and is brought up to date from the log every half second, and at
/// once when a key is shown that is not known. If it cannot be, every key is refused. It does not depend
/// on the read tables.
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
    /// Whoever holds it looks for what is new; the others wait for that.
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

    /// Returns whether a key was ever created in this log: once there is one, keys are always needed.
    ///
    /// # Errors
    /// If that cannot be read; keys are needed then as well.
    pub fn any_ever(&self) -> Result<bool, KeysError> {
        // A key that was created stays created.
        if !self.with_known(|known| known.keys.is_empty()) {
            return Ok(true);
        }
        self.catch_up(BELIEVED_FOR)?;
        Ok(self.with_known(|known| !known.keys.is_empty()))
    }

    /// Whether the key that somebody shows is good now, and who they are.
    ///
    /// # Errors
    /// If it is not.
    pub fn check(&self, presented: &str, now: Timestamp) -> Result<Allowed, Denied> {
        let key: ApiKey = presented.parse().map_err(|_| Denied::Malformed)?;
        let hash = key.hash();
        self.catch_up(BELIEVED_FOR).map_err(unreadable)?;
        let allowed = match self.judge(key.id(), hash, now) {
            // It may have been created just now. A wrong secret is looked at as long as an unknown id, so
            // that the time that it takes does not tell one from the other.
            Err(Denied::Unknown | Denied::WrongSecret) => {
                self.catch_up(Duration::ZERO).map_err(unreadable)?;
                self.judge(key.id(), hash, now)?
            }
            judged => judged?,
        };
        self.used(allowed.id, now);
        Ok(allowed)
    }

    /// As [`Keys::check`], from memory alone: it never waits. None where the file must be asked, or the key is
    /// not good.
    pub fn recall(&self, presented: &str, now: Timestamp) -> Option<Allowed> {
        let key: ApiKey = presented.parse().ok()?;
        if !self.is_up_to_date() {
            return None;
        }
        let allowed = self.judge(key.id(), key.hash(), now).ok()?;
        self.used(allowed.id, now);
        Some(allowed)
    }

    /// As [`Keys::is_good`], from memory alone. None where the file must be asked.
    pub fn recall_good(&self, id: EventId, now: Timestamp) -> Option<bool> {
        self.is_up_to_date().then(|| self.is_active(id, now))
    }

    /// Whether a key that was shown and good before is good still. Not, if that cannot be read.
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

    /// The keys whose last use is to be written to the log's file.
    pub(crate) fn uses_due(&self, which: Uses) -> Vec<(EventId, Timestamp)> {
        let is_due = |used: &Use| match used.kept {
            None => true,
            Some((kept, _)) if kept == used.last => false,
            Some((_, at)) => which == Uses::All || at.elapsed() >= USE_KEPT_EVERY,
        };
        self.uses().iter().filter(|(_, used)| is_due(used)).map(|(id, used)| (*id, used.last)).collect()
    }

    /// Notes that these uses were written.
    pub(crate) fn uses_kept(&self, kept: &[(EventId, Timestamp)]) {
        let now = Instant::now();
        let mut uses = self.uses();
        for (id, last) in kept {
            if let Some(used) = uses.get_mut(id) {
                used.kept = Some((*last, now));
            }
        }
    }

    /// Closes the file. From then on every key is refused, but for what is known from memory for a moment.
    ///
    /// Do so before the log is closed: the last connection that closes takes the write-ahead log away, and
    /// one that only reads cannot.
    pub fn close(&self) {
        *self.file() = File::Closed;
    }

    /// Closes the file until keys are asked for again: a write-ahead log that was removed is made anew only when
    /// nobody uses the old one.
    pub fn let_go(&self) {
        let mut file = self.file();
        if matches!(*file, File::Open(_)) {
            *file = File::LetGo;
        }
    }

    fn file(&self) -> MutexGuard<'_, File> {
        // It is changed by assignments alone, which a panic leaves whole.
        self.file.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn judge(&self, id: EventId, hash: ApiKeyHash, now: Timestamp) -> Result<Allowed, Denied> {
        self.with_known(|known| {
            let record = known.keys.get(&id).ok_or(Denied::Unknown)?;
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

    /// Looks for what is new, unless somebody did so within `believed_for`. Who comes while somebody looks
    /// waits for the answer.
    fn catch_up(&self, believed_for: Duration) -> Result<(), KeysError> {
        let came = Instant::now();
        let is_new_enough = |looked_at: Instant| {
            // What began after this call came sees everything that was there when it came.
            looked_at >= came || came.duration_since(looked_at) < believed_for
        };
        if is_new_enough(self.looked_at()) {
            return Ok(());
        }
        // What is behind the locks is changed by assignments alone, which a panic leaves whole.
        let mut file = self.file();
        if is_new_enough(self.looked_at()) {
            return Ok(());
        }
        if let File::LetGo = *file {
            *file = File::Open(log::open_reader(&self.path)?);
        }
        let File::Open(connection) = &*file else { return Err(KeysError::Closed) };
        let looked_at = Instant::now();
        let has_news = {
            let state = self.state.read().unwrap_or_else(PoisonError::into_inner);
            state.known.has_news(connection)?
        };
        let news = if has_news {
            let mut known = self.with_known(Known::clone);
            known.catch_up(connection)?;
            Some(known)
        } else {
            None
        };
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
