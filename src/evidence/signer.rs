//! Signing checkpoints: only of what is on the disk, and nothing that contradicts what was signed before.

use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::{Connection, OptionalExtension, params};

use super::keys::{Change, KeyFolder, KeyFolderError, LockedKeys};
use super::stored::newest;
use super::tree::{TreeError, TreeReader, hash_on};
use crate::event::{EventId, KeyChangeCause, KeyChanged, KeyRole, Seq, Timestamp};
use crate::log::rows::to_sql;
use crate::log::turns::{Turns, Who, begin};
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

/// The row of `anchors` in which the signer says how it fares.
pub(crate) const SIGNER: &str = "signer";

/// Who begins epochs, as their events say.
const ACTOR: &str = "annals";

/// A checkpoint that cannot be signed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SignError {
    /// The keys cannot be read or kept.
    #[error(transparent)]
    Keys(#[from] KeyFolderError),
    /// The tree cannot be made.
    #[error("the log's tree cannot be made: {0}")]
    Tree(#[from] BuildError<TreeError>),
    /// The log cannot be read.
    #[error(transparent)]
    Log(#[from] ReadError),
    /// The file cannot be written.
    #[error("the file cannot be written: {0}")]
    Storage(#[from] StorageError),
    /// The lock file cannot be locked.
    #[error("the lock file cannot be locked: {0}")]
    Turn(std::io::Error),
    /// Events that were signed for are gone.
    #[error(
        "the log has {events} events, and a checkpoint of {signed} was signed: it was cut off or set back to an older copy; nothing more is signed for it, `annals init --continues` makes a new log that follows it"
    )]
    RolledBack {
        /// Events of the log.
        events: u64,
        /// Events of the last checkpoint.
        signed: u64,
    },
    /// The log is not the one that was signed for.
    #[error(
        "the first {signed} events are not those that a checkpoint was signed for: the log was rewritten, is another one, or a copy of it was appended to and signed for; nothing more is signed for it, `annals init --continues` makes a new log that follows it"
    )]
    Contradicts {
        /// Events of the last checkpoint.
        signed: u64,
    },
    /// The log is a copy of the one that is signed for.
    #[error("this is a copy of {}, for which the key signs; nothing is signed for the copy, or the two would contradict each other. If this one is to go on in its place, move the other one away", original.display())]
    Copy {
        /// Where the other one is.
        original: PathBuf,
    },
    /// The key is there.
    #[error("the key is here and not lost; leave --lost out, and the new key is certified by it")]
    NotLost,
    /// The key is another log's.
    #[error("the key signs for the log `{signed}`, and this is `{origin}`")]
    OtherLog {
        /// The key's log.
        signed: String,
        /// This log.
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
        "the key was given in the environment; give the new one there, and record the change with `annals key rotate --lost` where it is kept in a file"
    )]
    GivenKey,
    /// Nobody signs for the log in this process.
    #[error("this log was opened without a key; `annals key generate` makes one")]
    NotSigned,
    /// The thread that signs is gone.
    #[error("the log was closed")]
    Closed,
    /// The log has no epochs.
    #[error("the log has no epoch key; `annals key generate --epochs` makes one with the first key")]
    NoEpochs,
}

from_sqlite!(SignError);

/// Where a log is, and what signing needs of it.
pub(crate) struct Site<'a> {
    pub(crate) path: &'a Path,
    pub(crate) connection: &'a Connection,
    pub(crate) turns: &'a Turns,
    pub(crate) clock: &'a Clock,
}

/// A checkpoint, and whether it was signed just now.
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

/// A change of a key, as it is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyChangeRequest {
    /// Which key.
    pub role: KeyRole,
    /// Why.
    pub cause: KeyChangeCause,
    /// Who asks for it.
    pub actor: String,
    /// What they say of it.
    pub reason: Option<String>,
}

/// Appends an event with this id, which makes a second attempt the same event.
pub(crate) type Append<'a> = &'a dyn Fn(KeyChanged, EventId) -> Result<Appended, AppendError>;

/// Signs for one log.
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

    /// Signs for everything that is committed.
    pub(crate) fn sign(&self, site: &Site<'_>) -> Result<Signed, SignError> {
        let locked = self.keys.lock()?;
        self.sign_locked(&locked, site)
    }

    fn sign_locked(&self, locked: &LockedKeys<'_>, site: &Site<'_>) -> Result<Signed, SignError> {
        let change = locked.change()?;
        let stable = match &self.given {
            Some(_) => None,
            None if change.as_ref().is_some_and(|change| change.role == KeyRole::Stable) => {
                // A first key, or one for a key that was lost, has none before it.
                Some(self.keys.stable())
                    .filter(|key| !matches!(key, Err(KeyFolderError::None { .. })))
                    .transpose()?
            }
            None => Some(self.keys.stable()?),
        };
        let epoch = self.keys.epoch()?.map(|epoch| epoch.key);
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
        if let Some(last) = self.keys.last_signed()?.filter(|last| last.size() == size)
            && keys.iter().all(|key| is_signed_by(&last, key))
        {
            // A crash may have come between keeping it and recording it.
            record(site, &last)?;
            well(site)?;
            return Ok(Signed::Before(last));
        }
        let mut checkpoint = SignedCheckpoint::unsigned(Checkpoint::new(self.origin.as_str(), size, root)?);
        for key in keys {
            checkpoint.sign(key);
        }
        locked.put_signed(&checkpoint)?;
        record(site, &checkpoint)?;
        well(site)?;
        Ok(Signed::New(checkpoint))
    }

    /// Size and root of the log as it is on the disk, which begins with what was signed before.
    ///
    /// Stored tiles are believed as far as they lead to what was signed; all after that is hashed from the
    /// events. Where what was signed is not known any more, the file's own checkpoints say it, as far as
    /// these keys signed them.
    fn agreed_head(&self, site: &Site<'_>, keys: &[&SigningKey]) -> Result<(u64, NodeHash), SignError> {
        let size = make_durable(site)?.get();
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
            let begins = compact_range_at(&mut reader, signed)?;
            if begins.root() != *before.root() || !ends_in_its_last_leaf(&mut reader, before)? {
                return Err(SignError::Contradicts { signed });
            }
            if range.size() < signed {
                range = begins;
            }
        }
        hash_on(&moment, &mut range, size).map_err(BuildError::Read)?;
        Ok((size, range.root()))
    }

    /// Makes sure that this is not a copy of the log that is signed for. One that was moved is.
    fn require_original(&self, locked: &LockedKeys<'_>, site: &Site<'_>) -> Result<(), SignError> {
        let here = std::fs::canonicalize(site.path).unwrap_or_else(|_| site.path.to_owned());
        let known = locked.log()?;
        if known.as_ref() == Some(&here) {
            return Ok(());
        }
        if let Some(original) = known
            && let Ok(other) = log::open_reader(&original)
            && rows::log_id(&other).is_ok_and(|id| rows::log_id(site.connection).is_ok_and(|own| own == id))
        {
            return Err(SignError::Copy { original });
        }
        Ok(locked.put_log(&here)?)
    }

    /// Replaces a key: a certificate by the one before, an event, a checkpoint by both, and only then
    /// the new key takes the old one's place. A change that was under way is brought to its end first.
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

    /// Begins the next epoch, if the present one is over: another process may have begun it.
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
        locked.put_change(&change)?;
        self.complete(locked, change, site, append)
    }

    /// Brings a change of keys to its end that a crash left under way.
    pub(crate) fn resume_change(&self, site: &Site<'_>, append: Append<'_>) -> Result<(), SignError> {
        let locked = self.keys.lock()?;
        match locked.change()? {
            Some(change) => self.complete(&locked, change, site, append).map(drop),
            None => Ok(()),
        }
    }

    fn begin_change(&self, site: &Site<'_>, request: &KeyChangeRequest) -> Result<Change, SignError> {
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
        append(event, change.event_id)?;
        let checkpoint = self.sign_locked(locked, site)?.checkpoint();
        locked.finish_change(change)?;
        Ok(checkpoint)
    }
}

/// Whether the event that a checkpoint ends with is the one that is there now: what follows it begins with
/// its link.
fn ends_in_its_last_leaf(
    reader: &mut TreeReader<'_>,
    checkpoint: &SignedCheckpoint,
) -> Result<bool, BuildError<TreeError>> {
    let Some(last) = checkpoint.size().checked_sub(1) else { return Ok(true) };
    let leaf = reader.hash_of_event(last).map_err(BuildError::Read)?;
    let proof = inclusion_proof(reader, last, checkpoint.size())?;
    Ok(verify_inclusion(last, checkpoint.size(), &leaf, &proof, checkpoint.root()).is_ok())
}

/// Says that signing works again, where it did not.
fn well(site: &Site<'_>) -> Result<(), SignError> {
    let failed: bool = site
        .connection
        .prepare_cached("SELECT count(*) > 0 FROM anchors WHERE name = ?1 AND error IS NOT NULL")?
        .query_row([SIGNER], |row| row.get(0))?;
    if failed {
        let _turn = site.turns.take(Who::Projection).map_err(SignError::Turn)?;
        let tx = begin(site.connection)?;
        tx.execute("UPDATE anchors SET failed_since = NULL, error = NULL WHERE name = ?1", [SIGNER])?;
        tx.commit()?;
    }
    Ok(())
}

/// Whether a key's signature is on a checkpoint that we made ourselves.
fn is_signed_by(checkpoint: &SignedCheckpoint, key: &SigningKey) -> bool {
    checkpoint.verify(std::slice::from_ref(key.verifier())).is_ok()
}

/// Makes everything that is committed durable, whatever durability it was written with, and says how far
/// that is. A commit that is flushed takes with it all that the write-ahead log has before it.
fn make_durable(site: &Site<'_>) -> Result<Seq, SignError> {
    let _turn = site.turns.take(Who::Projection).map_err(SignError::Turn)?;
    site.connection.pragma_update(None, "synchronous", "FULL")?;
    let flushed = flush(site);
    site.connection.pragma_update(None, "synchronous", "NORMAL")?;
    Ok(flushed?)
}

/// Commits a row, so that there is something to flush.
fn flush(site: &Site<'_>) -> rusqlite::Result<Seq> {
    let tx = begin(site.connection)?;
    let head = rows::head(&tx)?.seq;
    tx.execute(
        "INSERT INTO anchors (name, size, anchored_at) VALUES (?1, ?2, ?3)
         ON CONFLICT (name) DO UPDATE SET size = excluded.size, anchored_at = excluded.anchored_at",
        params![SIGNER, to_sql(head.get()), (site.clock)().micros()],
    )?;
    tx.commit()?;
    Ok(head)
}

/// Records a checkpoint, or further signatures of one that is there.
pub(crate) fn record(site: &Site<'_>, checkpoint: &SignedCheckpoint) -> Result<(), SignError> {
    let _turn = site.turns.take(Who::Projection).map_err(SignError::Turn)?;
    let tx = begin(site.connection)?;
    let size = to_sql(checkpoint.size());
    let before: Option<String> = tx
        .prepare_cached(&format!("SELECT {} FROM checkpoints WHERE size = ?1", rows::note_column("note")))?
        .query_row([size], |row| row.get(0))
        .optional()?
        .flatten();
    let before = before.and_then(|note| note.parse::<SignedCheckpoint>().ok());
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

/// Says of an anchor, within the caller's transaction, that it took a checkpoint.
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

/// Says of an anchor, within the caller's transaction, why it took none. A failure does not begin after now: a clock
/// that was ahead said so.
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
