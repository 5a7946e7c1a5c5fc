//! Progress of the writer and the projections: one thread sets it, the others wait for it.

use std::collections::BTreeMap;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use std::time::Instant;

use tokio::sync::Notify;

use crate::event::Seq;

/// Status of a projection of this process.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct ProjectionProgress {
    pub(crate) position: Seq,
    /// True if its tables are, or include, a full-text index.
    pub(crate) has_index: bool,
    /// The reason why it does not go on by itself.
    pub(crate) stopped: Option<Arc<str>>,
    /// The last error of the projection, which tries again.
    pub(crate) last_error: Option<Arc<str>>,
}

/// The read tables that somebody waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Awaited {
    ByNobody,
    /// All except the full-text index.
    Tables,
    All,
}

#[derive(Default)]
struct State {
    committed: Seq,
    projections: BTreeMap<&'static str, ProjectionProgress>,
    /// The reason why the writer cannot append now.
    poisoned: Option<Arc<str>>,
    /// Events refused since the process began.
    refused: u64,
    /// The reason why the projections' thread ended.
    worker_gone: Option<Arc<str>>,
}

/// State that the handle, the writer and the projections share.
#[derive(Default)]
pub(crate) struct Progress {
    state: Mutex<State>,
    changed: Condvar,
    /// As `changed`, for tasks that wait without blocking a thread.
    told: Notify,
    /// Number of callers that wait for all read tables.
    waiting_for_all: AtomicUsize,
    /// Number of callers that wait for all except the full-text index.
    waiting_for_tables: AtomicUsize,
    /// The observer of commits, set at most once.
    commits: OnceLock<CommitObserver>,
}

/// Called after each commit with the number of its events, and the time that it took.
type CommitObserver = Box<dyn Fn(usize, Duration) + Send + Sync>;

/// Read tables that lack the events that were waited for.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CatchUpError {
    /// A projection stopped at an event that it cannot apply.
    #[error(
        "the projection `{projection}` stopped after event {position}: {reason}; retry it, or skip its failing event"
    )]
    Stopped {
        /// Its name.
        projection: &'static str,
        /// The last event that it holds.
        position: Seq,
        /// Why it stopped.
        reason: Arc<str>,
    },
    /// The projections' thread ended.
    #[error("the projections' thread ended: {0}; open the log again")]
    Gone(Arc<str>),
    /// This handle was opened without projections.
    #[error("the log was opened without projections")]
    Off,
    /// The deadline passed.
    #[error("the read tables are behind: `{projection}` is at event {position}{}", last_error.as_deref().map(|last_error| format!(" ({last_error})")).unwrap_or_default())]
    TimedOut {
        /// The projection that is furthest behind.
        projection: &'static str,
        /// The last event that it holds.
        position: Seq,
        /// The last error of the projection.
        last_error: Option<Arc<str>>,
    },
}

/// The read tables to wait for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tables {
    All,
    AllButIndex,
}

impl Tables {
    fn include(self, place: &ProjectionProgress) -> bool {
        self == Tables::All || !place.has_index
    }
}

/// A caller that waits for read tables. Dropping it ends the wait.
pub(crate) struct Waiting<'a>(&'a AtomicUsize);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Progress {
    fn state(&self) -> MutexGuard<'_, State> {
        // Each change is complete before anything can panic, so the lock guards whole values even if it is poisoned.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        // The guard lives for this line only: threads are woken without the lock held.
        change(&mut self.state());
        self.changed.notify_all();
        self.told.notify_waiters();
    }

    /// Waits until `find` returns a value. It is called again after every change.
    pub(crate) async fn find<T>(&self, mut find: impl FnMut(&Progress) -> Option<T>) -> T {
        loop {
            let mut told = std::pin::pin!(self.told.notified());
            // From here on no change is missed: the future is registered before `find` reads the state.
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

    /// Sets the observer of all commits from now on. A second observer is ignored.
    pub(crate) fn observe_commits(&self, observer: CommitObserver) {
        let _ = self.commits.set(observer);
    }

    /// Reports a commit to the observer.
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

    pub(crate) fn set_projection(&self, projection: &'static str, place: ProjectionProgress) {
        self.change(|state| {
            state.projections.insert(projection, place);
        });
    }

    /// The status of every projection of this process.
    pub(crate) fn projections(&self) -> Vec<(&'static str, ProjectionProgress)> {
        self.state().projections.iter().map(|(name, projection)| (*name, projection.clone())).collect()
    }

    /// The reason why the projections' thread ended, if it did.
    pub(crate) fn worker_gone(&self) -> Option<Arc<str>> {
        self.state().worker_gone.clone()
    }

    pub(crate) fn set_worker_gone(&self, reason: Arc<str>) {
        self.change(|state| state.worker_gone = Some(reason));
    }

    /// Checks that every projection holds the events up to `seq` now. The error of a projection that is only behind is
    /// [`CatchUpError::TimedOut`].
    pub(crate) fn look_projected(&self, seq: Seq) -> Result<(), CatchUpError> {
        self.wait_projected(Tables::All, seq, Some(Instant::now()))
    }

    /// Waits until every projection holds the events up to `seq`, without blocking a thread.
    pub(crate) async fn find_projected(&self, seq: Seq) -> Result<(), CatchUpError> {
        // Counted until the end: projections pause less while somebody waits.
        let _waiting = self.waiting(Tables::All);
        self.find(|progress| match progress.look_projected(seq) {
            // The look does not wait: this error means not yet.
            Err(CatchUpError::TimedOut { .. }) => None,
            result => Some(result),
        })
        .await
    }

    /// The read tables that somebody waits for now.
    pub(crate) fn awaited(&self) -> Awaited {
        // Relaxed is enough: the counters guard no data, they only choose how long projections pause.
        let is_any = |waiting: &AtomicUsize| waiting.load(Ordering::Relaxed) > 0;
        // Whoever waits for all tables also waits for those without an index.
        match (is_any(&self.waiting_for_all), is_any(&self.waiting_for_tables)) {
            (true, _) => Awaited::All,
            (false, true) => Awaited::Tables,
            (false, false) => Awaited::ByNobody,
        }
    }

    /// Counts the caller as waiting for read tables, until the returned value is dropped.
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
        // Counted until the return: projections pause less while somebody waits.
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
            // A stopped projection does not stop the others: their events are waited for first.
            let Some((name, place)) = behind
                .clone()
                .filter(|(_, place)| place.stopped.is_none())
                // The projection that is furthest behind is named if the time runs out.
                .min_by_key(|(_, place)| place.position)
            else {
                // All others have the events: only stopped projections, if any, are still behind.
                return stopped.map_or(Ok(()), Err);
            };
            // Asked after the positions: what the thread wrote before it ended counts.
            if let Some(reason) = &state.worker_gone {
                return Err(CatchUpError::Gone(reason.clone()));
            }
            let wait = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
            // Every change wakes all waiters, and the lock is released only while this thread waits: no change is
            // missed.
            state = match wait {
                None => self.changed.wait(state).unwrap_or_else(PoisonError::into_inner),
                Some(wait) if wait.is_zero() => {
                    return Err(CatchUpError::TimedOut {
                        projection: name,
                        position: place.position,
                        last_error: place.last_error.clone(),
                    });
                }
                Some(wait) => {
                    self.changed.wait_timeout(state, wait).unwrap_or_else(PoisonError::into_inner).0
                }
            };
        }
    }
}
