//! Events that could not be written. Their ids are kept in memory until the log has a record of them.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::batch::Batch;
use crate::event::{Event, EventId, EventsLost, Timestamp};
use crate::limits::LOST_IDS_MAX;
use crate::prepare::{Parts, salt};

/// The refusal of one event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Refusal {
    NotWritten,
    /// Perhaps written: the commit of the event may have taken effect, so the event is looked up before it is recorded
    /// as lost.
    Ambiguous,
}

/// Refused events of which the log has no record yet.
#[derive(Default)]
struct Refused {
    /// Each event once, even if it was sent several times. At most [`LOST_IDS_MAX`].
    named: BTreeMap<EventId, Refusal>,
    /// Number of refused events that are not in `named`: those beyond its bound, and those without ids.
    unnamed: u64,
    /// Number of events in `unnamed` whose commits may have taken effect. They cannot be looked up, so they count as
    /// lost, and the record states their number.
    ambiguous: u64,
    /// Time and reason of the first refusal.
    first: Option<(Timestamp, Arc<str>)>,
}

impl Refused {
    fn is_empty(&self) -> bool {
        self.first.is_none()
    }

    fn note_first(&mut self, now: Timestamp, reason: &Arc<str>) {
        self.first.get_or_insert_with(|| (now, reason.clone()));
    }

    /// Adds later refusals.
    fn extend(&mut self, later: Refused) {
        self.unnamed += later.unnamed;
        self.ambiguous += later.ambiguous;
        later.named.into_iter().for_each(|(event_id, refusal)| self.add(event_id, refusal));
        self.first = self.first.take().or(later.first);
    }

    fn add(&mut self, event_id: EventId, refusal: Refusal) {
        // Ids beyond the bound are only counted, so that a disk that fails for hours fills no memory.
        let has_room = self.named.len() < LOST_IDS_MAX;
        match self.named.get_mut(&event_id) {
            // The event was perhaps written if one of several attempts to write it was ambiguous.
            Some(known) if refusal == Refusal::Ambiguous => *known = refusal,
            Some(_) => {}
            None if has_room => drop(self.named.insert(event_id, refusal)),
            None => {
                self.unnamed += 1;
                self.ambiguous += u64::from(refusal == Refusal::Ambiguous);
            }
        }
    }

    /// The time and the reason of the first refusal, for the record.
    fn since(&self) -> Option<(Timestamp, String)> {
        let (since, reason) = self.first.as_ref()?;
        let reason = match self.ambiguous {
            0 => reason.to_string(),
            events => format!("{reason} ({events} of these events may have been written nevertheless)"),
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

    /// Adds an event that was not written.
    pub(super) fn add(&mut self, event_id: EventId, now: Timestamp, reason: &Arc<str>) {
        self.open.note_first(now, reason);
        self.open.add(event_id, Refusal::NotWritten);
    }

    /// Counts end events of dropped handles that could not be sent. No caller sends them again.
    pub(super) fn add_given_up(&mut self, now: Timestamp, events: u64) {
        self.open.note_first(
            now,
            &Arc::from("handles of sessions or steps were dropped, and their ends could not be sent"),
        );
        self.open.unnamed += events;
    }

    /// Adds an event that was perhaps written.
    pub(super) fn add_ambiguous(&mut self, event_id: EventId, now: Timestamp, reason: &Arc<str>) {
        self.open.note_first(now, reason);
        self.open.add(event_id, Refusal::Ambiguous);
    }

    /// Appends `events.lost` if any event is lost. Returns the id of this record.
    pub(super) fn append(&mut self, batch: &mut Batch<'_>) -> rusqlite::Result<Option<EventId>> {
        // Looked up in the transaction that may append the record again, so the result still holds at the commit.
        let is_recorded = self.tried.as_ref().map(|(event_id, _)| batch.has(*event_id)).transpose()?;
        if let (Some((_, refused)), Some(false)) = (self.tried.take(), is_recorded) {
            // The record did not take effect. Its refusals are the older ones, so their time and reason come first.
            let later = std::mem::replace(&mut self.open, refused);
            self.open.extend(later);
        }
        let mut ids = Vec::new();
        for (event_id, refusal) in &self.open.named {
            // An event whose outcome is unknown is lost only if the log lacks it now.
            if *refusal == Refusal::NotWritten || !batch.has(*event_id)? {
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

    /// Notes that the commit of the `events.lost` with this id may have taken effect. Its losses are recorded again
    /// only if the log lacks this event.
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
            losses.add_ambiguous(id(number), now, &reason);
        }
        losses.perhaps_recorded(Some(EventId::generate()));
        losses.add_ambiguous(id(LOST_IDS_MAX + more), now, &reason);
        let (_, mut refused) = losses.tried.take().unwrap();
        refused.extend(losses.open);
        assert_eq!(refused.named.len(), LOST_IDS_MAX);
        assert_eq!((refused.unnamed, refused.ambiguous), (more as u64 + 1, more as u64 + 1));
        let (_, reason) = refused.since().unwrap();
        assert_eq!(reason, "the disk fails (4 of these events may have been written nevertheless)");
    }

    #[test]
    fn an_event_that_is_refused_several_times_counts_once() {
        let (now, reason) = (Timestamp::from_micros(1), Arc::from("the disk is full"));
        let mut losses = Losses::default();
        for _ in 0..5 {
            losses.add(id(1), now, &reason);
            losses.add(id(2), now, &reason);
        }
        losses.add_ambiguous(id(1), now, &reason);
        losses.add(id(1), now, &reason);
        losses.add_given_up(now, 4);
        assert_eq!(
            losses.open.named,
            BTreeMap::from([(id(1), Refusal::Ambiguous), (id(2), Refusal::NotWritten)])
        );
        assert_eq!(losses.open.unnamed, 4);
    }
}
