//! The meaning of a log record: a note of its step, and also its messages, result or exception if it has any.

use std::borrow::Cow;

use super::conventions::{Field, Happening, happening};
use super::failure::StepFailure;
use super::messages::{self, Message};
use super::node::Node;
use super::precedence::{Meaning, Precedence, Rank, fingerprint};
use super::record::{self, Any};
use super::said::Said;
use super::{decisions, findings};
use crate::event::{
    Attributes, Event, Json, NoteLogged, OtelLog, SessionStarted, StepEnd, StepEnded, StepId, StepStarted,
    Timestamp,
};

/// Words for OTLP's severity numbers. Each word stands for four numbers, from 1.
const LEVELS: [&str; 6] = ["trace", "debug", "info", "warning", "error", "critical"];

pub(super) fn meanings(event: &OtelLog, in_session: bool, at: Option<Timestamp>) -> Vec<Meaning<'static>> {
    let Some(node) = Node::parse(event.log_record.as_str()) else { return Vec::new() };
    let scope = event.scope.as_ref().and_then(|json| Node::parse(json.as_str())).unwrap_or(Node::Null);
    let step = record::id(&node, "spanId").and_then(|id| StepId::new(id.as_ref()).ok());
    let time = record::nanos(&node, "timeUnixNano").or_else(|| record::nanos(&node, "observedTimeUnixNano"));
    let at = record::time(time).or(at);
    // The name was an attribute before OTLP had a field for it.
    let name = node
        .field("eventName")
        .and_then(Node::text)
        .filter(|name| !name.is_empty())
        .or_else(|| record::attribute(&node, "event.name").and_then(Any::text));
    let what = name.and_then(happening);
    let precedence =
        // A log record has no id, so its content identifies it as a source.
        |rank, order| Precedence { rank, order, speaker: fingerprint(event.log_record.as_str().as_bytes()) };
    let order = i64::try_from(time.unwrap_or(0)).unwrap_or(i64::MAX);
    let mut said = Said::new(record::attributes(&node), scope.text_of("name").unwrap_or_default());
    let body_text = body(&node);
    let body_node = body_text.as_deref().and_then(Node::parse_structure);
    let message = body_node.as_ref().and_then(Message::read);

    let mut meanings = Vec::new();
    // Decisions, findings and failures come last: the first meaning is the one that the record is about.
    let mut after = Vec::new();
    let mut input_output = (None, None);
    match what {
        Some(Happening::Details) => {
            let (input, output) = (said.input(), said.output());
            choose(&said, precedence(Rank::Log, order), at, step.as_ref(), &output.messages, &mut after);
            input_output = (input.text, output.text);
        }
        Some(Happening::UserMessage) => {
            input_output.0 = message.as_ref().map(Message::text).filter(|text| !text.is_empty());
        }
        Some(Happening::Choice) => {
            let answers: Vec<Message> = message.iter().cloned().collect();
            // The index of a choice matters only for the output of the step, below.
            choose(&said, precedence(Rank::Log, order), at, step.as_ref(), &answers, &mut after);
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
            // By its attributes, not by its name alone: a log record of any name may report an exception.
            if let Some(failure) = StepFailure::of_exception(record::attributes(&node), at) {
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
    let attributes = note_attributes(event, &said, name, &scope);
    let note = NoteLogged {
        message: text.or_else(|| name.map(str::to_owned)).unwrap_or_default(),
        step: step.clone(),
        level: level(&node),
        data: body_node.as_ref().map(|body| Json::written(body.to_json())),
        attributes,
    };
    // The note has a row of its own, for which no other event competes: it needs no precedence.
    meanings.push(Meaning { precedence: None, at, event: Cow::Owned(Event::NoteLogged(note)) });
    // Steps, decisions and findings belong to a session, a note need not.
    if !in_session {
        return meanings;
    }
    if let Some(step) = step {
        // A record with one message of several is a weaker source than one with all messages of a call.
        let rank = if what == Some(Happening::Details) { Rank::Log } else { Rank::Message };
        let index = body_node.as_ref().and_then(|body| body.get("index")?.unsigned()).unwrap_or(0);
        // Of several choices the one with the least index stands, whatever their times.
        let order = match what {
            Some(Happening::Choice) => i64::try_from(index).map_or(i64::MIN, |index| -index),
            _ => order,
        };
        let (input, output) = input_output;
        let mut put = |event| {
            meanings.push(Meaning {
                precedence: Some(precedence(rank, order)),
                at: None,
                event: Cow::Owned(event),
            })
        };
        if input.is_some() {
            put(Event::StepStarted(StepStarted { step: step.clone(), input, ..StepStarted::default() }));
        }
        if output.is_some() {
            put(Event::StepEnded(StepEnded { step, output, status: StepEnd::Ok, ..StepEnded::default() }));
        }
    }
    if let Some(conversation) = said.see_text(Field::Conversation) {
        let started = SessionStarted { conversation: Some(conversation), ..SessionStarted::default() };
        meanings.push(Meaning {
            // Negated, so that the earliest record that names a conversation stands.
            precedence: Some(precedence(Rank::Log, -order)),
            at: None,
            event: Cow::Owned(Event::SessionStarted(started)),
        });
    }
    meanings.extend(after);
    meanings
}

fn choose(
    said: &Said<'_>,
    precedence: Precedence,
    at: Option<Timestamp>,
    step: Option<&StepId>,
    answers: &[Message],
    meanings: &mut Vec<Meaning<'static>>,
) {
    let chooser = decisions::Chooser {
        precedence,
        at,
        step: step.cloned(),
        actor: said.see_text(Field::Model),
        options: decisions::offered(said),
        repeats: decisions::Repeats::Nothing,
    };
    decisions::tools(&chooser, answers, meanings);
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

/// The level, by the severity number, or else by the severity text.
fn level(node: &Node<'_>) -> Option<String> {
    let number = node.field("severityNumber").and_then(|severity| match severity.text() {
        Some(name) if name.starts_with("SEVERITY_NUMBER_") => {
            // A digit at the end picks one of the four numbers of a word, which does not matter here.
            let name =
                name.trim_start_matches("SEVERITY_NUMBER_").trim_end_matches(|c: char| c.is_ascii_digit());
            let place =
                ["TRACE", "DEBUG", "INFO", "WARN", "ERROR", "FATAL"].iter().position(|own| *own == name)?;
            u64::try_from(place * 4 + 1).ok()
        }
        _ => severity.unsigned(),
    });
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

fn note_attributes(event: &OtelLog, said: &Said<'_>, name: Option<&str>, scope: &Node<'_>) -> Attributes {
    let mut attributes = event.attributes.clone();
    attributes.extend(said.rest());
    if let Some(name) = name {
        attributes.insert("event.name".to_owned(), Json::text(name));
    }
    if let Some(name) = scope.text_of("name").filter(|name| !name.is_empty()) {
        attributes.insert("otel.scope.name".to_owned(), Json::text(name));
    }
    attributes
}
