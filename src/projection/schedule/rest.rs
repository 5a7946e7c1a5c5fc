//! Throttling: the pauses after which projections are taken forward again.
//!
//! A durable append waits while read tables are written. So their transactions are short while the writer waits,
//! and there is a pause between them in which the writer gets the write lock. Tables that have come to the end of
//! the log pause for longer: a transaction with many events costs less for each. While nobody appends, nothing
//! pauses.

use std::time::{Duration, Instant};

use crate::event::Seq;
use crate::limits::{
    FOLD_BEHIND_MIN, FOLD_EVENTS_SHORT, FOLD_REST, FOLD_REST_AWAITED, FOLD_SHORT_FOR, INDEX_REST,
};
use crate::progress::Awaited;
use crate::projection::tables::Pace;

/// The last transaction for each kind of tables.
#[derive(Default)]
pub(in crate::projection) struct Rests {
    tables: Option<Rest>,
    index: Option<Rest>,
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
struct Rest {
    since: Instant,
    wrote: Wrote,
    /// True if the log was longer than at the transaction before.
    is_appended_to: bool,
}

impl Rests {
    fn of(&mut self, pace: Pace) -> &mut Option<Rest> {
        match pace {
            Pace::Soon => &mut self.tables,
            Pace::Seldom => &mut self.index,
        }
    }

    /// Records a transaction that has just ended.
    pub(in crate::projection) fn wrote(&mut self, pace: Pace, wrote: Wrote) {
        let rest = self.of(pace);
        let is_appended_to = rest.is_some_and(|before| before.wrote.head < wrote.head);
        let now = Rest { since: Instant::now(), wrote, is_appended_to };
        *rest = Some(now);
        // A backlog in a log at rest is no pressure: nobody waits for the transactions that work it off.
        if is_appended_to && now.left() > FOLD_BEHIND_MIN {
            self.pressed = Some(now.since);
        }
    }

    /// Records other work for tables that has just ended, such as a merge.
    pub(in crate::projection) fn worked(&mut self, pace: Pace, took: Duration) {
        let rest = self.of(pace);
        if let Some(rest) = rest {
            rest.since = Instant::now();
            rest.wrote.took = took;
        }
    }

    /// The time until which tables pause, if they do; `head` is the end of the log.
    pub(in crate::projection) fn until(&self, pace: Pace, head: Seq, awaited: Awaited) -> Option<Instant> {
        let (rest, least) = match (pace, awaited) {
            (Pace::Soon, Awaited::ByNobody) => (self.tables?, FOLD_REST),
            (Pace::Soon, Awaited::Tables | Awaited::All) => (self.tables?, FOLD_REST_AWAITED),
            (Pace::Seldom, Awaited::ByNobody | Awaited::Tables) => (self.index?, INDEX_REST),
            (Pace::Seldom, Awaited::All) => (self.index?, FOLD_REST_AWAITED),
        };
        // Under pressure a transaction is short, and takes in only so many events: more than these are a backlog.
        let behind = if self.is_pressed() { FOLD_EVENTS_SHORT as u64 } else { FOLD_BEHIND_MIN };
        // Tables that are behind need no least pause: there is enough for the next transaction.
        let least = if rest.left() > behind { Duration::ZERO } else { least };
        rest.until(pace, head, least)
    }

    /// Returns whether more is appended than the tables take in: a short time ago they did not come to the end of
    /// the log.
    pub(in crate::projection) fn is_pressed(&self) -> bool {
        self.pressed.is_some_and(|since| since.elapsed() < FOLD_SHORT_FOR)
    }
}

impl Rest {
    /// Events of the log that the transaction left.
    fn left(&self) -> u64 {
        self.wrote.head.get().saturating_sub(self.wrote.position.get())
    }

    fn until(&self, pace: Pace, head: Seq, least: Duration) -> Option<Instant> {
        let Wrote { took, head: head_then, .. } = self.wrote;
        // The log has not grown since this transaction, nor between it and the one before. A steady producer
        // between two of its events still counts as appending.
        if head == head_then && !self.is_appended_to {
            return None;
        }
        // The pause is in proportion to the work. So those who append get a good part of the time even if the
        // tables are behind, and the tables get more of it than the index.
        let part = match pace {
            Pace::Soon => took / 2,
            Pace::Seldom => took * 3 / 2,
        };
        let until = self.since + least.max(part);
        (until > Instant::now()).then_some(until)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A transaction that ended `ago` and took `took`, with the log at event 5,000.
    fn rests(ago: Duration, took: Duration, position: u64) -> Rests {
        let wrote = Wrote { took, position: Seq::new(position), head: Seq::new(5_000) };
        let rest = Some(Rest { since: Instant::now() - ago, wrote, is_appended_to: false });
        Rests { tables: rest, index: rest, pressed: None }
    }

    fn is_resting(rests: &Rests, pace: Pace, head: u64, awaited: Awaited) -> bool {
        rests.until(pace, Seq::new(head), awaited).is_some()
    }

    #[test]
    fn nothing_rests_before_it_was_written_once_or_while_nobody_appends() {
        assert!(!is_resting(&Rests::default(), Pace::Soon, 5_000, Awaited::ByNobody));
        let rests = rests(Duration::ZERO, Duration::from_millis(50), 5_000);
        assert!(!is_resting(&rests, Pace::Soon, 5_000, Awaited::ByNobody));
        assert!(is_resting(&rests, Pace::Soon, 5_001, Awaited::ByNobody));
    }

    #[test]
    fn who_appends_steadily_is_not_taken_for_nobody_between_two_events() {
        let mut rests = Rests::default();
        for (head, rests_then) in [(10, false), (11, true), (11, false)] {
            let wrote = Wrote { took: Duration::ZERO, position: Seq::new(head), head: Seq::new(head) };
            rests.wrote(Pace::Soon, wrote);
            assert_eq!(is_resting(&rests, Pace::Soon, head, Awaited::ByNobody), rests_then);
        }
    }

    #[test]
    fn tables_that_somebody_waits_for_rest_shortly() {
        let rests = rests(FOLD_REST_AWAITED, Duration::ZERO, 5_000);
        assert!(is_resting(&rests, Pace::Soon, 5_001, Awaited::ByNobody));
        assert!(!is_resting(&rests, Pace::Soon, 5_001, Awaited::Tables));
        assert!(is_resting(&rests, Pace::Seldom, 5_001, Awaited::Tables));
        assert!(!is_resting(&rests, Pace::Seldom, 5_001, Awaited::All));
    }

    #[test]
    fn what_is_behind_rests_in_proportion_to_its_work_and_the_index_for_longer() {
        let rested =
            |ago, left: u64| rests(Duration::from_millis(ago), Duration::from_millis(40), 5_000 - left);
        let is_resting = |rests: &Rests, pace| is_resting(rests, pace, 5_001, Awaited::ByNobody);
        assert!(is_resting(&rested(0, 4_000), Pace::Soon));
        assert!(!is_resting(&rested(21, 4_000), Pace::Soon));
        assert!(is_resting(&rested(21, 10), Pace::Soon), "not behind");
        assert!(is_resting(&rested(21, 4_000), Pace::Seldom));
        assert!(!is_resting(&rested(61, 4_000), Pace::Seldom));
    }

    #[test]
    fn what_took_long_is_followed_by_a_long_rest() {
        let rests = rests(Duration::from_secs(6), Duration::from_secs(14), 5_000);
        let until = rests.until(Pace::Soon, Seq::new(5_001), Awaited::All);
        assert!(until.is_some_and(|until| until <= Instant::now() + Duration::from_secs(1)));
    }
}
