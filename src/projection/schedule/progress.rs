//! The published position of a projection, by its cursors, and the reason why it does not go on.

use std::sync::Arc;

use crate::event::Seq;
use crate::progress::ProjectionProgress;
use crate::projection::tables::{Cursor, Projection, StoppedAt};

/// The position of a projection, by the cursor of its live tables and that of a rebuild; with the last error, if
/// the last attempt failed.
pub(in crate::projection) fn progress_of(
    projection: &Projection,
    live: Cursor,
    building: Option<Cursor>,
    last_error: Option<String>,
) -> ProjectionProgress {
    let rebuild_stopped = building
        .and_then(|building| building.stopped)
        .map(|stopped| format!("its rebuild stopped: {}", why_stopped(&stopped)));
    let Cursor { version, position, stopped, .. } = live;
    let known = projection.version;
    let mut progress = ProjectionProgress {
        position,
        has_index: projection.has_index(),
        stopped: None,
        last_error: last_error.map(Arc::from),
    };
    match stopped {
        Some(stopped) => {
            // If the log was cut off, the tables hold events that no longer exist. The position is that before the
            // failing event.
            progress.position = position.min(Seq::new(stopped.seq.get().saturating_sub(1)));
            progress.stopped = Some(why_stopped(&stopped).into());
        }
        None if version > known => {
            let why = format!(
                "its tables have version {version}, but this version of Annals knows only {known}; use the newer version"
            );
            progress.stopped = Some(why.into());
        }
        // Only a rebuild replaces tables of an older version, so its failing event is theirs.
        None if version < known => progress.stopped = rebuild_stopped.map(Arc::from),
        // The live tables go on without the rebuild, so its failing event is only reported.
        None => progress.last_error = progress.last_error.or(rebuild_stopped.map(Arc::from)),
    }
    progress
}

fn why_stopped(stopped: &StoppedAt) -> String {
    format!("event {} cannot be applied: {}", stopped.seq, stopped.error)
}
