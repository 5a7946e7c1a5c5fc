//! Files of other programs through the real program: imported, imported again, refused, and read from a pipe.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use assert_cmd::cargo::cargo_bin;
use rusqlite::Connection;
use serde_json::Value;

/// The formats with a file, and the counts of sessions, decisions and findings in it.
const FILES: [(&str, &str, [u64; 3]); 5] = [
    ("atif", "atif/trajectory.json", [2, 3, 0]),
    ("inspect-ai", "inspect_ai/log.json", [4, 3, 4]),
    ("swe-agent", "swe_agent/run.traj", [1, 2, 1]),
    ("mini-swe-agent", "mini_swe_agent/run.traj.json", [1, 2, 0]),
    ("openhands", "openhands/output.jsonl", [3, 6, 2]),
];

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name)
}

/// A folder with a log.
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

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(cargo_bin("annals"));
        command.args(["--json", "--db"]).arg(self.log()).args(args);
        command
    }

    fn import(&self, format: &str, file: &Path, flags: &[&str]) -> Output {
        self.command(&["import", format, file.to_str().unwrap()]).args(flags).output().unwrap()
    }

    fn count(&self, sql: &str) -> i64 {
        Connection::open(self.log()).unwrap().query_row(sql, [], |row| row.get(0)).unwrap()
    }
}

fn report(output: &Output) -> Value {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

#[test]
fn a_file_is_in_the_read_tables_and_a_second_import_adds_nothing() {
    for (format, file, [sessions, decisions, findings]) in FILES {
        let place = Place::new();
        let first = report(&place.import(format, &fixture(file), &[]));
        assert_eq!(
            (&first["sessions"], &first["decisions"], &first["findings"]),
            (&sessions.into(), &decisions.into(), &findings.into()),
            "{format}"
        );
        for table in ["sessions", "steps", "decisions", "findings"] {
            let rows = place.count(&format!("SELECT count(*) FROM {table}"));
            assert_eq!(first[table], rows, "{format}: {table}");
        }
        assert_eq!(
            place.count("SELECT count(*) FROM decisions WHERE decision_type != 'tool'"),
            0,
            "{format}"
        );
        assert_eq!(place.count("SELECT count(*) FROM steps WHERE status = 'running'"), 0, "{format}");
        let events = place.count("SELECT count(*) FROM log");
        let second = report(&place.import(format, &fixture(file), &[]));
        assert_eq!(second["refused"], 0, "{format}");
        assert_eq!(place.count("SELECT count(*) FROM log"), events, "{format}");
    }
}

#[test]
fn a_byte_order_mark_before_a_file_says_nothing() {
    let lines = [("codex", "agents/codex.jsonl"), ("claude-code", "agents/claude-code.jsonl")];
    for (format, file) in FILES.iter().map(|(format, file, _)| (*format, *file)).chain(lines) {
        let place = Place::new();
        let content = std::fs::read(fixture(file)).unwrap();
        let marked = place.folder.path().join("run.json");
        std::fs::write(&marked, [b"\xef\xbb\xbf".as_slice(), &content].concat()).unwrap();
        let first = report(&place.import(format, &marked, &[]));
        // Under the same name, so that both make the same ids.
        std::fs::write(&marked, content).unwrap();
        let second = report(&place.import(format, &marked, &[]));
        assert_eq!(
            (&second["appended"], &second["already_recorded"]),
            (&0.into(), &first["appended"]),
            "{format}"
        );
    }
}

#[test]
fn a_session_has_the_first_message_of_a_user_as_input() {
    for (format, file, _) in FILES {
        let place = Place::new();
        report(&place.import(format, &fixture(file), &[]));
        let prompts = "SELECT count(*) FROM sessions WHERE input LIKE '%You are%' OR input LIKE '%You fix%'";
        assert_eq!(place.count(prompts), 0, "{format}");
        assert!(place.count("SELECT count(*) FROM sessions WHERE input IS NOT NULL") > 0, "{format}");
    }
}

#[test]
fn a_pipe_is_read_like_the_file() {
    for (format, file, [sessions, ..]) in FILES {
        let place = Place::new();
        let mut child = place
            .command(&["import", format, "/dev/stdin", "--source", "run"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        child.stdin.take().unwrap().write_all(&std::fs::read(fixture(file)).unwrap()).unwrap();
        assert_eq!(report(&child.wait_with_output().unwrap())["sessions"], sessions, "{format}");
    }
}

#[test]
fn a_file_of_another_format_is_refused() {
    for (format, _, _) in FILES {
        for (other, file, _) in FILES {
            if format == other {
                continue;
            }
            let place = Place::new();
            let output = place.import(format, &fixture(file), &[]);
            assert!(!output.status.success(), "{format} reads {file}");
            let said = String::from_utf8_lossy(&output.stderr);
            assert!(said.contains(fixture(file).to_str().unwrap()), "{said}");
        }
    }
}

#[test]
fn a_bad_record_ends_the_import_or_is_left_out() {
    let place = Place::new();
    let text = std::fs::read_to_string(fixture("atif/trajectory.json")).unwrap();
    let file = place.folder.path().join("bad.json");
    std::fs::write(&file, text.replace("\"prompt_tokens\": 520", "\"prompt_tokens\": \"many\"")).unwrap();
    let output = place.import("atif", &file, &[]);
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(said.contains("steps[3]: field `metrics.prompt_tokens`: invalid type"), "{said}");
    assert!(said.contains("--skip-bad leaves bad records out"), "{said}");
    let output = place.import("atif", &file, &["--skip-bad"]);
    assert_eq!(output.status.code(), Some(1));
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(report["refused"], 1);
    assert_eq!(place.count("SELECT count(*) FROM sessions"), 2);
}

#[test]
fn an_option_that_a_format_has_no_use_for_is_refused() {
    let place = Place::new();
    for (format, flags, error) in [
        ("codex", &["--source", "x"] as &[&str], "--source is not for codex"),
        ("tau-bench", &["--skip-bad"], "--skip-bad is not for tau-bench"),
    ] {
        let output = place.import(format, &fixture("agents/codex.jsonl"), flags);
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success() && said.contains(error), "{said}");
    }
    assert!(!place.log().exists());
}

#[test]
fn runs_of_one_task_have_the_names_that_they_are_given() {
    let place = Place::new();
    for name in ["first", "second"] {
        report(&place.import("swe-agent", &fixture("swe_agent/run.traj"), &["--source", name]));
    }
    assert_eq!(place.count("SELECT count(*) FROM sessions"), 2);
}
