use super::super::test_support::{all, collect, ended, source, started};
use super::super::{ImportError, Imported};
use super::openhands;
use crate::{Draft, SessionEnd, StepEnd};

const OUTPUT: &str = include_str!("../../../tests/fixtures/openhands/output.jsonl");

fn import(text: &str) -> (Vec<Draft>, Result<Imported, ImportError>) {
    collect(|sink| openhands(text.as_bytes(), &source(), &mut Err, sink))
}

/// The drafts of one line of the fixture.
fn line(number: usize) -> Vec<Draft> {
    let (drafts, imported) = import(OUTPUT.lines().nth(number).unwrap());
    imported.unwrap();
    drafts
}

#[test]
fn a_line_is_a_session_of_its_instance() {
    let drafts = line(0);
    assert_eq!(drafts[0].session.as_ref().unwrap().as_str(), "openhands/test/words__count-7");
    let session = all!(drafts, SessionStarted)[0];
    assert_eq!(session.input.as_deref(), Some("Count the lines of words.txt."));
    assert_eq!(session.agent.as_deref(), Some("CodeActAgent"));
    assert_eq!(session.model.as_deref(), Some("claude-sonnet-4-5"));
    assert_eq!(session.attributes["instance"].as_str(), r#"{"repo": "words/count"}"#);
    let end = all!(drafts, SessionEnded)[0];
    assert_eq!((end.tokens_input, end.tokens_output, end.cost_usd), (Some(2100), Some(95), Some(0.0125)));
    assert_eq!(end.attributes["metrics.accumulated_token_usage.cache_read_tokens"].as_str(), "1000");
    assert_eq!(end.status, SessionEnd::Completed);
    assert_eq!(line(2)[0].session.as_ref().unwrap().as_str(), "openhands/test/words__count-9/attempt/2");
}

#[test]
fn actions_of_one_response_are_one_answer_with_its_tokens() {
    let drafts = line(0);
    let answers: Vec<_> =
        all!(drafts, StepEnded).into_iter().filter(|end| end.tokens_input.is_some()).collect();
    assert_eq!(answers.len(), 2);
    assert_eq!((answers[0].step.as_str(), answers[0].tokens_input), ("event/2", Some(1000)));
    assert_eq!(answers[0].tokens_cache_write, Some(900));
    let decisions = all!(drafts, DecisionMade);
    let made: Vec<_> = decisions
        .iter()
        .map(|made| {
            (made.decision.as_str(), made.step.as_ref().unwrap().as_str(), made.options_considered.len())
        })
        .collect();
    assert_eq!(
        made,
        [("toolu_01Abc23", "event/2", 2), ("toolu_02Def45", "event/2", 2), ("toolu_03Ghi67", "event/7", 2)]
    );
    assert_eq!(decisions[0].chosen_option.as_deref(), Some("execute_bash"));
    assert_eq!(decisions[0].rationale.as_deref(), Some("I count."));
}

#[test]
fn an_observation_ends_the_action_that_it_names() {
    let drafts = line(0);
    let failed = ended(&drafts, "toolu_01Abc23");
    assert_eq!((failed.status, failed.error.as_deref()), (StepEnd::Error, Some("exit code 1")));
    assert_eq!(failed.output.as_deref(), Some("no such file"));
    assert!(failed.attributes["extras"].as_str().contains("/workspace"));
    assert_eq!(ended(&drafts, "toolu_02Def45").status, StepEnd::Ok);
    assert_eq!(ended(&drafts, "toolu_03Ghi67").status, StepEnd::Ok, "nothing follows the end");
    assert_eq!(started(&drafts, "event/7").input.as_deref(), Some("no such file\nwords2.txt"));
}

#[test]
fn times_without_a_zone_are_attributes() {
    let drafts = line(0);
    let note = drafts.iter().find(|draft| matches!(&draft.event, crate::Event::NoteLogged(_))).unwrap();
    assert_eq!(note.at, None);
    let crate::Event::NoteLogged(note) = &note.event else { panic!("a note") };
    assert!(note.data.as_ref().unwrap().as_str().contains("2025-11-02T10:00:00.000001"));
    assert!(drafts.iter().any(|draft| draft.at.is_some()));
}

#[test]
fn the_older_form_of_pairs_is_read_and_an_error_is_a_finding() {
    let drafts = line(1);
    assert_eq!(all!(drafts, SessionStarted)[0].input.as_deref(), Some("Say hello."));
    let decision = all!(drafts, DecisionMade)[0];
    assert_eq!(decision.chosen_option.as_deref(), Some("run_ipython"));
    assert_eq!(decision.attributes["arguments"].as_str(), r#"{"code":"print('hello')"}"#);
    assert_eq!(ended(&drafts, "event/2/call/0").output.as_deref(), Some("hello"));
    assert_eq!(all!(drafts, SessionEnded)[0].status, SessionEnd::Failed);
    assert_eq!(all!(drafts, FindingRaised)[0].pattern_type.as_deref(), Some("openhands.error"));
}

#[test]
fn events_of_the_sdk_are_read() {
    let drafts = line(2);
    let session = all!(drafts, SessionStarted)[0];
    assert_eq!(session.input.as_deref(), Some("Count the lines."));
    assert_eq!(session.model.as_deref(), Some("litellm_proxy/claude-sonnet-4-6"));
    assert_eq!(session.agent_version.as_deref(), Some("1.24.0"));
    let first = started(&drafts, "event/2");
    assert_eq!(
        first.input.as_deref(),
        Some("You are OpenHands.\nThe repository is words.\nCount the lines.")
    );
    let end = ended(&drafts, "event/2");
    assert_eq!(end.output.as_deref(), Some("(reasoning) wc is enough.\nI count."));
    assert_eq!((end.tokens_input, end.tokens_reasoning), (Some(300), Some(9)));
    let call = started(&drafts, "toolu_11");
    assert!(call.input.as_deref().unwrap().contains("security_risk"));
    assert!(call.attributes["action"].as_str().contains("TerminalAction"));
    assert_eq!(ended(&drafts, "toolu_11").output.as_deref(), Some("41 words.txt"));
    assert_eq!(ended(&drafts, "toolu_12").error.as_deref(), Some("No deletion, please."));
    assert_eq!(all!(drafts, FindingRaised)[0].category.as_deref(), Some("rejection"));
    assert_eq!(all!(drafts, SessionEnded)[0].summary.as_deref(), Some("There are 41 lines."));
}

#[test]
fn no_text_or_number_of_the_file_is_lost() {
    let (drafts, _) = import(OUTPUT);
    let all: String = drafts.iter().map(|draft| format!("{draft:?}").replace('\\', "")).collect();
    let mut stack: Vec<serde_json::Value> =
        OUTPUT.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    while let Some(value) = stack.pop() {
        match value {
            serde_json::Value::Array(items) => stack.extend(items),
            serde_json::Value::Object(mut fields) => {
                // Names of what an event is, and its own ids, which are made new.
                for name in
                    ["id", "type", "kind", "timestamp", "source", "cause", "action_id", "action", "role"]
                {
                    fields.retain(|key, value| key != name || value.is_object());
                }
                stack.extend(fields.into_iter().map(|(_, value)| value));
            }
            serde_json::Value::String(text) => assert!(all.contains(&text.replace('\\', "")), "{text}"),
            serde_json::Value::Number(number) => assert!(all.contains(&number.to_string()), "{number}"),
            _ => {}
        }
    }
}

#[test]
fn another_import_makes_the_same_drafts_and_each_event_has_an_id() {
    let drafts = import(OUTPUT).0;
    assert_eq!(import(OUTPUT).0, drafts);
    let mut ids: Vec<String> = drafts.iter().map(|draft| draft.id.unwrap().to_string()).collect();
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), drafts.len());
}

#[test]
fn a_malformed_line_is_named_with_its_field() {
    for (good, bad, error) in [
        (r#""instance_id": "words__count-8", "#, "", "line 2: field `instance_id`: is missing"),
        (
            r#""prompt_tokens": 2100"#,
            r#""prompt_tokens": "x""#,
            "line 1: field `metrics.accumulated_token_usage.prompt_tokens`: ",
        ),
        (
            r#""tool_name": "terminal", "tool_call_id": "toolu_12""#,
            r#""tool_call_id": "toolu_12""#,
            "line 3: field `history[3].tool_name`: is missing",
        ),
        (
            r#""action": "run_ipython", "#,
            "",
            "line 2: field `history[1][0].action`: is missing, and `observation`, too",
        ),
    ] {
        let text = OUTPUT.replacen(good, bad, 1);
        assert_ne!(text, OUTPUT, "{good}");
        let found = import(&text).1.unwrap_err().to_string();
        assert!(found.starts_with(error), "{found}");
    }
}
