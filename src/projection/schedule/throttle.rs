//! Throttling: the pauses after which projections are taken forward again.
//!
//! A durable append waits while read tables are written. So their transactions are short while the writer waits,
//! and there is a pause between them in which the writer gets the write lock. Tables that have come to the end of
//! the log pause for longer: a transaction with many events costs less for each. While nobody appends, nothing
//! pauses.

use std::time::{Duration, Instant};

use crate::event::Seq;
use crate::limits::{
    FOLD_BEHIND_MIN, FOLD_EVENTS_SHORT, FOLD_PAUSE, FOLD_PAUSE_AWAITED, FOLD_SHORT_FOR, INDEX_PAUSE,
};
use crate::progress::Awaited;
use crate::projection::tables::Throttling;

/// The last transaction for each kind of tables.
#[derive(Default)]
pub(in crate::projection) struct Throttle {
    tables: Option<Pause>,
    index: Option<Pause>,
    /// The last time at which tables did not come to the end of a log that is appended to.
    pressed: Option<Instant>,
}

/// A transaction in which tables were written.
#[derive(Clone, Copy)]
pub(in crate::projection) struct Wrote {
    /// Its duration.
    pub(in crate::projection) took: Duration,
    /// The last event that the tables hold after it.
    pub(in crate::projection) position: Seq,
    /// The end of the log at that time.
    pub(in crate::projection) head: Seq,
}

#[derive(Clone, Copy)]
struct Pause {
    since: Instant,
    wrote: Wrote,
    /// True if the log was longer than at the transaction before.
    is_appended_to: bool,
}

impl Throttle {
    fn of(&mut self, throttling: Throttling) -> &mut Option<Pause> {
        match throttling {
            Throttling::Soon => &mut self.tables,
            Throttling::Seldom => &mut self.index,
        }
    }

    /// Records a transaction that has just ended.
    pub(in crate::projection) fn wrote(&mut self, throttling: Throttling, wrote: Wrote) {
        let pause = self.of(throttling);
        let is_appended_to = pause.is_some_and(|before| before.wrote.head < wrote.head);
        let now = Pause { since: Instant::now(), wrote, is_appended_to };
        *pause = Some(now);
        // A backlog of a log that nobody appends to is no pressure: its transactions delay nobody.
        if is_appended_to && now.left() > FOLD_BEHIND_MIN {
            self.pressed = Some(now.since);
        }
    }

    /// Records other work for tables that has just ended, such as a merge.
    pub(in crate::projection) fn worked(&mut self, throttling: Throttling, took: Duration) {
        let pause = self.of(throttling);
        if let Some(pause) = pause {
            pause.since = Instant::now();
            pause.wrote.took = took;
        }
    }

    /// The time until which tables pause, if they do; `head` is the end of the log.
    pub(in crate::projection) fn until(
        &self,
        throttling: Throttling,
        head: Seq,
        awaited: Awaited,
    ) -> Option<Instant> {
        let (pause, least) = match (throttling, awaited) {
            (Throttling::Soon, Awaited::ByNobody) => (self.tables?, FOLD_PAUSE),
            (Throttling::Soon, Awaited::Tables | Awaited::All) => (self.tables?, FOLD_PAUSE_AWAITED),
            (Throttling::Seldom, Awaited::ByNobody | Awaited::Tables) => (self.index?, INDEX_PAUSE),
            (Throttling::Seldom, Awaited::All) => (self.index?, FOLD_PAUSE_AWAITED),
        };
        // Under pressure, a transaction takes in at most so many events. Only more than these count as a
        // backlog.
        let behind = if self.is_pressed() { FOLD_EVENTS_SHORT as u64 } else { FOLD_BEHIND_MIN };
        // Tables that are behind need no minimum pause: there is enough for the next transaction.
        let least = if pause.left() > behind { Duration::ZERO } else { least };
        pause.until(throttling, head, least)
    }

    /// Returns whether events are appended faster than the tables take them in: a short time ago the tables
    /// did not come to the end of the log.
    pub(in crate::projection) fn is_pressed(&self) -> bool {
        self.pressed.is_some_and(|since| since.elapsed() < FOLD_SHORT_FOR)
    }
}

impl Pause {
    /// Number of events that the transaction left for later ones.
    fn left(&self) -> u64 {
        self.wrote.head.get().saturating_sub(self.wrote.position.get())
    }

    fn until(&self, throttling: Throttling, head: Seq, least: Duration) -> Option<Instant> {
        let Wrote { took, head: head_then, .. } = self.wrote;
        // The log has not grown since this transaction, nor between it and the one before. A steady producer
        // between two of its events still counts as appending.
        if head == head_then && !self.is_appended_to {
            return None;
        }
        // The pause is in proportion to the work. So appends get a large part of the time even if the tables
        // are behind. The index pauses for longer than other tables.
        let part = match throttling {
            Throttling::Soon => took / 2,
            Throttling::Seldom => took * 3 / 2,
        };
        let until = self.since + least.max(part);
        (until > Instant::now()).then_some(until)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A transaction that ended `ago` and took `took`, with the log at event 5,000.
    fn throttle(ago: Duration, took: Duration, position: u64) -> Throttle {
        let wrote = Wrote { took, position: Seq::new(position), head: Seq::new(5_000) };
        let pause = Some(Pause { since: Instant::now() - ago, wrote, is_appended_to: false });
        Throttle { tables: pause, index: pause, pressed: None }
    }

    fn is_paused(throttle: &Throttle, throttling: Throttling, head: u64, awaited: Awaited) -> bool {
        throttle.until(throttling, Seq::new(head), awaited).is_some()
    }

    #[test]
    fn nothing_pauses_before_its_first_transaction_or_while_nobody_appends() {
        assert!(!is_paused(&Throttle::default(), Throttling::Soon, 5_000, Awaited::ByNobody));
        let throttle = throttle(Duration::ZERO, Duration::from_millis(50), 5_000);
        assert!(!is_paused(&throttle, Throttling::Soon, 5_000, Awaited::ByNobody));
        assert!(is_paused(&throttle, Throttling::Soon, 5_001, Awaited::ByNobody));
    }

    #[test]
    fn a_steady_producer_counts_as_appending_between_two_events() {
        let mut throttle = Throttle::default();
        for (head, pauses) in [(10, false), (11, true), (11, false)] {
            let wrote = Wrote { took: Duration::ZERO, position: Seq::new(head), head: Seq::new(head) };
            throttle.wrote(Throttling::Soon, wrote);
            assert_eq!(is_paused(&throttle, Throttling::Soon, head, Awaited::ByNobody), pauses);
        }
    }

    #[test]
    fn awaited_tables_pause_for_a_short_time() {
        let throttle = throttle(FOLD_PAUSE_AWAITED, Duration::ZERO, 5_000);
        assert!(is_paused(&throttle, Throttling::Soon, 5_001, Awaited::ByNobody));
        assert!(!is_paused(&throttle, Throttling::Soon, 5_001, Awaited::Tables));
        assert!(is_paused(&throttle, Throttling::Seldom, 5_001, Awaited::Tables));
        assert!(!is_paused(&throttle, Throttling::Seldom, 5_001, Awaited::All));
    }

    #[test]
    fn tables_that_are_behind_pause_in_proportion_to_their_work_and_the_index_for_longer() {
        let after =
            |ago, left: u64| throttle(Duration::from_millis(ago), Duration::from_millis(40), 5_000 - left);
        let is_paused =
            |throttle: &Throttle, throttling| is_paused(throttle, throttling, 5_001, Awaited::ByNobody);
        assert!(is_paused(&after(0, 4_000), Throttling::Soon));
        assert!(!is_paused(&after(21, 4_000), Throttling::Soon));
        assert!(is_paused(&after(21, 10), Throttling::Soon), "not behind");
        assert!(is_paused(&after(21, 4_000), Throttling::Seldom));
        assert!(!is_paused(&after(61, 4_000), Throttling::Seldom));
    }

    #[test]
    fn a_long_transaction_is_followed_by_a_long_pause() {
        let throttle = throttle(Duration::from_secs(6), Duration::from_secs(14), 5_000);
        let until = throttle.until(Throttling::Soon, Seq::new(5_001), Awaited::All);
        assert!(until.is_some_and(|until| until <= Instant::now() + Duration::from_secs(1)));
    }
}
