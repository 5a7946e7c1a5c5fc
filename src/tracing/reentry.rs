//! A layer that records must not record what recording does: a log's filter that logs would never end.

use std::cell::Cell;

use crate::own_thread;

thread_local! {
    static INSIDE: Cell<bool> = const { Cell::new(false) };
}

/// Held while this thread is in a layer.
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

/// Whether what this thread does is a layer's doing, or that of a client's own threads.
pub(super) fn is_our_own() -> bool {
    if own_thread::is_current() {
        return true;
    }
    INSIDE.get()
}
