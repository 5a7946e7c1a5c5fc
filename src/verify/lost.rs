//! Events that the log says were refused: lost are those that are not in it.

use rusqlite::Connection;

use crate::event::{EventId, EventsLost};

/// The refused events of a log. Each id takes 16 bytes until the end, as it does in the log.
#[derive(Default)]
pub(super) struct Lost {
    /// Events whose ids nobody noted.
    unnamed: u64,
    named: Vec<EventId>,
}

impl Lost {
    /// Adds what one event of the log says.
    pub(super) fn add(&mut self, mut lost: EventsLost) {
        lost.ids.sort_unstable();
        lost.ids.dedup();
        let unnamed = lost.count.saturating_sub(lost.ids.len() as u64);
        self.unnamed = self.unnamed.saturating_add(unnamed);
        self.named.append(&mut lost.ids);
    }

    /// How many of them are not in the log. An event with one of the ids is found, whatever it says.
    pub(super) fn count(mut self, log: &Connection) -> rusqlite::Result<u64> {
        self.named.sort_unstable();
        self.named.dedup();
        let mut statement = log.prepare("SELECT 1 FROM log WHERE event_id = ?1")?;
        let mut missing = 0;
        for event_id in &self.named {
            missing += u64::from(!statement.exists([event_id.bytes()])?);
        }
        Ok(self.unnamed.saturating_add(missing))
    }
}
