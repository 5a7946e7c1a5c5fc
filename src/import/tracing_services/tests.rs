use super::*;
use crate::import::test_support::{collect, ids};

/// A trace with all its details, as the API returns one.
const TRACE: &str = r#"{"id": "t1", "timestamp": "2026-11-20T12:00:00.000Z", "name": "support", "sessionId": "s1",
 "userId": "u7", "environment": "production", "input": {"q": "Refund?"}, "output": "Yes", "tags": ["a"], "public": false,
 "htmlPath": "/t/t1", "latency": 4.5, "totalCost": 0.02, "observations": [
  {"id": "o1", "traceId": "t1", "type": "SPAN", "name": "run", "startTime": "2026-11-20T12:00:00.000Z",
   "endTime": "2026-11-20T12:00:04.500Z", "level": "DEFAULT", "metadata": {}, "input": null, "output": null},
  {"id": "o2", "traceId": "t1", "type": "GENERATION", "name": "plan", "parentObservationId": "o1",
   "startTime": "2026-11-20T12:00:01.000Z", "endTime": "2026-11-20T12:00:02.000Z", "model": "m-large",
   "modelParameters": {"temperature": 0}, "level": "DEFAULT", "usage": {"input": 9, "output": 3, "total": 12},
   "usageDetails": {"input": 9, "output": 3, "cache_read_input_tokens": 4}, "costDetails": {"total": 0.02},
   "input": {"messages": [{"role": "user", "content": "Refund?"}],
    "tools": [{"type": "function", "function": {"name": "lookup"}}, {"type": "function", "function": {"name": "stop"}}]},
   "output": {"role": "assistant", "tool_calls": [{"id": "c1", "type": "function",
    "function": {"name": "lookup", "arguments": "{\"id\": 5}"}}]}},
  {"id": "o3", "traceId": "t1", "type": "TOOL", "name": "lookup", "parentObservationId": "o1",
   "startTime": "2026-11-20T12:00:02.000Z", "endTime": "2026-11-20T12:00:03.000Z", "level": "ERROR",
   "statusMessage": "no such order", "input": "{\"id\": 5}"},
  {"id": "o4", "traceId": "t1", "type": "EVENT", "name": "retry", "parentObservationId": "o1",
   "startTime": "2026-11-20T12:00:03.000Z", "level": "WARNING", "input": {"n": 2}}],
 "scores": [{"id": "sc", "traceId": "t1", "observationId": "o2", "name": "tone", "dataType": "NUMERIC", "value": 0.25,
  "source": "EVAL", "timestamp": "2026-11-20T13:00:00.000Z", "comment": "curt"}]}"#;

/// A run with its child runs, as the SDK loads it.
const RUN: &str = r#"{"id": "r1", "trace_id": "r1", "name": "agent", "run_type": "chain", "start_time": "2026-11-20T12:00:00",
 "end_time": "2026-11-20T12:00:05.5", "inputs": {"q": "Refund?"}, "outputs": {"a": "Yes"}, "error": null,
 "parent_run_id": null, "extra": {"metadata": {"thread_id": "th"}}, "session_id": "p1", "status": "success", "child_runs": [
  {"id": "r2", "trace_id": "r1", "name": "ChatModel", "run_type": "llm", "start_time": "2026-11-20T12:00:01",
   "end_time": "2026-11-20T12:00:02", "parent_run_id": "r1", "inputs": {"messages": []}, "prompt_tokens": 9,
   "completion_tokens": 3, "total_tokens": 12, "total_cost": "0.02",
   "extra": {"metadata": {"ls_model_name": "m-large"}, "invocation_params": {"tools": [{"function": {"name": "lookup"}}]}},
   "outputs": {"generations": [[{"text": "", "message": {"kwargs": {"tool_calls": [
    {"id": "c1", "name": "lookup", "args": {"id": 5}, "type": "tool_call"}]}}}]]}},
  {"id": "r3", "trace_id": "r1", "name": "lookup", "run_type": "tool", "start_time": "2026-11-20T12:00:02",
   "end_time": "2026-11-20T12:00:03", "parent_run_id": "r1", "inputs": {"id": 5}, "error": "no such order",
   "status": "error"}]}"#;

type Import = fn(&[u8], &mut BadLines<'_>, &mut Sink<'_>) -> Result<Imported, ImportError>;

const IMPORT_LANGFUSE: Import = |reader, bad, sink| langfuse(reader, bad, sink);
const IMPORT_LANGSMITH: Import = |reader, bad, sink| langsmith(reader, bad, sink);

fn drafts(import: Import, text: &str) -> Vec<Draft> {
    let (drafts, result) = collect(|sink| import(text.as_bytes(), &mut |error| Err(error), sink));
    result.unwrap();
    drafts
}

/// The events in JSON, without ids.
fn lines(drafts: &[Draft]) -> Vec<String> {
    let lines = drafts.iter().map(|draft| {
        let id = draft.id.unwrap();
        let json = crate::event::write_event(id, draft.session.as_ref(), draft.at, &draft.event).unwrap();
        json.replace(&format!("\"id\":\"{id}\","), "")
    });
    lines.collect()
}

#[test]
fn both_maps_are_good() {
    for service in [LANGFUSE, LANGSMITH] {
        let (map, source) = service.map().unwrap();
        assert_eq!(map.source(), Some(&source));
    }
}

#[test]
fn a_trace_of_langfuse_is_a_session_with_steps_decisions_and_findings() {
    assert_eq!(
        lines(&drafts(IMPORT_LANGFUSE, &TRACE.replace('\n', ""))),
        [
            r#"{"type":"session.started","session":"langfuse/t1","at":"2026-11-20T12:00:00.000000Z","profile":"support","input":"{\"q\": \"Refund?\"}","conversation":"s1","source":"langfuse","labels":{"environment":"production","user_id":"u7"}}"#,
            r#"{"type":"session.ended","session":"langfuse/t1","status":"completed","summary":"Yes","cost_usd":0.02,"attributes":{"htmlPath":"/t/t1","latency":4.5,"public":false,"tags":["a"]}}"#,
            r#"{"type":"step.started","session":"langfuse/t1","at":"2026-11-20T12:00:00.000000Z","step":"o1","module":"run","kind":"other"}"#,
            r#"{"type":"step.ended","session":"langfuse/t1","at":"2026-11-20T12:00:04.500000Z","step":"o1","status":"ok","attributes":{"level":"DEFAULT","metadata":{},"type":"SPAN"}}"#,
            r#"{"type":"step.started","session":"langfuse/t1","at":"2026-11-20T12:00:01.000000Z","step":"o2","parent_step":"o1","module":"plan","kind":"llm","model":"m-large","input":"{\"messages\": [{\"role\": \"user\", \"content\": \"Refund?\"}],    \"tools\": [{\"type\": \"function\", \"function\": {\"name\": \"lookup\"}}, {\"type\": \"function\", \"function\": {\"name\": \"stop\"}}]}"}"#,
            r#"{"type":"step.ended","session":"langfuse/t1","at":"2026-11-20T12:00:02.000000Z","step":"o2","status":"ok","output":"{\"role\": \"assistant\", \"tool_calls\": [{\"id\": \"c1\", \"type\": \"function\",    \"function\": {\"name\": \"lookup\", \"arguments\": \"{\\\"id\\\": 5}\"}}]}","tokens_input":13,"tokens_output":3,"tokens_cache_read":4,"cost_usd":0.02,"attributes":{"level":"DEFAULT","modelParameters":{"temperature": 0},"type":"GENERATION","usage":{"input": 9, "output": 3, "total": 12}}}"#,
            r#"{"type":"decision.made","session":"langfuse/t1","at":"2026-11-20T12:00:02.000000Z","decision":"c1","step":"o2","decision_type":"tool","options_considered":[{"option":"lookup"},{"option":"stop"}],"chosen_option":"lookup","actor":"m-large","attributes":{"arguments":"{\"id\": 5}","type":"function"}}"#,
            r#"{"type":"step.started","session":"langfuse/t1","at":"2026-11-20T12:00:02.000000Z","step":"o3","parent_step":"o1","module":"lookup","kind":"tool","input":"{\"id\": 5}"}"#,
            r#"{"type":"step.ended","session":"langfuse/t1","at":"2026-11-20T12:00:03.000000Z","step":"o3","status":"error","error":"no such order","attributes":{"level":"ERROR","type":"TOOL"}}"#,
            r#"{"type":"note.logged","session":"langfuse/t1","at":"2026-11-20T12:00:03.000000Z","message":"retry","step":"o1","level":"warning","attributes":{"id":"o4","input":{"n": 2},"level":"WARNING","type":"EVENT"}}"#,
            r#"{"type":"finding.raised","session":"langfuse/t1","at":"2026-11-20T13:00:00.000000Z","finding":"sc","step":"o2","category":"score","pattern_type":"tone","title":"tone","description":"curt","evidence":{"dataType":"NUMERIC","value":0.25},"attributes":{"source":"EVAL"}}"#,
        ]
    );
}

#[test]
fn a_run_of_langsmith_is_a_session_with_steps_and_decisions() {
    assert_eq!(
        lines(&drafts(IMPORT_LANGSMITH, &RUN.replace('\n', ""))),
        [
            r#"{"type":"session.started","session":"langsmith/r1","at":"2026-11-20T12:00:00.000000Z","profile":"agent","input":"{\"q\": \"Refund?\"}","conversation":"th","source":"langsmith"}"#,
            r#"{"type":"session.ended","session":"langsmith/r1","at":"2026-11-20T12:00:05.500000Z","status":"completed","summary":"{\"a\": \"Yes\"}"}"#,
            r#"{"type":"step.started","session":"langsmith/r1","at":"2026-11-20T12:00:00.000000Z","step":"r1","module":"agent","kind":"chain","input":"{\"q\": \"Refund?\"}"}"#,
            r#"{"type":"step.ended","session":"langsmith/r1","at":"2026-11-20T12:00:05.500000Z","step":"r1","status":"ok","output":"{\"a\": \"Yes\"}","attributes":{"error":null,"run_type":"chain","session_id":"p1","status":"success"}}"#,
            r#"{"type":"step.started","session":"langsmith/r1","at":"2026-11-20T12:00:01.000000Z","step":"r2","parent_step":"r1","module":"ChatModel","kind":"llm","model":"m-large","input":"{\"messages\": []}"}"#,
            r#"{"type":"step.ended","session":"langsmith/r1","at":"2026-11-20T12:00:02.000000Z","step":"r2","status":"ok","output":"{\"generations\": [[{\"text\": \"\", \"message\": {\"kwargs\": {\"tool_calls\": [    {\"id\": \"c1\", \"name\": \"lookup\", \"args\": {\"id\": 5}, \"type\": \"tool_call\"}]}}}]]}","tokens_input":9,"tokens_output":3,"cost_usd":0.02,"attributes":{"extra.invocation_params.tools":[{"function": {"name": "lookup"}}],"run_type":"llm","total_tokens":12}}"#,
            r#"{"type":"decision.made","session":"langsmith/r1","at":"2026-11-20T12:00:02.000000Z","decision":"c1","step":"r2","decision_type":"tool","options_considered":[{"option":"lookup"}],"chosen_option":"lookup","actor":"m-large","attributes":{"arguments":{"id": 5},"type":"tool_call"}}"#,
            r#"{"type":"step.started","session":"langsmith/r1","at":"2026-11-20T12:00:02.000000Z","step":"r3","parent_step":"r1","module":"lookup","kind":"tool","input":"{\"id\": 5}"}"#,
            r#"{"type":"step.ended","session":"langsmith/r1","at":"2026-11-20T12:00:03.000000Z","step":"r3","status":"error","error":"no such order","attributes":{"run_type":"tool","status":"error"}}"#,
        ]
    );
    let feedback = r#"{"runs": [{"id": "f", "run_id": "r2", "trace_id": "r1", "key": "helpful", "score": 1,
        "created_at": "2026-11-20T13:00:00+00:00", "feedback_source": {"type": "api"}}]}"#;
    assert_eq!(
        lines(&drafts(IMPORT_LANGSMITH, &feedback.replace('\n', ""))),
        [
            r#"{"type":"finding.raised","session":"langsmith/r1","at":"2026-11-20T13:00:00.000000Z","finding":"f","step":"r2","category":"feedback","pattern_type":"helpful","title":"helpful","evidence":{"score":1},"attributes":{"feedback_source":{"type": "api"}}}"#
        ]
    );
}

#[test]
fn the_same_records_in_other_files_are_the_same_events() {
    let trace: serde_json::Value = serde_json::from_str(TRACE).unwrap();
    let apart = |name: &str| trace[name].as_array().unwrap().clone();
    let mut alone = trace.clone();
    for name in ["observations", "scores"] {
        // The list of traces has only the ids of them.
        alone[name] = apart(name).iter().map(|record| record["id"].clone()).collect();
    }
    let pages = [
        serde_json::json!({"data": [alone], "meta": {"page": 1}}).to_string(),
        serde_json::json!({"data": apart("observations")}).to_string(),
        serde_json::to_string(&apart("scores")).unwrap(),
    ];
    let apart: Vec<Draft> = pages.iter().flat_map(|page| drafts(IMPORT_LANGFUSE, page)).collect();
    assert_eq!(ids(&apart), ids(&drafts(IMPORT_LANGFUSE, &TRACE.replace('\n', ""))));
}

#[test]
fn records_of_another_kind_are_kept_and_bad_ones_are_named() {
    assert_eq!(
        lines(&drafts(
            IMPORT_LANGFUSE,
            r#"{"id": "x", "createdAt": "2026-11-20T12:00:00Z", "projectId": "p"}"#
        )),
        [
            r#"{"type":"custom","at":"2026-11-20T12:00:00.000000Z","name":"langfuse.record","attributes":{"id":"x","projectId":"p"}}"#
        ]
    );
    for (import, text, error) in [
        (IMPORT_LANGFUSE, "{\"name\": 1}", "line 1: the key `$.id` of the map leads to no value"),
        (
            IMPORT_LANGSMITH,
            "[{\"id\": 1, \"run_type\": \"llm\", \"start_time\": \"noon\"}]",
            "record 0 (the first is 0): event `root`: field `at`, from `$.start_time`: `noon` is not a time",
        ),
        (IMPORT_LANGSMITH, "", "the file is empty; expected runs or feedback of LangSmith"),
    ] {
        let (_, result) = collect(|sink| import(text.as_bytes(), &mut |error| Err(error), sink));
        let found = result.unwrap_err().to_string();
        assert!(found.starts_with(error), "{found}");
    }
}

#[test]
fn a_bad_record_leaves_out_neither_the_records_in_it_nor_those_beside_it() {
    let observation = |id: &str, at: &str| {
        format!(r#"{{"id": {id}, "traceId": "t", "type": "EVENT", "name": "n", "startTime": "{at}"}}"#)
    };
    let (good, wrong) = ("2026-11-20T12:00:00Z", "noon");
    let trace = format!(
        r#"[{{"id": "t", "timestamp": "noon", "observations": [{}, {}, {}, 3, {}]}}, 4, {{"id": "u", "timestamp": "{good}"}}]"#,
        observation("\"a\"", good),
        observation("\"b\"", wrong),
        observation("null", good),
        observation("\"c\"", good),
    );
    let mut failures = Vec::new();
    let (drafts, result) = collect(|sink| {
        let bad = &mut |error: ImportError| {
            failures.push(error.to_string());
            Ok(())
        };
        langfuse(trace.as_bytes(), bad, sink)
    });
    result.unwrap();
    let kinds: Vec<&str> = drafts.iter().map(|draft| draft.event.kind().name()).collect();
    assert_eq!(kinds, ["note.logged", "note.logged", "session.started", "session.updated"]);
    let places = [
        "record 0 (the first is 0): event `",
        "record 0 (the first is 0): `observations[1]`: event `",
        "record 0 (the first is 0): `observations[2]`: the key `$.id`",
        "record 0 (the first is 0): field `observations[3]`: ",
        "record 1 (the first is 0): ",
    ];
    assert_eq!(failures.len(), places.len(), "{failures:?}");
    for (failure, place) in failures.iter().zip(places) {
        assert!(failure.starts_with(place), "{failure}");
    }
}

#[test]
fn a_call_with_the_id_of_an_earlier_call_is_a_decision_named_by_its_position() {
    let trace: serde_json::Value = serde_json::from_str(TRACE).unwrap();
    let mut second = trace["observations"][1].clone();
    second["id"] = "o9".into();
    second["output"]["tool_calls"][0]["function"]["name"] = "stop".into();
    let mut other = second.clone();
    other["traceId"] = "t2".into();
    // A record that the file has twice is the same call.
    let list = serde_json::json!([trace, second, trace, second, other]).to_string();
    let run: serde_json::Value = serde_json::from_str(RUN).unwrap();
    let mut again = run["child_runs"][0].clone();
    again["id"] = "r9".into();
    let runs = serde_json::json!([run, again]).to_string();
    let named = |import: Import, text: &str| -> Vec<String> {
        let drafts = drafts(import, text);
        let decisions = drafts.iter().filter_map(|draft| match &draft.event {
            Event::DecisionMade(made) => {
                let own = made.attributes.get("tool_call_id").map_or("", |json| json.as_str());
                Some(format!("{} {} {own}", draft.session.as_ref().unwrap(), made.decision))
            }
            _ => None,
        });
        decisions.collect()
    };
    let (first, second) = ("langfuse/t1 c1 ", "langfuse/t1 o9/call/0 \"c1\"");
    assert_eq!(named(IMPORT_LANGFUSE, &list), [first, second, first, second, "langfuse/t2 c1 "]);
    assert_eq!(named(IMPORT_LANGSMITH, &runs), ["langsmith/r1 c1 ", "langsmith/r1 r9/call/0 \"c1\""]);
}

#[test]
fn what_may_change_is_in_no_start() {
    let ended = |import: Import, text: &str, changes: &[(&str, &str)]| -> (Vec<String>, Vec<String>) {
        let text = text.replace('\n', "");
        let early = changes.iter().fold(text.clone(), |text, (from, to)| {
            assert!(text.contains(from), "{from}");
            text.replacen(from, to, 1)
        });
        let starts = |text: &str| {
            let drafts = drafts(import, text);
            let starts = drafts.into_iter().filter(|draft| draft.event.kind().name().ends_with(".started"));
            lines(&starts.collect::<Vec<_>>())
        };
        (starts(&early), starts(&text))
    };
    let (early, late) = ended(
        IMPORT_LANGFUSE,
        TRACE,
        &[
            ("\"output\": \"Yes\", ", ""),
            ("4.5,", "1,"),
            ("0.02", "0"),
            ("[\"a\"]", "[]"),
            ("\"endTime\": \"2026-11-20T12:00:04.500Z\", ", ""),
        ],
    );
    assert_eq!(early, late);
    let (early, late) = ended(
        IMPORT_LANGSMITH,
        RUN,
        &[
            ("\"end_time\": \"2026-11-20T12:00:05.5\", ", ""),
            ("{\"a\": \"Yes\"}", "null"),
            ("success", "pending"),
        ],
    );
    assert_eq!(early, late);
}
