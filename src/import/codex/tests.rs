use std::collections::BTreeMap;

use super::super::test_support::{all, collect, ended, started};
use super::super::{ImportError, Imported};
use super::codex;
use crate::{Draft, Event, SessionEnd, StepEnd, StepEnded, StepKind, Timestamp};

const SESSION: &str = include_str!("../../../tests/fixtures/agents/codex.jsonl");
const OLDER: &str = include_str!("../../../tests/fixtures/agents/codex-2025.jsonl");

fn import(text: &str) -> (Vec<Draft>, Result<Imported, ImportError>) {
    collect(|sink| codex(text.as_bytes(), &mut Err, sink))
}

fn import_all(text: &str) -> Vec<Draft> {
    let (drafts, imported) = import(text);
    imported.unwrap();
    drafts
}

#[test]
fn a_file_is_the_session_of_its_first_line() {
    let drafts = import_all(SESSION);
    let [session] = all!(drafts, SessionStarted)[..] else { panic!("one session") };
    // The first question, and neither instructions nor the context that Codex writes.
    assert_eq!(session.input.as_deref(), Some("Why does the checkout test fail?"));
    assert_eq!(session.model.as_deref(), Some("gpt-5.3-codex"));
    assert_eq!(session.agent.as_deref(), Some("Codex"));
    assert_eq!(session.agent_version.as_deref(), Some("0.132.0"));
    assert_eq!(
        (session.labels["cwd"].as_str(), session.labels["git_branch"].as_str()),
        ("/home/dev/shop", "main")
    );
    assert!(session.attributes["base_instructions"].as_str().contains("You are Codex"));
    for draft in &drafts {
        assert_eq!(draft.session.as_ref().unwrap().as_str(), "codex/019df2a0-1111-7222-8333-444455556666");
    }
}

#[test]
fn a_subagent_names_the_session_that_started_it() {
    let spawned = r#""source":{"subagent":{"thread_spawn":{"parent_thread_id":"019d","depth":1}}}"#;
    for text in [
        SESSION.replace(r#""source":"cli""#, spawned),
        SESSION.replace(r#""source":"cli""#, r#""source":"cli","parent_thread_id":"019d""#),
    ] {
        let drafts = import_all(&text);
        let parent = all!(drafts, SessionStarted)[0].parent_session.clone();
        assert_eq!(parent.unwrap().as_str(), "codex/019d");
    }
}

#[test]
fn the_items_of_an_answer_are_one_step_with_the_usage_that_follows() {
    let drafts = import_all(SESSION);
    let first = started(&drafts, "answer/9");
    assert_eq!((first.kind, first.model.as_deref()), (Some(StepKind::Llm), Some("gpt-5.3-codex")));
    assert_eq!(first.input.as_deref(), Some("Why does the checkout test fail?"));
    let end = ended(&drafts, "answer/9");
    assert_eq!(end.output.as_deref(), Some("(reasoning) The test first.\nI run the test."));
    assert_eq!((end.tokens_input, end.tokens_output), (Some(14_475), Some(216)));
    assert!(end.attributes["token_count"].as_str().contains(r#""cached_input_tokens":2432"#));
    assert!(end.attributes["lines"].as_str().contains("gAAAAABencrypted"));
    assert!(started(&drafts, "answer/17").input.as_deref().unwrap().contains("expected 3, got 2"));
}

#[test]
fn usage_without_an_answer_is_a_step_of_its_own() {
    let drafts = import_all(SESSION);
    // The request that failed has none: that of the summary comes after it.
    assert_eq!(ended(&drafts, "answer/25").tokens_input, None);
    let summary = ended(&drafts, "answer/28");
    assert_eq!((summary.tokens_output, summary.output.as_deref()), (Some(300), None));
}

/// Sums over the lines of a file, made without the importer.
#[test]
fn tokens_calls_and_failures_are_those_of_the_file() {
    let drafts = import_all(SESSION);
    let (mut total, mut calls) = (serde_json::Value::Null, 0);
    for line in SESSION.lines() {
        let line: serde_json::Value = serde_json::from_str(line).unwrap();
        let payload = &line["payload"];
        if payload["info"].is_object() {
            total = payload["info"]["total_token_usage"].clone();
        }
        calls += usize::from(payload["type"].as_str().is_some_and(|kind| kind.ends_with("_call")));
    }
    let ends = all!(drafts, StepEnded);
    let sum = |tokens: fn(&StepEnded) -> Option<u64>| ends.iter().filter_map(|end| tokens(end)).sum::<u64>();
    assert_eq!(sum(|end| end.tokens_input), total["input_tokens"].as_u64().unwrap());
    assert_eq!(sum(|end| end.tokens_output), total["output_tokens"].as_u64().unwrap());
    assert_eq!(all!(drafts, DecisionMade).len(), calls);
    let failed: Vec<&str> = all!(drafts, StepStarted)
        .into_iter()
        .map(|started| started.step.as_str())
        .filter(|step| ended(&drafts, step).status == StepEnd::Error)
        .collect();
    // The test, the patch, the rejected command, the request beyond the limit, and the answer that was stopped.
    assert_eq!(
        failed,
        ["call_Ab12Cd34Ef56", "call_Gh78Ij90Kl12", "call_Mn34Op56Qr78", "answer/25", "answer/33"]
    );
}

#[test]
fn totals_alone_count_by_what_they_grew() {
    let mut text = String::new();
    for line in SESSION.lines() {
        let mut line: serde_json::Value = serde_json::from_str(line).unwrap();
        if line["payload"]["info"].is_object() {
            line["payload"]["info"].as_object_mut().unwrap().remove("last_token_usage");
        }
        text += &format!("{line}\n");
    }
    let drafts = import_all(&text);
    assert_eq!(ended(&drafts, "answer/17").tokens_input, Some(15_100));
}

#[test]
fn a_tool_call_is_a_decision_and_a_step_with_its_output() {
    let drafts = import_all(SESSION);
    let decisions = all!(drafts, DecisionMade);
    let made = decisions.iter().find(|made| made.decision.as_str() == "call_Ab12Cd34Ef56").unwrap();
    assert_eq!(made.chosen_option.as_deref(), Some("exec_command"));
    assert_eq!(made.rationale.as_deref(), Some("The test first.\nI run the test."));
    assert_eq!(made.attributes["arguments"].as_str(), r#"{"cmd":"npm test"}"#);
    let step = started(&drafts, "call_Ab12Cd34Ef56");
    assert_eq!((step.kind, step.module.as_deref()), (Some(StepKind::Tool), Some("exec_command")));
    assert_eq!(step.parent_step.as_ref().unwrap().as_str(), "answer/9");
    let end = ended(&drafts, "call_Ab12Cd34Ef56");
    assert_eq!((end.status, end.error.as_deref()), (StepEnd::Error, Some("exit code 1")));
    // The failure was told by an event, and not by the output.
    assert_eq!(ended(&drafts, "call_Gh78Ij90Kl12").error.as_deref(), Some("failed"));
    // A search has no output.
    assert_eq!(
        started(&drafts, "call/17").input.as_deref(),
        Some(r#"{"type":"search","query":"javascript round to cents"}"#)
    );
    assert_eq!(ended(&drafts, "call/17").status, StepEnd::Ok);
}

#[test]
fn errors_rejections_and_aborted_turns_are_findings() {
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
            ("codex.tool_rejected", Some("call_Mn34Op56Qr78")),
            ("codex.error", Some("answer/25")),
            ("codex.turn_aborted", Some("answer/33")),
        ]
    );
    assert_eq!(all!(drafts, SessionEnded)[0].status, SessionEnd::Cancelled);
    let again = SESSION.lines().nth(31).unwrap();
    let drafts = import_all(&format!("{SESSION}{again}\n"));
    assert_eq!(all!(drafts, SessionEnded)[0].status, SessionEnd::Completed);
}

#[test]
fn every_other_line_is_a_note_and_no_field_is_lost() {
    let drafts = import_all(SESSION);
    let notes = all!(drafts, NoteLogged);
    let find = |message: &str| *notes.iter().find(|note| note.message == message).unwrap();
    assert!(find("world_state").data.as_ref().unwrap().as_str().contains(r#""weather":"clear""#));
    assert_eq!(find("The checkout test fails by rounding.").attributes["type"].as_str(), r#""compacted""#);
    assert!(find("ghost_snapshot").data.as_ref().unwrap().as_str().contains("fedcba9876543210"));
    // Every text and number of the file is somewhere in the events.
    let all: String = drafts.iter().map(|draft| format!("{draft:?}").replace("\\\"", "\"")).collect();
    let mut stack: Vec<serde_json::Value> =
        SESSION.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    while let Some(value) = stack.pop() {
        match value {
            serde_json::Value::Array(items) => stack.extend(items),
            serde_json::Value::Object(mut fields) => {
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
    for end in 1..lines.len() {
        for (id, draft) in by_id(import_all(&lines[..end].join("\n"))) {
            if let Some(later) = whole.get(&id) {
                assert_eq!(*later, draft, "after line {end}");
            } else {
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
fn the_older_form_without_envelopes_is_read() {
    let drafts = import_all(OLDER);
    let session = all!(drafts, SessionStarted)[0];
    assert_eq!(session.input.as_deref(), Some("List the tests."));
    assert_eq!(session.labels["git_branch"], "main");
    let started_at: Timestamp = "2025-08-18T01:16:13.522Z".parse().unwrap();
    assert_eq!(
        drafts.iter().find(|draft| matches!(draft.event, Event::SessionStarted(_))).unwrap().at,
        Some(started_at)
    );
    assert_eq!(ended(&drafts, "call_St90Uv12Wx34").status, StepEnd::Ok);
    assert_eq!(ended(&drafts, "answer/9").output.as_deref(), Some("There is one."));
    // The lines have no times, and none is made up.
    assert!(drafts.iter().all(|draft| draft.at.is_none()
        || matches!(draft.event, Event::SessionStarted(_) | Event::SessionEnded(_))));
}

#[test]
fn a_bad_line_is_named_with_its_field() {
    for (good, bad, error) in [
        (r#""timestamp":"2026-05-04T10:00:05.265Z""#, r#""timestamp":"soon""#, "line 9: field `timestamp`: "),
        (r#""role":"developer","#, "", "line 4: field `payload.role`: is missing"),
        (r#""call_id":"call_Ab12Cd34Ef56","#, r#""call_id":7,"#, "line 14: field `payload.call_id`: "),
        (
            r#""input_tokens":14475,"#,
            r#""input_tokens":"x","#,
            "line 15: field `payload.info.total_token_usage.input_tokens`: ",
        ),
    ] {
        let text = SESSION.replace(good, bad);
        assert_ne!(text, SESSION, "{good}");
        let found = import(&text).1.unwrap_err().to_string();
        assert!(found.starts_with(error), "{found}");
    }
}

#[test]
fn a_file_that_does_not_begin_with_a_session_is_refused() {
    let text: String = SESSION.lines().skip(1).map(|line| format!("{line}\n")).collect();
    let found = import(&text).1.unwrap_err().to_string();
    assert!(found.contains("line 1 is not the metadata of a session"), "{found}");
    assert!(matches!(import("").1, Err(ImportError::Empty { .. })));
}
