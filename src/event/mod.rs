//! What is recorded: kinds of events, their payloads and their JSON form.
//!
//! Everything here is pure: it knows neither SQLite nor threads nor the clock, but for the
//! functions named `generate` and `now`.

mod check;
mod id;
mod json;
mod json_text;
mod payload;
mod words;

#[cfg(test)]
pub(crate) use payload::EventsLost1;

pub use check::{InvalidField, Problem};
pub use id::{DecisionId, Digest, EventId, FindingId, IdError, ReviewId, Seq, SessionId, StepId, Timestamp};
#[cfg(any(test, feature = "client"))]
pub(crate) use json::write_event;
pub use json::{JsonEventError, parse_draft};
pub use json_text::{Attributes, Json, JsonTextError};
pub use payload::{
    ActionRecorded, Actor, ApiKeyCreated, ApiKeyRevoked, ArtifactAttached, Changes, ConsideredOption,
    Continues, Correction, Custom, DecisionMade, EventsLost, FindingRaised, FindingUpdated, KeyChanged,
    LogCreated, MetricRecorded, NoteLogged, OtelLog, OtelSpan, PayloadRedacted, ProjectionSkipped,
    RequestContext, ReviewRecorded, SessionEnded, SessionStarted, SessionUpdated, StepEnded, StepStarted,
};
pub use words::{
    ActionOutcome, ApiKeyScope, FindingStatus, KeyChangeCause, KeyRole, Outcome, SessionEnd, SessionProgress,
    Severity, StepEnd, StepKind, SubjectKind, Verdict,
};

use crate::canonical;
use crate::encoding::{self, DecodeError};

/// Lists the kinds: name of the payload and of the variant, code on disk, name in JSON.
macro_rules! kinds {
    ($( $name:ident = $code:literal, $text:literal; )*) => {
        /// What an event is: its code on disk and its name in JSON never change.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[non_exhaustive]
        pub enum Kind {
            $(
                #[doc = concat!("`", $text, "`, code ", stringify!($code), ".")]
                $name,
            )*
        }

        impl Kind {
            /// Every kind, by code.
            pub const ALL: &[Kind] = &[ $( Kind::$name, )* ];

            /// The code on disk.
            pub const fn code(self) -> u16 {
                match self { $( Kind::$name => $code, )* }
            }

            /// The name in JSON: the value of `type`.
            pub const fn name(self) -> &'static str {
                match self { $( Kind::$name => $text, )* }
            }
        }

        /// What an event says: one variant for each [`Kind`].
        // Events are made one at a time and moved once; a box would cost every one of them.
        #[allow(clippy::large_enum_variant)]
        #[derive(Clone, Debug, PartialEq)]
        #[non_exhaustive]
        pub enum Event {
            $(
                #[doc = concat!("`", $text, "`.")]
                $name($name),
            )*
        }

        impl Event {
            /// What it is.
            pub const fn kind(&self) -> Kind {
                match self { $( Event::$name(_) => Kind::$name, )* }
            }

            /// Appends the payload's bytes to `bytes`.
            pub(crate) fn encode(&self, bytes: &mut Vec<u8>) -> Result<(), encoding::EncodeError> {
                match self { $( Event::$name(payload) => encoding::encode(payload, bytes), )* }
            }

            /// Reads the bytes of a payload of `kind` and `version`, whole.
            ///
            /// This is the one place where payloads of older versions become those of today.
            fn decode(
                kind: Kind,
                version: u8,
                bytes: &[u8],
                strictness: Strictness,
            ) -> Result<Event, PayloadError> {
                match (kind, version) {
                    $(
                        (Kind::$name, version) if version == Kind::$name.version() => {
                            strictness.decode(bytes).map(Event::$name)
                        }
                    )*
                    (Kind::EventsLost, 1) => {
                        strictness.decode(bytes).map(|lost: payload::EventsLost1| lost.into()).map(Event::EventsLost)
                    }
                    _ => Err(PayloadError::UnknownVersion { kind, version }),
                }
            }

            /// Whether bytes are certainly well formed as the payload of a kind and version; of others
            /// decoding says so.
            fn is_well_formed(code: u16, version: u8, bytes: &[u8]) -> bool {
                match (code, version) {
                    $( ($code, version) if version == Kind::$name.version() => canonical::is_well_formed::<$name>(bytes), )*
                    _ => false,
                }
            }

            /// Writes the payload's fields as a JSON object.
            fn fields(&self) -> Result<String, serde_json::Error> {
                match self { $( Event::$name(payload) => serde_json::to_string(payload), )* }
            }
        }

        $(
            impl From<$name> for Event {
                fn from(payload: $name) -> Event {
                    Event::$name(payload)
                }
            }
        )*
    };
}

kinds! {
    LogCreated = 1, "log.created";
    SessionStarted = 16, "session.started";
    SessionUpdated = 17, "session.updated";
    SessionEnded = 18, "session.ended";
    StepStarted = 32, "step.started";
    StepEnded = 33, "step.ended";
    DecisionMade = 48, "decision.made";
    FindingRaised = 64, "finding.raised";
    FindingUpdated = 65, "finding.updated";
    ReviewRecorded = 66, "review.recorded";
    ArtifactAttached = 80, "artifact.attached";
    MetricRecorded = 96, "metric.recorded";
    NoteLogged = 112, "note.logged";
    ActionRecorded = 128, "action.recorded";
    OtelSpan = 144, "otel.span";
    OtelLog = 145, "otel.log";
    Custom = 200, "custom";
    EventsLost = 240, "events.lost";
    PayloadRedacted = 241, "payload.redacted";
    ProjectionSkipped = 242, "projection.skipped";
    KeyChanged = 243, "key.changed";
    ApiKeyCreated = 244, "apikey.created";
    ApiKeyRevoked = 245, "apikey.revoked";
}

impl Kind {
    /// The kind with this code, if this version of Annals knows it.
    pub fn from_code(code: u16) -> Option<Kind> {
        Kind::ALL.iter().copied().find(|kind| kind.code() == code)
    }

    /// The kind with this name.
    pub fn from_name(name: &str) -> Option<Kind> {
        Kind::ALL.iter().copied().find(|kind| kind.name() == name)
    }

    /// Version of the payload that this version of Annals writes.
    pub const fn version(self) -> u8 {
        match self {
            Kind::EventsLost => 2,
            _ => 1,
        }
    }

    /// Whether only Annals itself writes events of this kind.
    pub const fn is_reserved(self) -> bool {
        is_reserved(self.code())
    }

    /// Whether an event of this kind belongs to a session, always.
    pub const fn needs_session(self) -> bool {
        matches!(self.code(), 16..=18 | 32..=33 | 48 | 64..=65 | 144)
    }
}

/// Whether only Annals itself writes events with this code: else no licence for a redaction could
/// be trusted. Their payloads can never be redacted, for the same reason.
pub const fn is_reserved(code: u16) -> bool {
    code == 1 || code >= 240
}

/// A payload that cannot be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PayloadError {
    /// A newer Annals wrote it.
    #[error("{} version {version} is newer than this version of Annals knows; use a newer one", kind.name())]
    UnknownVersion {
        /// The kind.
        kind: Kind,
        /// Its version.
        version: u8,
    },
    /// The bytes are not such a payload.
    #[error(transparent)]
    Malformed(#[from] DecodeError),
}

/// How much is asked of a payload's bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Strictness {
    /// They are whole: for those who read what verification has judged or will judge.
    Whole,
    /// They are the only bytes that the value encodes to: for verification.
    Canonical,
}

impl Strictness {
    fn decode<T: bincode::Encode + bincode::Decode<()>>(self, bytes: &[u8]) -> Result<T, PayloadError> {
        Ok(match self {
            Strictness::Whole => encoding::decode(bytes)?,
            Strictness::Canonical => encoding::decode_canonical(bytes)?,
        })
    }
}

/// What the payload of a recorded event is.
// As with events: nearly all of them are of the large kind.
#[allow(clippy::large_enum_variant)]
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Content {
    /// An event of a kind that this version knows.
    Event(Event),
    /// It was redacted: a later event says by whom, when and why.
    Redacted,
    /// An event of a kind that this version does not know, or stored in an encoding that it does
    /// not know: the bytes as they are.
    Raw(Vec<u8>),
}

impl Content {
    /// Reads payload bytes (without the salt) of the kind with this code.
    pub(crate) fn decode(
        code: u16,
        version: u8,
        encoding: u8,
        bytes: &[u8],
        strictness: Strictness,
    ) -> Result<Content, PayloadError> {
        match Kind::from_code(code) {
            Some(kind) if encoding == encoding::ENCODING_PLAIN => {
                Event::decode(kind, version, bytes, strictness).map(Content::Event)
            }
            _ => Ok(Content::Raw(bytes.to_vec())),
        }
    }

    /// Whether payload bytes are certainly well formed as what they claim to be: then
    /// [`Content::decode`] takes them in [`Strictness::Canonical`]. Of others it says so, or why not.
    pub(crate) fn is_well_formed(code: u16, version: u8, encoding: u8, bytes: &[u8]) -> bool {
        encoding == encoding::ENCODING_PLAIN && Event::is_well_formed(code, version, bytes)
    }
}

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

/// An event as the log has it.
#[derive(Clone, Debug, PartialEq)]
pub struct Recorded {
    /// Its place.
    pub seq: Seq,
    /// Its id.
    pub event_id: EventId,
    /// Code of its kind; [`Kind::from_code`] names it.
    pub kind: u16,
    /// Its session.
    pub session: Option<SessionId>,
    /// When it happened, by the producer's clock.
    pub occurred_at: Option<Timestamp>,
    /// When it was recorded, by the writer's clock.
    pub recorded_at: Timestamp,
    /// Id of the key that submitted it.
    pub principal: Option<EventId>,
    /// What it says.
    pub content: Content,
}

impl Recorded {
    /// The name of its kind, or `kind-<code>` where this version does not know it.
    pub fn kind_name(&self) -> String {
        kind_name(self.kind)
    }

    /// The JSON form that [`parse_draft`] reads: what the producer sent, without what the log added.
    /// None where there is nothing to send again: the payload is gone, or of a kind that this
    /// version does not know.
    pub fn to_draft_json(&self) -> Option<String> {
        match &self.content {
            Content::Event(event) => {
                json::write_event(self.event_id, self.session.as_ref(), self.occurred_at, event).ok()
            }
            Content::Redacted | Content::Raw(_) => None,
        }
    }

    /// The JSON form: what `record` reads, with `seq` and `recorded_at`.
    pub fn to_json(&self) -> String {
        json::write_recorded(self)
    }
}

/// The name of the kind with this code, or `kind-<code>` where this version does not know it.
pub fn kind_name(code: u16) -> String {
    match Kind::from_code(code) {
        Some(kind) => kind.name().to_owned(),
        None => format!("kind-{code}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn json(text: &str) -> Json {
        text.parse().unwrap()
    }

    #[test]
    fn null_in_a_free_form_field_is_absent() {
        let changes = Changes { before: Some(json("null")), after: Some(json("[null]")) };
        let action = ActionRecorded {
            actor: Actor { id: "a".into(), kind: None },
            action: "x".into(),
            ..Default::default()
        };
        let mut draft = Draft::new(ActionRecorded { changes: Some(changes), ..action });
        draft.drop_nulls();
        let written = write_event(EventId::generate(), None, None, &draft.event).unwrap();
        assert_eq!(parse_draft(&written).unwrap().event, draft.event);
        assert!(written.contains(r#""changes":{"after":[null]}"#), "{written}");
    }

    #[test]
    fn an_attribute_of_an_option_cannot_have_the_name_of_its_field() {
        let mut option = ConsideredOption::scored("left", 0.5);
        option.attributes.insert("score".to_owned(), json("1"));
        let made = DecisionMade { options_considered: vec![option], ..Default::default() };
        let draft = Draft::new(made).in_session("s".try_into().unwrap());
        let error = draft.check().unwrap_err();
        assert_eq!((error.field.as_str(), error.problem), ("options_considered[0].score", Problem::OwnField));
    }

    #[test]
    fn json_of_the_greatest_depth_comes_back_from_every_place_it_may_stand_in() {
        let deep = |levels: usize| "[".repeat(levels) + &"]".repeat(levels);
        let deepest = json(&deep(crate::limits::JSON_DEPTH_MAX));
        let mut option = ConsideredOption::from("left");
        option.attributes.insert("why".to_owned(), deepest.clone());
        let attributes = Attributes::from([("why".to_owned(), deepest)]);
        let made = DecisionMade { options_considered: vec![option], attributes, ..Default::default() };
        let draft = Draft::new(made).in_session("s".try_into().unwrap());
        assert_eq!(draft.check(), Ok(()));
        let written = write_event(EventId::generate(), draft.session.as_ref(), None, &draft.event).unwrap();
        assert_eq!(parse_draft(&written).unwrap().event, draft.event);
        let deeper = deep(crate::limits::JSON_DEPTH_MAX + 1);
        assert!(parse_draft(&format!(r#"{{"type":"custom","name":"n","data":{deeper}}}"#)).is_err());
    }
}
