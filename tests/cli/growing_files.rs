//! Files that are imported again after their records changed, through the real program.

use std::path::PathBuf;
use std::process::{Command, Output};

use assert_cmd::cargo::cargo_bin;
use rusqlite::Connection;
use serde_json::{Value, json};

/// A folder with a log and a file to import.
struct Place {
    folder: tempfile::TempDir,
}

impl Place {
    fn new() -> Place {
        Place { folder: tempfile::tempdir().unwrap() }
    }

    fn log(&self) -> PathBuf {
        self.folder.path().join("audit.db")
    }

    fn run(&self, format: &str, content: &str) -> Output {
        let file = self.folder.path().join("file.json");
        std::fs::write(&file, content).unwrap();
        let mut command = Command::new(cargo_bin("annals"));
        command.args(["--json", "--db"]).arg(self.log()).args(["import", format]).arg(file);
        command.output().unwrap()
    }

    /// Imports a file, and returns the number of events that it added.
    fn import(&self, format: &str, content: &Value) -> u64 {
        let output = self.run(format, &content.to_string());
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        serde_json::from_slice::<Value>(&output.stdout).unwrap()["appended"].as_u64().unwrap()
    }

    fn text(&self, sql: &str) -> String {
        Connection::open(self.log()).unwrap().query_row(sql, [], |row| row.get(0)).unwrap()
    }
}

fn trace() -> Value {
    json!({"id": "t1", "timestamp": "2026-11-20T12:00:00Z", "name": "support", "input": "Refund?", "latency": 1.0,
        "tags": ["a"], "observations": [
        {"id": "o1", "traceId": "t1", "type": "SPAN", "name": "run", "startTime": "2026-11-20T12:00:00Z",
         "level": "DEFAULT", "metadata": {"n": 1}}]})
}

const SESSION: &str = "SELECT status || ' ' || start_count || ' ' || coalesce(profile, '-') || ' ' || coalesce(summary, '-') || ' ' || coalesce(attributes ->> 'latency', '-') FROM sessions";
const STEPS: &str = "SELECT group_concat(id || ' ' || status || ' ' || coalesce(output, '-'), ', ') FROM (SELECT * FROM steps ORDER BY id)";

#[test]
fn a_trace_that_ends_after_its_import_gets_its_end() {
    let place = Place::new();
    let early = trace();
    let added = place.import("langfuse", &early);
    assert_eq!(place.text(SESSION), "running 1 support - 1.0");
    let mut late = early.clone();
    late["output"] = "Yes".into();
    late["latency"] = 4.5.into();
    late["observations"][0]["endTime"] = "2026-11-20T12:00:04Z".into();
    late["observations"][0]["output"] = "done".into();
    late["observations"][0]["metadata"]["n"] = 2.into();
    // The ends of the session and of the step; both starts are as before.
    assert_eq!(place.import("langfuse", &late), 2);
    assert_eq!(place.text(SESSION), "completed 1 support Yes 4.5");
    assert_eq!(place.text(STEPS), "o1 ok done");
    for (content, expected) in [(&late, 0), (&early, 0)] {
        assert_eq!(place.import("langfuse", content), expected, "{added}");
    }
    assert_eq!(place.text(SESSION), "completed 1 support Yes 4.5");
}

#[test]
fn a_trace_that_is_renamed_after_its_end_has_still_ended() {
    let place = Place::new();
    let mut trace = trace();
    trace["output"] = "Yes".into();
    trace["name"] = Value::Null;
    place.import("langfuse", &trace);
    for name in ["first", "second"] {
        trace["name"] = name.into();
        // The start, and the end after it.
        assert_eq!(place.import("langfuse", &trace), 2);
        assert!(place.text(SESSION).starts_with("completed "), "{}", place.text(SESSION));
        assert!(place.text(SESSION).contains(name));
        assert_eq!(place.import("langfuse", &trace), 0);
    }
}

#[test]
fn the_lists_of_a_service_and_a_record_with_all_details_agree() {
    let place = Place::new();
    let mut whole = trace();
    whole["scores"] =
        json!([{"id": "sc", "traceId": "t1", "name": "tone", "dataType": "NUMERIC", "value": 0.25}]);
    let mut listed = whole.clone();
    listed["observations"] = json!(["o1"]);
    listed["scores"] = json!(["sc"]);
    place.import("langfuse", &json!({"data": [listed]}));
    place.import("langfuse", &json!({"data": whole["observations"].clone()}));
    place.import("langfuse", &whole["scores"]);
    // Only the state of the trace without the lists of ids.
    assert_eq!(place.import("langfuse", &whole), 1);
    assert_eq!(place.import("langfuse", &json!({"data": [listed]})), 0);
    whole["scores"][0]["value"] = 0.75.into();
    assert_eq!(place.import("langfuse", &whole), 1);
    assert_eq!(place.text("SELECT evidence ->> 'value' || ' ' || count(*) FROM findings"), "0.75 1");
}

#[test]
fn a_run_that_ends_after_its_import_gets_its_end() {
    let place = Place::new();
    let mut run = json!({"id": "r1", "trace_id": "r1", "name": "agent", "run_type": "chain", "inputs": {"q": 1},
        "start_time": "2026-11-20T12:00:00", "status": "pending", "outputs": null});
    place.import("langsmith", &run);
    run["status"] = "success".into();
    run["end_time"] = "2026-11-20T12:00:05".into();
    run["outputs"] = json!({"a": 2});
    assert_eq!(place.import("langsmith", &run), 2);
    assert_eq!(place.text(STEPS), "r1 ok {\"a\":2}");
    assert!(place.text(SESSION).starts_with("completed 1 agent"));
    assert_eq!(place.text("SELECT attributes ->> 'status' FROM steps"), "success");
}

#[test]
fn records_of_a_map_may_change_if_the_map_says_so() {
    let map = |changes: bool| {
        format!(
            r#"
            source = "jobs"
            key = "$.id"
            changes = {changes}
            [[event]]
            type = "step.started"
            fields = {{ session = "$.job", step = "$.id" }}
            [[event]]
            type = "step.ended"
            rest = true
            fields = {{ session = "$.job", step = "$.id", status = {{ value = "ok" }}, output = "$.out" }}
            "#
        )
    };
    for changes in [false, true] {
        let place = Place::new();
        let map_file = place.folder.path().join("map.toml");
        std::fs::write(&map_file, map(changes)).unwrap();
        let record = |out: u32| {
            let file = place.folder.path().join("jobs.jsonl");
            std::fs::write(&file, format!("{{\"id\": \"a\", \"job\": \"j\", \"out\": {out}}}\n")).unwrap();
            let mut command = Command::new(cargo_bin("annals"));
            command.arg("--db").arg(place.log()).arg("record").arg(file).arg("--map").arg(&map_file);
            let output = command.output().unwrap();
            format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
        };
        assert!(record(1).starts_with("2 events recorded"));
        let second = record(2);
        let expected = if changes { "1 event recorded, 1 already recorded\n" } else { "line 1: event " };
        assert!(second.contains(expected), "{second}");
        assert_eq!(place.text(STEPS), if changes { "a ok 2" } else { "a ok 1" });
        assert!(record(1).contains("0 events recorded, 2 already recorded"));
    }
}

fn log() -> Value {
    let text = include_str!("../fixtures/inspect_ai/log.json").replace("NaN", "null");
    serde_json::from_str(&text).unwrap()
}

#[test]
fn a_log_of_inspect_may_be_imported_while_the_evaluation_runs() {
    let place = Place::new();
    let finished = log();
    let mut running = finished.clone();
    running["status"] = "started".into();
    running["stats"] = json!({"started_at": "", "completed_at": ""});
    running.as_object_mut().unwrap().remove("results");
    running["samples"] = json!([finished["samples"][0]]);
    let added = place.import("inspect-ai", &running) + place.import("inspect-ai", &finished);
    let whole = Place::new();
    // The state of the evaluation while it ran is an event of its own.
    assert_eq!(added, whole.import("inspect-ai", &finished) + 1);
    let statuses = "SELECT group_concat(id || ' ' || status) FROM (SELECT * FROM sessions ORDER BY id)";
    assert_eq!(place.text(statuses), whole.text(statuses));
    assert_eq!(place.import("inspect-ai", &finished), 0);
}

#[test]
fn a_log_of_inspect_that_is_scored_again_shows_the_new_scores() {
    let place = Place::new();
    let mut log = log();
    place.import("inspect-ai", &log);
    log["results"]["scores"][0]["metrics"]["accuracy"]["value"] = 0.75.into();
    log["samples"][0]["scores"]["match"]["value"] = "P".into();
    // The ends of the sample and of the evaluation, and a finding.
    assert_eq!(place.import("inspect-ai", &log), 3);
    let score = |session: &str, name: &str| {
        place.text(&format!("SELECT scores ->> '$.\"{name}\"' || '' FROM sessions WHERE id = '{session}'"))
    };
    assert_eq!(score("inspect-ai/Ev4lR7wq9ZkL2mNpQrStUv", "match/accuracy"), "0.75");
    assert_eq!(score("inspect-ai/Ev4lR7wq9ZkL2mNpQrStUv/1/1", "match"), "0.5");
}

#[test]
fn samples_that_would_be_one_session_are_refused() {
    let place = Place::new();
    let mut log = log();
    log["samples"][1] = log["samples"][0].clone();
    log["samples"][1]["id"] = log["samples"][0]["id"].to_string().into();
    let output = place.run("inspect-ai", &log.to_string());
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(
        error.contains(
            "samples[1]: session `inspect-ai/Ev4lR7wq9ZkL2mNpQrStUv/1/1` appears twice in the file"
        ),
        "{error}"
    );
}

#[test]
fn a_record_that_contradicts_the_log_is_named() {
    let place = Place::new();
    let run = |reward: u32| {
        json!([{"task_id": 1, "trial": 0, "reward": 1, "traj": []},
        {"task_id": 2, "trial": 0, "reward": reward, "traj": []}])
    };
    place.import("tau-bench", &run(1));
    let output = place.run("tau-bench", &run(0).to_string());
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(error.contains("record 1 (the first is 0): event "), "{error}");
}
