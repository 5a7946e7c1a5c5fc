//! Events that could not be written. Their ids are kept until the log itself has a record of them.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::batch::Batch;
use crate::event::{Event, EventId, EventsLost, Timestamp};
use crate::limits::LOST_IDS_MAX;
use crate::prepare::{Parts, salt};

/// The fate of a refused event, as far as it is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    NotWritten,
    /// Perhaps written: its commit may have taken effect, so it is looked up before it is recorded.
    Unsure,
}

/// Refused events of which the log has no record yet.
#[derive(Default)]
struct Refused {
    /// Each event once, however often it was sent. At most [`LOST_IDS_MAX`].
    named: BTreeMap<EventId, Fate>,
    /// Number of further such events, and of those without ids.
    unnamed: u64,
    /// Number of events in `unnamed` whose commits may have taken effect. Nobody looks them up: they count as lost,
    /// and the record states that.
    not_looked_for: u64,
    /// Time and reason of the first refusal.
    first: Option<(Timestamp, Arc<str>)>,
}

impl Refused {
    fn is_empty(&self) -> bool {
        self.first.is_none()
    }

    fn is_first(&mut self, now: Timestamp, reason: &Arc<str>) {
        self.first.get_or_insert_with(|| (now, reason.clone()));
    }

    /// Adds later refusals.
    fn extend(&mut self, later: Refused) {
        self.unnamed += later.unnamed;
        self.not_looked_for += later.not_looked_for;
        later.named.into_iter().for_each(|(event_id, fate)| self.add(event_id, fate));
        self.first = self.first.take().or(later.first);
    }

    fn add(&mut self, event_id: EventId, fate: Fate) {
        // Ids beyond the bound are only counted, so that a disk that fails for hours fills no memory.
        let has_room = self.named.len() < LOST_IDS_MAX;
        match self.named.get_mut(&event_id) {
            // An event that was perhaps written once stays one that was perhaps written.
            Some(known) if fate == Fate::Unsure => *known = fate,
            Some(_) => {}
            None if has_room => drop(self.named.insert(event_id, fate)),
            None => {
                self.unnamed += 1;
                self.not_looked_for += u64::from(fate == Fate::Unsure);
            }
        }
    }

    /// The content of the record: time and reason of the first refusal.
    fn since(&self) -> Option<(Timestamp, String)> {
        let (since, reason) = self.first.as_ref()?;
        let reason = match self.not_looked_for {
            0 => reason.to_string(),
            events => format!("{reason} ({events} of these events may have been written all the same)"),
        };
        Some((*since, reason))
    }
}

/// The refused events, and the state of their record.
#[derive(Default)]
pub(super) struct Losses {
    open: Refused,
    /// The id and the content of an `events.lost` that may be in the log: its commit may have taken effect.
    tried: Option<(EventId, Refused)>,
}

impl Losses {
    /// Returns whether the log has a record of all refusals.
    pub(super) fn is_empty(&self) -> bool {
        self.open.is_empty() && self.tried.is_none()
    }

    /// Remembers an event that was not written.
    pub(super) fn add(&mut self, event_id: EventId, now: Timestamp, reason: &Arc<str>) {
        self.open.is_first(now, reason);
        self.open.add(event_id, Fate::NotWritten);
    }

    /// Counts ends of handles that were dropped. Nobody sends them again.
    pub(super) fn add_given_up(&mut self, now: Timestamp, events: u64) {
        self.open.is_first(now, &Arc::from("handles were dropped, and their ends could not be sent"));
        self.open.unnamed += events;
    }

    /// Remembers an event that was perhaps not written.
    pub(super) fn add_unsure(&mut self, event_id: EventId, now: Timestamp, reason: &Arc<str>) {
        self.open.is_first(now, reason);
        self.open.add(event_id, Fate::Unsure);
    }

    /// Appends `events.lost`, unless no event turns out to be lost. Returns the id of the record.
    pub(super) fn append(&mut self, batch: &mut Batch<'_>) -> rusqlite::Result<Option<EventId>> {
        // Looked up in the transaction that may repeat the record, so the answer still holds at its commit.
        let is_recorded = self.tried.as_ref().map(|(event_id, _)| batch.has(*event_id)).transpose()?;
        if let (Some((_, refused)), Some(false)) = (self.tried.take(), is_recorded) {
            // The record did not take effect. Its refusals are the older ones, so their time and reason come first.
            let later = std::mem::replace(&mut self.open, refused);
            self.open.extend(later);
        }
        let mut ids = Vec::new();
        for (event_id, fate) in &self.open.named {
            // An event whose fate is unknown is lost only if the log lacks it now.
            if *fate == Fate::NotWritten || !batch.has(*event_id)? {
                ids.push(*event_id);
            }
        }
        let count = self.open.unnamed + ids.len() as u64;
        let Some((since, reason)) = self.open.since().filter(|_| count > 0) else { return Ok(None) };
        let event = Event::EventsLost(EventsLost { count, since, reason, ids });
        let event_id = EventId::generate();
        let failed =
            |error: &dyn std::fmt::Display| rusqlite::Error::ToSqlConversionFailure(error.to_string().into());
        let parts = Parts { event_id, session: None, occurred_at: None, principal: None };
        let prepared = parts.with_payload(&event, salt()).map_err(|error| failed(&error))?;
        batch.append_event(&prepared)?.map_err(|error| failed(&error))?;
        Ok(Some(event_id))
    }

    /// Forgets all refusals, because the log has a record of them.
    pub(super) fn recorded(&mut self) {
        *self = Losses::default();
    }

    /// Notes that the commit of the `events.lost` with this id may have taken effect. The record is looked up before
    /// any of it is recorded again.
    pub(super) fn perhaps_recorded(&mut self, event_id: Option<EventId>) {
        if let Some(event_id) = event_id {
            self.tried = Some((event_id, std::mem::take(&mut self.open)));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(number: usize) -> EventId {
        let mut id = [0; 16];
        id[..8].copy_from_slice(&(number as u64).to_be_bytes());
        EventId::from_bytes(id)
    }

    #[test]
    fn a_disk_that_fails_for_hours_fills_no_memory() {
        let more = 3;
        let (now, reason) = (Timestamp::from_micros(1), Arc::from("the disk fails"));
        let mut losses = Losses::default();
        for number in 0..LOST_IDS_MAX + more {
            losses.add_unsure(id(number), now, &reason);
        }
        losses.perhaps_recorded(Some(EventId::generate()));
        losses.add_unsure(id(LOST_IDS_MAX + more), now, &reason);
        let (_, mut refused) = losses.tried.take().unwrap();
        refused.extend(losses.open);
        assert_eq!(refused.named.len(), LOST_IDS_MAX);
        assert_eq!((refused.unnamed, refused.not_looked_for), (more as u64 + 1, more as u64 + 1));
        let (_, said) = refused.since().unwrap();
        assert_eq!(said, "the disk fails (4 of these events may have been written all the same)");
    }

    #[test]
    fn an_event_that_is_sent_again_and_again_is_one_event() {
        let (now, reason) = (Timestamp::from_micros(1), Arc::from("the disk is full"));
        let mut losses = Losses::default();
        for _ in 0..5 {
            losses.add(id(1), now, &reason);
            losses.add(id(2), now, &reason);
        }
        losses.add_unsure(id(1), now, &reason);
        losses.add(id(1), now, &reason);
        losses.add_given_up(now, 4);
        assert_eq!(losses.open.named, BTreeMap::from([(id(1), Fate::Unsure), (id(2), Fate::NotWritten)]));
        assert_eq!(losses.open.unnamed, 4);
    }
}
