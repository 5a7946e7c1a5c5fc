//! The bounds of one client, and of all clients together.

use std::time::Duration;

/// The bounds of a server. The defaults suit a machine of ordinary size.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Bytes of a body, as sent and again after decompression; at most half of [`Limits::memory_bytes`].
    pub body_bytes: usize,
    /// Events of one request. The default is a few batches of the writer.
    pub request_events: usize,
    /// The memory budget: bytes of all bodies that are being handled, of the events made of them, and of
    /// answers in memory. A request that finds it used up is answered with 503.
    pub memory_bytes: usize,
    /// Bytes of all answers that are too long for memory and wait in the folder of temporary files until they
    /// are read. A request that finds them used up is answered with 503.
    pub answer_disk_bytes: usize,
    /// Connections at a time. Further ones wait until one ends.
    pub connections: usize,
    /// The timeout for the first request of a connection to arrive, without its body.
    pub header: Duration,
    /// The timeout for a body to arrive.
    pub body: Duration,
    /// The longest time that a connection may be idle between two requests.
    pub idle: Duration,
    /// The longest time that a client may leave an answer unread.
    pub write: Duration,
    /// The longest time that a request waits for room in the log's queue.
    pub queue: Duration,
    /// The longest time that a request waits for its commit. A disk that takes longer is as good as stuck.
    pub commit: Duration,
    /// The longest time that a request waits for the read tables, if it asks to.
    pub visible: Duration,
    /// The longest time that requests may still run after the server was asked to stop.
    pub grace: Duration,
    /// Requests per second of one key, or of one address while no keys are needed; 0 for no bound.
    pub requests_per_second: u32,
    /// Wrong keys per minute from one address. Further ones are answered with 429; 0 for no bound.
    pub wrong_keys_per_minute: u32,
    /// The longest time that an anchor may lack events before the server reports that it is not ready; None
    /// for no bound. Must be longer than the time between checkpoints.
    pub anchor_max_age: Option<Duration>,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            // By default a log accepts payloads up to 4 MiB, which may take six times as many bytes in JSON.
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
