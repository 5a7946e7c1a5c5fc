//! The meaning of a span: a step, the facts about its session, decisions and findings.

use std::borrow::Cow;

use super::conventions::{Field, Happening};
use super::decisions::Room;
use super::events::{self, Rest, ShownEvents};
use super::failure::{self, StepFailure};
use super::node::{Node, write_list, write_text};
use super::precedence::{Meaning, Rank};
use super::reading::{Prefer, Reading};
use super::record::{self, Span};
use super::said::Said;
use super::{blob, decisions, findings, origin, session};
use crate::event::{Attributes, Event, Json, OtelSpan, StepEnd, StepEnded, StepId, StepKind, StepStarted};

pub(super) fn meanings(event: &OtelSpan) -> Vec<Meaning<'static>> {
    // Without a node, a span id and a step there is no meaning: the event then stands for itself.
    let Some(mut node) = Node::parse(event.span.as_str()) else { return Vec::new() };
    let mut blobs = Vec::new();
    blob::take(&mut node, &mut blobs);
    let Some(span) = Span::read(&node) else { return Vec::new() };
    let Ok(step) = StepId::new(span.id.as_ref()) else { return Vec::new() };
    let resource = event.resource.as_ref().and_then(|json| Node::parse(json.as_str())).unwrap_or(Node::Null);
    let scope = event.scope.as_ref().and_then(|json| Node::parse(json.as_str())).unwrap_or(Node::Null);

    // Events with all messages of a call count as attributes of the span.
    let details = span
        .events()
        .iter()
        .filter(|event| events::named(event) == Some(Happening::Details))
        .flat_map(record::attributes);
    let mut said = Said::new(
        record::attributes(node_of(&span)).chain(details),
        scope.text_of("name").unwrap_or_default(),
    );
    let (kind, work) = said.kind();
    // Only the agent's own span takes the name. In other spans it stays an attribute.
    let named_agent = if kind == StepKind::Agent { said.take_text(Field::Agent) } else { None };
    let module = match kind {
        StepKind::Tool => said.take_text(Field::Tool),
        StepKind::Agent => named_agent.clone(),
        _ => None,
    }
    .or_else(|| entity(&mut said));
    // The span's own name is kept as an attribute only if the step has another one.
    let has_own_name = module.as_deref().is_none_or(|module| module == span.name);
    let input = said.input();
    let model = said.take_text(Field::Model);
    // A span that was sent when it started has no end yet: its step still runs. What only an end has is read all the
    // same, but it stays in the rest.
    let unended = span.ended.is_none().then(|| said.clone());
    let output = said.output();
    let (message_input, message_output) = events::messages(&span);
    said.keep_finish_reasons(&message_output);
    let tokens = said.take_tokens();
    let cost_usd = said.take_cost();
    let has_ended = unended.is_none();
    said = unended.unwrap_or(said);
    let error = failure::failure(&span, &said);
    let status = match failure::has_failed(&span, &said) {
        true if error.as_ref().is_some_and(StepFailure::is_cancellation) => StepEnd::Cancelled,
        true => StepEnd::Error,
        false => StepEnd::Ok,
    };
    // Messages in attributes count before messages that came as events of the span.
    let shown_events =
        ShownEvents { input: input.text.is_none(), output: has_ended && output.text.is_none() };
    let answers = if output.messages.is_empty() { message_output } else { output.messages };
    let asked = if input.messages.is_empty() { &message_input } else { &input.messages };
    let question = super::messages::question(asked).or_else(|| said.prompt());
    let is_instructed_only = !asked.is_empty() && question.is_none();
    let answer = super::messages::answer(&answers);
    let reading = Reading {
        step,
        started_at: record::time(span.started),
        ended_at: record::time(span.ended),
        kind,
        work,
        module: module.unwrap_or_else(|| span.name.to_owned()),
        model,
        input: input.text.or_else(|| super::messages::text(&message_input)),
        output: output.text.or_else(|| super::messages::text(&answers)),
        question,
        answer,
        is_instructed_only,
        answers,
        error,
        status,
        span,
    };

    // For its own step a span has the highest rank. If it was sent several times, the last end stands.
    let own = reading.precedence(Rank::Root, Prefer::Last);
    let mut after = Vec::new();
    let resource = session::Resource { node: &resource, schema_url: event.resource_schema_url.as_deref() };
    session::add(&reading, &said, resource, &scope, named_agent, &mut after);
    decisions::add(&reading, &said, Room::of(event.span.as_str().len()), &mut after);
    findings::add(&reading, &mut said, &mut after);
    // After all others: the rest has what no call above has taken.
    let started = StepStarted {
        step: reading.step.clone(),
        parent_step: reading.span.parent.as_deref().and_then(|parent| StepId::new(parent).ok()),
        module: Some(reading.module.clone()).filter(|module| !module.is_empty()),
        kind: Some(kind),
        model: reading.model.clone(),
        input: reading.input.clone(),
        input_summary: None,
        attributes: attributes(event, &reading, &said, &scope, has_own_name, shown_events),
    };
    // The step comes first, because the span is about it.
    let mut meanings = vec![Meaning {
        precedence: Some(own),
        at: reading.started_at,
        event: Cow::Owned(Event::StepStarted(started)),
    }];
    if has_ended {
        let ended = StepEnded {
            step: reading.step.clone(),
            status,
            output: reading.output.clone(),
            tokens_input: tokens.input,
            tokens_output: tokens.output,
            tokens_cache_read: tokens.cache_read,
            tokens_cache_write: tokens.cache_write,
            tokens_reasoning: tokens.reasoning,
            cost_usd,
            error: reading.error.as_ref().and_then(StepFailure::text),
            ..StepEnded::default()
        };
        meanings.push(Meaning {
            precedence: Some(own),
            at: reading.ended_at,
            event: Cow::Owned(Event::StepEnded(ended)),
        });
    }
    meanings.extend(after);
    let (step, at) = (&reading.step, reading.started_at);
    meanings.extend((0..).zip(blobs).map(|(place, blob)| blob.attach(place, Some(step.clone()), at)));
    meanings
}

/// The name of the work. Logfire puts the error of work that failed behind it, which stays in the attribute.
fn entity(said: &mut Said<'_>) -> Option<String> {
    let name = said.see_text(Field::Entity)?;
    match name.split_once(" failed: ") {
        Some((name, _)) => Some(name.to_owned()),
        None => said.take_text(Field::Entity),
    }
}

fn node_of<'n>(span: &Span<'n>) -> &'n Node<'n> {
    span.node
}

/// The attributes of the step: all of the span and of its attributes that no column has.
fn attributes(
    event: &OtelSpan,
    reading: &Reading<'_>,
    said: &Said<'_>,
    scope: &Node<'_>,
    has_own_name: bool,
    shown_events: ShownEvents,
) -> Attributes {
    let span = &reading.span;
    let mut rest = event.attributes.clone();
    rest.extend(said.rest());
    // Inserted last: an attribute of the sender with the same name must not replace a fact of the span.
    let mut put = |name: &str, json: String| rest.insert(name.to_owned(), Json::written(json));
    let text = |text: &str| {
        let mut json = String::new();
        write_text(text, &mut json);
        json
    };
    if !has_own_name {
        put("otel.span.name", text(span.name));
    }
    if let Some(kind) = span.kind().filter(|kind| *kind != "internal") {
        put("otel.span.kind", text(kind));
    }
    let state = span.node.field("traceState").and_then(Node::text);
    if let Some(state) = state.filter(|state| !state.is_empty()) {
        put("otel.trace_state", text(state));
    }
    for (name, member) in [
        ("otel.dropped_attributes_count", "droppedAttributesCount"),
        ("otel.dropped_events_count", "droppedEventsCount"),
        ("otel.dropped_links_count", "droppedLinksCount"),
    ] {
        if let Some(count) = span.node.field(member).and_then(Node::unsigned).filter(|count| *count > 0) {
            put(name, count.to_string());
        }
    }
    // Events that have a meaning are in columns, or in rows of their own: the rest of them is kept.
    let events: Vec<_> = events::rests(span, shown_events).collect();
    if !events.is_empty() {
        let mut json = String::new();
        write_list(&events, &mut json, write_event);
        put("otel.events", json);
    }
    // The message of a failure is in the column `error`, unless an exception states another one.
    let is_shown = |message: &&str| reading.error.as_ref().is_some_and(|error| error.has(message));
    if let Some(message) = span.status_message.filter(|message| !is_shown(message)) {
        put("otel.status.message", text(message));
    }
    let links = span.node.get("links").and_then(Node::list).unwrap_or_default();
    if !links.is_empty() {
        let mut json = String::new();
        write_list(links, &mut json, write_link);
        put("otel.links", json);
    }
    record::add_malformed("otel.malformed_attributes", span.node, &mut rest);
    origin::add("otel.scope", scope, event.scope_schema_url.as_deref(), &mut rest);
    rest
}

fn write_event(rest: &Rest<'_>, out: &mut String) {
    out.push_str("{\"name\":");
    write_text(rest.event.text_of("name").unwrap_or_default(), out);
    if let Some(at) = record::time(record::nanos(rest.event, "timeUnixNano")) {
        out.push_str(",\"at\":");
        write_text(&at.to_string(), out);
    }
    if let Some((first, others)) = rest.attributes.split_first() {
        out.push_str(",\"attributes\":{");
        write_member(first, out);
        for attribute in others {
            out.push(',');
            write_member(attribute, out);
        }
        out.push('}');
    }
    write_others(rest.event, &events::FIELDS, out);
    out.push('}');
}

fn write_member((name, json): &(&str, String), out: &mut String) {
    write_text(name, out);
    out.push(':');
    out.push_str(json);
}

fn write_link(link: &Node<'_>, out: &mut String) {
    out.push_str("{\"session\":");
    write_text(&record::id(link, "traceId").unwrap_or_default(), out);
    out.push_str(",\"step\":");
    write_text(&record::id(link, "spanId").unwrap_or_default(), out);
    if let Some(attributes) = record::object(record::attributes(link)) {
        out.push_str(",\"attributes\":");
        out.push_str(&attributes);
    }
    write_others(link, &["traceId", "spanId", "attributes"], out);
    out.push('}');
}

/// Writes the members of an event or link that have other names than these fields, and its attributes without a key.
fn write_others(node: &Node<'_>, fields: &[&str], out: &mut String) {
    for (name, value) in record::others(node, fields) {
        out.push(',');
        write_text(name, out);
        out.push(':');
        value.write(out);
    }
    let malformed = record::malformed_attributes(node);
    if !malformed.is_empty() {
        out.push_str(",\"malformed_attributes\":");
        write_list(&malformed, out, |node, out| node.write(out));
    }
}
