//! Drafts on their way to the sink: given their ids, checked and counted.

use std::collections::HashSet;

use super::error::{ImportError, Location, SinkError};
use super::source::{Imported, Source};
use crate::limits::PAYLOAD_BYTES_DEFAULT;
use crate::{Draft, Event, EventId, PrepareError, SessionId, Timestamp};

/// The way of every importer's drafts to the sink.
pub(super) struct Emitter<'a> {
    sink: &'a mut (dyn FnMut(Draft) -> Result<(), SinkError> + 'a),
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
    pub(super) fn new(sink: &'a mut (dyn FnMut(Draft) -> Result<(), SinkError> + 'a)) -> Emitter<'a> {
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
        if !self.begun.insert(id) {
            return Err(ImportError::Repeated { place: scope.place, session: scope.session.to_string() });
        }
        Ok(scope)
    }

    /// Hands over an event of a session. `what` names it within the session, and so makes its id.
    pub(super) fn emit(
        &mut self,
        scope: &Scope,
        what: &str,
        at: Option<Timestamp>,
        event: impl Into<Event>,
    ) -> Result<(), ImportError> {
        // Made of names alone and never of content, so another import makes the same id.
        let id = EventId::from_name(&format!("{}/{what}", scope.session));
        let session = Some(scope.session.clone());
        self.send(&scope.place, Draft { id: Some(id), session, at, event: event.into() })
    }

    /// Hands over an event that belongs to no session. `name` makes its id.
    pub(super) fn emit_alone(
        &mut self,
        place: &Location,
        name: &str,
        at: Option<Timestamp>,
        event: impl Into<Event>,
    ) -> Result<(), ImportError> {
        self.send(place, Draft { id: Some(EventId::from_name(name)), session: None, at, event: event.into() })
    }

    /// Hands over a draft that has its id, or needs none.
    pub(super) fn send(&mut self, place: &Location, draft: Draft) -> Result<(), ImportError> {
        // Checked here and not in the log, because the record is known here.
        draft.check().map_err(|source| ImportError::Invalid { place: place.clone(), source })?;
        let counter = match draft.event {
            Event::SessionStarted(_) => Some(&mut self.imported.sessions),
            Event::StepStarted(_) => Some(&mut self.imported.steps),
            Event::DecisionMade(_) => Some(&mut self.imported.decisions),
            Event::FindingRaised(_) => Some(&mut self.imported.findings),
            _ => None,
        };
        (self.sink)(draft).map_err(|error| match error.downcast::<PrepareError>() {
            Ok(source) => ImportError::Unfit { place: place.clone(), source: *source },
            Err(error) => ImportError::Sink(error),
        })?;
        // Only what the sink took is counted.
        if let Some(counter) = counter {
            *counter += 1;
        }
        self.imported.events += 1;
        Ok(())
    }

    /// Hands over the events that a map made of one record: all of them, or none if one is bad.
    pub(super) fn send_all(&mut self, place: &Location, drafts: Vec<Draft>) -> Result<(), ImportError> {
        // A single draft is checked when it is sent.
        if drafts.len() > 1 {
            for draft in &drafts {
                draft.check().map_err(|source| ImportError::Invalid { place: place.clone(), source })?;
                fits(draft).map_err(|source| ImportError::Unfit { place: place.clone(), source })?;
            }
        }
        drafts.into_iter().try_for_each(|draft| self.send(place, draft))
    }

    pub(super) fn imported(&self) -> Imported {
        self.imported
    }
}

/// Checks the size of an event against the limit that a log has unless its owner sets another.
fn fits(draft: &Draft) -> Result<(), PrepareError> {
    let (bytes, max) = (draft.payload_bytes()?, PAYLOAD_BYTES_DEFAULT);
    if bytes > max { Err(PrepareError::TooLarge { bytes, max }) } else { Ok(()) }
}
