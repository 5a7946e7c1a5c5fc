//! Lists across sessions: decisions and findings, each beside a query of one's own that gives the same.

use crate::support::program::Log;
use predicates::prelude::*;

const EVENTS: &str = r#"{"type":"session.started","session":"s-1"}
{"type":"step.started","session":"s-1","step":"1","module":"router"}
{"type":"decision.made","session":"s-1","step":"1","decision":"close","decision_type":"route","options_considered":[{"option":"left","score":0.5},{"option":"right","score":0.45},"up"],"chosen_option":"left","rationale":"a little better"}
{"type":"decision.made","session":"s-1","decision":"clear","options_considered":[{"option":"yes","score":0.9},{"option":"no","score":0.1}],"chosen_option":"yes","actor":"planner","confidence":0.9}
{"type":"decision.made","session":"s-1","decision":"several","options_considered":[{"option":"a","score":3},{"option":"b","score":2},{"option":"c","score":2.5}],"chosen_options":["a","b"]}
{"type":"decision.made","session":"s-1","decision":"unrated","options_considered":["a","b"],"chosen_option":"a"}
{"type":"finding.raised","session":"s-1","step":"1","finding":"f-1","severity":"critical","category":"liability","title":"No cap"}
{"type":"session.ended","session":"s-1","status":"completed"}
{"type":"session.started","session":"s-2"}
{"type":"step.started","session":"s-2","step":"1","module":"other"}
{"type":"decision.made","session":"s-2","step":"1","decision":"elsewhere","options_considered":["x"]}
{"type":"decision.made","session":"s-2","decision":"only","chosen_option":"a"}
{"type":"finding.raised","session":"s-2","finding":"f-2","severity":"low","description":"a typo"}
{"type":"finding.updated","session":"s-2","finding":"f-2","status":"dismissed"}
{"type":"session.ended","session":"s-2","status":"completed"}
"#;

fn ids(log: &Log, command: &str, filters: &[&str]) -> Vec<String> {
    let list = log.json(&[&[command], filters].concat());
    list[command].as_array().unwrap().iter().map(|row| row["id"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn decisions_are_listed_newest_first_and_in_the_order_of_a_session() {
    let log = Log::with(EVENTS);
    assert_eq!(ids(&log, "decisions", &[]), ["only", "elsewhere", "unrated", "several", "clear", "close"]);
    assert_eq!(ids(&log, "decisions", &["--session", "s-1"]), ["close", "clear", "several", "unrated"]);
}

#[test]
fn decisions_are_found_by_what_they_are() {
    let log = Log::with(EVENTS);
    for (filter, value, found) in [
        // A step with the same id in another session has another module.
        ("--module", "router", &["close"][..]),
        ("--module", "other", &["elsewhere"]),
        ("--chosen", "a", &["only", "unrated", "several"]),
        ("--chosen", "b", &["several"]),
        ("--type", "route", &["close"]),
        ("--actor", "planner", &["clear"]),
        ("--step", "1", &["elsewhere", "close"]),
        ("--max-confidence", "0.9", &["clear"]),
    ] {
        assert_eq!(ids(&log, "decisions", &[filter, value]), found, "{filter} {value}");
    }
}

#[test]
fn the_margin_is_by_how_much_the_worst_chosen_option_beats_the_best_other_one() {
    let log = Log::with(EVENTS);
    assert_eq!(ids(&log, "decisions", &["--margin", "0.1"]), ["several", "close"]);
    assert_eq!(ids(&log, "decisions", &["--margin", "-0.1"]), ["several"]);
    assert_eq!(ids(&log, "decisions", &["--margin", "1"]), ["several", "clear", "close"]);
    // The same by hand, for decisions that chose one option.
    let by_hand = log.json(&[
        "sql",
        "SELECT d.id FROM decisions AS d, json_each(d.options_considered) AS chosen, json_each(d.options_considered) AS other
         WHERE chosen.type = 'object' AND other.type = 'object' AND chosen.value ->> '$.option' = d.chosen_option
           AND other.value ->> '$.option' <> d.chosen_option
         GROUP BY d.session_id, d.id HAVING max(chosen.value ->> '$.score') - max(other.value ->> '$.score') <= 0.1
           AND json_array_length(d.chosen_options) = 1",
    ]);
    assert_eq!(by_hand, serde_json::json!([{"id": "close"}]));
    let shown = log.out(&["decisions", "--session", "s-1"]);
    let margins: Vec<&str> =
        ["0.05", "0.8", "-0.5"].into_iter().filter(|margin| shown.contains(margin)).collect();
    assert_eq!(margins.len(), 3, "{shown}");
}

#[test]
fn findings_are_found_by_what_they_are() {
    let log = Log::with(EVENTS);
    assert_eq!(ids(&log, "findings", &[]), ["f-2", "f-1"]);
    for (filter, value, found) in [
        ("--severity", "critical", &["f-1"][..]),
        ("--status", "dismissed", &["f-2"]),
        ("--category", "liability", &["f-1"]),
        ("--module", "router", &["f-1"]),
        ("--session", "s-2", &["f-2"]),
    ] {
        assert_eq!(ids(&log, "findings", &[filter, value]), found, "{filter} {value}");
    }
    log.annals(&["findings", "--severity", "grave"])
        .assert()
        .code(2)
        .stderr(predicate::str::contains("critical"));
    log.annals(&["findings", "--category", "none"]).assert().success().stderr("no findings\n");
}

#[test]
fn pages_of_a_list_follow_each_other_and_have_every_row_once() {
    let log = Log::with(EVENTS);
    let (mut all, mut after) = (Vec::new(), None::<String>);
    loop {
        let mut args = vec!["decisions", "--limit", "2"];
        args.extend(after.iter().flat_map(|after| ["--after", after]));
        let page = log.json(&args);
        all.extend(
            page["decisions"].as_array().unwrap().iter().map(|row| row["id"].as_str().unwrap().to_owned()),
        );
        match page["next"].as_str() {
            Some(next) => after = Some(next.to_owned()),
            None => break,
        }
    }
    assert_eq!(all, ["only", "elsewhere", "unrated", "several", "clear", "close"]);
    log.annals(&["decisions", "--after", "x"])
        .assert()
        .code(2)
        .stderr(predicate::str::contains("not a cursor"));
}
