//! The threads that are a client's own. Messages that their libraries log are not a pipeline's work, and recording
//! them would make the libraries log again.

use std::cell::Cell;

thread_local! {
    static OWN: Cell<bool> = const { Cell::new(false) };
}

/// Marks the current thread as a client's own.
pub(crate) fn mark() {
    OWN.set(true);
}

/// Returns true if the current thread is a client's own.
pub(crate) fn is_current() -> bool {
    OWN.get()
}
