//! Progress of long work, on standard error, where a person sees it.

use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

/// Time after which a bar appears. Shorter work needs none.
const TIMEOUT: Duration = Duration::from_millis(500);

/// The unit of a bar.
#[derive(Clone, Copy, Debug)]
enum Unit {
    Items,
    Bytes,
}

/// A bar that appears when the work turns out to be long.
pub(crate) struct Bar {
    what: &'static str,
    unit: Unit,
    total: Option<u64>,
    begun: Instant,
    bar: Option<ProgressBar>,
}

impl Bar {
    /// A bar for work of a known size, or of an unknown one.
    pub(crate) fn new(what: &'static str, total: Option<u64>) -> Bar {
        Bar { what, unit: Unit::Items, total, begun: Instant::now(), bar: None }
    }

    /// A bar for so many bytes that are read.
    pub(crate) fn of_bytes(what: &'static str, total: u64) -> Bar {
        Bar { what, unit: Unit::Bytes, total: Some(total), begun: Instant::now(), bar: None }
    }

    /// Sets how much is done.
    pub(crate) fn set(&mut self, done: u64) {
        if self.bar.is_none() && self.begun.elapsed() >= TIMEOUT {
            // It stays hidden if standard error is not a terminal.
            let bar = self.total.map_or_else(ProgressBar::new_spinner, ProgressBar::new);
            let template = match (self.total, self.unit) {
                (Some(_), Unit::Items) => "{msg} [{bar:30}] {human_pos}/{human_len} ({per_sec}, {eta} left)",
                (Some(_), Unit::Bytes) => {
                    "{msg} [{bar:30}] {binary_bytes}/{binary_total_bytes} ({binary_bytes_per_sec}, {eta} left)"
                }
                (None, _) => "{spinner} {msg} {human_pos} ({per_sec})",
            };
            if let Ok(style) = ProgressStyle::with_template(template) {
                bar.set_style(style.progress_chars("=> "));
            }
            bar.set_message(self.what);
            self.bar = Some(bar);
        }
        if let Some(bar) = &self.bar {
            bar.set_position(done);
        }
    }

    /// Prints a line above the bar.
    pub(crate) fn say(&self, line: &str) {
        match &self.bar {
            Some(bar) => bar.suspend(|| super::out::say(line)),
            None => super::out::say(line),
        }
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}
