//! The bytes that are stored: the same for every peer.

use rand::rngs::Xoshiro256PlusPlus;
use rand::{Rng as _, SeedableRng as _};

/// Payloads of one producer before they come again. More bytes than any peer compresses in one block, so that
/// none of them finds an earlier one again.
const POOL_EVENTS: usize = 4_096;

/// Text in hexadecimal, from a generator that the producer's number seeds.
#[derive(Clone, Debug)]
pub struct Payloads {
    pool: Vec<String>,
    next: usize,
}

impl Payloads {
    /// Payloads of the producer with this number.
    #[must_use]
    pub fn new(producer: usize, bytes: usize) -> Payloads {
        let mut random = Xoshiro256PlusPlus::seed_from_u64(producer as u64);
        let mut half = vec![0_u8; bytes / 2];
        let pool = (0..POOL_EVENTS)
            .map(|_| {
                random.fill_bytes(&mut half);
                hex::encode(&half)
            })
            .collect();
        Payloads { pool, next: 0 }
    }

    /// The next one.
    pub fn one(&mut self) -> &str {
        let payload = &self.pool[self.next];
        self.next = (self.next + 1) % POOL_EVENTS;
        payload
    }

    /// The next ones.
    pub fn several<'a>(&'a mut self, events: usize, into: &mut Vec<&'a str>) {
        into.clear();
        for _ in 0..events {
            into.push(&self.pool[self.next]);
            self.next = (self.next + 1) % POOL_EVENTS;
        }
    }
}
