//! `annals import sqlite`.

use std::fs;
use std::path::Path;

use crate::mapping::blocks;
use crate::support::program::Log;
use predicates::prelude::*;
use predicates::str::contains;
use rusqlite::Connection;

/// A database of the sessions, steps and decisions of a reasoning engine.
const REASONING: &str = r#"
    PRAGMA journal_mode = WAL;
    CREATE TABLE sessions (id TEXT PRIMARY KEY, started_at TEXT NOT NULL, ended_at TEXT, profile TEXT NOT NULL,
        input_hash TEXT NOT NULL, status TEXT NOT NULL);
    CREATE TABLE steps (id TEXT PRIMARY KEY, session_id TEXT NOT NULL REFERENCES sessions(id), module TEXT NOT NULL,
        started_at TEXT NOT NULL, ended_at TEXT, input_summary TEXT, output_summary TEXT, confidence REAL,
        tokens_used INTEGER, error TEXT);
    CREATE TABLE decisions (id TEXT PRIMARY KEY, step_id TEXT NOT NULL REFERENCES steps(id),
        decision_type TEXT NOT NULL, options_considered TEXT, chosen_option TEXT, rationale TEXT);
    INSERT INTO sessions VALUES
        ('a', '2026-11-20 12:00:00', '2026-11-20 12:00:09.25', 'quick', 'h1', 'success'),
        ('b', '2026-11-20 13:00:00', NULL, 'deep', 'h2', 'running');
    INSERT INTO steps VALUES
        ('a1', 'a', 'laser', '2026-11-20 12:00:01', '2026-11-20 12:00:02', 'q', 'r', 0.875, 120, NULL),
        ('a2', 'a', 'proof', '2026-11-20 12:00:03', '2026-11-20 12:00:08', NULL, NULL, 0.1, NULL, 'no proof'),
        ('b1', 'b', 'laser', '2026-11-20 13:00:01', NULL, 'q', NULL, NULL, NULL, NULL);
    INSERT INTO decisions VALUES ('d', 'a1', 'branch', '[{"option": "x", "score": 0.5}, "y"]', 'x', 'better');
"#;

/// A database of the validations of documents, with a history of corrections and an audit trail.
const VALIDATIONS: &str = r#"
    CREATE TABLE validation_results (id INTEGER PRIMARY KEY, validation_id INTEGER, gate_key TEXT, status TEXT,
        severity TEXT, message TEXT, legal_source TEXT, confidence_score REAL, evidence TEXT, created_at INTEGER);
    CREATE TABLE audit_trail (action TEXT, entity_type TEXT, entity_id INTEGER, actor_id TEXT, changes TEXT,
        ip_address TEXT, timestamp REAL, attachment BLOB);
    INSERT INTO validation_results VALUES
        (1, 7, 'gdpr.minimization', 'fail', 'high', 'too much', 'Art. 5', 0.5, '{"page": 3}', 1795176000000),
        (2, 7, 'gdpr.consent', 'pass', NULL, NULL, NULL, 1.0, NULL, 1795176001000),
        (3, 8, 'gdpr.consent', 'skip', NULL, NULL, NULL, NULL, NULL, 1795176002000);
    INSERT INTO audit_trail VALUES
        ('update', 'document', 5, 'u1', '{"before": {"v": 1}, "after": {"v": 2}}', '10.0.0.1', 1795176000.25, x'00ff'),
        ('delete', 'document', 6, 'u2', NULL, NULL, 1795176001.5, NULL);
"#;

const VALIDATIONS_MAP: &str = r#"
    source = "loki"

    [[query]]
    name = "results"
    sql = "SELECT * FROM validation_results"
    key = "$.id"

    [[query]]
    name = "trail"
    sql = "SELECT * FROM audit_trail ORDER BY rowid"

    [[event]]
    query = "results"
    type = "finding.raised"
    fields.session = { path = "$.validation_id", prefix = "validation/" }
    fields.finding = "$.id"
    fields.at = { path = "$.created_at", time = "ms" }
    fields.pattern_type = "$.gate_key"
    fields.outcome = "$.status"
    fields.severity = "$.severity"
    fields.description = "$.message"
    fields.legal_source = "$.legal_source"
    fields.confidence = "$.confidence_score"
    fields.evidence = { path = "$.evidence", as = "json" }

    [[event]]
    query = "trail"
    type = "action.recorded"
    fields.at = { path = "$.timestamp", time = "s" }
    fields.action = "$.action"
    fields.actor = { members = { id = "$.actor_id" } }
    fields.entity_type = "$.entity_type"
    fields.entity_id = "$.entity_id"
    fields.changes = { path = "$.changes", as = "json" }
    fields.context = { members = { ip = "$.ip_address" } }

    [[event]]
    query = "trail"
    type = "artifact.attached"
    when = { path = "$.attachment", exists = true }
    fields.artifact = "$.attachment.blake3"
    fields.size = "$.attachment.bytes"
"#;

fn database(path: &Path, sql: &str) -> Connection {
    let connection = Connection::open(path).unwrap();
    connection.execute_batch(sql).unwrap();
    connection
}

fn import(log: &Log, more: &[&str]) -> assert_cmd::assert::Assert {
    let (database, map) = (log.file("app.db"), log.file("map.toml"));
    let args = ["import", "sqlite", database.to_str().unwrap(), "--map", map.to_str().unwrap()];
    log.annals(&[&args[..], more].concat()).assert()
}

#[test]
fn sessions_steps_and_decisions_are_imported_once_and_rows_that_are_added_later_too() {
    let log = Log::new();
    fs::write(log.file("map.toml"), &blocks("mapping.md")["reasoning.toml"]).unwrap();
    // It stays open, and its rows are in the write-ahead log.
    let app = database(&log.file("app.db"), REASONING);
    import(&log, &[]).success().stdout("9 events recorded: 2 sessions, 3 steps, 1 decisions, 0 findings\n");
    import(&log, &[])
        .success()
        .stdout("0 events recorded, 9 already recorded: 2 sessions, 3 steps, 1 decisions, 0 findings\n");
    let rows = log.json(&["sql", "SELECT id, status, duration_us FROM sessions ORDER BY id"]);
    assert_eq!(
        rows,
        serde_json::json!([
            {"id": "a", "status": "completed", "duration_us": 9_250_000},
            {"id": "b", "status": "running", "duration_us": null},
        ])
    );
    let rows = log.json(&["sql", "SELECT id, status, confidence, error, attributes FROM steps ORDER BY id"]);
    assert_eq!(rows[0]["confidence"], 0.875);
    assert_eq!(rows[0]["attributes"].as_str().map(|text| text.contains("120")), Some(true), "{rows}");
    assert_eq!((&rows[1]["status"], &rows[1]["error"]), (&"error".into(), &"no proof".into()));
    assert_eq!(rows[2]["status"], "running");
    let decided = log.json(&["sql", "SELECT options_considered, decided_at, step_id FROM decisions"]);
    assert_eq!(decided[0]["options_considered"], r#"[{"option":"x","score":0.5},{"option":"y"}]"#);
    assert_eq!(decided[0]["decided_at"], "2026-11-20 12:00:02.000000");
    app.execute_batch(
        "INSERT INTO steps VALUES ('b2', 'b', 'proof', '2026-11-20 13:00:02', NULL, NULL, NULL, NULL, NULL, NULL)",
    )
    .unwrap();
    import(&log, &[]).success().stdout(contains("1 event recorded, 9 already recorded"));
}

#[test]
fn findings_and_actions_keep_types_json_and_blobs() {
    let log = Log::new();
    fs::write(log.file("map.toml"), VALIDATIONS_MAP).unwrap();
    drop(database(&log.file("app.db"), VALIDATIONS));
    import(&log, &[]).success().stdout("6 events recorded: 0 sessions, 0 steps, 0 decisions, 3 findings\n");
    import(&log, &[]).success().stdout(contains("0 events recorded, 6 already recorded"));
    let rows =
        log.json(&["sql", "SELECT id, outcome, severity, evidence, raised_at FROM findings ORDER BY id"]);
    assert_eq!(
        rows[0],
        serde_json::json!({"id": "1", "outcome": "fail", "severity": "high", "evidence": "{\"page\": 3}",
            "raised_at": "2026-11-20 12:00:00.000000"})
    );
    let rows =
        log.json(&["sql", "SELECT entity_id, after, ip, acted_at, attributes FROM actions ORDER BY seq"]);
    assert_eq!((&rows[0]["after"], &rows[0]["entity_id"]), (&"{\"v\": 2}".into(), &"5".into()));
    assert_eq!(
        (&rows[0]["ip"], &rows[0]["acted_at"]),
        (&"10.0.0.1".into(), &"2026-11-20 12:00:00.250000".into())
    );
    assert!(rows[0]["attributes"].as_str().unwrap().contains("\"attachment.hex\":\"00ff\""), "{rows}");
    let artifact = log.json(&["sql", "SELECT id, size FROM artifacts"]);
    assert_eq!(artifact[0]["size"], 2);
    assert_eq!(artifact[0]["id"], annals::Digest::of([0, 255]).to_string());
}

#[test]
fn a_query_that_cannot_be_used_is_refused_before_anything_is_read() {
    for (sql, error) in [
        ("SELECT absent FROM sessions", "the query `q` of the map: no such column: absent"),
        ("DELETE FROM sessions", "the query `q` of the map: it is not a query"),
        (
            "INSERT INTO sessions VALUES (1,1,1,1,1,1) RETURNING id",
            "the query `q` of the map: it is not a query",
        ),
        ("SELECT id, profile AS id FROM sessions", "two of its columns have the name `id`"),
        ("SELECT ? AS id", "it has parameters"),
    ] {
        let log = Log::new();
        let map = format!(
            "[[query]]\nname = \"first\"\nsql = \"SELECT id FROM sessions\"\n[[query]]\nname = \"q\"\nsql = \"{sql}\"\n\
             [[event]]\nquery = \"first\"\ntype = \"note.logged\"\nfields.message = \"$.id\"\n"
        );
        fs::write(log.file("map.toml"), map).unwrap();
        drop(database(&log.file("app.db"), REASONING));
        import(&log, &[]).code(2).stdout("0 events recorded\n").stderr(contains(error));
        assert!(!log.path().exists());
    }
}

#[test]
fn a_bad_row_is_named_and_can_be_left_out() {
    let log = Log::new();
    let map = "[[query]]\nname = \"q\"\nsql = \"SELECT id, ended_at FROM sessions ORDER BY id DESC\"\n\
               [[event]]\nquery = \"q\"\ntype = \"note.logged\"\nfields.message = \"$.ended_at\"\n";
    fs::write(log.file("map.toml"), map).unwrap();
    drop(database(&log.file("app.db"), REASONING));
    let error =
        "query `q`, row 1: event `note.logged`: note.logged: field `message`: is missing (from `$.ended_at`)";
    import(&log, &[]).code(2).stdout("0 events recorded\n").stderr(contains(error));
    import(&log, &["--skip-bad"])
        .code(1)
        .stdout(contains("1 event recorded, 1 refused"))
        .stderr(contains(error));
}

#[test]
fn of_a_row_with_an_event_that_is_too_large_no_event_is_recorded() {
    let log = Log::new();
    let map = "[[query]]\nname = \"q\"\nsql = \"SELECT * FROM t\"\nkey = \"$.id\"\n\
               [[event]]\nquery = \"q\"\ntype = \"note.logged\"\nfields.message = \"$.id\"\n\
               [[event]]\nquery = \"q\"\nname = \"more\"\ntype = \"note.logged\"\nfields.message = \"$.more\"\n";
    fs::write(log.file("map.toml"), map).unwrap();
    let rows =
        "CREATE TABLE t (id, more); INSERT INTO t VALUES ('a', printf('%.5242880c', 'x')), ('b', 'c');";
    drop(database(&log.file("app.db"), rows));
    let error = contains("query `q`, row 1: the payload has");
    import(&log, &[]).code(2).stdout("0 events recorded\n").stderr(error.clone());
    import(&log, &["--skip-bad"]).code(1).stdout(contains("2 events recorded, 1 refused")).stderr(error);
    assert_eq!(log.number("SELECT count(*) FROM notes WHERE message = 'a'"), 0);
}

#[test]
fn a_file_that_is_no_database_and_a_map_without_queries_are_refused() {
    let log = Log::new();
    fs::write(log.file("map.toml"), VALIDATIONS_MAP).unwrap();
    import(&log, &[]).code(2).stderr(contains("cannot be opened"));
    fs::write(log.file("app.db"), "not a database, but long enough to have a header of one").unwrap();
    import(&log, &[]).code(2).stderr(contains("this is not a SQLite database"));
    fs::write(log.file("app.db"), "").unwrap();
    import(&log, &[]).code(2).stderr(contains("the file is empty; expected a SQLite database"));
    fs::write(log.file("map.toml"), "[[event]]\ntype = \"custom\"\nfields.name = \"$.n\"").unwrap();
    import(&log, &[]).code(2).stderr(contains("use it with `annals record --map`").and(contains("app.db")));
    assert!(!log.path().exists());
}
