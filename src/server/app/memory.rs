//! The memory budget: bytes that all requests share. Each request takes its bytes and gives them back.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// The unit in which bytes are given out.
pub(crate) const PIECE_BYTES: usize = 16 << 10;

/// A budget of bytes for all requests together.
pub(crate) struct Memory {
    pieces: Arc<Semaphore>,
    all: usize,
}

impl Memory {
    pub(in crate::server) fn new(bytes: usize) -> Memory {
        // Rounded down: only a budget below one piece becomes larger than its bound.
        let pieces = (bytes / PIECE_BYTES).clamp(1, Semaphore::MAX_PERMITS);
        Memory { pieces: Arc::new(Semaphore::new(pieces)), all: pieces }
    }

    /// The size of the budget.
    pub(crate) fn all_bytes(&self) -> usize {
        self.all.saturating_mul(PIECE_BYTES)
    }

    /// Bytes in use, in whole pieces.
    pub(crate) fn used_bytes(&self) -> usize {
        self.all.saturating_sub(self.pieces.available_permits()).saturating_mul(PIECE_BYTES)
    }
}

/// The error of a budget that is used up.
#[derive(Debug)]
pub(crate) struct Full;

/// Bytes that one request holds until it is dropped. It never waits for more: several requests that did could
/// wait for one another forever.
pub(crate) struct Held {
    pieces: Arc<Semaphore>,
    permit: Option<OwnedSemaphorePermit>,
    bytes: usize,
}

impl Held {
    /// A share of `memory`, empty at first.
    pub(crate) fn of(memory: &Memory) -> Held {
        Held { pieces: memory.pieces.clone(), permit: None, bytes: 0 }
    }

    /// Takes more bytes. On an error the bytes held before are still held.
    pub(crate) fn take(&mut self, bytes: usize) -> Result<(), Full> {
        // The permit always has `bytes` in pieces, rounded up. Only pieces beyond the last one are taken.
        let all = self.bytes.saturating_add(bytes);
        let more = all.div_ceil(PIECE_BYTES) - self.bytes.div_ceil(PIECE_BYTES);
        if more > 0 {
            let more = u32::try_from(more).map_err(|_| Full)?;
            let permit = self.pieces.clone().try_acquire_many_owned(more).map_err(|_| Full)?;
            match &mut self.permit {
                None => self.permit = Some(permit),
                Some(held) => held.merge(permit),
            }
        }
        self.bytes = all;
        Ok(())
    }

    /// Gives back all bytes beyond `bytes`.
    pub(crate) fn keep(&mut self, bytes: usize) {
        let less = self.bytes.div_ceil(PIECE_BYTES).saturating_sub(bytes.div_ceil(PIECE_BYTES));
        self.bytes = self.bytes.min(bytes);
        // The pieces that are split off return to the budget when they are dropped.
        drop(self.permit.as_mut().and_then(|permit| permit.split(less)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_given_back_when_a_request_is_done_or_needs_fewer() {
        let memory = Memory::new(64 << 10);
        let mut first = Held::of(&memory);
        first.take(1).unwrap();
        first.take(PIECE_BYTES).unwrap();
        assert_eq!(memory.used_bytes(), 32 << 10);
        assert!(first.take(64 << 10).is_err());
        first.take(PIECE_BYTES).unwrap();
        assert_eq!(memory.used_bytes(), 48 << 10, "what was refused counts for nothing");
        first.keep(PIECE_BYTES);
        assert_eq!(memory.used_bytes(), 16 << 10);
        first.keep(PIECE_BYTES + 1);
        assert_eq!(memory.used_bytes(), 16 << 10);
        drop(first);
        assert_eq!(memory.used_bytes(), 0);
    }
}
