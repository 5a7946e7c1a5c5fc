//! Publishing of a log as the static files of C2SP tlog-tiles, for anybody to fetch and check.
//!
//! ```text
//! checkpoint                     the last signed one: written last, when everything that it covers is there
//! tile/<L>/<N>[.p/<W>]           hashes of the tree
//! tile/entries/<N>[.p/<W>]       the leaves: links and entries, no payloads
//! ```
//!
//! Files other than the checkpoint never change. Files that are already in the folder are compared with the log: those
//! that new ones continue, or all of them ([`ExistingFiles`]). The next run continues one that was interrupted. The folder
//! of another log is left alone.

mod error;
mod tile_file;
mod site;

use std::path::Path;

use crate::note::SignedCheckpoint;
use crate::prove::last_checkpoint;
use crate::reader::Reader;
pub use error::PublishError;
pub use site::ExistingFiles;
use site::Site;
#[cfg(feature = "server")]
pub(crate) use tile_file::TileFile;

/// The result of publishing a log.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Published {
    /// The checkpoint that is in the folder now.
    pub checkpoint: SignedCheckpoint,
    /// Events that were in the folder before.
    pub before: u64,
    /// Files that were written.
    pub files: u64,
    /// The number of these files that were missing or different before, and are repaired.
    pub repaired: u64,
}

impl Reader {
    /// Writes the log, as far as the last checkpoint covers it, into a folder as static files. Writes only files
    /// that are not there yet, and the checkpoint last. Creates the folder if it is missing.
    ///
    /// Below the folder no symbolic link is followed: nothing is read or written through one.
    ///
    /// `progress` is called with the number of events that are there and the number of all events to publish.
    ///
    /// # Errors
    /// If there is no checkpoint, the folder is of another log or contradicts this one, or a file cannot
    /// be written. The checkpoint in the folder is then the one that was there before.
    pub fn publish(
        &self,
        folder: &Path,
        existing: ExistingFiles,
        progress: &mut dyn FnMut(u64, u64),
    ) -> Result<Published, PublishError> {
        site::make_whole_folder(folder)?;
        self.at_one_moment(|connection| {
            let (checkpoint, tree) = last_checkpoint(connection)?;
            let mut site = Site::new(connection, tree, folder, existing);
            let before = site.before(&checkpoint)?;
            let size = checkpoint.size();
            site.check(before, &mut |done| progress(done, size))?;
            site.write_growth(before, size, &mut |done| progress(done, size))?;
            site.flush()?;
            // Last, when everything that it covers is on the disk: at any crash before, the old checkpoint stands, and
            // everything that it covers.
            site.write_checkpoint(&checkpoint)?;
            let (files, repaired) = site.written();
            Ok(Published { checkpoint, before, files, repaired })
        })
    }
}
