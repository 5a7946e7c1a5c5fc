//! Tasks that watch keys, the file and the end of the log until the server stops.

use std::time::Duration;

use super::app::App;
use crate::apikey::Uses;
use crate::log::OpenError;

/// How often it is looked whether there are keys.
const KEYS_EVERY: Duration = Duration::from_millis(500);

/// Time between two looks at the file, for events that other processes append too.
const FILE_EVERY: Duration = Duration::from_millis(250);

/// Looks whether there are keys, and writes down when they were used, until the server stops.
pub(super) async fn keys(app: App) {
    let mut running = true;
    while running {
        tokio::select! {
            () = app.stopping.cancelled() => running = false,
            () = tokio::time::sleep(KEYS_EVERY) => {}
        }
        let which = if running { Uses::Due } else { Uses::All };
        let at_work = app.clone();
        let looked = tokio::task::spawn_blocking(move || {
            at_work.gate.look();
            at_work.gate.keys.keep_uses(&at_work.log, which)
        });
        if let Ok(Err(error)) = looked.await {
            tracing::debug!(error = %error, "when keys were used cannot be written now");
        }
    }
}

/// Looks at the file until the server stops, tells the tails of the log's end, and closes connections at rest.
pub(super) async fn file(app: App) {
    loop {
        tokio::select! {
            () = app.stopping.cancelled() => return,
            () = tokio::time::sleep(FILE_EVERY) => {}
        }
        let at_work = app.clone();
        let looked = tokio::task::spawn_blocking(move || {
            at_work.readers.close_idle();
            let looked = at_work.file.look();
            if matches!(looked, Some(Err(OpenError::WalReplaced { .. }))) {
                // The writer makes a new write-ahead log only when nobody uses the old one any longer.
                at_work.readers.let_go();
                at_work.gate.let_go();
            }
            looked
        });
        if let Ok(Some(Ok(head))) = looked.await {
            app.tails.reached(head.seq);
        }
    }
}

/// Tells of this process' commits until the server stops. [`file`] finds those of others.
pub(super) async fn commits(app: App) {
    loop {
        let told = *app.tails.head.borrow();
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
