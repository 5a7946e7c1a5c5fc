//! Looking after the projections of an open log.

use crate::entry::Entry;
use crate::event::{Event, Kind, ProjectionSkipped, Seq};
use crate::evidence;
use crate::log::turns::begin;
use crate::log::{Durability, Effect, OpenError, OpenLog, rows};
use crate::projection::tables;
use crate::receipt::{AppendError, Appended};
use crate::storage::{StorageError, from_sqlite};

use super::handle::AuditLog;

/// A projection that cannot be administered as asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ProjectionError {
    /// There is none with this name.
    #[error("there is no projection `{name}`; there are {}", projection_names().join(", "))]
    Unknown {
        /// The name.
        name: String,
    },
    /// It has not stopped, so there is nothing to retry or skip.
    #[error("the projection `{name}` has not stopped")]
    NotStopped {
        /// The name.
        name: &'static str,
    },
    /// It cannot go on without this event.
    #[error("event {seq} cannot be skipped: {reason}; rebuild the projection")]
    NotSkippable {
        /// The event.
        seq: Seq,
        /// Why not.
        reason: &'static str,
    },
    /// The file refused.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The skip could not be recorded.
    #[error(transparent)]
    Append(#[from] AppendError),
    /// SQLite refused.
    #[error("the projection cannot be changed: {0}")]
    Storage(#[from] StorageError),
    /// The lock file cannot be locked.
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
    /// Fills a projection's tables anew, beside the live ones, which take over when they have caught
    /// up: readers never see half of a table. This returns when it has begun. `tree` forgets the stored
    /// tiles of the Merkle tree, which are then made anew.
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

    /// Lets a stopped projection try again: after an upgrade, or when what was in its way is gone.
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

    /// Lets a stopped projection go on without the event that it cannot apply. The log records who
    /// decided so, and why; the read tables lack what that event says.
    ///
    /// # Errors
    /// If there is no such projection, it has not stopped, or the log cannot be written.
    pub fn skip(&self, projection: &str, actor: &str, reason: &str) -> Result<Appended, ProjectionError> {
        let projection = find_projection(projection)?;
        let (mut stopped, mut entry) = (None, None);
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
            let reason = "the tables would still say what it redacts";
            return Err(ProjectionError::NotSkippable { seq, reason });
        }
        let event = ProjectionSkipped {
            projection: projection.name.to_owned(),
            version: projection.version,
            seq: seq.get(),
            actor: actor.to_owned(),
            reason: reason.to_owned(),
        };
        let effect = Effect::Skip { projection: projection.name, version: projection.version, seq };
        Ok(self.append_own(Event::ProjectionSkipped(event), effect)?)
    }

    /// Forgets what the file says of an anchor that is used no longer.
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
        let log = OpenLog::open_again(&self.inner.path, Durability::Normal, self.inner.database)?;
        let _turn = self.inner.turns.take(crate::log::turns::Who::Projection)?;
        let tx = begin(&log.connection)?;
        change(&tx)?;
        Ok(tx.commit()?)
    }
}

fn find_projection(name: &str) -> Result<&'static tables::Projection, ProjectionError> {
    tables::find(name).ok_or_else(|| ProjectionError::Unknown { name: name.to_owned() })
}
