//! Questions over HTTP: the same answers as the command gives, in pages.

use std::path::Path;

use crate::support::new_path;
use crate::support::server::Served;
use assert_cmd::Command;
use serde_json::{Value, json};

/// A server of a log with so many sessions of three steps, a decision and a finding each.
fn with_sessions(path: &Path, sessions: usize) -> Served {
    let served = Served::start(path);
    let mut events = Vec::new();
    for number in 0..sessions {
        let session = format!("s-{number:03}");
        let at = format!("2026-11-20T12:{:02}:00Z", number % 60);
        let profile = if number % 2 == 0 { "even" } else { "odd" };
        events.push(json!({"type": "session.started", "session": session, "at": at, "profile": profile, "input": format!("question {number}"), "conversation": "c"}));
        for step in ["a", "b", "c"] {
            events.push(json!({"type": "step.started", "session": session, "step": step, "module": step, "kind": "tool", "input": "in"}));
            events.push(json!({"type": "step.ended", "session": session, "step": step, "status": if step == "c" { "error" } else { "ok" }, "confidence": 0.5}));
        }
        events.push(json!({"type": "decision.made", "session": session, "step": "a", "decision_type": profile, "options_considered": [{"option": "x", "score": 0.6}, {"option": "y", "score": 0.5}], "chosen_option": "x"}));
        events.push(json!({"type": "finding.raised", "session": session, "severity": if number == 3 { "critical" } else { "low" }, "title": "a finding"}));
        events.push(json!({"type": "session.ended", "session": session, "status": "completed"}));
    }
    let answer = served.post_json("/v1/events?wait=visible", Value::from(events).to_string()).expect(200);
    assert_eq!(answer["visible"], true);
    served
}

fn annals(path: &Path, arguments: &[&str]) -> Value {
    let output = Command::new(env!("CARGO_BIN_EXE_annals"))
        .arg("--json")
        .arg("--db")
        .arg(path)
        .args(arguments)
        .output();
    serde_json::from_slice(&output.unwrap().stdout).unwrap()
}

/// All items of a list, page by page.
fn all(served: &Served, name: &str, target: &str) -> Vec<Value> {
    let mut items = Vec::new();
    let mut cursor = None::<String>;
    for _ in 0..1_000 {
        let mark = if target.contains('?') { '&' } else { '?' };
        let next = cursor.map_or_else(String::new, |cursor| format!("{mark}cursor={cursor}"));
        let page = served.get(&format!("{target}{next}")).expect(200);
        assert_eq!(page["lag"], 0);
        items.extend(page[name].as_array().unwrap().iter().cloned());
        match page["next"].as_str() {
            Some(next) => {
                // As the description of the API has it.
                assert!(next.split('-').all(|number| (1..=18).contains(&number.len())), "{next}");
                cursor = Some(next.to_owned());
            }
            None => return items,
        }
    }
    panic!("pages without end");
}

#[test]
fn sessions_are_listed_newest_first_in_pages_and_by_filters() {
    let (_folder, path) = new_path();
    let served = with_sessions(&path, 25);
    let ids = |items: &[Value]| items.iter().map(|item| item["id"].clone()).collect::<Vec<_>>();
    let whole = all(&served, "sessions", "/v1/sessions");
    assert_eq!(whole.len(), 25);
    assert_eq!(whole[0]["id"], "s-024");
    assert_eq!(ids(&all(&served, "sessions", "/v1/sessions?limit=4")), ids(&whole));
    assert_eq!(Value::from(whole), annals(&path, &["sessions", "--limit", "100"])["sessions"]);
    let even = all(&served, "sessions", "/v1/sessions?profile=even&limit=5");
    assert_eq!(even.len(), 13);
    let since = "/v1/sessions?since=2026-11-20T12:05:00Z&until=2026-11-20T12:07:00Z&conversation=c";
    assert_eq!(ids(&all(&served, "sessions", since)), ["s-006", "s-005"]);
    assert_eq!(ids(&all(&served, "sessions", "/v1/sessions?text=%22question+7%22")), ["s-007"]);
    assert_eq!(all(&served, "sessions", "/v1/sessions?with_findings=true&max_confidence=0.4").len(), 0);
    assert_eq!(all(&served, "sessions", "/v1/sessions?module=b&status=completed").len(), 25);
}

#[test]
fn a_session_is_what_show_and_replay_say() {
    let (_folder, path) = new_path();
    let served = with_sessions(&path, 2);
    let session = served.get("/v1/sessions/s-001").expect(200);
    assert_eq!(session, annals(&path, &["show", "s-001"]));
    let replay = served.get("/v1/sessions/s-001/replay").expect(200);
    assert_eq!(replay, annals(&path, &["replay", "s-001"]));
    let until = replay["events"][1]["seq"].as_u64().unwrap();
    let then = served.get(&format!("/v1/sessions/s-001/replay?until={until}")).expect(200);
    assert_eq!(then["events"].as_array().unwrap().len(), 2);
    assert_eq!(then["state"]["session"]["status"], "running");
    for target in
        ["/v1/sessions/none", "/v1/sessions/none/replay", "/v1/sessions/none/steps", "/v1/sessions/%00"]
    {
        assert_eq!(served.get(target).problem(404), "not-found", "{target}");
    }
    assert_eq!(served.get("/v1/sessions/%FF").problem(400), "bad-request");
}

#[test]
fn what_sessions_have_is_listed_in_pages_without_loss_or_repetition() {
    let (_folder, path) = new_path();
    let served = with_sessions(&path, 7);
    for (name, target, count) in [
        ("steps", "/v1/steps", 21),
        ("steps", "/v1/steps?module=b", 7),
        ("steps", "/v1/steps?status=error&kind=tool&max_confidence=0.5", 7),
        ("steps", "/v1/steps?session=s-003", 3),
        ("steps", "/v1/sessions/s-003/steps", 3),
        ("decisions", "/v1/decisions?decision_type=odd&step=a&chosen_option=x", 3),
        ("decisions", "/v1/sessions/s-003/decisions", 1),
        ("decisions", "/v1/decisions?module=a&max_margin=0.2", 7),
        ("decisions", "/v1/decisions?max_margin=0.05", 0),
        ("findings", "/v1/findings?module=none", 0),
        ("findings", "/v1/findings?severity=critical&status=open", 1),
        ("findings", "/v1/sessions/s-003/findings", 1),
        ("timeline", "/v1/sessions/s-003/timeline", 10),
    ] {
        let whole = all(&served, name, target);
        assert_eq!(whole.len(), count, "{target}");
        for limit in [1, 2, 5] {
            let mark = if target.contains('?') { '&' } else { '?' };
            assert_eq!(all(&served, name, &format!("{target}{mark}limit={limit}")), whole, "{target}");
        }
    }
    let steps = all(&served, "steps", "/v1/steps");
    assert_eq!((&steps[0]["session_id"], &steps[0]["id"]), (&json!("s-006"), &json!("c")));
    let within = all(&served, "steps", "/v1/sessions/s-003/steps");
    assert_eq!(within.iter().map(|step| step["id"].as_str().unwrap()).collect::<Vec<_>>(), ["a", "b", "c"]);
}

#[test]
fn events_are_read_in_order_as_they_were_recorded() {
    let (_folder, path) = new_path();
    let served = with_sessions(&path, 3);
    let events = all(&served, "events", "/v1/events?limit=7");
    assert_eq!(events.len(), 31);
    assert!(events.iter().zip(1..).all(|(event, seq)| event["seq"] == seq));
    assert_eq!(events[0]["type"], "log.created");
    assert_eq!(served.get("/v1/events/5").expect(200), events[4]);
    assert_eq!(all(&served, "events", "/v1/events?after=30").len(), 1);
    let narrow = "/v1/events?session=s-001&kind=decision.made&kind=finding.raised&limit=1";
    assert_eq!(all(&served, "events", narrow).len(), 2);
    assert_eq!(served.get("/v1/events/32").problem(404), "not-found");
    assert_eq!(served.get("/v1/events/99999999999999999999").problem(400), "bad-request");
    assert_eq!(served.get("/v1/events/x").problem(400), "bad-request");
}

#[test]
fn words_are_searched_for_in_pages() {
    let (_folder, path) = new_path();
    let served = with_sessions(&path, 6);
    assert_eq!(all(&served, "hits", "/v1/search?q=question&limit=2").len(), 6);
    let hits = served.get("/v1/search?q=question&session=s-002&kind=session.started&order=rank").expect(200);
    assert_eq!(hits["hits"].as_array().unwrap().len(), 1);
    assert!(hits["hits"][0]["snippet"].as_str().unwrap().contains("question 2"));
    assert_eq!(served.get("/v1/search?q=%22%22").problem(400), "bad-request");
    assert_eq!(served.get("/v1/search").problem(400), "bad-request");
}

#[test]
fn a_wrong_parameter_is_named_and_nothing_is_guessed() {
    let (_folder, path) = new_path();
    let served = Served::start(&path);
    for target in [
        "/v1/sessions?limit=0",
        "/v1/sessions?limit=1001",
        "/v1/sessions?limit=x",
        "/v1/sessions?sesion=s",
        "/v1/sessions?status=complete",
        "/v1/sessions?since=yesterday",
        "/v1/sessions?cursor=x",
        "/v1/steps?cursor=1",
        "/v1/steps?kind=t",
        "/v1/findings?severity=bad",
        "/v1/events?kind=no.such",
        "/v1/events?after=-1",
        "/v1/tail?after=x",
        "/v1/search?q=a&order=best",
    ] {
        assert_eq!(served.get(target).problem(400), "bad-request", "{target}");
    }
}

#[test]
fn the_log_says_what_it_is() {
    let (_folder, path) = new_path();
    let served = with_sessions(&path, 1);
    let info = served.get("/v1/log").expect(200);
    assert_eq!(info["events"], 11);
    assert_eq!(info["log_id"], annals(&path, &["info"])["log_id"]);
    let projections = served.get("/v1/projections").expect(200);
    assert!(projections["projections"].as_array().unwrap().iter().all(|one| one["lag"] == 0));
}
