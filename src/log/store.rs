//! The store of events: the interface for the writer and the readers, and the batch by which the writer appends.
//!
//! SQLite provides it, in one file. This page is the contract that everything above `log` relies on, and that another
//! engine would have to keep. The names in parentheses after a paragraph are tests that show it.
//!
//! # Appending
//!
//! The writer calls [`OpenLog::begin`], then for each event [`Appending::insert`] and [`Appending::apply`], then
//! [`Appending::commit`].
//!
//! **One at a time.** Between `begin` and the end of the batch nobody else writes to the log, in this process or in
//! another. `begin` waits for as long as others write; that is never an error. Several machines must not append to
//! one file. Annals refuses this on shared file systems that it knows, and for a log that another machine did not
//! close.
//! (`four_processes_append_to_one_chain`, `a_log_that_another_machine_has_open_is_taken_over_only_on_demand`)
//!
//! **Order.** `begin` reads the head after it has the write lock. An inserted event gets the position after the head,
//! and becomes the head. Positions are 1, 2, 3 … without gaps, across batches and processes. A position that was
//! refused or rolled back goes to the next event. A link is computed from the link before it, so the caller seals
//! each event within its batch; `insert` does not check the link. The events of a batch stand in the order in which
//! they were inserted.
//! (`four_processes_append_to_one_chain`, `events_sent_together_stand_together_and_a_bad_one_keeps_no_other_out`)
//!
//! **All or nothing.** A batch takes effect as a whole, with the effects of its events on other tables ([`Effect`]),
//! or not at all. If it is dropped without a commit, it leaves nothing. An event can be refused for a reason of its
//! own: its id belongs to another event, it cannot be sealed, or it may not be redacted. Then it is not in the batch,
//! and the other events are.
//! (`a_batch_is_seen_as_a_whole_once_it_is_committed_and_never_if_it_is_dropped`,
//! `events_sent_together_stand_together_and_a_bad_one_keeps_no_other_out`)
//!
//! **Ids.** The log has one event for each id. Inserting an id that the log has, or that this batch inserted before,
//! changes nothing and returns the row. The writer decides whether that is the same event. If kind, version, session,
//! time, payload without its salt, and sender are equal, the event is acknowledged with its first position and link;
//! otherwise it is a conflict. Of an erased event the sender alone is compared. The sender is not compared if the id
//! is made from the subject of the event. An event that was there already has no effect on other tables again.
//! (`an_id_that_is_there_leaves_the_batch_as_it_is`, `the_same_event_sent_again_is_already_recorded`,
//! `another_event_with_a_used_id_is_a_conflict_that_names_the_first`,
//! `a_redacted_event_sent_again_is_already_recorded`)
//!
//! **Durability.** When `commit` has returned `Ok`, the batch is in the file at the path and survives the end of the
//! process. With [`Durability::Full`] it also survives a loss of power. With [`Durability::Normal`] a loss of power
//! may take the last batches, but leaves those before them. A batch that inserted nothing flushes nothing: an event
//! that was there already is as durable as the commit that put it there.
//! (`what_was_acknowledged_survives_a_kill_at_any_moment`,
//! `what_was_acknowledged_survives_a_loss_of_power_after_any_change`)
//!
//! **The same log.** `begin` and `commit` fail if the open files are not those at the path. `begin` also fails if the
//! log lacks the event that the writer acknowledged last. Nothing is acknowledged to a file that others would not
//! find.
//! (`another_log_in_the_place_of_the_file_is_left_alone`, `a_file_that_was_deleted_is_not_made_anew`,
//! `nothing_is_acknowledged_without_the_write_ahead_log`, `no_batch_is_begun_where_what_was_acknowledged_is_gone`,
//! `older_bytes_written_over_the_file_are_noticed`)
//!
//! # What a failure means
//!
//! | what failed | what it means | what senders are answered |
//! | --- | --- | --- |
//! | opening, `begin`, `insert`, `apply` | nothing of the batch was written | `NotWritten` |
//! | `commit` | all of it took effect, or nothing, and nobody knows which: SQLite may have written everything and failed to flush it, or the files may have been removed meanwhile | `Ambiguous` |
//! | the writer's thread panicked | the same for the current batch; queued events were not written | `Ambiguous`; `NotWritten` |
//!
//! A panic ends the handle. After the other failures nothing more is appended through the same connection. The writer
//! opens the log again, finds the event that it acknowledged last, and only then appends.
//!
//! The writer does not hold answers back until it knows more. It answers at once that the result is unknown, and
//! never claims without knowledge that an event was written or was not. The events of such a batch are looked up by
//! their ids later, in the transaction that acts on the result: when a sender sends the event again; when the writer
//! records lost events, before it counts one whose fate is unknown; and, if the commit of such a record failed in the
//! same way, before another record is made. The writer remembers `LOST_IDS_MAX` ids. Beyond that it counts such an
//! event as lost, and the record states that it may have been written.
//! (`a_write_that_was_done_and_reported_as_failed`, `a_sync_that_was_done_and_reported_as_failed`,
//! `events_of_a_commit_that_took_effect_are_not_counted_as_lost`,
//! `an_event_of_a_commit_that_took_effect_before_the_process_died_is_already_recorded`,
//! `a_panic_in_the_writer_ends_the_log_for_everybody`, `a_disk_that_fails_for_hours_fills_no_memory`)
//!
//! # Reading
//!
//! **One moment.** Everything that is read in one transaction is of one moment, between two batches: nobody sees part
//! of a batch, or an event without its effects. A reader waits for no batch, and a batch for no reader, with one
//! exception: when readers have kept the write-ahead log growing to `WAL_BYTES_RESTART`, the writer waits for them,
//! for at most a second.
//! (`a_batch_is_seen_as_a_whole_once_it_is_committed_and_never_if_it_is_dropped`,
//! `the_write_ahead_log_stays_bounded_while_readers_overlap`)
//!
//! **What was seen stays.** The head of a later moment is not before the head of an earlier one. An event that was
//! seen at a position keeps its id, entry and link there. Its payload may become NULL; then the batch that erased it
//! also has the event that licenses the erasure. So a reader that stopped at a position can go on from there, in
//! another transaction or process. No batch breaks this promise. It is broken if the file is cut off or set back to
//! an older copy, or if a loss of power takes unflushed batches.
//! (`the_log_refuses_every_other_change`, `a_log_that_grows_is_still_the_same`,
//! `an_older_copy_that_is_written_over_it_in_place_is_noticed`)
//!
//! **Seen is not acknowledged.** A reader may see a batch before its senders are answered, and also a batch whose
//! senders get no answer except `Ambiguous`. With `Durability::Normal` it may see a batch that a loss of power takes
//! away. So code that vouches for events flushes the log first. (`what_could_not_be_flushed_is_not_signed_for`)
//!
//! **Another file.** A connection goes on reading the file that it opened, and does not notice that another one, or
//! none, is at the path. A program that reads for long looks at the path: [`Watch`](crate::Watch) distinguishes
//! another file, an older copy that was written over this one, and a write-ahead log that was removed. In the last
//! case the reader closes its connection. The writer moves into the log what only the removed file holds, and opens
//! the log again when nobody else has it open. (`another_file_in_its_place_is_noticed`,
//! `an_older_copy_that_is_written_over_it_in_place_is_noticed`, `a_reader_of_the_same_program_is_waited_for`,
//! `a_write_ahead_log_removed_under_a_writer_costs_nothing`)
//!
//! **No lock.** In a folder without write permission the files beside the log cannot be made. The log is then read as
//! a file that nobody changes. After each answer the reader checks whether anybody did, and fails if so.
//! (`what_a_writer_does_while_the_file_is_read_is_noticed`)
//!
//! # The promises in SQLite, and in an engine with a server
//!
//! | promise | SQLite | an engine with a server |
//! | --- | --- | --- |
//! | one at a time | `BEGIN IMMEDIATE`, repeated while the file is busy; the write lock (`write_lock`), so that nobody polls or starves | a lock on the row that holds the log's head, until the transaction ends |
//! | order | head and rows in one transaction; `seq INTEGER PRIMARY KEY` refuses a position that is taken | the same; a sequence of the engine would leave gaps where a transaction is rolled back |
//! | all or nothing | the transaction | the transaction |
//! | ids | `event_id BLOB NOT NULL UNIQUE`; an insert that violates it is taken back alone | a unique index, and inserts that pass over a conflict: an error would end the transaction |
//! | durability | `journal_mode = WAL`, `synchronous = FULL` or `NORMAL`; `wal_autocheckpoint = 0`: no commit depends on a checkpoint | a commit that is answered when it is flushed, also where a standby may take over |
//! | the same log | identities of database, write-ahead log and shared memory (`identity`), the run that they belong to (`generation`), the event that was acknowledged last | the log's id and the event that was acknowledged last, after each reconnection: a standby that took over may lack it |
//! | unknown commit | an error of `COMMIT`, or of the look at the files after it | the same, and a connection that was lost before the answer |
//! | one moment | a read transaction on the write-ahead log | a transaction with repeatable reads |
//! | what was seen stays | triggers as guard rails, the chain as evidence | the same; a reader that changes to a replica first waits until the replica has what the reader saw |
//! | erased is erased | `secure_delete = ON` on every connection that `open_writer` makes | the engine's own logs and backups too, or its documentation states that they keep it |

use std::path::{Path, PathBuf};

use rusqlite::{Connection, ErrorCode, Transaction};

use super::checkpoint::Checkpoints;
use super::connect::keep_pages;
use super::effect::Effect;
use super::error::OpenError;
use super::generation::{InFile, RunId};
use super::identity::LogFiles;
use super::open::{Claim, Durability, Writing, open_writer};
use super::rows::{self, Head, Insert, StoredRow};
use super::write_lock::begin;
use crate::event::{Digest, EventId, Seq};
use crate::file::FileIdentity;
use crate::limits::WRITER_CACHE_KIBIBYTES;
use crate::prepare::Prepared;

/// A batch that could not be begun, or whose commit failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StoreError {
    /// An operation that SQLite refused.
    #[error(transparent)]
    Sqlite(#[from] rusqlite::Error),
    /// Open files that are not those at the path.
    #[error(transparent)]
    Files(#[from] OpenError),
    /// A log without the event that the writer acknowledged last.
    #[error("{}: no longer has event {seq}, which was acknowledged: it was cut off or replaced by an older copy", path.display())]
    CutOff {
        /// The log's file.
        path: PathBuf,
        /// The missing event.
        seq: Seq,
    },
}

/// A log's file that is open for writing, as the writer holds it.
pub(crate) struct OpenLog {
    pub(crate) connection: Connection,
    pub(crate) files: LogFiles,
    pub(crate) checkpoints: Checkpoints,
    /// The run of the write-ahead log whose row the file itself was known to have when it was opened.
    pub(crate) in_file: Option<RunId>,
    /// The path, without a symbolic link at its end.
    path: PathBuf,
}

impl OpenLog {
    /// Opens the log at a path that has no symbolic link at its end.
    pub(crate) fn open(path: &Path, durability: Durability, claim: Claim) -> Result<OpenLog, OpenError> {
        let Writing { mut connection, files, in_file } = open_writer(path, durability, claim)?;
        let checkpoints = keep_pages(&connection, WRITER_CACHE_KIBIBYTES)
            .and_then(|()| Checkpoints::watch(&mut connection))
            .map_err(|source| OpenError::sqlite(path, "its write-ahead log cannot be watched", source))?;
        Ok(OpenLog { connection, files, checkpoints, in_file, path: path.to_owned() })
    }

    /// Adds the name by which the caller opened the log to what is watched.
    pub(crate) fn named(mut self, name: &Path) -> OpenLog {
        self.files = self.files.named(name, &self.path);
        self
    }

    /// Opens the file once more. It must still be the same file. Another one in its place is not even looked at:
    /// SQLite would read it together with the write-ahead log of this one.
    pub(crate) fn open_again(
        path: &Path,
        durability: Durability,
        database: FileIdentity,
    ) -> Result<OpenLog, OpenError> {
        database.require_at(path)?;
        OpenLog::open(path, durability, Claim::Settled)
    }

    pub(crate) fn database(&self) -> FileIdentity {
        self.files.database
    }

    /// Makes sure that the log still has the event `seen`.
    pub(crate) fn require(&self, seen: Head) -> Result<(), StoreError> {
        if rows::has(&self.connection, seen)? { Ok(()) } else { Err(self.cut_off(seen)) }
    }

    pub(crate) fn cut_off(&self, seen: Head) -> StoreError {
        StoreError::CutOff { path: self.path.clone(), seq: seen.seq }
    }

    /// Begins a batch: waits until nobody else writes, reads the head, and makes sure that the files are those at the
    /// path and still have the event `seen`.
    pub(crate) fn begin(&self, seen: Head, in_file: &InFile) -> Result<Appending<'_>, StoreError> {
        let tx = begin(&self.connection)?;
        // The transaction is `IMMEDIATE`: from here to its end no other process can move the head.
        let head = rows::head(&tx)?;
        let insert = Insert::new(&self.connection)?;
        // Within the transaction: what is written to files that were replaced would be found by nobody.
        self.files.require_at(&self.path)?;
        if !head.still_has(seen, &tx)? {
            return Err(self.cut_off(seen));
        }
        // Last, because it changes the file: a batch that is refused above begins no run.
        in_file.renew(&tx)?;
        Ok(Appending { log: self, tx, insert, head })
    }
}

/// The result of inserting an event.
pub(crate) enum Inserted {
    /// The event is new, and is the head now.
    New,
    /// Another row has its id, and nothing was changed.
    Known(StoredRow),
}

/// A batch in its transaction. If it is dropped without a commit, it leaves nothing.
pub(crate) struct Appending<'c> {
    log: &'c OpenLog,
    tx: Transaction<'c>,
    insert: Insert<'c>,
    head: Head,
}

impl Appending<'_> {
    /// The end of the log, including the events of this batch.
    pub(crate) fn head(&self) -> Head {
        self.head
    }

    /// The log as this batch sees and leaves it, for others to read in its transaction.
    pub(crate) fn connection(&self) -> &Connection {
        &self.tx
    }

    /// Inserts an event that was sealed for the position after the head, unless the log has its id.
    pub(crate) fn insert(
        &mut self,
        prepared: &Prepared,
        entry: &[u8],
        link: &Digest,
    ) -> rusqlite::Result<Inserted> {
        let seq = self.head.seq.next();
        match self.insert.row(seq, prepared, entry, link) {
            Ok(()) => {
                self.head = Head { seq, hash: *link };
                Ok(Inserted::New)
            }
            Err(error) if error.sqlite_error_code() == Some(ErrorCode::ConstraintViolation) => {
                // SQLite takes back the failed statement alone, and the batch goes on. If no row has the id, another
                // constraint failed.
                match self.find(prepared.event_id)? {
                    Some(row) => Ok(Inserted::Known(row)),
                    None => Err(error),
                }
            }
            Err(error) => Err(error),
        }
    }

    /// Finds the event with this id, in the log or in this batch.
    pub(crate) fn find(&self, event_id: EventId) -> rusqlite::Result<Option<StoredRow>> {
        StoredRow::find(&self.tx, event_id)
    }

    /// The entry at a position.
    pub(crate) fn entry_at(&self, seq: Seq) -> rusqlite::Result<Option<Vec<u8>>> {
        rows::entry_at(&self.tx, seq)
    }

    /// Writes the changes beside the log of the event at the head, which was just inserted.
    pub(crate) fn apply(&self, effect: &Effect) -> rusqlite::Result<()> {
        effect.apply(&self.tx, self.head.seq)
    }

    /// Commits, and makes sure that the files are still those at the path. After an error it is unknown whether the
    /// batch took effect.
    pub(crate) fn commit(self) -> Result<(), StoreError> {
        self.tx.commit()?;
        // The commit went to the open files. Files that took their place by now do not have it.
        Ok(self.log.files.require_at(&self.log.path)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::AuditLog;
    use crate::event::{Event, NoteLogged, Timestamp};
    use crate::log::{open_reader, write_lock::WriteLock};
    use crate::prepare::{Parts, salt};

    struct Scene {
        _folder: tempfile::TempDir,
        log: OpenLog,
        write_lock: WriteLock,
        reader: Connection,
    }

    fn scene() -> Scene {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().canonicalize().unwrap().join("audit.db");
        AuditLog::open(&path).unwrap().close().unwrap();
        let log = OpenLog::open(&path, Durability::Full, Claim::Settled).unwrap();
        let (write_lock, reader) = (WriteLock::open(&path).unwrap(), open_reader(&path).unwrap());
        Scene { _folder: folder, log, write_lock, reader }
    }

    impl Scene {
        fn begin(&self, seen: Head) -> Result<Appending<'_>, StoreError> {
            self.log.begin(seen, self.write_lock.in_file())
        }

        /// The positions of the last event and of the last one about API keys, as a reader sees them.
        fn seen(&self) -> (Head, Option<i64>) {
            let about_keys = "SELECT max(seq) FROM api_key_events";
            let about_keys = self.reader.query_row(about_keys, [], |row| row.get(0)).unwrap();
            (rows::head(&self.reader).unwrap(), about_keys)
        }
    }

    fn insert(batch: &mut Appending<'_>, name: &str) -> Inserted {
        let note = Event::NoteLogged(NoteLogged { message: name.into(), ..Default::default() });
        let event_id = EventId::from_name(name);
        let parts = Parts { event_id, session: None, occurred_at: None, principal: None };
        let (prepared, head) = (parts.with_payload(&note, salt()).unwrap(), batch.head());
        let mut entry = Vec::new();
        let now = Timestamp::from_micros(1);
        let link = prepared.seal(&head.hash, head.seq.next(), now, &mut entry).unwrap();
        batch.insert(&prepared, &entry, &link).unwrap()
    }

    #[test]
    fn a_batch_is_seen_as_a_whole_once_it_is_committed_and_never_if_it_is_dropped() {
        let scene = scene();
        let (first, _) = scene.seen();
        for commits in [false, true] {
            let mut batch = scene.begin(first).unwrap();
            assert_eq!(batch.head(), first);
            for (name, place) in [("one", 2), ("two", 3)] {
                assert!(matches!(insert(&mut batch, name), Inserted::New));
                assert_eq!(batch.head().seq, Seq::new(place));
                batch.apply(&Effect::ApiKeyRevoked).unwrap();
            }
            assert_eq!(scene.seen(), (first, None));
            let head = batch.head();
            if commits {
                batch.commit().unwrap();
                assert_eq!(scene.seen(), (head, Some(3)));
            } else {
                drop(batch);
                assert_eq!(scene.seen(), (first, None));
            }
        }
    }

    #[test]
    fn an_id_that_is_there_leaves_the_batch_as_it_is() {
        let scene = scene();
        let mut batch = scene.begin(scene.seen().0).unwrap();
        assert!(matches!(insert(&mut batch, "one"), Inserted::New));
        let head = batch.head();
        assert!(matches!(insert(&mut batch, "one"), Inserted::Known(row) if row.seq == head.seq.to_sql()));
        assert_eq!(batch.head(), head);
        batch.commit().unwrap();
        assert_eq!(scene.seen().0, head);
    }

    #[test]
    fn no_batch_is_begun_where_what_was_acknowledged_is_gone() {
        let scene = scene();
        let (head, _) = scene.seen();
        for gone in [Head { hash: Digest::ZERO, ..head }, Head { seq: head.seq.next(), ..head }] {
            assert!(matches!(scene.begin(gone), Err(StoreError::CutOff { .. })));
        }
        scene.begin(head).unwrap();
    }
}
