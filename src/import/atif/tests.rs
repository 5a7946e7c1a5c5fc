use std::collections::BTreeMap;
use std::io::Cursor;

use super::super::test_support::{all, collect, ended, source, started};
use super::super::{ImportError, Imported};
use super::atif;
use crate::{Draft, SessionEnd, StepEnd, StepKind};

const TRAJECTORY: &str = include_str!("../../../tests/fixtures/atif/trajectory.json");
const SESSION: &str = "atif/8f6d2c1e-0a4b-4d6e-9b1c-7a5e3f2d1c0b";

fn import(text: &str) -> (Vec<Draft>, Result<Imported, ImportError>) {
    collect(|sink| atif(Cursor::new(text), &source(), &mut Err, sink))
}

fn import_all(text: &str) -> Vec<Draft> {
    let (drafts, imported) = import(text);
    imported.unwrap();
    drafts
}

#[test]
fn a_trajectory_is_a_session_with_its_first_message_of_a_user_as_input() {
    let drafts = import_all(TRAJECTORY);
    let sessions = all!(drafts, SessionStarted);
    assert_eq!(sessions[0].input.as_deref(), Some("Count the lines of words.txt."));
    assert_eq!(sessions[0].agent.as_deref(), Some("terminus-2"));
    assert_eq!(sessions[0].agent_version.as_deref(), Some("2.1.0"));
    assert_eq!(sessions[0].model.as_deref(), Some("gpt-5.3"));
    assert_eq!(sessions[0].attributes["notes"].as_str(), "\"A trajectory for tests.\"");
    assert_eq!(sessions[0].attributes["agent.extra"].as_str(), r#"{"parser": "json"}"#);
    assert_eq!(drafts[0].session.as_ref().unwrap().as_str(), SESSION);
    let end = all!(drafts, SessionEnded)[0];
    assert_eq!((end.tokens_input, end.tokens_output), (Some(1120), Some(100)));
    assert_eq!((end.cost_usd, end.status), (Some(0.00075), SessionEnd::Completed));
    assert_eq!(end.summary.as_deref(), Some("There are 41 lines."));
    assert_eq!(end.attributes["final_metrics"].as_str(), r#"{"total_cached_tokens":200,"total_steps":6}"#);
}

#[test]
fn an_embedded_trajectory_is_a_session_that_names_the_one_around_it() {
    let drafts = import_all(TRAJECTORY);
    let inner = all!(drafts, SessionStarted)[1];
    assert_eq!(inner.parent_session.as_ref().unwrap().as_str(), SESSION);
    assert_eq!(inner.input.as_deref(), Some("Help with words.txt."));
    let own: Vec<_> = drafts
        .iter()
        .filter(|draft| draft.session.as_ref().unwrap().as_str() == format!("{SESSION}/helper-1"))
        .collect();
    assert_eq!(own.len(), 5, "start, note, step with its end, and end");
}

#[test]
fn a_step_of_the_agent_has_its_input_output_tokens_and_cost() {
    let drafts = import_all(TRAJECTORY);
    let first = started(&drafts, "step/4");
    assert_eq!((first.kind, first.model.as_deref()), (Some(StepKind::Llm), Some("gpt-5.3-mini")));
    assert_eq!(first.input.as_deref(), Some("You are a careful engineer.\nCount the lines of words.txt."));
    let end = ended(&drafts, "step/4");
    assert_eq!(end.output.as_deref(), Some("(reasoning) wc does it.\nI count them, and ask for help."));
    assert_eq!((end.tokens_input, end.tokens_output, end.cost_usd), (Some(520), Some(80), Some(0.00045)));
    for (name, value) in [("metrics.logprobs", "[-0.5, -0.25]"), ("metrics.extra.tier", "\"batch\"")] {
        assert_eq!(end.attributes[name].as_str(), value, "{name}");
    }
    assert_eq!(
        (end.tokens_cache_read, end.tokens_cache_write, end.tokens_reasoning),
        (Some(200), Some(7), Some(12))
    );
    assert!(end.attributes["observation"].as_str().contains("the terminal was cleared"));
    assert_eq!(started(&drafts, "step/5").input.as_deref(), Some("41 words.txt"));
    assert_eq!(started(&drafts, "step/6").kind, Some(StepKind::Other), "no model made it");
}

#[test]
fn a_call_is_a_decision_among_the_tools_offered_and_a_step_with_its_result() {
    let drafts = import_all(TRAJECTORY);
    let decisions = all!(drafts, DecisionMade);
    let options: Vec<&str> =
        decisions[0].options_considered.iter().map(|option| option.option.as_str()).collect();
    assert_eq!((options, decisions[0].chosen_option.as_deref()), (vec!["bash", "delegate"], Some("bash")));
    assert_eq!(decisions[0].decision.as_str(), "call_a1");
    assert_eq!(decisions[0].step.as_ref().unwrap().as_str(), "step/4");
    let call = started(&drafts, "call_a1");
    assert_eq!(call.parent_step.as_ref().unwrap().as_str(), "step/4");
    assert_eq!(call.input.as_deref(), Some(r#"{"command": "wc -l words.txt"}"#));
    assert_eq!(ended(&drafts, "call_a1").output.as_deref(), Some("41 words.txt"));
    assert!(ended(&drafts, "call_a2").attributes["subagent_trajectory_ref"].as_str().contains("helper-1"));
    // A second call with the id of the first is named by its position.
    let again = ended(&drafts, "step/5/call/0");
    assert_eq!((again.status, again.error.as_deref()), (StepEnd::Error, Some("exit code 1")));
}

#[test]
fn many_tools_and_a_long_answer_are_not_repeated_as_a_whole_for_each_call() {
    let tools: Vec<_> = (0..1_500)
        .map(|n| serde_json::json!({"name": format!("t{n}"), "description": "x".repeat(200)}))
        .collect();
    let calls: Vec<_> = (0..20)
        .map(|n| serde_json::json!({"tool_call_id": format!("c{n}"), "function_name": "t0", "arguments": {}}))
        .collect();
    let trajectory = serde_json::json!({
        "schema_version": "ATIF-v1.5", "session_id": "s",
        "agent": {"name": "a", "version": "1", "tool_definitions": tools},
        "steps": [{"step_id": 1, "source": "agent", "message": "y".repeat(1 << 20), "tool_calls": calls}],
    });
    let drafts = import_all(&trajectory.to_string());
    let decisions = all!(drafts, DecisionMade);
    assert_eq!(decisions.len(), 20);
    for decision in decisions {
        assert!(serde_json::to_string(decision).unwrap().len() < 80 << 10);
        let left_out: usize = decision.attributes["options_left_out"].as_str().parse().unwrap();
        assert_eq!(decision.options_considered.len() + left_out, 1_500);
        assert_eq!(
            decision.attributes["rationale_bytes_left_out"].as_str(),
            ((1 << 20) - (32 << 10)).to_string()
        );
    }
    assert!(all!(drafts, SessionStarted)[0].attributes["agent.tool_definitions"].as_str().contains("t1499"));
    assert!(ended(&drafts, "step/1").output.as_ref().is_some_and(|output| output.len() == 1 << 20));
}

#[test]
fn copied_context_is_a_note_and_counts_no_tokens() {
    let drafts = import_all(TRAJECTORY);
    let notes = all!(drafts, NoteLogged);
    let copied = notes.iter().find(|note| note.message == "An older answer.").unwrap();
    assert_eq!(copied.attributes["type"].as_str(), "\"copied_context\"");
    assert!(copied.data.as_ref().unwrap().as_str().contains("9999"));
    let tokens: u64 = all!(drafts, StepEnded).iter().filter_map(|end| end.tokens_input).sum();
    assert_eq!(tokens, 1120);
}

#[test]
fn the_order_of_the_fields_does_not_matter() {
    let value: serde_json::Value = serde_json::from_str(TRAJECTORY).unwrap();
    // serde_json sorts by name, so `subagent_trajectories` stands behind `steps` and `agent` first.
    let sorted = import_all(&value.to_string());
    let count = |drafts: &[Draft]| {
        (all!(drafts, StepStarted).len(), all!(drafts, NoteLogged).len(), all!(drafts, SessionStarted).len())
    };
    assert_eq!(count(&sorted), count(&import_all(TRAJECTORY)));
}

#[test]
fn no_text_or_number_of_the_file_is_lost() {
    let all: String =
        import_all(TRAJECTORY).iter().map(|draft| format!("{draft:?}").replace("\\\"", "\"")).collect();
    let mut stack: Vec<serde_json::Value> = vec![serde_json::from_str(TRAJECTORY).unwrap()];
    while let Some(value) = stack.pop() {
        match value {
            serde_json::Value::Array(items) => stack.extend(items),
            serde_json::Value::Object(mut fields) => {
                for name in ["source", "timestamp"] {
                    fields.retain(|key, value| key != name || !value.is_string());
                }
                stack.extend(fields.into_iter().map(|(_, value)| value));
            }
            serde_json::Value::String(text) => assert!(all.contains(&text), "{text}"),
            serde_json::Value::Number(number) => assert!(all.contains(&number.to_string()), "{number}"),
            _ => {}
        }
    }
}

#[test]
fn another_import_makes_the_same_drafts_and_a_longer_file_changes_none() {
    let whole = import_all(TRAJECTORY);
    assert_eq!(import_all(TRAJECTORY), whole);
    let by_id = |drafts: Vec<Draft>| -> BTreeMap<_, _> {
        drafts.into_iter().map(|draft| (draft.id.unwrap().to_string(), draft)).collect()
    };
    let events = whole.len();
    let whole = by_id(whole);
    assert_eq!(whole.len(), events, "every event has an id of its own");
    for steps in 1..6 {
        let mut value: serde_json::Value = serde_json::from_str(TRAJECTORY).unwrap();
        value["steps"].as_array_mut().unwrap().truncate(steps);
        for (id, draft) in by_id(import_all(&value.to_string())) {
            let is_end =
                matches!(draft.event, crate::Event::SessionEnded(_) | crate::Event::SessionStarted(_));
            assert!(is_end || whole.contains_key(&id), "{draft:?}");
        }
    }
}

#[test]
fn a_malformed_trajectory_is_named_by_path_and_field() {
    for (good, bad, error) in [
        (r#""schema_version": "ATIF-v1.7","#, "", "this is not a trajectory in the Agent Trajectory"),
        (
            "ATIF-v1.7",
            "ATIF-v2.0",
            "this is not a trajectory in the Agent Trajectory Interchange Format: its version",
        ),
        (r#""name": "terminus-2","#, "", "the document: field `agent.name`: is missing"),
        (r#""source": "system""#, r#""source": "tool""#, "steps[0]: field `source`: `tool` is not"),
        (r#""prompt_tokens": 520"#, r#""prompt_tokens": -1"#, "steps[3]: field `metrics.prompt_tokens`: "),
        (r#""function_name": "delegate", "#, "", "steps[3]: field `tool_calls[1].function_name`: is missing"),
        ("2026-02-03T10:00:09Z", "soon", "steps[4]: field `timestamp`: "),
        (
            r#""total_steps": 6"#,
            r#""total_cost_usd": 1"#,
            "the document: field `final_metrics`: field `total_cost_usd` appears",
        ),
        (r#""name": "helper", "#, "", "subagent_trajectories[0]: field `agent.name`: is missing"),
        (r#", "steps": 1"#, "", ""),
    ] {
        let text = TRAJECTORY.replace(good, bad);
        if text == TRAJECTORY {
            assert!(error.is_empty(), "{good}");
            continue;
        }
        let found = import(&text).1.unwrap_err().to_string();
        assert!(found.starts_with(error), "{found}");
    }
    let empty = r#"{"schema_version": "ATIF-v1.4", "session_id": "s", "agent": {"name": "a", "version": "1"}, "steps": []}"#;
    let found = import(empty).1.unwrap_err().to_string();
    assert_eq!(found, "the document: field `steps`: is missing or empty");
}

#[test]
fn a_bad_step_can_be_left_out() {
    let text = TRAJECTORY.replace(r#""prompt_tokens": 520"#, r#""prompt_tokens": "x""#);
    let mut bad = Vec::new();
    let (drafts, result) = collect(|sink| {
        let mut on_bad = |error: ImportError| {
            bad.push(error.to_string());
            Ok(())
        };
        atif(Cursor::new(text), &source(), &mut on_bad, sink)
    });
    result.unwrap();
    assert_eq!(bad.len(), 1);
    assert!(bad[0].starts_with("steps[3]: field `metrics.prompt_tokens`: "), "{bad:?}");
    assert_eq!(all!(drafts, SessionEnded).len(), 2);
}

#[test]
fn a_trajectory_without_an_id_is_named_by_the_source() {
    let text = r#"{"schema_version": "ATIF-v1.7", "agent": {"name": "a", "version": "1"},
        "steps": [{"source": "agent", "message": "done"}]}"#;
    let drafts = import_all(text);
    assert_eq!(drafts[0].session.as_ref().unwrap().as_str(), "atif/test");
    assert_eq!(ended(&drafts, "step/1").output.as_deref(), Some("done"));
}
