//! OTLP that is not quite right: what of it becomes rows, and what is answered where nothing does.

use std::path::Path;
use std::process::{Command, Stdio};

use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use opentelemetry_proto::tonic::logs::v1::{LogRecord, ResourceLogs, ScopeLogs};
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span};
use prost::Message as _;
use serde_json::{Value, json};

use crate::support::published::data;
use crate::support::server::Served;
use crate::support::{new_path, rows_of, sqlite, verify_whole};

/// The body of a case. None without the data of the tests.
pub(crate) fn case(name: &str) -> Option<Vec<u8>> {
    Some(std::fs::read(data("cases/otlp")?.join(name)).unwrap())
}

/// Sends a body that must be taken whole, and hands out the log, which verifies.
#[track_caller]
pub(crate) fn recorded(path: &str, body: impl AsRef<[u8]>, look: impl FnOnce(&Path)) {
    let (_folder, log) = new_path();
    let served = Served::start(&log);
    let answer = served.post_json(path, body);
    assert_eq!((answer.status, answer.text()), (200, "{}"));
    served.stop();
    verify_whole(&log);
    look(&log);
}

/// The answer to a body of which nothing is recorded.
#[track_caller]
fn answer_to(path: &str, body: impl AsRef<[u8]>) -> Value {
    let (_folder, log) = new_path();
    let served = Served::start(&log);
    let answer = served.post_json(path, body).expect(200);
    served.stop();
    verify_whole(&log);
    assert_eq!(rows(&log, "SELECT count(*) FROM timeline WHERE kind LIKE 'otel.%'"), ["0"]);
    answer
}

pub(crate) fn rows(log: &Path, query: &str) -> Vec<String> {
    rows_of(&sqlite(log), query)
}

/// Standard output of the program, on a log.
#[track_caller]
fn annals(log: &Path, arguments: &[&str], input: &str) -> String {
    let mut child = Command::new(env!("CARGO_BIN_EXE_annals"))
        .arg("--db")
        .arg(log)
        .args(arguments)
        .env("ANNALS_HOME", log.with_file_name("home"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    std::io::Write::write_all(&mut child.stdin.take().unwrap(), input.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn a_span_whose_text_was_cut_within_a_character_is_a_step() {
    let Some(body) = case("03a-mlflow-24123-lone-surrogate.traces.json") else { return };
    recorded("/v1/traces", body, |log| {
        assert_eq!(
            rows(
                log,
                "SELECT id, parent_step_id, module, kind, tokens_input, tokens_output, output FROM steps"
            ),
            [
                "0000000000000001 | - | good | llm | 3 | 4 | -".to_owned(),
                "0000000000000002 | 0000000000000001 | bad | llm | 5 | 6 | cut emoji \u{fffd} end".to_owned(),
            ]
        );
        assert_eq!(
            rows(log, "SELECT status, tokens_input, tokens_output FROM sessions"),
            // The call within it repeats nothing: the outer one sums it up.
            ["completed | 5 | 6"]
        );
        // The log keeps the text as it was sent, and every way to read it goes on.
        assert!(annals(log, &["export"], "").contains(r#""cut emoji \ud83e end""#));
        let session = "00000000000000000000000000000301";
        assert!(annals(log, &["tail"], "").contains("bad llm"));
        assert!(annals(log, &["replay", session], "").contains("bad"));
        assert!(annals(log, &["show", session], "").contains("bad"));
        assert!(annals(log, &["search", "emoji"], "").contains("\u{fffd}"));
    });
}

#[test]
fn a_name_and_a_key_may_be_cut_within_a_character() {
    let Some(body) = case("03d-surrogate-key-and-name.traces.json") else { return };
    recorded("/v1/traces", body, |log| {
        assert_eq!(
            rows(log, "SELECT module, attributes -> '$.\"\u{fffd}key\"' FROM steps"),
            ["\u{fffd} name | 1"]
        );
    });
}

#[test]
fn a_resource_and_a_scope_may_be_cut_within_a_character() {
    let body = r#"{"resourceSpans": [{"schemaUrl": "r\ud83e",
        "resource": {"attributes": [{"key": "service.name", "value": {"stringValue": "shop \ud83e"}}]},
        "scopeSpans": [{"schemaUrl": "s\ud83e", "scope": {"name": "scope \udd14"}, "spans": [{
            "traceId": "00000000000000000000000000000305", "spanId": "0000000000000001", "name": "n",
            "startTimeUnixNano": "1795176000000000000", "endTimeUnixNano": "1795176001000000000"}]}]}]}"#;
    recorded("/v1/traces", body, |log| {
        assert_eq!(
            rows(
                log,
                "SELECT profile, steps.attributes ->> '$.\"otel.scope.name\"' FROM sessions JOIN steps ON session_id = sessions.id"
            ),
            ["shop \u{fffd} | scope \u{fffd}"]
        );
    });
}

#[test]
fn a_number_that_no_float_holds_is_kept_as_its_text() {
    let Some(body) = case("03h-number-out-of-range.traces.json") else { return };
    recorded("/v1/traces", body, |log| {
        assert_eq!(
            rows(log, "SELECT module, tokens_input, tokens_output, attributes -> '$.x' FROM steps"),
            [r#"1e400 | 5 | 6 | "1e400""#]
        );
        assert!(annals(log, &["export"], "").contains(r#"{"doubleValue":1e400}"#));
    });
}

#[test]
fn a_log_record_whose_text_was_cut_within_a_character_is_a_note() {
    let Some(body) = case("03j-log-surrogate.logs.json") else { return };
    recorded("/v1/logs", body, |log| {
        assert_eq!(
            rows(log, "SELECT session_id, step_id, level, message FROM notes ORDER BY seq"),
            [
                "00000000000000000000000000000340 | 0000000000000001 | info | cut \u{fffd} end",
                "- | - | info | no trace \u{fffd}",
                "00000000000000000000000000000340 | 0000000000000001 | info | fine",
            ]
        );
    });
}

#[test]
fn messages_may_have_the_numbers_that_only_python_writes() {
    let Some(body) = case("03m-inner-nan.traces.json") else { return };
    recorded("/v1/traces", body, |log| {
        assert_eq!(rows(log, "SELECT module, output FROM steps"), ["inner nan | go\n→ f {\"x\":\"NaN\"}"]);
        assert_eq!(
            rows(
                log,
                "SELECT chosen_option, rationale, attributes ->> '$.arguments.x', options_considered ->> '$[0].option' FROM decisions"
            ),
            ["f | go | NaN | f"]
        );
    });
}

/// A span whose texts are so long that their rows refer to the payload.
fn with_long_texts() -> String {
    let long = |text: &str| format!("{text}, ").repeat(40);
    let messages = format!(
        r#"[{{"role":"user","content":"{0}\ud83e"}},{{"role":"user","content":"{1}\n"}},{{"role":"user","content":"\udd14{2}"}}]"#,
        long("cut at its end"),
        long("whole"),
        long("cut at its beginning"),
    );
    let [messages, output] = [messages, long("an answer")].map(|text| Value::String(text).to_string());
    // The half in the answer's text is one of the request's own JSON.
    let output = output.replace("answer, \"", "answer, \\ud83e\"");
    format!(
        r#"{{"resourceSpans":[{{"scopeSpans":[{{"spans":[{{"traceId":"00000000000000000000000000000306",
        "spanId":"0000000000000001","name":"n","startTimeUnixNano":"1795176000000000000",
        "endTimeUnixNano":"1795176001000000000","attributes":[
            {{"key":"gen_ai.operation.name","value":{{"stringValue":"chat"}}}},
            {{"key":"gen_ai.input.messages","value":{{"stringValue":{messages}}}}},
            {{"key":"output.value","value":{{"stringValue":{output}}}}}]}}]}}]}}]}}"#
    )
}

#[test]
fn long_texts_that_were_cut_within_a_character_are_read_from_the_log_as_they_are_shown() {
    recorded("/v1/traces", with_long_texts(), |log| {
        let [row] = rows(log, "SELECT input || '~' || output FROM steps").try_into().unwrap();
        let (input, output) = row.split_once('~').unwrap();
        assert_eq!(output, format!("{}\u{fffd}", "an answer, ".repeat(40)));
        let texts: Vec<&str> = input.split("\n\n").collect();
        assert!(texts[0].ends_with("cut at its end, \u{fffd}"), "{input}");
        assert!(texts.iter().any(|text| text.contains("whole, whole, ")), "{input}");
        assert!(texts.last().unwrap().contains("\u{fffd}cut at its beginning, "), "{input}");
        assert!(!annals(log, &["search", "beginning"], "").is_empty());
    });
}

#[test]
fn what_was_exported_and_recorded_again_has_the_same_rows() {
    let query = "SELECT id, module, input, output, attributes FROM steps ORDER BY session_id, id";
    let bodies = ["03a-mlflow-24123-lone-surrogate", "03d-surrogate-key-and-name", "03h-number-out-of-range"];
    let mut bodies: Vec<Vec<u8>> =
        bodies.iter().filter_map(|name| case(&format!("{name}.traces.json"))).collect();
    bodies.push(with_long_texts().into_bytes());
    for body in bodies {
        recorded("/v1/traces", body, |log| {
            let exported = annals(log, &["export"], "");
            let spans: String =
                exported.split_inclusive('\n').filter(|line| line.contains("otel.span")).collect();
            let (_folder, again) = new_path();
            annals(&again, &["record"], &spans);
            verify_whole(&again);
            assert_eq!(rows(&again, query), rows(log, query));
        });
    }
}

#[test]
fn fields_may_have_the_names_of_their_definition() {
    let Some(body) = case("17a-snake-case.traces.json") else { return };
    let steps = "SELECT session_id, id, parent_step_id, module, status, duration_us FROM steps";
    recorded("/v1/traces", body, |log| {
        assert_eq!(
            rows(log, steps),
            ["00000000000000000000000000001701 | 0000000000000001 | - | q | ok | 1000000"]
        );
        assert!(annals(log, &["export"], "").contains(r#""trace_id": "00000000000000000000000000001701""#));
    });
    let body = r#"{"resource_spans": [{"schema_url": "u", "scope_spans": [{"spans": [{
        "trace_id": "00000000000000000000000000001703", "span_id": "0000000000000002", "parent_span_id": "0000000000000001",
        "name": "q", "start_time_unix_nano": 1795176000000000000, "end_time_unix_nano": 1795176001000000000,
        "trace_state": "a=b", "dropped_links_count": 3, "status": {"code": "STATUS_CODE_ERROR"},
        "attributes": [{"key": "k", "value": {"array_value": {"values": [{"int_value": "7"}, {"string_value": "s"}]}}}],
        "events": [{"name": "e", "time_unix_nano": "1795176000000000000", "attributes": [{"key": "b", "value": {"bool_value": true}}]}],
        "links": [{"trace_id": "00000000000000000000000000000001", "span_id": "00000000000000ff"}]}]}]}]}"#;
    recorded("/v1/traces", body, |log| {
        assert_eq!(
            rows(log, steps),
            ["00000000000000000000000000001703 | 0000000000000002 | 0000000000000001 | q | error | 1000000"]
        );
        let attributes = rows(log, "SELECT attributes FROM steps");
        let attributes: Value = serde_json::from_str(&attributes[0]).unwrap();
        assert_eq!(
            attributes,
            json!({
                "k": [7, "s"],
                "otel.dropped_links_count": 3,
                "otel.events": [{"name": "e", "at": "2026-11-20T12:00:00.000000Z", "attributes": {"b": true}}],
                "otel.links": [{"session": "00000000000000000000000000000001", "step": "00000000000000ff"}],
                "otel.trace_state": "a=b",
            })
        );
    });
    let body = r#"{"resource_logs": [{"scope_logs": [{"log_records": [{
        "trace_id": "00000000000000000000000000001704", "span_id": "0000000000000001", "event_name": "e",
        "severity_number": 17, "observed_time_unix_nano": "1795176000000000000", "body": {"string_value": "b"}}]}]}]}"#;
    recorded("/v1/logs", body, |log| {
        assert_eq!(
            rows(
                log,
                "SELECT session_id, step_id, level, message, attributes ->> '$.\"event.name\"' FROM notes"
            ),
            ["00000000000000000000000000001704 | 0000000000000001 | error | b | e"]
        );
    });
}

#[test]
fn the_older_names_of_scopes_are_read() {
    let Some(body) = case("17b-instrumentationLibrarySpans.traces.json") else { return };
    recorded("/v1/traces", body, |log| {
        assert_eq!(
            rows(log, "SELECT session_id, module, attributes ->> '$.\"otel.scope.name\"' FROM steps"),
            ["00000000000000000000000000001702 | q | x"]
        );
    });
    let body = r#"{"resourceLogs": [{"instrumentationLibraryLogs": [{"instrumentationLibrary": {"name": "x"},
        "logs": [{"timeUnixNano": "1795176000000000000", "body": {"stringValue": "b"}}]}]}]}"#;
    recorded("/v1/logs", body, |log| {
        assert_eq!(rows(log, "SELECT message, attributes ->> '$.\"otel.scope.name\"' FROM notes"), ["b | x"]);
    });
}

#[test]
fn items_at_the_path_of_others_are_rejected_with_the_right_path() {
    let Some(body) = case("17e-logs-body-at-traces.json") else { return };
    assert_eq!(
        answer_to("/v1/traces", body),
        json!({"partialSuccess": {
            "rejectedSpans": "1",
            "errorMessage": "span 1 `x`: it is a log record; send it to /v1/logs",
        }})
    );
    let Some(body) = case("17b-instrumentationLibrarySpans.traces.json") else { return };
    assert_eq!(
        answer_to("/v1/logs", body),
        json!({"partialSuccess": {
            "rejectedLogRecords": "1",
            "errorMessage": "log record 1 `q`: it is a span; send it to /v1/traces",
        }})
    );
}

#[test]
fn items_in_protocol_buffers_at_the_path_of_others_are_rejected_with_the_right_path() {
    let span = Span { trace_id: vec![7; 16], span_id: vec![1; 8], name: "s".into(), ..Span::default() };
    let scope_spans = vec![ScopeSpans { spans: vec![span], ..ScopeSpans::default() }];
    let traces = ExportTraceServiceRequest {
        resource_spans: vec![ResourceSpans { scope_spans, ..ResourceSpans::default() }],
    };
    let log_record = LogRecord { time_unix_nano: 1, event_name: "e".into(), ..LogRecord::default() };
    let scope_logs = vec![ScopeLogs { log_records: vec![log_record], ..ScopeLogs::default() }];
    let logs = ExportLogsServiceRequest {
        resource_logs: vec![ResourceLogs { scope_logs, ..ResourceLogs::default() }],
    };
    let (_folder, log) = new_path();
    let served = Served::start(&log);
    for (path, body, message) in [
        ("/v1/traces", logs.encode_to_vec(), "span 1 ``: it is a log record; send it to /v1/logs"),
        ("/v1/logs", traces.encode_to_vec(), "log record 1 ``: it is a span; send it to /v1/traces"),
    ] {
        let answer = served.request("POST", path, &[("content-type", "application/x-protobuf")], &body);
        // The answers of both services are the same in protocol buffers.
        let answer = ExportTraceServiceResponse::decode(answer.body.as_slice()).unwrap();
        let partial = answer.partial_success.unwrap();
        assert_eq!((partial.rejected_spans, partial.error_message.as_str()), (1, message));
    }
    served.stop();
}

#[test]
fn a_body_in_which_nothing_was_found_is_answered_with_what_is_there_and_what_is_expected() {
    let warning = |key: &str, message: &str| json!({"partialSuccess": {key: "0", "errorMessage": message}});
    let Some(body) = case("17l-camelcase-typo.traces.json") else { return };
    assert_eq!(
        answer_to("/v1/traces", body),
        warning(
            "rejectedSpans",
            "no span was found: there is `ResourceSpans` where `resourceSpans` is expected"
        )
    );
    for (body, found) in [
        (
            r#"{"resourceSpans":[{"resource":{},"scopespans":[{"spans":[{}]}]}]}"#,
            "`scopespans` where `scopeSpans`",
        ),
        (
            r#"{"resourceSpans":[{"scopeSpans":[{"span":[{}]},{"scope":{},"Spans":[{}]}]}]}"#,
            "`span`, `Spans` where `spans`",
        ),
        (r#"{"resourceMetrics":[{"scopeMetrics":[]}]}"#, "`resourceMetrics` where `resourceSpans`"),
    ] {
        let message = format!("no span was found: there is {found} is expected");
        assert_eq!(answer_to("/v1/traces", body), warning("rejectedSpans", &message));
    }
    assert_eq!(
        answer_to("/v1/logs", r#"{"resourceLogs":[{"scopeLogs":[{"records":[{}]}]}]}"#),
        warning(
            "rejectedLogRecords",
            "no log record was found: there is `records` where `logRecords` is expected"
        )
    );
    // These have no items, and no field that is unknown.
    for body in [
        "{}",
        r#"{"resourceSpans":[]}"#,
        r#"{"resourceSpans":[{"resource":{},"scopeSpans":[{"scope":{}}]}]}"#,
    ] {
        assert_eq!(answer_to("/v1/traces", body), json!({}));
    }
}

#[test]
fn what_was_not_recorded_of_a_request_is_counted_and_logged() {
    let (_folder, log) = new_path();
    let served = Served::start(&log);
    let spans = r#"{"resourceSpans":[{"scopeSpans":[{"spans":[{"name":"a"},{"name":"b"}]}]}]}"#;
    served.post_json("/v1/traces", spans).expect(200);
    served.post_json("/v1/traces", r#"{"resourceSpan":[]}"#).expect(200);
    let metrics = served.get("/metrics");
    let metrics = metrics.text();
    for line in [
        r#"annals_events_rejected_total{reason="invalid-event"} 2"#,
        "annals_otlp_requests_not_understood_total 1",
    ] {
        assert!(metrics.lines().any(|own| own == line), "{line} is not in:\n{metrics}");
    }
    let said = served.stop();
    assert!(said.contains("span 1 `a`: the trace id must have"), "{said}");
    assert!(said.contains("there is `resourceSpan` where"), "{said}");
}
