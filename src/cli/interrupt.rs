//! Signals that ask the program to end. Files in the making are removed first, and a command that listens commits the
//! events that it was given. A second signal ends the program at once.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::new_file;
use anyhow::Context as _;
use crossbeam_channel::Receiver;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

/// The reaction of the running command to a request to end; without one the program ends.
type Wish = Box<dyn FnMut() + Send>;

fn listener() -> MutexGuard<'static, Option<Wish>> {
    static LISTENER: Mutex<Option<Wish>> = Mutex::new(None);
    LISTENER.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Stack of the signal thread, in bytes: little is done there.
const STACK_BYTES: usize = 256 << 10;

/// Listens for signals from now on. If no thread can be started, signals end the program by their default, and the next
/// program removes what is left.
pub(crate) fn watch() -> anyhow::Result<()> {
    let (ready, is_ready) = crossbeam_channel::bounded(1);
    let thread = std::thread::Builder::new().name("annals-signals".to_owned()).stack_size(STACK_BYTES);
    let started = thread.spawn(move || {
        // A signal that was ignored before stays ignored.
        let heard = [SIGHUP, SIGINT, SIGTERM].into_iter().filter(|signal| !is_ignored(*signal));
        let mut signals = match Signals::new(heard) {
            Ok(signals) => signals,
            Err(error) => {
                let _ = ready.send(Err(error));
                return;
            }
        };
        // From here on signals are caught, and `watch` may return.
        let _ = ready.send(Ok(()));
        let mut wished = false;
        for signal in signals.forever() {
            // The lock is held until the reaction is done, so a command cannot set another one meanwhile.
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
        Ok(Ok(heard)) => heard.context("signals cannot be received"),
        Ok(Err(_)) | Err(_) => Ok(()),
    }
}

/// Ends the program as the signal would, after removing the files in the making.
fn end(signal: i32) {
    new_file::remove_unfinished();
    let _ = signal_hook::low_level::emulate_default_handler(signal);
    // Reached only if the default action of the signal could not be taken.
    std::process::exit(128 + signal);
}

/// Returns true if the program was started with the signal ignored, as `nohup` does.
fn is_ignored(signal: i32) -> bool {
    // A system without this information counts as one that ignores nothing.
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let mask = mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or(0);
    signal > 0 && mask & (1 << (signal - 1)) != 0
}

/// Calls `wish` at the first request to end, instead of ending.
pub(crate) fn on_wish(wish: impl FnMut() + Send + 'static) {
    *listener() = Some(Box::new(wish));
}

/// The request to end, for a command that polls it or waits for it.
pub(crate) struct Interrupt {
    wished: Arc<AtomicBool>,
    /// Receives one message at the request.
    pub(crate) word: Receiver<()>,
}

impl Interrupt {
    pub(crate) fn listen() -> Interrupt {
        let wished = Arc::new(AtomicBool::new(false));
        let (sender, word) = crossbeam_channel::bounded(1);
        let heard = wished.clone();
        on_wish(move || {
            // Relaxed is enough: the flag announces no other data.
            heard.store(true, Ordering::Relaxed);
            let _ = sender.try_send(());
        });
        Interrupt { wished, word }
    }

    /// Returns true once the program was asked to end.
    pub(crate) fn is_wished(&self) -> bool {
        self.wished.load(Ordering::Relaxed)
    }
}
