//! How long the pipeline's own calls of the log take.

use std::time::{Duration, Instant};

/// What recording cost the caller. Every call records one event.
#[derive(Clone, Debug, Default)]
pub struct Calls {
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

    /// How many there were.
    pub fn count(&self) -> usize {
        self.durations.len()
    }

    /// The time that so many percent of the calls did not exceed; nothing where there were none.
    pub fn percentile(&self, percent: usize) -> Duration {
        let last = self.durations.len().saturating_sub(1);
        let place = last.saturating_mul(percent.min(100)) / 100;
        self.durations.get(place).copied().unwrap_or_default()
    }
}
