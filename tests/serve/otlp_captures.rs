//! Requests that real programs once sent, and the rows that they become: a page for each program.

use serde::Deserialize;
use serde_json::json;

use crate::otlp_fixtures::recorded;
use crate::support::otlp::{Request, outline};
use crate::support::published::data;

/// A line of the list of captured requests.
#[derive(Deserialize)]
struct Captured {
    file: String,
    path: String,
    ct: String,
    enc: Option<String>,
}

/// Sends the requests that a program sent for traces, and compares the outline of the log.
#[track_caller]
fn assert_outline(program: &str, expected: &str) {
    let Some(folder) = data("otlp") else { return };
    let folder = folder.join(program);
    let list = std::fs::read_to_string(folder.join("requests.jsonl")).unwrap();
    let requests: Vec<Request> = list
        .lines()
        .map(|line| serde_json::from_str::<Captured>(line).unwrap())
        .filter(|captured| captured.path.ends_with("/v1/traces"))
        .map(|captured| {
            let request = json!({
                "file": captured.file, "path": "/v1/traces", "content-type": captured.ct,
                "content-encoding": captured.enc, "transfer-encoding": null,
            });
            let mut request: Request = serde_json::from_value(request).unwrap();
            request.body = std::fs::read(folder.join(&captured.file)).unwrap();
            request
        })
        .collect();
    assert!(!requests.is_empty());
    recorded(&requests, |log| assert_eq!(outline(log), expected, "{program}"));
}

#[test]
fn openai_agents_under_openinference() {
    assert_outline("openai-agents-openinference", include_str!("captures/openai-agents-openinference.txt"));
}

#[test]
fn openai_agents_under_logfire() {
    assert_outline("openai-agents-logfire", include_str!("captures/openai-agents-logfire.txt"));
}

#[test]
fn the_vercel_ai_sdk_5() {
    assert_outline("vercel-ai-5", include_str!("captures/vercel-ai-5.txt"));
}

#[test]
fn strands() {
    assert_outline("strands", include_str!("captures/strands.txt"));
}

#[test]
fn langfuse() {
    assert_outline("langfuse", include_str!("captures/langfuse.txt"));
}

#[test]
fn google_adk() {
    assert_outline("google-adk", include_str!("captures/google-adk.txt"));
}

#[test]
fn a_server_and_a_client_of_the_model_context_protocol_are_one_session() {
    assert_outline("mcp", include_str!("captures/mcp.txt"));
}
