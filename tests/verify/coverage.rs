//! Events that a program announced and that are not in the log: the log is intact, and not complete.

use std::path::Path;
use std::process::Command;

use crate::support::program::annals;
use crate::support::{json, new_path, verify as verify_all};
use annals::verify::Outcome;
use annals::{AuditLog, RedactionRequest, Seq};
use predicates::prelude::*;

fn record(path: &Path, events: &[&str]) -> Seq {
    let log = AuditLog::open(path).unwrap();
    let receipts: Vec<_> = events.iter().map(|event| log.append(json(event)).unwrap()).collect();
    let last = receipts.into_iter().map(|receipt| receipt.wait().unwrap().seq).max().unwrap();
    log.close().unwrap();
    last
}

/// The gaps as `session kind sources announced recorded`.
fn gaps(path: &Path) -> Vec<String> {
    let report = verify_all(path);
    assert_eq!(report.outcome, Outcome::Good, "{report:?}");
    assert_eq!(report.completeness.complete, report.completeness.coverage_gaps.is_empty());
    report
        .completeness
        .coverage_gaps
        .iter()
        .map(|gap| {
            format!("{} {} {} {} {}", gap.session_id, gap.kind, gap.sources, gap.announced, gap.recorded)
        })
        .collect()
}

/// The same by the independent verifier, which reads only the log.
fn gaps_by_python(path: &Path) -> Option<Vec<String>> {
    let python = std::env::var_os("ANNALS_TEST_PYTHON")?;
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tools/verify.py");
    let output = Command::new(python).args(["-B", script, "log", "--json"]).arg(path).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let verdict: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let gap = |gap: &serde_json::Value| {
        let text = |name: &str| gap[name].as_str().unwrap().to_owned();
        let sources: Vec<&str> =
            gap["sources"].as_array().unwrap().iter().map(|source| source.as_str().unwrap()).collect();
        let sources = sources.join(",");
        format!("{} {} {sources} {} {}", text("session_id"), text("kind"), gap["announced"], gap["recorded"])
    };
    Some(verdict["coverage_gaps"].as_array().unwrap().iter().map(gap).collect())
}

fn assert_gaps(path: &Path, expected: &[&str]) {
    assert_eq!(gaps(path), expected);
    if let Some(found) = gaps_by_python(path) {
        assert_eq!(found, expected, "tools/verify.py");
    }
}

const STARTED: &str = r#"{"type":"session.started","session":"s"}"#;
const STEP: &str = r#"{"type":"step.ended","session":"s","step":"1","status":"ok"}"#;
const ENDED: &str = r#"{"type":"session.ended","session":"s","status":"completed"}"#;

#[test]
fn what_was_announced_and_is_recorded_is_complete() {
    let (_folder, path) = new_path();
    let declared = r#"{"type":"coverage.declared","session":"s","source":"x","announced":{"session.started":1,"step.ended":2}}"#;
    record(&path, &[STARTED, STEP, STEP, declared, ENDED]);
    assert_gaps(&path, &[]);
    annals(&path).args(["verify", "--require-complete"]).assert().success();
}

#[test]
fn a_gap_leaves_the_log_intact_and_makes_it_incomplete() {
    let (_folder, path) = new_path();
    let declared = r#"{"type":"coverage.declared","session":"s","source":"x","announced":{"step.ended":120,"note.logged":1}}"#;
    let log = [STARTED].into_iter().chain([STEP; 118]).chain([declared, ENDED]);
    record(&path, &log.collect::<Vec<_>>());
    assert_gaps(&path, &["s note.logged x 1 0", "s step.ended x 120 118"]);
    let said = "x announced 1 event of type `note.logged` in session s, and 0 of them are recorded, and 1 more such gaps";
    let unwrapped = |output: &[u8]| {
        let text = String::from_utf8(output.to_vec()).unwrap();
        text.split_whitespace().collect::<Vec<_>>().join(" ").contains(said)
    };
    annals(&path)
        .arg("verify")
        .assert()
        .success()
        .stdout(predicate::function(move |output: &[u8]| unwrapped(output)));
    annals(&path).args(["verify", "--require-complete"]).assert().code(1);
    annals(&path).args(["show", "s"]).assert().success().stdout(predicate::str::contains(
        "x announced 120 events of type `step.ended`, and 118 of them are recorded",
    ));
}

#[test]
fn the_largest_number_of_each_run_counts_and_runs_add_up() {
    let (_folder, path) = new_path();
    let declared = |source: &str, instance: &str, count: u64| {
        format!(
            r#"{{"type":"coverage.declared","session":"s","source":"{source}","instance":"{instance}","announced":{{"step.ended":{count}}}}}"#
        )
    };
    // Declarations may come late, and in any order.
    let declarations =
        [declared("x", "1", 3), declared("x", "1", 1), declared("x", "2", 1), declared("y", "1", 1)];
    let log: Vec<&str> = [STARTED, STEP, STEP, STEP, STEP, ENDED]
        .into_iter()
        .chain(declarations.iter().map(String::as_str))
        .collect();
    record(&path, &log);
    assert_gaps(&path, &["s step.ended x,y 5 4"]);
    record(&path, &[STEP]);
    assert_gaps(&path, &[]);
}

#[test]
fn an_erased_event_counts_as_recorded_and_an_erased_declaration_announces_nothing() {
    let (_folder, path) = new_path();
    let declared = r#"{"type":"coverage.declared","session":"s","source":"x","announced":{"step.ended":1,"note.logged":1}}"#;
    // The first event is the one that creates the log.
    record(&path, &[STARTED, STEP, declared, ENDED]);
    let erase = |seq: u64| {
        let log = AuditLog::open(&path).unwrap();
        let request = RedactionRequest {
            seqs: vec![Seq::new(seq)],
            actor: "ada".into(),
            reason: "asked for".into(),
            ..Default::default()
        };
        log.redact(request).unwrap();
        log.close().unwrap();
    };
    erase(3);
    assert_gaps(&path, &["s note.logged x 1 0"]);
    erase(4);
    assert_gaps(&path, &[]);
}
