//! Reading a file as if nobody changed it, and the proof that nobody did.

use std::fs::{self, File};
use std::io::{self, Read as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use super::error::OpenError;
use crate::file::side_file;

/// The state of a file and of those beside it. SQLite takes no lock on a file that it reads as one that nobody
/// changes, and would report pages of two moments as damage.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Still {
    path: PathBuf,
    file: Look,
    /// The empty write-ahead log beside it, if there is one. Without a write-ahead log nobody has the file open for
    /// writing.
    wal: Option<Look>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Look {
    identity: (u64, u64),
    bytes: u64,
    // A write that leaves the size as it was changes these times.
    modified: (i64, i64),
    changed: (i64, i64),
}

impl Look {
    fn at(path: &Path) -> Result<Option<Look>, OpenError> {
        match fs::symlink_metadata(path) {
            Ok(found) => Ok(Some(Look {
                identity: (found.dev(), found.ino()),
                bytes: found.len(),
                modified: (found.mtime(), found.mtime_nsec()),
                changed: (found.ctime(), found.ctime_nsec()),
            })),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(OpenError::io(path, "cannot be examined", error)),
        }
    }
}

impl Still {
    /// Looks at a file before it is opened.
    ///
    /// # Errors
    /// If a file beside it belongs to it and could not be read with it.
    pub(super) fn of(path: &Path) -> Result<Still, OpenError> {
        let file = Look::at(path)?.ok_or_else(|| OpenError::Missing { path: path.to_owned() })?;
        let wal = Look::at(&side_file(path, "-wal"))?;
        if wal.as_ref().is_some_and(|wal| wal.bytes > 0) {
            return Err(OpenError::WalInReadOnlyFolder { path: path.to_owned() });
        }
        require_no_journal(path)?;
        Ok(Still { path: path.to_owned(), file, wal })
    }

    /// Makes sure that everything that was read since came from the unchanged file.
    ///
    /// # Errors
    /// If somebody changed the file, or began to.
    pub(crate) fn require(&self) -> Result<(), OpenError> {
        match Still::of(&self.path) {
            Ok(now) if now == *self => Ok(()),
            // A write-ahead log that is no longer empty, or a file that is gone, is a change like any other.
            Ok(_) | Err(OpenError::WalInReadOnlyFolder { .. } | OpenError::Missing { .. }) => {
                Err(OpenError::ChangedWhileRead { path: self.path.clone() })
            }
            Err(error) => Err(error),
        }
    }
}

/// Refuses a hot journal: one whose first byte is not zero. A process that may write would roll it back.
fn require_no_journal(path: &Path) -> Result<(), OpenError> {
    let journal = side_file(path, "-journal");
    let mut first = [0];
    let read = File::open(&journal).and_then(|mut file| file.read(&mut first));
    match read {
        // SQLite does not roll back a journal that is empty or begins with zero.
        Ok(0) => Ok(()),
        Ok(_) if first == [0] => Ok(()),
        Ok(_) => Err(OpenError::HotJournal { path: path.to_owned(), journal }),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(OpenError::io(&journal, "cannot be opened", error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn still() -> (tempfile::TempDir, PathBuf, Still) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("audit.db");
        fs::write(&path, [1; 512]).unwrap();
        let still = Still::of(&path).unwrap();
        (folder, path, still)
    }

    #[test]
    fn a_file_that_nobody_changed_is_still() {
        let (_folder, _path, still) = still();
        still.require().unwrap();
    }

    #[test]
    fn what_a_writer_does_while_the_file_is_read_is_noticed() {
        let acts: [fn(&Path); 5] = [
            |path| fs::write(path, [2; 512]).unwrap(),
            |path| fs::write(path, [1; 1_024]).unwrap(),
            |path| fs::write(side_file(path, "-wal"), [1]).unwrap(),
            |path| fs::write(side_file(path, "-wal"), []).unwrap(),
            |path| fs::remove_file(path).unwrap(),
        ];
        for act in acts {
            let (_folder, path, still) = still();
            act(&path);
            let error = still.require().unwrap_err();
            assert!(matches!(error, OpenError::ChangedWhileRead { .. }), "{error}");
        }
    }

    #[test]
    fn a_journal_that_would_be_rolled_back_is_refused() {
        let (_folder, path, still) = still();
        fs::write(side_file(&path, "-journal"), [0, 1, 2]).unwrap();
        still.require().unwrap();
        fs::write(side_file(&path, "-journal"), [0xd9, 1, 2]).unwrap();
        let error = still.require().unwrap_err();
        assert!(matches!(error, OpenError::HotJournal { .. }), "{error}");
    }
}
