//! The mapping from fields to events: one function for each kind of event.

use serde_json::Value;
use tracing::{Level, Metadata};

use super::fields::{Fields, finite, text_of};
use crate::event::{
    Attributes, DecisionMade, FindingRaised, Json, NoteLogged, SessionEnd, SessionEnded, SessionStarted,
    StepEnd, StepEnded, StepId, StepStarted,
};

/// Fields of a span that belong to the end of its session or step, at whatever time they are recorded.
const END: &[&str] = &[
    "output",
    "output_summary",
    "summary",
    "confidence",
    "tokens_input",
    "tokens_output",
    "tokens_cache_read",
    "tokens_cache_write",
    "tokens_reasoning",
    "cost_usd",
    "risk_level",
    "status",
    "error",
    "basis",
];
const END_GROUPS: &[&str] = &["scores"];

/// The attribute for the place in the program that a record comes from.
const TARGET: &str = "tracing.target";

/// Removes and returns the fields that are kept for the end.
pub(super) fn split_end(fields: &mut Fields) -> Fields {
    fields.split(END, END_GROUPS)
}

/// The text of a marking field, such as `annals.decision = "routing"`. A boolean only marks, and has no text.
pub(super) fn said(mark: Option<Value>) -> Option<String> {
    mark.filter(|value| !value.is_boolean()).map(|value| text_of(&value))
}

fn attributes(fields: Fields, metadata: &Metadata<'_>) -> Attributes {
    // Called last: every field that had a meaning was taken before, so only the others become attributes.
    let mut attributes = fields.into_attributes();
    attributes.entry(TARGET.to_owned()).or_insert_with(|| Json::text(metadata.target()));
    attributes
}

pub(super) fn session_started(fields: &mut Fields) -> SessionStarted {
    SessionStarted {
        profile: fields.text("profile"),
        input: fields.text("input"),
        input_hash: fields.text("input_hash"),
        conversation: fields.text("conversation"),
        parent_session: fields.parsed("parent_session"),
        agent: fields.text("agent"),
        agent_version: fields.text("agent_version"),
        model: fields.text("model"),
        source: fields.text("source"),
        tenant: fields.text("tenant"),
        labels: fields.group("labels", |value| Some(text_of(value))).into_iter().collect(),
        attributes: Attributes::new(),
    }
}

/// The start of a session from its new span. The fields for the end were taken out before.
pub(super) fn first_session_started(mut fields: Fields, metadata: &Metadata<'_>) -> SessionStarted {
    let mut started = session_started(&mut fields);
    started.profile.get_or_insert_with(|| metadata.name().to_owned());
    started.attributes = attributes(fields, metadata);
    started
}

pub(super) fn session_ended(mut fields: Fields, error: Option<String>) -> SessionEnded {
    let summary = fields.text("summary").or_else(|| fields.text("output"));
    let error = fields.text("error").or(error);
    // An error makes the session a failed one, unless the program set the status itself.
    let status = if error.is_some() { SessionEnd::Failed } else { SessionEnd::Completed };
    SessionEnded {
        status: fields.parsed("status").unwrap_or(status),
        summary,
        risk_level: fields.parsed("risk_level"),
        scores: fields.group("scores", finite).into_iter().collect(),
        tokens_input: fields.tokens("tokens_input"),
        tokens_output: fields.tokens("tokens_output"),
        cost_usd: fields.number("cost_usd"),
        error,
        attributes: fields.into_attributes(),
    }
}

pub(super) fn step_started(fields: &mut Fields) -> StepStarted {
    StepStarted {
        step: StepId::default(),
        parent_step: None,
        module: fields.text("module"),
        kind: fields.parsed("kind"),
        model: fields.text("model"),
        input: fields.text("input"),
        input_summary: fields.text("input_summary"),
        attributes: Attributes::new(),
    }
}

/// The start of a step from its new span. The fields for the end were taken out before.
pub(super) fn first_step_started(mut fields: Fields, metadata: &Metadata<'_>) -> StepStarted {
    let mut started = step_started(&mut fields);
    started.module.get_or_insert_with(|| metadata.name().to_owned());
    started.attributes = attributes(fields, metadata);
    started
}

pub(super) fn step_ended(mut fields: Fields, step: StepId, error: Option<String>) -> StepEnded {
    let error = fields.text("error").or(error);
    // An error makes the step a failed one, unless the program set the status itself.
    let status = if error.is_some() { StepEnd::Error } else { StepEnd::Ok };
    StepEnded {
        step,
        status: fields.parsed("status").unwrap_or(status),
        output: fields.text("output"),
        output_summary: fields.text("output_summary"),
        confidence: fields.fraction("confidence"),
        tokens_input: fields.tokens("tokens_input"),
        tokens_output: fields.tokens("tokens_output"),
        tokens_cache_read: fields.tokens("tokens_cache_read"),
        tokens_cache_write: fields.tokens("tokens_cache_write"),
        tokens_reasoning: fields.tokens("tokens_reasoning"),
        cost_usd: fields.number("cost_usd"),
        error,
        basis: fields.parsed("basis"),
        attributes: fields.into_attributes(),
    }
}

pub(super) fn decision(
    mut fields: Fields,
    step: Option<StepId>,
    decision_type: Option<String>,
    metadata: &Metadata<'_>,
) -> DecisionMade {
    let chosen_options = fields.texts("chosen_options");
    // A decision has one choice or several, not both. The field that is not used becomes an attribute.
    let chosen_option = if chosen_options.is_empty() { fields.text("chosen_option") } else { None };
    DecisionMade {
        decision: fields.id("id").unwrap_or_default(),
        step,
        decision_type: fields.text("decision_type").or(decision_type),
        options_considered: fields.options(),
        chosen_option,
        chosen_options,
        rationale: fields.text("rationale").or_else(|| fields.text("message")),
        confidence: fields.fraction("confidence"),
        actor: fields.text("actor"),
        // A chain of principals has no flat form, so a field with this name stays an attribute.
        on_behalf_of: Vec::new(),
        basis: fields.parsed("basis"),
        attributes: attributes(fields, metadata),
    }
}

pub(super) fn finding(
    mut fields: Fields,
    step: Option<StepId>,
    category: Option<String>,
    metadata: &Metadata<'_>,
) -> FindingRaised {
    FindingRaised {
        finding: fields.id("id").unwrap_or_default(),
        step,
        category: fields.text("category").or(category),
        pattern_type: fields.text("pattern_type"),
        severity: fields.parsed("severity"),
        outcome: fields.parsed("outcome"),
        confidence: fields.fraction("confidence"),
        title: fields.text("title").or_else(|| fields.text("message")),
        description: fields.text("description"),
        plain_english: fields.text("plain_english"),
        suggestion: fields.text("suggestion"),
        legal_source: fields.text("legal_source"),
        evidence: fields.json("evidence"),
        scope: fields.text("scope"),
        rule_version: fields.text("rule_version"),
        attributes: attributes(fields, metadata),
    }
}

pub(super) fn note(mut fields: Fields, step: Option<StepId>, metadata: &Metadata<'_>) -> NoteLogged {
    NoteLogged {
        message: fields.text("message").unwrap_or_else(|| metadata.name().to_owned()),
        step,
        level: Some(level(*metadata.level()).to_owned()),
        data: fields.json("data"),
        attributes: attributes(fields, metadata),
    }
}

fn level(level: Level) -> &'static str {
    match level {
        Level::ERROR => "error",
        Level::WARN => "warning",
        Level::INFO => "info",
        Level::DEBUG => "debug",
        Level::TRACE => "trace",
    }
}
