//! Folding ahead: a thread that reads events, folds them in memory, and hands out the changes, while the
//! projections' thread writes the earlier ones.
//!
//! The thread never writes. It reads rows that it needs and does not have from the tables. Rows that it handed out,
//! and that may not be in the tables yet, are still in its memory.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::thread::JoinHandle;

use crossbeam_channel::{Receiver, Sender, bounded, unbounded};
use rusqlite::Connection;

use crate::event::Seq;
use crate::limits::{FOLD_BYTES_MAX, FOLD_EVENTS_MAX};
use crate::log::rows;
use crate::projection::fold::working_set::Changes;
use crate::projection::tables::apply::{ApplyError, Batch, Fold};

/// Parts that wait to be written, besides the one that is being folded and the one that is being written.
const PARTS_WAITING_MAX: usize = 2;

/// The next result of the folding thread.
pub(in crate::projection) enum Next {
    Part(Part),
    /// A redaction is among the next events. The writing thread folds these, because they remove rows from
    /// the tables.
    Erasure,
}

/// A run of events that were folded.
pub(in crate::projection) struct Part {
    /// The last event.
    pub(in crate::projection) position: Seq,
    /// Their changes, one entry for each fold.
    pub(in crate::projection) changes: Vec<Changes>,
    /// Number of the part, from 1.
    number: u64,
}

/// The handle of the folding thread, which the thread that writes owns. The folding thread ends when the
/// handle is dropped.
pub(in crate::projection) struct Ahead {
    /// None while it is being dropped.
    orders: Option<Sender<Seq>>,
    parts: Option<Receiver<Result<Next, ApplyError>>>,
    /// A result that was received and is not taken yet.
    next: Option<Result<Next, ApplyError>>,
    /// The number of the last part that is in the tables.
    stored: Arc<AtomicU64>,
    /// Number of events in a part.
    events: Arc<AtomicUsize>,
    thread: Option<JoinHandle<()>>,
}

impl Ahead {
    /// Starts the thread. It folds events after `position` when it is ordered to. The connection reads the log and
    /// the tables.
    pub(in crate::projection) fn start(
        connection: Connection,
        folds: Vec<Fold>,
        position: Seq,
    ) -> std::io::Result<Ahead> {
        // Orders need no bound: each is a number, and after each part the thread takes all that wait. Parts
        // are bounded, so that the thread stops when the writing falls behind.
        let (orders, ordered) = unbounded();
        let (sender, parts) = bounded(PARTS_WAITING_MAX);
        let stored = Arc::new(AtomicU64::new(0));
        let events = Arc::new(AtomicUsize::new(FOLD_EVENTS_MAX));
        let (stored_too, events_too) = (stored.clone(), events.clone());
        let mut folder =
            Folder { connection, folds, position, number: 0, stored: stored_too, events: events_too };
        let thread = std::thread::Builder::new()
            .name("annals-fold".to_owned())
            .spawn(move || folder.run(&ordered, &sender))?;
        Ok(Ahead {
            orders: Some(orders),
            parts: Some(parts),
            next: None,
            stored,
            events,
            thread: Some(thread),
        })
    }

    /// Orders the folding of the events up to `until`.
    pub(in crate::projection) fn go_on(&self, until: Seq) {
        if let Some(orders) = &self.orders {
            // If the thread has ended, its last result has the reason.
            let _ = orders.send(until);
        }
    }

    /// Blocks for the next result. To be called only while an order is outstanding. None if the thread has ended.
    pub(in crate::projection) fn peek(&mut self) -> Option<&Result<Next, ApplyError>> {
        if self.next.is_none() {
            self.next = self.parts.as_ref().and_then(|parts| parts.recv().ok());
            if self.next.is_none() {
                // The thread has closed the channel: it has ended, or has panicked, which `end` passes on.
                self.end();
            }
        }
        self.next.as_ref()
    }

    /// Takes the next part, if the next result is one. With [`Wait::Yes`], blocks for the result.
    pub(in crate::projection) fn take_part(&mut self, wait: Wait) -> Option<Part> {
        if self.next.is_none() && wait == Wait::No {
            self.next = self.parts.as_ref().and_then(|parts| parts.try_recv().ok());
        } else {
            self.peek();
        }
        match self.next.take() {
            Some(Ok(Next::Part(part))) => Some(part),
            // An erasure or an error stays, for `peek` to return.
            other => {
                self.next = other;
                None
            }
        }
    }

    /// Sets the number of events of the parts that are folded from now on.
    pub(in crate::projection) fn fold_at_once(&self, events: usize) {
        self.events.store(events, Ordering::Relaxed);
    }

    /// Reports that the tables hold the parts up to this one.
    pub(in crate::projection) fn stored(&self, part: &Part) {
        self.stored.store(part.number, Ordering::Release);
    }

    /// Waits for the thread to end. If it panicked, this thread panics too, because nobody would fold any
    /// more.
    fn end(&mut self) {
        // Both channels are closed before the join: the thread may be blocked on either, and ends when it is
        // closed. A second panic while the first unwinds would end the process.
        self.orders = None;
        self.parts = None;
        if let Some(Err(panic)) = self.thread.take().map(JoinHandle::join)
            && !std::thread::panicking()
        {
            std::panic::resume_unwind(panic);
        }
    }
}

/// The choice whether to block for a part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::projection) enum Wait {
    Yes,
    No,
}

impl Drop for Ahead {
    fn drop(&mut self) {
        self.end();
    }
}

struct Folder {
    connection: Connection,
    folds: Vec<Fold>,
    position: Seq,
    number: u64,
    stored: Arc<AtomicU64>,
    events: Arc<AtomicUsize>,
}

impl Folder {
    fn run(&mut self, orders: &Receiver<Seq>, parts: &Sender<Result<Next, ApplyError>>) {
        while let Ok(mut until) = orders.recv() {
            while self.position < until {
                let next = self.fold_next(until);
                // After an erasure the rows in memory no longer match the tables, and after an error they may not:
                // the thread ends.
                let is_last = !matches!(next, Ok(Next::Part(_)));
                if parts.send(next).is_err() || is_last {
                    return;
                }
                // The newest order counts, and the older ones are dropped.
                until = orders.try_iter().last().unwrap_or(until);
            }
        }
    }

    fn fold_next(&mut self, until: Seq) -> Result<Next, ApplyError> {
        let events_max = self.events.load(Ordering::Relaxed);
        let events = rows::read_after(&self.connection, self.position, until, events_max, FOLD_BYTES_MAX)?;
        let Some(last) = events.last() else {
            return Err(ApplyError::Unreadable(format!("event {} is not there", self.position.next())));
        };
        let batch = Batch::of(&events);
        if batch.erases() {
            return Ok(Next::Erasure);
        }
        // Loaded before the tables are read. A part that counts as stored was committed before, so the tables show
        // it.
        let stored = self.stored.load(Ordering::Acquire);
        let changes = self
            .folds
            .iter_mut()
            .map(|fold| fold.fold(&self.connection, &batch, stored))
            .collect::<Result<_, _>>()?;
        self.position = last.seq;
        self.number += 1;
        Ok(Next::Part(Part { position: self.position, changes, number: self.number }))
    }
}
