//! Memory that the allocator keeps after a peak, given back to the system.
//!
//! glibc has an arena for nearly every thread, and leaves in it what was freed there. Without this thread, a server
//! that once answered much at a time, on many threads, would stay as large.

#![allow(unsafe_code, reason = "only a function of the C library gives memory back")]

use std::io;
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::time::Duration;

/// Time between two looks at the resident memory.
const LOOK_EVERY: Duration = Duration::from_secs(5);

/// Looks after which memory is given back in any case: memory that is freed within the resident part does not make that
/// part larger.
const LOOKS_MAX: u32 = 6;

/// The thread that gives memory back; it ends when this is dropped.
pub(super) struct GivingBack {
    _until_dropped: Sender<()>,
}

/// Starts the thread that gives memory back.
pub(super) fn start() -> io::Result<GivingBack> {
    let (until_dropped, dropped) = mpsc::channel();
    std::thread::Builder::new().name("annals-memory".to_owned()).spawn(move || {
        let mut least = None;
        // The wait ends early when the sender is dropped, and so does the loop.
        while dropped.recv_timeout(LOOK_EVERY) == Err(RecvTimeoutError::Timeout) {
            least = look(least);
        }
    })?;
    Ok(GivingBack { _until_dropped: until_dropped })
}

/// The smallest resident size since memory was last given back.
struct Least {
    pages: u64,
    looks: u32,
}

/// Gives memory back if an eighth more is resident than the smallest size since the last time, and after [`LOOKS_MAX`]
/// looks.
fn look(least: Option<Least>) -> Option<Least> {
    // Without `/proc` the size is unknown, and nothing is given back.
    let now = resident_pages()?;
    match least {
        Some(Least { pages, looks }) if now <= pages + pages / 8 && looks < LOOKS_MAX => {
            Some(Least { pages: pages.min(now), looks: looks + 1 })
        }
        _ => {
            // SAFETY: it takes the allocator's own locks, and touches only free memory.
            unsafe { libc::malloc_trim(0) };
            Some(Least { pages: resident_pages()?, looks: 0 })
        }
    }
}

/// Pages of this process that are in memory.
fn resident_pages() -> Option<u64> {
    let sizes = std::fs::read_to_string("/proc/self/statm").ok()?;
    sizes.split_whitespace().nth(1)?.parse().ok()
}
