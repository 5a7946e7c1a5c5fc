//! `annals import otlp`: what the Collector's file exporter wrote is what the server would have recorded.

use std::path::Path;

use crate::otlp_fixtures::recorded;
use crate::support::new_path;
use crate::support::otlp::{Client, clients, count};
use crate::support::program::annals;
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::logs::v1::{LogRecord, ResourceLogs, ScopeLogs};
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span};
use predicates::str::contains;
use prost::Message as _;

/// The forms of the exporter's files.
#[derive(Clone, Copy)]
enum Form {
    Plain,
    /// Each request is compressed.
    ZstdEach,
    /// The file is compressed.
    ZstdWhole,
}

fn zstd(bytes: &[u8]) -> Vec<u8> {
    zstd::encode_all(bytes, 3).unwrap()
}

/// A file as the exporter writes it. JSON is a line, except where each request is compressed by itself.
fn file(bodies: &[Vec<u8>], is_json: bool, form: Form) -> Vec<u8> {
    let mut file = Vec::new();
    for body in bodies {
        if is_json && !matches!(form, Form::ZstdEach) {
            file.extend(body.iter().chain(b"\n"));
            continue;
        }
        let body = if matches!(form, Form::ZstdEach) { zstd(body) } else { body.clone() };
        file.extend(u32::try_from(body.len()).unwrap().to_be_bytes());
        file.extend(body);
    }
    if matches!(form, Form::ZstdWhole) { zstd(&file) } else { file }
}

fn bodies(client: &Client) -> (Vec<Vec<u8>>, bool) {
    let requests = client.requests();
    let is_json = requests[0].is_json();
    let plain = requests.into_iter().map(|request| match request.content_encoding.as_deref() {
        Some("gzip") => {
            let mut body = Vec::new();
            let mut decoder = flate2::read::GzDecoder::new(request.body.as_slice());
            std::io::Read::read_to_end(&mut decoder, &mut body).unwrap();
            body
        }
        _ => request.body,
    });
    (plain.collect(), is_json)
}

fn import(log: &Path, file: &Path) -> String {
    let output = annals(log).args(["import", "otlp"]).arg(file).assert().success();
    String::from_utf8(output.get_output().stdout.clone()).unwrap()
}

#[test]
fn each_form_of_a_file_makes_the_events_of_the_requests() {
    for client in clients() {
        let (bodies, is_json) = bodies(client);
        for form in [Form::Plain, Form::ZstdEach, Form::ZstdWhole] {
            let (folder, log) = new_path();
            let path = folder.path().join("telemetry.out");
            std::fs::write(&path, file(&bodies, is_json, form)).unwrap();
            let events = client.spans + client.log_records;
            let counts = format!("{} spans, {} log records", client.spans, client.log_records);
            let line = import(&log, &path);
            assert!(
                line.starts_with(&format!("{events} events recorded: {counts}")),
                "{}: {line}",
                client.name
            );
            client.assert_recorded(&log);
            let line = import(&log, &path);
            let again = format!("0 events recorded, {events} already recorded: {counts}");
            assert!(line.starts_with(&again), "{}: {line}", client.name);
        }
    }
}

#[test]
fn requests_that_a_server_recorded_are_not_recorded_again() {
    for client in clients() {
        let (bodies, is_json) = bodies(client);
        recorded(&client.requests(), |log| {
            let path = log.with_file_name("telemetry.out");
            std::fs::write(&path, file(&bodies, is_json, Form::Plain)).unwrap();
            let line = import(log, &path);
            assert!(line.starts_with("0 events recorded, "), "{}: {line}", client.name);
            client.assert_recorded(log);
        });
    }
}

#[test]
fn a_log_record_without_a_time_is_recorded_once_for_its_place_in_the_file() {
    let record = LogRecord { event_name: "e".into(), ..LogRecord::default() };
    let scope = ScopeLogs { log_records: vec![record.clone(), record], ..ScopeLogs::default() };
    let group = ResourceLogs { scope_logs: vec![scope], ..ResourceLogs::default() };
    let body = ExportLogsServiceRequest { resource_logs: vec![group] }.encode_to_vec();
    let (folder, log) = new_path();
    let path = folder.path().join("logs.out");
    std::fs::write(&path, file(&[body.clone(), body], false, Form::Plain)).unwrap();
    assert_eq!(import(&log, &path), "4 events recorded: 0 spans, 4 log records\n");
    assert_eq!(import(&log, &path), "0 events recorded, 4 already recorded: 0 spans, 4 log records\n");
}

#[test]
fn a_bad_first_span_leaves_the_others_of_its_request_to_be_recorded() {
    let span = |trace: &[u8]| Span {
        trace_id: trace.to_vec(),
        span_id: vec![1; 8],
        start_time_unix_nano: 1,
        ..Span::default()
    };
    let spans = vec![span(b"5b8efff798038103d269b633813fc60c"), span(&[7; 16])];
    let scope = ScopeSpans { spans, ..ScopeSpans::default() };
    let group = ResourceSpans { scope_spans: vec![scope], ..ResourceSpans::default() };
    let body = ExportTraceServiceRequest { resource_spans: vec![group] }.encode_to_vec();
    let (folder, log) = new_path();
    let path = folder.path().join("spans.out");
    std::fs::write(&path, file(&[body], false, Form::Plain)).unwrap();
    annals(&log)
        .args(["import", "otlp", "--skip-bad"])
        .arg(&path)
        .assert()
        .code(1)
        .stdout("1 event recorded, 1 refused: 1 spans, 0 log records\n")
        .stderr(contains("request 1: span 1 ``: the trace id must have 16 bytes"));
    assert_eq!(count(&log, "otel.span"), 1);
}

#[test]
fn a_request_of_too_many_items_is_refused_before_they_fill_the_memory() {
    let (span, items) = (Span { trace_id: vec![7; 16], kind: 1, ..Span::default() }, 300_000);
    let mut spans = vec![Span::default(); items];
    spans[0] = span;
    let scope = ScopeSpans { spans, ..ScopeSpans::default() };
    let group = ResourceSpans { scope_spans: vec![scope], ..ResourceSpans::default() };
    let body = ExportTraceServiceRequest { resource_spans: vec![group] }.encode_to_vec();
    let (folder, log) = new_path();
    let path = folder.path().join("spans.out");
    std::fs::write(&path, file(&[body], false, Form::ZstdEach)).unwrap();
    annals(&log)
        .args(["import", "otlp"])
        .arg(&path)
        .assert()
        .code(2)
        .stderr(contains("request 1: the request has more than 262144 spans; let the Collector write fewer"));
}

#[test]
fn bad_parts_are_named_and_can_be_left_out_and_metrics_are_counted() {
    let span = |id: &str| format!(r#"{{"traceId":"{id}","spanId":"00000000000000a1","name":"n"}}"#);
    let line = |spans: &str| format!(r#"{{"resourceSpans":[{{"scopeSpans":[{{"spans":[{spans}]}}]}}]}}"#);
    let good = span("5b8efff798038103d269b633813fc60c");
    let text = [
        line(&good),
        r#"{"resourceMetrics":[{}]}"#.to_owned(),
        line(&span("00")),
        "{".to_owned(),
        line(&good.replace("a1", "a2")),
    ]
    .join("\n");
    let (folder, log) = new_path();
    let path = folder.path().join("telemetry.json");
    std::fs::write(&path, text).unwrap();
    let import = |skip: &[&str]| annals(&log).args(["import", "otlp"]).arg(&path).args(skip).assert();
    import(&[])
        .code(2)
        .stdout("1 event recorded, 1 refused: 1 spans, 0 log records; requests of metrics, not recorded: 1\n")
        .stderr(contains("line 3: span 1 `n`: the trace id must have 16 bytes"));
    import(&["--skip-bad"])
        .code(1)
        .stdout(contains("1 event recorded, 1 already recorded, 2 refused"))
        .stderr(contains("line 4: it is not an OTLP request in JSON"));
    assert_eq!(count(&log, "otel.span"), 2);
}
