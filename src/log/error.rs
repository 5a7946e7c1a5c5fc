//! The reasons why a file is not opened as a log, and the remedy for each.

use std::io;
use std::path::{Path, PathBuf};

use rusqlite::ErrorCode;

use super::vfs;
use crate::event::Seq;
use crate::file::side_file;
use crate::new_file::NewFileError;
use crate::storage::StorageError;

/// A file that cannot be opened as a log; the message has the remedy.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// No file at the path.
    #[error("{}: there is no such file", path.display())]
    Missing {
        /// The path that leads to nothing.
        path: PathBuf,
    },
    /// A symbolic link that leads nowhere.
    #[error("{}: is a symbolic link to {}, which does not exist; put the log back there, or remove the link", path.display(), target.display())]
    DanglingLink {
        /// The symbolic link.
        path: PathBuf,
        /// The path that it leads to.
        target: PathBuf,
    },
    /// A folder instead of a file.
    #[error("{}: is a folder; name the file in it", path.display())]
    Folder {
        /// The folder.
        path: PathBuf,
    },
    /// A file without bytes.
    #[error("{}: is an empty file, which is never a log; delete it, or name another file", path.display())]
    Empty {
        /// The empty file.
        path: PathBuf,
    },
    /// A file that is not an SQLite database.
    #[error("{}: is not an SQLite database; name the file of a log", path.display())]
    NotADatabase {
        /// The file.
        path: PathBuf,
    },
    /// An SQLite database of another program.
    #[error("{}: is an SQLite database, but not a log of Annals (its application_id is {application_id})", path.display())]
    NotALog {
        /// The database.
        path: PathBuf,
        /// The `application_id` that it has.
        application_id: i32,
    },
    /// A log of a newer Annals.
    #[error("{}: has schema version {found}, but this version of Annals knows only versions up to {known}; use a newer version", path.display())]
    NewerSchema {
        /// The log's file.
        path: PathBuf,
        /// The schema version of the file.
        found: i32,
        /// The newest schema version that this Annals knows.
        known: i32,
    },
    /// A table, or a value in one, that no Annals writes.
    #[error("{}: is damaged: {what}", path.display())]
    Damaged {
        /// The log's file.
        path: PathBuf,
        /// The damage, for the message.
        what: String,
    },
    /// An object in the place of a table that can make up its rows.
    #[error("{}: is damaged: `{table}` is not an ordinary table, but a view, a virtual table, or a table whose name differs in upper and lower case; Annals does not read from it, so continue with an earlier copy of the log", path.display())]
    NoTable {
        /// The log's file.
        path: PathBuf,
        /// The name of the table.
        table: &'static str,
    },
    /// A write-ahead log beside a file whose folder cannot be written.
    #[error("{}: has a write-ahead log beside it, which cannot be read in a folder without write permission; copy the file and its -wal file to a folder that you can write", path.display())]
    WalInReadOnlyFolder {
        /// The log's file.
        path: PathBuf,
    },
    /// A write-ahead log whose log was removed.
    #[error("{}: is the write-ahead log of a log that is no longer there, and may hold the last events of that log; move it to where that log is now, or delete it", wal.display())]
    LeftWal {
        /// The write-ahead log.
        wal: PathBuf,
    },
    /// Another file in the place of the one that was opened.
    #[error("{}: another file took its place; close the log, put the right file there, and open it again", path.display())]
    Replaced {
        /// The path of the log.
        path: PathBuf,
    },
    /// A symbolic link that no longer leads to the log that was opened by it.
    #[error("{}: now leads to another file than `{}`; close the log and open it again", link.display(), path.display())]
    LinkMoved {
        /// The symbolic link.
        link: PathBuf,
        /// The file that it led to.
        path: PathBuf,
    },
    /// A write-ahead log, or the shared memory beside it, that is not the one in use.
    #[error("{}: was removed or replaced while the log is open; end every program that has the log open, and the log's file will have everything that they recorded. Never change the files beside a log", file.display())]
    WalReplaced {
        /// The file that was removed or replaced.
        file: PathBuf,
    },
    /// A log without an event that was read or acknowledged before.
    #[error("{}: no longer has event {seq}, which it had before: it was cut off, or an older copy was written over it; close the log, put the right file there, and open it again", path.display())]
    CutOff {
        /// The log's file.
        path: PathBuf,
        /// The missing event.
        seq: Seq,
    },
    /// A file that is open under another name, or without the write-ahead log that lies beside it now.
    #[error("{}: a program has it open with another write-ahead log than the one that is beside it now: that one was removed or replaced, or the file has a second name (a link, or a mount of the file alone); end every program that has the file open, or wait until they close it, and always open it by the same name", path.display())]
    OpenElsewhere {
        /// The log's file.
        path: PathBuf,
    },
    /// A write-ahead log that belongs to another file than the one beside it.
    #[error("{}: does not belong to {} as it is now: the file was restored from a backup, or replaced, and this older write-ahead log stayed beside it. Do not open the file with sqlite3, which would mix the two. To use the file as it is, move the write-ahead log elsewhere; to keep what the write-ahead log holds, put back the file that it belongs to", wal.display(), path.display())]
    ForeignWal {
        /// The log's file.
        path: PathBuf,
        /// The write-ahead log.
        wal: PathBuf,
    },
    /// A rollback journal beside the file that would be applied.
    #[error("{}: is the journal of a change to the log that another program began and did not finish; Annals neither writes nor applies such journals. Copy both files, then roll the change back with `sqlite3 {} 'SELECT 1'` and verify the log; or move the journal away, if somebody put it there", journal.display(), path.display())]
    HotJournal {
        /// The log's file.
        path: PathBuf,
        /// The journal.
        journal: PathBuf,
    },
    /// A change to a file that was read as one that nobody changes.
    #[error("{}: was changed while it was read in a folder without write permission; read it again", path.display())]
    ChangedWhileRead {
        /// The log's file.
        path: PathBuf,
    },
    /// A file that is mounted alone, without its folder.
    #[error("{}: is mounted alone, without its folder, so other programs would not find its write-ahead log; mount the folder that contains it", path.display())]
    MountedAlone {
        /// The log's file.
        path: PathBuf,
    },
    /// A file system that several machines share.
    #[error("{}: is on a file system that other machines can write to ({name}), where locks and shared memory are not reliable; keep the log on a local disk, and serve it from there", path.display())]
    SharedFileSystem {
        /// The log's file.
        path: PathBuf,
        /// The name of the file system.
        name: String,
    },
    /// A log that another machine has open, or did not close.
    #[error("{}: is open on another machine, or was not closed there; if no program there appends to it any more, and this is the log and not a copy of it, take it over (`--take-over`)", path.display())]
    OtherMachine {
        /// The log's file.
        path: PathBuf,
    },
    /// A file that may be read, but not written.
    #[error("{}: this user may read it, but not write it; append as a user who may write it, or change its permissions", path.display())]
    ReadOnly {
        /// The log's file.
        path: PathBuf,
    },
    /// Files beside the log that cannot be made or opened.
    #[error("{}: the files beside it, which are needed to append, cannot be opened; make its folder writable ({source})", path.display())]
    ReadOnlyFolder {
        /// The log's file.
        path: PathBuf,
        /// SQLite's own error.
        source: StorageError,
    },
    /// A file system without memory that processes can share.
    #[error("{}: cannot have a write-ahead log (its journal mode stays `{journal_mode}`); keep it on a local file system", path.display())]
    NoWal {
        /// The log's file.
        path: PathBuf,
        /// The journal mode that SQLite keeps instead of `wal`.
        journal_mode: String,
    },
    /// A file with several hard links.
    #[error("{}: has several names (hard links), and could be written through one without the others; remove all names except one", path.display())]
    SeveralNames {
        /// The log's file.
        path: PathBuf,
    },
    /// An origin that cannot be the first line of a checkpoint.
    #[error(
        "the origin `{origin}` cannot be used: an origin has 1 to 255 bytes, no space, no `+`, no control characters"
    )]
    Origin {
        /// The origin.
        origin: String,
    },
    /// An SQLite library that is too old.
    #[error(
        "the SQLite library has version {found}, and versions before 3.51.3 can corrupt a log that two connections write to; use a newer library"
    )]
    OldSqlite {
        /// The version of the library.
        found: &'static str,
    },
    /// A log that cannot be made.
    #[error(transparent)]
    New(#[from] NewFileError),
    /// A system call that failed.
    #[error("{}: {doing}: {source}", path.display())]
    Io {
        /// The file that the call was about.
        path: PathBuf,
        /// The part of the message that names the failed action.
        doing: &'static str,
        /// The system's own error.
        source: io::Error,
    },
    /// An operation that SQLite refused.
    #[error("{}: {doing}: {source}", path.display())]
    Storage {
        /// The log's file.
        path: PathBuf,
        /// The part of the message that names the failed action.
        doing: &'static str,
        /// SQLite's own error.
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

/// Returns whether a code means a hot journal: our own file system refuses to roll one back, and SQLite refuses it to
/// a connection that only reads.
fn is_hot_journal(extended_code: i32) -> bool {
    [vfs::HOT_JOURNAL, rusqlite::ffi::SQLITE_READONLY_ROLLBACK].contains(&extended_code)
}
