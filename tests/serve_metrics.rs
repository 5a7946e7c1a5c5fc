//! The numbers that the server gives of itself, and the description of its API.

#![allow(
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test that cannot go on fails"
)]

mod support;

#[path = "support/server.rs"]
mod server;

use server::Served;
use support::new_path;

/// The value of a series, by its name with labels.
fn value(metrics: &str, series: &str) -> Option<f64> {
    metrics.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' ')?.parse().ok())
}

#[test]
fn the_numbers_are_those_of_what_happened() {
    let (_folder, path) = new_path();
    let served = Served::start(&path);
    let note = r#"{"type":"note.logged","message":"m","id":"01920000-0000-7000-8000-000000000001"}"#;
    served.post_json("/v1/events?wait=visible", note).expect(200);
    served.post_json("/v1/events?wait=visible", note).expect(200);
    served.post_json("/v1/events", r#"[{"type":"no.such"},{"type":"log.created"}]"#);
    served.request("BREW", "/coffee", &[], b"");
    let answer = served.get("/metrics");
    assert!(answer.header("content-type").unwrap().starts_with("application/openmetrics-text"));
    let metrics = answer.text();
    for (series, expected) in [
        (r#"annals_events_total{outcome="new"}"#, 1.0),
        (r#"annals_events_total{outcome="already_recorded"}"#, 1.0),
        (r#"annals_events_rejected_total{reason="invalid-event"}"#, 1.0),
        (r#"annals_events_rejected_total{reason="reserved"}"#, 1.0),
        (r#"annals_http_requests_total{route="/v1/events",method="POST",status="200"}"#, 2.0),
        (r#"annals_http_requests_total{route="/v1/events",method="POST",status="422"}"#, 1.0),
        (r#"annals_http_requests_total{route="-",method="OTHER",status="404"}"#, 1.0),
        (r#"annals_projection_lag_events{projection="sessions"}"#, 0.0),
        (r#"annals_projection_stopped{projection="search"}"#, 0.0),
        ("annals_log_events", 2.0),
        ("annals_log_writable", 1.0),
        ("annals_events_lost_total", 0.0),
        ("annals_queue_messages", 0.0),
        ("annals_body_memory_bytes", 0.0),
        ("annals_commit_seconds_count", 2.0),
        ("annals_batch_events_sum", 2.0),
    ] {
        assert_eq!(value(metrics, series), Some(expected), "{series} in\n{metrics}");
    }
    assert!(metrics.ends_with("# EOF\n"));
    assert!(value(metrics, "annals_connections").unwrap() >= 1.0);
}

#[test]
fn every_route_is_described_with_its_answers() {
    let (_folder, path) = new_path();
    let served = Served::start(&path);
    let document = served.get("/openapi.json").expect(200);
    let paths = document["paths"].as_object().unwrap();
    for path in
        ["/v1/events", "/v1/sessions/{id}/replay", "/v1/tail", "/tile/{path}", "/v1/redactions", "/metrics"]
    {
        assert!(paths.contains_key(path), "{path}");
    }
    for (path, item) in paths {
        for (method, operation) in item.as_object().unwrap() {
            let answers = operation["responses"].as_object().unwrap();
            assert!(answers.contains_key("200"), "{method} {path}");
            let open = operation["security"].is_array();
            assert!(
                open || ["401", "403", "429"].iter().all(|code| answers.contains_key(*code)),
                "{method} {path}"
            );
            // OpenTelemetry's routes answer as OTLP has it.
            if operation["tags"][0] == "opentelemetry" {
                continue;
            }
            for (code, answer) in answers {
                assert!(answer["description"].is_string(), "{method} {path} {code}");
                let content = answer["content"].as_object().unwrap();
                assert_eq!(
                    content.contains_key("application/problem+json"),
                    code != "200",
                    "{method} {path} {code}"
                );
            }
        }
    }
    assert_eq!(document["components"]["securitySchemes"]["key"]["scheme"], "bearer");
}
