//! Folding for one projection alone, after a failure. So its problem delays no other projection, and its
//! failing event is found.

use rusqlite::ErrorCode;

use crate::event::Seq;
use crate::log::rows::{self, ReadRow};
use crate::log::write_lock::begin;
use crate::projection::schedule::group::Member;
use crate::projection::schedule::worker::{Step, Worker, Written, read_after};
use crate::projection::tables;
use crate::projection::tables::apply::{ApplyError, Batch, Places};

impl Worker {
    /// Takes one projection's tables forward, and finds the failing event. An error that is returned does not
    /// depend on the event, and the caller tries again.
    pub(in crate::projection) fn fold_alone(&self, member: &Member, until: Seq) -> rusqlite::Result<Step> {
        let until = rows::head(&self.connection)?.seq.min(until);
        let position = member.cursor.position;
        let events = match read_after(&self.connection, position, until) {
            Ok(events) => events,
            // The damage is in the part of the log after the cursor, so its first event counts as the failing
            // event.
            Err(error) if is_damage(&error) => {
                self.stop(member, position.next(), &error.to_string())?;
                return Ok(Step::Worked);
            }
            Err(error) => return Err(error),
        };
        match self.fold_given(std::slice::from_ref(member), &events) {
            Ok(Written::Committed) => {
                self.publish(member.projection, None)?;
                Ok(Step::Worked)
            }
            Ok(Written::SomebodyElseDid) => Ok(Step::Worked),
            Err(error) if is_about_the_event(&error) && !events.is_empty() => {
                self.find_failing_event(member, &events)
            }
            Err(ApplyError::Sqlite(error)) => Err(error),
            // Not reached: such an error is about an event, and there are none here.
            Err(ApplyError::Unreadable(_)) => Ok(Step::Trouble),
        }
    }

    /// Folds the events of a batch before the failing event, and stops at that event.
    fn find_failing_event(&self, member: &Member, events: &[ReadRow]) -> rusqlite::Result<Step> {
        let mut member = member.clone();
        for event in events {
            // Each event has a transaction of its own, so that those before the failing event stay.
            match self.fold_given(std::slice::from_ref(&member), std::slice::from_ref(event)) {
                Ok(Written::Committed) => member.cursor.position = event.seq,
                Ok(Written::SomebodyElseDid) => return Ok(Step::Worked),
                Err(error) if is_about_the_event(&error) => {
                    self.stop(&member, event.seq, &error.to_string())?;
                    return Ok(Step::Worked);
                }
                Err(ApplyError::Sqlite(error)) => return Err(error),
                Err(ApplyError::Unreadable(_)) => return Ok(Step::Trouble),
            }
        }
        // Alone, every event could be applied: the failure has passed.
        Ok(Step::Worked)
    }

    /// Folds these events, and no others, for tables at one position, and moves their cursors, all within one
    /// transaction.
    pub(in crate::projection) fn fold_given(
        &self,
        members: &[Member],
        events: &[ReadRow],
    ) -> Result<Written, ApplyError> {
        let batch = Batch::of(events);
        let _guard = self.take_write_lock()?;
        let tx = begin(&self.connection)?;
        let connections = Places { tables: &tx, log: &tx };
        let head = rows::head(&tx)?.seq;
        for member in members {
            if !member.is_as_stored(&tx)? {
                return Ok(Written::SomebodyElseDid);
            }
            // A new fold has no rows in memory: all come from this transaction.
            member.fold(&tx)?.apply(connections, &batch)?;
        }
        let position = |member: &Member| events.last().map_or(member.cursor.position, |event| event.seq);
        members.iter().try_for_each(|member| member.advance(&tx, position(member)))?;
        // After all tables are written, because a switch drops live ones.
        members.iter().try_for_each(|member| member.switch(&tx, position(member), head))?;
        tx.commit()?;
        Ok(Written::Committed)
    }

    fn stop(&self, member: &Member, seq: Seq, error: &str) -> rusqlite::Result<()> {
        let _guard = self.take_write_lock()?;
        let tx = begin(&self.connection)?;
        tables::stop(&tx, member.projection.name, member.stage, &member.cursor, seq, error)?;
        tx.commit()
    }
}

/// Returns whether the event, or the table that it goes to, causes the error, so that another attempt cannot
/// help. All other errors come from the file, the disk, or a temporary state.
fn is_about_the_event(error: &ApplyError) -> bool {
    match error {
        ApplyError::Unreadable(_) => true,
        ApplyError::Sqlite(error) => match error.sqlite_error_code() {
            Some(code) => {
                is_damage(error)
                    || matches!(
                        code,
                        ErrorCode::ConstraintViolation
                            | ErrorCode::TypeMismatch
                            | ErrorCode::TooBig
                            | ErrorCode::Unknown
                    )
            }
            // An error without a code of SQLite is about a value, except the one by which `take_write_lock` reports the
            // write lock.
            None => !matches!(error, rusqlite::Error::ToSqlConversionFailure(_)),
        },
    }
}

/// Returns whether the table's part of the file is damaged, which no second attempt repairs.
fn is_damage(error: &rusqlite::Error) -> bool {
    matches!(error.sqlite_error_code(), Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase))
}
