//! The part of a span's meaning that concerns its session.
//!
//! The root span starts and ends the session. Until the root comes, a span whose parent is in another process
//! stands in for it. Any span may add the conversation, the user, or the model.

use std::borrow::Cow;
use std::collections::BTreeMap;

use super::coding_agents::{self, Version};
use super::conventions::{Field, Work};
use super::failure::StepFailure;
use super::node::Node;
use super::precedence::{Meaning, Precedence, Rank};
use super::reading::{Prefer, Reading};
use super::said::Said;
use super::{origin, record};
use crate::event::{Attributes, Event, SessionEnd, SessionEnded, SessionStarted, StepEnd, StepKind};

fn rank(reading: &Reading<'_>) -> Rank {
    match &reading.span.parent {
        None => Rank::Root,
        Some(_) if reading.span.has_remote_parent => Rank::Entry,
        Some(_) if reading.work == Work::Run => Rank::Run,
        Some(_) => Rank::Span,
    }
}

/// A text of the resource. SDKs send `unknown_service` for a service without a name, which counts as absent.
pub(super) fn of_resource(said: &Said<'_>, field: Field) -> Option<String> {
    said.see_text(field).filter(|text| !text.starts_with("unknown_service"))
}

/// The resource that a span or log record comes from.
#[derive(Clone, Copy)]
pub(super) struct Resource<'n> {
    pub(super) node: &'n Node<'n>,
    pub(super) schema_url: Option<&'n str>,
}

pub(super) fn add(
    reading: &Reading<'_>,
    said: &Said<'_>,
    resource: Resource<'_>,
    scope: &Node<'_>,
    named_agent: Option<String>,
    meanings: &mut Vec<Meaning<'static>>,
) {
    let rank = rank(reading);
    let is_whole = rank.is_whole_session();
    // A child only adds to its session: input, agent and output of the session come from spans that are whole
    // runs.
    let is_run = is_whole || rank == Rank::Run;
    let is_call = reading.kind == StepKind::Llm;
    let process = Said::new(record::attributes(resource.node), "");
    let environment = of_resource(&process, Field::Environment).or_else(|| said.see_text(Field::Environment));
    let labels: BTreeMap<String, String> =
        [("user", said.see_text(Field::User)), ("environment", environment)]
            .into_iter()
            .filter_map(|(name, value)| Some((name.to_owned(), value?)))
            .collect();
    let coding_agent = coding_agents::agent(None, scope.text_of("name"));
    let is_agent_named = named_agent.is_some() || said.see_text(Field::Agent).is_some();
    let agent = is_run
        .then(|| {
            // The name of a span is the agent's name only if the span is an agent or a chain, and nothing
            // names the agent.
            let own_name =
                matches!(reading.kind, StepKind::Agent | StepKind::Chain).then(|| reading.module.clone());
            coding_agent
                .map(|agent| agent.name.to_owned())
                .or(named_agent)
                .or_else(|| said.see_text(Field::Agent))
                .or_else(|| said.see_text(Field::Workflow))
                .or(own_name)
        })
        .flatten();
    let agent_version = is_run
        .then(|| {
            let is_own = coding_agent.is_none_or(|agent| agent.service_version == Version::OfAgent);
            let of_service = || of_resource(&process, Field::ServiceVersion).filter(|_| is_own);
            said.see_text(Field::AgentVersion).or_else(of_service)
        })
        .flatten();
    let mut attributes = Attributes::new();
    // The resource is the same for all spans of a process, so only spans that start the session bring it
    // along.
    if is_whole {
        origin::add_to_session(resource.node, resource.schema_url, &mut attributes);
    }
    let started = SessionStarted {
        profile: of_resource(&process, Field::Service),
        // Instructions are not the question. A model call asks for its session only as long as no run does.
        input: said
            .see_text(Field::SessionInput)
            .or_else(|| reading.question.clone().filter(|_| is_run || is_call))
            .or_else(|| reading.input.clone().filter(|_| is_run && !reading.is_instructed_only)),
        conversation: said.conversation(),
        agent,
        agent_version,
        // Of children only model calls name the session's model; a tool or a retriever may use another one.
        model: reading.model.clone().filter(|_| is_run || reading.kind == StepKind::Llm),
        source: scope.text_of("name").filter(|_| is_whole).filter(|name| !name.is_empty()).map(str::to_owned),
        tenant: said.see_text(Field::Tenant),
        labels,
        attributes,
        ..SessionStarted::default()
    };
    meanings.push(Meaning {
        precedence: Some(reading.precedence(rank, Prefer::First)),
        at: reading.started_at,
        event: Cow::Owned(Event::SessionStarted(started)),
    });
    // A child does not end the session, but the output of a run, or the last answer of a model, may be its summary.
    // Of such a source the fold ignores end, status and error.
    let summary = said
        .see_text(Field::SessionOutput)
        .or_else(|| reading.answer.clone().filter(|_| is_run || is_call))
        .or_else(|| reading.output.clone().filter(|_| is_run));
    // A span that still runs ends nothing.
    if reading.span.ended.is_none() || !is_run && summary.is_none() {
        return;
    }
    let ended = SessionEnded {
        status: match reading.status {
            StepEnd::Ok => SessionEnd::Completed,
            StepEnd::Error => SessionEnd::Failed,
            StepEnd::Cancelled => SessionEnd::Cancelled,
        },
        error: reading.error.as_ref().and_then(StepFailure::text).filter(|_| reading.status != StepEnd::Ok),
        ..SessionEnded::default()
    };
    // Some SDKs report success of the whole even if the agent within it failed. Such a span neither names an
    // agent nor has an output. Any other states itself how the work ended, whatever runs within it state.
    if is_whole && (is_agent_named || summary.is_some()) {
        // Above all runs, and the root above a span that stands in for it.
        let order = if rank == Rank::Root { i64::MAX } else { i64::MAX - 1 };
        let precedence = Precedence { order, ..reading.precedence(Rank::Run, Prefer::Last) };
        meanings.push(Meaning {
            precedence: Some(precedence),
            at: reading.ended_at,
            event: Cow::Owned(Event::SessionEnded(ended.clone())),
        });
    }
    let ended = SessionEnded { summary, ..ended };
    meanings.push(Meaning {
        precedence: Some(reading.precedence(rank, Prefer::Last)),
        at: reading.ended_at,
        event: Cow::Owned(Event::SessionEnded(ended)),
    });
}
