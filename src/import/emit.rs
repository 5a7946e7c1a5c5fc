//! Drafts on their way to the sink: given their ids, checked and counted.

use std::collections::HashSet;

use super::error::{ImportError, Location, SinkError};
use super::source::{Imported, Source};
use crate::limits::PAYLOAD_BYTES_DEFAULT;
use crate::{Draft, Event, EventId, PrepareError, SessionId, Timestamp};

/// The receiver of an importer's events.
pub type Sink<'a> = dyn FnMut(Handed) -> Result<(), SinkError> + 'a;

/// Events that an importer hands to its sink.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Handed {
    /// The record that they are made from.
    pub place: Location,
    /// The events, in order: one, or all that a map made of the record.
    pub drafts: Vec<Draft>,
    /// The length of their payloads.
    pub bytes: usize,
    /// The treatment of an event whose id another event of the log has.
    pub change: Change,
}

/// The treatment of an event whose id another event of the log has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// The record never changes, so the two events contradict each other.
    Never,
    /// The record may have changed since it was imported. The event, and those handed over after it with the same record,
    /// are a later state of it: they are recorded with the first [`later_id`] that no other event has.
    May,
}

/// The id of an event's state number `round`, by the id of its first state, which is number 0.
///
/// It is made of no content, because ids stay when payloads are erased.
pub fn later_id(first: EventId, round: u64) -> EventId {
    match round {
        0 => first,
        _ => EventId::from_name(&format!("state/{first}/{round}")),
    }
}

/// Checks the size of an event against the limit that a log has unless its owner sets another, and returns the size.
pub(crate) fn fits(draft: &Draft) -> Result<usize, PrepareError> {
    let (bytes, max) = (draft.payload_bytes()?, PAYLOAD_BYTES_DEFAULT);
    if bytes > max { Err(PrepareError::TooLarge { bytes, max }) } else { Ok(bytes) }
}

/// The way of every importer's drafts to the sink.
pub(super) struct Emitter<'a> {
    sink: &'a mut Sink<'a>,
    /// Sessions that were begun. A second one with the same id is then an error that names the record, instead of a
    /// conflict of two events.
    begun: HashSet<String>,
    imported: Imported,
}

/// The session that drafts belong to, and the record that it is made from.
#[derive(Clone, Debug)]
pub(super) struct Scope {
    pub(super) place: Location,
    pub(super) session: SessionId,
}

impl Scope {
    /// The session with this id.
    pub(super) fn of(place: Location, id: &str) -> Result<Scope, ImportError> {
        match SessionId::new(id) {
            Ok(session) => Ok(Scope { place, session }),
            Err(reason) => Err(ImportError::SessionId { place, id: id.to_owned(), reason }),
        }
    }

    /// The same session, for another record.
    pub(super) fn at(&self, place: &Location) -> Scope {
        Scope { place: place.clone(), session: self.session.clone() }
    }

    /// An id within the session.
    pub(super) fn id<T>(&self, field: &str, id: &str) -> Result<T, ImportError>
    where
        for<'t> T: TryFrom<&'t str, Error = crate::IdError>,
    {
        T::try_from(id).map_err(|reason| ImportError::Field {
            place: self.place.clone(),
            field: field.to_owned(),
            reason: reason.to_string(),
        })
    }
}

impl<'a> Emitter<'a> {
    pub(super) fn new(sink: &'a mut Sink<'a>) -> Emitter<'a> {
        Emitter { sink, begun: HashSet::new(), imported: Imported::default() }
    }

    /// Begins a session. `position` is its position in the source.
    pub(super) fn session(
        &mut self,
        place: Location,
        format: &str,
        source: &Source,
        position: &str,
    ) -> Result<Scope, ImportError> {
        let id = format!("{format}/{}/{position}", source.name());
        let scope = Scope::of(place, &id)?;
        self.begin(&scope)?;
        Ok(scope)
    }

    /// Begins a session whose id is not made of the name of the source.
    pub(super) fn begin(&mut self, scope: &Scope) -> Result<(), ImportError> {
        let session = scope.session.to_string();
        match self.begun.insert(session.clone()) {
            true => Ok(()),
            false => Err(ImportError::Repeated { place: scope.place.clone(), session }),
        }
    }

    /// Hands over an event of a session. `what` names it within the session, and so makes its id.
    pub(super) fn emit(
        &mut self,
        scope: &Scope,
        what: &str,
        at: Option<Timestamp>,
        event: impl Into<Event>,
    ) -> Result<(), ImportError> {
        self.send(&scope.place, draft(scope, what, at, event), Change::Never)
    }

    /// Hands over an event of a session that may be another one when the source is imported again.
    pub(super) fn emit_state(
        &mut self,
        scope: &Scope,
        what: &str,
        at: Option<Timestamp>,
        event: impl Into<Event>,
    ) -> Result<(), ImportError> {
        self.send(&scope.place, draft(scope, what, at, event), Change::May)
    }

    /// Hands over an event that belongs to no session. `name` makes its id.
    pub(super) fn emit_alone(
        &mut self,
        place: &Location,
        name: &str,
        at: Option<Timestamp>,
        event: impl Into<Event>,
    ) -> Result<(), ImportError> {
        let draft = Draft { id: Some(EventId::from_name(name)), session: None, at, event: event.into() };
        self.send(place, draft, Change::Never)
    }

    /// Hands over a draft that has its id.
    fn send(&mut self, place: &Location, draft: Draft, change: Change) -> Result<(), ImportError> {
        self.send_all(place, vec![draft], change)
    }

    /// Hands over drafts of one record, which have their ids: all of them, or none if one is bad.
    pub(super) fn send_all(
        &mut self,
        place: &Location,
        drafts: Vec<Draft>,
        change: Change,
    ) -> Result<(), ImportError> {
        // Checked here and not in the log, because the record is known here.
        let mut bytes = 0_usize;
        let mut imported = self.imported;
        for draft in &drafts {
            draft.check().map_err(|source| ImportError::Invalid { place: place.clone(), source })?;
            let own = fits(draft).map_err(|source| ImportError::Unfit { place: place.clone(), source })?;
            bytes = bytes.saturating_add(own);
            imported.count(&draft.event);
        }
        (self.sink)(Handed { place: place.clone(), drafts, bytes, change }).map_err(ImportError::Sink)?;
        // Only what the sink took is counted.
        self.imported = imported;
        Ok(())
    }

    pub(super) fn imported(&self) -> Imported {
        self.imported
    }
}

fn draft(scope: &Scope, what: &str, at: Option<Timestamp>, event: impl Into<Event>) -> Draft {
    // Made of names alone and never of content, so another import makes the same id.
    let id = EventId::from_name(&format!("{}/{what}", scope.session));
    Draft { id: Some(id), session: Some(scope.session.clone()), at, event: event.into() }
}
