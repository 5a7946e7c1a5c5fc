//! Sessions of coding agents through the real program: imported, imported again while they grow, and refused.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use assert_cmd::cargo::cargo_bin;
use rusqlite::Connection;
use serde_json::Value;

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/agents").join(name)
}

/// A folder with a log, and with copies of fixtures.
struct Place {
    folder: tempfile::TempDir,
}

impl Place {
    fn new() -> Place {
        Place { folder: tempfile::tempdir().unwrap() }
    }

    fn file(&self, name: &str, content: &str) -> PathBuf {
        let path = self.folder.path().join(name);
        std::fs::write(&path, content).unwrap();
        path
    }

    fn log(&self) -> PathBuf {
        self.folder.path().join("audit.db")
    }

    fn run(&self, format: &str, file: &Path, flags: &[&str]) -> Output {
        Command::new(cargo_bin("annals"))
            .args(["--json", "--db"])
            .arg(self.log())
            .args(["import", format])
            .arg(file)
            .args(flags)
            .output()
            .unwrap()
    }

    fn import(&self, format: &str, file: &Path) -> Value {
        let output = self.run(format, file, &[]);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        serde_json::from_slice(&output.stdout).unwrap()
    }

    fn sql<T: rusqlite::types::FromSql>(&self, sql: &str) -> T {
        Connection::open(self.log()).unwrap().query_row(sql, [], |row| row.get(0)).unwrap()
    }
}

const FORMATS: [(&str, &str); 3] =
    [("claude-code", "claude-code.jsonl"), ("codex", "codex.jsonl"), ("codex", "codex-2025.jsonl")];

#[test]
fn a_session_of_claude_code_is_in_the_read_tables() {
    let place = Place::new();
    let report = place.import("claude-code", &fixture("claude-code.jsonl"));
    assert_eq!(report["steps"], place.sql::<i64>("SELECT count(*) FROM steps"));
    assert_eq!(
        (&report["sessions"], &report["findings"], &report["refused"]),
        (&1.into(), &4.into(), &0.into())
    );
    assert_eq!(place.sql::<String>("SELECT status FROM sessions"), "cancelled");
    assert_eq!(place.sql::<String>("SELECT input FROM sessions"), "Why does the checkout test fail?");
    // Each answer's usage counts once: 97 and 60 of the session, 20 and 15 of its sidechain.
    assert_eq!(place.sql::<i64>("SELECT tokens_output FROM sessions"), 97 + 60 + 20 + 15);
    assert_eq!(place.sql::<i64>("SELECT count(*) FROM decisions WHERE decision_type = 'tool'"), 4);
    assert_eq!(place.sql::<i64>("SELECT count(*) FROM steps WHERE status = 'running'"), 0);
    let path = "WITH RECURSIVE up(id, depth) AS (SELECT 'msg_02S', 0 UNION ALL
        SELECT parent_step_id, depth + 1 FROM steps JOIN up USING (id) WHERE parent_step_id IS NOT NULL)
        SELECT group_concat(id, ' < ') FROM (SELECT id FROM up ORDER BY depth)";
    assert_eq!(place.sql::<String>(path), "msg_02S < agent/a17c9e2 < toolu_01Task0001 < msg_01A");
}

#[test]
fn a_session_of_codex_is_in_the_read_tables() {
    let place = Place::new();
    let report = place.import("codex", &fixture("codex.jsonl"));
    assert_eq!(
        (&report["sessions"], &report["findings"], &report["refused"]),
        (&1.into(), &3.into(), &0.into())
    );
    assert_eq!(place.sql::<String>("SELECT status FROM sessions"), "cancelled");
    // The answer that was interrupted.
    assert_eq!(place.sql::<String>("SELECT summary FROM sessions"), "I look at");
    // The last total of the file.
    assert_eq!(place.sql::<i64>("SELECT tokens_input FROM sessions"), 14_475 + 15_100 + 15_300 + 15_500);
    assert_eq!(place.sql::<i64>("SELECT tokens_output FROM sessions"), 216 + 90 + 40 + 300);
    assert_eq!(place.sql::<i64>("SELECT count(*) FROM decisions WHERE decision_type = 'tool'"), 4);
    assert_eq!(place.sql::<i64>("SELECT count(*) FROM steps WHERE status = 'running'"), 0);
    assert_eq!(place.sql::<i64>("SELECT error_count FROM sessions"), 5);
}

#[test]
fn the_file_of_a_subagent_adds_to_its_session_in_whatever_order_they_come() {
    for order in [[0, 1], [1, 0]] {
        let place = Place::new();
        let files = ["claude-code.jsonl", "claude-code-subagent.jsonl"];
        for file in order.map(|index| files[index]) {
            place.import("claude-code", &fixture(file));
        }
        assert_eq!(place.sql::<i64>("SELECT count(*) FROM sessions"), 1);
        assert_eq!(place.sql::<String>("SELECT status FROM sessions"), "cancelled");
        assert_eq!(
            place.sql::<String>("SELECT output FROM steps WHERE id = 'agent/b92d04f'"),
            "There are 41."
        );
    }
}

#[test]
fn a_subagent_in_a_file_of_its_own_is_within_the_call_that_started_it() {
    let text = std::fs::read_to_string(fixture("claude-code.jsonl")).unwrap();
    let (own, main): (Vec<&str>, Vec<&str>) =
        text.lines().partition(|line| line.contains(r#""isSidechain":true"#));
    for order in [[&main, &own], [&own, &main]] {
        let place = Place::new();
        for lines in order {
            place.import("claude-code", &place.file("part.jsonl", &lines.join("\n")));
        }
        let parent = "SELECT parent_step_id FROM steps WHERE id = 'agent/a17c9e2'";
        assert_eq!(place.sql::<String>(parent), "toolu_01Task0001");
    }
}

#[test]
fn a_second_import_adds_nothing_under_any_name() {
    for (format, name) in FORMATS {
        let place = Place::new();
        let first = place.import(format, &fixture(name));
        let copy = place.file("renamed.jsonl", &std::fs::read_to_string(fixture(name)).unwrap());
        let second = place.import(format, &copy);
        assert_eq!(second["appended"], 0, "{format}");
        assert_eq!(second["already_recorded"], first["appended"], "{format}");
    }
}

#[test]
fn a_session_that_goes_on_between_imports_ends_as_one_that_was_imported_once() {
    let row = "SELECT json_array(status, input, model, tokens_input, tokens_output, step_count, error_count,
        decision_count, started_at, ended_at) FROM sessions";
    for (format, name) in FORMATS {
        let text = std::fs::read_to_string(fixture(name)).unwrap();
        let whole = Place::new();
        whole.import(format, &fixture(name));
        let growing = Place::new();
        let lines: Vec<&str> = text.lines().collect();
        for end in 2..=lines.len() {
            let file = growing.file("session.jsonl", &lines[..end].join("\n"));
            growing.import(format, &file);
        }
        assert_eq!(growing.sql::<String>(row), whole.sql::<String>(row), "{format}");
        let steps = "SELECT json_group_array(json_array(id, status, output, tokens_output)) FROM (SELECT * FROM steps ORDER BY id)";
        assert_eq!(growing.sql::<String>(steps), whole.sql::<String>(steps), "{format}");
    }
}

#[test]
fn a_bad_line_ends_the_import_with_its_number_unless_bad_lines_are_left_out() {
    for (format, name) in FORMATS {
        let place = Place::new();
        let text = std::fs::read_to_string(fixture(name)).unwrap();
        let mut lines: Vec<&str> = text.lines().collect();
        lines.insert(4, r#"{"type": 7}"#);
        let file = place.file("bad.jsonl", &lines.join("\n"));
        let output = place.run(format, &file, &[]);
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2), "{error}");
        assert!(error.contains("bad.jsonl: line 5: field `type`: "), "{error}");
        assert!(error.contains("--skip-bad"), "{error}");

        let output = place.run(format, &file, &["--skip-bad"]);
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(1), "{error}");
        assert!(error.starts_with("line 5: field `type`: "), "{error}");
        let report: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!((&report["refused"], &report["sessions"]), (&1.into(), &1.into()));
    }
}

#[test]
fn a_line_whose_event_is_too_large_is_named() {
    let place = Place::new();
    let large = format!(r#"{{"type":"large","sessionId":"s","text":"{}"}}"#, "x".repeat(5 << 20));
    let file = place.file("large.jsonl", &format!("{{\"type\":\"mode\",\"sessionId\":\"s\"}}\n{large}\n"));
    let output = place.run("claude-code", &file, &[]);
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(2), "{error}");
    assert!(error.contains("line 2: the payload has"), "{error}");
}
