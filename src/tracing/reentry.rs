//! Protection against recursion: a layer must not record its own work. Otherwise a log's filter that logs
//! would never end.

use std::cell::Cell;

use crate::own_thread;

thread_local! {
    static INSIDE: Cell<bool> = const { Cell::new(false) };
}

/// Marks this thread as inside a layer until it is dropped. A value within another one restores the mark of
/// that one.
pub(super) struct Inside {
    was: bool,
}

impl Inside {
    pub(super) fn enter() -> Inside {
        Inside { was: INSIDE.replace(true) }
    }
}

impl Drop for Inside {
    fn drop(&mut self) {
        INSIDE.set(self.was);
    }
}

/// Returns whether this thread works for a layer, or is one of a client's own threads.
pub(super) fn is_our_own() -> bool {
    if own_thread::is_current() {
        return true;
    }
    INSIDE.get()
}
