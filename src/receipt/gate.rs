//! Where callers wait for the writer.
//!
//! Those whose events are committed together wait at one gate and are woken by one call. Woken one by
//! one, each of many producers costs the writer more than its row does.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

/// Gates there are. Those who wait at one that comes round again before they were answered are woken
/// with the others, look, and wait on.
const GATES: usize = 16;

/// Of those who wait, how many the writer wakes itself. Each of them wakes the next.
const WOKEN_BY_THE_WRITER: usize = 2;

/// Who waits at a gate.
#[derive(Default)]
struct Waiting {
    count: usize,
    /// Of them, those who were there when the gate was opened last, and are still to be woken.
    to_wake: usize,
    /// How often it was opened.
    openings: u64,
}

#[derive(Default)]
struct Gate {
    waiting: Mutex<Waiting>,
    opened: Condvar,
}

impl Gate {
    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        // The numbers are changed without calling anything that can panic.
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn open(&self) {
        // Who looked before this lock waits by now, and who looks after it sees the answer.
        let mut waiting = self.waiting();
        waiting.openings = waiting.openings.wrapping_add(1);
        waiting.to_wake = waiting.count;
        let first = waiting.count.min(WOKEN_BY_THE_WRITER);
        drop(waiting);
        (0..first).for_each(|_| self.opened.notify_one());
    }
}

/// The gates of one queue.
#[derive(Default)]
pub(crate) struct Gates {
    gates: [Gate; GATES],
    /// Where those wait who come now.
    current: AtomicUsize,
}

impl Gates {
    /// Has those who come from now on wait apart from those who are there.
    pub(crate) fn turn(&self) {
        self.current.fetch_add(1, Ordering::Relaxed);
    }

    /// A place to wait at, for somebody who sends something now.
    pub(crate) fn pass(gates: &Arc<Gates>) -> Pass {
        Pass { number: gates.current.load(Ordering::Relaxed) % GATES, gates: gates.clone() }
    }
}

/// A place at a gate.
#[derive(Clone)]
pub(crate) struct Pass {
    gates: Arc<Gates>,
    number: usize,
}

impl Pass {
    fn gate(&self) -> Option<&Gate> {
        self.gates.gates.get(self.number)
    }

    /// Blocks until `look` finds something. It is called again whenever the gate opens.
    pub(crate) fn wait_for<T>(&self, mut look: impl FnMut() -> Option<T>) -> Option<T> {
        let found = look();
        let Some(gate) = self.gate().filter(|_| found.is_none()) else { return found };
        let mut waiting = gate.waiting();
        loop {
            if let Some(found) = look() {
                return Some(found);
            }
            waiting.count += 1;
            let since = waiting.openings;
            waiting = gate.opened.wait(waiting).unwrap_or_else(PoisonError::into_inner);
            waiting.count -= 1;
            let was_opened = waiting.openings != since;
            waiting.to_wake = waiting.to_wake.saturating_sub(usize::from(was_opened));
            match (waiting.to_wake, was_opened) {
                (0, _) => {}
                (_, true) => gate.opened.notify_one(),
                // The call was for somebody who has waited for longer, and who that is the system does not
                // say.
                (_, false) => gate.opened.notify_all(),
            }
        }
    }
}

/// Opens a gate when it is dropped: whoever answers, or ends without an answer, leaves nobody asleep.
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

/// The calls of a batch: each gate is opened once, when this is dropped.
#[derive(Default)]
pub(crate) struct Calls(Vec<Call>);

impl Calls {
    pub(crate) fn add(&mut self, mut call: Call) {
        let is_new = |pass: &Pass| !self.0.iter().flat_map(|call| &call.0).any(|it| it.number == pass.number);
        if call.0.as_ref().is_some_and(is_new) {
            self.0.push(call);
        } else {
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
                // Not all of those that are there: some wait at a gate that opens too early for them.
                for (answered, call) in std::iter::once(first).chain(receiver.try_iter().take(4)) {
                    answered.store(true, Ordering::SeqCst);
                    calls.add(call);
                }
            }
        });
    }
}
