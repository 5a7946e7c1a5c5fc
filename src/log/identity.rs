//! The identity of the files that a connection has open, and their present state.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use rusqlite::Connection;

use super::error::OpenError;
use super::rows::{self, Head};
use crate::file::{FileIdentity, side_file};

impl FileIdentity {
    /// Makes sure that this is the file at the path.
    pub(crate) fn require_at(self, path: &Path) -> Result<(), OpenError> {
        match FileIdentity::at(path) {
            Ok(found) if found == self => Ok(()),
            Ok(_) => Err(OpenError::Replaced { path: path.to_owned() }),
            Err(error) => Err(OpenError::io(path, "is no longer where it was", error)),
        }
    }
}

/// The files that an open connection uses. While it is open, SQLite puts no others in their place. Another file that
/// is found there was put there by somebody else, and does not have what is committed through the connection.
#[derive(Clone, Debug)]
pub(crate) struct LogFiles {
    pub(crate) database: FileIdentity,
    /// `None` if there was none. SQLite makes it, and the shared memory, when somebody opens the log for appending.
    write_ahead: Option<FileIdentity>,
    /// The shared memory in which connections agree about the write-ahead log. With another one in its place they
    /// would overwrite each other's commits.
    shared_memory: Option<FileIdentity>,
    /// The path by which the caller named the log, if there are symbolic links in it. It must keep leading to this
    /// file.
    link: Option<PathBuf>,
}

/// The state of the files that a connection has open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    /// All files are where they were.
    Same,
    /// The file is no longer at its path, or the symbolic link by which it was named leads elsewhere.
    Replaced,
    /// The file is there, but lacks an event that was seen in it: older bytes were written over it.
    Cut,
    /// The write-ahead log or the shared memory was removed, or another one was put in its place. Commits that only
    /// the removed file holds are lost, unless a connection that has it open moves them into the log. The writers do
    /// that. A reader closes its connection at once, because the log is opened again only when nobody has it open.
    WalReplaced,
}

/// The file in the place of a write-ahead log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum WriteAhead {
    /// The one that is in use.
    Same,
    /// No file.
    Gone,
    /// A file to which nobody has written.
    Empty,
    /// A file of somebody else.
    Another,
}

impl LogFiles {
    /// Looks at the file in the place of the write-ahead log.
    ///
    /// # Errors
    /// If it cannot be examined.
    pub(crate) fn write_ahead_at(&self, path: &Path) -> io::Result<WriteAhead> {
        match fs::symlink_metadata(side_file(path, "-wal")) {
            Ok(found) if Some(FileIdentity::of(&found)) == self.write_ahead => Ok(WriteAhead::Same),
            Ok(found) if found.is_file() && found.len() == 0 => Ok(WriteAhead::Empty),
            Ok(_) => Ok(WriteAhead::Another),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(WriteAhead::Gone),
            Err(error) => Err(error),
        }
    }

    /// The files of a log that a connection just opened and looked at. The path has no symbolic link at its end.
    pub(crate) fn of(database: FileIdentity, path: &Path) -> Result<LogFiles, OpenError> {
        let beside = |ending| {
            let file = side_file(path, ending);
            match FileIdentity::at(&file) {
                Ok(identity) => Ok(Some(identity)),
                Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
                Err(error) => Err(OpenError::io(&file, "cannot be examined", error)),
            }
        };
        Ok(LogFiles { database, write_ahead: beside("-wal")?, shared_memory: beside("-shm")?, link: None })
    }

    /// Adds the path by which the caller named the log to what is watched, if it is another path: then there are
    /// symbolic links at its end or among its folders.
    pub(crate) fn named(mut self, name: &Path, path: &Path) -> LogFiles {
        self.link = (name != path).then(|| name.to_owned());
        self
    }

    /// Makes sure that these are the files at the path. Called twice for each commit: three system calls, or four for
    /// a log that was named by a symbolic link.
    pub(crate) fn require_at(&self, path: &Path) -> Result<(), OpenError> {
        self.database.require_at(path)?;
        if let Some(link) = &self.link
            && FileIdentity::behind(link).ok() != Some(self.database)
        {
            return Err(OpenError::LinkMoved { link: link.clone(), path: path.to_owned() });
        }
        for (identity, ending) in [(self.write_ahead, "-wal"), (self.shared_memory, "-shm")] {
            let Some(identity) = identity else { continue };
            let file = side_file(path, ending);
            match FileIdentity::at(&file) {
                Ok(found) if found == identity => {}
                Ok(_) => return Err(OpenError::WalReplaced { file }),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    return Err(OpenError::WalReplaced { file });
                }
                Err(error) => return Err(OpenError::io(&file, "cannot be examined", error)),
            }
        }
        Ok(())
    }

    /// The state of the files, judged by their identities alone.
    ///
    /// # Errors
    /// If they cannot be examined.
    pub(crate) fn standing(&self, path: &Path) -> Result<Standing, OpenError> {
        match self.require_at(path) {
            Ok(()) => Ok(Standing::Same),
            Err(OpenError::Replaced { .. } | OpenError::LinkMoved { .. }) => Ok(Standing::Replaced),
            Err(OpenError::WalReplaced { .. }) => Ok(Standing::WalReplaced),
            Err(OpenError::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
                Ok(Standing::Replaced)
            }
            Err(error) => Err(error),
        }
    }

    /// The state of the files, and of the last event that was seen through `connection`. The connection has the files
    /// open, and is in no transaction that began before.
    ///
    /// # Errors
    /// If they cannot be examined, or the event cannot be read.
    pub(crate) fn standing_of(
        &self,
        path: &Path,
        connection: &Connection,
        seen: Head,
    ) -> Result<Standing, OpenError> {
        let standing = self.standing(path)?;
        if standing != Standing::Same {
            return Ok(standing);
        }
        // The connection reads the files that it opened. Its answer counts only because those are the files at the
        // path.
        let has = rows::has(connection, seen).map_err(|source| {
            OpenError::sqlite(path, "the last event that was seen cannot be read", source)
        })?;
        Ok(if has { Standing::Same } else { Standing::Cut })
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;
    use crate::audit::AuditLog;
    use crate::event::Digest;
    use crate::log::open_reader;

    #[test]
    fn another_file_or_none_in_the_place_of_one_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let (path, other) = (folder.path().join("log"), folder.path().join("other"));
        fs::write(&path, "log").unwrap();
        fs::write(&other, "log").unwrap();
        let identity = FileIdentity::at(&path).unwrap();
        identity.require_at(&path).unwrap();
        assert!(matches!(identity.require_at(&other), Err(OpenError::Replaced { .. })));
        fs::remove_file(&path).unwrap();
        assert!(matches!(identity.require_at(&path), Err(OpenError::Io { .. })));
        symlink(&other, &path).unwrap();
        assert!(matches!(
            FileIdentity::at(&other).unwrap().require_at(&path),
            Err(OpenError::Replaced { .. })
        ));
    }

    /// A log that is open, a connection to it, and its files.
    struct Scene {
        folder: tempfile::TempDir,
        path: PathBuf,
        _log: AuditLog,
        connection: Connection,
        files: LogFiles,
        seen: Head,
    }

    fn scene() -> Scene {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().canonicalize().unwrap().join("audit.db");
        let log = AuditLog::open(&path).unwrap();
        let connection = open_reader(&path).unwrap();
        let files = LogFiles::of(FileIdentity::at(&path).unwrap(), &path).unwrap();
        let head = rows::head(&connection).unwrap();
        Scene { folder, path, _log: log, connection, files, seen: head }
    }

    impl Scene {
        fn standing(&self) -> Standing {
            self.files.standing_of(&self.path, &self.connection, self.seen).unwrap()
        }
    }

    #[test]
    fn what_became_of_an_open_logs_files_is_told_apart() {
        let scene = scene();
        assert_eq!(scene.standing(), Standing::Same);

        for ending in ["-wal", "-shm"] {
            let file = side_file(&scene.path, ending);
            let kept = scene.folder.path().join("kept");
            fs::rename(&file, &kept).unwrap();
            assert_eq!(scene.standing(), Standing::WalReplaced);
            fs::write(&file, "another").unwrap();
            assert_eq!(scene.standing(), Standing::WalReplaced);
            fs::rename(&kept, &file).unwrap();
            assert_eq!(scene.standing(), Standing::Same);
        }

        let kept = scene.folder.path().join("kept");
        fs::rename(&scene.path, &kept).unwrap();
        assert_eq!(scene.standing(), Standing::Replaced);
        symlink(&kept, &scene.path).unwrap();
        assert_eq!(scene.standing(), Standing::Replaced);
        fs::remove_file(&scene.path).unwrap();
        fs::rename(&kept, &scene.path).unwrap();
        assert_eq!(scene.standing(), Standing::Same);
    }

    #[test]
    fn an_event_that_is_no_longer_there_is_a_log_cut_off() {
        let mut scene = scene();
        scene.seen = Head { hash: Digest::ZERO, ..scene.seen };
        assert_eq!(scene.standing(), Standing::Cut);
        scene.seen = Head { seq: scene.seen.seq.next(), hash: Digest::ZERO };
        assert_eq!(scene.standing(), Standing::Cut);
    }

    #[test]
    fn a_link_that_leads_elsewhere_is_a_log_replaced() {
        let scene = scene();
        let link = scene.folder.path().join("link.db");
        symlink(&scene.path, &link).unwrap();
        let files = scene.files.clone().named(&link, &scene.path);
        assert_eq!(files.standing(&scene.path).unwrap(), Standing::Same);
        let other = scene.folder.path().join("other.db");
        fs::write(&other, "other").unwrap();
        fs::remove_file(&link).unwrap();
        symlink(&other, &link).unwrap();
        assert_eq!(files.standing(&scene.path).unwrap(), Standing::Replaced);
    }
}
