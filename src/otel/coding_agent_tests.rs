//! The events of coding agents: Claude Code, Codex and Gemini CLI.

use serde_json::{Value, json};

use super::tests::{Means, attributes, means};
use super::{Rank, precedence::Precedence};
use crate::event::{Json, OtelLog, Severity, StepEnd, StepKind};

/// 2026-11-20T12:00:10Z.
const AT: i64 = 1_795_176_010_000_000;

fn of(service: &str, scope: &str, mut said: Value, members: Value) -> Means {
    said.as_object_mut().unwrap().insert("session.id".into(), json!("s-1"));
    let mut record = json!({"timeUnixNano": (AT * 1_000).to_string(), "attributes": attributes(&said)});
    record.as_object_mut().unwrap().extend(members.as_object().unwrap().clone());
    means(OtelLog {
        log_record: Json::of(&record).unwrap(),
        resource: Some(
            Json::of(
                &json!({"attributes": attributes(&json!({"service.name": service, "service.version": "9"}))}),
            )
            .unwrap(),
        ),
        scope: Some(Json::of(&json!({"name": scope})).unwrap()),
        ..OtelLog::default()
    })
}

fn claude(said: Value) -> Means {
    of("claude-code", "com.anthropic.claude_code.events", said, json!({}))
}

fn codex(said: Value) -> Means {
    of("codex_cli_rs", "codex_otel", said, json!({}))
}

fn gemini(said: Value) -> Means {
    of("gemini-cli", "gemini-cli", said, json!({}))
}

impl Means {
    fn precedence_of_last_end(&self) -> Precedence {
        self.0
            .iter()
            .rev()
            .find(|meaning| matches!(*meaning.event, super::Event::StepEnded(_)))
            .unwrap()
            .precedence
            .unwrap()
    }

    /// Times of the step, in milliseconds before the record.
    fn times(&self) -> (Option<i64>, Option<i64>) {
        let time = |is: fn(&super::Event) -> bool| {
            let found = self.0.iter().rev().find(|meaning| is(&meaning.event))?;
            Some((AT - found.at?.micros()) / 1_000)
        };
        (
            time(|event| matches!(event, super::Event::StepStarted(_))),
            time(|event| matches!(event, super::Event::StepEnded(_))),
        )
    }
}

#[test]
fn a_prompt_is_the_input_of_its_session_unless_it_is_withheld() {
    let prompts = [
        claude(json!({"event.name": "user_prompt", "prompt": "Rename foo", "prompt_length": "10"})),
        codex(json!({"event.name": "codex.user_prompt", "prompt": "Rename foo", "prompt_length": "10"})),
        gemini(json!({"event.name": "gemini_cli.user_prompt", "prompt": "Rename foo", "prompt_length": 10})),
    ];
    for prompt in prompts {
        assert_eq!(prompt.session_started()[0].input.as_deref(), Some("Rename foo"));
        assert_eq!(prompt.notes()[0].attributes["prompt"].as_str(), "\"Rename foo\"");
        assert_eq!((prompt.step_started().len(), prompt.step_ended().len()), (0, 0));
    }
    for withheld in ["<REDACTED>", "[REDACTED]"] {
        let prompt = claude(json!({"event.name": "user_prompt", "prompt": withheld}));
        assert_eq!(prompt.session_started()[0].input, None);
    }
}

#[test]
fn the_first_record_of_a_session_has_precedence_and_its_start_has_more() {
    let rank_and_order = |means: &Means| {
        let session =
            means.0.iter().find(|meaning| matches!(*meaning.event, super::Event::SessionStarted(_)));
        session.map(|meaning| (meaning.precedence.unwrap().rank, meaning.precedence.unwrap().order)).unwrap()
    };
    let prompt = claude(json!({"event.name": "user_prompt"}));
    let request = claude(json!({"event.name": "api_request", "input_tokens": 1, "duration_ms": 500}));
    assert_eq!(rank_and_order(&prompt), (Rank::Log, -AT * 1_000));
    assert_eq!(rank_and_order(&request), (Rank::Log, -(AT - 500_000) * 1_000));
    assert_eq!(rank_and_order(&codex(json!({"event.name": "codex.conversation_starts"}))).0, Rank::Run);
}

#[test]
fn a_conversation_starts_with_its_model_version_and_settings() {
    let codex =
        codex(json!({"event.name": "codex.conversation_starts", "model": "gpt-x", "app.version": "0.40.0",
        "approval_policy": "on-request", "conversation.id": "s-1"}));
    let started = codex.session_started()[0];
    assert_eq!(
        (started.agent.as_deref(), started.agent_version.as_deref(), started.model.as_deref()),
        (Some("codex"), Some("0.40.0"), Some("gpt-x"))
    );
    assert_eq!(
        (started.profile.as_deref(), started.source.as_deref()),
        (Some("codex_cli_rs"), Some("codex_otel"))
    );
    assert_eq!(started.conversation.as_deref(), Some("s-1"));
    assert_eq!(started.attributes["approval_policy"].as_str(), "\"on-request\"");
    assert_eq!(started.attributes["service.version"].as_str(), "\"9\"");
    assert!(!started.attributes.contains_key("model"), "a column has it");

    let gemini =
        gemini(json!({"event.name": "gemini_cli.config", "model": "gemini-x", "approval_mode": "default"}));
    let started = gemini.session_started()[0];
    // The version in its resource is that of Node.
    assert_eq!(
        (started.agent.as_deref(), started.agent_version.as_deref(), started.model.as_deref()),
        (Some("gemini-cli"), None, Some("gemini-x"))
    );
    assert_eq!(started.attributes["approval_mode"].as_str(), "\"default\"");
}

#[test]
fn a_call_of_a_model_is_a_step_with_tokens_cost_and_duration() {
    let claude = claude(
        json!({"event.name": "api_request", "model": "claude-x", "input_tokens": "12", "output_tokens": "210",
        "cache_read_tokens": "9000", "cost_usd": "0.0421", "duration_ms": "1800", "request_id": "req_011", "query_source": "compact",
        "prompt.id": "p-1", "event.sequence": 3, "user.id": "u"}),
    );
    let (started, ended) = (*claude.step_started().last().unwrap(), *claude.step_ended().last().unwrap());
    assert_eq!(
        (started.step.as_str(), started.kind, started.model.as_deref()),
        ("req_011", Some(StepKind::Llm), Some("claude-x"))
    );
    assert_eq!(started.module.as_deref(), Some("compact"));
    assert_eq!(
        (ended.tokens_input, ended.tokens_output, ended.tokens_cache_read, ended.cost_usd),
        // Claude Code counts the cached tokens apart.
        (Some(9_012), Some(210), Some(9_000), Some(0.0421))
    );
    assert_eq!((claude.times(), ended.status), ((Some(1_800), Some(0)), StepEnd::Ok));
    assert!(!started.attributes.contains_key("cache_read_tokens"), "a column has it");
    assert!(!started.attributes.contains_key("cost_usd"), "a column has it");
    assert_eq!(claude.notes()[0].step.as_ref().unwrap().as_str(), "req_011");
    assert_eq!(claude.precedence_of_last_end().rank, Rank::Root);
    assert_eq!(claude.session_started()[0].labels["user"], "u");
}

#[test]
fn without_the_id_of_a_request_prompt_and_index_identify_the_call() {
    let placed =
        claude(json!({"event.name": "claude_code.api_request", "input_tokens": 1, "cost_usd_micros": 42100,
        "prompt.id": "p-1", "event.sequence": 3}));
    assert_eq!((placed.started().step.as_str(), placed.ended().cost_usd), ("p-1:3", Some(0.0421)));
    // Without a duration its start is not known.
    assert_eq!(placed.times(), (None, Some(0)));
}

#[test]
fn the_last_event_of_a_stream_is_the_call_and_the_others_are_notes() {
    let said = json!({"event.name": "codex.sse_event", "event.kind": "response.completed", "model": "gpt-x",
        "input_token_count": "1200", "output_token_count": "90", "cached_token_count": "1000", "reasoning_token_count": "64"});
    let completed = codex(said);
    let (started, ended) =
        (*completed.step_started().last().unwrap(), *completed.step_ended().last().unwrap());
    assert_eq!((started.kind, started.model.as_deref()), (Some(StepKind::Llm), Some("gpt-x")));
    assert_eq!((ended.tokens_input, ended.tokens_output), (Some(1200), Some(90)));
    assert_eq!((ended.tokens_cache_read, ended.tokens_reasoning), (Some(1000), Some(64)));
    for note in [
        json!({"event.name": "codex.sse_event", "event.kind": "response.completed", "duration_ms": "3"}),
        json!({"event.name": "codex.sse_event", "event.kind": "response.created", "duration_ms": "3"}),
        json!({"event.name": "codex.api_request", "duration_ms": "300", "http.response.status_code": 200, "attempt": 0}),
        json!({"event.name": "gemini_cli.api_request", "model": "m", "prompt_id": "p"}),
    ] {
        let means = codex(note);
        assert_eq!((means.notes().len(), means.step_started().len()), (1, 0));
    }
}

#[test]
fn a_failed_call_of_a_model_is_a_failed_step_and_a_finding() {
    let failures = [
        claude(
            json!({"event.name": "api_error", "model": "m", "error": "Overloaded", "status_code": "529", "duration_ms": "50", "request_id": "r"}),
        ),
        codex(
            json!({"event.name": "codex.api_request", "model": "m", "error.message": "Overloaded", "http.response.status_code": 529, "duration_ms": "50", "auth.request_id": "r"}),
        ),
        gemini(
            json!({"event.name": "gemini_cli.api_error", "model": "m", "error": "Overloaded", "error.message": "Overloaded", "status_code": 529, "duration_ms": 50, "duration": 50}),
        ),
    ];
    for failed in failures {
        let ended = *failed.step_ended().last().unwrap();
        assert_eq!((ended.status, ended.error.as_deref()), (StepEnd::Error, Some("529: Overloaded")));
        assert_eq!(failed.times(), (Some(50), Some(0)));
        let finding = failed.findings()[0];
        assert_eq!(failed.findings().len(), 1);
        assert_eq!(
            (finding.category.as_deref(), finding.severity, finding.pattern_type.as_deref()),
            (Some("error"), Some(Severity::High), Some("529"))
        );
        assert_eq!(finding.step.as_ref(), Some(&ended.step));
    }
    let failed = codex(
        json!({"event.name": "codex.sse_event", "event.kind": "response.completed", "error.message": "stream ended"}),
    );
    assert_eq!(failed.step_ended().last().unwrap().error.as_deref(), Some("stream ended"));
}

#[test]
fn an_answer_is_the_output_of_the_step_with_the_same_request() {
    let answer =
        claude(json!({"event.name": "assistant_response", "response": "Done.", "request_id": "req_011"}));
    assert_eq!((answer.ended().step.as_str(), answer.ended().output.as_deref()), ("req_011", Some("Done.")));
    assert_eq!(answer.precedence_of_last_end().rank, Rank::Log, "it does not end the step");
    let withheld = claude(
        json!({"event.name": "assistant_response", "response": "<REDACTED>", "request_id": "req_011"}),
    );
    assert_eq!(withheld.step_ended().len(), 0);
}

#[test]
fn a_permission_is_a_decision_of_the_tools_step() {
    let decisions = [
        (
            claude(
                json!({"event.name": "tool_decision", "tool_name": "Edit", "tool_use_id": "toolu_01A09q90qw90", "decision": "accept", "source": "user_temporary"}),
            ),
            "accept",
            "user",
        ),
        (
            claude(
                json!({"event.name": "tool_decision", "tool_name": "Edit", "tool_use_id": "toolu_01A09q90qw90", "decision": "accept", "source": "hook"}),
            ),
            "accept",
            "hook",
        ),
        (
            claude(
                json!({"event.name": "tool_decision", "tool_name": "Edit", "tool_use_id": "toolu_01A09q90qw90", "decision": "reject", "source": "config"}),
            ),
            "reject",
            "configuration",
        ),
        (
            codex(
                json!({"event.name": "codex.tool_decision", "tool_name": "shell", "call_id": "toolu_01A09q90qw90", "decision": "approved_for_session", "source": "user"}),
            ),
            "accept",
            "user",
        ),
        (
            codex(
                json!({"event.name": "codex.tool_decision", "tool_name": "shell", "call_id": "toolu_01A09q90qw90", "decision": "abort", "source": "automated_reviewer"}),
            ),
            "reject",
            "automated_reviewer",
        ),
    ];
    for (means, chosen, actor) in decisions {
        let decision = means.decisions()[0];
        assert_eq!(decision.decision.as_str(), "toolu_01A09q90qw90:approval");
        assert_eq!(
            (decision.decision_type.as_deref(), decision.chosen_option.as_deref()),
            (Some("tool"), Some(chosen))
        );
        assert_eq!(decision.actor.as_deref(), Some(actor));
        let options: Vec<&str> =
            decision.options_considered.iter().map(|option| option.option.as_str()).collect();
        assert_eq!(options, ["accept", "reject"]);
        assert!(decision.attributes.contains_key("tool_name") && decision.attributes.contains_key("source"));
        // A call that is allowed runs until its result comes; one that is refused is cancelled.
        let ends: Vec<StepEnd> = means.step_ended().iter().map(|ended| ended.status).collect();
        assert_eq!(means.step_started().len(), 1);
        assert!(ends.iter().all(|end| *end == StepEnd::Cancelled));
        assert_eq!(ends.is_empty(), chosen == "accept");
    }
    // Without the id of the call it is not known which step the decision is about.
    let unknown = claude(
        json!({"event.name": "tool_decision", "tool_name": "Edit", "decision": "accept", "prompt.id": "p-1", "event.sequence": 4}),
    );
    let decision = unknown.decisions()[0];
    assert_eq!((decision.decision.as_str(), decision.step.as_ref()), ("p-1:4:approval", None));
    assert_eq!(unknown.step_started().len(), 0);
}

#[test]
fn the_result_of_a_tool_is_a_step() {
    let codex = codex(
        json!({"event.name": "codex.tool_result", "tool_name": "shell", "call_id": "call_9Qw8Er7Ty6",
        "arguments": "{\"command\":[\"pytest\"]}", "duration_ms": "900", "success": "true", "output": "3 passed", "mcp_server": ""}),
    );
    let (started, ended) = (codex.started(), codex.ended());
    assert_eq!(
        (started.step.as_str(), started.kind, started.module.as_deref()),
        ("call_9Qw8Er7Ty6", Some(StepKind::Tool), Some("shell"))
    );
    assert_eq!(
        (started.input.as_deref(), ended.output.as_deref()),
        (Some("{\"command\":[\"pytest\"]}"), Some("3 passed"))
    );
    assert_eq!(
        (codex.times(), ended.status, codex.decisions().len()),
        ((Some(900), Some(0)), StepEnd::Ok, 0)
    );

    let claude = claude(
        json!({"event.name": "tool_result", "tool_name": "Bash", "tool_use_id": "toolu_01A09q90qw90", "success": "false",
        "error_type": "ShellError", "error": "exit 1", "duration_ms": "20", "tool_parameters": "{\"bash_command\":\"ls\"}", "decision_source": "config"}),
    );
    let ended = claude.ended();
    assert_eq!((ended.status, ended.error.as_deref()), (StepEnd::Error, Some("ShellError: exit 1")));
    assert_eq!(claude.started().input.as_deref(), Some("{\"bash_command\":\"ls\"}"));
    assert_eq!(
        (claude.findings().len(), claude.started().attributes["decision_source"].as_str()),
        (0, "\"config\"")
    );

    let gemini = gemini(
        json!({"event.name": "gemini_cli.tool_call", "function_name": "read_file", "function_args": "{\"path\":\"a\"}",
        "duration_ms": 7, "success": true, "decision": "auto_accept", "prompt_id": "p"}),
    );
    assert_eq!(
        (gemini.started().module.as_deref(), gemini.started().input.as_deref()),
        (Some("read_file"), Some("{\"path\":\"a\"}"))
    );
    assert_eq!((gemini.ended().status, gemini.times()), (StepEnd::Ok, (Some(7), Some(0))));
    let decision = gemini.decisions()[0];
    assert_eq!(
        (decision.chosen_option.as_deref(), decision.step.as_ref()),
        (Some("accept"), Some(&gemini.started().step))
    );
}

#[test]
fn an_id_that_other_calls_have_as_well_does_not_join_them() {
    let result = |at: &str| {
        codex(
            json!({"event.name": "codex.tool_result", "event.timestamp": at, "tool_name": "shell", "call_id": "call_1", "success": "true"}),
        )
    };
    let (first, second) = (result("2026-11-20T12:00:05.000Z"), result("2026-11-20T12:00:06.000Z"));
    assert_ne!(first.started().step, second.started().step);
}

#[test]
fn the_two_records_of_a_call_are_one_step() {
    let moment = "2026-11-20T12:00:05.123Z";
    let response = gemini(
        json!({"event.name": "gemini_cli.api_response", "event.timestamp": moment, "model": "m", "duration_ms": 800,
        "input_token_count": 25, "output_token_count": 7, "cached_content_token_count": 3, "status_code": 200, "response_text": "raw"}),
    );
    let details = of(
        "gemini-cli",
        "gemini-cli",
        json!({"event.name": "gen_ai.client.inference.operation.details", "event.timestamp": moment, "gen_ai.request.model": "m",
            "gen_ai.operation.name": "generate_content", "gen_ai.response.id": "resp", "gen_ai.usage.input_tokens": 25,
            "gen_ai.usage.output_tokens": 7, "gen_ai.output.messages": [{"role": "assistant", "parts": [{"type": "text", "content": "No."}]}]}),
        json!({"timeUnixNano": (AT * 1_000 + 77).to_string(), "traceId": "00000000000000000000000000000002", "spanId": "00000000000000a1"}),
    );
    assert_eq!(response.started().step, details.started().step);
    assert_eq!(details.ended().output.as_deref(), Some("No."));
    // The response knows more of the call, and the details have its texts.
    let by_rank = |means: &Means| means.precedence_of_last_end();
    assert!(by_rank(&response) > by_rank(&details));
    assert_eq!(response.step_ended().last().unwrap().output, None);
    let texts = response
        .0
        .iter()
        .find(|meaning| matches!(&*meaning.event, super::Event::StepEnded(e) if e.output.is_some()))
        .unwrap();
    assert!(texts.precedence.unwrap() < by_rank(&details));
    assert_eq!(details.notes()[0].attributes["otel.span_id"].as_str(), "\"00000000000000a1\"");

    // The record of the request is a note: the one of the response has all that it says.
    let request = gemini(
        json!({"event.name": "gen_ai.client.inference.operation.details", "gen_ai.request.model": "m",
        "gen_ai.input.messages": [{"role": "user", "parts": [{"type": "text", "content": "Rain?"}]}]}),
    );
    assert_eq!((request.notes().len(), request.step_started().len()), (1, 0));
}

#[test]
fn what_an_agent_reports_beyond_that_is_a_note_of_its_session() {
    let hook = claude(json!({"event.name": "hook_execution_start", "hook_event": "Stop"}));
    assert_eq!((hook.notes().len(), hook.session_started().len(), hook.0.len()), (1, 1, 2));
    assert_eq!(hook.notes()[0].message, "hook_execution_start");
}

#[test]
fn the_attribute_event_name_is_the_name_and_the_field_is_kept_beside_it() {
    let codex = of(
        "codex_cli_rs",
        "codex_otel",
        json!({"event.name": "codex.tool_result", "tool_name": "exec_command"}),
        json!({"eventName": "event otel/src/tool_result.rs:54", "spanId": "0000000000000001", "traceId": "00000000000000000000000000000001"}),
    );
    let note = codex.notes()[0];
    assert_eq!(note.attributes["event.name"].as_str(), "\"codex.tool_result\"");
    assert_eq!(note.attributes["eventName"].as_str(), "\"event otel/src/tool_result.rs:54\"");
    assert_eq!(note.message, "codex.tool_result");
    assert_eq!(
        (codex.started().kind, codex.started().module.as_deref()),
        (Some(StepKind::Tool), Some("exec_command"))
    );
    let same = of("x", "y", json!({"event.name": "started"}), json!({"eventName": "started"}));
    assert!(!same.notes()[0].attributes.contains_key("eventName"));
}

#[test]
fn every_meaning_of_a_coding_agent_can_be_recorded() {
    let long = "x".repeat(500);
    for name in [
        "codex.tool_result",
        "codex.tool_decision",
        "codex.sse_event",
        "codex.api_request",
        "claude_code.assistant_response",
    ] {
        for id in [long.as_str(), "a\nb", " "] {
            let said = json!({"event.name": name, "event.kind": "response.completed", "call_id": id, "request_id": id, "tool_name": "t\nu",
                "duration_ms": "1e300", "success": "maybe", "decision": long, "input_token_count": u64::MAX.to_string(), "error": long,
                "cost_usd": "NaN", "response": "r"});
            for meaning in codex(said).0 {
                let session = Some(crate::event::SessionId::new("s").unwrap());
                let draft = crate::event::Draft {
                    id: None,
                    session,
                    at: meaning.at,
                    event: meaning.event.clone().into_owned(),
                };
                assert_eq!(draft.check(), Ok(()), "{:?}", meaning.event);
            }
        }
    }
}

#[test]
fn a_negative_cost_of_a_call_has_no_column_and_stays_an_attribute() {
    for name in ["cost_usd", "cost_usd_micros"] {
        let call = claude(json!({"event.name": "api_request", "input_tokens": 1, name: -0.5}));
        assert_eq!(call.ended().cost_usd, None);
        assert_eq!(call.started().attributes[name].as_str(), "-0.5");
    }
}

#[test]
fn a_refusal_has_precedence_over_a_failed_result_but_not_over_a_successful_one() {
    let said = |more: Value| {
        let mut said = json!({"tool_name": "Edit", "tool_use_id": "toolu_01A09q90qw90"});
        said.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        claude(said)
    };
    let refusal = said(json!({"event.name": "tool_decision", "decision": "reject", "source": "user_reject"}));
    let failed = said(json!({"event.name": "tool_result", "success": "false", "error": "rejected"}));
    let succeeded = said(json!({"event.name": "tool_result", "success": "true"}));
    let status = |means: [&Means; 2]| {
        let ends = means.into_iter().flat_map(|means| &means.0).filter_map(|meaning| match &*meaning.event {
            super::Event::StepEnded(ended) => Some((meaning.precedence, ended.status, meaning.at)),
            _ => None,
        });
        let best = ends.clone().max_by_key(|(precedence, ..)| *precedence).unwrap();
        let timed =
            ends.filter(|(_, _, at)| at.is_some()).max_by_key(|(precedence, ..)| *precedence).unwrap();
        (best.1, timed.1)
    };
    // The time of the end is that of the result, if there is one.
    assert_eq!(status([&refusal, &failed]), (StepEnd::Cancelled, StepEnd::Error));
    assert_eq!(status([&failed, &refusal]), (StepEnd::Cancelled, StepEnd::Error));
    assert_eq!(status([&refusal, &succeeded]), (StepEnd::Ok, StepEnd::Ok));
    assert_eq!(status([&refusal, &refusal]), (StepEnd::Cancelled, StepEnd::Cancelled));
    // Gemini CLI has the decision in the record of the result.
    let result = |success: bool| {
        gemini(
            json!({"event.name": "gemini_cli.tool_call", "function_name": "edit", "success": success, "decision": "reject"}),
        )
    };
    let (failed, succeeded) = (result(false), result(true));
    assert_eq!(status([&failed, &failed]).0, StepEnd::Cancelled);
    assert_eq!(status([&succeeded, &succeeded]).0, StepEnd::Ok);
}
