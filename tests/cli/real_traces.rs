//! Real traces through the real program: imported, imported again, verified, and read with programs
//! that know nothing of Annals.
//!
//! The traces are read from `$ANNALS_TEST_DATA`, else from `../shared/data`. Without them these tests
//! say that they were skipped; in CI they must be there.

use std::path::{Path, PathBuf};
use std::process::Command;

use assert_cmd::cargo::cargo_bin;
use rusqlite::Connection;
use serde_json::Value;

/// The file of traces with this name, unless it is not here.
fn traces(name: &str) -> Option<PathBuf> {
    let folder = std::env::var_os("ANNALS_TEST_DATA")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/data"), PathBuf::from);
    let file = folder.join(name);
    if file.exists() {
        return Some(file);
    }
    assert!(std::env::var_os("CI").is_none(), "{} is missing", file.display());
    println!("skipped: {} is missing", file.display());
    None
}

struct Log {
    folder: tempfile::TempDir,
}

impl Log {
    fn new() -> Log {
        Log { folder: tempfile::tempdir().unwrap() }
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("audit.db")
    }

    fn import(&self, what: &str, file: &Path) -> Value {
        self.annals(&["import", what, file.to_str().unwrap()])
    }

    /// Runs the program, which must succeed, and reads its answer.
    fn annals(&self, args: &[&str]) -> Value {
        serde_json::from_slice(&self.run(args)).unwrap()
    }

    fn run(&self, args: &[&str]) -> Vec<u8> {
        let output = Command::new(cargo_bin("annals"))
            .arg("--json")
            .arg("--db")
            .arg(self.path())
            .args(args)
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        output.stdout
    }

    fn count(&self, query: &str) -> i64 {
        Connection::open(self.path()).unwrap().query_row(query, [], |row| row.get(0)).unwrap()
    }

    fn head(&self) -> Value {
        self.annals(&["verify"])["log"]["head"].clone()
    }
}

#[test]
fn tau_bench_runs_become_sessions_with_steps_and_findings() {
    let Some(file) = traces("tau-bench-airline.json") else { return };
    let log = Log::new();
    log.import("tau-bench", &file);
    assert_eq!(log.count("SELECT count(*) FROM sessions"), 200);
    assert_eq!(log.count("SELECT count(*) FROM sessions WHERE status = 'completed'"), 84);
    assert_eq!(log.count("SELECT count(*) FROM sessions WHERE status = 'failed'"), 116);
    assert_eq!(log.count("SELECT count(*) FROM steps"), 2_454);
    assert_eq!(log.count("SELECT count(*) FROM steps WHERE kind = 'tool'"), 1_164);
    assert_eq!(log.count("SELECT count(*) FROM steps WHERE module = 'respond'"), 1_290);
    assert_eq!(log.count("SELECT count(*) FROM steps WHERE status = 'error'"), 73);
    assert_eq!(log.count("SELECT sum(error_count) FROM sessions"), 73);
    assert_eq!(log.count("SELECT count(*) FROM findings WHERE severity = 'high' AND outcome = 'fail'"), 116);
    assert_eq!(
        log.count("SELECT count(*) FROM steps WHERE started_at IS NOT NULL"),
        0,
        "times are not invented"
    );
    assert_eq!(log.annals(&["verify"])["self_consistent"], true);
}

#[test]
fn tree_of_thought_records_become_sessions_with_a_decision_a_step() {
    let Some(file) = traces("tree-of-thought-game24.json") else { return };
    let log = Log::new();
    log.import("tree-of-thought", &file);
    assert_eq!(log.count("SELECT count(*) FROM sessions"), 100);
    assert_eq!(log.count("SELECT count(*) FROM sessions WHERE status = 'failed'"), 31);
    assert_eq!(log.count("SELECT count(*) FROM steps"), 400);
    assert_eq!(log.count("SELECT count(*) FROM decisions"), 400);
    assert_eq!(log.count("SELECT count(*) FROM decisions WHERE json_array_length(chosen_options) = 5"), 400);
    assert_eq!(log.count("SELECT tokens_output FROM sessions WHERE id LIKE '%/900'"), 9_161);
    assert_eq!(log.annals(&["verify"])["self_consistent"], true);
}

#[test]
fn a_second_import_adds_nothing() {
    let Some(file) = traces("tree-of-thought-game24.json") else { return };
    let log = Log::new();
    log.import("tree-of-thought", &file);
    let head = log.head();
    log.import("tree-of-thought", &file);
    assert_eq!(log.head(), head);
}

#[test]
fn an_export_recorded_elsewhere_gives_the_same_read_tables() {
    let Some(file) = traces("tau-bench-airline.json") else { return };
    let (log, other) = (Log::new(), Log::new());
    log.import("tau-bench", &file);
    let exported = log.folder.path().join("events.jsonl");
    log.run(&["export", "--format", "jsonl", "--output", exported.to_str().unwrap()]);
    other.annals(&["record", exported.to_str().unwrap()]);
    for (table, key) in [("sessions", "id"), ("steps", "session_id, id"), ("findings", "session_id, id")] {
        assert_eq!(rows(&log, table, key), rows(&other, table, key), "{table}");
    }
}

/// A table's rows without places in the log and times of recording.
fn rows(log: &Log, table: &str, key: &str) -> Vec<Vec<(String, rusqlite::types::Value)>> {
    let connection = Connection::open(log.path()).unwrap();
    let mut statement = connection.prepare(&format!("SELECT * FROM {table} ORDER BY {key}")).unwrap();
    let names: Vec<String> = statement.column_names().map(str::to_owned).collect();
    let rows = statement
        .query_map([], |row| {
            names
                .iter()
                .enumerate()
                .filter(|(_, name)| !name.ends_with("_seq") && !name.ends_with("recorded_at"))
                .map(|(column, name)| Ok((name.clone(), row.get(column)?)))
                .collect()
        })
        .unwrap();
    rows.map(Result::unwrap).collect()
}

#[test]
fn datasette_shows_the_tables_without_configuration() {
    let Some(datasette) = std::env::var_os("ANNALS_TEST_DATASETTE") else {
        println!("skipped: tools/test installs datasette and names it in ANNALS_TEST_DATASETTE");
        return;
    };
    let Some(file) = traces("tree-of-thought-game24.json") else { return };
    let log = Log::new();
    log.import("tree-of-thought", &file);
    let page = |path: &str| -> Vec<u8> {
        let output = Command::new(&datasette).arg(log.path()).arg("--get").arg(path).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        output.stdout
    };
    let get = |path: &str| -> Value { serde_json::from_slice(&page(path)).unwrap() };
    let sessions = get("/audit/sessions.json?status=failed&_shape=array&_size=max");
    assert_eq!(sessions.as_array().unwrap().len(), 31);
    let found = get("/audit/search_documents.json?_search=left&_shape=array&_size=max");
    let hits: i64 = crate::support::sqlite(&log.path())
        .query_row("SELECT count(*) FROM search WHERE search MATCH 'left'", [], |row| row.get(0))
        .unwrap();
    assert!(hits > 1_000, "{hits}");
    assert_eq!(found.as_array().unwrap().len(), 1_000, "as many as Datasette gives at once");
    let shown = String::from_utf8(page("/audit/search_documents?_search=left")).unwrap();
    assert!(shown.contains("name=\"_search\""), "the page has a field to search in");
    assert!(shown.contains(&format!("{},{:03} rows", hits / 1_000, hits % 1_000)), "{shown}");
}
