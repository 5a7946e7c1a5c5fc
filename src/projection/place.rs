//! What a projection's cursors say of where it is, and of what keeps it from going on.

use std::sync::Arc;

use super::tables::{Cursor, Projection, StoppedAt};
use crate::event::Seq;
use crate::progress::Place;

/// Where a projection is, by the cursor of its live tables and that of a rebuild; with what went wrong at
/// the last attempt, if something did.
pub(super) fn place_of(
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
    match stopped {
        Some(stopped) => Place {
            // Where the log was cut off the tables hold events that are no longer there.
            position: position.min(Seq::new(stopped.seq.get().saturating_sub(1))),
            stopped: Some(why_stopped(&stopped).into()),
            trouble: trouble.map(Arc::from),
        },
        None if version > known => Place {
            position,
            stopped: Some(
                format!(
                    "its tables have version {version}, this version of Annals knows {known}; use the newer one"
                )
                .into(),
            ),
            trouble: trouble.map(Arc::from),
        },
        // Only the rebuild would take tables of an older version on.
        None if version < known => Place {
            position,
            stopped: rebuild_stopped.map(Arc::from),
            trouble: trouble.map(Arc::from),
        },
        None => {
            Place { position, stopped: None, trouble: trouble.or(rebuild_stopped).map(Arc::from) }
        }
    }
}

fn why_stopped(stopped: &StoppedAt) -> String {
    format!("event {} cannot be applied: {}", stopped.seq, stopped.error)
}
