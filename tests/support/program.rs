//! What the tests of the program share.

#![allow(
    dead_code,
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "each test file uses a part of it, and fails where it cannot go on"
)]

use std::path::{Path, PathBuf};

use assert_cmd::Command;
use tempfile::TempDir;

/// A folder with a log in it.
pub(crate) struct Log {
    pub(crate) folder: TempDir,
}

impl Log {
    /// No log yet: the first command that appends makes it.
    pub(crate) fn new() -> Log {
        Log { folder: tempfile::tempdir().unwrap() }
    }

    /// A log with these lines recorded.
    pub(crate) fn with(lines: &str) -> Log {
        let log = Log::new();
        log.annals(&["record"]).write_stdin(lines.to_owned()).assert().success();
        log
    }

    pub(crate) fn path(&self) -> PathBuf {
        self.file("audit.db")
    }

    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The program, on this log.
    pub(crate) fn annals(&self, args: &[&str]) -> Command {
        let mut command = annals(&self.path());
        command.args(args);
        command
    }

    /// Standard output of a command that succeeds.
    pub(crate) fn out(&self, args: &[&str]) -> String {
        let output = self.annals(args).assert().success().get_output().stdout.clone();
        String::from_utf8(output).unwrap()
    }

    /// The answer in JSON of a command that succeeds.
    pub(crate) fn json(&self, args: &[&str]) -> serde_json::Value {
        serde_json::from_str(&self.out(&[&["--json"], args].concat())).unwrap()
    }

    /// The one number that a query answers.
    pub(crate) fn number(&self, query: &str) -> i64 {
        let rows = self.json(&["sql", query]);
        rows[0].as_object().unwrap().values().next().unwrap().as_i64().unwrap()
    }
}

/// The program, on the log at a path.
pub(crate) fn annals(path: &Path) -> Command {
    let mut command = bare();
    command.arg("--db").arg(path).env("ANNALS_HOME", home_of(path));
    command
}

/// The folder of the user's own Annals files, for the log at a path.
pub(crate) fn home_of(path: &Path) -> PathBuf {
    path.with_file_name("annals-home")
}

/// The program, with nothing of this environment.
pub(crate) fn bare() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_annals"));
    command
        .env_remove("ANNALS_DB")
        .env_remove("ANNALS_KEY")
        .env_remove("HOME")
        // Nothing of the user's own is read, and nothing is left there.
        .env("ANNALS_HOME", env!("CARGO_TARGET_TMPDIR"))
        .env("USER", "tester");
    command
}

/// Two sessions: one that completed, one that failed and holds text that would drive a terminal.
pub(crate) const EVENTS: &str = concat!(
    r#"{"type":"session.started","session":"good","at":"2026-11-19T08:00:00Z","profile":"quick","conversation":"talk","input":"May I return the shoes?"}"#,
    "\n",
    r#"{"type":"step.started","session":"good","step":"1","module":"retrieve","kind":"retrieval","at":"2026-11-19T08:00:01Z"}"#,
    "\n",
    r#"{"type":"step.ended","session":"good","step":"1","status":"ok","output":"the refund policy","confidence":0.95,"at":"2026-11-19T08:00:02Z"}"#,
    "\n",
    r#"{"type":"session.ended","session":"good","status":"completed","summary":"yes","at":"2026-11-19T08:00:03Z"}"#,
    "\n",
    r#"{"type":"session.started","session":"bad","at":"2026-11-20T08:00:00Z","profile":"deep","conversation":"talk","input":"red \u001b[31m title \u001b]0;owned\u0007 \u009b2J \u202e end"}"#,
    "\n",
    r#"{"type":"step.started","session":"bad","step":"1","module":"plan","kind":"llm"}"#,
    "\n",
    r#"{"type":"step.started","session":"bad","step":"1.1","parent_step":"1","module":"tool","kind":"tool"}"#,
    "\n",
    r#"{"type":"step.ended","session":"bad","step":"1.1","status":"error","error":"boom","confidence":0.3,"shard":7}"#,
    "\n",
    r#"{"type":"decision.made","session":"bad","step":"1","decision":"d","decision_type":"routing","options_considered":[{"option":"a","score":0.25},"b"],"chosen_option":"b","rationale":"the policy says so"}"#,
    "\n",
    r#"{"type":"finding.raised","session":"bad","step":"1.1","finding":"f","severity":"high","category":"safety","title":"it shouts"}"#,
    "\n",
    r#"{"type":"review.recorded","session":"bad","actor":"ann","subject_kind":"decision","subject_id":"d","verdict":"approved"}"#,
    "\n",
    r#"{"type":"session.ended","session":"bad","status":"failed","error":"boom","at":"2026-11-20T08:00:03Z"}"#,
    "\n",
);
