//! The folder of a published log: the comparison of its files with the log, and the writing of new ones.

use std::collections::BTreeSet;
use std::fs::{self, DirBuilder, File, Metadata, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};

use rusqlite::Connection;

use super::error::{PublishError, io_error};
use super::tile_file::TileFile;
use crate::evidence::TreeReader;
use crate::limits::{LEAF_BYTES_MAX, NOTE_BYTES_MAX};
use crate::merkle::{TILE_WIDTH, Tile, root_at, tiles_between, tiles_of};
use crate::note::SignedCheckpoint;

/// The name of the file with the checkpoint.
const CHECKPOINT: &str = "checkpoint";

/// The folder of everything except the checkpoint.
const TILES: &str = "tile";

/// The ending of a file's name while the file is written.
const IN_THE_MAKING: &str = ".new";

/// Bytes of the longest file: a bundle of the longest leaves, each after its length.
const FILE_BYTES_MAX: usize = TILE_WIDTH as usize * (2 + LEAF_BYTES_MAX);

/// The treatment of files that are in the folder already.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ExistingFiles {
    /// Checks the files that the new ones continue: the last of each level, and the last entries.
    #[default]
    Continued,
    /// Checks all that the checkpoint in the folder covers.
    Checked,
    /// Checks all, and writes anew those that are missing or differ from the log.
    Repaired,
}

/// Creates the folder itself and those above it. Its path may lead through a symbolic link: the caller chose it.
pub(super) fn make_whole_folder(folder: &Path) -> Result<(), PublishError> {
    builder().recursive(true).create(folder).map_err(io_error(folder, "cannot be created"))
}

/// A builder of folders that others cannot write to, whatever the umask.
fn builder() -> DirBuilder {
    #[allow(unused_mut, reason = "without Unix modes nothing is set")]
    let mut builder = DirBuilder::new();
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o755);
    builder
}

/// A log that is being published into a folder.
pub(super) struct Site<'a> {
    connection: &'a Connection,
    tree: TreeReader<'a>,
    folder: &'a Path,
    existing: ExistingFiles,
    files: u64,
    repaired: u64,
    /// Folders that have new names in them and are not flushed yet.
    changed: BTreeSet<PathBuf>,
}

impl<'a> Site<'a> {
    pub(super) fn new(
        connection: &'a Connection,
        tree: TreeReader<'a>,
        folder: &'a Path,
        existing: ExistingFiles,
    ) -> Site<'a> {
        Site { connection, tree, folder, existing, files: 0, repaired: 0, changed: BTreeSet::new() }
    }

    /// Files that were written, and those of them that were repaired.
    pub(super) const fn written(&self) -> (u64, u64) {
        (self.files, self.repaired)
    }

    /// Returns the number of events that were published before. The folder must belong to this log, or be as good as
    /// empty.
    pub(super) fn before(&mut self, checkpoint: &SignedCheckpoint) -> Result<u64, PublishError> {
        let path = self.folder.join(CHECKPOINT);
        let Some(bytes) = self.read(CHECKPOINT, NOTE_BYTES_MAX)? else {
            return self.refuse_foreign().map(|()| 0);
        };
        let text = String::from_utf8(bytes).map_err(|error| {
            io_error(&path, "cannot be read")(io::Error::new(io::ErrorKind::InvalidData, error))
        })?;
        let old: SignedCheckpoint =
            text.parse().map_err(|source| PublishError::OldCheckpoint { path, source })?;
        let folder = || self.folder.to_owned();
        let (published, size) = (old.size(), checkpoint.size());
        if old.origin() != checkpoint.origin() {
            let (found, origin) = (old.origin().to_owned(), checkpoint.origin().to_owned());
            return Err(PublishError::OtherLog { folder: folder(), found, origin });
        }
        if published > size {
            return Err(PublishError::Behind { folder: folder(), published, size });
        }
        // Compared with the log as it was at that size: a log may grow after it was published, but not change.
        if root_at(&mut self.tree, published)? != *old.root() {
            return Err(PublishError::Contradicts { folder: folder(), size: published });
        }
        Ok(published)
    }

    /// Refuses a folder without a checkpoint if it has anything else in it than what an interrupted run leaves.
    fn refuse_foreign(&self) -> Result<(), PublishError> {
        for file in fs::read_dir(self.folder).map_err(io_error(self.folder, "cannot be read"))? {
            let file = file.map_err(io_error(self.folder, "cannot be read"))?;
            let (name, unfinished) = (file.file_name(), format!("{CHECKPOINT}{IN_THE_MAKING}"));
            if name != TILES && name != unfinished.as_str() {
                return Err(PublishError::Foreign { path: file.path() });
            }
        }
        Ok(())
    }

    /// Compares the files of the first `published` events with the log.
    pub(super) fn check(
        &mut self,
        published: u64,
        progress: &mut dyn FnMut(u64),
    ) -> Result<(), PublishError> {
        match self.existing {
            // Full files before these never change, and new files do not continue them.
            ExistingFiles::Continued => {
                last_of_each_level(published).try_for_each(|tile| self.check_tile(tile))
            }
            ExistingFiles::Checked | ExistingFiles::Repaired => tiles_of(published).try_for_each(|tile| {
                self.check_tile(tile)?;
                self.check_narrower(tile)?;
                if tile.level == 0 {
                    progress(tile.start().saturating_add(tile.width.into()));
                }
                Ok(())
            }),
        }
    }

    /// Compares a tile with the log, and for a tile of leaves also their bundle.
    fn check_tile(&mut self, tile: Tile) -> Result<(), PublishError> {
        files_of(tile).try_for_each(|file| self.check_file(file))
    }

    fn check_file(&mut self, file: TileFile) -> Result<(), PublishError> {
        let (name, bytes) = (file.path(), file.bytes(self.connection, &mut self.tree)?);
        let path = self.folder.join(&name);
        let found = match self.read(&name, FILE_BYTES_MAX)? {
            Some(found) => found,
            // A full file may replace a partial one: it begins with the same bytes.
            None => match self.full_instead(&name)? {
                Some(full) if full.starts_with(&bytes) => return Ok(()),
                // No file of a log is empty, so this one differs below and is written.
                _ if self.existing == ExistingFiles::Repaired => Vec::new(),
                _ => return Err(PublishError::Missing { path }),
            },
        };
        if found == bytes {
            return Ok(());
        }
        if self.existing != ExistingFiles::Repaired {
            return Err(PublishError::Differs { path });
        }
        self.repaired += 1;
        self.put(&name, &bytes)
    }

    /// Reads the full file that may be there in place of a partial one.
    fn full_instead(&self, name: &str) -> Result<Option<Vec<u8>>, PublishError> {
        name.split_once(".p/").map_or(Ok(None), |(full, _)| self.read(full, FILE_BYTES_MAX))
    }

    /// Checks the partial files that an earlier, smaller tree left beside a tile.
    fn check_narrower(&mut self, tile: Tile) -> Result<(), PublishError> {
        for file in files_of(tile) {
            let name = file.path();
            let full = name.split_once(".p/").map_or(name.as_str(), |(full, _)| full);
            let folder = format!("{full}.p");
            match self.look(&folder)? {
                Some(found) if found.is_dir() => {}
                _ => continue,
            }
            let path = self.folder.join(&folder);
            let names = fs::read_dir(&path).map_err(io_error(&path, "cannot be read"))?;
            for name in names {
                let name = name.map_err(io_error(&path, "cannot be read"))?.file_name();
                // Only widths below that of the tile itself: the tile was checked, and other names are not the log's.
                let width = name.to_str().and_then(|name| name.parse::<u16>().ok());
                if let Some(width) = width.filter(|width| (1..tile.width).contains(width)) {
                    self.check_file(match file {
                        TileFile::Hashes(tile) => TileFile::Hashes(Tile { width, ..tile }),
                        TileFile::Entries(index, _) => TileFile::Entries(index, width),
                    })?;
                }
            }
        }
        Ok(())
    }

    /// Writes the tiles and bundles that a tree of `new` leaves has and a tree of `old` leaves lacks.
    pub(super) fn write_growth(
        &mut self,
        old: u64,
        new: u64,
        progress: &mut dyn FnMut(u64),
    ) -> Result<(), PublishError> {
        // The order is level by level from the leaves up, so everything below a tile is written before it.
        for tile in tiles_between(old, new) {
            files_of(tile).try_for_each(|file| {
                let bytes = file.bytes(self.connection, &mut self.tree)?;
                self.keep(&file.path(), &bytes)
            })?;
            if tile.level == 0 {
                progress(tile.start().saturating_add(tile.width.into()));
            }
        }
        Ok(())
    }

    /// Makes sure that a file holds these bytes. A file that is there must hold them already, or is repaired.
    fn keep(&mut self, name: &str, bytes: &[u8]) -> Result<(), PublishError> {
        match self.read(name, FILE_BYTES_MAX)? {
            // An interrupted run may have left the file.
            Some(found) if found == bytes => return Ok(()),
            Some(_) if self.existing == ExistingFiles::Repaired => self.repaired += 1,
            Some(_) => return Err(PublishError::Differs { path: self.folder.join(name) }),
            None => {}
        }
        self.put(name, bytes)
    }

    /// Writes the checkpoint to its path, durably.
    pub(super) fn write_checkpoint(&mut self, checkpoint: &SignedCheckpoint) -> Result<(), PublishError> {
        let text = checkpoint.to_string();
        if self.read(CHECKPOINT, NOTE_BYTES_MAX)?.as_deref() == Some(text.as_bytes()) {
            return Ok(());
        }
        self.put(CHECKPOINT, text.as_bytes())?;
        self.flush()
    }

    /// Returns the metadata of a path below the folder, without following any link.
    fn look(&self, name: &str) -> Result<Option<Metadata>, PublishError> {
        let mut path = self.folder.to_owned();
        let mut parts = name.split('/').peekable();
        // One part after the other: for the whole path the system would follow links in the folders on the way.
        while let Some(part) = parts.next() {
            path.push(part);
            let found = match fs::symlink_metadata(&path) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
                found => found.map_err(io_error(&path, "cannot be examined"))?,
            };
            if found.is_symlink() {
                return Err(PublishError::Link { path });
            }
            if parts.peek().is_none() {
                return Ok(Some(found));
            }
            if !found.is_dir() {
                return Err(PublishError::Type { path, wanted: "folder" });
            }
        }
        Ok(None)
    }

    /// Reads a file below the folder. Of a file that is too long it reads one byte more than the bound, which is enough
    /// for the comparison to find a difference.
    fn read(&self, name: &str, bytes_max: usize) -> Result<Option<Vec<u8>>, PublishError> {
        let Some(found) = self.look(name)? else { return Ok(None) };
        let path = self.folder.join(name);
        if !found.is_file() {
            return Err(PublishError::Type { path, wanted: "file" });
        }
        let mut bytes = Vec::new();
        File::open(&path)
            .and_then(|file| file.take(bytes_max as u64 + 1).read_to_end(&mut bytes))
            .map_err(io_error(&path, "cannot be read"))?;
        Ok(Some(bytes))
    }

    /// Creates the folders above a file, and notes the folders that have new names in them.
    fn make_folders(&mut self, name: &str) -> Result<(), PublishError> {
        let mut path = self.folder.to_owned();
        let Some((folders, _)) = name.rsplit_once('/') else { return Ok(()) };
        for part in folders.split('/') {
            let above = path.clone();
            path.push(part);
            if !path.is_dir() {
                builder().create(&path).map_err(io_error(&path, "cannot be created"))?;
                // The new name is in the folder above, so that is the one to flush.
                self.changed.insert(above);
            }
        }
        Ok(())
    }

    /// Writes a file that appears only when it is whole and on the disk. Others may read it but not write to it,
    /// whatever the umask.
    fn put(&mut self, name: &str, bytes: &[u8]) -> Result<(), PublishError> {
        // A link at the name, or on the way to it, is refused.
        self.look(name)?;
        self.make_folders(name)?;
        let path = self.folder.join(name);
        let mut new = path.as_os_str().to_owned();
        new.push(IN_THE_MAKING);
        let new = PathBuf::from(new);
        let write = || {
            // An interrupted run may have left this file. `create_new` below then follows no link that somebody puts
            // in its place.
            match fs::remove_file(&new) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
            let mut options = OpenOptions::new();
            options.write(true).create_new(true);
            #[cfg(unix)]
            std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o644);
            let mut file = options.open(&new)?;
            file.write_all(bytes)?;
            // Before the rename, so that no crash leaves the name with a part of the bytes. `flush` makes the name
            // itself durable.
            file.sync_all()?;
            fs::rename(&new, &path)
        };
        write().map_err(io_error(&path, "cannot be written"))?;
        self.files += 1;
        if let Some(folder) = path.parent() {
            self.changed.insert(folder.to_owned());
        }
        Ok(())
    }

    /// Makes the new names durable.
    pub(super) fn flush(&mut self) -> Result<(), PublishError> {
        for folder in std::mem::take(&mut self.changed) {
            let flush = || File::open(&folder)?.sync_all();
            flush().map_err(io_error(&folder, "cannot be flushed"))?;
        }
        Ok(())
    }
}

/// The files of a tile: its hashes, and for a tile of leaves also their bundle.
fn files_of(tile: Tile) -> impl Iterator<Item = TileFile> {
    let bundle = (tile.level == 0).then_some(TileFile::Entries(tile.index, tile.width));
    bundle.into_iter().chain([TileFile::Hashes(tile)])
}

/// The last tile of each level of a tree: its right border, which larger trees continue.
fn last_of_each_level(size: u64) -> impl Iterator<Item = Tile> {
    let width = u64::from(TILE_WIDTH);
    (0..).map_while(move |level: u8| {
        // Level n has a hash for each 256^n leaves. The first level without a hash ends the iteration.
        let last = size.checked_shr(8 * u32::from(level)).unwrap_or(0).checked_sub(1)?;
        let hashes = u16::try_from(last % width + 1).ok()?;
        Some(Tile { level, index: last / width, width: hashes })
    })
}
