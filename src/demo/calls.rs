//! Durations of the pipeline's own calls of the log.

use std::time::{Duration, Instant};

/// The cost of recording to the caller. Every call records one event.
#[derive(Clone, Debug, Default)]
pub(crate) struct Calls {
    durations: Vec<Duration>,
}

impl Calls {
    pub(super) fn time<T>(&mut self, call: impl FnOnce() -> T) -> T {
        let began = Instant::now();
        let result = call();
        self.durations.push(began.elapsed());
        result
    }

    pub(super) fn add(&mut self, other: Calls) {
        self.durations.extend(other.durations);
    }

    pub(super) fn sorted(mut self) -> Calls {
        self.durations.sort_unstable();
        self
    }

    /// The number of calls.
    pub(crate) fn count(&self) -> usize {
        self.durations.len()
    }

    /// The time that `percent` of 100 calls did not exceed; zero if there were none.
    pub(crate) fn percentile(&self, percent: usize) -> Duration {
        // The durations are in order: a report gets them sorted.
        let last = self.durations.len().saturating_sub(1);
        // Rounded down: an index of an existing call.
        let place = last.saturating_mul(percent.min(100)) / 100;
        self.durations.get(place).copied().unwrap_or_default()
    }
}
