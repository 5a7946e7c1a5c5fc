//! Ctrl-C while events are recorded: what was taken is committed first. A second one ends at once.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::Context as _;
use crossbeam_channel::Receiver;
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

/// Hears of the wish to stop.
pub(crate) struct Interrupt {
    wished: Arc<AtomicBool>,
    /// Gets one word when it is wished.
    pub(crate) word: Receiver<()>,
}

impl Interrupt {
    pub(crate) fn listen() -> anyhow::Result<Interrupt> {
        let mut signals = Signals::new([SIGINT, SIGTERM]).context("signals cannot be heard")?;
        let wished = Arc::new(AtomicBool::new(false));
        let (sender, word) = crossbeam_channel::bounded(1);
        let wish = wished.clone();
        std::thread::Builder::new()
            .name("annals-signals".to_owned())
            .spawn(move || {
                for signal in signals.forever() {
                    if wish.swap(true, Ordering::Relaxed) {
                        std::process::exit(128 + signal);
                    }
                    let _ = sender.try_send(());
                }
            })
            .context("a thread for signals cannot be started")?;
        Ok(Interrupt { wished, word })
    }

    /// Whether to stop.
    pub(crate) fn is_wished(&self) -> bool {
        self.wished.load(Ordering::Relaxed)
    }
}
