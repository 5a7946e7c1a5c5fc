//! Langfuse's SDKs with two variables: traces at their own path, scores, and what is answered to the rest.

use std::path::Path;
use std::process::Command;

use base64::prelude::{BASE64_STANDARD, Engine as _};
use serde_json::{Value, json};

use crate::otlp_leniency::rows;
use crate::support::server::{Answer, Served};
use crate::support::{new_path, verify_whole};

const TRACE: &str = "9a4f0c6d1b7e42358f60aa17c3d5e821";
const SPAN: &str = "c41d7be05a93f612";
const INGESTION: &str = "/api/public/ingestion";

/// An item as the SDKs send it.
fn item(id: &str, kind: &str, body: Value) -> Value {
    json!({"id": id, "type": kind, "timestamp": "2026-11-30T17:50:49.963Z", "body": body})
}

fn batch(items: &[Value]) -> String {
    json!({"batch": items, "metadata": {"batch_size": items.len(), "sdk_name": "python"}}).to_string()
}

fn helpful(value: f64) -> Value {
    item(
        "e-1",
        "score-create",
        json!({"id": "s-1", "traceId": TRACE, "observationId": SPAN, "name": "helpful", "value": value, "comment": "short",
               "environment": "staging", "metadata": {"by": "desk"}}),
    )
}

const FINDINGS: &str = "SELECT session_id, id, step_id, category, pattern_type, outcome, scope, description, evidence, attributes FROM findings ORDER BY last_seq";

/// The findings of a log that no server has open, which verifies.
fn findings(log: &Path) -> Vec<String> {
    verify_whole(log);
    rows(log, FINDINGS)
}

#[test]
fn scores_are_findings_of_their_trace_or_its_step() {
    let (_folder, log) = new_path();
    let served = Served::start(&log);
    let body = batch(&[
        helpful(0.75),
        item(
            "e-2",
            "score-create",
            json!({"id": "s-2", "traceId": TRACE.to_uppercase(), "name": "tone", "value": "polite", "dataType": "CATEGORICAL"}),
        ),
        item(
            "e-3",
            "score-create",
            json!({"id": "s-3", "traceId": TRACE, "observationId": null, "name": "solved", "value": 0.0, "dataType": "BOOLEAN"}),
        ),
    ]);
    // Some versions of the SDKs double the slash.
    for path in [INGESTION, "//api/public/ingestion"] {
        let answer = served.post_json(path, &body);
        assert_eq!(
            answer.expect(207),
            json!({
                "successes": [{"id": "e-1", "status": 201}, {"id": "e-2", "status": 201}, {"id": "e-3", "status": 201}],
                "errors": [],
            })
        );
        assert_eq!(answer.header("content-type"), Some("application/json"));
    }
    served.stop();
    assert_eq!(
        findings(&log),
        [
            format!(
                r#"{TRACE} | s-1 | {SPAN} | evaluation | helpful | - | - | short | {{"score":0.75}} | {{"environment":"staging","metadata":{{"by":"desk"}}}}"#
            ),
            format!(
                r#"{TRACE} | s-2 | - | evaluation | tone | - | trace | - | {{"label":"polite"}} | {{"dataType":"CATEGORICAL"}}"#
            ),
            format!(
                r#"{TRACE} | s-3 | - | evaluation | solved | fail | trace | - | {{"label":"false","score":0.0}} | {{"dataType":"BOOLEAN"}}"#
            ),
        ]
    );
    assert_eq!(
        rows(&log, "SELECT count(*), max(raised_at) FROM findings"),
        ["3 | 2026-11-30 17:50:49.963000"]
    );
    // Sent twice, recorded once.
    assert_eq!(rows(&log, "SELECT count(*) FROM timeline WHERE kind = 'finding.raised'"), ["3"]);
}

#[test]
fn a_score_that_is_sent_again_with_another_value_is_recorded_beside_the_first() {
    let (_folder, log) = new_path();
    let served = Served::start(&log);
    for value in [0.75, 0.5, 0.75, 0.5] {
        let answer = served.post_json(INGESTION, batch(&[helpful(value)])).expect(207);
        assert_eq!(answer["successes"], json!([{"id": "e-1", "status": 201}]));
    }
    // Both in one batch.
    let answer = served.post_json(INGESTION, batch(&[helpful(0.25), helpful(0.5)])).expect(207);
    assert_eq!(answer["errors"], json!([]));
    // There is an end to it, which is told.
    for value in 0..13 {
        let answer = served.post_json(INGESTION, batch(&[helpful(f64::from(value) + 2.0)])).expect(207);
        assert_eq!(answer["errors"], json!([]), "{value}");
    }
    let answer = served.post_json(INGESTION, batch(&[helpful(99.0)])).expect(207);
    assert_eq!(answer["errors"][0]["status"], 400);
    let message = answer["errors"][0]["message"].as_str().unwrap();
    assert!(message.contains("16 other contents") && message.contains("new id"), "{message}");
    served.stop();
    verify_whole(&log);
    assert_eq!(rows(&log, "SELECT count(*) FROM timeline WHERE kind = 'finding.raised'"), ["16"]);
    assert_eq!(rows(&log, "SELECT id, evidence FROM findings"), [r#"s-1 | {"score":14.0}"#]);
}

#[test]
fn what_is_no_score_of_a_trace_is_an_error_of_its_own() {
    let (_folder, log) = new_path();
    let served = Served::start(&log);
    let body = batch(&[
        item("e-1", "trace-create", json!({"id": "t", "name": "desk"})),
        item("e-2", "generation-create", json!({"id": "g", "traceId": "t"})),
        item("e-3", "sdk-log", json!({"log": "x"})),
        item(
            "e-4",
            "score-create",
            json!({"sessionId": "chat", "name": "solved", "value": 1, "dataType": "BOOLEAN"}),
        ),
        item("e-5", "score-create", json!({"datasetRunId": "run", "name": "n", "value": 1})),
        item("e-6", "score-create", json!({"traceId": "8b1d-uuid", "name": "n", "value": 1})),
        item(
            "e-7",
            "score-create",
            json!({"traceId": TRACE, "name": "n", "value": 3, "dataType": "BOOLEAN"}),
        ),
        helpful(1.0),
    ]);
    let answer = served.post_json(INGESTION, body).expect(207);
    assert_eq!(answer["successes"], json!([{"id": "e-1", "status": 201}]));
    let errors = answer["errors"].as_array().unwrap();
    for (error, (id, why)) in errors.iter().zip([
        ("e-1", "`trace-create` are not recorded, only scores are; send traces by OpenTelemetry"),
        ("e-2", "`generation-create` are not recorded"),
        ("e-3", "`sdk-log` are not recorded"),
        ("e-4", "a score of a session of Langfuse belongs to no session of the log"),
        ("e-5", "a score of a dataset run belongs to no session of the log"),
        ("e-6", "`traceId` must be 32 hexadecimal digits"),
        ("e-7", "`value` of a score of type BOOLEAN must be 0 or 1"),
    ]) {
        assert_eq!((&error["id"], &error["status"]), (&json!(id), &json!(400)));
        assert!(error["message"].as_str().unwrap().contains(why), "{error}");
    }
    assert_eq!(errors.len(), 7);
    let metrics = served.get("/metrics");
    let rejected = r#"annals_events_rejected_total{reason="invalid-event"} 7"#;
    assert!(metrics.text().lines().any(|line| line == rejected), "{}", metrics.text());

    assert_eq!(served.post_json(INGESTION, "[").problem(400), "not-json");
    assert_eq!(served.post_json(INGESTION, r#"{"events": []}"#).problem(400), "not-json");
    let many = format!(r#"{{"batch":[{}0]}}"#, "0,".repeat(16_384));
    assert_eq!(served.post_json(INGESTION, many).problem(413), "too-large");
    let text = served.request("POST", INGESTION, &[("content-type", "text/plain")], b"{}");
    assert_eq!(text.problem(415), "unsupported-media-type");
    served.stop();
    verify_whole(&log);
    assert_eq!(rows(&log, "SELECT id FROM findings"), ["s-1"]);
}

#[test]
fn one_score_is_answered_with_its_id() {
    let (_folder, log) = new_path();
    let served = Served::start(&log);
    let one = |body: Value| served.post_json("/api/public/scores", body.to_string());
    let with_id = json!({"id": "s-9", "traceId": TRACE, "name": "verdict", "value": "pass"});
    assert_eq!(one(with_id.clone()).expect(200), json!({"id": "s-9"}));
    assert_eq!(one(with_id).expect(200), json!({"id": "s-9"}));
    let without = one(json!({"traceId": TRACE, "name": "verdict", "value": 7})).expect(200);
    let made = without["id"].as_str().unwrap().to_owned();
    let refused = one(json!({"sessionId": "chat", "name": "verdict", "value": 7}));
    assert_eq!(refused.problem(400), "bad-request");
    assert!(
        refused.text().contains("give the score a `traceId`; nothing was recorded"),
        "{}",
        refused.text()
    );
    served.stop();
    verify_whole(&log);
    assert_eq!(
        rows(&log, "SELECT id, outcome FROM findings ORDER BY first_seq"),
        ["s-9 | pass".to_owned(), format!("{made} | -")]
    );
}

/// The answer to an SDK that has a key as its secret key.
fn as_sdk(served: &Served, path: &str, secret: &str, body: &str) -> Answer {
    let basic = format!("Basic {}", BASE64_STANDARD.encode(format!("pk-lf-desk:{secret}")));
    let headers = [("authorization", basic.as_str()), ("content-type", "application/json")];
    served.request("POST", path, &headers, body.as_bytes())
}

#[test]
fn a_key_as_the_secret_key_records_spans_and_their_scores() {
    let (_folder, log) = new_path();
    let key = |scope: &str| {
        let output = Command::new(env!("CARGO_BIN_EXE_annals"))
            .arg("--db")
            .arg(&log)
            .args(["apikey", "create", "--name", scope, "--scopes", scope])
            .env("ANNALS_HOME", log.with_file_name("home"))
            .output()
            .unwrap();
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    };
    let (emit, read) = (key("emit"), key("read"));
    let served = Served::start(&log);
    let spans = json!({"resourceSpans": [{"scopeSpans": [{"scope": {"name": "langfuse-sdk"}, "spans": [{
        "traceId": TRACE, "spanId": SPAN, "name": "answer",
        "startTimeUnixNano": "1796061049611000000", "endTimeUnixNano": "1796061049611349252",
        "attributes": [{"key": "langfuse.observation.type", "value": {"stringValue": "generation"}}]}]}]}]})
    .to_string();
    for path in ["/api/public/otel/v1/traces", "//api/public/otel/v1/traces"] {
        assert_eq!(as_sdk(&served, path, &emit, &spans).expect(200), json!({}));
        assert_eq!(as_sdk(&served, path, "sk-lf-other", &spans).expect(401)["code"], 16);
    }
    let scores = batch(&[helpful(1.0)]);
    for path in [INGESTION, "/api/public/scores"] {
        assert_eq!(as_sdk(&served, path, "sk-lf-other", &scores).problem(401), "unauthorized");
        assert_eq!(as_sdk(&served, path, &read, &scores).problem(403), "forbidden");
    }
    assert_eq!(as_sdk(&served, INGESTION, &emit, &scores).expect(207)["errors"], json!([]));
    served.stop();
    verify_whole(&log);
    assert_eq!(
        rows(&log, "SELECT module, kind, pattern_type FROM steps JOIN findings ON step_id = steps.id"),
        ["answer | llm | helpful"]
    );
}
