//! The folder of a log's keys, and of what was signed with them: outside the log.
//!
//! ```text
//! key      the stable key, an skey                        epoch    the key of the present epoch, if there are epochs
//! change   a change of either key that is under way       signed   the last checkpoint that was signed
//! lock     held while something is signed                 log      where the log lies that it was signed for
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
use crate::note::{CheckpointError, KeyError, SignedCheckpoint, SigningKey, VerifierKey};

/// Longest file that is read here, in bytes: a key, or a checkpoint with the signatures that it can have.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// Keys that cannot be read or kept.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KeyFolderError {
    /// A file or folder cannot be read or written.
    #[error("{}: {what}: {source}", path.display())]
    Io {
        /// Which.
        path: PathBuf,
        /// What cannot be done.
        what: &'static str,
        /// Why.
        source: io::Error,
    },
    /// There is a key already, and making another would leave nobody who can sign for the log.
    #[error("{}: there is a key already; `annals key rotate` replaces it", path.display())]
    Exists {
        /// Its file.
        path: PathBuf,
    },
    /// There is no key.
    #[error("{}: there is no key; `annals key generate` makes one", path.display())]
    None {
        /// Where it would be.
        path: PathBuf,
    },
    /// Others than its owner can read a private key.
    #[error("{}: others can read this private key; take their right away (chmod 600), and rotate the key if somebody may have read it", path.display())]
    Readable {
        /// Its file.
        path: PathBuf,
    },
    /// A file does not hold what it should.
    #[error("{}: does not hold what it should: {what}", path.display())]
    Content {
        /// Which.
        path: PathBuf,
        /// What is wrong.
        what: String,
    },
    /// The key is another log's.
    #[error("the key is for the log `{name}`, and this is `{origin}`")]
    OtherLog {
        /// Its name.
        name: String,
        /// This log's origin.
        origin: String,
    },
    /// A key cannot be made.
    #[error(transparent)]
    Key(#[from] KeyError),
}

/// Whether a log has keys that are replaced at the end of each epoch, besides its stable one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Epochs {
    /// It has not.
    #[default]
    None,
    /// It has.
    Kept,
}

/// The folder of a log's keys. Its place is the caller's choice; beside the log it would be copied,
/// and stolen, with it.
#[derive(Clone, Debug)]
pub struct KeyFolder {
    path: PathBuf,
}

/// The key of an epoch, and when the epoch began.
pub(crate) struct EpochKey {
    pub(crate) key: SigningKey,
    pub(crate) since: Timestamp,
}

impl EpochKey {
    /// Whether the epoch is over. The clock may have been ahead when the epoch began, or be behind now: an epoch
    /// that begins further in the future than it lasts says nothing about time, and is over as well. Else one clock
    /// that was wrong once would keep the key for as long as it was wrong by.
    pub(crate) fn is_over(&self, length: Duration, now: Timestamp) -> bool {
        let length = u64::try_from(length.as_micros()).unwrap_or(u64::MAX);
        now.micros().abs_diff(self.since.micros()) >= length
    }
}

/// A change of a key that is under way. It is kept from before its event is appended until the new key
/// has taken the old one's place, so that whoever finds it can bring it to its end.
pub(crate) struct Change {
    pub(crate) role: KeyRole,
    pub(crate) new: SigningKey,
    /// The id of its event: appending it twice is appending it once.
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

/// The folder, locked: nobody else signs, or changes keys or settings, meanwhile, in this process or another.
#[derive(Debug)]
pub struct LockedKeys<'f> {
    folder: &'f KeyFolder,
    lock: File,
}

impl KeyFolder {
    /// The folder at a path. It need not be there yet.
    pub fn at(path: impl Into<PathBuf>) -> KeyFolder {
        KeyFolder { path: path.into() }
    }

    /// The folder.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The file of the stable key, which is private.
    pub fn key_file(&self) -> PathBuf {
        self.path.join("key")
    }

    /// The file that the checkpoints of this log are appended to, unless the user says otherwise.
    pub fn checkpoints_file(&self) -> PathBuf {
        self.path.join("checkpoints")
    }

    /// Whether there is a stable key.
    ///
    /// # Errors
    /// If that cannot be seen.
    pub fn has_key(&self) -> Result<bool, KeyFolderError> {
        let path = self.key_file();
        path.try_exists().map_err(|source| io_error(&path, "cannot be looked at", source))
    }

    /// Makes the folder, where it is not there yet. Only its owner can look into it.
    ///
    /// # Errors
    /// If it cannot be made.
    pub fn make(&self) -> Result<(), KeyFolderError> {
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&self.path)
            .map_err(|source| io_error(&self.path, "cannot be made", source))
    }

    /// Makes the first key of a log, named after its origin, and says its public key; with
    /// [`Epochs::Kept`] also the first epoch's.
    ///
    /// # Errors
    /// If there is one, or it cannot be written.
    pub fn generate(
        &self,
        origin: &str,
        epochs: Epochs,
        now: Timestamp,
    ) -> Result<PublicKeys, KeyFolderError> {
        self.make()?;
        let locked = self.lock()?;
        let path = self.key_file();
        if self.has_key()? {
            return Err(KeyFolderError::Exists { path });
        }
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

    /// Waits until nobody else signs, or changes something in the folder.
    ///
    /// # Errors
    /// If the folder is not there, or its lock cannot be had.
    pub fn lock(&self) -> Result<LockedKeys<'_>, KeyFolderError> {
        let path = self.path.join("lock");
        let lock = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(&path)
            .map_err(|source| match source.kind() {
                // Without its folder there is no key either.
                io::ErrorKind::NotFound => KeyFolderError::None { path: self.key_file() },
                _ => io_error(&path, "cannot be opened", source),
            })?;
        loop {
            match lock.lock() {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                result => {
                    result.map_err(|source| io_error(&path, "cannot be locked", source))?;
                    return Ok(LockedKeys { folder: self, lock });
                }
            }
        }
    }

    /// Whether a change of keys is under way.
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
pub struct PublicKeys {
    /// The key that witnesses and auditors know the log by.
    pub stable: VerifierKey,
    /// The key of the present epoch, where the log has epochs.
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

    /// Keeps what is about to be let out. From here on nothing that contradicts it is signed.
    pub(crate) fn put_signed(&self, checkpoint: &SignedCheckpoint) -> Result<(), KeyFolderError> {
        self.replace("signed", checkpoint.to_string().as_bytes())
    }

    /// Where the log lies that was signed for last.
    pub(crate) fn log(&self) -> Result<Option<PathBuf>, KeyFolderError> {
        let text = read_private(&self.folder.path.join("log"))?;
        Ok(text.map(|path| PathBuf::from(path.trim_end_matches('\n'))))
    }

    /// Keeps where the log lies that is signed for.
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

    /// Puts the new key in the old one's place, which is overwritten and gone.
    pub(crate) fn finish_change(&self, change: Change) -> Result<(), KeyFolderError> {
        let old = match change.role {
            KeyRole::Stable => self.folder.key_file(),
            KeyRole::Epoch => self.folder.path.join("epoch"),
        };
        // The file that is replaced loses its name; through this handle its bytes go as well.
        let kept = File::options().write(true).open(&old).ok();
        match change.role {
            KeyRole::Stable => self.put_stable(&change.new)?,
            KeyRole::Epoch => self.put_epoch(&EpochKey { key: change.new, since: change.begun_at })?,
        }
        if let Some(kept) = kept {
            overwrite(kept).map_err(|source| io_error(&old, "the old key cannot be erased", source))?;
        }
        erase_file(&self.folder.path.join("change"))
    }

    fn replace(&self, name: &str, bytes: &[u8]) -> Result<(), KeyFolderError> {
        replace_file(&self.folder.path.join(name), bytes)
    }
}

impl Drop for LockedKeys<'_> {
    fn drop(&mut self) {
        // Closing the file unlocks it as well.
        let _ = self.lock.unlock();
    }
}

/// Takes a file away with its bytes. A crash leaves it whole or without a name, never half erased.
fn erase_file(path: &Path) -> Result<(), KeyFolderError> {
    let erase = || {
        let file = File::options().write(true).open(path)?;
        fs::remove_file(path)?;
        overwrite(file)?;
        File::open(path.parent().unwrap_or(Path::new(".")))?.sync_all()
    };
    erase().map_err(|source| io_error(path, "cannot be erased", source))
}

/// Overwrites what a file holds. Where the disk writes in place that is the end of it; elsewhere the rest
/// is the file system's to do.
fn overwrite(mut file: File) -> io::Result<()> {
    let bytes = file.metadata()?.len().min(FILE_BYTES_MAX);
    file.write_all(&vec![0; usize::try_from(bytes).unwrap_or(0)])?;
    file.sync_all()
}

/// Puts a file in the place of another, as a whole, and durably. Only its owner can read it.
///
/// # Errors
/// If it cannot be written; then the old one is there.
pub fn replace_file(path: &Path, bytes: &[u8]) -> Result<(), KeyFolderError> {
    let io = |what| move |source| io_error(path, what, source);
    let mut new = path.as_os_str().to_owned();
    new.push(".new");
    let new = PathBuf::from(new);
    let write = || {
        let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&new)?;
        // A file that was left by a crash may have been made by another program.
        file.set_permissions(fs::Permissions::from_mode(0o600))?;
        file.write_all(bytes)?;
        file.sync_all()
    };
    write().map_err(io("cannot be written"))?;
    fs::rename(&new, path).map_err(io("cannot be put in its place"))?;
    let folder = path.parent().unwrap_or(Path::new("."));
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(io("cannot be flushed"))
}

/// Reads a file that only its owner may read; None where there is none.
fn read_private(path: &Path) -> Result<Option<Zeroizing<String>>, KeyFolderError> {
    let metadata = match fs::metadata(path) {
        Ok(metadata) => metadata,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(source) => return Err(io_error(path, "cannot be looked at", source)),
    };
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
    // Room for all of it at once: a buffer that grows leaves the key behind in memory.
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
