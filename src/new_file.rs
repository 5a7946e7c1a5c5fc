//! Files that appear only when they are whole: made under another name, and put in their place at the end.
//!
//! ```text
//! audit.db.<id>.new/       a folder that its maker holds locked
//! └── file                 what is made, with what SQLite keeps beside it meanwhile
//!                          ── rename without replacing, else link ──▶ audit.db
//! ```
//!
//! The folder is removed in every case: with the [`NewFile`], when the program is told to stop ([`remove_unfinished`]),
//! and otherwise by the next maker of a file in the same place, which finds the folder without a lock. The lock belongs
//! to the folder, not to the file: closing a descriptor of a file that SQLite has open gives up SQLite's own locks.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs::{self, DirBuilder, File, OpenOptions, Permissions, TryLockError};
use std::io;
use std::os::unix::fs::{
    DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _, chown,
};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::event::EventId;
use crate::file::{FileIdentity, folder_of};

/// Ending of the name of a folder in which a file is made. The file's own name and an id stand before it.
const ENDING: &str = ".new";

/// Name of the file within that folder.
const FILE: &str = "file";

/// Endings of the files that SQLite keeps beside a database.
const BESIDE: [&str; 3] = ["-journal", "-wal", "-shm"];

/// Attempts at making a folder. Another maker that clears up may take a new folder for a left one, in the moment
/// between its creation and its locking.
const ATTEMPTS_MAX: usize = 16;

/// A file that cannot be made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NewFileError {
    /// A file exists at the path.
    #[error("{}: already exists", path.display())]
    Exists {
        /// The path.
        path: PathBuf,
    },
    /// The path has the form of a database's address elsewhere or in memory.
    #[error(
        "{}: is read as a URL or a database in memory, but only files of this machine are supported; for a file with this name, write `./{}`",
        path.display(), path.display()
    )]
    Url {
        /// The path.
        path: PathBuf,
    },
    /// The file system has no way to put a file in its place without replacing another one.
    #[error(
        "{}: cannot be moved to its place: the file system has neither a rename that replaces nothing ({rename}) nor hard links ({link}); name a place on another file system",
        path.display()
    )]
    NoPlacing {
        /// The path.
        path: PathBuf,
        /// The error of renaming.
        rename: io::Error,
        /// The error of linking.
        link: io::Error,
    },
    /// The operating system refused.
    #[error("{}: {doing}: {source}", path.display())]
    Io {
        /// The path.
        path: PathBuf,
        /// The operation that failed.
        doing: &'static str,
        /// The cause.
        source: io::Error,
    },
}

fn failed<'p>(path: &'p Path, doing: &'static str) -> impl FnOnce(io::Error) -> NewFileError + 'p {
    move |source| NewFileError::Io { path: path.to_owned(), doing, source }
}

/// A file in the making. If it is dropped before it is in its place, nothing stays behind.
#[derive(Debug)]
pub(crate) struct NewFile {
    place: PathBuf,
    folder: PathBuf,
    /// Lock on the folder, held for as long as the file is made. None if the file system has no locks.
    lock: Option<File>,
}

impl NewFile {
    /// Begins a file that will be put at `place`, and removes what makers that no longer run left in the same folder.
    ///
    /// # Errors
    /// If the path is a URL, or its folder cannot be written.
    pub(crate) fn begin(place: &Path) -> Result<NewFile, NewFileError> {
        refuse_url(place)?;
        remove_left(&folder_of(place));
        for _ in 1..ATTEMPTS_MAX {
            if let Some(new) = NewFile::try_begin(place)? {
                return Ok(new);
            }
        }
        let source = io::Error::other("another process removes its temporary folder again and again");
        Err(failed(place, "cannot be created")(source))
    }

    /// Makes one attempt. Returns None if another process removed the folder before it was locked.
    fn try_begin(place: &Path) -> Result<Option<NewFile>, NewFileError> {
        let mut name = place.as_os_str().to_owned();
        name.push(format!(".{}{ENDING}", EventId::generate()));
        let mut new = NewFile { place: place.to_owned(), folder: PathBuf::from(name), lock: None };
        let cannot = || failed(place, "cannot be created");
        // Listed before it exists: a stop between the two steps finds every folder in the list.
        unfinished().insert(new.folder.clone());
        DirBuilder::new().mode(0o700).create(&new.folder).map_err(cannot())?;
        let folder = match open_folder(&new.folder) {
            // Another process took the folder for a left one.
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            folder => folder.map_err(cannot())?,
        };
        // Without locks, nothing distinguishes a running maker from one that is gone: `remove_left` then removes
        // nothing.
        if folder.lock().is_ok() {
            // Another process may have locked and removed the folder before this lock. The lock counts only if the path
            // still leads to the locked folder.
            let held = FileIdentity::of(&folder.metadata().map_err(cannot())?);
            if !FileIdentity::at(&new.folder).is_ok_and(|found| found == held) {
                return Ok(None);
            }
            new.lock = Some(folder);
        }
        match OpenOptions::new().write(true).create_new(true).mode(0o600).open(new.path()) {
            // Only a stop of this process removes a folder that is locked.
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            made => made.map(|_| Some(new)).map_err(cannot()),
        }
    }

    /// The empty file to be filled. It belongs to this user alone, and lies in a folder of its own.
    pub(crate) fn path(&self) -> PathBuf {
        self.folder.join(FILE)
    }

    /// Puts the file in its place, where no file may be.
    ///
    /// # Errors
    /// If something is there, the file cannot be flushed, or the file system cannot put the file in place without
    /// replacing another one.
    pub(crate) fn place(self) -> Result<(), NewFileError> {
        // The content is durable before the name is: after a loss of power the name never leads to a part of the file.
        self.flush()?;
        place_with(&self.path(), &self.place, rename_without_replacing, |from, to| fs::hard_link(from, to))?;
        self.finish()
    }

    /// Puts the file in its place, and takes over the permissions of the file that it replaces, and its owner if this
    /// user may do so.
    ///
    /// # Errors
    /// If the file cannot be flushed or put there.
    pub(crate) fn replace(self) -> Result<(), NewFileError> {
        self.flush()?;
        let from = self.path();
        if let Ok(old) = fs::symlink_metadata(&self.place) {
            let cannot = || failed(&self.place, "cannot be replaced");
            // Without the set-user-id, set-group-id and sticky bits, which would let others act as the owner.
            let mode = Permissions::from_mode(old.mode() & 0o777);
            fs::set_permissions(&from, mode).map_err(cannot())?;
            let new = fs::metadata(&from).map_err(cannot())?;
            if (old.uid(), old.gid()) != (new.uid(), new.gid()) {
                // Only some users may give files away; for the others the file stays their own.
                let _ = chown(&from, Some(old.uid()), Some(old.gid()));
            }
        }
        fs::rename(&from, &self.place).map_err(failed(&self.place, "cannot be replaced"))?;
        self.finish()
    }

    fn flush(&self) -> Result<(), NewFileError> {
        File::open(self.path())
            .and_then(|file| file.sync_all())
            .map_err(failed(&self.place, "cannot be flushed"))
    }

    /// Removes the folder, and makes the new name durable.
    fn finish(self) -> Result<(), NewFileError> {
        let folder = folder_of(&self.place);
        // The folder lies beside the new name, so one flush makes both changes durable.
        drop(self);
        File::open(&folder).and_then(|file| file.sync_all()).map_err(failed(&folder, "cannot be flushed"))
    }
}

impl Drop for NewFile {
    fn drop(&mut self) {
        // The next maker of a file here removes what stays.
        let _ = remove_folder(&self.folder);
        unfinished().remove(&self.folder);
    }
}

/// The folders of files that this process is making.
fn unfinished() -> MutexGuard<'static, BTreeSet<PathBuf>> {
    static UNFINISHED: Mutex<BTreeSet<PathBuf>> = Mutex::new(BTreeSet::new());
    // Each change of the set is one call, so it is whole also after a panic.
    UNFINISHED.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Removes every file that this process is making, for a program that was told to stop and ends at once. Each maker
/// fails.
pub(crate) fn remove_unfinished() {
    // The list stays locked in the loop: nobody begins another file meanwhile.
    for folder in unfinished().iter() {
        // The maker of the file may add to the folder while it is emptied.
        for _ in 1..ATTEMPTS_MAX {
            if remove_folder(folder).is_ok() {
                break;
            }
        }
    }
}

/// Opens a folder, and refuses a symbolic link: anybody that may write to the parent could lead it elsewhere.
#[cfg(target_os = "linux")]
fn open_folder(folder: &Path) -> io::Result<File> {
    use rustix::fs::{Mode, OFlags};
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    Ok(rustix::fs::open(folder, flags, Mode::empty())?.into())
}

#[cfg(not(target_os = "linux"))]
fn open_folder(folder: &Path) -> io::Result<File> {
    File::open(folder)
}

/// Removes a folder with the files that are made in one. A folder that holds anything else is not ours, and stays.
fn remove_folder(folder: &Path) -> io::Result<()> {
    remove_opened(&open_folder(folder)?, folder)
}

#[cfg_attr(not(target_os = "linux"), expect(unused_variables, reason = "its path serves there"))]
fn remove_opened(opened: &File, folder: &Path) -> io::Result<()> {
    // Removed relative to the open folder where the system allows it: nobody can put another folder in its place
    // meanwhile.
    for ending in [""].into_iter().chain(BESIDE) {
        let name = format!("{FILE}{ending}");
        #[cfg(target_os = "linux")]
        let _ = rustix::fs::unlinkat(opened, name, rustix::fs::AtFlags::empty());
        #[cfg(not(target_os = "linux"))]
        let _ = fs::remove_file(folder.join(name));
    }
    // Fails if the folder holds anything else.
    fs::remove_dir(folder)
}

/// Removes the folders of makers that no longer run: a running maker holds a lock on its folder.
fn remove_left(folder: &Path) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    for entry in entries.flatten() {
        let is_folder = || entry.file_type().is_ok_and(|kind| kind.is_dir());
        if !is_unfinished_name(&entry.file_name()) || !is_folder() {
            continue;
        }
        let path = entry.path();
        let Ok(left) = open_folder(&path) else { continue };
        match left.try_lock() {
            Ok(()) => {
                let _ = remove_opened(&left, &path);
            }
            // An error means that there are no locks, so nothing shows that the maker is gone.
            Err(TryLockError::WouldBlock | TryLockError::Error(_)) => {}
        }
    }
}

/// The file that is made in a folder with this name.
pub(crate) fn unfinished_file(folder: &Path) -> PathBuf {
    folder.join(FILE)
}

/// Returns true if a name is that of a folder in which a file is made.
fn is_unfinished_name(name: &OsStr) -> bool {
    let name = name.as_encoded_bytes();
    let id = name.strip_suffix(ENDING.as_bytes()).and_then(|rest| rest.rsplit(|byte| *byte == b'.').next());
    id.is_some_and(is_id)
}

/// Returns true if a name is one under which the file named `own` is made.
pub(crate) fn is_unfinished_name_of(own: &OsStr, name: &OsStr) -> bool {
    let rest = name.as_encoded_bytes().strip_prefix(own.as_encoded_bytes());
    let id =
        rest.and_then(|rest| rest.strip_prefix(b".")).and_then(|rest| rest.strip_suffix(ENDING.as_bytes()));
    id.is_some_and(is_id)
}

fn is_id(text: &[u8]) -> bool {
    str::from_utf8(text).is_ok_and(|text| text.parse::<EventId>().is_ok())
}

/// Refuses a path that is a URL: it would lead to new folders named after a scheme and a host.
///
/// # Errors
/// If it is one.
pub(crate) fn refuse_url(path: &Path) -> Result<(), NewFileError> {
    if is_url(path) { Err(NewFileError::Url { path: path.to_owned() }) } else { Ok(()) }
}

/// Returns true if a path is a URL: it begins with a scheme and `//`, or with the scheme of a database and a colon.
fn is_url(path: &Path) -> bool {
    /// Schemes by which people name a database, also without slashes. None of them names a file on this machine's disk.
    const SCHEMES: [&str; 11] = [
        "",
        "file",
        "http",
        "https",
        "jdbc",
        "libsql",
        "mariadb",
        "mysql",
        "postgres",
        "postgresql",
        "sqlite",
    ];
    let Some((scheme, rest)) = path.to_str().and_then(|path| path.split_once(':')) else { return false };
    let is_scheme = |c: char| c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.');
    let looks_like_a_scheme =
        scheme.starts_with(|c: char| c.is_ascii_alphabetic()) && scheme.chars().all(is_scheme);
    (looks_like_a_scheme && rest.starts_with("//"))
        || SCHEMES.iter().any(|known| scheme.eq_ignore_ascii_case(known))
}

/// Gives a file another name, if that is free, by the first of two ways that the file system supports.
fn place_with(
    from: &Path,
    to: &Path,
    rename: impl FnOnce(&Path, &Path) -> io::Result<()>,
    link: impl FnOnce(&Path, &Path) -> io::Result<()>,
) -> Result<(), NewFileError> {
    let exists = || NewFileError::Exists { path: to.to_owned() };
    let renamed = match rename(from, to) {
        Ok(()) => return Ok(()),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => return Err(exists()),
        Err(error) if !is_lacking(&error) => return Err(failed(to, "cannot be created")(error)),
        Err(error) => error,
    };
    // A link leaves the old name as well; it goes with the folder in which the file was made.
    match link(from, to) {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Err(exists()),
        Err(error) if !is_lacking(&error) => Err(failed(to, "cannot be created")(error)),
        Err(error) => Err(NewFileError::NoPlacing { path: to.to_owned(), rename: renamed, link: error }),
    }
}

/// Returns true if an error means that the file system lacks the call: FAT and FUSE have no links (`EPERM`, `EMLINK`,
/// `ENOSYS`), old kernels and some file systems have no flags for renaming (`EINVAL`, `EOPNOTSUPP`).
fn is_lacking(error: &io::Error) -> bool {
    use io::ErrorKind::{InvalidInput, PermissionDenied, TooManyLinks, Unsupported};
    // `EACCES` has the same kind as `EPERM`; the other way then fails with it, too.
    matches!(error.kind(), InvalidInput | PermissionDenied | TooManyLinks | Unsupported)
}

#[cfg(target_os = "linux")]
fn rename_without_replacing(from: &Path, to: &Path) -> io::Result<()> {
    use rustix::fs::{CWD, RenameFlags, renameat_with};
    Ok(renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE)?)
}

#[cfg(not(target_os = "linux"))]
fn rename_without_replacing(_: &Path, _: &Path) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    fn begun() -> (tempfile::TempDir, NewFile) {
        let folder = tempfile::tempdir().unwrap();
        let new = NewFile::begin(&folder.path().join("file.txt")).unwrap();
        (folder, new)
    }

    fn names(folder: &Path) -> usize {
        fs::read_dir(folder).unwrap().count()
    }

    #[test]
    fn a_file_appears_whole_or_not_at_all() {
        let (folder, new) = begun();
        fs::write(new.path(), "whole").unwrap();
        assert!(!folder.path().join("file.txt").exists());
        new.place().unwrap();
        assert_eq!(fs::read_to_string(folder.path().join("file.txt")).unwrap(), "whole");
        drop(NewFile::begin(&folder.path().join("other.txt")).unwrap());
        assert_eq!(names(folder.path()), 1);
    }

    #[test]
    fn a_file_that_came_meanwhile_is_not_replaced() {
        let (folder, new) = begun();
        fs::write(folder.path().join("file.txt"), "theirs").unwrap();
        assert!(matches!(new.place(), Err(NewFileError::Exists { .. })));
        assert_eq!(fs::read_to_string(folder.path().join("file.txt")).unwrap(), "theirs");
        assert_eq!(names(folder.path()), 1);
    }

    #[test]
    fn what_nobody_makes_any_longer_is_removed_and_what_somebody_makes_is_not() {
        let (folder, new) = begun();
        let left = folder.path().join(format!("log.db.{}.new", EventId::generate()));
        fs::create_dir(&left).unwrap();
        for name in ["file", "file-journal", "file-wal"] {
            fs::write(left.join(name), "left").unwrap();
        }
        let kept = folder.path().join(format!("log.db.{}.new", EventId::generate()));
        fs::create_dir(&kept).unwrap();
        // A folder with an unknown file in it is not ours.
        fs::write(kept.join("somebody's"), "own").unwrap();
        let other = NewFile::begin(&folder.path().join("other.txt")).unwrap();
        assert!(!left.exists());
        assert!(kept.exists(), "it holds what is not made there");
        assert!(new.path().exists() && other.path().exists());
    }

    #[test]
    fn a_file_system_without_one_way_of_placing_is_asked_for_the_other() {
        let lacking = || Err(io::Error::from_raw_os_error(22)); // EINVAL
        let (from, to) = (Path::new("from"), Path::new("to"));
        let linked = Cell::new(false);
        let link = |_: &Path, _: &Path| {
            linked.set(true);
            Ok(())
        };
        place_with(from, to, |_, _| lacking(), link).unwrap();
        assert!(linked.get());
        // EINVAL and EPERM, ENOSYS and EOPNOTSUPP, EOPNOTSUPP and EMLINK, EPERM and ENOSYS.
        for (rename, link) in [(22, 1), (38, 95), (95, 31), (1, 38)] {
            let error = place_with(
                from,
                to,
                |_, _| Err(io::Error::from_raw_os_error(rename)),
                |_, _| Err(io::Error::from_raw_os_error(link)),
            )
            .unwrap_err();
            assert!(matches!(error, NewFileError::NoPlacing { .. }), "{error}");
            assert!(error.to_string().contains("hard links"), "{error}");
        }
        let full = || Err(io::Error::from(io::ErrorKind::StorageFull));
        let error = place_with(from, to, |_, _| full(), |_, _| panic!("it was asked")).unwrap_err();
        assert!(matches!(error, NewFileError::Io { .. }), "{error}");
        let there = || Err(io::Error::from(io::ErrorKind::AlreadyExists));
        let error = place_with(from, to, |_, _| lacking(), |_, _| there()).unwrap_err();
        assert!(matches!(error, NewFileError::Exists { .. }), "{error}");
    }

    #[test]
    fn urls_are_told_from_names_of_files() {
        for url in [
            "postgres://host/x",
            "POSTGRES://host",
            "mysql:x",
            "file:audit.db",
            "sqlite:///x.db",
            ":memory:",
            "s3://bucket/key",
            "git+ssh://host",
        ] {
            assert!(is_url(Path::new(url)), "{url}");
        }
        for name in
            ["audit.db", "./postgres://x", "/var/a:b", "a:b", "2026-11-29T08:00:00", "a b://c", "1://x"]
        {
            assert!(!is_url(Path::new(name)), "{name}");
        }
    }
}
