use std::io::Cursor;

use serde_json::{Value, json};

use super::super::test_support::{all, collect, ended, source, started};
use super::super::{ImportError, Imported};
use super::swe_agent;
use crate::{Draft, Outcome, SessionEnd, StepKind};

const RUN: &str = include_str!("../../../tests/fixtures/swe_agent/run.traj");

fn import(text: &str) -> (Vec<Draft>, Result<Imported, ImportError>) {
    collect(|sink| swe_agent(Cursor::new(text), &source(), &mut Err, sink))
}

fn import_all(text: &str) -> Vec<Draft> {
    let (drafts, imported) = import(text);
    imported.unwrap();
    drafts
}

#[test]
fn a_run_is_a_session_whose_input_is_the_issue() {
    let drafts = import_all(RUN);
    let session = all!(drafts, SessionStarted)[0];
    assert_eq!(drafts[0].session.as_ref().unwrap().as_str(), "swe-agent/test");
    // Neither the system's prompt nor a demonstration.
    assert_eq!(session.input.as_deref(), Some("Fix the count of words.txt."));
    assert_eq!(session.model.as_deref(), Some("gpt-5.3"));
    assert_eq!(session.agent_version.as_deref(), Some("1.1.0"));
    assert_eq!(session.labels["instance_id"], "words__count-7");
    let end = all!(drafts, SessionEnded)[0];
    assert_eq!((end.tokens_input, end.tokens_output, end.cost_usd), (Some(7141), Some(243), Some(0.0195)));
    assert_eq!(end.summary.as_deref(), Some("diff --git a/count.py b/count.py"));
    assert_eq!(end.attributes["info.model_stats.api_calls"].as_str(), "3");
    assert_eq!(end.attributes["info.edited_files30"].as_str(), "\"[File: count.py]\"");
}

#[test]
fn a_step_has_the_newest_messages_as_input_and_its_command_as_a_call() {
    let drafts = import_all(RUN);
    assert_eq!(
        started(&drafts, "step/1").input.as_deref(),
        Some("You fix issues.\nFix the count of words.txt.")
    );
    let second = started(&drafts, "step/2");
    assert_eq!(second.input.as_deref(), Some("Found 1 match: /repo/words.txt (Open file: n/a)"));
    assert_eq!(second.kind, Some(StepKind::Llm));
    assert_eq!(
        ended(&drafts, "step/2").output.as_deref(),
        Some("Then I count.\n```\npython count.py && ls\n```")
    );
    // The history knows the tool and the id of the call.
    let decisions = all!(drafts, DecisionMade);
    assert_eq!(decisions[0].decision.as_str(), "call_Fj4uazlMUN5f");
    assert_eq!(decisions[0].chosen_option.as_deref(), Some("find_file"));
    assert_eq!(decisions[0].rationale.as_deref(), Some("I look for the file first."));
    assert_eq!(ended(&drafts, "call_Fj4uazlMUN5f").output.as_deref(), Some("Found 1 match: /repo/words.txt"));
    assert_eq!(ended(&drafts, "call_Fj4uazlMUN5f").attributes["execution_time"].as_str(), "0.28");
    // Without it, the command is named by its first word.
    assert_eq!(decisions[1].chosen_option.as_deref(), Some("python"));
    assert_eq!(started(&drafts, "step/2/call/0").input.as_deref(), Some("python count.py && ls"));
    assert_eq!(decisions.len(), 2, "a step without a command has no call");
    assert!(ended(&drafts, "step/3").attributes["observation"].as_str().contains("cost limit"));
}

#[test]
fn an_end_that_is_no_submission_is_a_finding() {
    for (status, end, outcome) in [
        ("submitted", SessionEnd::Completed, None),
        ("submitted (exit_cost)", SessionEnd::Completed, Some(Outcome::Warning)),
        ("exit_error", SessionEnd::Failed, Some(Outcome::Fail)),
    ] {
        let drafts = import_all(&RUN.replace("submitted (exit_cost)", status));
        assert_eq!(all!(drafts, SessionEnded)[0].status, end, "{status}");
        let found = all!(drafts, FindingRaised).first().and_then(|finding| finding.outcome);
        assert_eq!(found, outcome, "{status}");
    }
}

#[test]
fn a_run_without_a_status_has_no_end() {
    let drafts = import_all(&RUN.replace(r#""submitted (exit_cost)""#, "null"));
    assert!(all!(drafts, SessionEnded).is_empty());
    assert_eq!(all!(drafts, StepEnded).len(), 5);
}

#[test]
fn attempts_are_sessions_within_the_run_and_no_step_is_there_twice() {
    let attempt: Value = serde_json::from_str(RUN).unwrap();
    let mut whole = attempt.clone();
    whole["attempts"] = json!([attempt, attempt]);
    let drafts = import_all(&whole.to_string());
    let sessions = all!(drafts, SessionStarted);
    assert_eq!(sessions.len(), 3);
    let parents: Vec<_> = sessions.iter().filter_map(|session| session.parent_session.as_ref()).collect();
    assert_eq!(parents, [&"swe-agent/test".parse().unwrap(), &"swe-agent/test".parse().unwrap()]);
    assert_eq!(all!(drafts, DecisionMade).len(), 4);
    assert_eq!(all!(drafts, SessionEnded).len(), 3);
}

#[test]
fn older_steps_without_queries_get_the_observations_as_input() {
    let mut value: Value = serde_json::from_str(RUN).unwrap();
    for step in value["trajectory"].as_array_mut().unwrap() {
        step.as_object_mut().unwrap().remove("query");
        step["state"] = json!("{\"open_file\": \"n/a\"}");
    }
    let drafts = import_all(&value.to_string());
    assert!(started(&drafts, "step/1").input.as_deref().unwrap().ends_with("Fix the count of words.txt."));
    assert_eq!(started(&drafts, "step/2").input.as_deref(), Some("Found 1 match: /repo/words.txt"));
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
        (r#""action": "find_file words.txt","#, r#""action": 3,"#, "trajectory[0]: field `action`: "),
        (
            r#""role": "system", "content": "You fix issues.", "agent": "main", "message"#,
            r#""message"#,
            "history[0]: field `role`: is missing",
        ),
        (
            r#""tokens_sent": 7141"#,
            r#""tokens_sent": "x""#,
            "the document: field `info.model_stats.tokens_sent`: ",
        ),
    ] {
        let text = RUN.replacen(good, bad, 1);
        assert_ne!(text, RUN, "{good}");
        let found = import(&text).1.unwrap_err().to_string();
        assert!(found.starts_with(error), "{found}");
    }
    for (text, error) in [
        (r#"{"messages": []}"#, "this is not a trajectory of SWE-agent: "),
        ("[]", "this is not a trajectory of SWE-agent: "),
        (r#"{"info": {}, "trajectory": {}}"#, "trajectory: is not a list"),
        (r#"{"info": {}, "trajectory": []}"#, ""),
        (r#"{"info": {}, "trajectory": 3}"#, "trajectory: is not a list"),
    ] {
        match import(text).1 {
            Err(found) => assert!(found.to_string().starts_with(error), "{found}"),
            Ok(_) => assert!(error.is_empty(), "{text}"),
        }
    }
}
