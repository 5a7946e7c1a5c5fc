//! Read tables that are made anew in a scratch database, by the code of a rebuild.

use std::collections::BTreeSet;

use rusqlite::Connection;

use crate::event::Seq;
use crate::limits::{FOLD_BYTES_MAX, FOLD_EVENTS_MAX};
use crate::log::rows;
use crate::projection::tables::apply::{Applier, ApplyError, Places, Texts};
use crate::projection::tables::{Projection, Stage};
use crate::verify::error::{VerifyError, is_damage};

/// A projection whose tables are checked, and the index of its report.
#[derive(Clone)]
pub(super) struct ToCheck {
    pub(super) report_index: usize,
    pub(super) projection: &'static Projection,
    pub(super) until: Seq,
    /// Events in the tables that were erased after the tables' cursor.
    pub(super) erased_later: BTreeSet<Seq>,
}

/// The reason why the fold of a projection did not reach its cursor.
pub(super) enum Obstacle {
    /// This version of Annals does not know an event.
    NotKnown(String),
    /// The tables refuse an event.
    Refused(String),
}

/// Fills the scratch tables up to each projection's cursor, and reads the log once for all of them. An
/// obstacle for one projection does not stop the others.
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
        // Each projection gets the events up to its own cursor, because its live tables hold no more. One
        // with an obstacle gets no later events: the fold takes no event without those before it.
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
