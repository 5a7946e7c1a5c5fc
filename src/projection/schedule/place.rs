//! What a projection's cursors say of where it is, and of what keeps it from going on.

use std::sync::Arc;

use crate::event::Seq;
use crate::progress::Place;
use crate::projection::tables::{Cursor, Projection, StoppedAt};

/// Where a projection is, by the cursor of its live tables and that of a rebuild; with what went wrong at
/// the last attempt, if something did.
pub(in crate::projection) fn place_of(
    projection: &Projection,
    live: Cursor,
    building: Option<Cursor>,
    trouble: Option<String>,
) -> Place {
    let rebuild_stopped = building
        .and_then(|building| building.stopped)
        .map(|stopped| format!("its rebuild stopped: {}", why_stopped(&stopped)));
    let Cursor { version, position, stopped, .. } = live;
    let known = projection.version;
    let mut place =
        Place { position, has_index: projection.has_index(), stopped: None, trouble: trouble.map(Arc::from) };
    match stopped {
        Some(stopped) => {
            // Where the log was cut off the tables hold events that are no longer there.
            place.position = position.min(Seq::new(stopped.seq.get().saturating_sub(1)));
            place.stopped = Some(why_stopped(&stopped).into());
        }
        None if version > known => {
            let why = format!(
                "its tables have version {version}, this version of Annals knows {known}; use the newer one"
            );
            place.stopped = Some(why.into());
        }
        // Only the rebuild would take tables of an older version on.
        None if version < known => place.stopped = rebuild_stopped.map(Arc::from),
        None => place.trouble = place.trouble.or(rebuild_stopped.map(Arc::from)),
    }
    place
}

fn why_stopped(stopped: &StoppedAt) -> String {
    format!("event {} cannot be applied: {}", stopped.seq, stopped.error)
}
