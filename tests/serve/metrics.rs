//! The numbers that the server gives of itself, and the description of its API.

use crate::support::new_path;
use crate::support::server::Served;

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

/// A log with a key and these anchors, and the folder of its user.
fn with_anchor(folder: &std::path::Path, path: &std::path::Path, anchor: &[&str]) -> std::path::PathBuf {
    let home = folder.join("home-of-keys");
    let steps: [&[&str]; 3] = [&["init", "--origin", "example.org/audit"], &["key", "generate"], anchor];
    for step in steps {
        let done = std::process::Command::new(env!("CARGO_BIN_EXE_annals"))
            .args(["--db".as_ref(), path.as_os_str()])
            .args(step)
            .env("ANNALS_HOME", &home)
            .output()
            .unwrap();
        assert!(done.status.success(), "{step:?}: {}", String::from_utf8_lossy(&done.stderr));
    }
    home
}

/// Asks until an answer is as it should be; only a hang takes long.
fn eventually(served: &Served, target: &str, holds: impl Fn(u16, &str) -> bool) {
    let end = std::time::Instant::now() + std::time::Duration::from_secs(120);
    loop {
        let answer = served.get(target);
        if holds(answer.status, answer.text()) {
            return;
        }
        assert!(std::time::Instant::now() < end, "{target}: {} {}", answer.status, answer.text());
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
}

#[test]
fn an_anchor_that_fails_is_in_the_numbers_and_makes_the_server_unready_after_a_while() {
    let (folder, path) = new_path();
    let home = with_anchor(folder.path(), &path, &["anchor", "add", "command", "false"]);
    let home = [("ANNALS_HOME", home.to_str().unwrap())];
    let served = Served::start_in(&path, &["--anchor-max-age", "0.2"], &home);
    let failing = r#"annals_anchor_failing{anchor="command false"}"#;
    eventually(&served, "/metrics", |_, metrics| value(metrics, failing) == Some(1.0));
    let behind = r#"annals_anchor_behind_seconds{anchor="command false"}"#;
    eventually(&served, "/metrics", |_, metrics| value(metrics, behind).is_some_and(|seconds| seconds > 0.2));
    eventually(&served, "/readyz", |status, said| {
        status == 503 && said.contains("an anchor has lacked events")
    });
    assert!(!served.get("/readyz").text().contains("command false"), "whoever asks needs no key");
    let metrics = served.get("/metrics");
    assert_eq!(value(metrics.text(), "annals_signing_failing"), Some(0.0));
    drop(served);
    // Without a bound it is for the operator to look at the numbers.
    let served = Served::start_in(&path, &[], &home);
    eventually(&served, "/metrics", |_, metrics| value(metrics, failing) == Some(1.0));
    assert_eq!(served.get("/readyz").status, 200);
}

#[test]
fn an_anchor_that_has_everything_is_in_the_numbers_as_such() {
    let (folder, path) = new_path();
    let kept = folder.path().join("kept.db");
    let home = with_anchor(folder.path(), &path, &["anchor", "add", "sqlite", kept.to_str().unwrap()]);
    let home = [("ANNALS_HOME", home.to_str().unwrap())];
    let served = Served::start_in(&path, &["--anchor-max-age", "3600"], &home);
    let series = |name: &str| format!(r#"annals_{name}{{anchor="sqlite {}"}}"#, kept.display());
    eventually(&served, "/metrics", |_, metrics| value(metrics, &series("anchor_events")) == Some(2.0));
    let metrics = served.get("/metrics");
    assert_eq!(value(metrics.text(), &series("anchor_failing")), Some(0.0));
    assert_eq!(value(metrics.text(), &series("anchor_behind_seconds")), Some(0.0));
    assert_eq!(served.get("/readyz").status, 200);
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
