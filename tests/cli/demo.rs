//! `annals demo` as a person runs it.

#![cfg(feature = "cli")]

use std::path::Path;

use assert_cmd::Command;
use predicates::str::contains;

fn annals(db: &Path) -> Command {
    let mut command = Command::cargo_bin("annals").unwrap();
    command.arg("--db").arg(db);
    command
}

#[test]
fn shows_sessions_decisions_the_verification_and_what_to_try_next() {
    let folder = tempfile::tempdir().unwrap();
    let db = folder.path().join("the demo's.db");
    annals(&db)
        .args(["demo", "--threads", "3"])
        .assert()
        .success()
        .stdout(contains("54 puzzles on 3 threads: 45 solved, 6 not solved, 3 without an answer"))
        .stdout(contains("game-of-24/4-5-6-10"))
        .stdout(contains("depth-1: 5 of "))
        .stdout(contains("An answer was missed"))
        .stdout(contains("every event follows from the one before it, and"))
        .stdout(contains(r"the demo'\''s.db' show game-of-24/1-3-4-6"));
    annals(&db)
        .args(["show", "game-of-24/1-3-4-6"])
        .assert()
        .success()
        .stdout(contains("fractions lead nowhere"));
}

#[test]
fn runs_again_on_the_same_log_and_answers_in_json() {
    let folder = tempfile::tempdir().unwrap();
    let db = folder.path().join("audit.db");
    let run = || {
        let output = annals(&db).args(["--json", "demo"]).assert().success().get_output().stdout.clone();
        let shown: serde_json::Value = serde_json::from_slice(&output).unwrap();
        assert_eq!(shown["sessions"].as_array().unwrap().len(), 54);
        assert_eq!(shown["verification"]["self_consistent"], true);
        shown["run"].as_str().unwrap().to_owned()
    };
    assert_ne!(run(), run());
}

#[test]
fn leaves_the_default_log_alone() {
    let folder = tempfile::tempdir().unwrap();
    let default = folder.path().join("mine.db");
    Command::cargo_bin("annals")
        .unwrap()
        .env("ANNALS_DB", &default)
        .env("TMPDIR", folder.path())
        .arg("demo")
        .assert()
        .success()
        .stdout(contains("annals-demo-"));
    assert!(!default.exists());
}
