//! A small file system of its own, where one can be mounted.

#![allow(dead_code, clippy::unwrap_used, reason = "what the tests of several topics share")]

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A mounted volume, until it is dropped.
pub(crate) struct Volume {
    folder: tempfile::TempDir,
}

impl Volume {
    /// A volume of a size such as `12m`, with a folder for its user alone. None, with word of it, where nothing
    /// can be mounted.
    pub(crate) fn mount(size: &str) -> Option<Volume> {
        let folder = tempfile::tempdir().unwrap();
        let options = format!("size={size},mode=700");
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &options, "annals-test"])
            .arg(folder.path())
            .output();
        if !mounted.is_ok_and(|mounted| mounted.status.success()) {
            eprintln!("skipped: no file system can be mounted");
            return None;
        }
        Some(Volume { folder })
    }

    pub(crate) fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Takes every byte that is left. Returns the file that has them.
    pub(crate) fn fill(&self) -> PathBuf {
        let path = self.path().join("filler");
        let mut filler = std::fs::File::create(&path).unwrap();
        for size in [1 << 16, 1 << 12, 1] {
            while filler.write_all(&vec![0; size]).is_ok() {}
        }
        path
    }
}

impl Drop for Volume {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(self.folder.path()).status();
    }
}
