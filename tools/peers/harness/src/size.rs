//! What a closed store takes up on the disk.

use std::fs::{self, File};
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use anyhow::Context as _;

/// The unit of `st_blocks`, whatever the file system's own block size is (stat(3type)).
const BLOCK_BYTES: u64 = 512;

/// Bytes of all files in a folder, as allocated: a file that was made longer than what is in it counts for what it
/// occupies. Each file is flushed first, because blocks may not be allocated before that.
pub(crate) fn disk_bytes(folder: &Path) -> anyhow::Result<u64> {
    let mut bytes = 0;
    for entry in fs::read_dir(folder).with_context(|| format!("{}", folder.display()))? {
        let path = entry?.path();
        if path.is_dir() {
            bytes += disk_bytes(&path)?;
        } else {
            let file = File::open(&path).with_context(|| format!("{}", path.display()))?;
            file.sync_all()?;
            bytes += file.metadata()?.blocks() * BLOCK_BYTES;
        }
    }
    Ok(bytes)
}
