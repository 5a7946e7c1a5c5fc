//! Spans of real programs whose meaning is easily misread, each with its right rows.

use crate::otlp_leniency::{case, recorded, rows};

/// The rows of a query, after a case was received.
#[track_caller]
fn assert_rows(name: &str, queries: &[(&str, &[&str])]) {
    let Some(body) = case(name) else { return };
    recorded("/v1/traces", body, |log| {
        for (query, expected) in queries {
            assert_eq!(rows(log, query), *expected, "{query}");
        }
    });
}

#[test]
fn a_text_that_stands_in_content_and_in_contents_is_one_text() {
    assert_rows("contents-twice.json", &[("SELECT output FROM steps", &["It is sunny."])]);
}

#[test]
fn a_call_in_an_answer_that_is_json_is_a_decision() {
    assert_rows(
        "completion-json.json",
        &[(
            "SELECT id, chosen_option, rationale FROM decisions",
            &["call_mVX2uvL7TRiSe2YNdOEh9AbC | get_weather | Let me look."],
        )],
    );
}

#[test]
fn a_choice_whose_message_is_a_list_of_parts_is_an_answer() {
    assert_rows(
        "strands-choice.json",
        &[
            ("SELECT input, output FROM steps", &["Q? | Let me look.\n→ get_weather {\"city\":\"Lisbon\"}"]),
            ("SELECT id, chosen_option FROM decisions", &["tooluse_AbC123dEf456 | get_weather"]),
            ("SELECT attributes -> '$.\"gen_ai.response.finish_reasons\"' FROM steps", &[r#"["tool_use"]"#]),
        ],
    );
}

#[test]
fn a_call_that_the_run_of_an_agent_repeats_is_not_a_second_decision() {
    assert_rows(
        "ids-not-unique.json",
        &[("SELECT step_id, chosen_option FROM decisions", &["0000000000000002 | get_weather"])],
    );
}

#[test]
fn an_observation_of_langfuse_has_its_texts_and_tokens() {
    assert_rows(
        "langfuse.json",
        &[(
            "SELECT kind, model, input, output, tokens_input, tokens_output FROM steps",
            &["llm | m | hi | hello | 11 | 3"],
        )],
    );
}

#[test]
fn operations_of_the_vercel_ai_sdk_are_runs_calls_and_tools() {
    assert_rows(
        "vercel5.json",
        &[
            (
                "SELECT agent, input, summary, tokens_input, tokens_output FROM sessions",
                &["desk | Weather? | Sunny. | 25 | 7"],
            ),
            (
                "SELECT kind, module, input FROM steps ORDER BY id",
                &[
                    "chain | ai.generateText | Weather?",
                    "llm | ai.generateText.doGenerate | Weather?",
                    "tool | get_weather | {\"city\":\"Lisbon\"}",
                ],
            ),
            (
                "SELECT id, chosen_option, rationale FROM decisions",
                &["call_mVX2uvL7TRiSe2YNdOEh9AbC | get_weather | Let me look."],
            ),
        ],
    );
    assert_rows(
        "10-langfuse-4408-vercel-ai-spans.traces.json",
        &[
            (
                "SELECT conversation_id, input, summary, tokens_input, tokens_output FROM sessions ORDER BY id",
                &[
                    "chat-9 | Weather and time in Oslo? | Rain, noon. | 100 | 30",
                    "chat-9 | Two names | {\"names\": [\"Ann\", \"Bob\"]} | 5 | 6",
                ],
            ),
            (
                "SELECT chosen_option, json_array_length(options_considered) FROM decisions ORDER BY id",
                &["getWeather | 2", "getTime | 2"],
            ),
        ],
    );
}

#[test]
fn a_run_of_an_agent_without_an_operation_is_no_call_of_a_model() {
    assert_rows(
        "05-pydantic-ai-3995-agent-run-aggregate.traces.json",
        &[
            (
                "SELECT tokens_input, tokens_output FROM sessions ORDER BY id",
                &["113 | 11", "113 | 11", "113 | 11"],
            ),
            ("SELECT kind, count(*) FROM steps GROUP BY kind ORDER BY kind", &["agent | 3", "llm | 6"]),
        ],
    );
}

#[test]
fn tokens_that_an_agent_repeats_are_counted_once() {
    assert_rows(
        "06-strands-1267-tokens-on-parent-and-child.traces.json",
        &[("SELECT tokens_input, tokens_output FROM sessions", &["300 | 30"])],
    );
}

#[test]
fn each_of_several_calls_is_a_decision_whatever_its_id() {
    assert_rows(
        "11-continue-13223-parallel-tool-calls.traces.json",
        &[
            (
                "SELECT session_id, group_concat(chosen_option, ', ') FROM (SELECT session_id, chosen_option FROM decisions ORDER BY session_id, id) GROUP BY session_id ORDER BY session_id",
                &[
                    "00000000000000000000000000001101 | search, search, clock",
                    "00000000000000000000000000001102 | search, search",
                    "00000000000000000000000000001103 | search, search",
                    "00000000000000000000000000001104 | search, search",
                    "00000000000000000000000000001105 | search, search, clock",
                    "00000000000000000000000000001106 | clock, search",
                    "00000000000000000000000000001107 | search, clock",
                    "00000000000000000000000000001108 | search",
                ],
            ),
            ("SELECT output FROM steps WHERE session_id LIKE '%1109'", &["I cannot do that"]),
        ],
    );
}

#[test]
fn the_conversation_is_found_wherever_it_stands() {
    assert_rows(
        "14-langfuse-7183-session-only-on-child.traces.json",
        &[
            (
                "SELECT substr(id, 29), conversation_id FROM sessions ORDER BY id",
                &["1401 | thr-5", "1402 | thr-5", "1403 | thr-5", "1404 | thr-5", "1405 | -", "1406 | thr-5"],
            ),
            (
                "SELECT substr(session_id, 29), kind, input, output, tokens_input, tokens_output, cost_usd FROM steps WHERE substr(session_id, 29) IN ('1403', '1405') ORDER BY 1",
                &["1403 | llm | hi | ho | 11 | 3 | 0.5", "1405 | llm | hi | ho | 11 | 3 | -"],
            ),
        ],
    );
}

#[test]
fn a_score_of_zero_is_a_score() {
    assert_rows(
        "18-phoenix-7367-zero-scores.traces.json",
        &[(
            "SELECT pattern_type, evidence ->> '$.score' FROM findings WHERE category = 'evaluation' AND pattern_type IS NOT 'huge' ORDER BY session_id, id",
            &[
                "bool | 0",
                "- | 0.5",
                "nan | \"NaN\"",
                "text | 0.25",
                "twice | 0.5",
                "zero | 0",
                "zerof | 0",
                "eval | 0",
                "eval | 0",
                "human | 0",
            ],
        )],
    );
}

#[test]
fn whatever_an_event_of_a_span_says_is_found() {
    let Some(body) = case("23-events-extra-attributes.traces.json") else { return };
    recorded("/v1/traces", body, |log| {
        for needle in ('A'..='O').map(|letter| format!("needle{letter}")) {
            let query = format!(
                "SELECT (SELECT count(*) FROM steps WHERE concat_ws(' ', input, output, error, attributes) LIKE '%{needle}%')
                 + (SELECT count(*) FROM findings WHERE concat_ws(' ', pattern_type, title, description, evidence) LIKE '%{needle}%') > 0"
            );
            assert_eq!(rows(log, &query), ["1"], "{needle} in no row");
            let search = format!("SELECT count(*) > 0 FROM search WHERE search MATCH '{needle}'");
            assert_eq!(rows(log, &search), ["1"], "{needle} not found by search");
        }
    });
}

#[test]
fn a_session_whose_root_says_nothing_has_the_question_and_answer_of_its_calls() {
    assert_rows(
        "remote-flag.json",
        &[("SELECT status, input, summary FROM sessions", &["completed | side question | side answer"])],
    );
}

#[test]
fn a_session_whose_agent_failed_has_failed_although_its_root_reports_success() {
    assert_rows(
        "agent-failed-root-ok.json",
        &[
            (
                "SELECT status, error, error_count, finding_count FROM sessions",
                &["failed | Error in agent run | 1 | 1"],
            ),
            (
                "SELECT id, status FROM steps ORDER BY id",
                &["0000000000000001 | ok", "0000000000000002 | error"],
            ),
        ],
    );
}

#[test]
fn usage_of_an_agent_or_an_embedding_counts_if_no_step_below_has_any() {
    assert_rows(
        "28-semconv-genai-19-usage-on-agent-only.traces.json",
        &[(
            "SELECT tokens_input, tokens_output, cost_usd FROM sessions ORDER BY id",
            &["500 | 60 | 0.25", "500 | 60 | 0.25", "500 | 60 | 0.25", "500 | 60 | 0.25", "500 | 60 | -"],
        )],
    );
}

/// A span that failed with an exception, as JSON.
fn failed(id: u8, parent: &str, message: &str) -> serde_json::Value {
    serde_json::json!({
        "traceId": "00000000000000000000000000000009", "spanId": format!("{id:016x}"), "parentSpanId": parent,
        "name": format!("level {id}"), "startTimeUnixNano": "1795176000000000000",
        "endTimeUnixNano": format!("{}", 1_795_176_005_000_000_000_u64 - u64::from(id)),
        "status": {"code": 2, "message": message},
        "events": [{"name": "exception", "attributes": [
            {"key": "exception.type", "value": {"stringValue": "TimeoutError"}},
            {"key": "exception.message", "value": {"stringValue": message}},
        ]}],
    })
}

#[test]
fn an_exception_that_climbs_is_one_finding_where_it_began() {
    let spans = [
        failed(1, "", "no answer"),
        failed(2, "0000000000000001", "no answer"),
        failed(3, "0000000000000002", "no answer"),
        failed(4, "0000000000000002", "another"),
    ];
    // Parents first, and children first.
    for order in [[0, 1, 2, 3], [3, 2, 1, 0]] {
        let spans: Vec<_> = order.iter().map(|place| &spans[*place]).collect();
        let body = serde_json::json!({"resourceSpans": [{"scopeSpans": [{"spans": spans}]}]}).to_string();
        recorded("/v1/traces", body, |log| {
            assert_eq!(
                rows(log, "SELECT step_id, description FROM findings ORDER BY step_id"),
                ["0000000000000003 | no answer", "0000000000000004 | another"]
            );
            assert_eq!(
                rows(log, "SELECT status, error_count, finding_count FROM sessions"),
                ["failed | 4 | 2"]
            );
        });
    }
}

#[test]
fn spans_that_contain_each_other_are_recorded_as_they_are() {
    let spans = [
        failed(1, "0000000000000002", "no answer"),
        failed(2, "0000000000000001", "no answer"),
        failed(3, "0000000000000003", "no answer"),
    ];
    let body = serde_json::json!({"resourceSpans": [{"scopeSpans": [{"spans": spans}]}]}).to_string();
    recorded("/v1/traces", body, |log| {
        assert_eq!(rows(log, "SELECT count(*) FROM steps WHERE status = 'error'"), ["3"]);
    });
}
