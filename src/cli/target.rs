//! A file that a command writes its answer to.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use annals::EventId;
use anyhow::{Context as _, bail};

/// A file that appears when it is whole.
pub(crate) struct Target {
    path: PathBuf,
    temporary: PathBuf,
    file: File,
    force: bool,
}

/// Refuses to put output in the place of the log itself, or of a file that belongs to it.
pub(crate) fn refuse_own_files(output: &Path, log: &Path) -> anyhow::Result<()> {
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

impl Target {
    /// A file at this path, in the place of another one only by force.
    pub(crate) fn new(path: &Path, force: bool) -> anyhow::Result<Target> {
        if !force && path.symlink_metadata().is_ok() {
            bail!("{}: is there already; --force replaces it", path.display());
        }
        let mut name = path.as_os_str().to_owned();
        name.push(format!(".{}.new", EventId::generate()));
        let temporary = PathBuf::from(name);
        let file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&temporary)
            .with_context(|| format!("{} cannot be made", path.display()))?;
        Ok(Target { path: path.to_owned(), temporary, file, force })
    }

    /// What is written to.
    pub(crate) fn file(&self) -> &File {
        &self.file
    }

    /// Puts the file in its place.
    pub(crate) fn finish(&mut self) -> anyhow::Result<()> {
        let context = || format!("{} cannot be made", self.path.display());
        self.file.flush().and_then(|()| self.file.sync_all()).with_context(context)?;
        if self.force {
            return fs::rename(&self.temporary, &self.path).with_context(context);
        }
        match fs::hard_link(&self.temporary, &self.path) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                bail!("{}: is there already; --force replaces it", self.path.display())
            }
            linked => linked.with_context(context),
        }
    }
}

impl Drop for Target {
    fn drop(&mut self) {
        // Where it was renamed there is nothing left to remove.
        let _ = fs::remove_file(&self.temporary);
    }
}
