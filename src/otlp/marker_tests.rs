//! Nothing that a program sends is dropped: a marker in any text of a span or log record is in some row, and search
//! finds it.

use serde_json::Value;

use super::Signal;
use super::tests::{fixtures, read_all};
use crate::event::{Content, Draft, Event, EventId, Json, Recorded, Seq, Timestamp};
use crate::otel::Meanings;
use crate::projection::fold::search::text_of;

const MARKER: &str = "zqmarkerqz";

/// Members that are ids, times, numbers and enums: they have no texts.
const NO_TEXTS: [&str; 14] = [
    "traceId",
    "spanId",
    "parentSpanId",
    "startTimeUnixNano",
    "endTimeUnixNano",
    "timeUnixNano",
    "observedTimeUnixNano",
    "intValue",
    "doubleValue",
    "bytesValue",
    "kind",
    "code",
    "severityNumber",
    "schemaUrl",
];

/// Members of messages for which a row or the form of the text stands: who speaks, what a part is, the id that connects
/// a call of an earlier answer with its result.
const STRUCTURE: [&str; 10] = [
    "role",
    "type",
    "index",
    "id",
    "call_id",
    "toolCallId",
    "tool_call_id",
    "toolUseId",
    "tool_use_id",
    "lc",
];

/// A way from a value to a text within it. A text may be JSON itself, in which the way goes on.
type Path = Vec<String>;

fn texts(value: &Value, in_json: bool, path: &mut Path, found: &mut Vec<Path>) {
    // The name of a member of a message is no text.
    let is_member = path.iter().any(|name| name == "kvlistValue");
    let mut within = |name: String, value: &Value, in_json| {
        path.push(name);
        texts(value, in_json, path, found);
        path.pop();
    };
    match value {
        // The value of an attribute, or of a member of OTLP's own maps, that is such a member.
        Value::Object(members) if is_structure(members.get("key")) || is_empty(members.get("value")) => {}
        Value::Object(members) => {
            for (name, value) in members {
                let is_text = if is_member && name == "key" {
                    false
                } else if in_json {
                    !STRUCTURE.contains(&name.as_str())
                } else {
                    !NO_TEXTS.contains(&name.as_str())
                };
                if is_text {
                    within(name.clone(), value, in_json);
                }
            }
        }
        Value::Array(items) => {
            for (place, item) in items.iter().enumerate() {
                within(place.to_string(), item, in_json);
            }
        }
        Value::String(text) => match inner(text) {
            Some(json) => within("json".to_owned(), &json, true),
            None => found.push(path.clone()),
        },
        _ => {}
    }
}

/// Returns true for the name of an attribute that goes on with the name of such a member: `….message.role`.
fn is_structure(key: Option<&Value>) -> bool {
    let Some(key) = key.and_then(Value::as_str) else { return false };
    let name = key.rsplit('.').next().unwrap_or_default();
    // Other ids than those of calls have names of their own: `gen_ai.response.id`.
    STRUCTURE.contains(&name) && (name != "id" || key == "id" || key.contains("tool_call"))
}

/// Returns true for a value that says nothing: nobody looks for its name.
fn is_empty(value: Option<&Value>) -> bool {
    value
        .and_then(Value::as_object)
        .is_some_and(|value| value.is_empty() || value.get("stringValue") == Some(&Value::from("")))
}

/// The JSON within a text, if it is an object or a list.
fn inner(text: &str) -> Option<Value> {
    serde_json::from_str(text).ok().filter(|json: &Value| json.is_object() || json.is_array())
}

fn mark(value: &mut Value, path: &[String]) {
    let Some((name, rest)) = path.split_first() else {
        let Value::String(text) = value else { panic!("{value} is no text") };
        text.push(' ');
        text.push_str(MARKER);
        return;
    };
    match value {
        Value::Object(members) => mark(&mut members[name], rest),
        Value::Array(items) => mark(&mut items[name.parse::<usize>().unwrap()], rest),
        Value::String(text) => {
            let mut json = inner(text).unwrap();
            mark(&mut json, rest);
            *text = json.to_string();
        }
        other => panic!("{other} has no members"),
    }
}

/// The JSON of a part of an event that a sender chose.
fn parts(event: &mut Event) -> Vec<&mut Json> {
    match event {
        Event::OtelSpan(e) => [Some(&mut e.span), e.resource.as_mut(), e.scope.as_mut()],
        Event::OtelLog(e) => [Some(&mut e.log_record), e.resource.as_mut(), e.scope.as_mut()],
        other => panic!("{:?} was not sent by OTLP", other.kind()),
    }
    .into_iter()
    .flatten()
    .collect()
}

fn recorded(draft: &Draft, event: Event) -> Recorded {
    Recorded {
        seq: Seq::new(1),
        event_id: EventId::from_bytes([0; 16]),
        kind: event.kind().code(),
        session: draft.session.clone(),
        occurred_at: draft.at,
        recorded_at: Timestamp::from_micros(0),
        principal: None,
        content: Content::Event(event),
    }
}

/// A description of each text that is in no row, or that search does not find.
fn lost(draft: &Draft) -> Vec<String> {
    let mut lost = Vec::new();
    let mut plain = draft.event.clone();
    for place in 0..parts(&mut plain).len() {
        let json: Value = serde_json::from_str(parts(&mut plain)[place].as_str()).unwrap();
        let mut paths = Vec::new();
        texts(&json, false, &mut Vec::new(), &mut paths);
        for path in paths {
            let mut marked = json.clone();
            mark(&mut marked, &path);
            let mut event = draft.event.clone();
            *parts(&mut event)[place] = marked.to_string().parse().unwrap();
            let recorded = recorded(draft, event);
            let meanings = Meanings::of(&recorded);
            let is_itself = matches!(meanings, Meanings::Itself(_));
            let is_in_row =
                meanings.all().iter().any(|meaning| format!("{:?}", meaning.event).contains(MARKER));
            let is_found = text_of(&recorded).is_some_and(|text| text.contains(MARKER));
            let is_of_root = place == 0
                || meanings.all().iter().any(|meaning| {
                    // The resource is the session's: spans within it do not repeat it.
                    matches!(&*meaning.event, Event::SessionStarted(e) if !e.attributes.is_empty())
                });
            if is_itself || is_of_root && !(is_in_row && is_found) {
                let key = path
                    .get(1)
                    .and_then(|place| json[&path[0]][place.parse::<usize>().ok()?]["key"].as_str());
                lost.push(format!(
                    "{path:?} {key:?}: in a row: {is_in_row}, found: {is_found}, alone: {is_itself}"
                ));
            }
        }
    }
    lost
}

#[test]
fn whatever_a_program_says_is_in_a_row_and_found_by_search() {
    let mut all = Vec::new();
    // Metrics are no part of it: they are not kept as they were sent.
    for (name, signal, form, body) in fixtures().into_iter().filter(|fixture| fixture.1 != Signal::Metrics) {
        for item in read_all(&body, signal, form).items {
            all.extend(lost(&item.draft).into_iter().map(|lost| format!("{name}: {lost}")));
        }
    }
    all.sort();
    all.dedup();
    assert!(all.is_empty(), "{} texts are lost:\n{}", all.len(), all.join("\n"));
}
