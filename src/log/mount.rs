//! Places where a log is not safe: a file that is mounted alone, and file systems whose locks and shared memory end
//! at one machine.

use std::fs;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::fs::{AtFlags, CWD, Mode, OFlags, StatxFlags, fstatfs, openat, statx};

use super::error::OpenError;
use crate::file::folder_of;

/// File systems that several machines share, by their numbers in `statfs` (`linux/magic.h`, and the drivers' own).
/// SQLite's locks may not reach the other machines there, and the shared memory beside a write-ahead log does not.
const SHARED: &[(u32, &str)] = &[
    (0x0000_6969, "NFS"),
    (0x0000_517B, "SMB"),
    (0xFF53_4D42, "CIFS"),
    (0xFE53_4D42, "SMB"),
    (0x0102_1997, "9p"),
    (0x5346_414F, "AFS"),
    (0x00C3_6400, "Ceph"),
    (0x0BD0_0BD0, "Lustre"),
    (0x0116_1970, "GFS2"),
    (0x7461_636F, "OCFS2"),
    (0x4750_4653, "GPFS"),
    (0x7375_7245, "Coda"),
];

/// The number of FUSE, which virtiofs has too.
const FUSE: u32 = 0x6573_5546;

/// The kind of file system under a log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Ground {
    /// A file system of this machine.
    Local,
    /// A file system of this machine, as far as is known. Another program serves it, and may or may not provide locks
    /// and shared memory.
    Fuse {
        /// The type in the list of mounts.
        name: String,
    },
    /// A file system that other machines may write to.
    Shared {
        /// The name for messages.
        name: String,
    },
}

/// Finds the kind of file system under a log. The path has no symbolic link at its end.
///
/// The descriptors that it opens give no access to the file, so closing one does not give up SQLite's locks.
///
/// # Errors
/// If the file is mounted by itself, or cannot be examined.
pub(super) fn ground(path: &Path) -> Result<Ground, OpenError> {
    let look = |error: rustix::io::Errno| OpenError::io(path, "cannot be examined", error.into());
    let flags = OFlags::PATH | OFlags::CLOEXEC;
    let folder = openat(CWD, folder_of(path), flags | OFlags::DIRECTORY, Mode::empty()).map_err(look)?;
    let Some(name) = path.file_name() else { return Ok(Ground::Local) };
    let file: OwnedFd = openat(&folder, name, flags | OFlags::NOFOLLOW, Mode::empty()).map_err(look)?;
    // A file in another mount than its folder is mounted alone: its write-ahead log would not be where others look
    // for it. An unknown id proves nothing.
    let mount = mount_id(file.as_fd());
    if let (Some(own), Some(around)) = (mount, mount_id(folder.as_fd()))
        && own != around
    {
        return Err(OpenError::MountedAlone { path: path.to_owned() });
    }
    let found = fstatfs(&file).map_err(look)?;
    // The kernel's number has 32 bits. Its field is signed, and as wide as the machine makes it.
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "32 bits are the number")]
    let number = found.f_type as u32;
    let fuse = || mount.and_then(fuse_name).unwrap_or_else(|| "fuse".to_owned());
    Ok(ground_of(number, fuse))
}

fn ground_of(number: u32, fuse: impl FnOnce() -> String) -> Ground {
    if let Some((_, name)) = SHARED.iter().find(|(shared, _)| *shared == number) {
        return Ground::Shared { name: (*name).to_owned() };
    }
    if number != FUSE {
        return Ground::Local;
    }
    match fuse() {
        name if name == "virtiofs" => Ground::Shared { name },
        name => Ground::Fuse { name },
    }
}

/// The id of the mount that a descriptor is in; `None` if the kernel does not report it.
fn mount_id(descriptor: BorrowedFd<'_>) -> Option<u64> {
    let asked = statx(descriptor, "", AtFlags::EMPTY_PATH, StatxFlags::MNT_ID);
    match asked {
        Ok(found) if found.stx_mask & StatxFlags::MNT_ID.bits() != 0 => Some(found.stx_mnt_id),
        // Before Linux 5.8, and in sandboxes that forbid the call.
        _ => {
            let info = fs::read_to_string(format!("/proc/self/fdinfo/{}", descriptor.as_raw_fd())).ok()?;
            info.lines().find_map(|line| line.strip_prefix("mnt_id:")?.trim().parse().ok())
        }
    }
}

/// The type of a mount, as the kernel lists it: `fuse.sshfs`, `virtiofs`.
fn fuse_name(mount: u64) -> Option<String> {
    type_of(mount, &fs::read_to_string("/proc/self/mountinfo").ok()?)
}

/// The type of a mount, from the text of `/proc/self/mountinfo`. A line is
/// `36 35 98:0 /root /at rw,noatime master:1 - type source options`.
fn type_of(mount: u64, mounts: &str) -> Option<String> {
    let mount = mount.to_string();
    let line = mounts.lines().find(|line| line.split(' ').next() == Some(&mount))?;
    // The number of fields before the dash varies.
    line.split_once(" - ")?.1.split(' ').next().map(str::to_owned)
}

/// Refuses file systems on which appending could damage the log.
pub(super) fn require_for_writing(path: &Path) -> Result<(), OpenError> {
    match ground(path)? {
        Ground::Local | Ground::Fuse { .. } => Ok(()),
        Ground::Shared { name } => Err(OpenError::SharedFileSystem { path: path.to_owned(), name }),
    }
}

/// A warning for users who keep a log at this path, if there is a reason for one.
pub(crate) fn caution(path: &Path) -> Option<String> {
    let Ok(Ground::Fuse { name }) = ground(path) else { return None };
    Some(format!(
        "{}: is on a file system of another program ({name}); if its locks or its shared memory are not those of a local disk, two programs at once can damage the log",
        path.display()
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn file_systems_that_machines_share_are_known_by_their_numbers() {
        let no_fuse = || panic!("is not FUSE");
        for (number, name) in [(0x6969, "NFS"), (0xFF53_4D42, "CIFS"), (0x0102_1997, "9p")] {
            assert_eq!(ground_of(number, no_fuse), Ground::Shared { name: name.to_owned() });
        }
        // ext4, tmpfs, overlayfs, btrfs.
        for number in [0xEF53, 0x0102_1994, 0x794C_7630, 0x9123_683E] {
            assert_eq!(ground_of(number, no_fuse), Ground::Local);
        }
    }

    #[test]
    fn virtiofs_is_told_from_other_file_systems_of_its_number() {
        let mounts = "36 35 98:0 / / rw,noatime master:1 - ext4 /dev/root rw\n\
                      37 36 0:30 / /mnt/a\\040b rw - fuse.sshfs host:/ rw\n\
                      38 36 0:31 / /share rw shared:2 - virtiofs share rw\n";
        let name = |mount| type_of(mount, mounts);
        assert_eq!(ground_of(FUSE, || name(37).unwrap()), Ground::Fuse { name: "fuse.sshfs".to_owned() });
        assert_eq!(ground_of(FUSE, || name(38).unwrap()), Ground::Shared { name: "virtiofs".to_owned() });
        assert_eq!(name(3), None);
    }

    #[test]
    fn a_file_of_a_folder_lies_on_its_ground() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        fs::write(&path, "x").unwrap();
        ground(&path).unwrap();
        let file = fs::File::open(&path).unwrap();
        let folder = fs::File::open(folder.path()).unwrap();
        assert!(mount_id(file.as_fd()).is_some());
        assert_eq!(mount_id(file.as_fd()), mount_id(folder.as_fd()));
    }
}
