//! Signals that ask the program to end: what it makes is taken away first, and what it was given is
//! committed, where a command listens. A second one ends at once.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use annals::new_file;
use anyhow::Context as _;
use crossbeam_channel::Receiver;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

/// What the command that runs does when it is asked to end; without it the program ends.
type Wish = Box<dyn FnMut() + Send>;

fn listener() -> MutexGuard<'static, Option<Wish>> {
    static LISTENER: Mutex<Option<Wish>> = Mutex::new(None);
    LISTENER.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Memory of the thread: little is done there.
const STACK_BYTES: usize = 256 << 10;

/// Hears signals from now on. Where no thread can be started, they end the program as always, and what it
/// leaves is removed by the next one.
pub(crate) fn watch() -> anyhow::Result<()> {
    let (ready, is_ready) = crossbeam_channel::bounded(1);
    let thread = std::thread::Builder::new().name("annals-signals".to_owned()).stack_size(STACK_BYTES);
    let started = thread.spawn(move || {
        let heard = [SIGHUP, SIGINT, SIGTERM].into_iter().filter(|signal| !is_ignored(*signal));
        let mut signals = match Signals::new(heard) {
            Ok(signals) => signals,
            Err(error) => {
                let _ = ready.send(Err(error));
                return;
            }
        };
        let _ = ready.send(Ok(()));
        let mut wished = false;
        for signal in signals.forever() {
            match listener().as_mut() {
                Some(wish) if !wished => {
                    wished = true;
                    wish();
                }
                Some(_) => {
                    new_file::remove_unfinished();
                    std::process::exit(128 + signal);
                }
                None => end(signal),
            }
        }
    });
    match started.map(|_| is_ready.recv()) {
        Ok(Ok(heard)) => heard.context("signals cannot be heard"),
        Ok(Err(_)) | Err(_) => Ok(()),
    }
}

/// Ends the program as the signal would, but for what it was making.
fn end(signal: i32) {
    new_file::remove_unfinished();
    let _ = signal_hook::low_level::emulate_default_handler(signal);
    std::process::exit(128 + signal);
}

/// Whether whoever started the program wants it to live on, as `nohup` does.
fn is_ignored(signal: i32) -> bool {
    // Where the system does not tell, a signal that is sent is meant.
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let mask = mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or(0);
    signal > 0 && mask & (1 << (signal - 1)) != 0
}

/// Does something at the first wish to end, instead of ending.
pub(crate) fn on_wish(wish: impl FnMut() + Send + 'static) {
    *listener() = Some(Box::new(wish));
}

/// Hears of the wish to end.
pub(crate) struct Interrupt {
    wished: Arc<AtomicBool>,
    /// Gets one word when it is wished.
    pub(crate) word: Receiver<()>,
}

impl Interrupt {
    pub(crate) fn listen() -> Interrupt {
        let wished = Arc::new(AtomicBool::new(false));
        let (sender, word) = crossbeam_channel::bounded(1);
        let heard = wished.clone();
        on_wish(move || {
            heard.store(true, Ordering::Relaxed);
            let _ = sender.try_send(());
        });
        Interrupt { wished, word }
    }

    /// Whether to stop.
    pub(crate) fn is_wished(&self) -> bool {
        self.wished.load(Ordering::Relaxed)
    }
}
