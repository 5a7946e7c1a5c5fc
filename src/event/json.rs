//! The JSON form of events, one object per event: `{"type": …, "id"?, "session"?, "at"?, fields}`.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde::de::value::MapDeserializer;
use serde::de::{DeserializeOwned, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use super::check::InvalidField;
use super::draft::Draft;
use super::form::{FieldForm, Form};
use super::id::{EventId, SessionId, Timestamp};
use super::json_text::{Json, JsonTextError, check_depth};
use super::kind::{Event, Kind};
use super::payload::{
    ActionRecorded, ArtifactAttached, CoverageDeclared, Custom, DecisionMade, FindingRaised, FindingUpdated,
    MetricRecorded, NoteLogged, OtelLog, OtelSpan, PolicyDecided, ReviewRecorded, SessionEnded,
    SessionStarted, SessionUpdated, StepEnded, StepStarted,
};
use super::recorded::{Content, Recorded};
use crate::limits::JSON_EVENT_DEPTH_MAX;

/// An event in JSON that cannot be recorded.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum JsonEventError {
    /// The text is not a JSON object; the reason names the column.
    #[error("not a JSON object: {0}")]
    Syntax(String),
    /// The text nests deeper than common JSON readers can parse.
    #[error(transparent)]
    TooDeep(#[from] JsonTextError),
    /// A field was given twice.
    #[error("field `{0}` appears twice")]
    Duplicate(String),
    /// A field that every event has is wrong or missing.
    #[error("field `{field}`: {reason}")]
    Envelope {
        /// The field.
        field: &'static str,
        /// The problem with the field.
        reason: String,
    },
    /// The type of event does not exist.
    #[error("field `type`: `{name}` is not a type of event; the types are {}", known_types())]
    UnknownType {
        /// The type that was given.
        name: String,
    },
    /// Only Annals itself writes this type of event.
    #[error("field `type`: only Annals itself writes `{0}` events")]
    Reserved(&'static str),
    /// A field of the event's kind is wrong or missing.
    #[error("{kind}: field `{field}`: {reason}", kind = kind.name())]
    Field {
        /// The event's kind.
        kind: Kind,
        /// The field, as a path if it is inside another object.
        field: String,
        /// The problem with the field.
        reason: String,
    },
    /// A field has the right form, but its value cannot be recorded.
    #[error(transparent)]
    Invalid(#[from] InvalidField),
}

fn known_types() -> String {
    let names: Vec<_> = Kind::ALL.iter().filter(|kind| !kind.is_reserved()).map(|kind| kind.name()).collect();
    names.join(", ")
}

/// The fields of an object, in the order in which they were sent. The values are JSON text.
pub(crate) struct Fields<'a>(pub(crate) Vec<(String, &'a RawValue)>);

impl<'de> Deserialize<'de> for Fields<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Fields<'de>, D::Error> {
        struct FieldsVisitor;

        impl<'de> Visitor<'de> for FieldsVisitor {
            type Value = Fields<'de>;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Fields<'de>, A::Error> {
                let mut fields = Vec::new();
                while let Some(field) = map.next_entry()? {
                    fields.push(field);
                }
                Ok(Fields(fields))
            }
        }

        deserializer.deserialize_map(FieldsVisitor)
    }
}

impl<'a> Fields<'a> {
    pub(crate) fn parse(text: &'a str) -> Result<Fields<'a>, JsonEventError> {
        let fields: Fields<'a> =
            serde_json::from_str(text).map_err(|error| JsonEventError::Syntax(error.to_string()))?;
        // JSON readers disagree on which value of a repeated name counts, so a repeated name is refused.
        // After sorting, equal names are neighbours.
        let mut names: Vec<_> = fields.0.iter().map(|(name, _)| name.as_str()).collect();
        names.sort_unstable();
        match names.iter().zip(names.iter().skip(1)).find(|(name, next)| name == next) {
            Some((name, _)) => Err(JsonEventError::Duplicate((*name).to_owned())),
            None => Ok(fields),
        }
    }

    /// The fields of an object inside an event. An error names the object.
    fn parse_inside(object: &str, value: &'a RawValue) -> Result<Fields<'a>, JsonEventError> {
        Fields::parse(value.get()).map_err(|error| match error {
            JsonEventError::Duplicate(name) => JsonEventError::Duplicate(format!("{object}.{name}")),
            error => error,
        })
    }

    /// Removes a field and returns its value. `null` counts as absent.
    fn take(&mut self, name: &str) -> Option<&'a RawValue> {
        let index = self.0.iter().position(|(field, _)| field == name)?;
        // This changes the order of the other fields, which does not matter: they are read by name.
        let (_, value) = self.0.swap_remove(index);
        (value.get() != "null").then_some(value)
    }

    fn take_as<T: DeserializeOwned>(&mut self, name: &'static str) -> Result<Option<T>, JsonEventError> {
        self.take(name)
            .map(|value| {
                T::deserialize(value)
                    .map_err(|error| JsonEventError::Envelope { field: name, reason: reason(&error) })
            })
            .transpose()
    }
}

/// The message of a `serde_json` error without its position, which would count from the start of the field.
fn reason(error: &serde_json::Error) -> String {
    let text = error.to_string();
    match text.rsplit_once(" at line ") {
        Some((reason, _)) => reason.to_owned(),
        None => text,
    }
}

/// Reads an event from its JSON form, and checks it.
///
/// Fields that the type does not have become attributes. A field that an object inside the event does not
/// have gets its path as its name (`context.region`).
///
/// # Errors
/// If the text is not the JSON form of an event, or the event cannot be recorded. The error names the field
/// and its problem.
///
/// ```
/// let draft = annals::parse_draft(r#"{"type": "step.started", "session": "s", "step": "1", "shard": 7}"#)?;
/// assert_eq!(draft.event.kind().name(), "step.started");
/// assert!(annals::parse_draft(r#"{"type": "step.started", "session": "s"}"#).is_err());
/// # Ok::<(), annals::JsonEventError>(())
/// ```
pub fn parse_draft(text: &str) -> Result<Draft, JsonEventError> {
    // Depth before syntax: this scan needs no stack, however deep the text nests.
    check_depth(text, JSON_EVENT_DEPTH_MAX)?;
    let mut fields = Fields::parse(text)?;
    let name: String = fields
        .take_as("type")?
        .ok_or_else(|| JsonEventError::Envelope { field: "type", reason: "is missing".to_owned() })?;
    let kind = name.parse::<Kind>().map_err(|_| JsonEventError::UnknownType { name })?;
    let id: Option<EventId> = fields.take_as("id")?;
    let session: Option<SessionId> = fields.take_as("session")?;
    let at: Option<Timestamp> = fields.take_as("at")?;
    // The fields of every event were removed above: the remaining fields belong to the kind.
    let event = parse_event(kind, fields)?;
    let draft = Draft { id, session, at, event };
    draft.check()?;
    Ok(draft)
}

/// Passes the kinds that producers send to a macro. All others are reserved for Annals itself.
macro_rules! for_kinds_of_producers {
    ($each:ident) => {
        $each!(
            SessionStarted,
            SessionUpdated,
            SessionEnded,
            StepStarted,
            StepEnded,
            DecisionMade,
            FindingRaised,
            FindingUpdated,
            ReviewRecorded,
            ArtifactAttached,
            MetricRecorded,
            NoteLogged,
            ActionRecorded,
            OtelSpan,
            OtelLog,
            PolicyDecided,
            CoverageDeclared,
            Custom
        )
    };
}

fn parse_event(kind: Kind, fields: Fields<'_>) -> Result<Event, JsonEventError> {
    macro_rules! by_kind {
        ($($name:ident),*) => {
            match kind {
                $( Kind::$name => parse_payload::<$name>(kind, fields, $name::FIELDS, $name::NESTED)
                    .map(Event::$name), )*
                // Refused by their type: the fields of a reserved kind are never read from JSON.
                Kind::LogCreated
                | Kind::EventsLost
                | Kind::PayloadRedacted
                | Kind::ProjectionSkipped
                | Kind::KeyChanged
                | Kind::ApiKeyCreated
                | Kind::ApiKeyRevoked => {
                    Err(JsonEventError::Reserved(kind.name()))
                }
            }
        };
    }
    for_kinds_of_producers!(by_kind)
}

/// The fields of a kind in the JSON form, without those that every event has. A kind that only Annals writes has none.
pub(crate) fn field_forms(kind: Kind) -> &'static [FieldForm] {
    macro_rules! by_kind {
        ($($name:ident),*) => {
            match kind {
                $( Kind::$name => $name::FORMS, )*
                Kind::LogCreated
                | Kind::EventsLost
                | Kind::PayloadRedacted
                | Kind::ProjectionSkipped
                | Kind::KeyChanged
                | Kind::ApiKeyCreated
                | Kind::ApiKeyRevoked => &[],
            }
        };
    }
    for_kinds_of_producers!(by_kind)
}

fn parse_payload<T: DeserializeOwned>(
    kind: Kind,
    mut fields: Fields<'_>,
    known: &[&str],
    nested: &[(&str, &[&str])],
) -> Result<T, JsonEventError> {
    let mut attributes: BTreeMap<String, Json> = match fields.take("attributes") {
        Some(value) => {
            refuse_equal_names("attributes", value)?;
            parse_at(kind, "attributes", value)?
        }
        None => BTreeMap::new(),
    };
    // A name that is both beside `attributes` and in it is refused: neither value may be dropped silently.
    let mut add_attribute = |name: String, value: &RawValue| -> Result<(), JsonEventError> {
        let value: Json = parse_at(kind, &name, value)?;
        match attributes.insert(name.clone(), value) {
            Some(_) => Err(JsonEventError::Duplicate(format!("attributes.{name}"))),
            None => Ok(()),
        }
    };
    // Objects inside the event, written again without their unknown fields. They own their texts, because the
    // deserializer below borrows its input.
    let mut rebuilt: Vec<(String, Box<RawValue>)> = Vec::new();
    let mut flat: Vec<(String, &RawValue)> = Vec::new();
    let is_map = |name: &str| {
        field_forms(kind).iter().any(|field| field.name == name && matches!(field.form, Form::Map(_)))
    };
    for (name, value) in fields.0 {
        // `null` in an unknown field is kept. Only in a known field does it mean absent.
        if !known.contains(&name.as_str()) {
            add_attribute(name, value)?;
            continue;
        }
        if value.get() == "null" {
            continue;
        }
        match nested.iter().find(|(object, _)| *object == name) {
            Some((_, inner_known)) if value.get().starts_with('{') => {
                let inner = Fields::parse_inside(&name, value)?;
                let (inner, unknown): (Vec<_>, Vec<_>) =
                    inner.0.into_iter().partition(|(field, _)| inner_known.contains(&field.as_str()));
                for (field, value) in unknown {
                    add_attribute(format!("{name}.{field}"), value)?;
                }
                // `parse_inside` has refused repeated names, so the map loses nothing.
                let inner: BTreeMap<_, _> =
                    inner.into_iter().filter(|(_, value)| value.get() != "null").collect();
                let object = serde_json::value::to_raw_value(&inner)
                    .map_err(|error| field_error(kind, &name, &error))?;
                rebuilt.push((name, object));
            }
            _ if is_map(&name) => {
                refuse_equal_names(&name, value)?;
                flat.push((name, value));
            }
            // A nested field that is not an object is passed on unchanged: serde reports its wrong type.
            _ => flat.push((name, value)),
        }
    }
    let attributes = (!attributes.is_empty())
        .then(|| serde_json::value::to_raw_value(&attributes))
        .transpose()
        .map_err(|error| field_error(kind, "attributes", &error))?;
    // serde gets one object with known fields only, because it refuses all others.
    let pairs = flat
        .iter()
        .map(|(name, value)| (name.as_str(), *value))
        .chain(rebuilt.iter().map(|(name, value)| (name.as_str(), value.as_ref())))
        .chain(attributes.iter().map(|value| ("attributes", value.as_ref())));
    serde_path_to_error::deserialize(MapDeserializer::<_, serde_json::Error>::new(pairs)).map_err(|error| {
        let path = error.path().to_string();
        let error = error.into_inner();
        // The path of a missing field is the path of the object around it; the message has the field's name.
        match missing_field(&error) {
            Some(field) => JsonEventError::Field { kind, field, reason: "is missing".to_owned() },
            None => field_error(kind, &path, &error),
        }
    })
}

/// Refuses an object that has a name twice, of which serde's map would keep the last value alone. A value of another type
/// passes: serde reports it.
fn refuse_equal_names(object: &str, value: &RawValue) -> Result<(), JsonEventError> {
    if value.get().starts_with('{') { Fields::parse_inside(object, value).map(drop) } else { Ok(()) }
}

fn parse_at<T: DeserializeOwned>(kind: Kind, field: &str, value: &RawValue) -> Result<T, JsonEventError> {
    T::deserialize(value).map_err(|error| field_error(kind, field, &error))
}

fn field_error(kind: Kind, field: &str, error: &serde_json::Error) -> JsonEventError {
    JsonEventError::Field { kind, field: field.to_owned(), reason: reason(error) }
}

/// The name of a field that serde reports as missing. serde's path does not contain it if it is a field of
/// the event itself.
fn missing_field(error: &serde_json::Error) -> Option<String> {
    let text = reason(error);
    Some(text.strip_prefix("missing field `")?.strip_suffix('`')?.to_owned())
}

/// Writes a member of a JSON object, with a comma before it if it is not the first.
fn write_member(json: &mut String, name: &str, value: &str) {
    // The text begins with a brace, so it is longer than one byte if it already has a member.
    if json.len() > 1 {
        json.push(',');
    }
    // Writing to a String cannot fail.
    let _ = write!(json, "\"{name}\":{value}");
}

/// Writes the members that every kind has.
fn write_envelope(
    json: &mut String,
    kind: &str,
    id: Option<EventId>,
    session: Option<&SessionId>,
    at: Option<Timestamp>,
) {
    write_member(json, "type", Json::text(kind).as_str());
    if let Some(id) = id {
        write_member(json, "id", Json::text(&id.to_string()).as_str());
    }
    if let Some(session) = session {
        write_member(json, "session", Json::text(session.as_str()).as_str());
    }
    if let Some(at) = at {
        write_member(json, "at", Json::text(&at.to_string()).as_str());
    }
}

fn write_fields(json: &mut String, event: &Event) -> Result<(), serde_json::Error> {
    let fields = event.fields()?;
    // The fields become members of the event's own object: their braces are left out.
    if let Some(inner) = fields.strip_prefix('{').and_then(|fields| fields.strip_suffix('}'))
        && !inner.is_empty()
    {
        json.push(',');
        json.push_str(inner);
    }
    Ok(())
}

/// Writes the JSON form of an event, which [`parse_draft`] reads again.
pub(crate) fn write_event(
    id: EventId,
    session: Option<&SessionId>,
    at: Option<Timestamp>,
    event: &Event,
) -> Result<String, serde_json::Error> {
    let mut json = String::from("{");
    write_envelope(&mut json, event.kind().name(), Some(id), session, at);
    write_fields(&mut json, event)?;
    json.push('}');
    Ok(json)
}

/// Writes the JSON form of a recorded event, for every kind of content.
pub(super) fn write_recorded(recorded: &Recorded) -> String {
    let mut json = String::from("{");
    write_member(&mut json, "seq", &recorded.seq.to_string());
    write_envelope(
        &mut json,
        &recorded.kind_name(),
        Some(recorded.event_id),
        recorded.session.as_ref(),
        recorded.occurred_at,
    );
    write_member(&mut json, "recorded_at", Json::text(&recorded.recorded_at.to_string()).as_str());
    if let Some(principal) = recorded.principal {
        write_member(&mut json, "principal", Json::text(&principal.to_string()).as_str());
    }
    match &recorded.content {
        Content::Event(event) => {
            // Fails only for JSON that another program wrote into the file. The fields are added all or not
            // at all, so the text is still an object.
            if let Err(error) = write_fields(&mut json, event) {
                write_member(&mut json, "unreadable", Json::text(&error.to_string()).as_str());
            }
        }
        Content::Redacted => write_member(&mut json, "redacted", "true"),
        Content::Raw(bytes) => {
            let mut hex = String::with_capacity(2 * bytes.len());
            for byte in bytes {
                let _ = write!(hex, "{byte:02x}");
            }
            write_member(&mut json, "raw", Json::text(&hex).as_str());
        }
    }
    json.push('}');
    json
}

impl Recorded {
    /// The JSON form that [`parse_draft`] reads: the event as the producer sent it, without the fields that
    /// the log added. Returns `None` if the payload was redacted, or has a kind that this version does not
    /// know.
    pub fn to_draft_json(&self) -> Option<String> {
        match &self.content {
            Content::Event(event) => {
                write_event(self.event_id, self.session.as_ref(), self.occurred_at, event).ok()
            }
            Content::Redacted | Content::Raw(_) => None,
        }
    }

    /// The JSON form that [`parse_draft`] reads, plus `seq`, `recorded_at` and `principal`.
    pub fn to_json(&self) -> String {
        write_recorded(self)
    }
}
