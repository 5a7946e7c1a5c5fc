//! The folder of a log's keys and of its last signed checkpoint, outside the log.
//!
//! ```text
//! key      the stable key, an skey                        epoch    the key of the present epoch, if there are epochs
//! change   a change of either key that is under way       signed   the last checkpoint that was signed
//! lock     held while something is signed                 log      the path of the log that was signed for
//! ```
//!
//! Files are replaced as a whole and flushed, so that a crash leaves the old one or the new one.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::event::{EventId, KeyChangeCause, KeyRole, Timestamp};
use crate::file::open_lock_file;
use crate::note::{CheckpointError, KeyError, SignedCheckpoint, SigningKey, VerifierKey};

/// Longest file that is read here, in bytes: a key, or a checkpoint with the signatures that it can have.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// The reason why keys cannot be read or kept.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KeyFolderError {
    /// A file or folder cannot be read or written.
    #[error("{}: {what}: {source}", path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// The operation that failed.
        what: &'static str,
        /// The error of the system.
        source: io::Error,
    },
    /// A key exists already. If another one replaced it, nobody could sign for the log any more.
    #[error("{}: a key already exists; `annals key rotate` replaces it", path.display())]
    Exists {
        /// The file of the key.
        path: PathBuf,
    },
    /// There is no key.
    #[error("{}: there is no key; `annals key generate` creates one", path.display())]
    None {
        /// The path at which the key belongs.
        path: PathBuf,
    },
    /// Users other than the owner can read a private key.
    #[error("{}: other users can read this private key; take away their permission (chmod 600), and rotate the key if somebody may have read it", path.display())]
    Readable {
        /// The file of the key.
        path: PathBuf,
    },
    /// A file does not have the expected content.
    #[error("{}: does not have the expected content: {what}", path.display())]
    Content {
        /// The file.
        path: PathBuf,
        /// The fault of the content.
        what: String,
    },
    /// The key belongs to another log.
    #[error("the key is for the log `{name}`, but this log is `{origin}`")]
    OtherLog {
        /// The name of the key, which is the origin of its log.
        name: String,
        /// This log's origin.
        origin: String,
    },
    /// A key cannot be made.
    #[error(transparent)]
    Key(#[from] KeyError),
}

/// The choice of epoch keys: keys beside the stable one that are replaced at the end of each epoch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Epochs {
    /// Only the stable key.
    #[default]
    None,
    /// The stable key and an epoch key.
    Kept,
}

/// The folder of a log's keys. The caller chooses its path. Do not put it beside the log: the keys would be
/// copied, or stolen, together with the log.
#[derive(Clone, Debug)]
pub struct KeyFolder {
    path: PathBuf,
}

/// The key of an epoch, and the time at which the epoch began.
pub(crate) struct EpochKey {
    pub(crate) key: SigningKey,
    pub(crate) since: Timestamp,
}

impl EpochKey {
    /// Returns true if the epoch is over. An epoch that begins further in the future than it lasts is over as
    /// well: the clock was ahead when it began, or is behind now. Otherwise a clock that was once a year
    /// ahead would keep the key for a year.
    pub(crate) fn is_over(&self, length: Duration, now: Timestamp) -> bool {
        let length = u64::try_from(length.as_micros()).unwrap_or(u64::MAX);
        now.micros().abs_diff(self.since.micros()) >= length
    }
}

/// A change of a key that is under way. Its file is written before the event is appended, and is deleted
/// after the new key has replaced the old one. A process that finds the file completes the change.
pub(crate) struct Change {
    pub(crate) role: KeyRole,
    pub(crate) new: SigningKey,
    /// The id of the event, which makes a second append harmless.
    pub(crate) event_id: EventId,
    pub(crate) previous: Option<String>,
    pub(crate) certificate: Option<String>,
    pub(crate) cause: KeyChangeCause,
    pub(crate) actor: String,
    pub(crate) reason: Option<String>,
    pub(crate) begun_at: Timestamp,
}

#[derive(Serialize, Deserialize)]
struct ChangeFile {
    role: KeyRole,
    skey: Zeroizing<String>,
    event_id: String,
    previous: Option<String>,
    certificate: Option<String>,
    cause: KeyChangeCause,
    actor: String,
    reason: Option<String>,
    begun_at: i64,
}

#[derive(Serialize, Deserialize)]
struct EpochFile {
    skey: Zeroizing<String>,
    since: i64,
}

/// The locked folder. Until it is dropped nobody else signs, or changes keys or settings, in this process or another.
#[derive(Debug)]
pub struct LockedKeys<'f> {
    folder: &'f KeyFolder,
    lock: File,
}

impl KeyFolder {
    /// The folder at a path, which need not exist yet.
    pub fn at(path: impl Into<PathBuf>) -> KeyFolder {
        KeyFolder { path: path.into() }
    }

    /// The path of the folder.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The file of the stable key, which is private.
    pub fn key_file(&self) -> PathBuf {
        self.path.join("key")
    }

    /// The file that the checkpoints of this log are appended to, unless the user chooses another.
    pub fn checkpoints_file(&self) -> PathBuf {
        self.path.join("checkpoints")
    }

    /// Returns true if there is a stable key.
    ///
    /// # Errors
    /// If the system cannot answer.
    pub fn has_key(&self) -> Result<bool, KeyFolderError> {
        let path = self.key_file();
        path.try_exists().map_err(|source| io_error(&path, "cannot be examined", source))
    }

    /// Creates the folder if it is missing. Only its owner can read it.
    ///
    /// # Errors
    /// If it cannot be made.
    pub fn make(&self) -> Result<(), KeyFolderError> {
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&self.path)
            .map_err(|source| io_error(&self.path, "cannot be created", source))
    }

    /// Creates the first key of a log, named after its origin, and with [`Epochs::Kept`] also the first epoch's key.
    /// Returns the public keys.
    ///
    /// # Errors
    /// If there is a key already, or a key cannot be written.
    pub fn generate(
        &self,
        origin: &str,
        epochs: Epochs,
        now: Timestamp,
    ) -> Result<PublicKeys, KeyFolderError> {
        self.make()?;
        let locked = self.lock()?;
        let path = self.key_file();
        // Under the lock, so that of two programs only one finds no key.
        if self.has_key()? {
            return Err(KeyFolderError::Exists { path });
        }
        // The stable key comes last. After a crash before it there is no key, and another call starts over.
        if epochs == Epochs::Kept {
            locked.put_epoch(&EpochKey { key: SigningKey::generate(origin)?, since: now })?;
        }
        locked.put_stable(&SigningKey::generate(origin)?)?;
        self.public()
    }

    /// The public halves of the keys.
    ///
    /// # Errors
    /// If there is no key, or it cannot be read.
    pub fn public(&self) -> Result<PublicKeys, KeyFolderError> {
        let stable = self.stable()?.verifier().clone();
        let epoch = self.epoch()?.map(|epoch| epoch.key.verifier().clone());
        Ok(PublicKeys { stable, epoch })
    }

    /// Locks the folder. Waits until nobody else signs or changes something in it.
    ///
    /// # Errors
    /// If the folder is missing, or cannot be locked.
    pub fn lock(&self) -> Result<LockedKeys<'_>, KeyFolderError> {
        let path = self.path.join("lock");
        let lock = open_lock_file(&path).map_err(|source| match source.kind() {
            // Without the folder there is no key either.
            io::ErrorKind::NotFound => KeyFolderError::None { path: self.key_file() },
            _ => io_error(&path, "cannot be opened", source),
        })?;
        loop {
            match lock.lock() {
                // A signal interrupted the wait. The lock is still needed.
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                result => {
                    result.map_err(|source| io_error(&path, "cannot be locked", source))?;
                    return Ok(LockedKeys { folder: self, lock });
                }
            }
        }
    }

    /// Returns true if a change of keys is under way.
    pub(crate) fn has_change(&self) -> bool {
        self.path.join("change").exists()
    }

    pub(crate) fn stable(&self) -> Result<SigningKey, KeyFolderError> {
        let path = self.key_file();
        let text = read_private(&path)?.ok_or_else(|| KeyFolderError::None { path: path.clone() })?;
        SigningKey::from_skey(text.trim_end()).map_err(|error| content(&path, &error))
    }

    pub(crate) fn epoch(&self) -> Result<Option<EpochKey>, KeyFolderError> {
        let path = self.path.join("epoch");
        let Some(text) = read_private(&path)? else { return Ok(None) };
        let file: EpochFile = serde_json::from_str(&text).map_err(|error| content(&path, &error))?;
        let key = SigningKey::from_skey(&file.skey).map_err(|error| content(&path, &error))?;
        Ok(Some(EpochKey { key, since: Timestamp::from_micros(file.since) }))
    }

    /// The last checkpoint that was signed.
    ///
    /// # Errors
    /// If it cannot be read.
    pub fn last_signed(&self) -> Result<Option<SignedCheckpoint>, KeyFolderError> {
        let path = self.path.join("signed");
        let Some(text) = read_private(&path)? else { return Ok(None) };
        text.parse().map(Some).map_err(|error: CheckpointError| content(&path, &error))
    }
}

/// The public keys of a log, as auditors get them.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct PublicKeys {
    /// The key that witnesses and auditors know the log by.
    pub stable: VerifierKey,
    /// The key of the present epoch, if the log has epochs.
    pub epoch: Option<VerifierKey>,
}

impl LockedKeys<'_> {
    pub(crate) fn put_stable(&self, key: &SigningKey) -> Result<(), KeyFolderError> {
        let mut text = key.to_skey();
        text.push('\n');
        self.replace("key", text.as_bytes())
    }

    pub(crate) fn put_epoch(&self, epoch: &EpochKey) -> Result<(), KeyFolderError> {
        let file = EpochFile { skey: epoch.key.to_skey(), since: epoch.since.micros() };
        self.replace("epoch", &to_json(&file)?)
    }

    /// Keeps a checkpoint before it is released. From then on, nothing that contradicts it is signed.
    pub(crate) fn put_signed(&self, checkpoint: &SignedCheckpoint) -> Result<(), KeyFolderError> {
        self.replace("signed", checkpoint.to_string().as_bytes())
    }

    /// The path of the log that was signed for last.
    pub(crate) fn log(&self) -> Result<Option<PathBuf>, KeyFolderError> {
        let text = read_private(&self.folder.path.join("log"))?;
        Ok(text.map(|path| PathBuf::from(path.trim_end_matches('\n'))))
    }

    /// Keeps the path of the log that is signed for.
    pub(crate) fn put_log(&self, path: &Path) -> Result<(), KeyFolderError> {
        self.replace("log", format!("{}\n", path.display()).as_bytes())
    }

    pub(crate) fn change(&self) -> Result<Option<Change>, KeyFolderError> {
        let path = self.folder.path.join("change");
        let Some(text) = read_private(&path)? else { return Ok(None) };
        let file: ChangeFile = serde_json::from_str(&text).map_err(|error| content(&path, &error))?;
        let new = SigningKey::from_skey(&file.skey).map_err(|error| content(&path, &error))?;
        let event_id = file.event_id.parse().map_err(|error| content(&path, &error))?;
        Ok(Some(Change {
            role: file.role,
            new,
            event_id,
            previous: file.previous,
            certificate: file.certificate,
            cause: file.cause,
            actor: file.actor,
            reason: file.reason,
            begun_at: Timestamp::from_micros(file.begun_at),
        }))
    }

    pub(crate) fn put_change(&self, change: &Change) -> Result<(), KeyFolderError> {
        let file = ChangeFile {
            role: change.role,
            skey: change.new.to_skey(),
            event_id: change.event_id.to_string(),
            previous: change.previous.clone(),
            certificate: change.certificate.clone(),
            cause: change.cause,
            actor: change.actor.clone(),
            reason: change.reason.clone(),
            begun_at: change.begun_at.micros(),
        };
        self.replace("change", &to_json(&file)?)
    }

    /// Puts the new key in the place of the old one, and overwrites the bytes of the old one.
    pub(crate) fn finish_change(&self, change: Change) -> Result<(), KeyFolderError> {
        let old = match change.role {
            KeyRole::Stable => self.folder.key_file(),
            KeyRole::Epoch => self.folder.path.join("epoch"),
        };
        // The replacement below takes only the name of the old file. This handle is kept to overwrite its bytes.
        let kept = File::options().write(true).open(&old).ok();
        match change.role {
            KeyRole::Stable => self.put_stable(&change.new)?,
            KeyRole::Epoch => self.put_epoch(&EpochKey { key: change.new, since: change.begun_at })?,
        }
        // The new key is durable now. A crash before this line leaves the old bytes without a name.
        if let Some(kept) = kept {
            overwrite(kept).map_err(|source| io_error(&old, "the old key cannot be erased", source))?;
        }
        // Last: after a crash before this line the change is repeated, and puts the same key in place.
        erase_file(&self.folder.path.join("change"))
    }

    fn replace(&self, name: &str, bytes: &[u8]) -> Result<(), KeyFolderError> {
        replace_file(&self.folder.path.join(name), bytes)
    }
}

impl Drop for LockedKeys<'_> {
    fn drop(&mut self) {
        // Closing the file unlocks it as well, so an error here does no harm.
        let _ = self.lock.unlock();
    }
}

/// Removes a file and overwrites its bytes. A crash leaves it whole or without a name, never half erased.
fn erase_file(path: &Path) -> Result<(), KeyFolderError> {
    let erase = || {
        let file = File::options().write(true).open(path)?;
        // The name goes before the bytes: no reader finds a file that is half erased.
        fs::remove_file(path)?;
        overwrite(file)?;
        File::open(path.parent().unwrap_or(Path::new(".")))?.sync_all()
    };
    erase().map_err(|source| io_error(path, "cannot be erased", source))
}

/// Overwrites the content of a file with zeros. On a disk that writes in place the old bytes are gone; elsewhere
/// the file system decides when they go.
fn overwrite(mut file: File) -> io::Result<()> {
    let bytes = file.metadata()?.len().min(FILE_BYTES_MAX);
    file.write_all(&vec![0; usize::try_from(bytes).unwrap_or(0)])?;
    file.sync_all()
}

/// Replaces a file as a whole, durably. Only its owner can read the new one.
///
/// # Errors
/// If the file cannot be written: then the old file stays. If only the folder cannot be flushed, the new file
/// is in its place already.
pub(crate) fn replace_file(path: &Path, bytes: &[u8]) -> Result<(), KeyFolderError> {
    let io = |what| move |source| io_error(path, what, source);
    let mut new = path.as_os_str().to_owned();
    new.push(".new");
    let new = PathBuf::from(new);
    let write = || {
        let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&new)?;
        // The mode above applies only to a new file. One that a crash left may have been made by another program.
        file.set_permissions(fs::Permissions::from_mode(0o600))?;
        file.write_all(bytes)?;
        file.sync_all()
    };
    write().map_err(io("cannot be written"))?;
    // The bytes are on the disk before the name leads to them: after a crash the name leads to the old file or
    // to the whole new one.
    fs::rename(&new, path).map_err(io("cannot be put in its place"))?;
    let folder = path.parent().unwrap_or(Path::new("."));
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(io("cannot be flushed"))
}

/// Reads a file that only its owner may read; None if there is no such file.
fn read_private(path: &Path) -> Result<Option<Zeroizing<String>>, KeyFolderError> {
    let metadata = match fs::metadata(path) {
        Ok(metadata) => metadata,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(source) => return Err(io_error(path, "cannot be examined", source)),
    };
    // An error and not a repair: somebody may have read the key already, and the user must learn of it.
    if metadata.permissions().mode() & 0o077 != 0 {
        return Err(KeyFolderError::Readable { path: path.to_owned() });
    }
    if metadata.len() > FILE_BYTES_MAX {
        return Err(content(path, &"it is too long"));
    }
    let text = fs::read_to_string(path).map_err(|source| io_error(path, "cannot be read", source))?;
    Ok(Some(Zeroizing::new(text)))
}

fn to_json(value: &impl Serialize) -> Result<Zeroizing<Vec<u8>>, KeyFolderError> {
    // Room for all of it at once: a buffer that grows leaves copies of the key in memory.
    let mut bytes = Zeroizing::new(Vec::with_capacity(16 << 10));
    serde_json::to_writer(&mut *bytes, value).map_err(|error| content(Path::new("change"), &error))?;
    Ok(bytes)
}

fn io_error(path: &Path, what: &'static str, source: io::Error) -> KeyFolderError {
    KeyFolderError::Io { path: path.to_owned(), what, source }
}

fn content(path: &Path, what: &dyn std::fmt::Display) -> KeyFolderError {
    KeyFolderError::Content { path: path.to_owned(), what: what.to_string() }
}
