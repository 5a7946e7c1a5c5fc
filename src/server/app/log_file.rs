//! The log's file while a server runs: other programs may replace it, cut it or take it away.
//!
//! Every connection of the server keeps the file that it opened. Without a look at the path, the server would
//! go on answering from a log that nobody else can see. One task looks regularly, for all requests. Requests
//! that need the log also compare the file's identity, so that all of them are answered from one file.

use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use tokio::sync::watch;

use crate::audit::AuditLog;
use crate::log::{Head, LogFiles, OpenError};
use crate::server::problem::{Kind, Problem};
use crate::watch::Watch;

/// The log's file, and the result of the last look at it.
pub(crate) struct LogFile {
    path: PathBuf,
    /// The identities of the files. They change when a writer makes the write-ahead log anew.
    files: RwLock<LogFiles>,
    /// None once the server is about to end.
    watch: Mutex<Option<Watch>>,
    last_error: watch::Sender<Option<Arc<str>>>,
}

impl LogFile {
    /// Begins to watch the file of an open log.
    ///
    /// # Errors
    /// If the file is no longer at its path, or cannot be read.
    pub(in crate::server) fn open(log: &AuditLog) -> Result<LogFile, OpenError> {
        let watch = Watch::open(log.path())?;
        let (path, files) = watch.files();
        // The path may have got another file since the log was opened. The log and its watch must have the
        // same.
        log.database().require_at(&path)?;
        Ok(LogFile {
            path,
            files: RwLock::new(files),
            watch: Mutex::new(Some(watch)),
            last_error: watch::Sender::new(None),
        })
    }

    /// Checks that the file at the path is the one that the server opened, and that it was whole at the last
    /// look.
    ///
    /// # Errors
    /// If one of these does not hold. Nothing of the request is committed then, and the client may send it
    /// again.
    pub(crate) fn require(&self) -> Result<(), Problem> {
        let unavailable = |reason: String| Problem::new(Kind::Unavailable, reason);
        let files = self.files.read().unwrap_or_else(PoisonError::into_inner).clone();
        // The identities are compared for every request. The last look may be a quarter of a second old.
        files.require_at(&self.path).map_err(|error| unavailable(told(&error)))?;
        let last_error = self.last_error.borrow().clone();
        last_error.map_or(Ok(()), |reason| Err(unavailable(reason.to_string())))
    }

    /// Closes the connection of the watch. Later looks return None.
    pub(in crate::server) fn close(&self) {
        self.watch().take();
    }

    fn watch(&self) -> MutexGuard<'_, Option<Watch>> {
        // A look that panics leaves the result of the look before it.
        self.watch.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Looks at the file and keeps the result for [`LogFile::require`]; None once the server is about to end.
    pub(in crate::server) fn look(&self) -> Option<Result<Head, OpenError>> {
        // The lock is held for the whole look. Requests do not wait for it: they read only `files` and
        // `last_error`.
        let mut watch = self.watch();
        let watch = watch.as_mut()?;
        let looked = watch.look();
        // A look that succeeds may have opened the files again: a new write-ahead log has another identity.
        if looked.is_ok() {
            *self.files.write().unwrap_or_else(PoisonError::into_inner) = watch.files().1;
        }
        self.tell(looked.as_ref().err());
        Some(looked)
    }

    fn tell(&self, found: Option<&OpenError>) {
        let reason: Option<Arc<str>> = found.map(|error| told(error).into());
        // A reason that lasts is logged once, not at every look.
        self.last_error.send_if_modified(|known| {
            if *known == reason {
                return false;
            }
            match found {
                Some(error) => tracing::error!(%error, "the log cannot be read at its path"),
                None => tracing::info!("the log can be read at its path again"),
            }
            *known = reason;
            true
        });
    }
}

/// The reason that any client may see, with a key or without one: it names no path of this machine.
fn told(error: &OpenError) -> String {
    match error {
        OpenError::Replaced { .. } | OpenError::LinkMoved { .. } => {
            "the log's file was replaced: another file took its place".to_owned()
        }
        OpenError::Io { source, .. } if source.kind() == io::ErrorKind::NotFound => {
            "the log's file is no longer where it was".to_owned()
        }
        OpenError::Empty { .. } => "the log's file is empty".to_owned(),
        OpenError::CutOff { seq, .. } => {
            format!("the log no longer has event {seq}: its file was cut off or written over")
        }
        OpenError::WalReplaced { .. } => {
            "the log's write-ahead log was removed or replaced; the log can be used again once every program has closed it"
                .to_owned()
        }
        _ => "the log's file cannot be read now; the server's own log has the reason".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_that_leads_elsewhere_is_told_as_another_file() {
        let path = PathBuf::from("/srv/audit.db");
        let moved = OpenError::LinkMoved { link: PathBuf::from("/srv/link.db"), path: path.clone() };
        assert_eq!(told(&moved), told(&OpenError::Replaced { path }));
    }
}
