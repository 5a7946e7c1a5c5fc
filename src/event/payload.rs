//! What an event says, one struct for each kind.
//!
//! Each struct is the payload of the newest version of its kind. Its fields are written in the order in
//! which they stand here (bincode is positional), so a released struct is frozen: any change is a
//! new version of the kind, and an upcast where payloads are decoded.
//!
//! Field names are those of the JSON form, and of the read tables' columns.

use std::collections::BTreeMap;

use bincode::{Decode, Encode};
use serde::de::{self, MapAccess, Visitor};
use serde::ser::SerializeMap;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::id::{DecisionId, Digest, EventId, FindingId, ReviewId, Seq, SessionId, StepId};
use super::json_text::{Attributes, Json};
use super::words::{
    ActionOutcome, ApiKeyScope, FindingStatus, KeyChangeCause, KeyRole, Outcome, SessionEnd, SessionProgress,
    Severity, StepEnd, StepKind, SubjectKind, Verdict,
};
use crate::canonical::{Input, WellFormed};

/// Whether a field has nothing to say and is left out of the JSON form.
fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

/// Lists the kinds' payloads. Fields under `required` must be in the JSON form; those under
/// `optional` may be absent. `nested` names fields that hold an object with fields of its own.
macro_rules! payloads {
    ($(
        $(#[$doc:meta])*
        $name:ident {
            required { $( $(#[$required_doc:meta])* $required:ident: $required_type:ty, )* }
            optional { $( $(#[$optional_doc:meta])* $optional:ident: $optional_type:ty, )* }
            $( nested { $( $nested:ident: $nested_type:ident, )* } )?
        }
    )*) => {$(
        $(#[$doc])*
        #[derive(Clone, Debug, Default, PartialEq, Encode, Decode, Serialize, Deserialize)]
        #[serde(deny_unknown_fields)]
        pub struct $name {
            $( $(#[$required_doc])* pub $required: $required_type, )*
            $(
                $(#[$optional_doc])*
                #[serde(default, skip_serializing_if = "is_default")]
                pub $optional: $optional_type,
            )*
            /// Fields that this kind does not know, by name.
            #[serde(default, skip_serializing_if = "is_default")]
            pub attributes: Attributes,
        }

        impl WellFormed for $name {
            fn pass(input: &mut Input<'_>) -> Option<()> {
                $( <$required_type as WellFormed>::pass(input)?; )*
                $( <$optional_type as WellFormed>::pass(input)?; )*
                <Attributes as WellFormed>::pass(input)
            }
        }

        impl $name {
            /// Names of the fields in the JSON form.
            pub(super) const FIELDS: &[&str] = &[
                $( stringify!($required), )* $( stringify!($optional), )* "attributes",
            ];
            /// Names of the fields that hold an object, with the names of that object's fields.
            pub(super) const NESTED: &[(&str, &[&str])] = &[
                $($( (stringify!($nested), $nested_type::FIELDS), )*)?
            ];
        }
    )*};
}

/// Lists the objects inside payloads.
macro_rules! objects {
    ($(
        $(#[$doc:meta])*
        $name:ident {
            required { $( $(#[$required_doc:meta])* $required:ident: $required_type:ty, )* }
            optional { $( $(#[$optional_doc:meta])* $optional:ident: $optional_type:ty, )* }
        }
    )*) => {$(
        $(#[$doc])*
        #[derive(Clone, Debug, Default, PartialEq, Encode, Decode, Serialize, Deserialize)]
        #[serde(deny_unknown_fields)]
        pub struct $name {
            $( $(#[$required_doc])* pub $required: $required_type, )*
            $(
                $(#[$optional_doc])*
                #[serde(default, skip_serializing_if = "is_default")]
                pub $optional: $optional_type,
            )*
        }

        impl WellFormed for $name {
            fn pass(input: &mut Input<'_>) -> Option<()> {
                $( <$required_type as WellFormed>::pass(input)?; )*
                $( <$optional_type as WellFormed>::pass(input)?; )*
                Some(())
            }
        }

        impl $name {
            const FIELDS: &[&str] = &[ $( stringify!($required), )* $( stringify!($optional), )* ];
        }
    )*};
}

objects! {
    /// Before and after.
    Correction {
        required {}
        optional {
            /// The text as it was.
            original: Option<String>,
            /// The text as it should be.
            corrected: Option<String>,
            /// How the correction was made.
            strategy: Option<String>,
        }
    }
    /// Who acted.
    Actor {
        required {
            /// The actor's id: a user, a service, a key.
            id: String,
        }
        optional {
            /// What the actor is: user, system, api …
            kind: Option<String>,
        }
    }
    /// What an action changed.
    Changes {
        required {}
        optional {
            /// The state before.
            before: Option<Json>,
            /// The state after.
            after: Option<Json>,
        }
    }
    /// Where a request came from.
    RequestContext {
        required {}
        optional {
            /// Network address.
            ip: Option<String>,
            /// The client's own name.
            user_agent: Option<String>,
            /// What correlates it with other records.
            request_id: Option<String>,
        }
    }
}

/// One of the options of a decision.
#[derive(Clone, Debug, Default, PartialEq, Encode, Decode)]
pub struct ConsideredOption {
    /// The option itself, or its name.
    pub option: String,
    /// How it was rated, in the producer's own scale.
    pub score: Option<f64>,
    /// Its other fields, by name.
    pub attributes: Attributes,
}

impl WellFormed for ConsideredOption {
    fn pass(input: &mut Input<'_>) -> Option<()> {
        String::pass(input)?;
        Option::<f64>::pass(input)?;
        Attributes::pass(input)
    }
}

impl ConsideredOption {
    /// An option and its score.
    pub fn scored(option: impl Into<String>, score: f64) -> ConsideredOption {
        ConsideredOption { option: option.into(), score: Some(score), attributes: Attributes::new() }
    }
}

impl From<&str> for ConsideredOption {
    fn from(option: &str) -> ConsideredOption {
        ConsideredOption { option: option.to_owned(), ..ConsideredOption::default() }
    }
}

impl From<String> for ConsideredOption {
    fn from(option: String) -> ConsideredOption {
        ConsideredOption { option, ..ConsideredOption::default() }
    }
}

/// An option and its score.
impl<T: Into<String>> From<(T, f64)> for ConsideredOption {
    fn from((option, score): (T, f64)) -> ConsideredOption {
        ConsideredOption::scored(option, score)
    }
}

/// `{"option": …, "score": …, other fields}`.
impl Serialize for ConsideredOption {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("option", &self.option)?;
        if let Some(score) = &self.score {
            map.serialize_entry("score", score)?;
        }
        for (name, value) in &self.attributes {
            map.serialize_entry(name, value)?;
        }
        map.end()
    }
}

/// An object as [`ConsideredOption`] is written, or the option alone as a text.
impl<'de> Deserialize<'de> for ConsideredOption {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<ConsideredOption, D::Error> {
        struct OptionVisitor;

        impl<'de> Visitor<'de> for OptionVisitor {
            type Value = ConsideredOption;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("an option: a text, or an object with `option`")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<ConsideredOption, E> {
                Ok(text.into())
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<ConsideredOption, A::Error> {
                let (mut option, mut score, mut attributes) = (None, None, Attributes::new());
                while let Some(name) = map.next_key::<String>()? {
                    let again = match name.as_str() {
                        "option" => option.replace(map.next_value::<String>()?).is_some(),
                        "score" => score.replace(map.next_value::<Option<f64>>()?).is_some(),
                        _ => attributes.insert(name.clone(), map.next_value::<Json>()?).is_some(),
                    };
                    if again {
                        return Err(de::Error::custom(format_args!("duplicate field `{name}`")));
                    }
                }
                let option = option.ok_or_else(|| de::Error::missing_field("option"))?;
                Ok(ConsideredOption { option, score: score.flatten(), attributes })
            }
        }

        deserializer.deserialize_any(OptionVisitor)
    }
}

payloads! {
    /// `session.started`: a run of a reasoning pipeline began.
    SessionStarted {
        required {}
        optional {
            /// Which pipeline, or which of its configurations.
            profile: Option<String>,
            /// What it was asked, whole.
            input: Option<String>,
            /// What identical inputs are found by; BLAKE3 of `input` where absent.
            input_hash: Option<String>,
            /// What several sessions with one user have in common.
            conversation: Option<String>,
            /// The session that started this one.
            parent_session: Option<SessionId>,
            /// Name of the agent.
            agent: Option<String>,
            /// Version of the agent.
            agent_version: Option<String>,
            /// Model it works with.
            model: Option<String>,
            /// Where the record came from.
            source: Option<String>,
            /// Whose session it is, where several share a log.
            tenant: Option<String>,
            /// The producer's own labels.
            labels: BTreeMap<String, String>,
        }
    }
    /// `session.updated`: how far a session is.
    SessionUpdated {
        required {}
        optional {
            /// Its new state.
            status: Option<SessionProgress>,
            /// How much of it is done, 0 to 1.
            progress: Option<f64>,
            /// What it is doing.
            message: Option<String>,
        }
    }
    /// `session.ended`: a session ended.
    SessionEnded {
        required {
            /// How it ended.
            status: SessionEnd,
        }
        optional {
            /// What it came to, whole.
            summary: Option<String>,
            /// How risky the outcome is.
            risk_level: Option<Severity>,
            /// Ratings by name, each in the producer's own scale.
            scores: BTreeMap<String, f64>,
            /// Tokens read by models in the whole session.
            tokens_input: Option<u64>,
            /// Tokens written by models in the whole session.
            tokens_output: Option<u64>,
            /// Cost of the whole session, in US dollars.
            cost_usd: Option<f64>,
            /// Why it failed.
            error: Option<String>,
        }
    }
    /// `step.started`: a step of a session began.
    StepStarted {
        required {
            /// Its id, unique within the session.
            step: StepId,
        }
        optional {
            /// The step that this one is part of.
            parent_step: Option<StepId>,
            /// What does the work: the module, the tool, the model's role.
            module: Option<String>,
            /// What kind of work it is.
            kind: Option<StepKind>,
            /// Model it calls.
            model: Option<String>,
            /// What went in, whole.
            input: Option<String>,
            /// The same in short; the first characters of `input` where absent.
            input_summary: Option<String>,
        }
    }
    /// `step.ended`: a step ended.
    StepEnded {
        required {
            /// Its id, unique within the session.
            step: StepId,
            /// How it ended.
            status: StepEnd,
        }
        optional {
            /// What came out, whole.
            output: Option<String>,
            /// The same in short; the first characters of `output` where absent.
            output_summary: Option<String>,
            /// How sure the module is of it, 0 to 1.
            confidence: Option<f64>,
            /// Tokens read by the model.
            tokens_input: Option<u64>,
            /// Tokens written by the model.
            tokens_output: Option<u64>,
            /// Cost in US dollars.
            cost_usd: Option<f64>,
            /// Why it failed.
            error: Option<String>,
        }
    }
    /// `decision.made`: one of several options was chosen.
    DecisionMade {
        required {}
        optional {
            /// Its id, unique within the session; made where absent.
            decision: DecisionId,
            /// The step in which it was made.
            step: Option<StepId>,
            /// What kind of decision it is.
            decision_type: Option<String>,
            /// What could have been chosen.
            options_considered: Vec<ConsideredOption>,
            /// What was chosen.
            chosen_option: Option<String>,
            /// What was chosen, where it is more than one, best first.
            chosen_options: Vec<String>,
            /// Why.
            rationale: Option<String>,
            /// How sure the decider is, 0 to 1.
            confidence: Option<f64>,
            /// Who or what decided.
            actor: Option<String>,
        }
    }
    /// `finding.raised`: something was found, or checked.
    FindingRaised {
        required {}
        optional {
            /// Its id, unique within the session; made where absent.
            finding: FindingId,
            /// The step in which it was found.
            step: Option<StepId>,
            /// What it belongs to.
            category: Option<String>,
            /// The rule or pattern that it matches.
            pattern_type: Option<String>,
            /// How grave it is.
            severity: Option<Severity>,
            /// What the check came to.
            outcome: Option<Outcome>,
            /// How sure the finder is, 0 to 1.
            confidence: Option<f64>,
            /// A line that names it.
            title: Option<String>,
            /// What was found, for those who know the field.
            description: Option<String>,
            /// The same for everybody else.
            plain_english: Option<String>,
            /// What to do about it.
            suggestion: Option<String>,
            /// The law or policy behind it.
            legal_source: Option<String>,
            /// What shows it.
            evidence: Option<Json>,
            /// How far it reaches.
            scope: Option<String>,
            /// Version of the rule.
            rule_version: Option<String>,
        }
    }
    /// `finding.updated`: somebody judged a finding, or acted on it.
    FindingUpdated {
        required {
            /// The finding.
            finding: FindingId,
        }
        optional {
            /// Where it stands now.
            status: Option<FindingStatus>,
            /// Who said so.
            actor: Option<String>,
            /// Why.
            reason: Option<String>,
            /// What was changed because of it.
            correction: Option<Correction>,
        }
        nested { correction: Correction, }
    }
    /// `review.recorded`: a person looked at something and said what they think of it.
    ReviewRecorded {
        required {
            /// Who reviewed.
            actor: String,
            /// What was reviewed.
            subject_kind: SubjectKind,
            /// What they said.
            verdict: Verdict,
        }
        optional {
            /// Its id; made where absent.
            review: ReviewId,
            /// The id of what was reviewed; the session's own where that was reviewed.
            subject_id: Option<String>,
            /// Why.
            reason: Option<String>,
        }
    }
    /// `artifact.attached`: a file belongs to the record. Its content is kept elsewhere; the digest
    /// says which it is.
    ArtifactAttached {
        required {
            /// BLAKE3 of the content.
            artifact: Digest,
        }
        optional {
            /// The step that it belongs to.
            step: Option<StepId>,
            /// What it is called, or where it is.
            label: Option<String>,
            /// Its place among several.
            position: Option<u64>,
            /// Its media type, as in HTTP.
            media_type: Option<String>,
            /// Its length in bytes.
            size: Option<u64>,
        }
    }
    /// `metric.recorded`: a measurement.
    MetricRecorded {
        required {
            /// What was measured.
            name: String,
            /// The number.
            value: f64,
        }
        optional {
            /// Its unit.
            unit: Option<String>,
            /// The producer's own labels.
            labels: BTreeMap<String, String>,
        }
    }
    /// `note.logged`: a line of a log.
    NoteLogged {
        required {
            /// What it says.
            message: String,
        }
        optional {
            /// The step that it belongs to.
            step: Option<StepId>,
            /// How important it is: debug, info, warning, error …
            level: Option<String>,
            /// What goes with it.
            data: Option<Json>,
        }
    }
    /// `action.recorded`: somebody did something to something.
    ActionRecorded {
        required {
            /// Who.
            actor: Actor,
            /// What they did.
            action: String,
        }
        optional {
            /// To what kind of thing.
            entity_type: Option<String>,
            /// To which.
            entity_id: Option<String>,
            /// What came of it.
            outcome: Option<ActionOutcome>,
            /// Why.
            reason: Option<String>,
            /// What it changed.
            changes: Option<Changes>,
            /// Where the request came from.
            context: Option<RequestContext>,
            /// On whose behalf, where several share a log.
            tenant: Option<String>,
        }
        nested { actor: Actor, changes: Changes, context: RequestContext, }
    }
    /// `otel.span`: a span of OpenTelemetry, as it was received. Its session is its trace.
    OtelSpan {
        required {
            /// The span, as OTLP's JSON has it: an object.
            span: Json,
        }
        optional {
            /// What sent it: an object.
            resource: Option<Json>,
            /// The schema that the resource's attributes follow.
            resource_schema_url: Option<String>,
            /// The instrumentation that made it: an object.
            scope: Option<Json>,
            /// The schema that the attributes of scope and span follow.
            scope_schema_url: Option<String>,
        }
    }
    /// `otel.log`: a log record of OpenTelemetry, as it was received. Its session is its trace, if it
    /// belongs to one.
    OtelLog {
        required {
            /// The log record, as OTLP's JSON has it: an object.
            log_record: Json,
        }
        optional {
            /// What sent it: an object.
            resource: Option<Json>,
            /// The schema that the resource's attributes follow.
            resource_schema_url: Option<String>,
            /// The instrumentation that made it: an object.
            scope: Option<Json>,
            /// The schema that the attributes of scope and log record follow.
            scope_schema_url: Option<String>,
        }
    }
    /// `custom`: anything else, for views of the user's own.
    Custom {
        required {
            /// What it is.
            name: String,
        }
        optional {
            /// What it says.
            data: Option<Json>,
        }
    }
}

/// `log.created`: the first event of every log. Its event id is the log's id.
#[derive(Clone, Debug, PartialEq, Encode, Decode, Serialize)]
pub struct LogCreated {
    /// The owner's own name for the log, else `annals.internal/<log id>`: the first line of its
    /// checkpoints. 1 to 255 bytes, no space, no `+`, no control characters.
    pub origin: String,
    /// Name and version of the program that made it.
    pub software: String,
    /// The log that this one follows, where that was archived or restored.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub continues: Option<Continues>,
}

/// The log that another one follows, as its last checkpoint had it.
#[derive(Clone, Debug, PartialEq, Encode, Decode, Serialize)]
pub struct Continues {
    /// Its origin.
    pub origin: String,
    /// Its size in events.
    pub size: u64,
    /// The root of its Merkle tree (RFC 6962, SHA-256).
    pub root: Digest,
}

/// `events.lost`: events were refused while the log could not be written. Those that were sent again
/// later, under the same ids, are not lost: their ids are in the log.
#[derive(Clone, Debug, PartialEq, Encode, Decode, Serialize)]
pub struct EventsLost {
    /// How many, those in `ids` among them.
    pub count: u64,
    /// When the first was refused.
    pub since: super::id::Timestamp,
    /// Why writing failed.
    pub reason: String,
    /// The ids of as many of them as there was room for: [`LOST_IDS_MAX`](crate::limits::LOST_IDS_MAX).
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub ids: Vec<EventId>,
}

/// Version 1 of [`EventsLost`], which named no events.
#[derive(Clone, Debug, PartialEq, Encode, Decode)]
pub(crate) struct EventsLost1 {
    pub(crate) count: u64,
    pub(crate) since: super::id::Timestamp,
    pub(crate) reason: String,
}

impl From<EventsLost1> for EventsLost {
    fn from(EventsLost1 { count, since, reason }: EventsLost1) -> EventsLost {
        EventsLost { count, since, reason, ids: Vec::new() }
    }
}

/// `payload.redacted`: the one licence for a payload to be NULL.
#[derive(Clone, Debug, PartialEq, Encode, Decode, Serialize)]
pub struct PayloadRedacted {
    /// The events whose payloads are erased, each earlier than this event.
    pub seqs: Vec<u64>,
    /// Who erased them.
    pub actor: String,
    /// Why.
    pub reason: String,
    /// What gives them the right: a law, a policy, a request.
    pub authority: Option<String>,
}

impl PayloadRedacted {
    /// The events whose payloads are erased.
    pub fn seqs(&self) -> impl Iterator<Item = Seq> + '_ {
        self.seqs.iter().copied().map(Seq::new)
    }
}

/// `key.changed`: a key that signs the log's checkpoints from now on.
#[derive(Clone, Debug, PartialEq, Encode, Decode, Serialize)]
pub struct KeyChanged {
    /// Which of the log's keys.
    pub role: KeyRole,
    /// The new key, as a vkey.
    pub vkey: String,
    /// The key before it, as a vkey.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub previous: Option<String>,
    /// What the key before says of the new one: a signed note, as `docs/format.md` has it. Absent for
    /// a first key, and where the key before was lost.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub certificate: Option<String>,
    /// Why there is a new key.
    pub cause: KeyChangeCause,
    /// Who made it.
    pub actor: String,
    /// What they said of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// `apikey.created`: whoever shows this key may do what its scopes say. The event's id is the key's id,
/// and the principal of what it submits.
#[derive(Clone, Debug, PartialEq, Encode, Decode, Serialize)]
pub struct ApiKeyCreated {
    /// Its name, for people.
    pub name: String,
    /// What it may do.
    pub scopes: Vec<ApiKeyScope>,
    /// BLAKE3 of its secret, as `docs/format.md` has it: what says that a key is this one.
    pub secret_hash: Digest,
    /// When it stops being good.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<super::id::Timestamp>,
    /// Who made it.
    pub actor: String,
    /// What for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// `apikey.revoked`: a key is good for nothing any more.
#[derive(Clone, Debug, PartialEq, Encode, Decode, Serialize)]
pub struct ApiKeyRevoked {
    /// The key: the id of the event that created it.
    pub key: EventId,
    /// Who revoked it.
    pub actor: String,
    /// Why.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// `projection.skipped`: a projection goes on without an event that it cannot apply.
#[derive(Clone, Debug, PartialEq, Encode, Decode, Serialize)]
pub struct ProjectionSkipped {
    /// Which projection.
    pub projection: String,
    /// Its version.
    pub version: u32,
    /// The event that it goes on without.
    pub seq: u64,
    /// Who said so.
    pub actor: String,
    /// Why.
    pub reason: String,
}

/// Those that Annals itself writes are few, and say something of other events: they are decoded.
macro_rules! always_decoded {
    ($( $name:ident )*) => { $( impl WellFormed for $name {} )* };
}

always_decoded! {
    LogCreated EventsLost PayloadRedacted ProjectionSkipped KeyChanged ApiKeyCreated ApiKeyRevoked
}
