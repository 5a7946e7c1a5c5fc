//! `annals record`.

use crate::support::program::{EVENTS, Log};
use predicates::prelude::*;

const NOTE: &str = r#"{"type":"note.logged","message":"hi"}"#;
const BAD: &str = r#"{"type":"step.ended","session":"s","status":"ok"}"#;

#[test]
fn what_is_recorded_is_in_the_read_tables_when_it_returns() {
    let log = Log::new();
    log.annals(&["record"]).write_stdin(EVENTS).assert().success().stdout("12 events recorded\n");
    assert_eq!(log.number("SELECT count(*) FROM sessions"), 2);
    assert_eq!(log.number("SELECT count(*) FROM timeline"), 13);
}

#[test]
fn a_bad_line_stops_it_after_what_came_before_is_recorded() {
    let log = Log::new();
    log.annals(&["record"])
        .write_stdin(format!("{NOTE}\n\n{NOTE}\n{BAD}\n{NOTE}\n"))
        .assert()
        .code(2)
        .stdout("2 events recorded, 1 refused\n")
        .stderr(predicate::str::contains("line 4: step.ended: field `step`: is missing"));
    assert_eq!(log.number("SELECT count(*) FROM notes"), 2);
}

#[test]
fn bad_lines_can_be_left_out() {
    let log = Log::new();
    let lines = format!("{NOTE}\n{BAD}\n{{\n{NOTE}\n");
    log.annals(&["record", "--skip-bad"])
        .write_stdin(lines)
        .assert()
        .code(1)
        .stdout("2 events recorded, 2 refused\n")
        .stderr(predicate::str::contains("line 2: ").and(predicate::str::contains("line 3: ")));
    assert_eq!(log.number("SELECT count(*) FROM notes"), 2);
}

#[test]
fn checking_records_nothing_and_makes_no_log() {
    let log = Log::new();
    log.annals(&["record", "--check"])
        .write_stdin(format!("{NOTE}\n{BAD}\n"))
        .assert()
        .code(1)
        .stderr(predicate::str::contains("line 2: "));
    log.annals(&["record", "--check"]).write_stdin(EVENTS).assert().success();
    assert!(!log.path().exists());
}

#[test]
fn the_form_of_lines_does_not_matter() {
    let log = Log::new();
    let lines = format!("\u{feff}{NOTE}\r\n\r\n  \n{NOTE}");
    log.annals(&["record", "-"]).write_stdin(lines).assert().success().stdout("2 events recorded\n");
}

#[test]
fn bytes_that_are_no_text_are_a_bad_line() {
    let log = Log::new();
    log.annals(&["record"])
        .write_stdin(b"{\"type\":\"note.logged\",\"message\":\"\xff\"}\n".to_vec())
        .assert()
        .code(2)
        .stderr(predicate::str::contains("line 1: is not UTF-8"));
}

#[test]
fn the_same_event_again_changes_nothing_and_another_with_its_id_is_named() {
    let id = "0198c5a0-0000-7000-8000-000000000001";
    let event = |message: &str| format!(r#"{{"type":"note.logged","id":"{id}","message":"{message}"}}"#);
    let log = Log::with(&event("a"));
    let lines = format!("{NOTE}\n{}\n", event("a"));
    log.annals(&["record"])
        .write_stdin(lines)
        .assert()
        .success()
        .stdout("1 event recorded, 1 already recorded\n");
    log.annals(&["record"])
        .write_stdin(format!("{NOTE}\n{}\n", event("b")))
        .assert()
        .code(2)
        .stderr(predicate::str::contains("line 2: ").and(predicate::str::contains(id)));
}

#[test]
fn only_annals_writes_its_own_kinds() {
    let log = Log::new();
    log.annals(&["record"])
        .write_stdin(r#"{"type":"payload.redacted","seqs":[2],"actor":"a","reason":"r"}"#)
        .assert()
        .code(2)
        .stderr(predicate::str::contains("only Annals itself writes"));
}

#[test]
fn counts_are_said_in_json() {
    let log = Log::new();
    let output = log.annals(&["--json", "record"]).write_stdin(NOTE).assert().success();
    let counts: serde_json::Value = serde_json::from_slice(&output.get_output().stdout).unwrap();
    assert_eq!(counts["appended"], 1);
    assert_eq!(counts["first_seq"], 2);
}

#[test]
fn a_file_that_is_not_there_makes_no_log() {
    let log = Log::new();
    log.annals(&["record", "no-such-file"]).assert().code(2);
    assert!(!log.path().exists());
}
