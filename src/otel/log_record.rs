//! The meaning of a log record: a note of its step, and also its messages, result or exception if it has any.

use std::borrow::Cow;

use super::agent_log::{self, SessionFacts};
use super::call::{Call, Share, Source, step_id};
use super::coding_agents::{self, Agent, Version};
use super::conventions::{Field, Happening, happening};
use super::failure::StepFailure;
use super::messages::{self, Message};
use super::node::Node;
use super::precedence::{Meaning, Precedence, Rank, fingerprint};
use super::reading::earliest;
use super::record::{self, Any};
use super::said::{Content, Said};
use super::session::{Resource, of_resource};
use super::used::{Side, Used};
use super::{blob, decisions, findings, origin};
use crate::event::{
    Attributes, Event, Json, NoteLogged, OtelLog, SessionEnded, SessionStarted, Severity, StepEnd, StepEnded,
    StepId, StepKind, StepStarted, Timestamp,
};

/// Words for OTLP's severity numbers. Each word stands for four numbers, from 1.
const LEVELS: [&str; 6] = ["trace", "debug", "info", "warning", "error", "critical"];

/// The flag of a record whose trace is sampled.
const IS_SAMPLED: u64 = 1;

pub(super) fn meanings(event: &OtelLog, in_session: bool, at: Option<Timestamp>) -> Vec<Meaning<'static>> {
    let Some(mut node) = Node::parse(event.log_record.as_str()) else { return Vec::new() };
    let mut blobs = Vec::new();
    blob::take(&mut node, &mut blobs);
    let resource = event.resource.as_ref().and_then(|json| Node::parse(json.as_str())).unwrap_or(Node::Null);
    let scope = event.scope.as_ref().and_then(|json| Node::parse(json.as_str())).unwrap_or(Node::Null);
    let time = record::nanos(&node, "timeUnixNano").or_else(|| record::nanos(&node, "observedTimeUnixNano"));
    let at = record::time(time).or(at);
    let name = Name::of(&node);
    let agent = coding_agents::agent(name.text, scope.text_of("name"));
    let what = name.text.and_then(happening);
    // A log record has no id, so its content identifies it as a source.
    let speaker = fingerprint(event.log_record.as_str().as_bytes());
    let precedence = |rank, order| Precedence { rank, order, speaker };
    let order = i64::try_from(time.unwrap_or(0)).unwrap_or(i64::MAX);
    let moment = time.map(|time| time.to_string()).unwrap_or_default();
    let source = Source {
        at,
        speaker,
        bytes: event.log_record.as_str().len(),
        moment: record::attribute(&node, "event.timestamp").and_then(Any::text).unwrap_or(&moment),
    };
    let mut said = Said::new(record::attributes(&node), scope.text_of("name").unwrap_or_default());
    let body_text = body(&node);
    let body_node = body_text.as_deref().and_then(Node::parse_structure);
    let message = body_node.as_ref().and_then(|body| Message::read(body, &mut Used::new(Side::Input)));

    let mut meanings = Vec::new();
    // Decisions, findings and failures come last: the first meaning is the one that the record is about.
    let mut after = Vec::new();
    let mut input_output = (None, None);
    let mut session = SessionFacts::default();
    // The session of a coding agent is the conversation, in which a span is no step.
    let span = record::id(&node, "spanId").filter(|_| agent.is_none() && in_session);
    let mut step = span.and_then(|id| StepId::new(id.as_ref()).ok());
    let is_of_span = step.is_some();
    if let Some(agent) = agent {
        let report = name.text.and_then(|name| coding_agents::report(agent, name));
        let read = agent_log::read(agent, report, record::attributes(&node), source);
        (step, session, after) = (read.step.filter(|_| in_session), read.session, read.meanings);
    }
    let mut call = None;
    // Without a session there is no step, so the note keeps everything.
    match what.filter(|_| in_session) {
        Some(Happening::Details) => {
            let (input, output) = (said.input(), said.output());
            if !is_of_span && reports_answer(&said, &output) {
                step = call_step(&said, agent, source);
                call = step.clone();
            }
            choose(&said, precedence(Rank::Log, order), source, step.as_ref(), &output.messages, &mut after);
            session.answer = session.answer.or_else(|| messages::answer(&output.messages));
            // A coding agent has a record of its own for the prompt.
            if agent.is_none() {
                session.input = messages::question(&input.messages);
            }
            input_output = (input.text, output.text);
        }
        Some(Happening::UserMessage) => {
            input_output.0 = message.as_ref().map(Message::text).filter(|text| !text.is_empty());
            session.input = message.as_ref().map(Message::asked).filter(|text| !text.is_empty());
        }
        Some(Happening::Choice) => {
            let answers: Vec<Message> = message.iter().cloned().collect();
            // The index of a choice matters only for the output of the step, below.
            choose(&said, precedence(Rank::Log, order), source, step.as_ref(), &answers, &mut after);
            session.answer = messages::answer(&answers);
            input_output.1 = messages::text(&answers);
        }
        Some(Happening::Evaluation) => {
            findings::logged(
                record::attributes(&node),
                step.clone(),
                at,
                precedence(Rank::Log, order),
                &mut after,
            );
        }
        Some(Happening::Exception) | None | Some(Happening::OtherMessage(_)) => {
            // By its attributes, not by its name alone: a log record of any name may report an exception. The
            // errors of an agent's calls are read with the calls.
            if (step.is_none() || is_of_span)
                && let Some(failure) = StepFailure::of_exception(record::attributes(&node), at)
            {
                failure.raise(step.clone(), precedence(Rank::Log, order), &mut after);
            }
        }
    }

    let role = match what {
        Some(Happening::UserMessage) => Some("user"),
        Some(Happening::OtherMessage(role)) => Some(role),
        Some(Happening::Choice) => Some("assistant"),
        _ => None,
    };
    // A note has no column for the role, so the text has it.
    let text = match (role, &message) {
        (Some(role), Some(message)) => Some(format!("{role}: {}", message.text())),
        _ => body_text.clone().filter(|text| !text.is_empty()),
    };
    // A record whose messages are in no step keeps them with its note.
    let is_placed = is_of_span || call.is_some();
    let mut attributes = if is_placed {
        note_attributes(event, &node, &said, &name, &scope)
    } else {
        let whole = Said::new(record::attributes(&node), scope.text_of("name").unwrap_or_default());
        note_attributes(event, &node, &whole, &name, &scope)
    };
    let number = severity_number(&node);
    let level_word = level(&node, number);
    let severity = node.field("severityText").and_then(Node::text).filter(|text| !text.is_empty());
    if let Some(severity) = severity.filter(|text| !is_level(text, level_word.as_deref())) {
        attributes.insert("otel.severity_text".to_owned(), Json::text(severity));
    }
    // The level has the first number of each word, and every record of a sampled trace has the first flag.
    let number = number.filter(|number| number % 4 != 1 || *number > 24);
    let flags = node.field("flags").and_then(Node::unsigned).filter(|flags| flags & !IS_SAMPLED != 0);
    let dropped = node.field("droppedAttributesCount").and_then(Node::unsigned).filter(|count| *count > 0);
    for (name, number) in
        [("otel.severity_number", number), ("otel.flags", flags), ("otel.dropped_attributes_count", dropped)]
    {
        attributes.extend(number.map(|number| (name.to_owned(), Json::written(number.to_string()))));
    }
    if agent.is_some() || !in_session {
        // Neither the session nor the step has them.
        for (own, member) in [("otel.trace_id", "traceId"), ("otel.span_id", "spanId")] {
            attributes.extend(record::id(&node, member).map(|id| (own.to_owned(), Json::text(&id))));
        }
    }
    let note = NoteLogged {
        message: text.or_else(|| name.text.map(str::to_owned)).unwrap_or_default(),
        step: step.clone(),
        level: level_word,
        data: body_node.as_ref().map(|body| Json::written(body.to_json())),
        attributes,
    };
    // The note has a row of its own, for which no other event competes: it needs no precedence.
    meanings.push(Meaning { precedence: None, at, event: Cow::Owned(Event::NoteLogged(note)) });
    meanings.extend((0..).zip(blobs).map(|(place, blob)| blob.attach(place, step.clone(), at)));
    // Steps, decisions and findings belong to a session, a note need not.
    if !in_session {
        return meanings;
    }
    if let Some(step) = call {
        details_call(step, &mut said, input_output, source, &mut meanings);
    } else if let Some(step) = step.filter(|_| is_of_span) {
        // A record with one message of several is a weaker source than one with all messages of a call.
        let rank = if what == Some(Happening::Details) { Rank::Log } else { Rank::Message };
        let index = body_node.as_ref().and_then(|body| body.get("index")?.unsigned()).unwrap_or(0);
        // Of several choices the one with the least index stands, whatever their times.
        let order = match what {
            Some(Happening::Choice) => i64::try_from(index).map_or(i64::MIN, |index| -index),
            _ => order,
        };
        span_texts(&step, input_output, precedence(rank, order), &mut meanings);
    }
    let conversation = said.see_text(Field::Conversation);
    let is_of_trace = record::id(&node, "traceId").is_some();
    if let Some(summary) = session.answer.take() {
        // The latest answer stands. A log record does not end its session.
        meanings.push(Meaning {
            precedence: Some(precedence(Rank::Log, order)),
            at: None,
            event: Cow::Owned(Event::SessionEnded(SessionEnded {
                summary: Some(summary),
                ..SessionEnded::default()
            })),
        });
    }
    if agent.is_some() || !is_of_trace && conversation.is_some() {
        let began_at = session.began_at.or(at);
        let resource = Resource { node: &resource, schema_url: event.resource_schema_url.as_deref() };
        let rank = if session.is_start { Rank::Run } else { Rank::Log };
        // Negated, so that the earliest record stands. One without a time is the last.
        let order = began_at.map_or(i64::MIN, |at| at.micros().saturating_mul(-1_000));
        meanings.push(Meaning {
            precedence: Some(precedence(rank, order)),
            at: began_at,
            event: Cow::Owned(Event::SessionStarted(started(session, &said, agent, resource, &scope))),
        });
    } else if conversation.is_some() || session.input.is_some() || said.see_text(Field::User).is_some() {
        let labels = said.see_text(Field::User).map(|user| ("user".to_owned(), user)).into_iter().collect();
        let started =
            SessionStarted { conversation, input: session.input, labels, ..SessionStarted::default() };
        meanings.push(Meaning {
            precedence: Some(precedence(Rank::Log, earliest(time))),
            at: None,
            event: Cow::Owned(Event::SessionStarted(started)),
        });
    }
    meanings.extend(after);
    meanings
}

/// Adds input and output of a span's step.
fn span_texts(
    step: &StepId,
    (input, output): (Option<String>, Option<String>),
    precedence: Precedence,
    meanings: &mut Vec<Meaning<'static>>,
) {
    let mut put = |event| {
        meanings.push(Meaning { precedence: Some(precedence), at: None, event: Cow::Owned(event) });
    };
    if input.is_some() {
        put(Event::StepStarted(StepStarted { step: step.clone(), input, ..StepStarted::default() }));
    }
    if output.is_some() {
        let ended = StepEnded { step: step.clone(), output, status: StepEnd::Ok, ..StepEnded::default() };
        put(Event::StepEnded(ended));
    }
}

/// The name of a log record.
struct Name<'n> {
    text: Option<&'n str>,
    /// The name in the record's own field, if it is another one.
    other: Option<&'n str>,
}

impl<'n> Name<'n> {
    /// The attribute has precedence: it was there before the field, and appenders for logging libraries put a
    /// line of the source code into the field.
    fn of(node: &'n Node<'_>) -> Name<'n> {
        let of_field = node.field("eventName").and_then(Node::text).filter(|name| !name.is_empty());
        let of_attribute =
            record::attribute(node, "event.name").and_then(Any::text).filter(|name| !name.is_empty());
        match of_attribute {
            Some(name) => Name { text: Some(name), other: of_field.filter(|other| *other != name) },
            None => Name { text: of_field, other: None },
        }
    }
}

/// Returns true if a record with the details of a call reports its answer. One with the request alone is followed by
/// another one.
fn reports_answer(said: &Said<'_>, output: &Content) -> bool {
    output.text.is_some()
        || [Field::TokensInput, Field::TokensOutput, Field::ErrorType]
            .iter()
            .any(|field| said.see_text(*field).is_some())
}

/// The step of a call whose details come without a span.
fn call_step(said: &Said<'_>, agent: Option<&Agent>, source: Source<'_>) -> Option<StepId> {
    // A coding agent reports each call in two records, of which only one has this id.
    let response = said.named("gen_ai.response.id").and_then(Any::text).filter(|_| agent.is_none());
    if let Some(response) = response.filter(|id| !id.is_empty()) {
        return step_id(response);
    }
    let text = |field| said.see_text(field).unwrap_or_default();
    let said = [text(Field::Model), text(Field::TokensInput), text(Field::TokensOutput)];
    step_id(&source.call_id(&said.each_ref().map(String::as_str)))
}

/// Adds the step of a call whose details come without a span.
fn details_call(
    step: StepId,
    said: &mut Said<'_>,
    (input, output): (Option<String>, Option<String>),
    source: Source<'_>,
    meanings: &mut Vec<Meaning<'static>>,
) {
    let has_operation = said.named("gen_ai.operation.name").is_some();
    let kind = if has_operation { said.kind().0 } else { StepKind::Llm };
    let failure = said.see_text(Field::ErrorType).map(|class| {
        StepFailure::new(Some(class), said.see_text(Field::ErrorMessage), source.at, Severity::High)
    });
    let call = Call {
        step: step.clone(),
        kind,
        module: None,
        model: said.take_text(Field::Model),
        input,
        output,
        tokens: said.take_tokens(),
        cost_usd: said.take_cost(),
        started_at: None,
        status: if failure.is_some() { StepEnd::Error } else { StepEnd::Ok },
        failure: failure.clone(),
        attributes: said.rest(),
    };
    call.add(source, Share::Messages, None, meanings);
    if let Some(failure) = failure {
        failure.raise(Some(step), source.of_part(), meanings);
    }
}

/// The facts about the session in a record whose session is its conversation.
fn started(
    facts: SessionFacts,
    said: &Said<'_>,
    agent: Option<&Agent>,
    resource: Resource<'_>,
    scope: &Node<'_>,
) -> SessionStarted {
    let process = Said::new(record::attributes(resource.node), "");
    let labels =
        [("user", said.see_text(Field::User)), ("environment", of_resource(&process, Field::Environment))]
            .into_iter()
            .filter_map(|(name, value)| Some((name.to_owned(), value?)))
            .collect();
    let is_own_version = agent.is_none_or(|agent| agent.service_version == Version::OfAgent);
    let service_version = of_resource(&process, Field::ServiceVersion).filter(|_| is_own_version);
    let mut attributes = facts.settings;
    origin::add_to_session(resource.node, resource.schema_url, &mut attributes);
    SessionStarted {
        profile: of_resource(&process, Field::Service),
        input: facts.input,
        conversation: said.see_text(Field::Conversation),
        agent: agent.map(|agent| agent.name.to_owned()),
        agent_version: facts.version.or(service_version),
        model: facts.model.or_else(|| said.see_text(Field::Model)),
        source: scope.text_of("name").filter(|name| !name.is_empty()).map(str::to_owned),
        tenant: said.see_text(Field::Tenant),
        labels,
        attributes,
        ..SessionStarted::default()
    }
}

fn choose(
    said: &Said<'_>,
    precedence: Precedence,
    source: Source<'_>,
    step: Option<&StepId>,
    answers: &[Message],
    meanings: &mut Vec<Meaning<'static>>,
) {
    let mut chooser = decisions::Chooser {
        precedence,
        at: source.at,
        step: step.cloned(),
        actor: said.see_text(Field::Model),
        repeats: decisions::Repeats::Nothing,
        room: decisions::Room::of(source.bytes),
    };
    decisions::tools(&mut chooser, &decisions::offered(said), answers, meanings);
}

/// The body: a text as it is, any other value as JSON.
fn body(node: &Node<'_>) -> Option<String> {
    let body = node.get("body")?;
    // The body is a value without a key. Wrapped as an attribute, it is read by the same code as all others.
    let wrapped = Node::Object(vec![
        (Cow::Borrowed("key"), Node::Text(Cow::Borrowed(""))),
        (Cow::Borrowed("value"), body.clone()),
    ]);
    let list = Node::Object(vec![(Cow::Borrowed("attributes"), Node::List(vec![wrapped]))]);
    record::attributes(&list)
        .next()
        .filter(|(_, value)| !value.is_empty())
        .map(|(_, value)| value.shown().into_owned())
}

/// The number of the severity. Zero is none.
fn severity_number(node: &Node<'_>) -> Option<u64> {
    let severity = node.field("severityNumber")?;
    let Some(name) = severity.text().and_then(|name| name.strip_prefix("SEVERITY_NUMBER_")) else {
        return severity.unsigned().filter(|number| *number > 0);
    };
    // A digit at the end picks one of the four numbers of a word; the first has none.
    let word = name.trim_end_matches(|c: char| c.is_ascii_digit());
    let place = ["TRACE", "DEBUG", "INFO", "WARN", "ERROR", "FATAL"].iter().position(|own| *own == word)?;
    let digit: u64 = name.strip_prefix(word).and_then(|digit| digit.parse().ok()).unwrap_or(1);
    u64::try_from(place * 4).ok()?.checked_add(digit)
}

/// The level, by the severity number, or else by the severity text.
fn level(node: &Node<'_>, number: Option<u64>) -> Option<String> {
    match number {
        Some(number @ 1..=24) => usize::try_from((number - 1) / 4)
            .ok()
            .and_then(|place| LEVELS.get(place))
            .map(|level| (*level).to_owned()),
        _ => {
            let text = node.field("severityText").and_then(Node::text);
            text.filter(|text| !text.is_empty()).map(str::to_lowercase)
        }
    }
}

/// Returns whether a text is the word for a level, as programs write it: `WARN`, `Error`, `FATAL2`.
fn is_level(text: &str, level: Option<&str>) -> bool {
    let text = text.trim_end_matches(|c: char| c.is_ascii_digit()).to_ascii_lowercase();
    let text = match text.as_str() {
        "warn" => "warning",
        "fatal" => "critical",
        "information" => "info",
        text => text,
    };
    level == Some(text)
}

fn note_attributes(
    event: &OtelLog,
    node: &Node<'_>,
    said: &Said<'_>,
    name: &Name<'_>,
    scope: &Node<'_>,
) -> Attributes {
    let mut attributes = event.attributes.clone();
    attributes.extend(said.rest());
    for (own, name) in [("event.name", name.text), ("eventName", name.other)] {
        attributes.extend(name.map(|name| (own.to_owned(), Json::text(name))));
    }
    record::add_malformed("otel.malformed_attributes", node, &mut attributes);
    origin::add("otel.scope", scope, event.scope_schema_url.as_deref(), &mut attributes);
    attributes
}
