//! Why a file is not opened as a log, and what to do about it.

use std::io;
use std::path::{Path, PathBuf};

use rusqlite::ErrorCode;

use super::vfs;
use crate::event::Seq;
use crate::file::side_file;
use crate::new_file::NewFileError;
use crate::storage::StorageError;

/// A file that cannot be opened as a log, and what to do about it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// There is nothing at that path.
    #[error("{}: there is no such file", path.display())]
    Missing {
        /// The path.
        path: PathBuf,
    },
    /// It is a symbolic link that leads nowhere.
    #[error("{}: is a symbolic link to {}, where there is no file; put the log back there, or remove the link", path.display(), target.display())]
    DanglingLink {
        /// The link.
        path: PathBuf,
        /// Where it leads.
        target: PathBuf,
    },
    /// It is a folder.
    #[error("{}: is a folder; name the file in it", path.display())]
    Folder {
        /// The path.
        path: PathBuf,
    },
    /// It has no bytes.
    #[error("{}: is empty, which no log ever is; delete it, or name another file", path.display())]
    Empty {
        /// The path.
        path: PathBuf,
    },
    /// It is not an SQLite database.
    #[error("{}: is not an SQLite database", path.display())]
    NotADatabase {
        /// The path.
        path: PathBuf,
    },
    /// It is an SQLite database of some other program.
    #[error("{}: is an SQLite database, but not a log of Annals (its application_id is {application_id})", path.display())]
    NotALog {
        /// The path.
        path: PathBuf,
        /// What it says it is.
        application_id: i32,
    },
    /// A newer Annals made it.
    #[error("{}: has schema version {found}, this version of Annals knows {known}; use a newer one", path.display())]
    NewerSchema {
        /// The path.
        path: PathBuf,
        /// Its version.
        found: i32,
        /// Ours.
        known: i32,
    },
    /// A table, or a value in it, is not what Annals writes.
    #[error("{}: is damaged: {what}", path.display())]
    Damaged {
        /// The path.
        path: PathBuf,
        /// What is wrong.
        what: String,
    },
    /// In the place of a table there is something that can make up its rows.
    #[error("{}: is damaged: `{table}` is no ordinary table, but a view, a virtual one, or one whose name has other letters, and nothing is read from it; go on with a copy of the log from before", path.display())]
    NoTable {
        /// The path.
        path: PathBuf,
        /// The name of the table.
        table: &'static str,
    },
    /// Its folder cannot be written, and a write-ahead log lies beside it.
    #[error("{}: has a write-ahead log beside it, which cannot be read in a folder without write permission; copy the file and its -wal to a folder of your own", path.display())]
    WalInReadOnlyFolder {
        /// The path.
        path: PathBuf,
    },
    /// The log was taken away, and its write-ahead log was not.
    #[error("{}: belongs to a log that is no longer there, and may hold its last events; move it to where that log is now, or delete it", wal.display())]
    LeftWal {
        /// The write-ahead log.
        wal: PathBuf,
    },
    /// It is not the file that was opened.
    #[error("{}: another file took its place; close the log, put the right file there, and open it again", path.display())]
    Replaced {
        /// The path.
        path: PathBuf,
    },
    /// The symbolic link by which it was named leads elsewhere.
    #[error("{}: leads to another file than `{}` by now; close the log and open it again", link.display(), path.display())]
    LinkMoved {
        /// The link.
        link: PathBuf,
        /// The file that it led to.
        path: PathBuf,
    },
    /// The write-ahead log, or the memory beside it, is not the one that is in use.
    #[error("{}: was removed or replaced while the log is open; leave the files beside a log alone, and end every program that has it open: what they recorded is then in the log's file", file.display())]
    WalReplaced {
        /// The file that was removed or replaced.
        file: PathBuf,
    },
    /// It lacks an event that was read or acknowledged before.
    #[error("{}: no longer has event {seq}, which it had before: it was cut off, or an older copy was written over it; close the log, put the right file there, and open it again", path.display())]
    CutOff {
        /// The path.
        path: PathBuf,
        /// The event.
        seq: Seq,
    },
    /// The file is open, and not under this name or not with the write-ahead log that is here.
    #[error("{}: somebody has it open without the write-ahead log that is beside it now: that was removed or replaced, or the file has another name (a link, or a mount of the file alone); end every program that has it open, or wait until it lets go, and open it by its one name", path.display())]
    OpenElsewhere {
        /// The path.
        path: PathBuf,
    },
    /// The write-ahead log that lies beside it belongs to another file.
    #[error("{}: does not belong to {} as it is now: the file was put back from a backup, or replaced, and this write-ahead log was left beside it. Do not open it with sqlite3, which would mix the two. To use the file as it is, move the write-ahead log elsewhere; to keep what that holds, put back the file that it belongs to", wal.display(), path.display())]
    ForeignWal {
        /// The file.
        path: PathBuf,
        /// The write-ahead log.
        wal: PathBuf,
    },
    /// A rollback journal lies beside it, and would be applied.
    #[error("{}: is the journal of a change to the log that another program began and did not end; Annals neither makes nor applies one. Copy both files, then have the change taken back with `sqlite3 {} 'SELECT 1'` and verify the log, or move the journal away if it was put there", journal.display(), path.display())]
    HotJournal {
        /// The file.
        path: PathBuf,
        /// The journal.
        journal: PathBuf,
    },
    /// It was read as a file that nobody changes, and somebody did.
    #[error("{}: was changed while it was read in a folder without write permission; read it again", path.display())]
    ChangedWhileRead {
        /// The path.
        path: PathBuf,
    },
    /// The file is mounted by itself.
    #[error("{}: is mounted alone, without its folder: its write-ahead log would not be where others look for it; mount the folder that it is in", path.display())]
    MountedAlone {
        /// The path.
        path: PathBuf,
    },
    /// It is on a file system that several machines share.
    #[error("{}: is on a file system that other machines can write to ({name}), where neither locks nor shared memory can be relied on; keep it on a local disk, and serve it from there", path.display())]
    SharedFileSystem {
        /// The path.
        path: PathBuf,
        /// The name of the file system.
        name: String,
    },
    /// Another machine has it open, or did not close it.
    #[error("{}: is open on another machine, or was not closed there; if nobody appends to it there any more, and this is the log and no copy of it, take it over (`--take-over`)", path.display())]
    OtherMachine {
        /// The path.
        path: PathBuf,
    },
    /// It may be read, and not written.
    #[error("{}: may only be read; append as a user who may write it, or change its permissions", path.display())]
    ReadOnly {
        /// The path.
        path: PathBuf,
    },
    /// The files beside it cannot be made or opened.
    #[error("{}: the files that appending makes beside it cannot be opened; make its folder writable ({source})", path.display())]
    ReadOnlyFolder {
        /// The path.
        path: PathBuf,
        /// What SQLite says.
        source: StorageError,
    },
    /// The file system has no memory that processes can share.
    #[error("{}: cannot have a write-ahead log (its journal mode stays `{journal_mode}`); keep it on a local file system", path.display())]
    NoWal {
        /// The path.
        path: PathBuf,
        /// What SQLite says.
        journal_mode: String,
    },
    /// It has several names.
    #[error("{}: has several names (hard links), and could be written through one without the others; leave it one", path.display())]
    SeveralNames {
        /// The path.
        path: PathBuf,
    },
    /// The origin cannot be the first line of a checkpoint.
    #[error(
        "the origin `{origin}` cannot be used: it has 1 to 255 bytes, no space, no `+`, no control characters"
    )]
    Origin {
        /// The origin.
        origin: String,
    },
    /// The SQLite library is too old.
    #[error(
        "the SQLite library is {found}; before 3.51.3 it can corrupt a log that two connections write to"
    )]
    OldSqlite {
        /// Its version.
        found: &'static str,
    },
    /// It cannot be made.
    #[error(transparent)]
    New(#[from] NewFileError),
    /// The system refused.
    #[error("{}: {doing}: {source}", path.display())]
    Io {
        /// The path.
        path: PathBuf,
        /// What was tried.
        doing: &'static str,
        /// Why not.
        source: io::Error,
    },
    /// SQLite refused.
    #[error("{}: {doing}: {source}", path.display())]
    Storage {
        /// The path.
        path: PathBuf,
        /// What was tried.
        doing: &'static str,
        /// Why not.
        source: StorageError,
    },
}

impl OpenError {
    pub(crate) fn io(path: &Path, doing: &'static str, source: io::Error) -> OpenError {
        OpenError::Io { path: path.to_owned(), doing, source }
    }

    pub(crate) fn sqlite(path: &Path, doing: &'static str, source: rusqlite::Error) -> OpenError {
        match source.sqlite_error() {
            Some(error) if error.extended_code == vfs::OPEN_ELSEWHERE => {
                OpenError::OpenElsewhere { path: path.to_owned() }
            }
            Some(error) if is_hot_journal(error.extended_code) => {
                OpenError::HotJournal { path: path.to_owned(), journal: side_file(path, "-journal") }
            }
            Some(error) if error.code == ErrorCode::NotADatabase => {
                OpenError::NotADatabase { path: path.to_owned() }
            }
            _ => OpenError::Storage { path: path.to_owned(), doing, source: source.into() },
        }
    }
}

/// Ours refuses to roll back; a connection that only reads is refused by SQLite.
fn is_hot_journal(extended_code: i32) -> bool {
    [vfs::HOT_JOURNAL, rusqlite::ffi::SQLITE_READONLY_ROLLBACK].contains(&extended_code)
}
