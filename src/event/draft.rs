//! Events before they are recorded.

use super::id::{EventId, SessionId, Timestamp};
use super::json_text::Json;
use super::kind::Event;
use super::payload::{ActionRecorded, OtelLog, OtelSpan};
use crate::encoding;

/// An event before it is recorded.
///
/// ```
/// use annals::{Draft, NoteLogged};
///
/// let draft = Draft::new(NoteLogged { message: "cache is cold".into(), ..Default::default() });
/// assert!(draft.check().is_ok());
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Draft {
    /// The producer's id for it, which makes sending it again harmless; made where absent.
    pub id: Option<EventId>,
    /// The session that it belongs to.
    pub session: Option<SessionId>,
    /// When it happened by the producer's clock; absent where that is not known.
    pub at: Option<Timestamp>,
    /// What it says.
    pub event: Event,
}

impl Draft {
    /// A draft without id, session or time.
    pub fn new(event: impl Into<Event>) -> Draft {
        Draft { id: None, session: None, at: None, event: event.into() }
    }

    /// The same in a session.
    #[must_use]
    pub fn in_session(mut self, session: SessionId) -> Draft {
        self.session = Some(session);
        self
    }

    /// The same at a time.
    #[must_use]
    pub fn at(mut self, at: Timestamp) -> Draft {
        self.at = Some(at);
        self
    }

    /// The same with an id.
    #[must_use]
    pub fn with_id(mut self, id: EventId) -> Draft {
        self.id = Some(id);
        self
    }

    /// Size of what it says as encoded, in bytes: what a log's limit is held against.
    ///
    /// # Errors
    /// If it has no encoding.
    pub fn payload_bytes(&self) -> Result<usize, encoding::EncodeError> {
        let mut bytes = Vec::new();
        self.event.encode(&mut bytes)?;
        Ok(bytes.len())
    }

    /// Makes the ids that the producer left to Annals: the event's own id serves.
    pub(crate) fn fill_ids(&mut self, event_id: EventId) {
        match &mut self.event {
            Event::DecisionMade(made) if made.decision.is_absent() => made.decision = event_id.into(),
            Event::FindingRaised(raised) if raised.finding.is_absent() => raised.finding = event_id.into(),
            Event::ReviewRecorded(review) if review.review.is_absent() => review.review = event_id.into(),
            _ => {}
        }
    }

    /// Takes free-form fields that are `null` for absent, as the JSON form does: else an event that
    /// was exported and read again would not be the one that was recorded.
    pub(crate) fn drop_nulls(&mut self) {
        fn drop_null(field: &mut Option<Json>) {
            if field.as_ref().is_some_and(Json::is_null) {
                *field = None;
            }
        }
        match &mut self.event {
            Event::FindingRaised(raised) => drop_null(&mut raised.evidence),
            Event::NoteLogged(note) => drop_null(&mut note.data),
            Event::OtelSpan(OtelSpan { resource, scope, .. })
            | Event::OtelLog(OtelLog { resource, scope, .. }) => {
                drop_null(resource);
                drop_null(scope);
            }
            Event::Custom(custom) => drop_null(&mut custom.data),
            Event::ActionRecorded(ActionRecorded { changes: Some(changes), .. }) => {
                drop_null(&mut changes.before);
                drop_null(&mut changes.after);
            }
            _ => {}
        }
    }
}
