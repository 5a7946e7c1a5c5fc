//! A model check of `src/receipt/wait_group.rs`, as it is: nobody is left asleep.
//!
//! The file is compiled here with loom's locks in the place of the standard library's, by a crate that calls
//! itself `std`. Loom then runs each of the models below once for every order in which its threads can take
//! their steps, within the bounds that stand there, and reports one in which a thread waits forever.
//!
//! The queue is not checked so: its channel is crossbeam's and its notices are Tokio's, which loom cannot see
//! into. Nor is the write lock: it waits for a file lock too.

extern crate self as std;
extern crate std as real_std;

/// What the file under test takes from `std::sync`.
pub mod sync {
    pub use loom::sync::{Arc, Condvar, Mutex, MutexGuard, atomic};
    pub use real_std::sync::PoisonError;
}

#[allow(dead_code, unused_imports, reason = "the models use a part of it")]
#[path = "../../../src/receipt/wait_group.rs"]
mod wait_group;

mod writer {
    use loom::sync::Arc;
    use loom::sync::atomic::{AtomicBool, Ordering};
    use loom::thread;

    use crate::wait_group::{Member, WaitGroups, Wake, Wakes};

    /// A caller's answer, and the wake that wakes the caller.
    struct Asked {
        answered: Arc<AtomicBool>,
        wake: Wake,
    }

    /// A caller asks, and waits on a thread of its own.
    fn ask(groups: &Arc<WaitGroups>) -> (Asked, thread::JoinHandle<()>) {
        let member = WaitGroups::join(groups);
        let answered = Arc::new(AtomicBool::new(false));
        let asked = Asked { answered: answered.clone(), wake: Wake::to(Some(member.clone())) };
        (asked, thread::spawn(move || wait(&member, &answered)))
    }

    fn wait(member: &Member, answered: &AtomicBool) {
        member.wait_for(|| answered.load(Ordering::SeqCst).then_some(()));
    }

    /// The writer answers those of a batch, and wakes them when it is done.
    fn answer(batch: Vec<Asked>) {
        let mut wakes = Wakes::default();
        for Asked { answered, wake } in batch {
            answered.store(true, Ordering::SeqCst);
            wakes.add(wake);
        }
    }

    /// Callers whose events are committed together.
    pub(crate) fn one_batch(callers: usize) {
        let groups = Arc::new(WaitGroups::default());
        let (batch, waiting): (Vec<_>, Vec<_>) = (0..callers).map(|_| ask(&groups)).unzip();
        groups.next();
        answer(batch);
        waiting.into_iter().for_each(|caller| caller.join().unwrap());
    }

    /// Callers at one group of whom some are answered with a later batch: they are woken, look, and wait on.
    pub(crate) fn two_batches(first: usize, second: usize) {
        let groups = Arc::new(WaitGroups::default());
        let (mut batch, waiting): (Vec<_>, Vec<_>) = (0..first + second).map(|_| ask(&groups)).unzip();
        let later = batch.split_off(first);
        answer(batch);
        answer(later);
        waiting.into_iter().for_each(|caller| caller.join().unwrap());
    }

    /// A writer that ends without an answer: what it drops wakes the callers.
    pub(crate) fn answers_that_are_dropped() {
        let groups = Arc::new(WaitGroups::default());
        let (asked, waiting) = ask(&groups);
        asked.answered.store(true, Ordering::SeqCst);
        drop(asked.wake);
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
