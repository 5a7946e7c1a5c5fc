//! The signer of checkpoints: it signs only what is on the disk, and nothing that contradicts an earlier signature.

use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::{Connection, OptionalExtension, params};

use super::keys::{Change, KeyFolder, KeyFolderError, LockedKeys};
use super::stored::newest;
use super::tree::{TreeError, TreeReader, hash_on};
use crate::event::{EventId, KeyChangeCause, KeyChanged, KeyRole, Seq, Timestamp};
use crate::log::rows::to_sql;
use crate::log::write_lock::{Who, WriteLock, begin};
use crate::log::{self, ReadError, rows};
use crate::merkle::{
    BuildError, CompactRange, NodeHash, compact_range_at, inclusion_proof, verify_inclusion,
};
use crate::note::{
    Checkpoint, CheckpointError, KeyChange, KeyError, NoteError, SignedCheckpoint, SignedNote, SigningKey,
};
use crate::receipt::{AppendError, Appended};
use crate::storage::{StorageError, from_sqlite};
use crate::writer::Clock;

/// The name of the signer's own row in the table `anchors`, which has its last error.
pub(crate) const SIGNER: &str = "signer";

/// The actor in the events that begin epochs.
const ACTOR: &str = "annals";

/// The reason why a checkpoint cannot be signed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SignError {
    /// The keys cannot be read or kept.
    #[error(transparent)]
    Keys(#[from] KeyFolderError),
    /// The tree cannot be made.
    #[error("the log's tree cannot be computed: {0}")]
    Tree(#[from] BuildError<TreeError>),
    /// The log cannot be read.
    #[error(transparent)]
    Log(#[from] ReadError),
    /// The file cannot be written.
    #[error("the file cannot be written: {0}")]
    Storage(#[from] StorageError),
    /// The lock file cannot be locked.
    #[error("the lock file cannot be locked: {0}")]
    WriteLock(std::io::Error),
    /// Events that were signed for are gone.
    #[error(
        "the log has {events} events, but a checkpoint of {signed} events was signed: the log was cut off, or set back to an older copy; no more checkpoints are signed for it; `annals init --continues` creates a new log that continues it"
    )]
    RolledBack {
        /// The number of events in the log.
        events: u64,
        /// The number of events that the last checkpoint covers.
        signed: u64,
    },
    /// The log is not the one that was signed for.
    #[error(
        "the first {signed} events are not those of the checkpoint that was signed: the log was rewritten, or is another log, or a checkpoint of a copy with other events was signed; no more checkpoints are signed for it; `annals init --continues` creates a new log that continues it"
    )]
    Contradicts {
        /// The number of events that the last checkpoint covers.
        signed: u64,
    },
    /// The log is a copy of the one that is signed for.
    #[error("this is a copy of {}, the file for which the key signs; no checkpoint is signed for the copy, because the two logs would contradict each other. To continue with the copy, move the other file away", original.display())]
    Copy {
        /// The path of the other one.
        original: PathBuf,
    },
    /// The key is here, although the request says that it is lost.
    #[error(
        "the key is not lost, it is in its folder; leave --lost out, so that this key certifies the new one"
    )]
    NotLost,
    /// The key belongs to another log.
    #[error("the key signs for the log `{signed}`, but this log is `{origin}`")]
    OtherLog {
        /// The origin of the key's log.
        signed: String,
        /// The origin of this log.
        origin: String,
    },
    /// A note cannot be made.
    #[error(transparent)]
    Note(#[from] NoteError),
    /// A key cannot be used.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// A checkpoint cannot be made.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// The event of a change of keys cannot be appended.
    #[error("the change of keys cannot be recorded: {0}")]
    Append(#[from] AppendError),
    /// The key is not in the folder and cannot be replaced there.
    #[error(
        "a key in $ANNALS_KEY cannot be replaced; unset $ANNALS_KEY, run `annals key rotate --lost`, which creates a new key in a file, and then give the new key in $ANNALS_KEY"
    )]
    GivenKey,
    /// This process has the log open without a key.
    #[error("this log was opened without a key; `annals key generate` creates one")]
    NotSigned,
    /// The thread that signs is gone.
    #[error("the log was closed")]
    Closed,
    /// The log has no epochs.
    #[error("the log has no epoch key; `annals key generate --epochs` creates one")]
    NoEpochs,
}

from_sqlite!(SignError);

/// The path of a log, with the connection, the write lock and the clock that signing needs.
pub(crate) struct Site<'a> {
    pub(crate) path: &'a Path,
    pub(crate) connection: &'a Connection,
    pub(crate) write_lock: &'a WriteLock,
    pub(crate) clock: &'a Clock,
}

/// A checkpoint that was signed just now, or before.
#[derive(Clone, Debug)]
pub(crate) enum Signed {
    New(SignedCheckpoint),
    Before(SignedCheckpoint),
}

impl Signed {
    pub(crate) fn checkpoint(self) -> SignedCheckpoint {
        match self {
            Signed::New(checkpoint) | Signed::Before(checkpoint) => checkpoint,
        }
    }
}

/// A request to change a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyChangeRequest {
    /// The key to change.
    pub role: KeyRole,
    /// The cause of the change.
    pub cause: KeyChangeCause,
    /// The actor that asks for the change.
    pub actor: String,
    /// The reason in the actor's own words.
    pub reason: Option<String>,
}

/// A function that appends an event with this id. The id makes a second attempt the same event.
pub(crate) type Append<'a> = &'a dyn Fn(KeyChanged, EventId) -> Result<Appended, AppendError>;

/// The signer of one log.
pub(crate) struct Signer {
    origin: String,
    keys: KeyFolder,
    /// A stable key that is not in the folder.
    given: Option<SigningKey>,
}

impl Signer {
    pub(crate) fn new(origin: String, keys: KeyFolder, given: Option<SigningKey>) -> Signer {
        Signer { origin, keys, given }
    }

    pub(crate) fn keys(&self) -> &KeyFolder {
        &self.keys
    }

    /// Signs a checkpoint for everything that is committed.
    pub(crate) fn sign(&self, site: &Site<'_>) -> Result<Signed, SignError> {
        let locked = self.keys.lock()?;
        self.sign_locked(&locked, site)
    }

    fn sign_locked(&self, locked: &LockedKeys<'_>, site: &Site<'_>) -> Result<Signed, SignError> {
        let change = locked.change()?;
        let stable = match &self.given {
            Some(_) => None,
            None if change.as_ref().is_some_and(|change| change.role == KeyRole::Stable) => {
                // A first key, or the key after a lost one, has no key before it.
                Some(self.keys.stable())
                    .filter(|key| !matches!(key, Err(KeyFolderError::None { .. })))
                    .transpose()?
            }
            None => Some(self.keys.stable()?),
        };
        let epoch = self.keys.epoch()?.map(|epoch| epoch.key);
        // While a change is under way the key before and the new one both sign, for verifiers that know only one.
        let keys: Vec<&SigningKey> =
            [self.given.as_ref(), stable.as_ref(), epoch.as_ref(), change.as_ref().map(|change| &change.new)]
                .into_iter()
                .flatten()
                .collect();
        if let Some(key) = keys.iter().find(|key| key.name() != self.origin) {
            return Err(SignError::OtherLog { signed: key.name().to_owned(), origin: self.origin.clone() });
        }
        self.require_original(locked, site)?;
        let (size, root) = self.agreed_head(site, &keys)?;
        // `agreed_head` compared the root of the last checkpoint with the log, so a kept checkpoint of this
        // size is the one to sign.
        if let Some(last) = self.keys.last_signed()?.filter(|last| last.size() == size)
            && keys.iter().all(|key| is_signed_by(&last, key))
        {
            // A crash may have come after the checkpoint was kept, and before it was recorded.
            record(site, &last)?;
            clear_error(site)?;
            return Ok(Signed::Before(last));
        }
        let mut checkpoint = SignedCheckpoint::unsigned(Checkpoint::new(self.origin.as_str(), size, root)?);
        for key in keys {
            checkpoint.sign(key);
        }
        // Made durable before anybody else sees the checkpoint, and under the folder's lock. So the next
        // signer finds it, also after a crash, and signs nothing that contradicts it.
        locked.put_signed(&checkpoint)?;
        record(site, &checkpoint)?;
        clear_error(site)?;
        Ok(Signed::New(checkpoint))
    }

    /// Returns the size and the root of the log on the disk, after checking that it begins with what was signed before.
    ///
    /// Stored tiles are believed up to a signed size, if they lead to the signed root. Everything after that
    /// is hashed from the events. The newest checkpoint in the file is checked in the same way, if one of
    /// these keys signed it: the folder may have lost the last signed one.
    fn agreed_head(&self, site: &Site<'_>, keys: &[&SigningKey]) -> Result<(u64, NodeHash), SignError> {
        // The size is that of a flushed commit: a loss of power cannot take events that a checkpoint covers.
        let size = make_durable(site)?.get();
        // One transaction, so that checkpoints, tiles and events are read at one moment. The tree is read without
        // the write lock: it covers only events up to `size`, and these do not change.
        let moment = site.connection.unchecked_transaction()?;
        let mut reader = TreeReader::new(&moment)?;
        let stored = newest(&moment)?.filter(|stored| keys.iter().any(|key| is_signed_by(stored, key)));
        let last = self.keys.last_signed()?;
        let mut range = CompactRange::new();
        for before in last.iter().chain(&stored) {
            let signed = before.size();
            if before.origin() != self.origin {
                return Err(SignError::OtherLog {
                    signed: before.origin().to_owned(),
                    origin: self.origin.clone(),
                });
            }
            if signed > size {
                return Err(SignError::RolledBack { events: size, signed });
            }
            // The root may come from stored tiles alone, so the last event that it covers is hashed as well.
            // The leaf of that event has the link, which covers everything before it.
            let begins = compact_range_at(&mut reader, signed)?;
            if begins.root() != *before.root() || !ends_in_its_last_leaf(&mut reader, before)? {
                return Err(SignError::Contradicts { signed });
            }
            // The larger of the two leaves less to hash.
            if range.size() < signed {
                range = begins;
            }
        }
        // No tile is believed from here on. `hash_on` also checks each link.
        hash_on(&moment, &mut range, size).map_err(BuildError::Read)?;
        Ok((size, range.root()))
    }

    /// Refuses a copy of the log that is signed for. A log that was moved is accepted.
    fn require_original(&self, locked: &LockedKeys<'_>, site: &Site<'_>) -> Result<(), SignError> {
        // Without symbolic links, so that two names of one file are not taken for two files.
        let here = std::fs::canonicalize(site.path).unwrap_or_else(|_| site.path.to_owned());
        let known = locked.log()?;
        if known.as_ref() == Some(&here) {
            return Ok(());
        }
        // With the same log at the old path too, two files would go on under one key, and their checkpoints would
        // contradict each other. A moved log leaves nothing at its old path.
        if let Some(original) = known
            && let Ok(other) = log::open_reader(&original)
            && rows::log_id(&other).is_ok_and(|id| rows::log_id(site.connection).is_ok_and(|own| own == id))
        {
            return Err(SignError::Copy { original });
        }
        Ok(locked.put_log(&here)?)
    }

    /// Replaces a key: the key before signs a certificate, an event is appended, both keys sign a checkpoint, and only
    /// then the new key takes the old one's place. A change that was under way is completed first.
    pub(crate) fn change_key(
        &self,
        site: &Site<'_>,
        request: &KeyChangeRequest,
        append: Append<'_>,
    ) -> Result<SignedCheckpoint, SignError> {
        let locked = self.keys.lock()?;
        if self.given.is_some() && request.role == KeyRole::Stable {
            return Err(SignError::GivenKey);
        }
        self.change_locked(&locked, site, request, append)
    }

    /// Begins the next epoch, if the present one is over. This is checked under the lock, because another
    /// process may have begun the next epoch.
    pub(crate) fn next_epoch(
        &self,
        site: &Site<'_>,
        length: Duration,
        append: Append<'_>,
    ) -> Result<Option<SignedCheckpoint>, SignError> {
        let locked = self.keys.lock()?;
        let Some(epoch) = self.keys.epoch()? else { return Ok(None) };
        if !epoch.is_over(length, (site.clock)()) {
            return Ok(None);
        }
        let request = KeyChangeRequest {
            role: KeyRole::Epoch,
            cause: KeyChangeCause::Rotated,
            actor: ACTOR.to_owned(),
            reason: None,
        };
        self.change_locked(&locked, site, &request, append).map(Some)
    }

    fn change_locked(
        &self,
        locked: &LockedKeys<'_>,
        site: &Site<'_>,
        request: &KeyChangeRequest,
        append: Append<'_>,
    ) -> Result<SignedCheckpoint, SignError> {
        let under_way = locked.change()?;
        // A request that is repeated after a crash gets the result of the change that it began, and begins no
        // second one.
        let same = under_way.as_ref().is_some_and(|change| {
            (change.role, change.cause) == (request.role, request.cause) && change.actor == request.actor
        });
        if let Some(change) = under_way {
            let checkpoint = self.complete(locked, change, site, append)?;
            if same {
                return Ok(checkpoint);
            }
        }
        self.require_original(locked, site)?;
        let change = self.begin_change(site, request)?;
        // Durable before the event is appended: after a crash the new key and the id of the event are known.
        locked.put_change(&change)?;
        self.complete(locked, change, site, append)
    }

    /// Completes a change of keys that a crash left under way.
    pub(crate) fn resume_change(&self, site: &Site<'_>, append: Append<'_>) -> Result<(), SignError> {
        let locked = self.keys.lock()?;
        match locked.change()? {
            Some(change) => self.complete(&locked, change, site, append).map(drop),
            None => Ok(()),
        }
    }

    fn begin_change(&self, site: &Site<'_>, request: &KeyChangeRequest) -> Result<Change, SignError> {
        // The key that certifies the new one. A first key, and one after a loss, has none.
        let before = match (request.cause, request.role) {
            (KeyChangeCause::Rotated | KeyChangeCause::Compromised, KeyRole::Stable) => {
                Some(self.keys.stable()?)
            }
            (KeyChangeCause::Rotated | KeyChangeCause::Compromised, KeyRole::Epoch) => {
                Some(self.keys.epoch()?.ok_or(SignError::NoEpochs)?.key)
            }
            (KeyChangeCause::Generated, KeyRole::Stable) if self.keys.has_key()? => {
                return Err(KeyFolderError::Exists { path: self.keys.key_file() }.into());
            }
            (KeyChangeCause::Generated, KeyRole::Epoch) if self.keys.epoch()?.is_some() => {
                return Err(KeyFolderError::Exists { path: self.keys.path().join("epoch") }.into());
            }
            (KeyChangeCause::Lost, KeyRole::Stable) if self.keys.has_key()? => {
                return Err(SignError::NotLost);
            }
            (KeyChangeCause::Generated | KeyChangeCause::Lost, _) => None,
        };
        // The certificate names the size and the root of the log, so the log is checked as for a checkpoint.
        let own: Vec<SigningKey> = [self.keys.stable().ok(), self.keys.epoch()?.map(|epoch| epoch.key)]
            .into_iter()
            .flatten()
            .collect();
        let (size, root) = self.agreed_head(site, &own.iter().collect::<Vec<_>>())?;
        let new = SigningKey::generate(&self.origin)?;
        let certificate = before
            .as_ref()
            .map(|before| -> Result<String, SignError> {
                let text =
                    KeyChange::new(self.origin.as_str(), request.role, new.verifier().clone(), size, root)
                        .map_err(|error| KeyFolderError::Content {
                            path: self.keys.path().to_owned(),
                            what: error.to_string(),
                        })?;
                let mut note = SignedNote::unsigned(text.to_string())?;
                note.sign(before);
                Ok(note.to_string())
            })
            .transpose()?;
        Ok(Change {
            role: request.role,
            new,
            event_id: EventId::generate(),
            previous: before.map(|before| before.verifier().to_string()),
            certificate,
            cause: request.cause,
            actor: request.actor.clone(),
            reason: request.reason.clone(),
            begun_at: (site.clock)(),
        })
    }

    fn complete(
        &self,
        locked: &LockedKeys<'_>,
        change: Change,
        site: &Site<'_>,
        append: Append<'_>,
    ) -> Result<SignedCheckpoint, SignError> {
        let event = KeyChanged {
            role: change.role,
            vkey: change.new.verifier().to_string(),
            previous: change.previous.clone(),
            certificate: change.certificate.clone(),
            cause: change.cause,
            actor: change.actor.clone(),
            reason: change.reason.clone(),
        };
        // A crash after any of these steps leaves the file of the change, and all steps are done again: the event has
        // the same id, so it is appended once. The new key takes its place last, because until then both keys sign.
        append(event, change.event_id)?;
        let checkpoint = self.sign_locked(locked, site)?.checkpoint();
        locked.finish_change(change)?;
        Ok(checkpoint)
    }
}

/// Returns true if the last event that a checkpoint covers is the one that the log has now. The events after it
/// begin with its link.
fn ends_in_its_last_leaf(
    reader: &mut TreeReader<'_>,
    checkpoint: &SignedCheckpoint,
) -> Result<bool, BuildError<TreeError>> {
    let Some(last) = checkpoint.size().checked_sub(1) else { return Ok(true) };
    let leaf = reader.hash_of_event(last).map_err(BuildError::Read)?;
    let proof = inclusion_proof(reader, last, checkpoint.size())?;
    Ok(verify_inclusion(last, checkpoint.size(), &leaf, &proof, checkpoint.root()).is_ok())
}

/// Clears the signer's last error, if there is one.
fn clear_error(site: &Site<'_>) -> Result<(), SignError> {
    let failed: bool = site
        .connection
        .prepare_cached("SELECT count(*) > 0 FROM anchors WHERE name = ?1 AND error IS NOT NULL")?
        .query_row([SIGNER], |row| row.get(0))?;
    // Usually nothing failed, and no write lock is taken.
    if failed {
        let _guard = site.write_lock.take(Who::Projection).map_err(SignError::WriteLock)?;
        let tx = begin(site.connection)?;
        tx.execute("UPDATE anchors SET failed_since = NULL, error = NULL WHERE name = ?1", [SIGNER])?;
        tx.commit()?;
    }
    Ok(())
}

/// Returns true if a key's signature is on one of our own checkpoints.
fn is_signed_by(checkpoint: &SignedCheckpoint, key: &SigningKey) -> bool {
    checkpoint.verify(std::slice::from_ref(key.verifier())).is_ok()
}

/// Makes everything that is committed durable, whatever durability it was written with, and returns the last
/// sequence number. A commit that is flushed also flushes everything before it in the write-ahead log.
fn make_durable(site: &Site<'_>) -> Result<Seq, SignError> {
    let _guard = site.write_lock.take(Who::Projection).map_err(SignError::WriteLock)?;
    site.connection.pragma_update(None, "synchronous", "FULL")?;
    let flushed = flush(site);
    // Set back also after an error: no other transaction of this connection needs a flush.
    site.connection.pragma_update(None, "synchronous", "NORMAL")?;
    Ok(flushed?)
}

/// Commits a row, so that there is something to flush. Returns the sequence number of the head.
fn flush(site: &Site<'_>) -> rusqlite::Result<Seq> {
    let tx = begin(site.connection)?;
    // Read within the transaction: everything up to this head is before the commit that is flushed.
    let head = rows::head(&tx)?.seq;
    tx.execute(
        "INSERT INTO anchors (name, size, anchored_at) VALUES (?1, ?2, ?3)
         ON CONFLICT (name) DO UPDATE SET size = excluded.size, anchored_at = excluded.anchored_at",
        params![SIGNER, to_sql(head.get()), (site.clock)().micros()],
    )?;
    tx.commit()?;
    Ok(head)
}

/// Records a checkpoint, or adds signatures to one that is recorded.
pub(crate) fn record(site: &Site<'_>, checkpoint: &SignedCheckpoint) -> Result<(), SignError> {
    let _guard = site.write_lock.take(Who::Projection).map_err(SignError::WriteLock)?;
    let tx = begin(site.connection)?;
    let size = to_sql(checkpoint.size());
    let before: Option<String> = tx
        .prepare_cached(&format!("SELECT {} FROM checkpoints WHERE size = ?1", rows::note_column("note")))?
        .query_row([size], |row| row.get(0))
        .optional()?
        .flatten();
    let before = before.and_then(|note| note.parse::<SignedCheckpoint>().ok());
    // Under the write lock no signature is lost between the read and the write. A note with another text is
    // replaced: the key folder decides what was signed.
    let merged = match before {
        Some(mut before) if before.text() == checkpoint.text() => {
            before.add_signatures(checkpoint.signatures().iter().cloned());
            before
        }
        _ => checkpoint.clone(),
    };
    tx.prepare_cached(
        "INSERT INTO checkpoints (size, note, made_at) VALUES (?1, ?2, ?3)
         ON CONFLICT (size) DO UPDATE SET note = excluded.note",
    )?
    .execute(params![size, merged.to_string(), (site.clock)().micros()])?;
    Ok(tx.commit()?)
}

/// Records within the caller's transaction that an anchor took a checkpoint.
pub(crate) fn succeeded(
    connection: &Connection,
    anchor: &str,
    size: u64,
    now: Timestamp,
) -> rusqlite::Result<()> {
    connection
        .prepare_cached(
            "INSERT INTO anchors (name, size, anchored_at) VALUES (?1, ?2, ?3)
             ON CONFLICT (name) DO UPDATE
             SET size = excluded.size, anchored_at = excluded.anchored_at, failed_since = NULL, error = NULL",
        )?
        .execute(params![anchor, to_sql(size), now.micros()])
        .map(drop)
}

/// Records within the caller's transaction the last error of an anchor. The recorded beginning of the failure
/// is at most `now`, because an earlier record may be from a clock that was ahead.
pub(crate) fn failed(
    connection: &Connection,
    anchor: &str,
    error: &str,
    now: Timestamp,
) -> rusqlite::Result<()> {
    connection
        .prepare_cached(
            "INSERT INTO anchors (name, failed_since, error) VALUES (?1, ?2, ?3)
             ON CONFLICT (name) DO UPDATE
             SET failed_since = min(coalesce(failed_since, excluded.failed_since), excluded.failed_since),
                 error = excluded.error",
        )?
        .execute(params![anchor, now.micros(), error])
        .map(drop)
}
