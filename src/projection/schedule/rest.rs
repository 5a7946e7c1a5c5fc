//! When projections are taken forward again.
//!
//! A durable append waits while read tables are written. So their transactions are
//! short while the writer waits, and there is a rest between them in which it gets its turn. Tables that have come to
//! the end of the log rest longer: a transaction costs less an event if it has many. Where nobody appends there is
//! nobody to rest for.

use std::time::{Duration, Instant};

use crate::event::Seq;
use crate::limits::{
    FOLD_BEHIND_MIN, FOLD_EVENTS_SHORT, FOLD_REST, FOLD_REST_AWAITED, FOLD_SHORT_FOR, INDEX_REST,
};
use crate::progress::Awaited;
use crate::projection::tables::Pace;

/// When each kind of tables was written last.
#[derive(Default)]
pub(in crate::projection) struct Rests {
    tables: Option<Rest>,
    index: Option<Rest>,
    /// When tables last did not come to the end of a log that is appended to.
    pressed: Option<Instant>,
}

/// What was written.
#[derive(Clone, Copy)]
pub(in crate::projection) struct Wrote {
    /// How long it took.
    pub(in crate::projection) took: Duration,
    /// Up to where.
    pub(in crate::projection) position: Seq,
    /// The end of the log then.
    pub(in crate::projection) head: Seq,
}

#[derive(Clone, Copy)]
struct Rest {
    since: Instant,
    wrote: Wrote,
    /// Whether the log was longer than the time before.
    is_appended_to: bool,
}

impl Rests {
    fn of(&mut self, pace: Pace) -> &mut Option<Rest> {
        match pace {
            Pace::Soon => &mut self.tables,
            Pace::Seldom => &mut self.index,
        }
    }

    /// Notes what was written just now.
    pub(in crate::projection) fn wrote(&mut self, pace: Pace, wrote: Wrote) {
        let rest = self.of(pace);
        let is_appended_to = rest.is_some_and(|before| before.wrote.head < wrote.head);
        let now = Rest { since: Instant::now(), wrote, is_appended_to };
        *rest = Some(now);
        if is_appended_to && now.left() > FOLD_BEHIND_MIN {
            self.pressed = Some(now.since);
        }
    }

    /// Notes that something else was done for tables just now.
    pub(in crate::projection) fn worked(&mut self, pace: Pace, took: Duration) {
        let rest = self.of(pace);
        if let Some(rest) = rest {
            rest.since = Instant::now();
            rest.wrote.took = took;
        }
    }

    /// Until when tables are left alone, if they are; `head` is the end of the log.
    pub(in crate::projection) fn until(&self, pace: Pace, head: Seq, awaited: Awaited) -> Option<Instant> {
        let (rest, least) = match (pace, awaited) {
            (Pace::Soon, Awaited::ByNobody) => (self.tables?, FOLD_REST),
            (Pace::Soon, Awaited::Tables | Awaited::All) => (self.tables?, FOLD_REST_AWAITED),
            (Pace::Seldom, Awaited::ByNobody | Awaited::Tables) => (self.index?, INDEX_REST),
            (Pace::Seldom, Awaited::All) => (self.index?, FOLD_REST_AWAITED),
        };
        let behind = if self.is_pressed() { FOLD_EVENTS_SHORT as u64 } else { FOLD_BEHIND_MIN };
        // What is behind has enough to do.
        let least = if rest.left() > behind { Duration::ZERO } else { least };
        rest.until(pace, head, least)
    }

    /// Returns whether more is appended than the tables take in: of late they did not come to the end of the log.
    pub(in crate::projection) fn is_pressed(&self) -> bool {
        self.pressed.is_some_and(|since| since.elapsed() < FOLD_SHORT_FOR)
    }
}

impl Rest {
    /// Events that were left.
    fn left(&self) -> u64 {
        self.wrote.head.get().saturating_sub(self.wrote.position.get())
    }

    fn until(&self, pace: Pace, head: Seq, least: Duration) -> Option<Instant> {
        let Wrote { took, head: head_then, .. } = self.wrote;
        if head == head_then && !self.is_appended_to {
            return None;
        }
        // Who appends gets a good part of the time also where the tables are behind, and these get more than the index.
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

    /// Written that long ago, for that long, with the log at event 5,000.
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
