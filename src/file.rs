//! Files by name: the file that a name means, and its neighbours.

use std::fs::{self, File, Metadata, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// Device and inode of a file. Two paths with equal identities are one file; a path with a new identity now names
/// another file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FileIdentity {
    device: u64,
    inode: u64,
}

/// The treatment of a symbolic link at the end of a path. Links among the folders before it are always followed:
/// under every name of a folder, the files beside the log are the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Link {
    /// The link itself: SQLite names the files beside a log after the name that it opened.
    Itself,
    /// The file that it leads to.
    Target,
}

impl FileIdentity {
    pub(crate) fn of(metadata: &Metadata) -> FileIdentity {
        use std::os::unix::fs::MetadataExt;
        FileIdentity { device: metadata.dev(), inode: metadata.ino() }
    }

    /// The identity of the file with exactly this name now: of a symbolic link itself, and not of its target. A log
    /// that was renamed, with a link left in its place, has another name, and the next user of that name would keep
    /// another write-ahead log.
    pub(crate) fn at(path: &Path) -> io::Result<FileIdentity> {
        FileIdentity::look(path, Link::Itself)
    }

    /// The identity of the file that the path leads to now, through symbolic links.
    pub(crate) fn behind(path: &Path) -> io::Result<FileIdentity> {
        FileIdentity::look(path, Link::Target)
    }

    /// Asks for the inode alone. Once a file's times were asked for, its next write gets an exact time (Linux 6.13,
    /// multigrain timestamps), which flushing then has to put into the file system's journal. Before and after each
    /// commit, that takes a quarter of the rate of a single producer.
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
            // Old kernels lack the call, and some sandboxes forbid it.
            Err(Errno::NOSYS | Errno::PERM) => FileIdentity::look_slowly(path, link),
            Err(error) => Err(error.into()),
        }
    }

    #[cfg(not(target_os = "linux"))]
    fn look(path: &Path, link: Link) -> io::Result<FileIdentity> {
        FileIdentity::look_slowly(path, link)
    }

    fn look_slowly(path: &Path, link: Link) -> io::Result<FileIdentity> {
        // These calls ask for the times as well: slower for the next flush, and otherwise the same.
        let metadata = match link {
            Link::Itself => fs::symlink_metadata(path)?,
            Link::Target => fs::metadata(path)?,
        };
        Ok(FileIdentity::of(&metadata))
    }
}

/// The folder that a path is in.
pub(crate) fn folder_of(path: &Path) -> PathBuf {
    match path.parent() {
        // The parent of a bare name is the empty path, which no call accepts as a folder.
        Some(folder) if folder != Path::new("") => folder.to_owned(),
        _ => PathBuf::from("."),
    }
}

/// Opens a file that is there to be locked, or makes it, empty and readable by its owner alone.
pub(crate) fn open_lock_file(path: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(path)
}

/// The path of a file that lies beside the log and is named after it.
pub(crate) fn side_file(path: &Path, ending: &str) -> PathBuf {
    // Appended to the whole name: `with_extension` would replace an ending.
    let mut name = path.as_os_str().to_owned();
    name.push(ending);
    PathBuf::from(name)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn a_file_is_the_same_whichever_call_was_asked_for_it() {
        let folder = tempfile::tempdir().unwrap();
        let (path, other) = (folder.path().join("log"), folder.path().join("other"));
        fs::write(&path, "log").unwrap();
        fs::write(&other, "log").unwrap();
        let identity = FileIdentity::at(&path).unwrap();
        assert_eq!(FileIdentity::of(&fs::metadata(&path).unwrap()), identity);
        assert_eq!(FileIdentity::look_slowly(&path, Link::Itself).unwrap(), identity);
        assert_ne!(FileIdentity::at(&other).unwrap(), identity);
    }

    #[test]
    fn a_link_in_the_place_of_a_file_is_another_file_and_leads_to_the_same() {
        let folder = tempfile::tempdir().unwrap();
        let (path, real) = (folder.path().join("log"), folder.path().join("real"));
        fs::write(&path, "log").unwrap();
        let identity = FileIdentity::at(&path).unwrap();
        fs::rename(&path, &real).unwrap();
        symlink(&real, &path).unwrap();
        for link in [Link::Itself, Link::Target] {
            let found = FileIdentity::look(&path, link).unwrap();
            assert_eq!(found == identity, link == Link::Target);
            assert_eq!(FileIdentity::look_slowly(&path, link).unwrap(), found);
        }
    }
}
