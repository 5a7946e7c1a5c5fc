//! Memory that the allocator keeps after a peak, given back to the system.
//!
//! glibc has an arena for nearly every thread, and leaves in it what was freed there. A server that answered with
//! much at a time, on many threads, would have as much resident from then on.

#![allow(unsafe_code, reason = "only a function of the C library gives memory back")]

use std::io;
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::time::Duration;

/// Time between two looks at the resident memory.
const LOOK_EVERY: Duration = Duration::from_secs(5);

/// The thread that gives memory back; it ends when this is dropped.
pub(super) struct GivingBack {
    _until_dropped: Sender<()>,
}

/// Starts the thread that gives memory back.
pub(super) fn start() -> io::Result<GivingBack> {
    let (until_dropped, dropped) = mpsc::channel();
    std::thread::Builder::new().name("annals-memory".to_owned()).spawn(move || {
        let mut floor = None;
        while dropped.recv_timeout(LOOK_EVERY) == Err(RecvTimeoutError::Timeout) {
            floor = look(floor);
        }
    })?;
    Ok(GivingBack { _until_dropped: until_dropped })
}

/// Gives memory back where an eighth more is resident than there was least since the last time, and returns what is
/// resident then.
fn look(floor: Option<u64>) -> Option<u64> {
    let now = resident_pages()?;
    match floor {
        Some(floor) if now <= floor + floor / 8 => Some(floor.min(now)),
        _ => {
            // SAFETY: it takes the allocator's own locks, and touches only what is free.
            unsafe { libc::malloc_trim(0) };
            resident_pages()
        }
    }
}

/// Pages of this process that are in memory.
fn resident_pages() -> Option<u64> {
    let sizes = std::fs::read_to_string("/proc/self/statm").ok()?;
    sizes.split_whitespace().nth(1)?.parse().ok()
}
