//! Administration of the projections of an open log.

use crate::entry::Entry;
use crate::event::{Event, Kind, ProjectionSkipped, Seq};
use crate::evidence;
use crate::log::write_lock::begin;
use crate::log::{Durability, Effect, OpenError, OpenLog, rows};
use crate::projection::tables;
use crate::receipt::{AppendError, Appended};
use crate::storage::{StorageError, from_sqlite};

use super::handle::AuditLog;
use super::requests::SkipRequest;

/// A projection that cannot be administered as asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ProjectionError {
    /// A name that no projection has.
    #[error("there is no projection `{name}`; there are {}", projection_names().join(", "))]
    Unknown {
        /// The name that was given.
        name: String,
    },
    /// A projection that has not stopped, so there is nothing to retry or skip.
    #[error("the projection `{name}` has not stopped")]
    NotStopped {
        /// The name of the projection.
        name: &'static str,
    },
    /// An event without which the projection cannot go on.
    #[error("event {seq} cannot be skipped: {reason}; rebuild the projection")]
    NotSkippable {
        /// The failing event.
        seq: Seq,
        /// The reason, for the message.
        reason: &'static str,
    },
    /// A file that cannot be opened for writing.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// A skip that could not be recorded.
    #[error(transparent)]
    Append(#[from] AppendError),
    /// A change that SQLite refused.
    #[error("the projection cannot be changed: {0}")]
    Storage(#[from] StorageError),
    /// A lock file that cannot be locked.
    #[error("the lock file cannot be locked: {0}")]
    Lock(#[from] std::io::Error),
}

from_sqlite!(ProjectionError);

/// The name under which the stored tiles are made anew.
const TREE: &str = "tree";

fn projection_names() -> Vec<&'static str> {
    tables::PROJECTIONS.iter().map(|projection| projection.name).collect()
}

impl AuditLog {
    /// Fills a projection's tables anew, beside the live ones. The new tables take over when they have caught up, so
    /// readers never see half of a table. Returns when the rebuild has begun. `tree` forgets the stored tiles of the
    /// Merkle tree, which are then made anew.
    ///
    /// # Errors
    /// If there is no such projection, or the file cannot be written.
    pub fn rebuild(&self, projection: &str) -> Result<(), ProjectionError> {
        if projection == TREE {
            return self.administer(evidence::forget);
        }
        let projection = find_projection(projection)?;
        self.administer(|connection| projection.start_rebuild(connection))
    }

    /// Lets a stopped projection try again: after an upgrade, or when the obstacle is gone.
    ///
    /// # Errors
    /// If there is no such projection, it has not stopped, or the file cannot be written.
    pub fn retry(&self, projection: &str) -> Result<(), ProjectionError> {
        let projection = find_projection(projection)?;
        let mut changed = 0;
        self.administer(|connection| {
            changed = connection.execute(
                "UPDATE projections SET stopped_at = NULL, error = NULL WHERE name = ?1 AND stopped_at IS NOT NULL",
                [projection.name],
            )?;
            Ok(())
        })?;
        match changed {
            0 => Err(ProjectionError::NotStopped { name: projection.name }),
            _ => Ok(()),
        }
    }

    /// Lets a stopped projection go on without its failing event. The log records who decided so, and why. The read
    /// tables lack the content of that event.
    ///
    /// # Errors
    /// If there is no such projection, it has not stopped, or the log cannot be written.
    pub fn skip(&self, request: SkipRequest) -> Result<Appended, ProjectionError> {
        let projection = find_projection(&request.projection)?;
        let (mut stopped, mut entry) = (None, None);
        // Another process may change the projection before the event below is appended. `Effect::Skip` ends the stop
        // only if it is still at this event.
        self.administer(|connection| {
            for stage in [tables::Stage::Live, tables::Stage::Building] {
                let cursor = tables::cursor(connection, projection.name, stage)?;
                stopped = stopped.or(cursor.and_then(|cursor| cursor.stopped).map(|stopped| stopped.seq));
            }
            if let Some(seq) = stopped {
                entry = rows::entry_at(connection, seq)?;
            }
            Ok(())
        })?;
        let seq = stopped.ok_or(ProjectionError::NotStopped { name: projection.name })?;
        let entry = entry.ok_or(ProjectionError::NotSkippable { seq, reason: "the log does not have it" })?;
        if Entry::decode(&entry).is_ok_and(|entry| entry.kind == Kind::PayloadRedacted.code()) {
            let reason = "the read tables would still show what it redacts";
            return Err(ProjectionError::NotSkippable { seq, reason });
        }
        let event = ProjectionSkipped {
            projection: projection.name.to_owned(),
            version: projection.version,
            seq: seq.get(),
            actor: request.actor,
            reason: request.reason,
        };
        let effect = Effect::Skip { projection: projection.name, version: projection.version, seq };
        Ok(self.append_own(Event::ProjectionSkipped(event), effect)?)
    }

    /// Deletes what the file records about an anchor that is no longer used. Returns whether there was anything.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub fn forget_anchor(&self, name: &str) -> Result<bool, ProjectionError> {
        let mut forgotten = 0;
        self.administer(|connection| {
            forgotten = connection.execute("DELETE FROM anchors WHERE name = ?1", [name])?;
            Ok(())
        })?;
        Ok(forgotten > 0)
    }

    /// Changes what is kept about projections, in a transaction of its own.
    fn administer(
        &self,
        change: impl FnOnce(&rusqlite::Connection) -> rusqlite::Result<()>,
    ) -> Result<(), ProjectionError> {
        self.change_beside(change)
    }

    /// Changes what is kept beside the log, in a transaction of its own.
    pub(super) fn change_beside<E>(
        &self,
        change: impl FnOnce(&rusqlite::Connection) -> rusqlite::Result<()>,
    ) -> Result<(), E>
    where
        E: From<OpenError> + From<rusqlite::Error> + From<std::io::Error>,
    {
        // A connection of its own, because the writer's belongs to its thread. It is opened before the write lock is
        // taken, so that nobody waits for the opening.
        let log = OpenLog::open_again(&self.inner.path, Durability::Normal, self.inner.database)?;
        let _guard = self.inner.write_lock.take(crate::log::write_lock::Who::Projection)?;
        let tx = begin(&log.connection)?;
        change(&tx)?;
        Ok(tx.commit()?)
    }
}

fn find_projection(name: &str) -> Result<&'static tables::Projection, ProjectionError> {
    tables::find(name).ok_or_else(|| ProjectionError::Unknown { name: name.to_owned() })
}
