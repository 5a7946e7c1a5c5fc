//! A reader of JSON in which no value is longer than a bound.

use std::cell::Cell;
use std::io::{self, Read};
use std::rc::Rc;

use super::error::{ImportError, Location};

/// A reader that ends with an error within a value that is too long.
pub(super) struct Bounded<R> {
    reader: R,
    bytes_max: usize,
    since: Since,
}

/// The bytes that were read since a value began; None while nothing is counted.
#[derive(Clone, Default)]
pub(super) struct Since(Rc<Cell<Option<usize>>>);

impl Since {
    /// Begins a value.
    pub(super) fn restart(&self) {
        self.0.set(Some(0));
    }

    /// Begins a value that is skipped, and so has no bound.
    pub(super) fn stop(&self) {
        self.0.set(None);
    }
}

impl<R> Bounded<R> {
    /// Bounds the values of a reader. The first begins now.
    pub(super) fn new(reader: R, bytes_max: usize) -> Bounded<R> {
        let since = Since::default();
        since.restart();
        Bounded { reader, bytes_max, since }
    }

    /// The count, for the one who knows where values begin.
    pub(super) fn since(&self) -> Since {
        self.since.clone()
    }
}

impl<R: Read> Read for Bounded<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let bytes = self.reader.read(buffer)?;
        if let Some(since) = self.since.0.get() {
            let since = since.saturating_add(bytes);
            if since > self.bytes_max {
                return Err(io::Error::other(TooLong { bytes_max: self.bytes_max }));
            }
            self.since.0.set(Some(since));
        }
        Ok(bytes)
    }
}

#[derive(Debug, thiserror::Error)]
#[error("has more than {bytes_max} bytes")]
struct TooLong {
    bytes_max: usize,
}

/// The error of a parser whose reader failed: the value at `place` is too long, or the disk failed.
pub(super) fn failed(place: Location, error: serde_json::Error) -> ImportError {
    let error = io::Error::from(error);
    match error.get_ref().is_some_and(|inner| inner.is::<TooLong>()) {
        true => ImportError::Malformed { place, reason: error.to_string() },
        false => ImportError::Read(error),
    }
}
