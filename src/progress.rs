//! How far the writer and the projections are: what one thread sets and the others wait for.

use std::collections::BTreeMap;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use std::time::Instant;

use tokio::sync::Notify;

use crate::event::Seq;

/// Where a projection of this process is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) position: Seq,
    /// Whether its tables are, or include, a full-text index.
    pub(crate) has_index: bool,
    /// Why it will not go on by itself.
    pub(crate) stopped: Option<Arc<str>>,
    /// Why it did not get on the last time it tried; it tries again.
    pub(crate) trouble: Option<Arc<str>>,
}

/// Which read tables somebody waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Awaited {
    ByNobody,
    /// All but the full-text index.
    Tables,
    All,
}

#[derive(Default)]
struct State {
    committed: Seq,
    projections: BTreeMap<&'static str, Place>,
    /// Why the writer cannot append now.
    poisoned: Option<Arc<str>>,
    /// Events refused since the process began.
    refused: u64,
    /// Why the projections' thread is gone.
    worker_gone: Option<Arc<str>>,
}

/// Shared by the handle, the writer and the projections.
#[derive(Default)]
pub(crate) struct Progress {
    state: Mutex<State>,
    changed: Condvar,
    /// As `changed`, for those who wait without blocking a thread.
    told: Notify,
    /// How many wait for all of the read tables.
    waiting_for_all: AtomicUsize,
    /// How many wait for all but the full-text index.
    waiting_for_tables: AtomicUsize,
    /// Who wants to hear of commits.
    commits: OnceLock<CommitObserver>,
}

/// Is told of the events of a commit, and how long it took.
type CommitObserver = Box<dyn Fn(usize, Duration) + Send + Sync>;

/// Read tables that do not hold what was waited for.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CatchUpError {
    /// A projection stopped at an event that it cannot apply.
    #[error(
        "the projection `{projection}` stopped after event {position}: {reason}; retry or skip it by name"
    )]
    Stopped {
        /// Its name.
        projection: &'static str,
        /// The last event that it holds.
        position: Seq,
        /// Why it stopped.
        reason: Arc<str>,
    },
    /// The projections' thread is gone.
    #[error("the projections' thread ended: {0}; open the log again")]
    Gone(Arc<str>),
    /// This handle was opened without projections.
    #[error("the log was opened without projections")]
    Off,
    /// The time given is over.
    #[error("the read tables are behind: `{projection}` is at event {position}{}", trouble.as_deref().map(|trouble| format!(" ({trouble})")).unwrap_or_default())]
    TimedOut {
        /// The projection that is furthest behind.
        projection: &'static str,
        /// The last event that it holds.
        position: Seq,
        /// What holds it up.
        trouble: Option<Arc<str>>,
    },
}

/// Which read tables somebody waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tables {
    All,
    AllButIndex,
}

impl Tables {
    fn include(self, place: &Place) -> bool {
        self == Tables::All || !place.has_index
    }
}

/// Somebody who waits for the read tables.
pub(crate) struct Waiting<'a>(&'a AtomicUsize);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Progress {
    fn state(&self) -> MutexGuard<'_, State> {
        // Each change below is complete before anything can panic.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.state());
        self.changed.notify_all();
        self.told.notify_waiters();
    }

    /// Waits until `find` finds what it looks for; it looks again whenever something has changed.
    pub(crate) async fn find<T>(&self, mut find: impl FnMut(&Progress) -> Option<T>) -> T {
        loop {
            let mut told = std::pin::pin!(self.told.notified());
            // From here on no change is missed.
            told.as_mut().enable();
            if let Some(found) = find(self) {
                return found;
            }
            told.await;
        }
    }

    pub(crate) fn committed(&self) -> Seq {
        self.state().committed
    }

    pub(crate) fn set_committed(&self, seq: Seq) {
        self.change(|state| state.committed = state.committed.max(seq));
    }

    /// Has `observer` told of every commit from now on, unless somebody is told already.
    pub(crate) fn observe_commits(&self, observer: CommitObserver) {
        let _ = self.commits.set(observer);
    }

    /// Tells of a commit.
    pub(crate) fn tell_commit(&self, events: usize, took: Duration) {
        if let Some(observer) = self.commits.get() {
            observer(events, took);
        }
    }

    pub(crate) fn poisoned(&self) -> Option<Arc<str>> {
        self.state().poisoned.clone()
    }

    pub(crate) fn set_poisoned(&self, reason: Option<Arc<str>>) {
        self.change(|state| state.poisoned = reason);
    }

    pub(crate) fn refused(&self) -> u64 {
        self.state().refused
    }

    pub(crate) fn add_refused(&self, events: u64) {
        self.change(|state| state.refused += events);
    }

    pub(crate) fn set_place(&self, projection: &'static str, place: Place) {
        self.change(|state| {
            state.projections.insert(projection, place);
        });
    }

    /// Where every projection of this process is.
    pub(crate) fn places(&self) -> Vec<(&'static str, Place)> {
        self.state().projections.iter().map(|(name, place)| (*name, place.clone())).collect()
    }

    /// Why the projections' thread is gone, if it is.
    pub(crate) fn worker_gone(&self) -> Option<Arc<str>> {
        self.state().worker_gone.clone()
    }

    pub(crate) fn set_worker_gone(&self, reason: Arc<str>) {
        self.change(|state| state.worker_gone = Some(reason));
    }

    /// Whether every projection holds the events up to `seq` now; where they do not yet, the error is that
    /// the time is over.
    pub(crate) fn look_projected(&self, seq: Seq) -> Result<(), CatchUpError> {
        self.wait_projected(Tables::All, seq, Some(Instant::now()))
    }

    /// What is waited for now.
    pub(crate) fn awaited(&self) -> Awaited {
        let is_any = |waiting: &AtomicUsize| waiting.load(Ordering::Relaxed) > 0;
        match (is_any(&self.waiting_for_all), is_any(&self.waiting_for_tables)) {
            (true, _) => Awaited::All,
            (false, true) => Awaited::Tables,
            (false, false) => Awaited::ByNobody,
        }
    }

    /// Says that the caller waits for read tables, until what this returns is dropped.
    pub(crate) fn waiting(&self, tables: Tables) -> Waiting<'_> {
        let waiting = match tables {
            Tables::All => &self.waiting_for_all,
            Tables::AllButIndex => &self.waiting_for_tables,
        };
        waiting.fetch_add(1, Ordering::Relaxed);
        Waiting(waiting)
    }

    /// Waits until these tables hold the events up to `seq`.
    pub(crate) fn wait_projected(
        &self,
        tables: Tables,
        seq: Seq,
        deadline: Option<Instant>,
    ) -> Result<(), CatchUpError> {
        let _waiting = self.waiting(tables);
        let mut state = self.state();
        loop {
            if state.projections.is_empty() {
                return Err(CatchUpError::Off);
            }
            let behind =
                state.projections.iter().filter(|(_, place)| tables.include(place) && place.position < seq);
            let stopped = behind.clone().find_map(|(name, place)| {
                let reason = place.stopped.clone()?;
                Some(CatchUpError::Stopped { projection: name, position: place.position, reason })
            });
            // A stopped projection does not stop the others: what is waited for is theirs first.
            let Some((name, place)) = behind
                .clone()
                .filter(|(_, place)| place.stopped.is_none())
                .min_by_key(|(_, place)| place.position)
            else {
                return stopped.map_or(Ok(()), Err);
            };
            if let Some(reason) = &state.worker_gone {
                return Err(CatchUpError::Gone(reason.clone()));
            }
            let wait = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
            state = match wait {
                None => self.changed.wait(state).unwrap_or_else(PoisonError::into_inner),
                Some(wait) if wait.is_zero() => {
                    return Err(CatchUpError::TimedOut {
                        projection: name,
                        position: place.position,
                        trouble: place.trouble.clone(),
                    });
                }
                Some(wait) => {
                    self.changed.wait_timeout(state, wait).unwrap_or_else(PoisonError::into_inner).0
                }
            };
        }
    }
}
