//! Pauses between attempts to reach a server that is away.

use std::time::{Duration, Instant};

use crate::limits::{RETRY_AFTER_MAX, RETRY_PAUSE_MAX, RETRY_PAUSE_MIN};

/// Pauses that double, up to a bound. Each pause is a random time between half of its bound and all of it. So
/// clients that lost their server together do not all return together.
#[derive(Debug, Default)]
pub(super) struct Backoff {
    failures: u32,
    until: Option<Instant>,
}

impl Backoff {
    /// Records a failure. `retry_after` is the pause that the server asked for; at most [`RETRY_AFTER_MAX`]
    /// of it counts.
    pub(super) fn failed(&mut self, retry_after: Option<Duration>) {
        let pause = pause(self.failures, random());
        self.failures = self.failures.saturating_add(1);
        let asked = retry_after.unwrap_or_default().min(RETRY_AFTER_MAX);
        self.until = Instant::now().checked_add(pause.max(asked));
    }

    /// Records an answer. The pause after the next failure is the shortest one again.
    pub(super) fn answered(&mut self) {
        *self = Backoff::default();
    }

    /// Returns whether the last request failed.
    pub(super) fn is_away(&self) -> bool {
        self.failures > 0
    }

    /// The time of the next attempt; `None` if that is now.
    pub(super) fn until(&self) -> Option<Instant> {
        self.until.filter(|&until| until > Instant::now())
    }
}

fn pause(failures: u32, random: u64) -> Duration {
    // The shift stops at 20, far beyond `RETRY_PAUSE_MAX`, so that it cannot overflow a `u32`.
    let doubled = RETRY_PAUSE_MIN.saturating_mul(1_u32.checked_shl(failures.min(20)).unwrap_or(u32::MAX));
    let whole = doubled.min(RETRY_PAUSE_MAX);
    // Only the second half is random, so no pause is shorter than half of its bound.
    let half = whole / 2;
    let spread = u64::try_from(half.as_micros()).unwrap_or(u64::MAX).max(1);
    half + Duration::from_micros(random % spread)
}

fn random() -> u64 {
    // Without random bytes from the system, zero is used. Pauses still double, but clients return together.
    let mut bytes = [0; 8];
    let _ = getrandom::fill(&mut bytes);
    u64::from_le_bytes(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_the_longest_and_differ_by_up_to_half() {
        for failures in 0..200 {
            let whole = (RETRY_PAUSE_MIN * 2_u32.pow(failures.min(10))).min(RETRY_PAUSE_MAX);
            for random in [0, 1, u64::MAX / 2, u64::MAX] {
                let pause = pause(failures, random);
                assert!(whole / 2 <= pause && pause <= whole, "{failures}: {pause:?}");
            }
        }
    }

    #[test]
    fn a_pause_that_the_server_asks_for_counts_up_to_a_bound() {
        let mut backoff = Backoff::default();
        backoff.failed(Some(Duration::from_secs(60)));
        assert!(backoff.until().unwrap() > Instant::now() + Duration::from_secs(59));
        backoff.failed(Some(Duration::from_secs(86_400)));
        assert!(backoff.until().unwrap() < Instant::now() + RETRY_AFTER_MAX + Duration::from_secs(1));
        backoff.answered();
        assert_eq!((backoff.is_away(), backoff.until()), (false, None));
    }
}
