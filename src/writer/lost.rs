//! Events that could not be written, counted until the log itself can say so.

use std::sync::Arc;

use super::batch::Batch;
use crate::event::{Event, EventId, EventsLost, Timestamp};
use crate::limits::SALT_BYTES;
use crate::prepare::Parts;

/// Refused events of which the log does not know yet.
#[derive(Default)]
struct Refused {
    count: u64,
    /// Events of commits that may have taken effect: they are looked for before they are counted.
    unsure: Vec<EventId>,
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
        self.unsure.extend(later.unsure);
        self.first = self.first.take().or(later.first);
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
        self.open.unsure.push(event_id);
    }

    /// Appends `events.lost`, unless it turns out that nothing was, and returns its id.
    pub(super) fn append(&mut self, batch: &mut Batch<'_>) -> rusqlite::Result<Option<EventId>> {
        let is_recorded = self.tried.as_ref().map(|(event_id, _)| batch.has(*event_id)).transpose()?;
        if let (Some((_, refused)), Some(false)) = (self.tried.take(), is_recorded) {
            let later = std::mem::replace(&mut self.open, refused);
            self.open.extend(later);
        }
        let mut count = self.open.count;
        for event_id in &self.open.unsure {
            count += u64::from(!batch.has(*event_id)?);
        }
        let Some((since, reason)) = self.open.first.as_ref().filter(|_| count > 0) else { return Ok(None) };
        let event = Event::EventsLost(EventsLost { count, since: *since, reason: reason.to_string() });
        let event_id = EventId::generate();
        let failed =
            |error: &dyn std::fmt::Display| rusqlite::Error::ToSqlConversionFailure(error.to_string().into());
        let mut salt = [0; SALT_BYTES];
        getrandom::fill(&mut salt).map_err(|error| failed(&error))?;
        let parts = Parts { event_id, session: None, occurred_at: None, principal: None };
        let prepared = parts.with_payload(&event, salt).map_err(|error| failed(&error))?;
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
