//! Events that the log reports as refused. Those that are not in the log are lost.

use rusqlite::Connection;

use crate::event::{EventId, EventsLost};

/// The refused events of a log. Each id takes 16 bytes of memory until the end, as many as it takes in the
/// log.
#[derive(Default)]
pub(super) struct Lost {
    /// The number of refused events whose ids were not recorded.
    unnamed: u64,
    named: Vec<EventId>,
}

impl Lost {
    /// Adds the refused events that one event of the log reports.
    pub(super) fn add(&mut self, mut lost: EventsLost) {
        lost.ids.sort_unstable();
        lost.ids.dedup();
        // After the duplicates are gone: an id that stands twice must not hide an event without an id.
        let unnamed = lost.count.saturating_sub(lost.ids.len() as u64);
        self.unnamed = self.unnamed.saturating_add(unnamed);
        self.named.append(&mut lost.ids);
    }

    /// The number of them that are not in the log. An event with one of the ids counts as found, whatever its
    /// content.
    pub(super) fn count(mut self, log: &Connection) -> rusqlite::Result<u64> {
        self.named.sort_unstable();
        // Several events may report the same id, which counts once.
        self.named.dedup();
        let mut statement = log.prepare("SELECT 1 FROM log WHERE event_id = ?1")?;
        let mut missing = 0;
        for event_id in &self.named {
            missing += u64::from(!statement.exists([event_id.bytes()])?);
        }
        Ok(self.unnamed.saturating_add(missing))
    }
}
