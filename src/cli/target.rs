//! A file that a command writes its answer to.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};

use annals::new_file::{NewFile, NewFileError};
use anyhow::{Context as _, bail};

/// Symbolic links that are followed one after the other, as the system does.
const LINKS_MAX: usize = 40;

/// Where a command writes to.
pub(crate) struct Target {
    file: File,
    kind: Kind,
}

enum Kind {
    /// A file that takes its place when it is whole.
    New(NewFile),
    /// The same, in the place of another one.
    Replacement(NewFile),
    /// A pipe or a device, which stays what it is.
    Stream,
}

/// The file that `-o` names; None stands for standard output, and so does `-`.
pub(crate) fn named(output: Option<&Path>) -> Option<&Path> {
    output.filter(|path| *path != Path::new("-"))
}

/// Refuses to put output in the place of the log itself, or of a file that belongs to it.
pub(crate) fn refuse_own_files(output: &Path, log: &Path) -> anyhow::Result<()> {
    let output = &followed(output)?;
    let same = |path: &Path| match (fs::metadata(path), fs::metadata(output)) {
        (Ok(a), Ok(b)) => (a.dev(), a.ino()) == (b.dev(), b.ino()),
        _ => path == output,
    };
    let log = fs::canonicalize(log).unwrap_or_else(|_| log.to_owned());
    for ending in ["", "-wal", "-shm", "-journal", "-turn", "-next"] {
        let mut name = log.clone().into_os_string();
        name.push(ending);
        if same(Path::new(&name)) {
            bail!("{}: is the log, or belongs to it; nothing was written", output.display());
        }
    }
    Ok(())
}

/// The path that symbolic links lead to, whether there is something or not.
fn followed(path: &Path) -> anyhow::Result<PathBuf> {
    let mut path = path.to_owned();
    for _ in 0..LINKS_MAX {
        let Ok(target) = fs::read_link(&path) else { return Ok(path) };
        path = path.parent().map_or_else(|| target.clone(), |folder| folder.join(&target));
    }
    bail!("{}: leads through too many symbolic links", path.display());
}

impl Target {
    /// A file at this path, in the place of another one only by force. What is no file, such as a pipe, is
    /// written to as it is.
    pub(crate) fn new(path: &Path, force: bool) -> anyhow::Result<Target> {
        let found = match fs::metadata(path) {
            Ok(found) => Some(found.file_type()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(error).with_context(|| path.display().to_string()),
        };
        let kind = match found {
            Some(kind) if kind.is_dir() => bail!("{}: is a folder; name a file in it", path.display()),
            // What was written to a disk's device before is lost, as that of a file is.
            Some(kind) if !kind.is_file() && (force || !kind.is_block_device()) => Kind::Stream,
            Some(_) if !force => bail!("{}: is there already; --force replaces it", path.display()),
            None if !force && path.is_symlink() => bail!(
                "{}: is a symbolic link to {}, where nothing is; --force makes a file there",
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
        let file = OpenOptions::new()
            .write(true)
            .open(written)
            .with_context(|| format!("{} cannot be written", path.display()))?;
        Ok(Target { file, kind })
    }

    /// Has `write` write all of it, and puts the file in its place.
    pub(crate) fn fill<T>(self, write: impl FnOnce(&File) -> anyhow::Result<T>) -> anyhow::Result<T> {
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
