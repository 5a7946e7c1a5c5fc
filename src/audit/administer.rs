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
    #[error("there is no projection `{name}`; the projections are {}", projection_names().join(", "))]
    Unknown {
        /// The name that was given.
        name: String,
    },
    /// A projection that has not stopped, so there is nothing to retry or skip.
    #[error("the projection `{name}` has not stopped; only a stopped projection can be retried or skipped")]
    NotStopped {
        /// The name of the projection.
        name: &'static str,
    },
    /// An event that a projection must not skip.
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

/// The name that [`AuditLog::rebuild`] takes for the stored tiles of the Merkle tree.
const TREE: &str = "tree";

fn projection_names() -> Vec<&'static str> {
    tables::PROJECTIONS.iter().map(|projection| projection.name).collect()
}

impl AuditLog {
    /// Begins a rebuild of a projection, and returns. New tables are filled beside the live ones, and replace them when
    /// they have caught up. So readers never see half of a table. With the name `tree`, deletes the stored tiles of the
    /// Merkle tree; they are then computed again.
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

    /// Lets a stopped projection retry its failing event: after an upgrade, or when the cause is gone.
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

    /// Lets a stopped projection go on without its failing event. The log records the decision, its author and the
    /// reason. The read tables lack the content of that event.
    ///
    /// # Errors
    /// If there is no such projection, it has not stopped, or the log cannot be written.
    pub fn skip(&self, request: SkipRequest) -> Result<Appended, ProjectionError> {
        let projection = find_projection(&request.projection)?;
        let (mut stopped, mut entry) = (None, None);
        // Another process may change the projection before the event below is appended. `Effect::Skip` lets the
        // projection go on only if it is still stopped at this event.
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

    /// Deletes the stored state of an anchor that is no longer used. Returns false if there was none.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub fn forget_anchor(&self, name: &str) -> Result<bool, ProjectionError> {
        let mut deleted = 0;
        self.administer(|connection| {
            deleted = connection.execute("DELETE FROM anchors WHERE name = ?1", [name])?;
            Ok(())
        })?;
        Ok(deleted > 0)
    }

    /// Changes tables beside the log as [`AuditLog::change_beside`] does, with the error of this module.
    fn administer(
        &self,
        change: impl FnOnce(&rusqlite::Connection) -> rusqlite::Result<()>,
    ) -> Result<(), ProjectionError> {
        self.change_beside(change)
    }

    /// Changes tables beside the log, in a separate transaction.
    pub(super) fn change_beside<E>(
        &self,
        change: impl FnOnce(&rusqlite::Connection) -> rusqlite::Result<()>,
    ) -> Result<(), E>
    where
        E: From<OpenError> + From<rusqlite::Error> + From<std::io::Error>,
    {
        // A separate connection, because the writer's connection belongs to its thread. It is opened before the write
        // lock is taken, so that no thread waits for the opening.
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
