//! How long each call took.

use std::time::Duration;

use anyhow::Context as _;
use hdrhistogram::Histogram;

use crate::Latency;

/// The longest call that is told apart from longer ones, in nanoseconds: a minute.
const CALL_NS_MAX: u64 = 60_000_000_000;

/// Times of calls, to three significant digits.
#[derive(Clone, Debug)]
pub struct Timing(Histogram<u64>);

impl Timing {
    /// No calls yet.
    ///
    /// # Errors
    /// If there can be no histogram of these bounds.
    pub fn new() -> anyhow::Result<Timing> {
        Histogram::new_with_bounds(1, CALL_NS_MAX, 3).map(Timing).context("a histogram")
    }

    /// Counts a call.
    pub fn add(&mut self, call: Duration) {
        self.0.saturating_record(u64::try_from(call.as_nanos()).unwrap_or(CALL_NS_MAX));
    }

    /// Counts another's calls as well.
    ///
    /// # Errors
    /// If their histograms differ in bounds.
    pub fn join(&mut self, other: &Timing) -> anyhow::Result<()> {
        self.0.add(&other.0).context("histograms of the same bounds")
    }

    /// Calls that were counted.
    #[must_use]
    pub fn calls(&self) -> u64 {
        self.0.len()
    }

    /// What is said of them.
    #[must_use]
    pub fn latency(&self) -> Latency {
        let us = |ns: u64| ns as f64 / 1_000.0;
        Latency {
            p50: us(self.0.value_at_quantile(0.5)),
            p99: us(self.0.value_at_quantile(0.99)),
            p999: us(self.0.value_at_quantile(0.999)),
            max: us(self.0.max()),
        }
    }
}
