//! A file that a command writes its answer to.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};

use crate::new_file::{NewFile, NewFileError};
use anyhow::{Context as _, bail};

/// Symbolic links that are followed in a row, as many as the system follows.
const LINKS_MAX: usize = 40;

/// The destination of a command's output.
pub(crate) struct Target {
    file: File,
    kind: Kind,
}

enum Kind {
    /// A file that takes its place when it is whole.
    New(NewFile),
    /// The same, in the place of another file.
    Replacement(NewFile),
    /// A pipe or a device, which stays what it is.
    Stream,
}

/// The file that `-o` names; None is standard output, which `-` names as well.
pub(crate) fn named(output: Option<&Path>) -> Option<&Path> {
    output.filter(|path| *path != Path::new("-"))
}

/// Refuses to put output in the place of the log itself, or of a file that belongs to it.
pub(crate) fn refuse_own_files(output: &Path, log: &Path) -> anyhow::Result<()> {
    let output = &followed(output)?;
    // Compared as files and not as names: a log may have other paths.
    let same = |path: &Path| match (fs::metadata(path), fs::metadata(output)) {
        (Ok(a), Ok(b)) => (a.dev(), a.ino()) == (b.dev(), b.ino()),
        _ => path == output,
    };
    // The files beside a log are named after the path that links lead to.
    let log = fs::canonicalize(log).unwrap_or_else(|_| log.to_owned());
    for ending in ["", "-wal", "-shm", "-journal", "-turn", "-next"] {
        let mut name = log.clone().into_os_string();
        name.push(ending);
        if same(Path::new(&name)) {
            bail!(
                "{}: is the log's file or belongs to it; name another file. Nothing was written",
                output.display()
            );
        }
    }
    Ok(())
}

/// The path that symbolic links lead to, whether or not anything is there.
fn followed(path: &Path) -> anyhow::Result<PathBuf> {
    let mut path = path.to_owned();
    // Links may lead in a circle.
    for _ in 0..LINKS_MAX {
        let Ok(target) = fs::read_link(&path) else { return Ok(path) };
        path = path.parent().map_or_else(|| target.clone(), |folder| folder.join(&target));
    }
    bail!("{}: leads through too many symbolic links", path.display());
}

impl Target {
    /// A file at this path, which replaces another one only by force. Anything that is not a file, such as a pipe, is
    /// written to directly.
    pub(crate) fn new(path: &Path, force: bool) -> anyhow::Result<Target> {
        let found = match fs::metadata(path) {
            Ok(found) => Some(found.file_type()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(error).with_context(|| path.display().to_string()),
        };
        let kind = match found {
            Some(kind) if kind.is_dir() => bail!("{}: is a folder; name a file in it", path.display()),
            // The old content of a disk's device would be lost like that of a file, so it takes force, too.
            Some(kind) if !kind.is_file() && (force || !kind.is_block_device()) => Kind::Stream,
            Some(_) if !force => bail!("{}: already exists; --force replaces it", path.display()),
            // Without force, nothing is made at the far end of a link.
            None if !force && path.is_symlink() => bail!(
                "{}: is a symbolic link to {}, which does not exist; --force creates that file",
                path.display(),
                followed(path)?.display()
            ),
            Some(_) => Kind::Replacement(NewFile::begin(&followed(path)?)?),
            None => Kind::New(NewFile::begin(&followed(path)?)?),
        };
        let written = match &kind {
            Kind::New(file) | Kind::Replacement(file) => file.path(),
            Kind::Stream => path.to_owned(),
        };
        // Opened and not created: `NewFile` has made the file, and a stream exists.
        let file = OpenOptions::new()
            .write(true)
            .open(written)
            .with_context(|| format!("{} cannot be written", path.display()))?;
        Ok(Target { file, kind })
    }

    /// Calls `write` with the file, and puts the file in its place.
    pub(crate) fn fill<T>(self, write: impl FnOnce(&File) -> anyhow::Result<T>) -> anyhow::Result<T> {
        // An error drops the unfinished file, and the path stays as it was.
        let filled = write(&self.file)?;
        match self.kind {
            Kind::Stream => Ok(filled),
            Kind::Replacement(file) => file.replace().map(|()| filled).map_err(Into::into),
            Kind::New(file) => match file.place() {
                Ok(()) => Ok(filled),
                Err(error @ NewFileError::Exists { .. }) => bail!("{error}; --force replaces it"),
                Err(error) => Err(error.into()),
            },
        }
    }
}
