//! How the anchors of this process fare: what their threads know, in memory, for whoever watches the process.

use std::time::{Duration, Instant};

/// How an anchor fares.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct AnchorHealth {
    /// What it is called.
    pub name: String,
    /// Events that the last checkpoint covers that it took, as far as this process knows.
    pub size: Option<u64>,
    /// Why it took none at the last attempt, if it did not.
    pub error: Option<String>,
    /// When it last had a checkpoint of everything that was committed. A clock that only goes forward says so:
    /// one that is set says nothing about how long something takes.
    complete_at: Instant,
}

impl AnchorHealth {
    pub(crate) fn new(name: String) -> AnchorHealth {
        AnchorHealth { name, size: None, error: None, complete_at: Instant::now() }
    }

    /// Takes note of a delivery that worked: the anchor has the checkpoint of `size` events, of the `committed`
    /// ones.
    pub(crate) fn delivered(&mut self, size: Option<u64>, committed: u64) {
        self.error = None;
        self.size = size.or(self.size);
        if self.size.unwrap_or(0) >= committed {
            self.complete_at = Instant::now();
        }
    }

    /// Takes note of a delivery that did not.
    pub(crate) fn failed(&mut self, error: String) {
        self.error = Some(error);
    }

    /// How long the anchor has lacked some of the `committed` events; zero if it has all of them.
    pub fn behind(&self, committed: u64) -> Duration {
        match self.size.unwrap_or(0) >= committed {
            true => Duration::ZERO,
            false => self.complete_at.elapsed(),
        }
    }
}
