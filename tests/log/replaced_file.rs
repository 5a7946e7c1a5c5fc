//! A log's file that is replaced, cut or taken away under those who read for long: they say so, and answer from no
//! other file.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::support::server::Served;
use crate::support::{new_path, note};
use annals::AuditLog;
use serde_json::json;

/// Only a hang takes so long.
const LIMIT: Duration = Duration::from_secs(60);

struct Fixture {
    _folder: tempfile::TempDir,
    path: PathBuf,
    /// A copy of the log that lacks its last event.
    older: PathBuf,
}

fn append(path: &Path, message: &str) {
    let log = AuditLog::open(path).unwrap();
    log.append(note(message)).unwrap().wait().unwrap();
    log.close().unwrap();
}

fn log_with_older_copy() -> Fixture {
    let (folder, path) = new_path();
    let older = folder.path().join("older.db");
    append(&path, "second");
    std::fs::copy(&path, &older).unwrap();
    append(&path, "third");
    Fixture { _folder: folder, path, older }
}

#[track_caller]
fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) {
    let began = Instant::now();
    while !is_so() {
        assert!(began.elapsed() < LIMIT, "it never came so far: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Every way to ask for the log is refused alike, and the server itself lives.
#[track_caller]
fn assert_unavailable(served: &Served, reason: &str) {
    wait_until("not ready", || served.get("/readyz").status == 503);
    for target in ["/readyz", "/v1/log", "/v1/sessions", "/v1/events/1", "/v1/checkpoint", "/v1/tail"] {
        let answer = served.get(target);
        assert_eq!(answer.problem(503), "unavailable", "{target}");
        assert!(answer.text().contains(reason), "{target}: {}", answer.text());
    }
    assert_eq!(served.request("POST", "/v1/verification", &[], b"").problem(503), "unavailable");
    let note = json!([{ "type": "note.logged", "message": "refused" }]);
    assert_eq!(served.post_json("/v1/events", note.to_string()).problem(503), "unavailable");
    // Not 401: whether the key is good is in the log.
    let key = [("authorization", "Bearer annals_none")];
    assert_eq!(served.request("GET", "/v1/log", &key, b"").problem(503), "unavailable");
    served.get("/healthz").expect(200);
}

#[test]
fn a_server_refuses_to_answer_from_another_file_and_goes_on_when_its_own_is_back() {
    let Fixture { path, older, _folder } = log_with_older_copy();
    let served = Served::start(&path);
    let away = path.with_extension("away");
    std::fs::rename(&path, &away).unwrap();
    std::fs::rename(&older, &path).unwrap();
    assert_unavailable(&served, "another file took its place");
    std::fs::rename(&path, &older).unwrap();
    assert_unavailable(&served, "is no longer where it was");
    std::fs::rename(&away, &path).unwrap();
    let note = json!([{ "type": "note.logged", "message": "after all" }]);
    wait_until("appended again", || served.post_json("/v1/events", note.to_string()).status == 200);
    wait_until("ready again", || served.get("/readyz").status == 200);
    // What was refused until the writer had its file again is one event more: that it was lost.
    let events = served.get("/v1/log").expect(200)["events"].as_u64().unwrap();
    assert!((4..=5).contains(&events), "{events}");
    served.stop();
}

#[test]
fn a_server_whose_write_ahead_log_is_removed_keeps_everything_and_goes_on() {
    let Fixture { path, _folder, .. } = log_with_older_copy();
    let served = Served::start(&path);
    let note = json!([{ "type": "note.logged", "message": "acknowledged" }]);
    assert_eq!(served.post_json("/v1/events", note.to_string()).status, 200);
    // Every kind of connection that a server keeps has the old one open.
    served.get("/v1/log").expect(200);
    std::fs::remove_file(path.with_file_name("audit.db-wal")).unwrap();
    let note = json!([{ "type": "note.logged", "message": "after all" }]);
    wait_until("appended again", || served.post_json("/v1/events", note.to_string()).status == 200);
    wait_until("ready again", || served.get("/readyz").status == 200);
    let events = served.get("/v1/events").expect(200).to_string();
    assert!(events.contains("acknowledged") && events.contains("after all"), "{events}");
    served.stop();
    let verified =
        Command::new(env!("CARGO_BIN_EXE_annals")).arg("--db").arg(&path).arg("verify").output().unwrap();
    assert!(verified.status.success(), "{}", String::from_utf8_lossy(&verified.stdout));
}

#[test]
fn a_server_whose_file_is_cut_to_nothing_is_not_ready_and_asks_for_no_key() {
    let Fixture { path, _folder, .. } = log_with_older_copy();
    let served = Served::start(&path);
    std::fs::File::create(&path).unwrap();
    assert_unavailable(&served, "is empty");
    served.kill();
}

#[test]
fn a_server_notices_an_older_copy_that_is_written_over_its_file() {
    let Fixture { path, older, _folder } = log_with_older_copy();
    let served = Served::start(&path);
    served.get("/v1/log").expect(200);
    std::fs::copy(&older, &path).unwrap();
    assert_unavailable(&served, "no longer has event 3");
    served.kill();
}

#[test]
fn a_live_tail_is_told_why_nothing_more_comes_and_ends() {
    let Fixture { path, _folder, .. } = log_with_older_copy();
    let served = Served::start(&path);
    let mut stream = served.connect();
    stream.set_read_timeout(Some(LIMIT)).unwrap();
    write!(stream, "GET /v1/tail HTTP/1.0\r\nhost: localhost\r\n\r\n").unwrap();
    let mut lines = BufReader::new(stream).lines();
    wait_until("following", || lines.next().unwrap().unwrap() == ": following");
    std::fs::rename(&path, path.with_extension("away")).unwrap();
    let rest: Vec<String> = lines.map(Result::unwrap).collect();
    let problem = rest.iter().position(|line| line == "event: problem").unwrap_or_else(|| panic!("{rest:?}"));
    assert!(rest[problem + 1].contains("is no longer where it was"), "{rest:?}");
    served.kill();
}

#[test]
fn a_followed_tail_ends_with_status_2_when_its_file_is_replaced() {
    let Fixture { path, older, _folder } = log_with_older_copy();
    let mut tail = Command::new(env!("CARGO_BIN_EXE_annals"))
        .arg("--db")
        .arg(&path)
        .args(["tail", "--follow"])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(tail.stdout.take().unwrap()).lines();
    wait_until("its last event", || lines.next().unwrap().unwrap().contains("third"));
    append(&path, "fourth");
    wait_until("one that came", || lines.next().unwrap().unwrap().contains("fourth"));
    std::fs::rename(&older, &path).unwrap();
    wait_until("the end", || tail.try_wait().unwrap().is_some());
    let mut said = String::new();
    tail.stderr.take().unwrap().read_to_string(&mut said).unwrap();
    assert_eq!(tail.wait().unwrap().code(), Some(2), "{said}");
    assert!(said.contains("another file took its place"), "{said}");
}
