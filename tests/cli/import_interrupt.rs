//! Imports that a signal ends although they make no events.

use std::io::Write as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread::Builder;
use std::time::{Duration, Instant};

use assert_cmd::cargo::cargo_bin;

/// Longest time from the signal to the end. Without an end, every one of these imports runs for minutes, or forever.
const END_MAX: Duration = Duration::from_secs(20);

fn import(folder: &Path, args: &[&str], stdin: Stdio) -> Child {
    let mut command = Command::new(cargo_bin("annals"));
    command.arg("--db").arg(folder.join("audit.db")).arg("import").args(args).stdin(stdin);
    command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

/// Returns true once the program catches the signal, so that it is not ended by its default.
fn is_listening(child: &Child) -> bool {
    let tasks = std::fs::read_dir(format!("/proc/{}/task", child.id())).unwrap();
    let names = tasks.filter_map(|task| std::fs::read_to_string(task.ok()?.path().join("comm")).ok());
    names.filter(|name| name.trim() == "annals-signals").count() == 1
}

/// Sends one signal, and returns the last words of the program.
fn end(mut child: Child) -> String {
    while !is_listening(&child) {
        assert!(child.try_wait().unwrap().is_none(), "it ended before the signal");
        std::thread::sleep(Duration::from_millis(10));
    }
    // The thread listens before the command does.
    std::thread::sleep(Duration::from_millis(500));
    assert!(Command::new("kill").arg("-TERM").arg(child.id().to_string()).status().unwrap().success());
    let since = Instant::now();
    while child.try_wait().unwrap().is_none() {
        if since.elapsed() > END_MAX {
            child.kill().unwrap();
            panic!("the signal did not end the import");
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    String::from_utf8_lossy(&output.stderr).into_owned()
}

const INTERRUPTED: &str = "interrupted; import it again to add the rest";

#[test]
fn a_pipe_that_delivers_nothing_is_no_reason_to_stay() {
    for format in ["codex", "atif", "tau-bench", "langfuse", "otlp"] {
        let folder = tempfile::tempdir().unwrap();
        let mut child = import(folder.path(), &[format, "/dev/stdin"], Stdio::piped());
        // Kept open until the program has ended.
        let pipe = child.stdin.take().unwrap();
        let error = end(child);
        drop(pipe);
        assert!(error.contains(INTERRUPTED), "{format}: {error}");
    }
}

#[test]
fn bad_lines_alone_do_not_keep_a_signal_waiting() {
    let folder = tempfile::tempdir().unwrap();
    let mut child = import(folder.path(), &["codex", "/dev/stdin", "--skip-bad"], Stdio::piped());
    let mut pipe = child.stdin.take().unwrap();
    let mut errors = child.stderr.take().unwrap();
    // Both threads end with the program.
    std::thread::scope(|scope| {
        Builder::new()
            .spawn_scoped(scope, move || while pipe.write_all(&b"bad\n".repeat(1_000)).is_ok() {})
            .unwrap();
        Builder::new()
            .spawn_scoped(scope, move || std::io::copy(&mut errors, &mut std::io::sink()).unwrap())
            .unwrap();
        end(child);
    });
}

#[test]
fn a_query_without_rows_is_ended() {
    let folder = tempfile::tempdir().unwrap();
    let database = folder.path().join("other.db");
    rusqlite::Connection::open(&database).unwrap().execute_batch("CREATE TABLE t (a)").unwrap();
    let map = folder.path().join("map.toml");
    let endless =
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT i FROM n WHERE i < 0";
    let text = format!(
        "[[query]]\nname = \"q\"\nsql = \"{endless}\"\n[[event]]\nquery = \"q\"\ntype = \"note.logged\"\nfields.message = \"$.i\"\n"
    );
    std::fs::write(&map, text).unwrap();
    let args = ["sqlite", database.to_str().unwrap(), "--map", map.to_str().unwrap()];
    let error = end(import(folder.path(), &args, Stdio::null()));
    assert!(error.contains(INTERRUPTED), "{error}");
}
