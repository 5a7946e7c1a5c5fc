//! Tasks that watch keys, the file and the end of the log until the server stops.

use std::time::Duration;

use super::app::App;
use crate::apikey::Uses;
use crate::log::OpenError;

/// Time between two looks for API keys.
const KEYS_EVERY: Duration = Duration::from_millis(500);

/// Time between two looks at the file. They also find the events that other processes append.
const FILE_EVERY: Duration = Duration::from_millis(250);

/// Looks for keys and writes their last uses, until the server stops.
pub(super) async fn keys(app: App) {
    let mut running = true;
    while running {
        tokio::select! {
            () = app.stopping.cancelled() => running = false,
            () = tokio::time::sleep(KEYS_EVERY) => {}
        }
        // The stop does not end the loop at once: one more round writes all uses that are not written yet.
        let which = if running { Uses::Due } else { Uses::All };
        let at_work = app.clone();
        let looked = tokio::task::spawn_blocking(move || {
            at_work.access.look();
            at_work.access.keys.keep_uses(&at_work.log, which)
        });
        if let Ok(Err(error)) = looked.await {
            // The next round tries again: uses stay due until they are written.
            tracing::debug!(error = %error, "the times at which keys were last used cannot be written now");
        }
    }
}

/// Looks at the file until the server stops. Reports the end of the log to the tails, and closes idle
/// connections to the log.
pub(super) async fn file(app: App) {
    loop {
        tokio::select! {
            () = app.stopping.cancelled() => return,
            () = tokio::time::sleep(FILE_EVERY) => {}
        }
        let at_work = app.clone();
        // The task awaits its look before the stop can end it, so no look outlives the task.
        let looked = tokio::task::spawn_blocking(move || {
            at_work.readers.close_idle();
            let looked = at_work.file.look();
            if matches!(looked, Some(Err(OpenError::WalReplaced { .. }))) {
                // The writer makes a new write-ahead log only after all connections to the old one are
                // closed.
                at_work.readers.let_go();
                at_work.access.let_go();
            }
            looked
        });
        if let Ok(Some(Ok(head))) = looked.await {
            app.tails.reached(head.seq);
        }
    }
}

/// Reports the commits of this process to the tails until the server stops. [`file`] finds those of other
/// processes.
pub(super) async fn commits(app: App) {
    loop {
        let told = *app.tails.head.borrow();
        // `find` listens for changes before it looks, so no commit between two rounds is missed. A commit
        // that `file` has reported already is not waited for.
        let committed = app.log.progress().find(|progress| {
            let committed = progress.committed();
            (committed > told).then_some(committed)
        });
        tokio::select! {
            () = app.stopping.cancelled() => return,
            committed = committed => app.tails.reached(committed),
        }
    }
}
