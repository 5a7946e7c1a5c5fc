//! What the tests of several topics share.
#![allow(
    dead_code,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "each test program uses its own part of it, and a test that cannot go on fails"
)]

pub(crate) mod authority;
pub(crate) mod event_server;
pub(crate) mod executor;
pub(crate) mod fault_vfs;
pub(crate) mod forge;
pub(crate) mod load;
pub(crate) mod measured;
pub(crate) mod otlp;
pub(crate) mod program;
pub(crate) mod published;
pub(crate) mod reference;
pub(crate) mod rows;
pub(crate) mod server;
pub(crate) mod trust;
pub(crate) mod verifiers;
pub(crate) mod volume;
pub(crate) mod witness;

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use annals::verify::{self, Report, Scope};
use annals::{Draft, NoteLogged};
use tempfile::TempDir;

/// What a child process is told to be, and on which log.
const ROLE: &str = "ANNALS_TEST_ROLE";
const LOG: &str = "ANNALS_TEST_LOG";

/// The tables of a log beside its read tables.
pub(crate) const OWN_TABLES: [&str; 11] = [
    "log",
    "redactions",
    "projections",
    "projection_skips",
    "tiles",
    "checkpoints",
    "anchors",
    "anchor_receipts",
    "api_key_events",
    "api_key_uses",
    "generation",
];

/// The statements that take an event out of the full-text index, which knows its words alone.
pub(crate) fn unindex(seq: u64) -> String {
    format!(
        "CREATE VIRTUAL TABLE temp.instances USING fts5vocab('main', 'search', 'instance');
         INSERT INTO search (search, rowid, text) SELECT 'delete', {seq}, group_concat(term, ' ') FROM
           (SELECT term FROM temp.instances WHERE doc = {seq} ORDER BY \"offset\");
         DROP TABLE temp.instances;"
    )
}

/// A folder of its own, and the path of a log that is not there yet.
pub(crate) fn new_path() -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("audit.db");
    (folder, path)
}

/// The path of a file beside the log that is named after it.
pub(crate) fn beside(log: &Path, ending: &str) -> PathBuf {
    let mut name = log.as_os_str().to_owned();
    name.push(ending);
    PathBuf::from(name)
}

/// A note that says `message`.
pub(crate) fn note(message: impl Into<String>) -> Draft {
    Draft::new(NoteLogged { message: message.into(), ..Default::default() })
}

/// An event from its JSON form.
pub(crate) fn json(text: &str) -> Draft {
    annals::parse_draft(text).unwrap_or_else(|error| panic!("{text}: {error}"))
}

/// Whether the long versions of tests were asked for.
pub(crate) fn is_heavy() -> bool {
    std::env::var_os("ANNALS_TEST_HEAVY").is_some_and(|value| value == "1")
}

/// A connection as any other program would have one.
pub(crate) fn sqlite(path: &Path) -> rusqlite::Connection {
    let connection = rusqlite::Connection::open(path).unwrap();
    connection.busy_timeout(Duration::from_secs(600)).unwrap();
    connection
}

/// Rows of a query, with their columns put together; NULL is `-`.
pub(crate) fn rows_of(connection: &rusqlite::Connection, query: &str) -> Vec<String> {
    use rusqlite::types::Value;
    let mut statement = connection.prepare(query).unwrap();
    let columns = statement.column_count();
    let rows = statement.query_map([], |row| {
        let cells = (0..columns).map(|column| {
            Ok(match row.get(column)? {
                Value::Null => "-".to_owned(),
                Value::Integer(number) => number.to_string(),
                Value::Real(number) => number.to_string(),
                Value::Text(text) => text,
                Value::Blob(_) => "blob".to_owned(),
            })
        });
        Ok(cells.collect::<rusqlite::Result<Vec<_>>>()?.join(" | "))
    });
    rows.unwrap().collect::<Result<_, _>>().unwrap()
}

/// What a verification of everything says.
pub(crate) fn verify(path: &Path) -> Report {
    verify::verify(path, Scope::Everything, &mut |_, _| {}).unwrap()
}

/// Verifies everything, and panics unless all of it is good.
pub(crate) fn verify_whole(path: &Path) -> Report {
    let report = verify(path);
    assert!(report.self_consistent, "{:?}", report.failures);
    report
}

/// The result of `work`, which must come in time: a test that hangs says so.
pub(crate) fn within<T: Send + 'static>(limit: Duration, work: impl FnOnce() -> T + Send + 'static) -> T {
    let (sender, receiver) = mpsc::channel();
    let thread = std::thread::Builder::new().spawn(move || sender.send(work()).unwrap()).unwrap();
    match receiver.recv_timeout(limit) {
        Ok(result) => result,
        Err(mpsc::RecvTimeoutError::Timeout) => panic!("still at work after {limit:?}"),
        Err(mpsc::RecvTimeoutError::Disconnected) => std::panic::resume_unwind(thread.join().unwrap_err()),
    }
}

/// Starts this test binary again, where the test `child` of a module finds its [`role`]. `module` is the caller's
/// `module_path!()`.
pub(crate) fn start_child(module: &str, role: &str, log: &Path) -> Child {
    child_command(module, role, log).spawn().unwrap()
}

/// What [`start_child`] runs.
pub(crate) fn child_command(module: &str, role: &str, log: &Path) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    prepare_child(&mut command, module, role, log);
    command
}

/// Adds to a command, which may be the binary itself or something that starts it, what makes it a child.
pub(crate) fn prepare_child(command: &mut Command, module: &str, role: &str, log: &Path) {
    // The names of tests leave out that of the program.
    let (_, module) = module.split_once("::").unwrap();
    command
        .args(["--exact", &format!("{module}::child"), "--nocapture"])
        .env(ROLE, role)
        .env(LOG, log)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped());
}

/// In a child: what it is to do, and with which log. None in the run of the tests themselves.
pub(crate) fn role() -> Option<(String, PathBuf)> {
    Some((std::env::var(ROLE).ok()?, PathBuf::from(std::env::var_os(LOG)?)))
}

/// A line for the parent. The test harness prints lines of its own, so these are marked.
pub(crate) fn tell(line: impl std::fmt::Display) {
    use std::io::Write as _;
    let mut out = std::io::stdout().lock();
    // A parent that is gone does not want to know.
    let _ = writeln!(out, "\n> {line}").and_then(|()| out.flush());
}

/// The lines that a child told; a last one that was cut off by its end is none.
pub(crate) fn told(out: ChildStdout) -> impl Iterator<Item = String> {
    let mut out = BufReader::new(out);
    std::iter::from_fn(move || {
        loop {
            let mut line = String::new();
            out.read_line(&mut line).unwrap();
            let line = line.strip_suffix('\n')?;
            if let Some(said) = line.strip_prefix("> ") {
                return Some(said.to_owned());
            }
        }
    })
}
