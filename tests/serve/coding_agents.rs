//! Log records of coding agents, and of others that send no spans: the rows that they become, in JSON and in protocol
//! buffers.

use std::path::Path;

use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use prost::Message as _;

use crate::support::published::data;
use crate::support::server::Served;
use crate::support::{new_path, rows_of, sqlite, verify_whole};

/// Sends the log records of a case in each encoding and in the other order, and hands out each log, which verifies.
#[track_caller]
fn recorded(case: &str, look: impl Fn(&Path)) {
    let Some(folder) = data("cases/otlp") else { return };
    let json = std::fs::read(folder.join(case)).unwrap();
    let message: ExportLogsServiceRequest = serde_json::from_slice(&json).unwrap();
    let mut reversed = message.clone();
    for scope in reversed.resource_logs.iter_mut().flat_map(|group| &mut group.scope_logs) {
        scope.log_records.reverse();
    }
    const PROTOBUF: &str = "application/x-protobuf";
    for (media_type, body) in [
        ("application/json", json),
        (PROTOBUF, message.encode_to_vec()),
        (PROTOBUF, reversed.encode_to_vec()),
    ] {
        let (_folder, log) = new_path();
        let served = Served::start(&log);
        // Sent again, it is still there once.
        for _ in 0..2 {
            let answer = served.request("POST", "/v1/logs", &[("content-type", media_type)], &body);
            assert_eq!(answer.status, 200);
        }
        served.stop();
        verify_whole(&log);
        look(&log);
    }
}

fn rows(log: &Path, query: &str) -> Vec<String> {
    rows_of(&sqlite(log), query)
}

#[test]
fn a_conversation_of_claude_code_is_a_session_with_its_calls_decisions_and_errors() {
    recorded("09-claude-code-55269-logs-without-trace.logs.json", |log| {
        let sessions = rows(
            log,
            "SELECT id, profile, agent, agent_version, model, conversation_id, input, tokens_input, tokens_output,
                    round(cost_usd, 4), step_count, error_count, started_at, labels FROM sessions",
        );
        assert_eq!(
            sessions,
            ["9d5f0c1e-0000-4000-8000-000000000001 | claude-code | claude-code | 2.1.0 | claude-x | \
              9d5f0c1e-0000-4000-8000-000000000001 | Rename the function foo to bar | 18817 | 250 | 0.0521 | 4 | 1 | \
              2026-11-20 12:00:01.000000 | {\"user\":\"u-hash\"}"]
        );
        let steps = rows(
            log,
            "SELECT id, kind, module, model, status, input, tokens_input, tokens_output, tokens_cache_read, cost_usd,
                    error, duration_us
             FROM steps ORDER BY started_at",
        );
        assert_eq!(
            steps,
            [
                "p-1:3 | llm | - | claude-x | ok | - | 9412 | 210 | 9000 | 0.0421 | - | 1800000",
                "p-1:5 | tool | Edit | - | ok | {\"file\": \"a.py\"} | - | - | - | - | - | 20000",
                "p-1:6 | llm | - | claude-x | error | - | - | - | - | - | 529: Overloaded | 50000",
                "p-1:8 | llm | - | claude-x | ok | - | 9405 | 40 | 9400 | 0.01 | - | 900000",
            ]
        );
        assert_eq!(
            rows(
                log,
                "SELECT id, decision_type, chosen_option, actor, json_array_length(options_considered),
                        attributes ->> 'tool_name', attributes ->> 'source' FROM decisions"
            ),
            ["p-1:4:approval | tool | accept | user | 2 | Edit | user_temporary"]
        );
        assert_eq!(
            rows(log, "SELECT step_id, category, pattern_type, severity, description FROM findings"),
            ["p-1:6 | error | 529 | high | Overloaded"]
        );
        let notes = "SELECT count(*), count(session_id) FROM timeline WHERE kind = 'otel.log'";
        assert_eq!(rows(log, notes), ["6 | 6"]);
    });
}

#[test]
fn a_conversation_of_codex_is_a_session_and_a_tools_decision_and_result_are_one_step() {
    recorded("09b-codex-2103-log-events.logs.json", |log| {
        assert_eq!(
            rows(
                log,
                "SELECT id, profile, agent, agent_version, model, input, tokens_input, tokens_output, step_count,
                        started_at, attributes ->> 'sandbox_policy', attributes ->> 'reasoning_effort' FROM sessions"
            ),
            ["conv-77 | codex_cli_rs | codex | 0.40.0 | gpt-x-codex | fix tests | 1200 | 90 | 2 | \
              2026-11-20 12:00:00.000000 | workspace-write | high"]
        );
        assert_eq!(
            rows(
                log,
                "SELECT kind, module, model, status, input, output, tokens_input, tokens_output, started_at, ended_at,
                        tokens_cache_read, tokens_reasoning
                 FROM steps ORDER BY ended_at"
            ),
            [
                "llm | - | gpt-x-codex | ok | - | - | 1200 | 90 | - | 2026-11-20 12:00:03.000000 | 1000 | 64",
                "tool | shell | - | ok | {\"command\": [\"pytest\"]} | 3 passed | - | - | 2026-11-20 12:00:04.100000 | \
                 2026-11-20 12:00:05.000000 | - | -",
            ]
        );
        assert_eq!(
            rows(
                log,
                "SELECT decisions.step_id = steps.id, chosen_option, actor, decided_at, decisions.attributes ->> 'decision'
                 FROM decisions JOIN steps ON steps.id = 'call_9Qw8Er7Ty6'"
            ),
            ["1 | accept | user | 2026-11-20 12:00:04.000000 | approved"]
        );
    });
}

#[test]
fn the_details_of_a_call_without_a_span_are_a_step_of_their_session() {
    for (case, session) in
        [("details-no-span.json", "00000000000000000000000000000002"), ("details-no-trace.json", "s-1")]
    {
        recorded(case, |log| {
            assert_eq!(
                rows(
                    log,
                    "SELECT session_id, kind, model, status, output, tokens_input, tokens_output FROM steps"
                ),
                [format!(
                    "{session} | llm | m | ok | Let me look.\n→ get_weather {{\"city\":\"Lisbon\"}} | 25 | 7"
                )]
            );
            assert_eq!(
                rows(log, "SELECT id, conversation_id, tokens_input, tokens_output FROM sessions"),
                [format!("{session} | s-1 | 25 | 7")]
            );
            assert_eq!(
                rows(
                    log,
                    "SELECT chosen_option, step_id = steps.id FROM decisions JOIN steps USING (session_id)"
                ),
                ["get_weather | 1"]
            );
        });
    }
}

#[test]
fn a_record_is_named_by_its_attribute_and_its_conversation_is_its_session() {
    recorded("event-name.json", |log| {
        assert_eq!(rows(log, "SELECT id, agent FROM sessions"), ["c-1 | codex"]);
        assert_eq!(rows(log, "SELECT kind, module, status FROM steps"), ["tool | exec_command | ok"]);
    });
}
