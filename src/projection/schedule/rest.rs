//! When projections are taken forward again.
//!
//! Whoever appends, and waits until it is durable, waits while read tables are written. So these are written
//! seldom, and many events at a time, while others append: then few calls meet a transaction of the
//! projections at all, and it costs less an event. If somebody waits for the tables they are written more
//! often. Where nobody appends there is nobody to rest for.

use std::time::{Duration, Instant};

use crate::event::Seq;
use crate::limits::{FOLD_REST, FOLD_REST_AWAITED, INDEX_REST};
use crate::progress::Awaited;
use crate::projection::tables::Pace;

/// When each kind of tables was written last.
#[derive(Default)]
pub(in crate::projection) struct Rests {
    tables: Option<Rest>,
    index: Option<Rest>,
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
    /// Notes what was written just now.
    pub(in crate::projection) fn wrote(&mut self, pace: Pace, wrote: Wrote) {
        let rest = match pace {
            Pace::Soon => &mut self.tables,
            Pace::Seldom => &mut self.index,
        };
        let is_appended_to = rest.is_some_and(|before| before.wrote.head < wrote.head);
        *rest = Some(Rest { since: Instant::now(), wrote, is_appended_to });
    }

    /// Until when tables are left alone, if they are; `head` is the end of the log.
    pub(in crate::projection) fn until(&self, pace: Pace, head: Seq, awaited: Awaited) -> Option<Instant> {
        let (rest, least) = match (pace, awaited) {
            (Pace::Soon, Awaited::ByNobody) => (self.tables?, FOLD_REST),
            (Pace::Soon, Awaited::Tables | Awaited::All) => (self.tables?, FOLD_REST_AWAITED),
            (Pace::Seldom, Awaited::ByNobody | Awaited::Tables) => (self.index?, INDEX_REST),
            (Pace::Seldom, Awaited::All) => (self.index?, FOLD_REST_AWAITED),
        };
        rest.until(pace, head, least)
    }
}

impl Rest {
    fn until(&self, pace: Pace, head: Seq, least: Duration) -> Option<Instant> {
        let Wrote { took, position, head: head_then } = self.wrote;
        if head == head_then && !self.is_appended_to {
            return None;
        }
        // An index that is behind has enough to do.
        let is_behind = pace == Pace::Seldom && position < head_then;
        let least = if is_behind { FOLD_REST_AWAITED } else { least };
        // Who appends gets a good part of the time also where the tables are far behind, and these get
        // more than the index.
        let part = match pace {
            Pace::Soon => took * 2 / 3,
            Pace::Seldom => took * 3 / 2,
        };
        let until = self.since + least.max(part);
        (until > Instant::now()).then_some(until)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Written that long ago, for that long, with the log at event 10.
    fn rests(ago: Duration, took: Duration, position: u64) -> Rests {
        let wrote = Wrote { took, position: Seq::new(position), head: Seq::new(10) };
        let rest = Some(Rest { since: Instant::now() - ago, wrote, is_appended_to: false });
        Rests { tables: rest, index: rest }
    }

    fn is_resting(rests: &Rests, pace: Pace, head: u64, awaited: Awaited) -> bool {
        rests.until(pace, Seq::new(head), awaited).is_some()
    }

    #[test]
    fn nothing_rests_before_it_was_written_once_or_while_nobody_appends() {
        assert!(!is_resting(&Rests::default(), Pace::Soon, 10, Awaited::ByNobody));
        let rests = rests(Duration::ZERO, Duration::from_millis(50), 10);
        assert!(!is_resting(&rests, Pace::Soon, 10, Awaited::ByNobody));
        assert!(is_resting(&rests, Pace::Soon, 11, Awaited::ByNobody));
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
        let rests = rests(FOLD_REST_AWAITED, Duration::ZERO, 10);
        assert!(is_resting(&rests, Pace::Soon, 11, Awaited::ByNobody));
        assert!(!is_resting(&rests, Pace::Soon, 11, Awaited::Tables));
        assert!(!is_resting(&rests, Pace::Soon, 11, Awaited::All));
        assert!(is_resting(&rests, Pace::Seldom, 11, Awaited::Tables));
        assert!(!is_resting(&rests, Pace::Seldom, 11, Awaited::All));
    }

    #[test]
    fn the_index_rests_longer_than_the_tables_unless_it_is_behind() {
        let rested = |position| rests(FOLD_REST, Duration::ZERO, position);
        assert!(!is_resting(&rested(10), Pace::Soon, 11, Awaited::ByNobody));
        assert!(is_resting(&rested(10), Pace::Seldom, 11, Awaited::ByNobody));
        assert!(!is_resting(&rested(9), Pace::Seldom, 11, Awaited::ByNobody));
    }

    #[test]
    fn what_took_long_is_followed_by_a_long_rest() {
        let rests = rests(Duration::from_secs(6), Duration::from_secs(10), 10);
        let until = rests.until(Pace::Soon, Seq::new(11), Awaited::All);
        assert!(until.is_some_and(|until| until <= Instant::now() + Duration::from_secs(1)));
    }
}
