//! What a log record means: a note of its step, and, where it has messages, a result or an exception,
//! those too.

use std::borrow::Cow;

use super::claim::{Claim, Meaning, Rank, fingerprint};
use super::conventions::{Field, Happening, happening};
use super::failure::Failure;
use super::messages::{self, Message};
use super::node::Node;
use super::record::{self, Any};
use super::said::Said;
use super::{decisions, findings};
use crate::event::{
    Attributes, Event, Json, NoteLogged, OtelLog, SessionStarted, StepEnd, StepEnded, StepId, StepStarted,
    Timestamp,
};

/// Words for the ranges of OTLP's severity numbers.
const LEVELS: [&str; 6] = ["trace", "debug", "info", "warning", "error", "critical"];

pub(super) fn meanings(event: &OtelLog, in_session: bool, at: Option<Timestamp>) -> Vec<Meaning<'static>> {
    let Some(node) = Node::parse(event.log_record.as_str()) else { return Vec::new() };
    let scope = event.scope.as_ref().and_then(|json| Node::parse(json.as_str())).unwrap_or(Node::Null);
    let step = record::id(&node, "spanId").and_then(|id| StepId::new(id.as_ref()).ok());
    let time = record::nanos(&node, "timeUnixNano").or_else(|| record::nanos(&node, "observedTimeUnixNano"));
    let at = record::time(time).or(at);
    let name = node
        .text_of("eventName")
        .filter(|name| !name.is_empty())
        .or_else(|| record::attribute(&node, "event.name").and_then(Any::text));
    let what = name.and_then(happening);
    let claim =
        |rank, order| Claim { rank, order, speaker: fingerprint(event.log_record.as_str().as_bytes()) };
    let order = i64::try_from(time.unwrap_or(0)).unwrap_or(i64::MAX);
    let mut said = Said::new(record::attributes(&node));
    let body_text = body(&node);
    let body_node = body_text.as_deref().and_then(Node::parse_structure);
    let message = body_node.as_ref().and_then(Message::read);

    let mut meanings = Vec::new();
    let mut after = Vec::new();
    let mut input_output = (None, None);
    match what {
        Some(Happening::Details) => {
            let (input, output) = (said.input(), said.output());
            choose(&said, claim(Rank::Log, order), at, step.as_ref(), &output.messages, &mut after);
            input_output = (input.text, output.text);
        }
        Some(Happening::UserMessage) => {
            input_output.0 = message.as_ref().map(Message::text).filter(|text| !text.is_empty());
        }
        Some(Happening::Choice) => {
            let answers: Vec<Message> = message.iter().cloned().collect();
            // Of several the first by its index, and after that by when it came.
            choose(&said, claim(Rank::Log, order), at, step.as_ref(), &answers, &mut after);
            input_output.1 = messages::text(&answers);
        }
        Some(Happening::Evaluation) => {
            findings::logged(
                record::attributes(&node),
                step.clone(),
                at,
                claim(Rank::Log, order),
                &mut after,
            );
        }
        Some(Happening::Exception) | None | Some(Happening::OtherMessage(_)) => {
            if let Some(failure) = Failure::of_exception(record::attributes(&node), at) {
                failure.raise(step.clone(), claim(Rank::Log, order), &mut after);
            }
        }
    }

    let role = match what {
        Some(Happening::UserMessage) => Some("user"),
        Some(Happening::OtherMessage(role)) => Some(role),
        Some(Happening::Choice) => Some("assistant"),
        _ => None,
    };
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
    meanings.push(Meaning { claim: None, at, event: Cow::Owned(Event::NoteLogged(note)) });
    if !in_session {
        return meanings;
    }
    if let Some(step) = step {
        let rank = if what == Some(Happening::Details) { Rank::Log } else { Rank::Message };
        let index = body_node.as_ref().and_then(|body| body.get("index")?.unsigned()).unwrap_or(0);
        let order = match what {
            Some(Happening::Choice) => i64::try_from(index).map_or(i64::MIN, |index| -index),
            _ => order,
        };
        let (input, output) = input_output;
        let mut put = |event| {
            meanings.push(Meaning { claim: Some(claim(rank, order)), at: None, event: Cow::Owned(event) })
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
            claim: Some(claim(Rank::Log, -order)),
            at: None,
            event: Cow::Owned(Event::SessionStarted(started)),
        });
    }
    meanings.extend(after);
    meanings
}

fn choose(
    said: &Said<'_>,
    claim: Claim,
    at: Option<Timestamp>,
    step: Option<&StepId>,
    answers: &[Message],
    meanings: &mut Vec<Meaning<'static>>,
) {
    let chooser = decisions::Chooser {
        claim,
        at,
        step: step.cloned(),
        actor: said.see_text(Field::Model),
        options: decisions::offered(said),
    };
    decisions::tools(&chooser, answers, meanings);
}

/// The body: a text as it is, anything else as JSON.
fn body(node: &Node<'_>) -> Option<String> {
    let body = node.get("body")?;
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

/// How important it is: by the number, else by the text.
fn level(node: &Node<'_>) -> Option<String> {
    let number = node.get("severityNumber").and_then(|severity| match severity.text() {
        Some(name) if name.starts_with("SEVERITY_NUMBER_") => {
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
        _ => node.text_of("severityText").filter(|text| !text.is_empty()).map(str::to_lowercase),
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
