//! A model check of `src/receipt/gate.rs`, as it is: nobody is left asleep.
//!
//! The file is compiled here with loom's locks in the place of the standard library's, by a crate that calls
//! itself `std`. Loom then runs each of the models below once for every order in which its threads can take
//! their steps, within the bounds that stand there, and reports one in which a thread waits forever.
//!
//! The queue is not checked so: its channel is crossbeam's and its notices are Tokio's, which loom cannot see
//! into. Neither are the turns at writing: what they wait for is a file lock too.

extern crate self as std;
extern crate std as real_std;

/// What the file under test takes from `std::sync`.
pub mod sync {
    pub use loom::sync::{Arc, Condvar, Mutex, MutexGuard, atomic};
    pub use real_std::sync::PoisonError;
}

#[allow(dead_code, unused_imports, reason = "the models use a part of it")]
#[path = "../../../src/receipt/gate.rs"]
mod gate;

mod writer {
    use loom::sync::Arc;
    use loom::sync::atomic::{AtomicBool, Ordering};
    use loom::thread;

    use crate::gate::{Call, Calls, Gates, Pass};

    /// A caller's answer, and the call that wakes the caller.
    struct Asked {
        answered: Arc<AtomicBool>,
        call: Call,
    }

    /// A caller asks, and waits on a thread of its own.
    fn ask(gates: &Arc<Gates>) -> (Asked, thread::JoinHandle<()>) {
        let pass = Gates::pass(gates);
        let answered = Arc::new(AtomicBool::new(false));
        let asked = Asked { answered: answered.clone(), call: Call::to(Some(pass.clone())) };
        (asked, thread::spawn(move || wait(&pass, &answered)))
    }

    fn wait(pass: &Pass, answered: &AtomicBool) {
        pass.wait_for(|| answered.load(Ordering::SeqCst).then_some(()));
    }

    /// The writer answers those of a batch, and wakes them when it is done.
    fn answer(batch: Vec<Asked>) {
        let mut calls = Calls::default();
        for Asked { answered, call } in batch {
            answered.store(true, Ordering::SeqCst);
            calls.add(call);
        }
    }

    /// Callers whose events are committed together.
    pub(crate) fn one_batch(callers: usize) {
        let gates = Arc::new(Gates::default());
        let (batch, waiting): (Vec<_>, Vec<_>) = (0..callers).map(|_| ask(&gates)).unzip();
        gates.turn();
        answer(batch);
        waiting.into_iter().for_each(|caller| caller.join().unwrap());
    }

    /// Callers at one gate of whom some are answered with a later batch: they are woken, look, and wait on.
    pub(crate) fn two_batches(first: usize, second: usize) {
        let gates = Arc::new(Gates::default());
        let (mut batch, waiting): (Vec<_>, Vec<_>) = (0..first + second).map(|_| ask(&gates)).unzip();
        let later = batch.split_off(first);
        answer(batch);
        answer(later);
        waiting.into_iter().for_each(|caller| caller.join().unwrap());
    }

    /// A writer that ends without an answer: what it drops wakes the callers.
    pub(crate) fn answers_that_are_dropped() {
        let gates = Arc::new(Gates::default());
        let (asked, waiting) = ask(&gates);
        asked.answered.store(true, Ordering::SeqCst);
        drop(asked.call);
        waiting.join().unwrap();
    }
}

fn main() {
    // With more than one caller every order is too many: those are tried in which so many threads are stopped in
    // the middle of what they do.
    let models: [(&str, Option<usize>, fn()); 5] = [
        ("one caller", None, || writer::one_batch(1)),
        ("an answer that is dropped", None, writer::answers_that_are_dropped),
        ("two callers of one batch", Some(3), || writer::one_batch(2)),
        ("two callers of two batches", Some(3), || writer::two_batches(1, 1)),
        ("three callers of one batch", Some(2), || writer::one_batch(3)),
    ];
    for (name, stops, model) in models {
        let runs = real_std::sync::Arc::new(real_std::sync::atomic::AtomicU64::new(0));
        let counted = runs.clone();
        let mut builder = loom::model::Builder::new();
        builder.preemption_bound = stops;
        builder.check(move || {
            counted.fetch_add(1, real_std::sync::atomic::Ordering::Relaxed);
            model();
        });
        println!("{name}: {} orders", runs.load(real_std::sync::atomic::Ordering::Relaxed));
    }
}
