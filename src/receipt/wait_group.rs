//! Wait groups: callers that wait for the same commit, and wake each other.
//!
//! Callers whose events are committed together wait in one group, and are woken together. If the writer woke each of
//! many callers itself, that would take more time than writing their events.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

/// Number of wait groups, which are used in turn. A group may be used again before all its earlier callers were
/// answered. These are then woken too early, find no answer, and wait again.
const GROUPS: usize = 16;

/// Number of callers that the writer wakes itself. Each woken caller wakes the next.
const WOKEN_BY_THE_WRITER: usize = 2;

/// The callers that wait in a group.
#[derive(Default)]
struct Waiting {
    count: usize,
    /// Number of callers that waited at the last opening of the group and were not woken yet.
    to_wake: usize,
    /// Number of openings so far.
    openings: u64,
}

#[derive(Default)]
struct WaitGroup {
    waiting: Mutex<Waiting>,
    opened: Condvar,
}

impl WaitGroup {
    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        // No change below calls anything that can panic, so the numbers are right even if the lock is poisoned.
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn open(&self) {
        // The answer was sent before this call. A caller that did not find it under this lock is waiting by now, and is
        // counted. A caller that takes the lock later finds the answer.
        let mut waiting = self.waiting();
        waiting.openings = waiting.openings.wrapping_add(1);
        waiting.to_wake = waiting.count;
        let first = waiting.count.min(WOKEN_BY_THE_WRITER);
        drop(waiting);
        // Notified without the lock, so that a woken caller does not have to wait for the lock.
        (0..first).for_each(|_| self.opened.notify_one());
    }
}

/// The wait groups of one queue.
#[derive(Default)]
pub(crate) struct WaitGroups {
    groups: [WaitGroup; GROUPS],
    /// Number of the group that callers join now, modulo [`GROUPS`].
    current: AtomicUsize,
}

impl WaitGroups {
    /// Makes the next group current: callers that join from now on do not wait with the earlier ones.
    pub(crate) fn next(&self) {
        // Relaxed is enough: an answer opens the group that its own member names, so the order decides only which
        // callers are woken together.
        self.current.fetch_add(1, Ordering::Relaxed);
    }

    /// Adds a caller to the current group. Called before its event is sent.
    pub(crate) fn join(groups: &Arc<WaitGroups>) -> Member {
        Member { number: groups.current.load(Ordering::Relaxed) % GROUPS, groups: groups.clone() }
    }
}

/// A caller that waits in a wait group.
#[derive(Clone)]
pub(crate) struct Member {
    groups: Arc<WaitGroups>,
    number: usize,
}

impl Member {
    fn group(&self) -> Option<&WaitGroup> {
        self.groups.groups.get(self.number)
    }

    /// Blocks until `look` returns a value. `look` is called again whenever the group is opened.
    pub(crate) fn wait_for<T>(&self, mut look: impl FnMut() -> Option<T>) -> Option<T> {
        let found = look();
        let Some(group) = self.group().filter(|_| found.is_none()) else { return found };
        // From here on `look` runs under the lock, which the wait releases. If `look` misses an answer, the opening of
        // that answer comes later, and finds this caller counted.
        let mut waiting = group.waiting();
        loop {
            if let Some(found) = look() {
                return Some(found);
            }
            waiting.count += 1;
            let since = waiting.openings;
            waiting = group.opened.wait(waiting).unwrap_or_else(PoisonError::into_inner);
            waiting.count -= 1;
            // Only an opening since this wait began makes this caller one of those to be woken.
            let was_opened = waiting.openings != since;
            waiting.to_wake = waiting.to_wake.saturating_sub(usize::from(was_opened));
            // Each woken caller wakes another, so that callers that the writer does not wake itself are also woken.
            match (waiting.to_wake, was_opened) {
                (0, _) => {}
                (_, true) => group.opened.notify_one(),
                // The notice was for a caller that was waiting before the opening. The condition variable cannot select
                // that caller, so all are woken.
                (_, false) => group.opened.notify_all(),
            }
        }
    }
}

/// Opens a wait group when it is dropped. So callers are woken even if the thread ends without an answer.
pub(crate) struct Wake(Option<Member>);

impl Wake {
    pub(crate) fn to(member: Option<Member>) -> Wake {
        Wake(member)
    }
}

impl Drop for Wake {
    fn drop(&mut self) {
        if let Some(group) = self.0.as_ref().and_then(Member::group) {
            group.open();
        }
    }
}

/// The wakes of a batch. When they are dropped, each group is opened once.
#[derive(Default)]
pub(crate) struct Wakes(Vec<Wake>);

impl Wakes {
    pub(crate) fn add(&mut self, mut wake: Wake) {
        let is_new = |member: &Member| {
            !self.0.iter().flat_map(|wake| &wake.0).any(|known| known.number == member.number)
        };
        if wake.0.as_ref().is_some_and(is_new) {
            self.0.push(wake);
        } else {
            // The group is opened by an earlier wake; this one opens nothing when it is dropped.
            wake.0 = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::AtomicBool;
    use std::time::Duration;

    #[test]
    fn all_callers_of_a_group_are_woken_together_and_none_before() {
        let groups = Arc::new(WaitGroups::default());
        let (answered, woken) = (AtomicBool::new(false), AtomicUsize::new(0));
        let wait = |member: Member| {
            member.wait_for(|| answered.load(Ordering::SeqCst).then_some(()));
            woken.fetch_add(1, Ordering::SeqCst);
        };
        std::thread::scope(|scope| {
            for _ in 0..8 {
                let member = WaitGroups::join(&groups);
                scope.spawn(|| wait(member));
            }
            while groups.groups[0].waiting().count < 8 {
                std::thread::sleep(Duration::from_millis(1));
            }
            drop(Wake::to(Some(WaitGroups::join(&groups))));
            assert_eq!(woken.load(Ordering::SeqCst), 0);
            answered.store(true, Ordering::SeqCst);
            let mut wakes = Wakes::default();
            (0..8).for_each(|_| wakes.add(Wake::to(Some(WaitGroups::join(&groups)))));
            assert_eq!(wakes.0.len(), 1);
        });
        assert_eq!(woken.into_inner(), 8);
    }

    #[test]
    fn a_caller_that_comes_after_next_waits_in_another_group() {
        let groups = Arc::new(WaitGroups::default());
        let before = WaitGroups::join(&groups);
        groups.next();
        assert_ne!(before.number, WaitGroups::join(&groups).number);
    }

    #[test]
    fn every_caller_is_woken_however_batches_and_waits_overlap() {
        const ROUNDS: usize = 3_000;
        let groups = Arc::new(WaitGroups::default());
        let (sender, receiver) = crossbeam_channel::bounded::<(Arc<AtomicBool>, Wake)>(64);
        std::thread::scope(|scope| {
            for _ in 0..12 {
                let (sender, groups) = (sender.clone(), &groups);
                scope.spawn(move || {
                    for _ in 0..ROUNDS {
                        let answered = Arc::new(AtomicBool::new(false));
                        let member = WaitGroups::join(groups);
                        sender.send((answered.clone(), Wake::to(Some(member.clone())))).unwrap();
                        member.wait_for(|| answered.load(Ordering::SeqCst).then_some(()));
                    }
                });
            }
            drop(sender);
            while let Ok(first) = receiver.recv() {
                groups.next();
                let mut wakes = Wakes::default();
                // Only some of the messages are answered, so that a group is also opened too early for some of its
                // callers.
                for (answered, wake) in std::iter::once(first).chain(receiver.try_iter().take(4)) {
                    answered.store(true, Ordering::SeqCst);
                    wakes.add(wake);
                }
            }
        });
    }
}
