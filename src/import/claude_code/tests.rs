use std::collections::BTreeMap;

use super::super::test_support::{all, collect, ended, started};
use super::super::{ImportError, Imported};
use super::claude_code;
use crate::{Draft, Event, SessionEnd, StepEnd, StepEnded, StepKind};

const SESSION: &str = include_str!("../../../tests/fixtures/agents/claude-code.jsonl");
const SUBAGENT: &str = include_str!("../../../tests/fixtures/agents/claude-code-subagent.jsonl");

fn import(text: &str) -> (Vec<Draft>, Result<Imported, ImportError>) {
    collect(|sink| claude_code(text.as_bytes(), &mut Err, sink))
}

fn import_all(text: &str) -> Vec<Draft> {
    let (drafts, imported) = import(text);
    imported.unwrap();
    drafts
}

#[test]
fn a_file_is_a_session_named_by_its_lines() {
    let drafts = import_all(SESSION);
    let [session] = all!(drafts, SessionStarted)[..] else { panic!("one session") };
    // The first question, and neither the message of a command nor that of a sidechain.
    assert_eq!(session.input.as_deref(), Some("Why does the checkout test fail?"));
    assert_eq!(session.model.as_deref(), Some("claude-sonnet-4-5-20250929"));
    assert_eq!(session.agent.as_deref(), Some("Claude Code"));
    assert_eq!(session.agent_version.as_deref(), Some("2.1.30"));
    assert_eq!(session.conversation.as_deref(), Some("0d9f3c52-77aa-4c1e-9b57-5a3e1c0f2b11"));
    assert_eq!(session.labels["cwd"], "/home/dev/shop");
    for draft in &drafts {
        let id = draft.session.as_ref().unwrap().as_str();
        assert_eq!(id, "claude-code/0d9f3c52-77aa-4c1e-9b57-5a3e1c0f2b11");
    }
}

#[test]
fn the_lines_of_an_answer_are_one_step_and_its_usage_counts_once() {
    let drafts = import_all(SESSION);
    let first = started(&drafts, "msg_01A");
    assert_eq!((first.kind, first.parent_step.as_ref()), (Some(StepKind::Llm), None));
    assert_eq!(first.input.as_deref(), Some("Why does the checkout test fail?"));
    let end = ended(&drafts, "msg_01A");
    assert_eq!(end.output.as_deref(), Some("(reasoning) The test first.\nI run the test."));
    // Only the last line has the whole output's tokens.
    assert_eq!((end.tokens_output, end.tokens_cache_read), (Some(97), Some(15_030)));
    let usage: serde_json::Value = serde_json::from_str(end.attributes["usage"].as_str()).unwrap();
    let written = usage["cache_creation_input_tokens"].as_u64().unwrap();
    assert_eq!(end.tokens_input, Some(4 + 15_030 + written));
    assert_eq!(end.attributes["stop_reason"].as_str(), r#""tool_use""#);
    assert!(end.attributes["usage"].as_str().contains(r#""cache_read_input_tokens":15030"#));
    assert!(end.attributes["lines"].as_str().contains("c2lnbmF0dXJl"));
    // The results of both tools came before the next answer, which is that of the sidechain's end.
    let next = started(&drafts, "msg_02A");
    assert_eq!(next.input.as_deref(), Some("Go on, and fix it."));
}

/// Sums over the lines of a file, made without the importer.
#[test]
fn tokens_calls_and_failures_are_those_of_the_file() {
    let drafts = import_all(SESSION);
    let (mut usage, mut calls, mut failures): (BTreeMap<_, (u64, u64)>, _, _) = (BTreeMap::new(), 0, 0);
    for line in SESSION.lines() {
        let line: serde_json::Value = serde_json::from_str(line).unwrap();
        let message = &line["message"];
        if let (Some(id), Some(tokens)) = (message["id"].as_str(), message["usage"].as_object()) {
            let count = |name: &str| tokens[name].as_u64().unwrap();
            let input = ["input_tokens", "cache_read_input_tokens", "cache_creation_input_tokens"];
            let input = input.iter().filter(|name| tokens.contains_key(**name)).map(|name| count(name)).sum();
            usage.insert(id.to_owned(), (input, count("output_tokens")));
        }
        for block in message["content"].as_array().into_iter().flatten() {
            calls += usize::from(block["type"] == "tool_use");
            failures += usize::from(block["is_error"] == true);
        }
        failures += usize::from(line["isApiErrorMessage"] == true);
    }
    let ends = all!(drafts, StepEnded);
    let sum = |tokens: fn(&StepEnded) -> Option<u64>| ends.iter().filter_map(|end| tokens(end)).sum::<u64>();
    assert_eq!(sum(|end| end.tokens_input), usage.values().map(|(input, _)| *input).sum::<u64>());
    assert_eq!(sum(|end| end.tokens_output), usage.values().map(|(_, output)| *output).sum::<u64>());
    assert_eq!(all!(drafts, DecisionMade).len(), calls);
    assert_eq!(ends.iter().filter(|end| end.status == StepEnd::Error).count(), failures);
    let started = all!(drafts, StepStarted);
    assert_eq!(started.iter().filter(|step| step.kind == Some(StepKind::Llm)).count(), usage.len());
}

#[test]
fn a_tool_call_is_a_decision_and_a_step_with_its_result() {
    let drafts = import_all(SESSION);
    let decisions = all!(drafts, DecisionMade);
    let bash = decisions.iter().find(|made| made.decision.as_str() == "toolu_01Bash0001").unwrap();
    assert_eq!(bash.decision_type.as_deref(), Some("tool"));
    assert_eq!(bash.chosen_option.as_deref(), Some("Bash"));
    assert!(bash.options_considered.is_empty());
    assert_eq!(bash.rationale.as_deref(), Some("The test first.\nI run the test."));
    assert_eq!(bash.step.as_ref().unwrap().as_str(), "msg_01A");
    let step = started(&drafts, "toolu_01Bash0001");
    assert_eq!((step.kind, step.module.as_deref()), (Some(StepKind::Tool), Some("Bash")));
    assert_eq!(step.parent_step.as_ref().unwrap().as_str(), "msg_01A");
    assert_eq!(step.input.as_deref(), Some(r#"{"command":"npm test","description":"Run the tests"}"#));
    let end = ended(&drafts, "toolu_01Bash0001");
    assert_eq!(end.status, StepEnd::Error);
    assert_eq!(end.output.as_deref(), Some("Exit code 1\nexpected 3, got 2"));
    assert_eq!(end.error, end.output);
    assert!(end.attributes.contains_key("toolUseResult"));
}

#[test]
fn a_sidechain_is_an_agent_within_the_call_that_started_it() {
    let drafts = import_all(SESSION);
    let agent = started(&drafts, "agent/a17c9e2");
    assert_eq!((agent.kind, agent.module.as_deref()), (Some(StepKind::Agent), Some("Explore")));
    assert_eq!(agent.parent_step.as_ref().unwrap().as_str(), "toolu_01Task0001");
    assert_eq!(started(&drafts, "msg_01S").parent_step.as_ref().unwrap().as_str(), "agent/a17c9e2");
    assert_eq!(started(&drafts, "msg_01S").input.as_deref(), Some("Find where prices are rounded."));
    assert_eq!(started(&drafts, "msg_02S").input.as_deref(), Some("src/price.ts:12"));
    assert_eq!(ended(&drafts, "agent/a17c9e2").output.as_deref(), Some("In src/price.ts, line 12."));
}

#[test]
fn sidechains_without_agent_ids_are_told_apart_by_their_parents() {
    let text = SESSION.replace(r#","agentId":"a17c9e2""#, "");
    // The same sidechain twice, with its lines interleaved.
    let (mut lines, mut others) = (Vec::new(), Vec::new());
    for line in text.lines() {
        lines.push(line.to_owned());
        if line.contains(r#""isSidechain":true"#) {
            let other = line.replace("-8000-0000000000", "-9000-0000000000");
            let other = other.replace("msg_0", "msg_9").replace("toolu_0", "toolu_9");
            lines.push(other.replace("Find where", "Find out where"));
            others.push(line);
        }
    }
    assert_eq!(others.len(), 4);
    let drafts = import_all(&lines.join("\n"));
    let agents: Vec<_> = all!(drafts, StepStarted)
        .into_iter()
        .filter(|step| step.input.is_some() && step.kind == Some(StepKind::Agent))
        .collect();
    assert_eq!(agents.len(), 2);
    for (message, agent) in [("msg_01S", agents[0]), ("msg_91S", agents[1])] {
        assert_eq!(started(&drafts, message).parent_step.as_ref(), Some(&agent.step));
    }
    // Only the first has the prompt of the call.
    assert!(agents[0].parent_step.is_some() && agents[1].parent_step.is_none());
}

#[test]
fn a_file_of_a_sidechain_adds_to_the_session_of_its_lines() {
    let drafts = import_all(SUBAGENT);
    assert!(all!(drafts, SessionStarted).is_empty() && all!(drafts, SessionEnded).is_empty());
    assert_eq!(
        drafts[0].session.as_ref().unwrap().as_str(),
        "claude-code/0d9f3c52-77aa-4c1e-9b57-5a3e1c0f2b11"
    );
    assert_eq!(started(&drafts, "agent/b92d04f").input.as_deref(), Some("Count the tests."));
    assert_eq!(ended(&drafts, "agent/b92d04f").output.as_deref(), Some("There are 41."));
}

#[test]
fn errors_rejections_and_interruptions_are_findings() {
    let drafts = import_all(SESSION);
    let findings: Vec<_> = all!(drafts, FindingRaised)
        .into_iter()
        .map(|finding| {
            (finding.pattern_type.as_deref().unwrap(), finding.step.as_ref().map(|step| step.as_str()))
        })
        .collect();
    assert_eq!(
        findings,
        [
            ("claude_code.api_error", None),
            ("claude_code.api_error", Some("11111111-2222-4333-8444-555555555555")),
            ("claude_code.tool_rejected", Some("toolu_01Edit0001")),
            ("claude_code.interrupted", None),
        ]
    );
    let failed = ended(&drafts, "11111111-2222-4333-8444-555555555555");
    assert_eq!((failed.status, failed.error.as_deref()), (StepEnd::Error, Some("API Error: 529 Overloaded")));
    assert_eq!(all!(drafts, SessionEnded)[0].status, SessionEnd::Cancelled);
    // A turn after it is another last turn.
    let again = SESSION.lines().nth(3).unwrap().replace("-000000000002", "-000000000099");
    let drafts = import_all(&format!("{SESSION}{again}\n"));
    assert_eq!(all!(drafts, SessionEnded)[0].status, SessionEnd::Completed);
}

#[test]
fn an_answer_that_was_stopped_has_failed() {
    let lines: Vec<&str> = SESSION.lines().take(6).collect();
    let stop = r#"{"type":"user","uuid":"x","sessionId":"0d9f3c52-77aa-4c1e-9b57-5a3e1c0f2b11","message":{"role":"user","content":[{"type":"text","text":"[Request interrupted by user]"}]}}"#;
    let drafts = import_all(&format!("{}\n{stop}\n", lines.join("\n")));
    assert_eq!(ended(&drafts, "msg_01A").status, StepEnd::Error);
    assert_eq!(all!(drafts, FindingRaised)[0].step.as_ref().unwrap().as_str(), "msg_01A");
}

#[test]
fn every_other_line_is_a_note_and_no_field_is_lost() {
    let drafts = import_all(SESSION);
    let notes = all!(drafts, NoteLogged);
    let find = |message: &str| *notes.iter().find(|note| note.message == message).unwrap();
    assert!(find("weather-report").data.as_ref().unwrap().as_str().contains(r#""sky":"clear""#));
    assert!(find("Checkout test and rounding").data.as_ref().unwrap().as_str().contains("leafUuid"));
    assert_eq!(find("Conversation compacted").level.as_deref(), Some("info"));
    let summary = find("The person asked for the checkout test; the edit was refused.");
    assert_eq!(summary.attributes["type"].as_str(), r#""compact_summary""#);
    assert!(find("Go on, and fix it.").data.as_ref().unwrap().as_str().contains("iVBORw0KGgo="));
    // Every text and number of the file is somewhere in the events.
    let all: String = drafts.iter().map(|draft| format!("{draft:?}")).collect();
    let mut stack: Vec<serde_json::Value> =
        SESSION.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    while let Some(value) = stack.pop() {
        match value {
            serde_json::Value::Array(items) => stack.extend(items),
            serde_json::Value::Object(mut fields) => {
                // Known by the event's kind, and times by `at`.
                for name in ["type", "role", "timestamp"] {
                    fields.remove(name);
                }
                stack.extend(fields.into_iter().map(|(_, value)| value));
            }
            serde_json::Value::String(text) => {
                let text = text.lines().next().unwrap_or_default();
                assert!(all.contains(text), "{text}");
            }
            serde_json::Value::Number(number) => assert!(all.contains(&number.to_string()), "{number}"),
            _ => {}
        }
    }
}

#[test]
fn another_import_makes_the_same_drafts_and_a_longer_file_changes_none() {
    let whole = import_all(SESSION);
    assert_eq!(import_all(SESSION), whole);
    let by_id = |drafts: Vec<Draft>| -> BTreeMap<_, _> {
        drafts.into_iter().map(|draft| (draft.id.unwrap().to_string(), draft)).collect()
    };
    let lines: Vec<&str> = SESSION.lines().collect();
    let events = whole.len();
    let whole = by_id(whole);
    assert_eq!(whole.len(), events, "every event has an id of its own");
    // The first line names no session, and waits for one that does.
    for end in 2..lines.len() {
        for (id, draft) in by_id(import_all(&lines[..end].join("\n"))) {
            if let Some(later) = whole.get(&id) {
                assert_eq!(*later, draft, "after line {end}");
            } else {
                // Only what depends on later lines is left, and is named by the last line.
                assert!(
                    matches!(
                        draft.event,
                        Event::SessionEnded(_) | Event::StepEnded(_) | Event::SessionStarted(_)
                    ),
                    "{draft:?}"
                );
            }
        }
    }
}

#[test]
fn a_bad_line_is_named_with_its_field_and_may_be_left_out() {
    for (good, bad, error) in [
        (r#""timestamp":"2026-03-02T09:00:04.148Z""#, r#""timestamp":"soon""#, "line 5: field `timestamp`: "),
        (r#""id":"msg_01A""#, r#""id":7"#, "line 5: field `message.id`: "),
        (
            r#""thinking":"The test first.""#,
            r#""thought":1"#,
            "line 5: field `message.content[0].thinking`: is missing",
        ),
        (r#""input_tokens":4,"#, r#""input_tokens":"4","#, "line 5: field `message.usage.input_tokens`: "),
        (
            r#""tool_use_id":"toolu_01Bash0001","#,
            "",
            "line 8: field `message.content[0].tool_use_id`: is missing",
        ),
    ] {
        let text = SESSION.replace(good, bad);
        assert_ne!(text, SESSION);
        let (_, imported) = import(&text);
        let found = imported.unwrap_err().to_string();
        assert!(found.starts_with(error), "{found}");
    }
    let text = SESSION.replacen(r#"{"type":"weather-report""#, r#"{"type":"weather-report"#, 1);
    let mut left_out = Vec::new();
    let mut on_bad = |error: ImportError| {
        left_out.push(error.to_string());
        Ok(())
    };
    let (drafts, imported) = collect(|sink| claude_code(text.as_bytes(), &mut on_bad, sink));
    assert!(imported.is_ok());
    assert_eq!(left_out.len(), 1);
    assert_eq!(all!(drafts, SessionEnded).len(), 1);
    assert!(left_out[0].starts_with("line 25: "), "{left_out:?}");
}

#[test]
fn lines_of_a_file_without_a_session_are_notes_without_one() {
    let drafts = import_all("{\"type\":\"summary\",\"summary\":\"Rounding\",\"leafUuid\":\"x\"}\n");
    assert_eq!(drafts.len(), 1);
    assert!(drafts[0].session.is_none());
    assert_eq!(all!(drafts, NoteLogged)[0].message, "Rounding");
}
