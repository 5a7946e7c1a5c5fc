//! Payloads: the content of an event, one struct for each kind.
//!
//! Each struct is the newest version of the payload of its kind. Its fields are encoded in the order of their
//! declaration (bincode is positional). So any change of a struct needs a new version of the kind, and an entry
//! of the version before in `earlier.rs`.
//!
//! The names of the fields are those of the JSON form. Most columns of the read tables have the same names.

use std::collections::BTreeMap;

use bincode::{Decode, Encode};
use serde::{Deserialize, Serialize};

use super::considered::ConsideredOption;
use super::form::{FieldForm, Form, Formed};
use super::id::{DecisionId, Digest, FindingId, ReviewId, SessionId, StepId, Timestamp};
use super::json_text::{Attributes, Json};
use super::words::{
    ActionOutcome, Basis, FindingStatus, Outcome, PolicyEffect, SessionEnd, SessionProgress, Severity,
    StepEnd, StepKind, SubjectKind, Verdict,
};
use crate::canonical::{Input, WellFormed};

/// Returns true for a default value, which the JSON form leaves out.
fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

macro_rules! field_form {
    ($name:ident: $type:ty, $is_required:literal) => {
        FieldForm { name: stringify!($name), form: <$type as Formed>::FORM, is_required: $is_required }
    };
}

/// Declares the payloads of the kinds. Fields under `required` must be in the JSON form; those under
/// `optional` may be absent. `nested` lists the fields whose value is an object with known fields.
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
            /// Fields that this kind does not have, by name.
            #[serde(default, skip_serializing_if = "is_default")]
            pub attributes: Attributes,
        }

        impl WellFormed for $name {
            fn pass(input: &mut Input<'_>) -> Option<()> {
                // In the order of the struct's fields, because that is the order of the encoding.
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
            /// Names of the fields whose value is an object, with the names of that object's fields.
            pub(super) const NESTED: &[(&str, &[&str])] = &[
                $($( (stringify!($nested), $nested_type::FIELDS), )*)?
            ];
            /// The fields in the JSON form, with the forms of their values.
            pub(super) const FORMS: &[FieldForm] = &[
                $( field_form!($required: $required_type, true), )*
                $( field_form!($optional: $optional_type, false), )*
                field_form!(attributes: Attributes, false),
            ];
        }
    )*};
}

/// Declares the objects inside payloads.
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
            #[allow(dead_code, reason = "an object in a list keeps no unknown fields")]
            const FIELDS: &[&str] = &[ $( stringify!($required), )* $( stringify!($optional), )* ];
        }

        impl Formed for $name {
            const FORM: Form = Form::Object(&[
                $( field_form!($required: $required_type, true), )*
                $( field_form!($optional: $optional_type, false), )*
            ]);
        }
    )*};
}

objects! {
    /// A text before and after its correction.
    Correction {
        required {}
        optional {
            /// The text as it was.
            original: Option<String>,
            /// The text as it should be.
            corrected: Option<String>,
            /// The way in which the correction was made.
            strategy: Option<String>,
        }
    }
    /// The person or program that acted.
    Actor {
        required {
            /// Id of a user, a service or a key.
            id: String,
        }
        optional {
            /// Kind of actor: user, system, api …
            kind: Option<String>,
        }
    }
    /// A principal for whom somebody acted, and the permission to do so.
    Delegation {
        required {
            /// The person or program for whom somebody acted.
            actor: Actor,
        }
        optional {
            /// The permission: the id of a grant, a mandate, a contract …
            authorization: Option<String>,
        }
    }
    /// The state before and after an action.
    Changes {
        required {}
        optional {
            /// The state before.
            before: Option<Json>,
            /// The state after.
            after: Option<Json>,
        }
    }
    /// The origin of a request.
    RequestContext {
        required {}
        optional {
            /// Network address.
            ip: Option<String>,
            /// Name that the client gives itself.
            user_agent: Option<String>,
            /// Id that correlates the request with other records.
            request_id: Option<String>,
        }
    }
}

impl Formed for Vec<Delegation> {
    const FORM: Form = Form::List;
}

payloads! {
    /// `session.started`: a run of a reasoning pipeline began.
    SessionStarted {
        required {}
        optional {
            /// Name of the pipeline, or of one of its configurations.
            profile: Option<String>,
            /// The whole input, such as a question or a task.
            input: Option<String>,
            /// Hash by which identical inputs can be found; BLAKE3 of `input` if absent.
            input_hash: Option<String>,
            /// Id of a conversation, which several sessions with one user can share.
            conversation: Option<String>,
            /// The session that started this one.
            parent_session: Option<SessionId>,
            /// Name of the agent.
            agent: Option<String>,
            /// Version of the agent.
            agent_version: Option<String>,
            /// Model that the agent works with.
            model: Option<String>,
            /// Source of the record, such as another program.
            source: Option<String>,
            /// Owner of the session (the tenant), if several owners share a log.
            tenant: Option<String>,
            /// The producer's own labels.
            labels: BTreeMap<String, String>,
        }
    }
    /// `session.updated`: the progress of a session.
    SessionUpdated {
        required {}
        optional {
            /// The new state.
            status: Option<SessionProgress>,
            /// Part of the work that is done, 0 to 1.
            progress: Option<f64>,
            /// Present activity.
            message: Option<String>,
        }
    }
    /// `session.ended`: a session ended.
    SessionEnded {
        required {
            /// The way in which the session ended.
            status: SessionEnd,
        }
        optional {
            /// The whole result of the session.
            summary: Option<String>,
            /// Risk of the outcome.
            risk_level: Option<Severity>,
            /// Ratings by name, each on the producer's own scale.
            scores: BTreeMap<String, f64>,
            /// Tokens read by models in the whole session.
            tokens_input: Option<u64>,
            /// Tokens written by models in the whole session.
            tokens_output: Option<u64>,
            /// Cost of the whole session, in US dollars.
            cost_usd: Option<f64>,
            /// Reason for the failure.
            error: Option<String>,
        }
    }
    /// `step.started`: a step of a session began.
    StepStarted {
        required {
            /// Id of the step, unique within the session.
            step: StepId,
        }
        optional {
            /// The step that this one is part of.
            parent_step: Option<StepId>,
            /// The module, the tool or the model's role that does the work.
            module: Option<String>,
            /// Kind of work.
            kind: Option<StepKind>,
            /// Model that the step calls.
            model: Option<String>,
            /// The whole input.
            input: Option<String>,
            /// Summary of `input`; its first characters if absent.
            input_summary: Option<String>,
        }
    }
    /// `step.ended`: a step ended.
    StepEnded {
        required {
            /// Id of the step, unique within the session.
            step: StepId,
            /// The way in which the step ended.
            status: StepEnd,
        }
        optional {
            /// The whole output.
            output: Option<String>,
            /// Summary of `output`; its first characters if absent.
            output_summary: Option<String>,
            /// Confidence of the module in its output, 0 to 1.
            confidence: Option<f64>,
            /// Tokens read by the model, including those in the provider's cache.
            tokens_input: Option<u64>,
            /// Tokens written by the model, including those of its reasoning.
            tokens_output: Option<u64>,
            /// Tokens of `tokens_input` that were read from the provider's cache.
            tokens_cache_read: Option<u64>,
            /// Tokens of `tokens_input` that were written to the provider's cache.
            tokens_cache_write: Option<u64>,
            /// Tokens of `tokens_output` that were spent on reasoning.
            tokens_reasoning: Option<u64>,
            /// Cost in US dollars.
            cost_usd: Option<f64>,
            /// Reason for the failure.
            error: Option<String>,
            /// Basis of the record: the recorder saw the step, or the agent claims it. Not stated if absent.
            basis: Option<Basis>,
        }
    }
    /// `decision.made`: one of several options was chosen.
    DecisionMade {
        required {}
        optional {
            /// Id of the decision, unique within the session; the event's id if absent.
            decision: DecisionId,
            /// The step in which it was made.
            step: Option<StepId>,
            /// Type of the decision.
            decision_type: Option<String>,
            /// Options that could have been chosen.
            options_considered: Vec<ConsideredOption>,
            /// The option that was chosen.
            chosen_option: Option<String>,
            /// The options that were chosen if there are several, best first.
            chosen_options: Vec<String>,
            /// Reason for the choice.
            rationale: Option<String>,
            /// Confidence of the decider, 0 to 1.
            confidence: Option<f64>,
            /// Person or program that decided.
            actor: Option<String>,
            /// The principals for whom it was decided: the nearest one first, then the one behind it, and so on.
            on_behalf_of: Vec<Delegation>,
            /// Basis of the record: the recorder saw the decision, or the agent claims it. Not stated if absent.
            basis: Option<Basis>,
        }
    }
    /// `finding.raised`: a problem or observation was found, or a check was made.
    FindingRaised {
        required {}
        optional {
            /// Id of the finding, unique within the session; the event's id if absent.
            finding: FindingId,
            /// The step in which it was found.
            step: Option<StepId>,
            /// Category of the finding.
            category: Option<String>,
            /// The rule or pattern that it matches.
            pattern_type: Option<String>,
            /// Gravity of the finding.
            severity: Option<Severity>,
            /// Result of the check.
            outcome: Option<Outcome>,
            /// Confidence of the finder, 0 to 1.
            confidence: Option<f64>,
            /// Title of the finding, one line.
            title: Option<String>,
            /// Description for experts.
            description: Option<String>,
            /// Description for everybody else.
            plain_english: Option<String>,
            /// Action that the finder proposes.
            suggestion: Option<String>,
            /// Law or policy behind the finding.
            legal_source: Option<String>,
            /// Data that supports the finding.
            evidence: Option<Json>,
            /// Scope of the finding.
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
            /// New status of the finding.
            status: Option<FindingStatus>,
            /// Person or program that made the update.
            actor: Option<String>,
            /// Reason for the update.
            reason: Option<String>,
            /// The change that was made because of the finding.
            correction: Option<Correction>,
        }
        nested { correction: Correction, }
    }
    /// `review.recorded`: a person reviewed an item and gave a verdict.
    ReviewRecorded {
        required {
            /// The reviewer.
            actor: String,
            /// Kind of the reviewed item.
            subject_kind: SubjectKind,
            /// Verdict of the reviewer.
            verdict: Verdict,
        }
        optional {
            /// Id of the review; the event's id if absent.
            review: ReviewId,
            /// Id of the reviewed item. It may be absent if a session was reviewed: then the item is the event's
            /// session.
            subject_id: Option<String>,
            /// Reason for the verdict.
            reason: Option<String>,
            /// Role in which the reviewer judged.
            role: Option<String>,
            /// Basis of the reviewer's right to judge: a rule, a mandate, a limit.
            authority: Option<String>,
            /// The way in which the reviewer was identified: a single sign-on, a key …
            identified_by: Option<String>,
            /// Ids, digests or locations of what the reviewer saw.
            evidence_seen: Vec<String>,
            /// BLAKE3 of the content that the reviewer approved.
            approved_digest: Option<Digest>,
            /// Time at which the verdict stops being valid.
            expires_at: Option<Timestamp>,
        }
    }
    /// `artifact.attached`: a file belongs to the record. Its content is stored elsewhere; the digest
    /// identifies it.
    ArtifactAttached {
        required {
            /// BLAKE3 of the content.
            artifact: Digest,
        }
        optional {
            /// The step that the file belongs to.
            step: Option<StepId>,
            /// Name or location of the file.
            label: Option<String>,
            /// Position among several files.
            position: Option<u64>,
            /// Media type, as in HTTP.
            media_type: Option<String>,
            /// Length of the content, in bytes.
            size: Option<u64>,
        }
    }
    /// `metric.recorded`: a measurement.
    MetricRecorded {
        required {
            /// Name of the measured quantity.
            name: String,
            /// The measured value.
            value: f64,
        }
        optional {
            /// Unit of the value.
            unit: Option<String>,
            /// The producer's own labels.
            labels: BTreeMap<String, String>,
        }
    }
    /// `note.logged`: a message, as in a program's log.
    NoteLogged {
        required {
            /// Text of the note.
            message: String,
        }
        optional {
            /// The step that the note belongs to.
            step: Option<StepId>,
            /// Importance: debug, info, warning, error …
            level: Option<String>,
            /// Data that belongs to the message.
            data: Option<Json>,
        }
    }
    /// `action.recorded`: a person or program acted on an entity.
    ActionRecorded {
        required {
            /// The person or program that acted.
            actor: Actor,
            /// Name of the action.
            action: String,
        }
        optional {
            /// Kind of the entity that was acted on.
            entity_type: Option<String>,
            /// Id of the entity that was acted on.
            entity_id: Option<String>,
            /// Result of the action.
            outcome: Option<ActionOutcome>,
            /// Reason for the action, or for its result.
            reason: Option<String>,
            /// State before and after the action.
            changes: Option<Changes>,
            /// Origin of the request.
            context: Option<RequestContext>,
            /// Tenant for whom the actor acted, if several tenants share a log.
            tenant: Option<String>,
            /// The principals for whom it was done: the nearest one first, then the one behind it, and so on.
            on_behalf_of: Vec<Delegation>,
            /// Basis of the record: the recorder saw the action, or the agent claims it. Not stated if absent.
            basis: Option<Basis>,
        }
        nested { actor: Actor, changes: Changes, context: RequestContext, }
    }
    /// `otel.span`: a span of OpenTelemetry, as it was received. Its session is its trace.
    OtelSpan {
        required {
            /// The span, in the JSON form of OTLP: an object.
            span: Json,
        }
        optional {
            /// The resource that sent it: an object.
            resource: Option<Json>,
            /// The schema that the resource's attributes follow.
            resource_schema_url: Option<String>,
            /// The instrumentation that made the span: an object.
            scope: Option<Json>,
            /// The schema that the attributes of scope and span follow.
            scope_schema_url: Option<String>,
        }
    }
    /// `otel.log`: a log record of OpenTelemetry, as it was received. Its session is its trace, or the
    /// conversation that it names, if there is one.
    OtelLog {
        required {
            /// The log record, in the JSON form of OTLP: an object.
            log_record: Json,
        }
        optional {
            /// The resource that sent it: an object.
            resource: Option<Json>,
            /// The schema that the resource's attributes follow.
            resource_schema_url: Option<String>,
            /// The instrumentation that made the log record: an object.
            scope: Option<Json>,
            /// The schema that the attributes of scope and log record follow.
            scope_schema_url: Option<String>,
        }
    }
    /// `policy.decided`: a policy engine decided whether something is allowed.
    PolicyDecided {
        required {
            /// Name of the policy.
            policy: String,
            /// Effect of the decision.
            effect: PolicyEffect,
        }
        optional {
            /// Version of the policy.
            policy_version: Option<String>,
            /// The rule of the policy that applied.
            rule: Option<String>,
            /// Reason for the effect.
            reason: Option<String>,
            /// The step in which the policy was applied.
            step: Option<StepId>,
            /// Kind of the item that was judged.
            subject_kind: Option<SubjectKind>,
            /// Id of the item that was judged. It may be absent if the event's session was judged.
            subject_id: Option<String>,
            /// The policy engine.
            actor: Option<String>,
            /// The input that the engine judged.
            input: Option<Json>,
        }
    }
    /// `coverage.declared`: a program declares what it records of a session, and how many events it has sent.
    CoverageDeclared {
        required {
            /// The program that records.
            source: String,
        }
        optional {
            /// The run of the program, if it runs several times: each run counts from 0.
            instance: Option<String>,
            /// What the program records.
            records: Vec<String>,
            /// What the program is known not to record.
            omits: Vec<String>,
            /// Kinds of events by name, with the number of events that this run has sent in the session before this
            /// one. A later declaration of the run has all of them again.
            announced: BTreeMap<String, u64>,
        }
    }
    /// `custom`: any other event, for the user's own views.
    Custom {
        required {
            /// Name of the event, which the producer chooses.
            name: String,
        }
        optional {
            /// Content of the event, in a form that the producer chooses.
            data: Option<Json>,
        }
    }
}
