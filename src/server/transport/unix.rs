//! A unix socket that only the server's own user can open.

use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use tokio::net::UnixListener;

/// The path of a bound socket. The file at the path is removed on drop.
pub(in crate::server) struct Name {
    path: PathBuf,
    device: u64,
    inode: u64,
}

impl Name {
    pub(in crate::server) fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Name {
    fn drop(&mut self) {
        // Another server may have put its own socket there: only the file that was made here is removed.
        if fs::symlink_metadata(&self.path)
            .is_ok_and(|found| found.dev() == self.device && found.ino() == self.inode)
        {
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// Binds a socket of mode 0600 at `path`. Replaces a socket that a dead server left there.
pub(in crate::server) fn bind(path: &Path) -> io::Result<(UnixListener, Name)> {
    match fs::symlink_metadata(path) {
        // A file is replaced only if it is a socket on which nobody answers: its server is dead.
        Ok(found) if !found.file_type().is_socket() => {
            return Err(io::Error::new(io::ErrorKind::AlreadyExists, "another file has this name"));
        }
        Ok(_) if std::os::unix::net::UnixStream::connect(path).is_ok() => {
            return Err(io::Error::new(io::ErrorKind::AddrInUse, "another server listens there"));
        }
        Ok(_) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    let folder = match path.parent() {
        Some(folder) if folder != Path::new("") => folder,
        _ => Path::new("."),
    };
    // The socket gets its mode in a folder that nobody else may enter, and only then its name. The rename
    // replaces a dead socket in one step.
    let mut builder = tempfile::Builder::new();
    builder.prefix(".a").rand_bytes(4).permissions(Permissions::from_mode(0o700));
    let hidden = builder.tempdir_in(folder)?;
    let in_the_making = hidden.path().join("s");
    let listener = UnixListener::bind(&in_the_making)?;
    fs::set_permissions(&in_the_making, Permissions::from_mode(0o600))?;
    let made = fs::symlink_metadata(&in_the_making)?;
    fs::rename(&in_the_making, path)?;
    Ok((listener, Name { path: path.to_owned(), device: made.dev(), inode: made.ino() }))
}
