//! What the tests of several topics share.
// Each test binary uses its own part of it.
#![allow(dead_code, clippy::unwrap_used, clippy::panic)]

use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::time::Duration;

use annals::verify::{self, Report, Scope};
use annals::{Draft, NoteLogged};
use tempfile::TempDir;

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
    connection.busy_timeout(Duration::from_secs(30)).unwrap();
    connection
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
