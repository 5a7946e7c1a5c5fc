//! What the server lets one client, and all together, have of it.

use std::time::Duration;

/// The server's bounds. Every one has a value that suits a machine of ordinary size.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Limits {
    /// Bytes of a body, as sent and again after decompression; never more than half of [`Limits::memory_bytes`].
    pub body_bytes: usize,
    /// Events of one request: as many as the writer commits in some batches.
    pub request_events: usize,
    /// Bytes of all bodies that are being handled, of the events that are made of them, and of answers that
    /// are in memory. A request that finds them used up is told to come again.
    pub memory_bytes: usize,
    /// Bytes of answers that are too long for memory and wait in the folder of temporary files until they are
    /// read, all together. A request that finds them used up is told to come again.
    pub answer_disk_bytes: usize,
    /// Connections at a time. Who comes then waits until one ends.
    pub connections: usize,
    /// How long the first request of a connection may take to arrive, without its body.
    pub header: Duration,
    /// How long a body may take to arrive.
    pub body: Duration,
    /// How long a connection may rest between two requests.
    pub idle: Duration,
    /// How long a client may leave an answer unread.
    pub write: Duration,
    /// How long a request waits for room in the log's queue.
    pub queue: Duration,
    /// How long a request waits for the commit. A disk that takes longer hangs, or as good as.
    pub commit: Duration,
    /// How long a request waits for the read tables, where it asks to.
    pub visible: Duration,
    /// How long requests may still run after the wish to stop.
    pub grace: Duration,
    /// Requests a second of one key, or of one address where there are no keys; 0 for no bound.
    pub requests_per_second: u32,
    /// Wrong keys a minute from one address, before their answer says to wait.
    pub wrong_keys_per_minute: u32,
    /// How long an anchor may lack events before the server says that it is not ready; None for no bound. It must
    /// be longer than the time between checkpoints.
    pub anchor_max_age: Option<Duration>,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            // The largest payload that a log accepts by default has 4 MiB, which JSON may spell in six
            // times as many.
            body_bytes: 32 << 20,
            request_events: 16_384,
            memory_bytes: 256 << 20,
            answer_disk_bytes: 4 << 30,
            connections: 512,
            header: Duration::from_secs(10),
            body: Duration::from_secs(30),
            idle: Duration::from_secs(75),
            write: Duration::from_secs(30),
            queue: Duration::from_secs(1),
            commit: Duration::from_secs(60),
            visible: Duration::from_secs(10),
            grace: Duration::from_secs(20),
            requests_per_second: 0,
            wrong_keys_per_minute: 30,
            anchor_max_age: None,
        }
    }
}
