use std::num::NonZeroUsize;
use std::path::Path;

use rusqlite::{Connection, types::Value};

use super::game24::check;
use super::*;
use crate::verify;

fn options(threads: usize) -> Options {
    Options { threads: NonZeroUsize::new(threads).unwrap() }
}

fn rows(path: &Path, query: &str) -> Vec<Vec<Value>> {
    let file = Connection::open(path).unwrap();
    let mut statement = file.prepare(query).unwrap();
    let columns = statement.column_count();
    let rows = statement.query_map([], |row| (0..columns).map(|column| row.get(column)).collect());
    rows.unwrap().collect::<Result<_, _>>().unwrap()
}

fn puzzles() -> i64 {
    i64::try_from(PUZZLES.len()).unwrap()
}

fn number(path: &Path, query: &str) -> i64 {
    Connection::open(path).unwrap().query_row(query, [], |row| row.get(0)).unwrap()
}

#[test]
fn the_same_puzzles_give_the_same_record_whatever_the_threads() {
    let folder = tempfile::tempdir().unwrap();
    let record = |name: &str, threads| {
        let path = folder.path().join(name);
        let log = AuditLog::open(&path).unwrap();
        let report = run(&log, options(threads)).unwrap();
        log.close().unwrap();
        let tables = [
            "SELECT session_id, id, step_id, decision_type, options_considered, chosen_options, rationale, confidence
             FROM decisions ORDER BY session_id, id",
            "SELECT session_id, id, parent_step_id, module, kind, status, input, output, confidence
             FROM steps ORDER BY session_id, id",
            "SELECT session_id, id, step_id, severity, outcome, description, evidence
             FROM findings ORDER BY session_id, id",
            "SELECT id, status, input, summary, error, scores FROM sessions ORDER BY id",
        ];
        (report.puzzles, tables.map(|query| rows(&path, query)))
    };
    let alone = record("alone.db", 1);
    assert_eq!(alone, record("together.db", 7));
    assert!(alone.1.iter().all(|table| !table.is_empty()));
}

#[test]
fn a_run_leaves_every_session_and_step_ended_and_the_file_in_order() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("audit.db");
    let log = AuditLog::open(&path).unwrap();
    let report = run(&log, Options::default()).unwrap();
    let last = log.committed();
    log.close().unwrap();
    // The first event of the log is Annals' own.
    assert_eq!(last.get(), 1 + report.events as u64);
    let sessions =
        "SELECT count(*) FROM sessions WHERE status IN ('completed', 'failed') AND ended_at IS NOT NULL";
    assert_eq!(number(&path, sessions), puzzles());
    assert_eq!(number(&path, "SELECT count(*) FROM sessions"), puzzles());
    assert_eq!(number(&path, "SELECT count(*) FROM steps WHERE status <> 'ok' OR ended_at IS NULL"), 0);
    assert_eq!(number(&path, "SELECT count(*) FROM decisions"), 3 * puzzles(), "one at each depth");
    let verified = verify::verify(&path, verify::Scope::Everything, &mut |_, _| {}).unwrap();
    assert!(verified.self_consistent, "{:?}", verified.failures);
    assert!(verified.completeness.complete);
}

#[test]
fn answers_are_right_and_what_was_missed_is_found() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("audit.db");
    let log = AuditLog::open(&path).unwrap();
    let report = run(&log, Options::default()).unwrap();
    log.close().unwrap();
    let (mut found, mut missed, mut none) = (0, 0, 0);
    for (puzzle, numbers) in report.puzzles.iter().zip(PUZZLES) {
        match &puzzle.answer {
            Solution::Found(answer) => {
                assert_eq!(check(answer, numbers), Ok(()));
                found += 1;
            }
            Solution::Missed(answer) => {
                assert_eq!(check(answer, numbers), Ok(()));
                missed += 1;
            }
            Solution::NoneExists => none += 1,
            Solution::Wrong(answer) => panic!("{}: {answer}", puzzle.puzzle),
        }
    }
    // The parts of the list of puzzles: solved, misjudged, and without an answer.
    assert_eq!((found, missed, none), (45, 6, 3));
    assert_eq!(
        rows(&path, "SELECT severity, outcome, count(*) FROM findings GROUP BY severity ORDER BY severity"),
        [
            vec![Value::Text("high".into()), Value::Text("fail".into()), Value::Integer(missed)],
            vec![Value::Text("info".into()), Value::Text("pass".into()), Value::Integer(none)],
        ]
    );
    let evidence =
        "SELECT count(*) FROM findings WHERE severity = 'high' AND evidence ->> 'lost_at_depth' >= 1";
    assert_eq!(number(&path, evidence), missed);
}

#[test]
fn a_second_run_on_the_same_log_has_sessions_of_its_own() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("audit.db");
    let log = AuditLog::open(&path).unwrap();
    let first = run(&log, options(2)).unwrap();
    let last = log.committed();
    let second = run(&log, options(2)).unwrap();
    log.close().unwrap();
    assert_eq!(first.run, "game-of-24");
    assert_eq!(second.run, format!("game-of-24@{}", last.next()));
    assert_eq!(number(&path, "SELECT count(*) FROM sessions"), 2 * puzzles());
    // Both runs recorded as many events for each puzzle.
    assert_eq!(number(&path, "SELECT count(DISTINCT event_count) FROM sessions GROUP BY input"), 1);
}
