//! A log as the static files of C2SP tlog-tiles, for anybody to fetch and check.
//!
//! ```text
//! checkpoint                     the last one that was signed: written last, so that all it covers is there
//! tile/<L>/<N>[.p/<W>]           hashes of the tree
//! tile/entries/<N>[.p/<W>]       the leaves: links and entries, no payloads
//! ```
//!
//! Files other than the checkpoint never change. What is in a folder already is held against the log:
//! the files that new ones continue, or all of them ([`Already`]). A run that was interrupted is taken up,
//! and another log's folder is left alone.

mod error;
mod tile_file;
mod site;

use std::path::Path;

use crate::note::SignedCheckpoint;
use crate::prove::last_checkpoint;
use crate::reader::Reader;
pub use error::PublishError;
pub use site::Already;
use site::Site;
#[cfg(feature = "server")]
pub(crate) use tile_file::TileFile;

/// What was published.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Published {
    /// The checkpoint that is in the folder now.
    pub checkpoint: SignedCheckpoint,
    /// Events that were in the folder before.
    pub before: u64,
    /// Files that were written.
    pub files: u64,
    /// Those of them that were missing or differed, and are as the log has them now.
    pub repaired: u64,
}

impl Reader {
    /// Writes the log, as far as the last checkpoint covers it, into a folder as static files: those
    /// that are not there yet, the checkpoint last. The folder is made where there is none.
    ///
    /// Below the folder no symbolic link is followed: nothing is read or written through one.
    ///
    /// `progress` is told how many of how many events are there.
    ///
    /// # Errors
    /// If there is no checkpoint, the folder is of another log or contradicts this one, or a file cannot
    /// be written. The checkpoint in the folder is then the one that was there before.
    pub fn publish(
        &self,
        folder: &Path,
        already: Already,
        progress: &mut dyn FnMut(u64, u64),
    ) -> Result<Published, PublishError> {
        site::make_whole_folder(folder)?;
        self.at_one_moment(|connection| {
            let (checkpoint, tree) = last_checkpoint(connection)?;
            let mut site = Site::new(connection, tree, folder, already);
            let before = site.before(&checkpoint)?;
            let size = checkpoint.size();
            site.check(before, &mut |done| progress(done, size))?;
            site.write_growth(before, size, &mut |done| progress(done, size))?;
            site.flush()?;
            // Only now, when everything that it covers is on the disk.
            site.write_checkpoint(&checkpoint)?;
            let (files, repaired) = site.written();
            Ok(Published { checkpoint, before, files, repaired })
        })
    }
}
