//! `annals sql` reads, and does nothing else.

use crate::support::program::{EVENTS, Log};
use predicates::prelude::*;

#[test]
fn whatever_is_tried_nothing_is_written() {
    let log = Log::with(EVENTS);
    let other = log.file("other.db");
    let before = std::fs::read(log.path()).unwrap();
    let other = other.display();
    for statement in [
        format!("ATTACH '{other}' AS other"),
        format!("VACUUM INTO '{other}'"),
        "VACUUM".to_owned(),
        "DETACH main".to_owned(),
        "DELETE FROM sessions".to_owned(),
        "UPDATE log SET hash = x'00'".to_owned(),
        "INSERT INTO search(search) VALUES ('optimize')".to_owned(),
        "CREATE TEMP TABLE t (a)".to_owned(),
        "DROP TABLE log".to_owned(),
        "BEGIN IMMEDIATE".to_owned(),
        "PRAGMA query_only = 0".to_owned(),
        "PRAGMA query_only(0)".to_owned(),
        "PRAGMA writable_schema = 1".to_owned(),
        "PRAGMA journal_mode = DELETE".to_owned(),
        "PRAGMA user_version = 9".to_owned(),
        "PRAGMA wal_checkpoint(TRUNCATE)".to_owned(),
        "PRAGMA optimize".to_owned(),
        "SELECT load_extension('x')".to_owned(),
        "SELECT 1; DELETE FROM sessions".to_owned(),
        "ANALYZE".to_owned(),
        "REINDEX".to_owned(),
    ] {
        log.annals(&["sql", &statement]).assert().code(2).stderr(predicate::str::starts_with("error: "));
    }
    assert!(!log.file("other.db").exists());
    assert_eq!(std::fs::read(log.path()).unwrap(), before);
}

#[test]
fn what_reads_is_answered() {
    let log = Log::with(EVENTS);
    for statement in [
        "SELECT count(*) FROM sessions",
        "PRAGMA table_info(sessions)",
        "PRAGMA user_version",
        "EXPLAIN QUERY PLAN SELECT * FROM steps",
        "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n WHERE x < 3) SELECT x FROM n",
        "SELECT * FROM search WHERE search MATCH 'policy'",
        "SELECT value FROM json_each('[1,2]')",
        "-- a comment\nSELECT 1",
    ] {
        log.annals(&["sql", statement]).assert().success();
    }
}

#[test]
fn rows_come_as_a_table_as_json_and_as_csv() {
    let log = Log::with(EVENTS);
    let query =
        "SELECT id, step_count, NULL AS none, 0.5 AS half, x'00ff' AS bytes FROM sessions ORDER BY id";
    let table = log.out(&["sql", query]);
    assert!(table.starts_with("id"), "{table}");
    let rows = log.json(&["sql", query]);
    assert_eq!(
        rows[0],
        serde_json::json!({"id": "bad", "step_count": 2, "none": null, "half": 0.5, "bytes": "00ff"})
    );
    assert_eq!(log.out(&["sql", "--csv", query]).lines().nth(1), Some("bad,2,,0.5,00ff"));
    assert_eq!(log.json(&["sql", "SELECT 1 WHERE 0"]), serde_json::json!([]));
    log.annals(&["sql", "SELECT * FROM nowhere"]).assert().code(2).stderr("error: no such table: nowhere\n");
    log.annals(&["sql", ""]).assert().code(2);
}

#[test]
fn the_queries_of_the_decision_record_run_as_they_stand() {
    let log = Log::with(EVENTS);
    let low = "SELECT DISTINCT s.id, s.started_at, MIN(st.confidence) as min_conf FROM sessions s
               JOIN steps st ON st.session_id = s.id GROUP BY s.id HAVING MIN(st.confidence) < 0.7;";
    assert_eq!(log.json(&["sql", low])[0]["id"], "bad");
    log.json(&[
        "sql",
        "SELECT module, COUNT(*) as uses, AVG(confidence) as avg_conf FROM steps
         WHERE started_at > datetime('now', '-7 days') GROUP BY module ORDER BY uses DESC;",
    ]);
    let replay = log.json(&["sql", "SELECT * FROM steps WHERE session_id = 'bad' ORDER BY started_at;"]);
    assert_eq!(replay.as_array().unwrap().len(), 2);
}
