//! Which file it is, by device and inode, and what became of the files that a connection has open.

use std::fs::{self, Metadata};
use std::io;
use std::path::{Path, PathBuf};

use rusqlite::Connection;

use super::error::OpenError;
use super::open::side_file;
use super::rows;
use crate::event::{Digest, Seq};

/// Device and inode: two paths with equal ones are one file, and a path that gets others names
/// another file now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FileIdentity {
    device: u64,
    inode: u64,
}

/// What a symbolic link at the end of a path stands for. Links among the folders before it are always
/// followed: whichever name a folder has, the files beside the log are the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Link {
    /// Itself: SQLite names the files beside a log after the name that it opened.
    Itself,
    /// The file that it leads to.
    Target,
}

impl FileIdentity {
    pub(crate) fn of(metadata: &Metadata) -> FileIdentity {
        use std::os::unix::fs::MetadataExt;
        FileIdentity { device: metadata.dev(), inode: metadata.ino() }
    }

    /// Makes sure that it is the file at the path.
    pub(crate) fn require_at(self, path: &Path) -> Result<(), OpenError> {
        match FileIdentity::at(path) {
            Ok(found) if found == self => Ok(()),
            Ok(_) => Err(OpenError::Replaced { path: path.to_owned() }),
            Err(error) => Err(OpenError::io(path, "is no longer where it was", error)),
        }
    }

    /// Of what has this very name now: of a symbolic link, and not of the file that it leads to. A log that
    /// was renamed with a link left in its place is under another name, and its next user would keep
    /// another write-ahead log.
    pub(crate) fn at(path: &Path) -> io::Result<FileIdentity> {
        FileIdentity::look(path, Link::Itself)
    }

    /// Of the file that the path leads to now, through symbolic links.
    pub(crate) fn behind(path: &Path) -> io::Result<FileIdentity> {
        FileIdentity::look(path, Link::Target)
    }

    /// Asks for the inode alone. Who has asked for a file's times is owed an exact one by its next write
    /// (Linux 6.13, multigrain timestamps), which flushing then has to put into the file system's journal:
    /// before and after each commit, that takes a quarter of the rate of a single producer.
    #[cfg(target_os = "linux")]
    fn look(path: &Path, link: Link) -> io::Result<FileIdentity> {
        use rustix::fs::{AtFlags, CWD, StatxFlags, makedev, statx};
        use rustix::io::Errno;
        let flags = match link {
            Link::Itself => AtFlags::SYMLINK_NOFOLLOW,
            Link::Target => AtFlags::empty(),
        };
        match statx(CWD, path, flags, StatxFlags::INO) {
            Ok(found) => Ok(FileIdentity {
                device: makedev(found.stx_dev_major, found.stx_dev_minor),
                inode: found.stx_ino,
            }),
            // Old kernels and sandboxes know the call not, or forbid it.
            Err(Errno::NOSYS | Errno::PERM) => FileIdentity::look_slowly(path, link),
            Err(error) => Err(error.into()),
        }
    }

    #[cfg(not(target_os = "linux"))]
    fn look(path: &Path, link: Link) -> io::Result<FileIdentity> {
        FileIdentity::look_slowly(path, link)
    }

    fn look_slowly(path: &Path, link: Link) -> io::Result<FileIdentity> {
        let metadata = match link {
            Link::Itself => fs::symlink_metadata(path)?,
            Link::Target => fs::metadata(path)?,
        };
        Ok(FileIdentity::of(&metadata))
    }
}

/// The files that an open connection uses. As long as it is open SQLite puts no others in their
/// place: what is found there then was put there by somebody else, and what is committed is in
/// neither.
#[derive(Clone, Debug)]
pub(crate) struct LogFiles {
    pub(crate) database: FileIdentity,
    /// None where there was none: SQLite makes it, and the next, when somebody opens the log for appending.
    write_ahead: Option<FileIdentity>,
    /// The memory in which connections agree about the write-ahead log: with another one in its
    /// place they would write over each other's commits.
    shared_memory: Option<FileIdentity>,
    /// The symbolic link by which the caller named the log, where it was one: it must go on leading here.
    link: Option<PathBuf>,
}

/// What became of the files that a connection has open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    /// They are where they were.
    Same,
    /// The file is no longer at its path, or the link by which it was named leads elsewhere.
    Replaced,
    /// The file is there, and has no longer what was seen in it: older bytes were written over it.
    Cut,
    /// The write-ahead log or the memory beside it was removed, or another was put in its place. What only
    /// the removed one holds is lost unless a connection that has it open moves it into the file. The writers
    /// see to that; a reader closes its connection at once, because the log is opened again only when nobody
    /// has it open.
    WalReplaced,
}

/// What lies in the place of a write-ahead log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum WriteAhead {
    /// The one that is in use.
    Same,
    /// Nothing.
    Gone,
    /// One to which nobody has written.
    Empty,
    /// One of somebody else.
    Another,
}

impl LogFiles {
    /// What lies in the place of the write-ahead log.
    ///
    /// # Errors
    /// If it cannot be looked at.
    pub(crate) fn write_ahead_at(&self, path: &Path) -> io::Result<WriteAhead> {
        match fs::symlink_metadata(side_file(path, "-wal")) {
            Ok(found) if Some(FileIdentity::of(&found)) == self.write_ahead => Ok(WriteAhead::Same),
            Ok(found) if found.is_file() && found.len() == 0 => Ok(WriteAhead::Empty),
            Ok(_) => Ok(WriteAhead::Another),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(WriteAhead::Gone),
            Err(error) => Err(error),
        }
    }

    /// Those of a log that a connection just opened and looked at. The path has no symbolic link at its end.
    pub(crate) fn of(database: FileIdentity, path: &Path) -> Result<LogFiles, OpenError> {
        let beside = |ending| {
            let file = side_file(path, ending);
            match FileIdentity::at(&file) {
                Ok(identity) => Ok(Some(identity)),
                Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
                Err(error) => Err(OpenError::io(&file, "cannot be looked at", error)),
            }
        };
        Ok(LogFiles { database, write_ahead: beside("-wal")?, shared_memory: beside("-shm")?, link: None })
    }

    /// Has the path by which the caller named the log watched as well, where that is another one: there are
    /// links in it, at its end or among its folders.
    pub(crate) fn named(mut self, name: &Path, path: &Path) -> LogFiles {
        self.link = (name != path).then(|| name.to_owned());
        self
    }

    /// Makes sure that they are the files at the path. This is asked twice for each commit: three calls of
    /// the system, or four for a log that was named by a link.
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
                Err(error) => return Err(OpenError::io(&file, "cannot be looked at", error)),
            }
        }
        Ok(())
    }

    /// What became of them, by their identities alone.
    ///
    /// # Errors
    /// If they cannot be looked at.
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

    /// What became of them and of the last event that was seen through `connection`, which has them open
    /// and is in no transaction that began before.
    ///
    /// # Errors
    /// If they cannot be looked at, or the event cannot be read.
    pub(crate) fn standing_of(
        &self,
        path: &Path,
        connection: &Connection,
        (seq, link): (Seq, Digest),
    ) -> Result<Standing, OpenError> {
        let standing = self.standing(path)?;
        if standing != Standing::Same {
            return Ok(standing);
        }
        let found = rows::link_at(connection, seq).map_err(|source| {
            OpenError::sqlite(path, "the last event that was seen cannot be read", source)
        })?;
        Ok(if found == Some(link) { Standing::Same } else { Standing::Cut })
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;
    use crate::audit::AuditLog;
    use crate::log::open;

    #[test]
    fn a_file_is_the_same_whichever_call_was_asked_for_it() {
        let folder = tempfile::tempdir().unwrap();
        let (path, other) = (folder.path().join("log"), folder.path().join("other"));
        fs::write(&path, "log").unwrap();
        fs::write(&other, "log").unwrap();
        let identity = FileIdentity::of(&fs::metadata(&path).unwrap());
        identity.require_at(&path).unwrap();
        assert_eq!(FileIdentity::look_slowly(&path, Link::Itself).unwrap(), identity);
        assert!(matches!(identity.require_at(&other), Err(OpenError::Replaced { .. })));
        fs::remove_file(&path).unwrap();
        assert!(matches!(identity.require_at(&path), Err(OpenError::Io { .. })));
    }

    #[test]
    fn a_link_in_the_place_of_a_file_is_another_file_and_leads_to_the_same() {
        let folder = tempfile::tempdir().unwrap();
        let (path, real) = (folder.path().join("log"), folder.path().join("real"));
        fs::write(&path, "log").unwrap();
        let identity = FileIdentity::at(&path).unwrap();
        fs::rename(&path, &real).unwrap();
        symlink(&real, &path).unwrap();
        assert!(matches!(identity.require_at(&path), Err(OpenError::Replaced { .. })));
        for link in [Link::Itself, Link::Target] {
            let found = FileIdentity::look(&path, link).unwrap();
            assert_eq!(found == identity, link == Link::Target);
            assert_eq!(FileIdentity::look_slowly(&path, link).unwrap(), found);
        }
    }

    /// A log that is open, a connection to it, and its files.
    struct Scene {
        folder: tempfile::TempDir,
        path: PathBuf,
        _log: AuditLog,
        connection: Connection,
        files: LogFiles,
        seen: (Seq, Digest),
    }

    fn scene() -> Scene {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().canonicalize().unwrap().join("audit.db");
        let log = AuditLog::open(&path).unwrap();
        let connection = open::open_reader(&path).unwrap();
        let files = LogFiles::of(FileIdentity::at(&path).unwrap(), &path).unwrap();
        let head = rows::head(&connection).unwrap();
        Scene { folder, path, _log: log, connection, files, seen: (head.seq, head.hash) }
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
        scene.seen = (scene.seen.0, Digest::ZERO);
        assert_eq!(scene.standing(), Standing::Cut);
        scene.seen = (scene.seen.0.next(), Digest::ZERO);
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
