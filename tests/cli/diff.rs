//! Two sessions side by side.

use crate::support::program::{Log, annals};
use predicates::prelude::*;
use serde_json::Value;

/// The events of a run: a plan, a search, and an answer that depends on what was found.
fn run(session: &str, found: &str, answer: &str) -> String {
    let step = |id: &str, module: &str, input: &str, output: &str| {
        format!(
            r#"{{"type":"step.started","session":"{session}","step":"{id}","module":"{module}","input":"{input}"}}
{{"type":"step.ended","session":"{session}","step":"{id}","status":"ok","output":"{output}"}}
"#
        )
    };
    format!(
        r#"{{"type":"session.started","session":"{session}","input":"is it covered?"}}
{}{}{}{{"type":"decision.made","session":"{session}","step":"3","decision_type":"verdict","chosen_option":"{answer}"}}
{{"type":"session.ended","session":"{session}","status":"completed"}}
"#,
        step("1", "plan", "is it covered?", "search the policy"),
        step("2", "search", "water damage", found),
        step("3", "answer", found, answer),
    )
}

fn diff(log: &Log, first: &str, second: &str, status: i32) -> Value {
    let output =
        log.annals(&["--json", "diff", first, second]).assert().code(status).get_output().stdout.clone();
    serde_json::from_slice(&output).unwrap()
}

fn relations(diff: &Value, list: &str) -> Vec<String> {
    diff[list].as_array().unwrap().iter().map(|item| item["relation"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn a_run_and_its_copy_are_the_same() {
    let log = Log::with(&(run("a", "section 4", "covered") + &run("b", "section 4", "covered")));
    let found = diff(&log, "a", "b", 0);
    assert_eq!(found["is_same"], true);
    assert_eq!(found["first_divergence"], Value::Null);
    assert_eq!(relations(&found, "steps"), ["same"; 3]);
    assert_eq!(relations(&found, "decisions"), ["same"]);
    log.annals(&["diff", "a", "b"]).assert().success().stdout(predicate::str::contains("a and b: the same"));
}

#[test]
fn one_tool_answer_that_was_altered_is_the_first_divergence() {
    let log = Log::with(&(run("a", "section 4", "covered") + &run("b", "no section", "refused")));
    let found = diff(&log, "a", "b", 1);
    assert_eq!(
        (&found["is_same"], &found["is_same_input"], &found["first_divergence"]),
        (&false.into(), &true.into(), &1.into())
    );
    assert_eq!(relations(&found, "steps"), ["same", "other_result", "other_input_and_result"]);
    assert_eq!(relations(&found, "decisions"), ["other_result"]);
    log.annals(&["diff", "a", "b"]).assert().code(1).stdout(
        predicate::str::contains("first divergence: step 2 `search`, same input, other result")
            .and(predicate::str::contains("section 4"))
            .and(predicate::str::contains("no section"))
            .and(predicate::str::contains("the same in both: 1 step, 0 decisions")),
    );
    // By hand: the first step whose output differs although its input does not.
    let by_hand = log.json(&[
        "sql",
        "SELECT a.id FROM steps AS a JOIN steps AS b ON b.session_id = 'b' AND b.module = a.module
         WHERE a.session_id = 'a' AND a.input_hash = b.input_hash AND a.output_hash <> b.output_hash
         ORDER BY a.first_seq LIMIT 1",
    ]);
    assert_eq!(by_hand[0]["id"], found["steps"][1]["first"]["id"]);
}

#[test]
fn sessions_that_are_not_there_are_named() {
    let log = Log::with(&run("a", "section 4", "covered"));
    log.annals(&["diff", "a", "none"]).assert().code(2).stderr(predicate::str::contains("`none`"));
}

#[test]
fn runs_of_one_real_task_are_aligned_and_every_step_of_both_is_there_once() {
    let Some(traces) = crate::support::published::data("tau-bench-airline.json") else { return };
    let (_folder, path) = crate::support::new_path();
    annals(&path).args(["import", "tau-bench"]).arg(traces).assert().success();
    let ids = ["tau-bench/tau-bench-airline/0-0", "tau-bench/tau-bench-airline/0-3"];
    let output =
        annals(&path).args(["--json", "diff"]).args(ids).assert().code(1).get_output().stdout.clone();
    let found: Value = serde_json::from_slice(&output).unwrap();
    assert_eq!((&found["is_same_input"], &found["first_divergence"]), (&true.into(), &1.into()));
    for (side, id) in ["first", "second"].into_iter().zip(ids) {
        let steps = found["steps"].as_array().unwrap().iter().filter_map(|step| step[side]["id"].as_str());
        let expected = crate::support::rows_of(
            &crate::support::sqlite(&path),
            &format!("SELECT id FROM steps WHERE session_id = '{id}' ORDER BY first_seq"),
        );
        assert_eq!(steps.collect::<Vec<_>>(), expected);
    }
}
