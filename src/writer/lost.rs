//! Events that could not be written, counted until the log itself can say so.

use std::sync::Arc;

use super::batch::Batch;
use crate::event::{Event, EventId, EventsLost, Timestamp};
use crate::limits::UNSURE_EVENTS_MAX;
use crate::prepare::{Parts, salt};

/// Refused events of which the log does not know yet.
#[derive(Default)]
struct Refused {
    count: u64,
    /// Events of commits that may have taken effect: they are looked for before they are counted. At
    /// most [`UNSURE_EVENTS_MAX`].
    unsure: Vec<EventId>,
    /// More such events. Nobody looks for them: they count as lost, and the record says so.
    not_looked_for: u64,
    /// When the first was refused, and why.
    first: Option<(Timestamp, Arc<str>)>,
}

impl Refused {
    fn is_empty(&self) -> bool {
        self.first.is_none()
    }

    fn is_first(&mut self, now: Timestamp, reason: &Arc<str>) {
        self.first.get_or_insert_with(|| (now, reason.clone()));
    }

    /// Adds what was refused later.
    fn extend(&mut self, later: Refused) {
        self.count += later.count;
        self.not_looked_for += later.not_looked_for;
        later.unsure.into_iter().for_each(|event_id| self.add_unsure(event_id));
        self.first = self.first.take().or(later.first);
    }

    fn add_unsure(&mut self, event_id: EventId) {
        if self.unsure.len() < UNSURE_EVENTS_MAX {
            self.unsure.push(event_id);
        } else {
            self.not_looked_for += 1;
        }
    }

    /// What the record says: when the first was refused, and why.
    fn since(&self) -> Option<(Timestamp, String)> {
        let (since, reason) = self.first.as_ref()?;
        let reason = match self.not_looked_for {
            0 => reason.to_string(),
            events => format!("{reason} ({events} of these events may have been written all the same)"),
        };
        Some((*since, reason))
    }
}

/// The refused events, and what became of the record of them.
#[derive(Default)]
pub(super) struct Losses {
    open: Refused,
    /// What an `events.lost` of this id says, if it is in the log: its commit may have taken effect.
    tried: Option<(EventId, Refused)>,
}

impl Losses {
    /// Whether the log knows of all.
    pub(super) fn is_empty(&self) -> bool {
        self.open.is_empty() && self.tried.is_none()
    }

    /// Counts an event that was not written.
    pub(super) fn add(&mut self, now: Timestamp, reason: &Arc<str>) {
        self.open.is_first(now, reason);
        self.open.count += 1;
    }

    /// Counts ends of handles that were dropped, and that nobody sends again.
    pub(super) fn add_given_up(&mut self, now: Timestamp, events: u64) {
        self.open.is_first(now, &Arc::from("handles were dropped whose ends could not be sent"));
        self.open.count += events;
    }

    /// Keeps an event in mind that was perhaps not written.
    pub(super) fn add_unsure(&mut self, event_id: EventId, now: Timestamp, reason: &Arc<str>) {
        self.open.is_first(now, reason);
        self.open.add_unsure(event_id);
    }

    /// Appends `events.lost`, unless it turns out that nothing was, and returns its id.
    pub(super) fn append(&mut self, batch: &mut Batch<'_>) -> rusqlite::Result<Option<EventId>> {
        let is_recorded = self.tried.as_ref().map(|(event_id, _)| batch.has(*event_id)).transpose()?;
        if let (Some((_, refused)), Some(false)) = (self.tried.take(), is_recorded) {
            let later = std::mem::replace(&mut self.open, refused);
            self.open.extend(later);
        }
        let mut count = self.open.count + self.open.not_looked_for;
        for event_id in &self.open.unsure {
            count += u64::from(!batch.has(*event_id)?);
        }
        let Some((since, reason)) = self.open.since().filter(|_| count > 0) else { return Ok(None) };
        let event = Event::EventsLost(EventsLost { count, since, reason });
        let event_id = EventId::generate();
        let failed =
            |error: &dyn std::fmt::Display| rusqlite::Error::ToSqlConversionFailure(error.to_string().into());
        let parts = Parts { event_id, session: None, occurred_at: None, principal: None };
        let prepared = parts.with_payload(&event, salt()).map_err(|error| failed(&error))?;
        batch.append_event(&prepared)?.map_err(|error| failed(&error))?;
        Ok(Some(event_id))
    }

    /// The log knows.
    pub(super) fn recorded(&mut self) {
        *self = Losses::default();
    }

    /// The commit of the `events.lost` with this id may have taken effect: whether it did is looked
    /// for before any of it is recorded again.
    pub(super) fn perhaps_recorded(&mut self, event_id: Option<EventId>) {
        if let Some(event_id) = event_id {
            self.tried = Some((event_id, std::mem::take(&mut self.open)));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_disk_that_fails_for_hours_fills_no_memory() {
        let more = 3;
        let (now, reason) = (Timestamp::from_micros(1), Arc::from("the disk fails"));
        let mut losses = Losses::default();
        for _ in 0..UNSURE_EVENTS_MAX + more {
            losses.add_unsure(EventId::from_bytes([7; 16]), now, &reason);
        }
        losses.perhaps_recorded(Some(EventId::generate()));
        losses.add_unsure(EventId::from_bytes([8; 16]), now, &reason);
        let (_, mut refused) = losses.tried.take().unwrap();
        refused.extend(losses.open);
        assert_eq!(refused.unsure.len(), UNSURE_EVENTS_MAX);
        assert_eq!(refused.not_looked_for, more as u64 + 1);
        let (_, said) = refused.since().unwrap();
        assert_eq!(said, "the disk fails (4 of these events may have been written all the same)");
    }
}
