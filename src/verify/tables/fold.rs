//! Read tables made anew in a scratch database, by the rebuild's own code.

use std::collections::BTreeSet;

use rusqlite::Connection;

use crate::event::Seq;
use crate::limits::{FOLD_BYTES_MAX, FOLD_EVENTS_MAX};
use crate::log::rows;
use crate::projection::tables::apply::{Applier, ApplyError, Places, Texts};
use crate::projection::tables::{Projection, Stage};
use crate::verify::error::{VerifyError, is_damage};

/// A projection whose tables are checked, and its place among the reports.
#[derive(Clone)]
pub(super) struct ToCheck {
    pub(super) place: usize,
    pub(super) projection: &'static Projection,
    pub(super) until: Seq,
    /// Events that the tables hold, and whose erasure they have not come to.
    pub(super) erased_later: BTreeSet<Seq>,
}

/// Why the fold of a projection did not come to its cursor.
pub(super) enum Obstacle {
    /// This version of Annals does not know an event.
    NotKnown(String),
    /// The tables refuse an event.
    Refused(String),
}

/// Fills the scratch tables up to each projection's cursor, reading the log once. What keeps one
/// projection from its cursor does not keep the others.
pub(super) fn fold(
    log: &Connection,
    scratch: &Connection,
    projections: &[ToCheck],
    progress: &mut dyn FnMut(u64),
) -> Result<Vec<Option<Obstacle>>, VerifyError> {
    let mut appliers = Vec::new();
    for to_check in projections {
        to_check.projection.create_tables(scratch, Stage::Live, 1)?;
        appliers.push((
            Applier::new(to_check.projection, Stage::Live, Places { tables: scratch, log }, Texts::Referred)?,
            to_check.until,
            None::<Obstacle>,
        ));
    }
    let end = appliers.iter().map(|(_, until, _)| *until).max().unwrap_or(Seq::ZERO);
    let mut position = Seq::ZERO;
    scratch.execute_batch("BEGIN")?;
    while position < end {
        let events = rows::read_after(log, position, end, FOLD_EVENTS_MAX, FOLD_BYTES_MAX)?;
        let Some(last) = events.last() else { break };
        position = last.seq;
        for (applier, until, obstacle) in appliers.iter_mut().filter(|(_, _, obstacle)| obstacle.is_none()) {
            match applier.apply(events.iter().filter(|event| event.seq <= *until)) {
                Ok(()) => {}
                Err(ApplyError::Unreadable(reason)) => *obstacle = Some(Obstacle::NotKnown(reason)),
                Err(ApplyError::Sqlite(error)) if is_damage(&error) => {
                    *obstacle = Some(Obstacle::Refused(error.to_string()));
                }
                Err(ApplyError::Sqlite(error)) => return Err(error.into()),
            }
        }
        progress(events.len() as u64);
    }
    scratch.execute_batch("COMMIT")?;
    Ok(appliers.into_iter().map(|(_, _, obstacle)| obstacle).collect())
}
