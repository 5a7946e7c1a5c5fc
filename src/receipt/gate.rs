//! Wait groups, in which callers wait for the writer.
//!
//! Callers whose events are committed together wait in one group and are woken by one call. To wake each of many
//! producers by itself costs the writer more than to write its row.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

/// Number of wait groups, which are used in turn. If a group is used again before its callers were answered, they are
/// woken with the others, look, and wait on.
const GATES: usize = 16;

/// Waiting callers that the writer wakes itself. Each of them wakes the next.
const WOKEN_BY_THE_WRITER: usize = 2;

/// The callers that wait in a group.
#[derive(Default)]
struct Waiting {
    count: usize,
    /// Those of them that were there when the group was opened last, and are still to be woken.
    to_wake: usize,
    /// Number of openings so far.
    openings: u64,
}

#[derive(Default)]
struct Gate {
    waiting: Mutex<Waiting>,
    opened: Condvar,
}

impl Gate {
    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        // No change below calls anything that can panic, so the numbers are right even if the lock is poisoned.
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn open(&self) {
        // A caller that looked before this lock waits by now. One that looks after it sees the answer.
        let mut waiting = self.waiting();
        waiting.openings = waiting.openings.wrapping_add(1);
        waiting.to_wake = waiting.count;
        let first = waiting.count.min(WOKEN_BY_THE_WRITER);
        drop(waiting);
        // Without the lock, so that a caller that is woken does not have to wait for it.
        (0..first).for_each(|_| self.opened.notify_one());
    }
}

/// The wait groups of one queue.
#[derive(Default)]
pub(crate) struct Gates {
    gates: [Gate; GATES],
    /// Number of the group for callers that come now, modulo [`GATES`].
    current: AtomicUsize,
}

impl Gates {
    /// Lets callers that come from now on wait apart from those that are there.
    pub(crate) fn turn(&self) {
        // Relaxed is enough: an answer opens the group that its own pass names, so the order decides only which
        // callers are woken together.
        self.current.fetch_add(1, Ordering::Relaxed);
    }

    /// A place in the current group, for a caller that sends something now.
    pub(crate) fn pass(gates: &Arc<Gates>) -> Pass {
        Pass { number: gates.current.load(Ordering::Relaxed) % GATES, gates: gates.clone() }
    }
}

/// A caller's place in a wait group.
#[derive(Clone)]
pub(crate) struct Pass {
    gates: Arc<Gates>,
    number: usize,
}

impl Pass {
    fn gate(&self) -> Option<&Gate> {
        self.gates.gates.get(self.number)
    }

    /// Blocks until `look` finds something. It is called again whenever the group is opened.
    pub(crate) fn wait_for<T>(&self, mut look: impl FnMut() -> Option<T>) -> Option<T> {
        let found = look();
        let Some(gate) = self.gate().filter(|_| found.is_none()) else { return found };
        // From here on `look` runs under the lock. An answer that it does not see comes with an opening that finds
        // this caller counted.
        let mut waiting = gate.waiting();
        loop {
            if let Some(found) = look() {
                return Some(found);
            }
            waiting.count += 1;
            let since = waiting.openings;
            waiting = gate.opened.wait(waiting).unwrap_or_else(PoisonError::into_inner);
            waiting.count -= 1;
            // Only an opening since this wait began makes this caller one of those to be woken.
            let was_opened = waiting.openings != since;
            waiting.to_wake = waiting.to_wake.saturating_sub(usize::from(was_opened));
            // Each caller that is woken passes the notice on, so one that the writer did not wake itself is still
            // reached.
            match (waiting.to_wake, was_opened) {
                (0, _) => {}
                (_, true) => gate.opened.notify_one(),
                // The notice was for a caller that has waited for longer. The system does not report which one that
                // is, so all are woken.
                (_, false) => gate.opened.notify_all(),
            }
        }
    }
}

/// Opens a wait group when it is dropped. A thread that answers, or ends without an answer, leaves nobody asleep.
pub(crate) struct Call(Option<Pass>);

impl Call {
    pub(crate) fn to(pass: Option<Pass>) -> Call {
        Call(pass)
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        if let Some(gate) = self.0.as_ref().and_then(Pass::gate) {
            gate.open();
        }
    }
}

/// The calls of a batch. Each group is opened once, when this is dropped.
#[derive(Default)]
pub(crate) struct Calls(Vec<Call>);

impl Calls {
    pub(crate) fn add(&mut self, mut call: Call) {
        let is_new = |pass: &Pass| !self.0.iter().flat_map(|call| &call.0).any(|it| it.number == pass.number);
        if call.0.as_ref().is_some_and(is_new) {
            self.0.push(call);
        } else {
            // The group is opened by an earlier call; this one opens nothing when it is dropped.
            call.0 = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::AtomicBool;
    use std::time::Duration;

    #[test]
    fn everybody_at_a_gate_is_woken_by_one_call_and_nobody_before_it() {
        let gates = Arc::new(Gates::default());
        let (answered, woken) = (AtomicBool::new(false), AtomicUsize::new(0));
        let wait = |pass: Pass| {
            pass.wait_for(|| answered.load(Ordering::SeqCst).then_some(()));
            woken.fetch_add(1, Ordering::SeqCst);
        };
        std::thread::scope(|scope| {
            for _ in 0..8 {
                let pass = Gates::pass(&gates);
                scope.spawn(|| wait(pass));
            }
            while gates.gates[0].waiting().count < 8 {
                std::thread::sleep(Duration::from_millis(1));
            }
            drop(Call::to(Some(Gates::pass(&gates))));
            assert_eq!(woken.load(Ordering::SeqCst), 0);
            answered.store(true, Ordering::SeqCst);
            let mut calls = Calls::default();
            (0..8).for_each(|_| calls.add(Call::to(Some(Gates::pass(&gates)))));
            assert_eq!(calls.0.len(), 1);
        });
        assert_eq!(woken.into_inner(), 8);
    }

    #[test]
    fn who_comes_after_a_turn_waits_at_another_gate() {
        let gates = Arc::new(Gates::default());
        let before = Gates::pass(&gates);
        gates.turn();
        assert_ne!(before.number, Gates::pass(&gates).number);
    }

    #[test]
    fn nobody_is_left_asleep_however_batches_and_those_who_wait_overlap() {
        const ROUNDS: usize = 3_000;
        let gates = Arc::new(Gates::default());
        let (sender, receiver) = crossbeam_channel::bounded::<(Arc<AtomicBool>, Call)>(64);
        std::thread::scope(|scope| {
            for _ in 0..12 {
                let (sender, gates) = (sender.clone(), &gates);
                scope.spawn(move || {
                    for _ in 0..ROUNDS {
                        let answered = Arc::new(AtomicBool::new(false));
                        let pass = Gates::pass(gates);
                        sender.send((answered.clone(), Call::to(Some(pass.clone())))).unwrap();
                        pass.wait_for(|| answered.load(Ordering::SeqCst).then_some(()));
                    }
                });
            }
            drop(sender);
            while let Ok(first) = receiver.recv() {
                gates.turn();
                let mut calls = Calls::default();
                // Not all that are there: some callers wait in a group that is opened too early for them.
                for (answered, call) in std::iter::once(first).chain(receiver.try_iter().take(4)) {
                    answered.store(true, Ordering::SeqCst);
                    calls.add(call);
                }
            }
        });
    }
}
