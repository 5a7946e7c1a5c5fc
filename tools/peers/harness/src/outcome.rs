//! What a run prints.

use serde::Serialize;

use crate::{About, Mode, Variant};

/// What can be run.
#[derive(Clone, Debug, Serialize)]
pub struct Described {
    /// As in [`About`].
    pub peer: &'static str,
    /// The version of its package, from the lock file.
    pub version: Option<String>,
    /// The ways in which it can be used.
    pub variants: &'static [Variant],
}

impl Described {
    pub(crate) fn new(about: &About, version: Option<String>) -> Described {
        Described { peer: about.peer, version, variants: about.variants }
    }
}

/// What a run did.
#[derive(Clone, Debug, Serialize)]
pub struct Outcome {
    /// As in [`About`].
    pub peer: &'static str,
    /// The way in which it was used, by name.
    pub variant: &'static str,
    /// How events were handed over.
    pub mode: Mode,
    /// Threads that appended.
    pub producers: usize,
    /// Events in one call.
    pub events_a_call: usize,
    /// Bytes of a payload.
    pub payload_bytes: usize,
    /// From the first call to the last answer.
    pub seconds: f64,
    /// Events acknowledged, and found again after reopening.
    pub events: u64,
    /// Events acknowledged in a second.
    pub events_per_second: f64,
    /// What calls took, in microseconds.
    pub latency_us: Latency,
    /// Bytes that all files of the closed store take up on the disk.
    pub disk_bytes: u64,
    /// The same for each event.
    pub disk_bytes_per_event: f64,
    /// Settings that were read back from the open store.
    pub settings: Vec<(String, String)>,
}

/// What calls took, in microseconds.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Latency {
    /// The median.
    pub p50: f64,
    /// 99 of 100 took at most this.
    pub p99: f64,
    /// 999 of 1,000 took at most this.
    pub p999: f64,
    /// The longest.
    pub max: f64,
}
