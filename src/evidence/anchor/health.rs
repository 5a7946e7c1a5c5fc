//! The health of this process's anchors, in memory, for programs that monitor the process.

use std::time::{Duration, Instant};

/// The health of one anchor.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct AnchorHealth {
    /// The name of the anchor.
    pub name: String,
    /// Events covered by the last checkpoint that the anchor took, as far as this process knows.
    pub size: Option<u64>,
    /// The last error, if the last attempt failed.
    pub error: Option<String>,
    /// The last moment at which the anchor had a checkpoint of everything that was committed. A time of the
    /// monotonic clock, because a clock that can be set does not measure durations.
    complete_at: Instant,
}

impl AnchorHealth {
    pub(crate) fn new(name: String) -> AnchorHealth {
        AnchorHealth { name, size: None, error: None, complete_at: Instant::now() }
    }

    /// Records a delivery that worked: the anchor has the checkpoint of `size` events, and `committed` events exist.
    pub(crate) fn delivered(&mut self, size: Option<u64>, committed: u64) {
        self.error = None;
        self.size = size.or(self.size);
        // Otherwise the old moment stays, and the time in `behind` goes on from there.
        if self.size.unwrap_or(0) >= committed {
            self.complete_at = Instant::now();
        }
    }

    /// Records the error of a delivery that failed.
    pub(crate) fn failed(&mut self, error: String) {
        self.error = Some(error);
    }

    /// The time for which the anchor has lacked some of the `committed` events; zero if it has all of them.
    pub fn behind(&self, committed: u64) -> Duration {
        match self.size.unwrap_or(0) >= committed {
            true => Duration::ZERO,
            false => self.complete_at.elapsed(),
        }
    }
}
