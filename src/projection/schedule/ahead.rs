//! Folding ahead of what is written: a thread that reads events, folds them in memory, and hands out what
//! they change, while the projections' thread writes what came before.
//!
//! It never writes. Rows that it needs and does not have it reads from the tables; those that it handed out
//! and that may not be there yet it still has.

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

/// Parts that wait to be written, beside the one that is being folded and the one that is being written.
const PARTS_WAITING_MAX: usize = 2;

/// What comes next.
pub(in crate::projection) enum Next {
    Part(Part),
    /// The next events take back what earlier ones left in the tables: that is done where they are written.
    Erasure,
}

/// Events that were folded.
pub(in crate::projection) struct Part {
    /// The last one.
    pub(in crate::projection) position: Seq,
    /// What they change, one for each fold.
    pub(in crate::projection) changes: Vec<Changes>,
    /// Counts the parts, from 1.
    number: u64,
}

/// The thread, as the one that writes has it. It ends when this is dropped.
pub(in crate::projection) struct Ahead {
    /// None when it is being dropped.
    orders: Option<Sender<Seq>>,
    parts: Option<Receiver<Result<Next, ApplyError>>>,
    /// What was received and is not taken yet.
    next: Option<Result<Next, ApplyError>>,
    /// The number of the last part that is in the tables.
    stored: Arc<AtomicU64>,
    /// Events of a part.
    events: Arc<AtomicUsize>,
    thread: Option<JoinHandle<()>>,
}

impl Ahead {
    /// Folds what comes after `position`, when it is told to. The connection reads the log and the tables.
    pub(in crate::projection) fn start(
        connection: Connection,
        folds: Vec<Fold>,
        position: Seq,
    ) -> std::io::Result<Ahead> {
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

    /// Has the events up to `until` folded.
    pub(in crate::projection) fn go_on(&self, until: Seq) {
        if let Some(orders) = &self.orders {
            // Where the thread has ended, it said why.
            let _ = orders.send(until);
        }
    }

    /// What comes next, waited for: to be asked for only where something was ordered that did not come yet.
    pub(in crate::projection) fn peek(&mut self) -> Option<&Result<Next, ApplyError>> {
        if self.next.is_none() {
            self.next = self.parts.as_ref().and_then(|parts| parts.recv().ok());
            if self.next.is_none() {
                self.end();
            }
        }
        self.next.as_ref()
    }

    /// The next part, if one comes: waited for, or only if it is there.
    pub(in crate::projection) fn take_part(&mut self, wait: Wait) -> Option<Part> {
        if self.next.is_none() && wait == Wait::No {
            self.next = self.parts.as_ref().and_then(|parts| parts.try_recv().ok());
        } else {
            self.peek();
        }
        match self.next.take() {
            Some(Ok(Next::Part(part))) => Some(part),
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

    /// Says that the tables hold the parts up to this one.
    pub(in crate::projection) fn stored(&self, part: &Part) {
        self.stored.store(part.number, Ordering::Release);
    }

    /// Waits for the thread. If it panicked, so does this one: nobody would fold any more.
    fn end(&mut self) {
        self.orders = None;
        self.parts = None;
        if let Some(Err(panic)) = self.thread.take().map(JoinHandle::join)
            && !std::thread::panicking()
        {
            std::panic::resume_unwind(panic);
        }
    }
}

/// Whether a part is waited for.
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
                let is_last = !matches!(next, Ok(Next::Part(_)));
                if parts.send(next).is_err() || is_last {
                    return;
                }
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
        // Read before the tables are: what is said to be there can be seen.
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
