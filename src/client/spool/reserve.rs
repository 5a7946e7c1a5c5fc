//! Disk space for the writes that are needed while the disk is full.
//!
//! A spool that filled its disk while the server was away empties itself when the server is back. That
//! needs no space, with one exception: a refused event leaves only once it is kept in `refused.jsonl`. The
//! file of this module is deleted to make space for that.

use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use crate::limits::SPOOL_RESERVE_BYTES;

#[derive(Debug)]
pub(in super::super) struct Reserve(PathBuf);

impl Reserve {
    pub(in super::super) fn new(folder: &Path) -> Reserve {
        Reserve(folder.join("reserve"))
    }

    /// Fills the file, if the disk has room for it. Without the file, the spool still works.
    pub(super) fn fill(&self) {
        if fs::metadata(&self.0).is_ok_and(|metadata| metadata.len() == SPOOL_RESERVE_BYTES as u64) {
            return;
        }
        let written = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&self.0)
            // Bytes are written, because a file that is only made longer takes no space on the disk.
            .and_then(|mut file| file.write_all(&vec![0; SPOOL_RESERVE_BYTES]));
        // A part of the reserve would only take space that events need.
        if written.is_err() {
            let _ = fs::remove_file(&self.0);
        }
    }

    /// Runs a write. If the disk is full, deletes the reserve and runs the write once more.
    pub(in super::super) fn yield_to(&self, write: impl Fn() -> io::Result<()>) -> io::Result<()> {
        match write() {
            Err(error) if is_full(&error) && fs::remove_file(&self.0).is_ok() => write(),
            done => done,
        }
    }
}

fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}
