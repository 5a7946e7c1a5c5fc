//! The end of the log, for the clients that follow it.

use std::sync::Arc;

use tokio::sync::{Semaphore, watch};

use crate::event::Seq;

/// Clients that follow the log at a time.
const CLIENTS_MAX: usize = 128;

/// The end of the log, and the permits of the clients that follow it.
pub(crate) struct Tails {
    pub(in crate::server) head: watch::Sender<Seq>,
    pub(in crate::server) room: Arc<Semaphore>,
}

impl Tails {
    /// The number of clients that follow the log now.
    pub(in crate::server) fn clients(&self) -> usize {
        CLIENTS_MAX.saturating_sub(self.room.available_permits())
    }

    /// Reports to the clients that the log reaches up to `seq`.
    pub(in crate::server) fn reached(&self, seq: Seq) {
        self.head.send_if_modified(|known| {
            // Two tasks report: one the commits of this process, the other what it finds in the file. Their
            // reports may come out of order, so the head never goes back.
            let grown = seq > *known;
            *known = seq.max(*known);
            grown
        });
    }

    pub(in crate::server) fn new() -> Tails {
        Tails { head: watch::Sender::new(Seq::ZERO), room: Arc::new(Semaphore::new(CLIENTS_MAX)) }
    }
}
