//! What real instrumented programs once sent, sent again: what of it is understood, and that all of it is kept.

use crate::support::otlp;
use std::collections::BTreeSet;
use std::io::Write as _;
use std::path::Path;
use std::process::Command;

use crate::support::otlp::{Client, Request, clients, count, outline};
use crate::support::server::{Answer, Served, answer};
use crate::support::{new_path, verify_whole};
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use prost::Message as _;
use serde_json::{Value, json};

fn headers(request: &Request) -> Vec<(&str, &str)> {
    let mut headers = vec![("content-type", request.content_type.as_str())];
    headers.extend(request.content_encoding.as_deref().map(|encoding| ("content-encoding", encoding)));
    headers
}

/// Sends a request as its program did.
fn send(served: &Served, request: &Request) -> Answer {
    if request.is_chunked() {
        send_in_chunks(served, request, 1000)
    } else {
        served.request("POST", &request.path, &headers(request), &request.body)
    }
}

/// Sends a body whose length nobody says, in pieces of a size.
fn send_in_chunks(served: &Served, request: &Request, size: usize) -> Answer {
    let mut stream = served.connect();
    write!(stream, "POST {} HTTP/1.1\r\nhost: localhost\r\ntransfer-encoding: chunked\r\n", request.path)
        .unwrap();
    for (name, value) in headers(request) {
        write!(stream, "{name}: {value}\r\n").unwrap();
    }
    write!(stream, "\r\n").unwrap();
    for chunk in request.body.chunks(size) {
        write!(stream, "{:x}\r\n", chunk.len()).unwrap();
        stream.write_all(chunk).unwrap();
        write!(stream, "\r\n").unwrap();
    }
    write!(stream, "0\r\n\r\n").unwrap();
    answer(&mut stream).unwrap()
}

/// The answer that everything was taken, in the form of the request.
#[track_caller]
fn assert_taken(request: &Request, answer: &Answer) {
    assert_eq!(answer.status, 200, "{}: {}", request.file, String::from_utf8_lossy(&answer.body));
    assert_eq!(answer.header("content-type"), Some(request.content_type.as_str()), "{}", request.file);
    assert_eq!(answer.body, if request.is_json() { &b"{}"[..] } else { b"" }, "{}", request.file);
}

/// Sends requests to a server of their own, and hands out the log that is left, which verifies.
#[track_caller]
pub(crate) fn recorded(requests: &[Request], look: impl FnOnce(&Path)) {
    let (_folder, log) = new_path();
    let served = Served::start(&log);
    for request in requests {
        assert_taken(request, &send(&served, request));
    }
    served.stop();
    verify_whole(&log);
    look(&log);
}

/// Standard output of the program, on a log.
fn annals(log: &Path, arguments: &[&str]) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_annals"))
        .arg("--db")
        .arg(log)
        .args(arguments)
        .env("ANNALS_HOME", log.with_file_name("home"))
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// The events of a kind, in the JSON form, in the order of the log.
fn events(log: &Path, kind: &str) -> Vec<Value> {
    let lines = annals(log, &["export"]);
    let events = lines.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    events.filter(|event| event["type"] == kind).collect()
}

#[test]
fn what_real_programs_sent_is_understood_and_all_of_it_is_there() {
    for client in clients() {
        recorded(&client.requests(), |log| client.assert_recorded(log));
    }
}

/// The parts of a span or log record with what it belongs to, as received and as kept.
type Leaves = BTreeSet<(String, String)>;

/// Every scalar of a value with its path. Left out is what the two spellings of OTLP say by saying nothing; a number
/// is the same as its text.
fn leaves(path: &str, value: &Value, found: &mut Leaves) {
    let is_attribute = path.ends_with("Value");
    match value {
        Value::Null => {}
        Value::Bool(false) if !is_attribute => {}
        Value::String(text) if !is_attribute && (text.is_empty() || text == "0") => {}
        Value::Number(number) if !is_attribute && number.as_f64() == Some(0.0) => {}
        Value::Bool(value) => drop(found.insert((path.to_owned(), value.to_string()))),
        Value::String(text) => drop(found.insert((path.to_owned(), text.clone()))),
        Value::Number(number) => {
            let text = number.as_f64().map_or_else(|| number.to_string(), |number| number.to_string());
            found.insert((path.to_owned(), number.as_i64().map_or(text, |number| number.to_string())));
        }
        Value::Array(items) => {
            for (place, item) in items.iter().enumerate() {
                leaves(&format!("{path}.{place}"), item, found);
            }
        }
        Value::Object(fields) => {
            for (name, field) in fields {
                leaves(&format!("{path}.{name}"), field, found);
            }
        }
    }
}

/// Each span or log record of a request, with its resource and scope.
fn received(request: &Request) -> Vec<Leaves> {
    let (groups, scopes, records, name) = match request.path.as_str() {
        "/v1/traces" => ("resourceSpans", "scopeSpans", "spans", "span"),
        "/v1/logs" => ("resourceLogs", "scopeLogs", "logRecords", "log_record"),
        _ => return Vec::new(),
    };
    let body = match request.content_encoding.as_deref() {
        Some("gzip") => gunzip(&request.body),
        _ => request.body.clone(),
    };
    let json: Value = match (request.is_json(), name) {
        (true, _) => serde_json::from_slice(&body).unwrap(),
        (false, "span") => serde_json::to_value(ExportTraceServiceRequest::decode(&*body).unwrap()).unwrap(),
        (false, _) => serde_json::to_value(ExportLogsServiceRequest::decode(&*body).unwrap()).unwrap(),
    };
    let mut received = Vec::new();
    for group in json[groups].as_array().unwrap() {
        for scope in group[scopes].as_array().unwrap() {
            for record in scope[records].as_array().unwrap() {
                let mut found = Leaves::new();
                leaves(name, record, &mut found);
                leaves("resource", &group["resource"], &mut found);
                leaves("resource_schema_url", &group["schemaUrl"], &mut found);
                leaves("scope", &scope["scope"], &mut found);
                leaves("scope_schema_url", &scope["schemaUrl"], &mut found);
                received.push(found);
            }
        }
    }
    received
}

fn kept(event: &Value) -> Leaves {
    let mut found = Leaves::new();
    for name in ["span", "log_record", "resource", "resource_schema_url", "scope", "scope_schema_url"] {
        leaves(name, &event[name], &mut found);
    }
    found
}

fn gunzip(body: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    std::io::Read::read_to_end(&mut flate2::read::GzDecoder::new(body), &mut bytes).unwrap();
    bytes
}

#[test]
fn every_attribute_event_link_resource_and_scope_is_in_the_log_as_it_was_received() {
    for client in clients() {
        let requests = client.requests();
        let mut received: Vec<Leaves> = requests.iter().flat_map(received).collect();
        assert_eq!(i64::try_from(received.len()), Ok(client.spans + client.log_records));
        recorded(&requests, |log| {
            let mut kept: Vec<Leaves> = ["otel.span", "otel.log"]
                .iter()
                .flat_map(|kind| events(log, kind))
                .map(|event| kept(&event))
                .collect();
            received.sort();
            kept.sort();
            assert_eq!(kept, received, "{}", client.name);
        });
    }
}

/// The same log of a program, from requests that were changed.
#[track_caller]
fn assert_the_same(client: &Client, change: impl FnOnce(&mut Vec<Request>)) {
    let mut requests = client.requests();
    change(&mut requests);
    recorded(&requests, |log| client.assert_recorded(log));
}

#[test]
fn the_traces_of_a_conversation_are_listed_and_shown_together() {
    recorded(&otlp::CONVERSATION.requests(), |log| {
        for conversation in ["chat-4", "chat-5"] {
            let listed = annals(log, &["--json", "sessions", "--conversation", conversation]);
            let listed: Value = serde_json::from_str(&listed).unwrap();
            assert_eq!(listed["sessions"].as_array().map(Vec::len), Some(2), "{listed}");
            let shown: Value = serde_json::from_str(&annals(log, &["--json", "show", conversation])).unwrap();
            assert_eq!(shown["sessions"].as_array().map(Vec::len), Some(2), "{shown}");
        }
    });
}

/// The lines that name an event of a kind.
fn lines_of(text: &str, kind: &str) -> Vec<String> {
    text.lines().filter(|line| line.contains(kind)).map(str::to_owned).collect()
}

#[test]
fn the_line_of_a_span_or_log_record_says_what_it_means() {
    recorded(&otlp::OPENAI_OPENINFERENCE.requests(), |log| {
        let tail = annals(log, &["tail"]);
        let spans = lines_of(&tail, "otel.span");
        assert_eq!(spans.len(), 5, "{tail}");
        for parts in [
            &["ChatCompletion llm fake-1-2026-01-01 ok", "sunny"][..],
            &["get_weather tool ok"],
            &["ChatCompletion llm", "error openai.InternalServerError: Error code: 500"],
        ] {
            let says = |line: &&String| parts.iter().all(|part| line.contains(part));
            assert!(spans.iter().any(|line| says(&line)), "{parts:?} is not in:\n{tail}");
        }
        let failed: Value = serde_json::from_str(&annals(log, &["--json", "sessions"])).unwrap();
        let id = failed["sessions"][0]["id"].as_str().unwrap();
        let replay = annals(log, &["replay", id]);
        assert!(
            lines_of(&replay, "otel.span").iter().all(|line| line.contains("ChatCompletion")),
            "{replay}"
        );
    });
    recorded(&otlp::GENAI_EVENTS.requests(), |log| {
        let tail = annals(log, &["tail"]);
        let records = lines_of(&tail, "otel.log");
        assert_eq!(records.len(), 4, "{tail}");
        for (line, part) in records.iter().zip([
            "gen_ai.client.inference.operation.details",
            "gen_ai.evaluation.result",
            "warning refunds.lookup.failed The order could not be looked up.",
            "refunds.started {",
        ]) {
            assert!(line.contains(part), "{part:?} is not in:\n{tail}");
        }
    });
}

/// Every session of a log, as it is shown to people.
fn shown(log: &Path) -> String {
    let sessions: Value = serde_json::from_str(&annals(log, &["--json", "sessions"])).unwrap();
    let sessions = sessions["sessions"].as_array().unwrap();
    sessions.iter().map(|session| annals(log, &["show", session["id"].as_str().unwrap()])).collect()
}

#[test]
fn steps_are_shown_in_the_order_in_which_they_began() {
    recorded(&otlp::OPENAI_OPENINFERENCE.requests(), |log| {
        let shown = shown(log);
        let steps: Vec<&str> = shown
            .lines()
            .filter_map(|line| line.strip_prefix("  • "))
            .map(|line| line.split("  ").next().unwrap())
            .collect();
        assert_eq!(steps, ["ChatCompletion", "get_weather", "ChatCompletion"], "{shown}");
    });
}

#[test]
fn a_finding_is_shown_with_its_pattern_once() {
    recorded(&otlp::OPENAI_OPENINFERENCE.requests(), |log| {
        let shown = shown(log);
        assert!(shown.contains("error: openai.InternalServerError  "), "{shown}");
    });
    recorded(&otlp::EVALUATIONS.requests(), |log| {
        let shown = shown(log);
        assert!(shown.contains("evaluation: personal data: pass  "), "{shown}");
    });
}

#[test]
fn integers_in_json_are_numbers_or_texts() {
    for client in [&otlp::NODE_OPENAI_OTEL_JSON, &otlp::NODE_OPENAI_OPENINFERENCE_JSON] {
        let spell = |requests: &mut Vec<Request>, spell: fn(i64) -> Value| {
            for request in requests {
                if request.content_encoding.take().is_some() {
                    request.body = gunzip(&request.body);
                }
                *request = request.with_integers(spell);
            }
        };
        assert_the_same(client, |requests| spell(requests, |number| json!(number)));
        assert_the_same(client, |requests| spell(requests, |number| json!(number.to_string())));
    }
}

#[test]
fn bodies_come_in_pieces_of_any_size_and_without_a_length() {
    let (_folder, log) = new_path();
    let served = Served::start(&log);
    for (request, size) in otlp::GENAI_EVENTS.requests().iter().zip([1, 7]) {
        assert_taken(request, &send_in_chunks(&served, request, size));
    }
    served.stop();
    otlp::GENAI_EVENTS.assert_recorded(&log);
}

#[test]
fn compressed_or_not_is_the_same() {
    assert_the_same(&otlp::PYDANTIC_AI, |requests| {
        for request in requests {
            assert_eq!(request.content_encoding.take().as_deref(), Some("gzip"));
            request.body = gunzip(&request.body);
        }
    });
}

#[test]
fn roots_come_last_or_first() {
    let paths: Vec<Value> = otlp::CONVERSATION.requests().iter().map(spans).collect();
    assert!(paths[0][0]["parentSpanId"] != "", "a child comes first: {paths:?}");
    assert_the_same(&otlp::CONVERSATION, |requests| requests.reverse());
    assert_the_same(&otlp::CONVERSATION, |requests| requests.rotate_left(3));
}

/// The spans of a request in protobuf.
fn spans(request: &Request) -> Value {
    let request = ExportTraceServiceRequest::decode(&*request.body).unwrap();
    serde_json::to_value(&request.resource_spans[0].scope_spans[0].spans).unwrap()
}

#[test]
fn spans_and_log_records_that_are_sent_again_are_there_once() {
    for client in clients() {
        assert_the_same(client, |requests| requests.extend(requests.clone()));
    }
}

#[test]
fn log_records_come_before_or_after_their_spans() {
    for client in [&otlp::NODE_OPENAI_OTEL, &otlp::GENAI_EVENTS] {
        assert_the_same(client, |requests| requests.reverse());
    }
}

#[test]
fn metrics_are_taken_and_leave_nothing() {
    for client in [&otlp::NODE_OPENAI_OTEL, &otlp::NODE_OPENAI_OTEL_JSON] {
        let mut requests = client.requests();
        requests.retain(|request| request.path == "/v1/metrics");
        assert!(!requests.is_empty());
        recorded(&requests, |log| assert_eq!((outline(log).as_str(), count(log, "log.created")), ("", 1)));
    }
}

#[test]
fn half_a_body_is_refused_and_leaves_nothing() {
    for client in [&otlp::LANGCHAIN_TRACELOOP, &otlp::NODE_OPENAI_OTEL_JSON, &otlp::PYDANTIC_AI] {
        let (_folder, log) = new_path();
        let served = Served::start(&log);
        let mut request = client.requests().remove(0);
        request.body.truncate(request.body.len() / 2);
        assert_eq!(send(&served, &request).status, 400, "{}", request.file);
        served.stop();
        assert_eq!(count(&log, "otel.span") + count(&log, "otel.log"), 0);
    }
}
