//! The state of the courier, as callers may read it at any time.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

#[derive(Debug, Default)]
pub(super) struct ClientStatus {
    refused: AtomicU64,
    spooled: AtomicU64,
    last_error: Mutex<Option<Arc<str>>>,
}

impl ClientStatus {
    pub(super) fn refused(&self) -> u64 {
        self.refused.load(Ordering::SeqCst)
    }

    pub(super) fn add_refused(&self, events: u64) {
        self.refused.fetch_add(events, Ordering::SeqCst);
    }

    pub(super) fn spooled(&self) -> u64 {
        self.spooled.load(Ordering::SeqCst)
    }

    pub(super) fn set_spooled(&self, events: u64) {
        self.spooled.store(events, Ordering::SeqCst);
    }

    pub(super) fn last_error(&self) -> Option<Arc<str>> {
        self.last_error.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn set_last_error(&self, last_error: Option<Arc<str>>) {
        *self.last_error.lock().unwrap_or_else(PoisonError::into_inner) = last_error;
    }
}
