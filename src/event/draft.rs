//! Events before they are recorded.

use super::id::{EventId, SessionId, Timestamp};
use super::json_text::Json;
use super::kind::Event;
use super::payload::{ActionRecorded, OtelLog, OtelSpan};
use crate::encoding;

/// An event that was not appended yet.
///
/// ```
/// use annals::{Draft, NoteLogged};
///
/// let draft = Draft::new(NoteLogged { message: "cache is cold".into(), ..Default::default() });
/// assert!(draft.check().is_ok());
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Draft {
    /// The event's id, which the producer may set: an event that is sent again with the same id is recorded
    /// once. If absent, Annals makes one.
    pub id: Option<EventId>,
    /// The session that the event belongs to.
    pub session: Option<SessionId>,
    /// Time at which the event happened, by the producer's clock; absent if it is not known.
    pub at: Option<Timestamp>,
    /// The kind and the content.
    pub event: Event,
}

impl Draft {
    /// A draft without id, session or time.
    pub fn new(event: impl Into<Event>) -> Draft {
        Draft { id: None, session: None, at: None, event: event.into() }
    }

    /// Puts the draft into a session.
    #[must_use]
    pub fn session(mut self, session: SessionId) -> Draft {
        self.session = Some(session);
        self
    }

    /// Sets the time at which the event happened.
    #[must_use]
    pub fn at(mut self, at: Timestamp) -> Draft {
        self.at = Some(at);
        self
    }

    /// Sets the event's id.
    #[must_use]
    pub fn id(mut self, id: EventId) -> Draft {
        self.id = Some(id);
        self
    }

    /// The size of the encoded payload, in bytes. The limit of a log applies to this size.
    ///
    /// # Errors
    /// If the payload cannot be encoded.
    pub fn payload_bytes(&self) -> Result<usize, encoding::EncodeError> {
        let mut bytes = Vec::new();
        self.event.encode(&mut bytes)?;
        Ok(bytes.len())
    }

    /// Fills the absent id of a decision, finding or review with the event's own id.
    pub(crate) fn fill_ids(&mut self, event_id: EventId) {
        // Not a fresh id: an event that is sent again under its id must have the same payload again.
        match &mut self.event {
            Event::DecisionMade(made) if made.decision.is_absent() => made.decision = event_id.into(),
            Event::FindingRaised(raised) if raised.finding.is_absent() => raised.finding = event_id.into(),
            Event::ReviewRecorded(review) if review.review.is_absent() => review.review = event_id.into(),
            _ => {}
        }
    }

    /// Makes free-form fields that are `null` absent, as the reader of the JSON form does. Otherwise an event
    /// that is exported and read again would differ from the recorded one.
    pub(crate) fn drop_nulls(&mut self) {
        fn drop_null(field: &mut Option<Json>) {
            if field.as_ref().is_some_and(Json::is_null) {
                *field = None;
            }
        }
        // Attributes keep their nulls, because the JSON form keeps them too. A span or log record itself must
        // be an object.
        match &mut self.event {
            Event::FindingRaised(raised) => drop_null(&mut raised.evidence),
            Event::NoteLogged(note) => drop_null(&mut note.data),
            Event::OtelSpan(OtelSpan { resource, scope, .. })
            | Event::OtelLog(OtelLog { resource, scope, .. }) => {
                drop_null(resource);
                drop_null(scope);
            }
            Event::PolicyDecided(decided) => drop_null(&mut decided.input),
            Event::Custom(custom) => drop_null(&mut custom.data),
            Event::ActionRecorded(ActionRecorded { changes: Some(changes), .. }) => {
                drop_null(&mut changes.before);
                drop_null(&mut changes.after);
            }
            _ => {}
        }
    }
}
