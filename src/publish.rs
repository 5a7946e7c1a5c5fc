//! A log as the static files of C2SP tlog-tiles, for anybody to fetch and check.
//!
//! ```text
//! checkpoint                     the last one that was signed: written last, so that all it covers is there
//! tile/<L>/<N>[.p/<W>]           hashes of the tree
//! tile/entries/<N>[.p/<W>]       the leaves: links and entries, no payloads
//! ```
//!
//! Files other than the checkpoint never change. What is in a folder already is held against the log,
//! as far as this run writes it again: a run that was interrupted is taken up, and another log's folder is
//! left alone.

use std::collections::BTreeSet;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use rusqlite::Connection;

use crate::event::{Digest, Seq};
use crate::evidence::{TreeError, TreeReader};
use crate::log::rows;
use crate::merkle::{
    BuildError, HashReader as _, NodeHash, TILE_WIDTH, Tile, bundle_path, hashes_to_bytes, leaf_hash,
    root_at, root_of, tiles_between,
};
use crate::note::{CheckpointError, SignedCheckpoint};
use crate::prove::{ProveError, is_damage, last_checkpoint};
use crate::reader::Reader;

/// The name of the file with the checkpoint.
const CHECKPOINT: &str = "checkpoint";

/// The folder of everything else.
const TILES: &str = "tile";

/// What is appended to the name of a file while it is written.
const IN_THE_MAKING: &str = ".new";

/// A log that was not published.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PublishError {
    /// There is no checkpoint to publish, or it does not fit the log.
    #[error(transparent)]
    Checkpoint(#[from] ProveError),
    /// The log's tree cannot be made.
    #[error("the log's tree cannot be made: {0}")]
    Tree(#[from] BuildError<TreeError>),
    /// The log cannot be read.
    #[error("the log cannot be read: {0}")]
    Sqlite(#[from] rusqlite::Error),
    /// A file cannot be read or written.
    #[error("{}: {what}: {source}", path.display())]
    Io {
        /// Which.
        path: PathBuf,
        /// What cannot be done.
        what: &'static str,
        /// Why.
        source: io::Error,
    },
    /// The folder has other things in it.
    #[error("{}: is not of a published log; name an empty folder, or one that is not there yet", path.display())]
    Foreign {
        /// What is in the way.
        path: PathBuf,
    },
    /// The checkpoint in the folder cannot be read.
    #[error("{}: is no checkpoint: {source}", path.display())]
    OldCheckpoint {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        source: CheckpointError,
    },
    /// The folder is of another log.
    #[error("{} holds the log `{found}`, and this is `{origin}`", folder.display())]
    OtherLog {
        /// The folder.
        folder: PathBuf,
        /// The log in it.
        found: String,
        /// This log.
        origin: String,
    },
    /// More was published than the last checkpoint covers.
    #[error(
        "{} holds a checkpoint of {published} events, and the last one of the log covers {size}: the log was set back to an older copy",
        folder.display()
    )]
    Behind {
        /// The folder.
        folder: PathBuf,
        /// Events that were published.
        published: u64,
        /// Events that the log's checkpoint covers.
        size: u64,
    },
    /// What was published is not what the log has now.
    #[error(
        "the checkpoint of {size} events in {} is not of this log: the log was rewritten, or the folder was changed",
        folder.display()
    )]
    Contradicts {
        /// The folder.
        folder: PathBuf,
        /// Events of the checkpoint.
        size: u64,
    },
    /// A file holds something else than the log has.
    #[error("{}: holds something else than the log has there; it was changed, or the log was", path.display())]
    Differs {
        /// The file.
        path: PathBuf,
    },
    /// The stored tiles do not follow from the events.
    #[error("the tree of the log is damaged at {tile}; `annals verify` says more")]
    Damaged {
        /// Where.
        tile: Tile,
    },
}

impl PublishError {
    /// Whether the log or the folder is not what it should be, and it is not only that something could
    /// not be done.
    pub fn is_contradiction(&self) -> bool {
        match self {
            PublishError::Behind { .. }
            | PublishError::Contradicts { .. }
            | PublishError::Differs { .. }
            | PublishError::Damaged { .. } => true,
            PublishError::Checkpoint(error) => error.is_damage(),
            PublishError::Tree(error) => is_damage(error),
            _ => false,
        }
    }
}

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
}

impl Reader {
    /// Writes the log, as far as the last checkpoint covers it, into a folder as static files: those
    /// that are not there yet, the checkpoint last. The folder is made where there is none.
    ///
    /// `progress` is told how many of how many events are there.
    ///
    /// # Errors
    /// If there is no checkpoint, the folder is of another log or contradicts this one, or a file cannot
    /// be written. The checkpoint in the folder is then the one that was there before.
    pub fn publish(
        &self,
        folder: &Path,
        progress: &mut dyn FnMut(u64, u64),
    ) -> Result<Published, PublishError> {
        fs::create_dir_all(folder).map_err(io_error(folder, "cannot be made"))?;
        self.at_one_moment(|connection| {
            let (checkpoint, tree) = last_checkpoint(connection)?;
            let mut site = Site::new(connection, tree, folder);
            let before = site.before(&checkpoint)?;
            site.write_growth(before, checkpoint.size(), progress)?;
            site.flush()?;
            // Only now, when everything that it covers is on the disk.
            let text = checkpoint.to_string();
            let path = folder.join(CHECKPOINT);
            if fs::read(&path).ok().as_deref() != Some(text.as_bytes()) {
                site.put(&path, text.as_bytes())?;
                site.flush()?;
            }
            Ok(Published { checkpoint, before, files: site.files })
        })
    }
}

/// A log on its way into a folder.
struct Site<'a> {
    connection: &'a Connection,
    tree: TreeReader<'a>,
    folder: &'a Path,
    files: u64,
    /// Folders with new names in them that are not flushed yet.
    changed: BTreeSet<PathBuf>,
}

impl<'a> Site<'a> {
    fn new(connection: &'a Connection, tree: TreeReader<'a>, folder: &'a Path) -> Site<'a> {
        Site { connection, tree, folder, files: 0, changed: BTreeSet::new() }
    }

    /// Events that were published before. The folder must be of this log, or as good as empty.
    fn before(&mut self, checkpoint: &SignedCheckpoint) -> Result<u64, PublishError> {
        let path = self.folder.join(CHECKPOINT);
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return self.refuse_foreign().map(|()| 0);
            }
            Err(error) => return Err(io_error(&path, "cannot be read")(error)),
        };
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
        if root_at(&mut self.tree, published)? != *old.root() {
            return Err(PublishError::Contradicts { folder: folder(), size: published });
        }
        Ok(published)
    }

    /// A folder without a checkpoint has nothing in it, or what an interrupted run left.
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

    /// Writes the tiles and bundles that a tree of `new` leaves has and one of `old` had not.
    fn write_growth(
        &mut self,
        old: u64,
        new: u64,
        progress: &mut dyn FnMut(u64, u64),
    ) -> Result<(), PublishError> {
        for tile in tiles_between(old, new) {
            let hashes = self.tree.read(tile.level, tile.start(), tile.width).map_err(BuildError::Read)?;
            if hashes != self.hash_below(tile)? {
                return Err(PublishError::Damaged { tile });
            }
            self.keep(&tile.to_string(), &hashes_to_bytes(&hashes))?;
            if tile.level == 0 {
                progress(tile.start().saturating_add(tile.width.into()), new);
            }
        }
        Ok(())
    }

    /// The hashes of a tile, made from what stands below it: stored tiles are not evidence. For a tile of
    /// leaves that is their bundle, which is written on the way.
    fn hash_below(&mut self, tile: Tile) -> Result<Vec<NodeHash>, PublishError> {
        let width = u64::from(TILE_WIDTH);
        if let Some(below) = tile.level.checked_sub(1) {
            let hash = |number| {
                let tile = self.tree.read(below, number * width, TILE_WIDTH).map_err(BuildError::Read)?;
                Ok(root_of(tile))
            };
            return (tile.start()..tile.start() + u64::from(tile.width)).map(hash).collect();
        }
        let leaves = leaves(self.connection, tile.start(), tile.width)?;
        let bundle = bundle(&leaves).ok_or(PublishError::Damaged { tile })?;
        self.keep(&bundle_path(tile.index, tile.width), &bundle)?;
        Ok(leaves.iter().map(|leaf| leaf_hash(leaf)).collect())
    }

    /// Sees to it that a file holds these bytes. One that is there holds them already.
    fn keep(&mut self, name: &str, bytes: &[u8]) -> Result<(), PublishError> {
        let path = self.folder.join(name);
        match fs::read(&path) {
            Ok(found) if found == bytes => Ok(()),
            Ok(_) => Err(PublishError::Differs { path }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                if let Some(folder) = path.parent() {
                    self.make_folder(folder)?;
                }
                self.put(&path, bytes)
            }
            Err(error) => Err(io_error(&path, "cannot be read")(error)),
        }
    }

    /// Makes a folder, and notes those that have got new names in them.
    fn make_folder(&mut self, folder: &Path) -> Result<(), PublishError> {
        if folder.is_dir() {
            return Ok(());
        }
        if let Some(above) = folder.parent() {
            self.make_folder(above)?;
            self.changed.insert(above.to_owned());
        }
        fs::create_dir(folder).map_err(io_error(folder, "cannot be made"))
    }

    /// Writes a file that appears when it is whole and on the disk.
    fn put(&mut self, path: &Path, bytes: &[u8]) -> Result<(), PublishError> {
        let mut new = path.as_os_str().to_owned();
        new.push(IN_THE_MAKING);
        let new = PathBuf::from(new);
        let write = || {
            let mut file = OpenOptions::new().write(true).create(true).truncate(true).open(&new)?;
            file.write_all(bytes)?;
            file.sync_all()?;
            fs::rename(&new, path)
        };
        write().map_err(io_error(path, "cannot be written"))?;
        self.files += 1;
        if let Some(folder) = path.parent() {
            self.changed.insert(folder.to_owned());
        }
        Ok(())
    }

    /// Makes the new names durable.
    fn flush(&mut self) -> Result<(), PublishError> {
        for folder in std::mem::take(&mut self.changed) {
            let flush = || File::open(&folder)?.sync_all();
            flush().map_err(io_error(&folder, "cannot be flushed"))?;
        }
        Ok(())
    }
}

/// A file of a published log, by its path behind `tile/`.
#[cfg(feature = "server")]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TileFile {
    /// Hashes.
    Hashes(Tile),
    /// Entries, by the place and width of the tile that has their hashes.
    Entries(u64, u16),
}

#[cfg(feature = "server")]
impl TileFile {
    /// The file of a path, which is written in no other way than [`Tile`] writes it.
    pub(crate) fn of_path(path: &str) -> Option<TileFile> {
        let (level, place) = path.split_once('/')?;
        let (number, width) = match place.split_once(".p/") {
            Some((number, width)) => (number, width.parse().ok().filter(|width| *width > 0)?),
            None => (place, TILE_WIDTH),
        };
        let mut index = 0_u64;
        for group in number.split('/') {
            let digits = group.strip_prefix('x').unwrap_or(group);
            index = index.checked_mul(1_000)?.checked_add(digits.parse().ok()?)?;
        }
        let (file, written) = if level == "entries" {
            (TileFile::Entries(index, width), bundle_path(index, width))
        } else {
            let tile = Tile { level: level.parse().ok()?, index, width };
            (TileFile::Hashes(tile), tile.to_string())
        };
        (written.strip_prefix("tile/") == Some(path)).then_some(file)
    }

    /// Whether it will not change any more.
    pub(crate) fn is_full(self) -> bool {
        let (TileFile::Hashes(Tile { width, .. }) | TileFile::Entries(_, width)) = self;
        width == TILE_WIDTH
    }
}

#[cfg(feature = "server")]
impl Reader {
    /// A file as [`Reader::publish`] writes it; none where the last checkpoint does not cover it.
    pub(crate) fn tile(&self, file: TileFile) -> Result<Option<Vec<u8>>, PublishError> {
        self.at_one_moment(|connection| {
            let (checkpoint, mut tree) = last_checkpoint(connection)?;
            let tile = match file {
                TileFile::Hashes(tile) => tile,
                TileFile::Entries(index, width) => Tile { level: 0, index, width },
            };
            let hashes = checkpoint.size().checked_shr(8 * u32::from(tile.level)).unwrap_or(0);
            let end = tile
                .index
                .checked_mul(TILE_WIDTH.into())
                .and_then(|start| start.checked_add(tile.width.into()));
            if end.is_none_or(|end| end > hashes) {
                return Ok(None);
            }
            Ok(Some(match file {
                TileFile::Hashes(_) => {
                    let hashes = tree.read(tile.level, tile.start(), tile.width).map_err(BuildError::Read)?;
                    hashes_to_bytes(&hashes)
                }
                TileFile::Entries(..) => bundle(&leaves(connection, tile.start(), tile.width)?)
                    .ok_or(PublishError::Damaged { tile })?,
            }))
        })
    }
}

/// The bytes of a bundle of leaves.
fn bundle(leaves: &[Vec<u8>]) -> Option<Vec<u8>> {
    let mut bundle = Vec::new();
    for leaf in leaves {
        // Writers keep to this length; a longer one has no place in a bundle.
        bundle.extend_from_slice(&u16::try_from(leaf.len()).ok()?.to_be_bytes());
        bundle.extend_from_slice(leaf);
    }
    Some(bundle)
}

/// Leaves of the log: the link before each event, then its entry.
fn leaves(connection: &Connection, start: u64, count: u16) -> Result<Vec<Vec<u8>>, PublishError> {
    let missing = |number: u64| {
        let seq = Seq::new(number).next();
        PublishError::Tree(BuildError::Read(TreeError::Missing { seq }))
    };
    let mut link = match start {
        0 => Digest::ZERO,
        before => rows::link_at(connection, Seq::new(before))?.ok_or_else(|| missing(before))?,
    };
    let end = start.saturating_add(count.into());
    let mut statement = connection.prepare_cached(
        "SELECT seq, entry, hash FROM log NOT INDEXED WHERE seq > ?1 AND seq <= ?2 ORDER BY seq",
    )?;
    let mut rows = statement.query([Seq::new(start).to_sql(), Seq::new(end).to_sql()])?;
    let mut leaves = Vec::with_capacity(count.into());
    for number in start..end {
        let row = rows.next()?.ok_or_else(|| missing(number))?;
        if Seq::from_sql(row.get(0)?) != Seq::new(number).next() {
            return Err(missing(number));
        }
        let entry = row.get_ref(1)?.as_blob().map_err(rusqlite::Error::from)?;
        leaves.push([link.bytes().as_slice(), entry].concat());
        link = Digest::from_bytes(row.get(2)?);
    }
    Ok(leaves)
}

fn io_error(path: &Path, what: &'static str) -> impl FnOnce(io::Error) -> PublishError {
    let path = path.to_owned();
    move |source| PublishError::Io { path, what, source }
}
