//! The caller of a request.

use std::fmt;

use crate::audit::AuditLog;
use crate::event::EventId;
use crate::server::app::App;
use crate::server::peer::Peer;

/// The sender of a request.
#[derive(Clone, Debug)]
pub(crate) struct Caller {
    /// The id of the key; None while no key is needed.
    pub(crate) principal: Option<EventId>,
    pub(crate) peer: Peer,
}

/// Writes the key's id, or the address if there is no key.
impl fmt::Display for Caller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.principal {
            Some(key) => key.fmt(f),
            None => self.peer.fmt(f),
        }
    }
}

impl Caller {
    /// The log as this caller appends to it: its events have the key's id as principal.
    pub(crate) fn log(&self, app: &App) -> AuditLog {
        app.log.with_principal(self.principal)
    }

    /// Returns true if a caller that was allowed before is still allowed. Keys expire and are revoked, and a
    /// log may get its first key.
    pub(crate) async fn is_still_allowed(&self, app: &App) -> bool {
        let Some(key) = self.principal else {
            return app.access.require_known().is_ok() && !app.access.is_closed();
        };
        let (keys, now) = (app.access.keys.clone(), app.log.now());
        // The scopes of a key never change: only the key itself is checked again.
        match keys.recall_good(key, now) {
            Some(is_good) => is_good,
            None => tokio::task::spawn_blocking(move || keys.is_good(key, now)).await.unwrap_or(false),
        }
    }
}
