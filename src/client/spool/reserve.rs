//! Room for what has to be written while the disk is full.
//!
//! A spool that filled its volume while the server was away empties itself again when the server is back:
//! that needs no room, except for a refused event, which leaves only once it is kept. A file of this size is
//! given up for that.

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

    /// Takes the room, if it is to be had. A disk without it holds nobody up.
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
            .and_then(|mut file| file.write_all(&vec![0; SPOOL_RESERVE_BYTES]));
        if written.is_err() {
            let _ = fs::remove_file(&self.0);
        }
    }

    /// Does something that needs room, and does it again without the reserve where there is none.
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
