//! The course of a session: erased, started again, labelled, and summed up.

use std::path::Path;

use crate::support::{json, new_path, sqlite, verify_whole};
use annals::{AuditLog, RedactionRequest, Seq};
use rusqlite::types::Value;

/// Appends events, and says where they are. What the tables make of them is what a fold from the first event makes.
fn record(path: &Path, events: &[&str]) -> Vec<Seq> {
    let log = AuditLog::open(path).unwrap();
    let seqs = events.iter().map(|event| log.append(json(event)).unwrap().wait().unwrap().seq).collect();
    log.close().unwrap();
    verify_whole(path);
    seqs
}

fn redact(path: &Path, seqs: &[Seq]) {
    let log = AuditLog::open(path).unwrap();
    log.redact(RedactionRequest {
        seqs: seqs.to_vec(),
        actor: "ada".into(),
        reason: "asked for".into(),
        ..Default::default()
    })
    .unwrap();
    log.close().unwrap();
    verify_whole(path);
}

fn ask(path: &Path, sql: &str) -> Vec<Value> {
    let connection = sqlite(path);
    let mut statement = connection.prepare(sql).unwrap();
    let columns = statement.column_count();
    statement.query_row([], |row| (0..columns).map(|column| row.get(column)).collect()).unwrap()
}

fn status(path: &Path) -> String {
    match &ask(path, "SELECT status FROM sessions WHERE id = 's'")[0] {
        Value::Text(status) => status.clone(),
        other => panic!("{other:?}"),
    }
}

const STARTED: &str =
    r#"{"type":"session.started","session":"s","at":"2026-11-20T12:00:00Z","input":"private"}"#;
const NOTE: &str = r#"{"type":"note.logged","session":"s","message":"private"}"#;
const ENDED: &str = r#"{"type":"session.ended","session":"s","at":"2026-11-20T12:05:00Z","status":"failed","error":"private"}"#;

#[test]
fn a_session_whose_every_event_was_erased_is_erased_and_not_open() {
    for events in [&[STARTED, NOTE, ENDED][..], &[STARTED, NOTE]] {
        let (_folder, path) = new_path();
        let seqs = record(&path, events);
        redact(&path, &seqs);
        assert_eq!(status(&path), "erased");
        assert!(verify_whole(&path).completeness.complete);
        // What is said afterwards counts.
        record(&path, &[r#"{"type":"session.ended","session":"s","status":"completed"}"#]);
        assert_eq!(status(&path), "completed");
    }
}

#[test]
fn a_session_whose_end_was_erased_is_erased_and_one_that_lost_another_event_is_not() {
    let (_folder, path) = new_path();
    let seqs = record(&path, &[STARTED, NOTE, ENDED]);
    redact(&path, &seqs[2..]);
    assert_eq!(status(&path), "erased");
    assert!(verify_whole(&path).completeness.complete);
    let (_folder, path) = new_path();
    let seqs = record(&path, &[STARTED, NOTE]);
    redact(&path, &seqs[1..]);
    assert_eq!(status(&path), "running");
    assert_eq!(verify_whole(&path).completeness.sessions_open, 1);
    let seqs = record(&path, &[ENDED]);
    assert_eq!(status(&path), "failed");
    redact(&path, &seqs);
    assert_eq!(status(&path), "erased");
}

#[test]
fn a_session_that_starts_again_runs_again_and_has_no_duration_of_two_runs() {
    let (_folder, path) = new_path();
    record(&path, &[STARTED, ENDED]);
    const COURSE: &str = "SELECT status, ended_at, duration_us, error FROM sessions WHERE id = 's'";
    assert_eq!(ask(&path, COURSE)[2], Value::Integer(300_000_000));
    let again = r#"{"type":"session.started","session":"s","at":"2026-11-20T13:00:00Z"}"#;
    record(&path, &[again]);
    assert_eq!(ask(&path, COURSE), ["running".to_owned().into(), Value::Null, Value::Null, Value::Null]);
    assert_eq!(verify_whole(&path).completeness.sessions_open, 1);
    // An end of the first run that comes late ends nothing.
    record(
        &path,
        &[r#"{"type":"session.ended","session":"s","at":"2026-11-20T12:30:00Z","status":"failed"}"#],
    );
    assert_eq!(status(&path), "running");
    let end = r#"{"type":"session.ended","session":"s","at":"2026-11-20T13:00:01Z","status":"completed"}"#;
    record(&path, &[end]);
    assert_eq!(ask(&path, COURSE)[..1], ["completed".to_owned().into()]);
    assert_eq!(ask(&path, COURSE)[2..], [Value::Integer(1_000_000), Value::Null]);
}

#[test]
fn a_start_that_is_recorded_after_its_end_starts_nothing_again() {
    let (_folder, path) = new_path();
    record(&path, &[ENDED, STARTED, STARTED]);
    assert_eq!(status(&path), "failed");
    // The clocks of two machines disagree.
    let (_folder, path) = new_path();
    let early = r#"{"type":"session.ended","session":"s","at":"2026-11-20T11:59:59Z","status":"completed"}"#;
    record(&path, &[early, STARTED]);
    let course = ask(&path, "SELECT status, duration_us FROM sessions WHERE id = 's'");
    assert_eq!(course, ["completed".to_owned().into(), Value::Null]);
}

#[test]
fn a_step_that_starts_again_runs_again() {
    let (_folder, path) = new_path();
    record(
        &path,
        &[
            r#"{"type":"step.started","session":"s","step":"1","at":"2026-11-20T12:00:00Z"}"#,
            r#"{"type":"step.ended","session":"s","step":"1","at":"2026-11-20T12:00:01Z","status":"error","error":"late"}"#,
            r#"{"type":"step.started","session":"s","step":"1","at":"2026-11-20T12:00:02Z"}"#,
        ],
    );
    let step = ask(&path, "SELECT status, ended_at, duration_us, error FROM steps");
    assert_eq!(step, ["running".to_owned().into(), Value::Null, Value::Null, Value::Null]);
    assert_eq!(ask(&path, "SELECT error_count FROM sessions"), [Value::Integer(0)]);
}

#[test]
fn labels_of_an_update_are_labels_of_the_session() {
    let (_folder, path) = new_path();
    record(
        &path,
        &[
            r#"{"type":"session.started","session":"s","labels":{"env":"test","team":"a"}}"#,
            r#"{"type":"session.updated","session":"s","labels":{"env":"production"},"shard":7}"#,
            r#"{"type":"session.updated","session":"s","labels":["no","object"]}"#,
            r#"{"type":"session.ended","session":"s","status":"completed","labels":{"cost":"low"}}"#,
        ],
    );
    assert_eq!(
        ask(&path, "SELECT labels, attributes FROM sessions"),
        [
            r#"{"cost":"low","env":"production","team":"a"}"#.to_owned().into(),
            r#"{"labels":["no","object"],"shard":7}"#.to_owned().into(),
        ]
    );
}

#[test]
fn labels_that_a_session_has_no_room_for_are_counted_and_stand_nowhere_else() {
    let (_folder, path) = new_path();
    let labelled = |name: &str, more: &str| {
        let label = "w".repeat(3_500_000);
        format!(r#"{{"type":"session.updated","session":"s","labels":{{"{name}":"{label}"}}{more}}}"#)
    };
    let [a, b, c, d] =
        [("a", ""), ("b", ""), ("c", ""), ("d", r#","shard":7"#)].map(|(name, more)| labelled(name, more));
    record(&path, &[&a, &b, &c, &d]);
    let names = "(SELECT group_concat(key) FROM json_each(labels))";
    assert_eq!(
        ask(&path, &format!("SELECT {names}, attributes FROM sessions")),
        ["a,b".to_owned().into(), r#"{"annals.events_left_out":2,"shard":7}"#.to_owned().into()]
    );
    // The count is the row's own: no event says it, or begins it anew.
    record(&path, &[r#"{"type":"session.updated","session":"s","annals.events_left_out":"none","shard":8}"#]);
    assert_eq!(
        ask(&path, "SELECT attributes FROM sessions"),
        [r#"{"annals.events_left_out":2,"shard":8}"#.to_owned().into()]
    );
}

#[test]
fn the_count_of_events_left_out_is_nothing_that_an_event_can_say() {
    let (_folder, path) = new_path();
    let forged = r#""annals.events_left_out":7"#;
    record(
        &path,
        &[
            &format!(r#"{{"type":"session.started","session":"s",{forged},"a":1}}"#),
            &format!(r#"{{"type":"session.updated","session":"s",{forged}}}"#),
            &format!(r#"{{"type":"step.started","session":"s","step":"1","module":"m",{forged}}}"#),
        ],
    );
    assert_eq!(ask(&path, "SELECT attributes FROM sessions"), [r#"{"a":1}"#.to_owned().into()]);
    assert_eq!(ask(&path, "SELECT attributes FROM steps"), [Value::Null]);
}

#[test]
fn a_sum_that_cannot_be_held_is_not_known_instead_of_wrong() {
    let (_folder, path) = new_path();
    let most = "4611686018427387903";
    let step = |id: &str, tokens: &str, cost: &str| {
        [
            format!(r#"{{"type":"step.started","session":"s","step":"{id}","kind":"llm"}}"#),
            format!(
                r#"{{"type":"step.ended","session":"s","step":"{id}","status":"ok","tokens_input":{tokens},"tokens_output":2,"cost_usd":{cost}}}"#
            ),
        ]
    };
    const SUMS: &str =
        "SELECT tokens_input, tokens_output, tokens_used, cost_usd, steps_tokens_input FROM sessions";
    let [started, ended] = step("1", "3", "0.5");
    record(&path, &[&started, &ended]);
    let known =
        [Value::Integer(3), Value::Integer(2), Value::Integer(5), Value::Real(0.5), Value::Integer(3)];
    assert_eq!(ask(&path, SUMS), known);
    let [started, ended] = step("2", most, "1.7e308");
    record(&path, &[&started, &ended]);
    let most = Value::Integer(most.parse().unwrap());
    let unknown = [Value::Null, Value::Integer(4), Value::Null, Value::Null, most.clone()];
    assert_eq!(ask(&path, SUMS), unknown);
    // It does not go on from the largest number as if that were the sum.
    let [started, ended] = step("2", "1", "1");
    record(&path, &[&started, &ended]);
    assert_eq!(ask(&path, SUMS), unknown);
    record(&path, &[r#"{"type":"session.ended","session":"s","status":"completed","tokens_input":9}"#]);
    assert_eq!(ask(&path, SUMS)[..3], [Value::Integer(9), Value::Integer(4), Value::Integer(13)]);
}

#[test]
fn an_error_with_a_nul_is_the_same_error_after_a_restart() {
    let (_folder, path) = new_path();
    let span = |id: &str, parent: &str, message: &str| {
        format!(
            r#"{{"type":"otel.span","session":"s","span":{{"traceId":"5b8efff798038103d269b633813fc60c","spanId":"{id}","parentSpanId":"{parent}","name":"x","startTimeUnixNano":"1","endTimeUnixNano":"2","status":{{"code":2,"message":"{message}"}}}}}}"#
        )
    };
    let (root, part) = ("00000000000000a1", "00000000000000a2");
    // Each call opens the log again, so that rows come from the tables.
    record(&path, &[&span(root, "", "a\\u0000b")]);
    record(&path, &[&span(part, root, "a\\u0000b")]);
    assert_eq!(ask(&path, "SELECT count(*), max(step_id) FROM findings"), [1.into(), part.to_owned().into()]);
    record(
        &path,
        &[r#"{"type":"step.ended","session":"s","step":"00000000000000a2","status":"error","error":"b"}"#],
    );
    assert_eq!(ask(&path, "SELECT error FROM steps WHERE id = '00000000000000a2'"), ["b".to_owned().into()]);
}
