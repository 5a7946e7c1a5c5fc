//! The end of the log, for those who follow it.

use std::sync::Arc;

use tokio::sync::{Semaphore, watch};

use crate::event::Seq;

/// Clients that follow the log at a time.
const CLIENTS_MAX: usize = 128;

/// The end of the log, for those who follow it.
pub(crate) struct Tails {
    pub(in crate::server) head: watch::Sender<Seq>,
    pub(in crate::server) room: Arc<Semaphore>,
}

impl Tails {
    /// Those who follow it now.
    pub(in crate::server) fn clients(&self) -> usize {
        CLIENTS_MAX.saturating_sub(self.room.available_permits())
    }

    /// Tells those who follow the log that it reaches up to `seq`.
    pub(in crate::server) fn reached(&self, seq: Seq) {
        self.head.send_if_modified(|known| {
            let grown = seq > *known;
            *known = seq.max(*known);
            grown
        });
    }

    pub(in crate::server) fn new() -> Tails {
        Tails { head: watch::Sender::new(Seq::ZERO), room: Arc::new(Semaphore::new(CLIENTS_MAX)) }
    }
}
