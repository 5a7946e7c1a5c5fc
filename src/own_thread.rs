//! Which threads are the client's own: what their libraries log is nothing that a pipeline did, and
//! recording it would make them log again.

use std::cell::Cell;

thread_local! {
    static OWN: Cell<bool> = const { Cell::new(false) };
}

/// Says that this thread is one.
pub(crate) fn mark() {
    OWN.set(true);
}

/// Whether this thread is one.
pub(crate) fn is_current() -> bool {
    OWN.get()
}
