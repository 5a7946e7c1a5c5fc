//! The caller of a request.

use std::fmt;

use crate::audit::AuditLog;
use crate::event::EventId;
use crate::server::app::App;
use crate::server::peer::Peer;

/// Who asks.
#[derive(Clone, Debug)]
pub(crate) struct Caller {
    /// The key; none where none is needed.
    pub(crate) principal: Option<EventId>,
    pub(crate) peer: Peer,
}

/// The key, or where there is none, the address.
impl fmt::Display for Caller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.principal {
            Some(key) => key.fmt(f),
            None => self.peer.fmt(f),
        }
    }
}

impl Caller {
    /// The log as this caller appends to it: its events carry the key's id.
    pub(crate) fn log(&self, app: &App) -> AuditLog {
        app.log.with_principal(self.principal)
    }

    /// Whether what was allowed when a long answer began is allowed still: keys expire and are revoked, and
    /// may be needed where none was.
    pub(crate) async fn is_still_allowed(&self, app: &App) -> bool {
        let Some(key) = self.principal else {
            return app.gate.require_known().is_ok() && !app.gate.is_closed();
        };
        let (keys, now) = (app.gate.keys.clone(), app.log.now());
        match keys.recall_good(key, now) {
            Some(is_good) => is_good,
            None => tokio::task::spawn_blocking(move || keys.is_good(key, now)).await.unwrap_or(false),
        }
    }
}
