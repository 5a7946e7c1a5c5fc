use std::io::Cursor;

use serde_json::{Value, json};

use super::super::test_support::{all, collect, ended, source, started};
use super::super::{ImportError, Imported};
use super::mini_swe_agent;
use crate::{Draft, SessionEnd, StepEnd};

const RUN: &str = include_str!("../../../tests/fixtures/mini_swe_agent/run.traj.json");

fn import(text: &str) -> (Vec<Draft>, Result<Imported, ImportError>) {
    collect(|sink| mini_swe_agent(Cursor::new(text), &source(), &mut Err, sink))
}

fn import_all(text: &str) -> Vec<Draft> {
    let (drafts, imported) = import(text);
    imported.unwrap();
    drafts
}

#[test]
fn a_run_is_a_session_whose_input_is_the_task() {
    let drafts = import_all(RUN);
    let session = all!(drafts, SessionStarted)[0];
    assert_eq!(session.input.as_deref(), Some("Please solve this issue: count words.txt."));
    assert_eq!(session.model.as_deref(), Some("anthropic/claude-sonnet-4-5"));
    assert_eq!(session.labels["instance_id"], "words__count-7");
    assert_eq!(session.attributes["trajectory_format"].as_str(), "\"mini-swe-agent-1.1\"");
    let end = all!(drafts, SessionEnded)[0];
    assert_eq!((end.status, end.cost_usd), (SessionEnd::Completed, Some(0.0042)));
    assert_eq!(end.summary.as_deref(), Some("diff --git a/count.py b/count.py"));
    assert!(end.attributes["info.config"].as_str().contains("DefaultAgent"));
}

#[test]
fn an_answer_has_its_usage_cost_and_time() {
    let drafts = import_all(RUN);
    let end = ended(&drafts, "message/2");
    assert_eq!((end.tokens_input, end.tokens_output, end.cost_usd), (Some(900), Some(40), Some(0.003)));
    assert_eq!((end.tokens_cache_read, end.tokens_cache_write), (Some(300), Some(50)));
    assert_eq!(end.output.as_deref(), Some("(reasoning) wc is enough.\nI count."));
    assert!(end.attributes["extra.response"].as_str().contains("chatcmpl-1"));
    let at = drafts
        .iter()
        .find(|draft| matches!(&draft.event, crate::Event::StepEnded(e) if e.step.as_str() == "message/2"));
    assert_eq!(at.unwrap().at.unwrap().micros(), 1_766_000_000_250_000);
    assert_eq!(started(&drafts, "message/2").model.as_deref(), Some("claude-sonnet-4-5"));
}

#[test]
fn calls_end_with_their_results_and_actions_with_the_next_one() {
    let drafts = import_all(RUN);
    let decisions = all!(drafts, DecisionMade);
    assert_eq!(decisions[0].decision.as_str(), "toolu_01Xy9");
    let failed = ended(&drafts, "toolu_01Xy9");
    assert_eq!((failed.status, failed.error.as_deref()), (StepEnd::Error, Some("exit code 1")));
    assert_eq!(failed.attributes["extra.raw_output"].as_str(), "\"no such file\"");
    assert_eq!(decisions[1].chosen_option.as_deref(), Some("bash"));
    assert_eq!(started(&drafts, "message/4/call/0").input.as_deref(), Some("ls"));
    assert_eq!(ended(&drafts, "message/4/call/0").status, StepEnd::Ok);
    let notes: Vec<&str> = all!(drafts, NoteLogged).iter().map(|note| note.message.as_str()).collect();
    assert_eq!(notes[2..], ["Format error: no action.", "exit"]);
}

#[test]
fn an_answer_in_the_form_of_responses_is_read() {
    let mut value: Value = serde_json::from_str(RUN).unwrap();
    value["messages"][2] = json!({"object": "response", "model": "gpt-5.3", "usage": {"input_tokens": 7, "output_tokens": 2},
        "output": [
            {"type": "reasoning", "summary": [{"type": "summary_text", "text": "Think."}]},
            {"type": "message", "content": [{"type": "output_text", "text": "I count."}]},
            {"type": "function_call", "call_id": "call_r1", "name": "bash", "arguments": "{}"}],
        "extra": {"actions": [{"command": "x", "tool_call_id": "call_r1"}], "cost": 0.5}});
    value["messages"][3] = json!({"type": "function_call_output", "call_id": "call_r1", "output": "41", "extra": {"returncode": 0}});
    let drafts = import_all(&value.to_string());
    let end = ended(&drafts, "message/2");
    assert_eq!(end.output.as_deref(), Some("(reasoning) Think.\nI count."));
    assert_eq!((end.tokens_input, end.cost_usd), (Some(7), Some(0.5)));
    assert_eq!(ended(&drafts, "call_r1").output.as_deref(), Some("41"));
}

#[test]
fn a_run_that_came_to_a_limit_failed_and_one_without_a_status_has_no_end() {
    let limit = RUN.replacen(r#""exit_status": "Submitted""#, r#""exit_status": "LimitsExceeded""#, 1);
    let drafts = import_all(&limit);
    assert_eq!(all!(drafts, SessionEnded)[0].status, SessionEnd::Failed);
    assert_eq!(all!(drafts, FindingRaised)[0].category.as_deref(), Some("limit"));
    let running = RUN.replacen(r#""exit_status": "Submitted""#, r#""exit_status": """#, 1);
    assert!(all!(import_all(&running), SessionEnded).is_empty());
}

#[test]
fn another_import_makes_the_same_drafts_and_each_event_has_an_id() {
    let drafts = import_all(RUN);
    assert_eq!(import_all(RUN), drafts);
    let mut ids: Vec<String> = drafts.iter().map(|draft| draft.id.unwrap().to_string()).collect();
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), drafts.len());
}

#[test]
fn a_malformed_run_is_named_by_path_and_field() {
    for (good, bad, error) in [
        (r#"{"role": "system", "#, "{", "messages[0]: field `role`: is missing"),
        (r#""cost": 0.003"#, r#""cost": "x""#, "messages[2]: field `extra.cost`: "),
        (r#""name": "bash", "#, "", "messages[2]: field `tool_calls[0].function.name`: is missing"),
        (
            r#""instance_cost": 0.0042"#,
            r#""instance_cost": []"#,
            "the document: field `info.model_stats.instance_cost`: ",
        ),
        (r#""messages""#, r#""trajectory""#, "this is not a trajectory of mini-SWE-agent: "),
    ] {
        let text = RUN.replacen(good, bad, 1);
        assert_ne!(text, RUN, "{good}");
        let found = import(&text).1.unwrap_err().to_string();
        assert!(found.starts_with(error), "{found}");
    }
}
