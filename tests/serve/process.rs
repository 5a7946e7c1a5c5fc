//! The server as a process: where it listens, how it stops, and what is left then.

use crate::support;
use std::collections::HashSet;
use std::os::unix::fs::{FileTypeExt as _, PermissionsExt as _};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use crate::support::server::{Served, ask};
use crate::support::{new_path, verify_whole};
use annals::query::EventFilter;
use annals::{Reader, Seq};
use assert_cmd::Command;
use serde_json::json;

fn annals(path: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_annals"));
    command.arg("--db").arg(path).timeout(Duration::from_secs(600));
    command
}

/// Sends events one after the other until the server is gone, and says the ids of those that it answered 200.
fn send_until_gone(served: &Served, all: &AtomicUsize) -> Vec<String> {
    let mut answered = Vec::new();
    let mut stream = served.connect();
    let body = format!("[{}]", vec![r#"{"type":"note.logged","message":"m"}"#; 20].join(","));
    let headers = [("content-type", "application/json")];
    for _ in 0..10_000 {
        let Ok(answer) = ask(&mut stream, "POST", "/v1/events", &headers, body.as_bytes()) else { break };
        if answer.status != 200 {
            break;
        }
        let answer = answer.json();
        let results = answer["results"].as_array().unwrap();
        all.fetch_add(results.len(), Ordering::SeqCst);
        answered.extend(results.iter().map(|result| result["id"].as_str().unwrap().to_owned()));
    }
    answered
}

/// Lets eight clients send, sends the server a signal in the middle of it, and says what was answered.
fn load(served: &Served, signal: &str) -> Vec<String> {
    let answered = &AtomicUsize::new(0);
    std::thread::scope(|scope| {
        let clients: Vec<_> =
            (0..8).map(|_| scope.spawn(move || send_until_gone(served, answered))).collect();
        while answered.load(Ordering::SeqCst) < 500 && !clients.iter().all(|client| client.is_finished()) {
            std::thread::sleep(Duration::from_millis(1));
        }
        served.signal(signal);
        clients.into_iter().flat_map(|client| client.join().unwrap()).collect()
    })
}

fn assert_each_is_there_once(path: &Path, answered: &[String]) {
    assert!(answered.len() > 100, "{}", answered.len());
    let reader = Reader::open(path).unwrap();
    let head = reader.head().unwrap().seq.get();
    let events = reader.events(&EventFilter::ALL, Seq::ZERO, usize::try_from(head).unwrap()).unwrap();
    let there: HashSet<String> = events.iter().map(|event| event.event_id.to_string()).collect();
    assert_eq!(there.len(), events.len());
    assert_eq!(answered.iter().collect::<HashSet<_>>().len(), answered.len());
    assert!(answered.iter().all(|id| there.contains(id)));
}

#[test]
fn a_stop_under_load_ends_well_and_everything_answered_is_committed_and_projected() {
    let (_folder, path) = new_path();
    let mut served = Served::start(&path);
    let answered = load(&served, "TERM");
    let status = served.wait();
    assert!(status.success(), "{}", served.said());
    assert_each_is_there_once(&path, &answered);
    assert_eq!(Reader::open(&path).unwrap().lag().unwrap(), 0);
    verify_whole(&path);
}

#[test]
fn a_killed_server_has_everything_that_it_answered_and_goes_on_when_it_is_started_again() {
    let (_folder, path) = new_path();
    let mut answered = Vec::new();
    for _ in 0..3 {
        let mut served = Served::start(&path);
        answered.extend(load(&served, "KILL"));
        assert!(!served.wait().success());
    }
    let served = Served::start(&path);
    let last = served.post_json("/v1/events?wait=visible", r#"{"type":"note.logged","message":"last"}"#);
    assert_eq!(last.expect(200)["visible"], true);
    served.stop();
    assert_each_is_there_once(&path, &answered);
    verify_whole(&path);
}

#[test]
fn two_servers_append_to_one_log() {
    let (_folder, path) = new_path();
    let (first, second) = (Served::start(&path), Served::start(&path));
    std::thread::scope(|scope| {
        for served in [&first, &second, &first, &second] {
            scope.spawn(|| {
                let mut stream = served.connect();
                for number in 0..50 {
                    let body = json!({"type": "note.logged", "message": number.to_string()}).to_string();
                    let headers = [("content-type", "application/json")];
                    ask(&mut stream, "POST", "/v1/events", &headers, body.as_bytes()).unwrap().expect(200);
                }
            });
        }
    });
    first.stop();
    second.stop();
    assert_eq!(Reader::open(&path).unwrap().head().unwrap().seq.get(), 201);
    verify_whole(&path);
}

#[test]
fn it_says_where_it_listens_and_answers_there() {
    let (folder, path) = new_path();
    let socket = folder.path().join("annals.sock");
    let arguments = ["--listen", "[::1]:0", "--grpc", "127.0.0.1:0", "--unix", socket.to_str().unwrap()];
    let served = Served::start_with(&path, &arguments);
    let announced = served.announced.clone();
    assert_eq!(announced["http"].as_array().unwrap().len(), 2);
    assert_eq!(announced["unix"], json!([socket]));
    for url in [&announced["http"][0], &announced["http"][1], &announced["grpc"][0]] {
        let url = url.as_str().unwrap();
        assert!(served.said().contains(&format!("listening on {url}")), "{}", served.said());
        assert!(!url.ends_with(":0"), "{url}");
    }
    let v6 = announced["http"][1].as_str().unwrap().strip_prefix("http://").unwrap();
    let mut stream = std::net::TcpStream::connect(v6).unwrap();
    ask(&mut stream, "GET", "/healthz", &[], b"").unwrap().expect(200);

    let metadata = std::fs::symlink_metadata(&socket).unwrap();
    assert!(metadata.file_type().is_socket());
    assert_eq!(metadata.permissions().mode() & 0o777, 0o600);
    let mut stream = UnixStream::connect(&socket).unwrap();
    ask(&mut stream, "GET", "/healthz", &[], b"").unwrap().expect(200);
    drop(stream);

    let second = annals(&path).args(["serve", "--unix"]).arg(&socket).assert().code(2);
    assert!(String::from_utf8_lossy(&second.get_output().stderr).contains("another server listens there"));
    served.stop();
    assert!(!socket.exists());
}

#[test]
fn a_socket_that_a_killed_server_left_is_replaced_and_another_file_is_not() {
    let (folder, path) = new_path();
    let socket = folder.path().join("annals.sock");
    Served::start_with(&path, &["--unix", socket.to_str().unwrap()]).kill();
    assert!(socket.exists());
    Served::start_with(&path, &["--unix", socket.to_str().unwrap()]).stop();
    std::fs::write(&socket, "precious").unwrap();
    annals(&path).args(["serve", "--unix"]).arg(&socket).assert().code(2);
    assert_eq!(std::fs::read_to_string(&socket).unwrap(), "precious");
}

#[test]
fn an_address_that_others_reach_needs_keys_or_a_word() {
    let (_folder, path) = new_path();
    let refused = annals(&path).args(["serve", "--listen", "0.0.0.0:0"]).assert().code(2);
    let said = String::from_utf8_lossy(&refused.get_output().stderr).into_owned();
    assert!(said.contains("annals apikey create") && said.contains("--no-auth"), "{said}");
    annals(&path).args(["serve", "--grpc", "[::]:0"]).assert().code(2);
    Served::start_with(&path, &["--listen", "0.0.0.0:0", "--no-auth", "--insecure"]).stop();
}

#[test]
fn a_port_in_use_and_a_certificate_that_is_none_are_said() {
    let (folder, path) = new_path();
    let served = Served::start(&path);
    let taken = annals(&path).args(["serve", "--listen", &served.address.to_string()]).assert().code(2);
    let said = String::from_utf8_lossy(&taken.get_output().stderr).into_owned();
    assert!(said.contains(&format!("cannot listen on {}", served.address)), "{said}");
    let file = folder.path().join("none.pem");
    std::fs::write(&file, "none").unwrap();
    let mut command = annals(&path);
    command.args(["serve", "--listen", "127.0.0.1:0", "--tls-cert"]).arg(&file).arg("--tls-key").arg(&file);
    let said = String::from_utf8_lossy(&command.assert().code(2).get_output().stderr).into_owned();
    assert!(said.contains("none.pem"), "{said}");
}

#[test]
fn a_second_signal_ends_at_once() {
    let (_folder, path) = new_path();
    let mut served = Served::start(&path);
    // A request that is under way keeps the first one waiting.
    let mut stream = served.connect();
    let head = "POST /v1/events HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\nexpect: 100-continue\r\ncontent-length: 9\r\n\r\n";
    std::io::Write::write_all(&mut stream, head.as_bytes()).unwrap();
    // The server reads the body: it has begun with the request.
    let mut continued = [0; 12];
    std::io::Read::read_exact(&mut stream, &mut continued).unwrap();
    assert_eq!(&continued, b"HTTP/1.1 100");
    served.signal("TERM");
    // Two that are pending at once are one.
    let began = std::time::Instant::now();
    while !served.said().contains("stopping") && began.elapsed() < Duration::from_secs(600) {
        std::thread::sleep(Duration::from_millis(20));
    }
    served.signal("TERM");
    assert_eq!(served.wait().code(), Some(143));
}

#[test]
fn every_error_is_a_problem_and_every_answer_has_the_request_s_id() {
    let (_folder, path) = new_path();
    let served = Served::start(&path);
    assert_eq!(served.get("/no/such/path").problem(404), "not-found");
    let answer = served.request("DELETE", "/v1/events", &[], b"");
    assert_eq!(answer.problem(405), "method-not-allowed");
    assert!(answer.header("allow").unwrap().contains("POST"));
    let answer = served.request("GET", "/healthz", &[("x-request-id", "mine-7")], b"");
    assert_eq!(answer.header("x-request-id"), Some("mine-7"));
    assert!(served.get("/healthz").header("x-request-id").is_some_and(|id| id.len() == 36));
    served.get("/readyz").expect(200);
    assert_eq!(served.get("/openapi.json").expect(200)["info"]["title"], "Annals");
}

#[test]
fn a_server_that_stopped_leaves_the_log_in_one_file() {
    let (_folder, path) = new_path();
    let served = Served::start(&path);
    served.post_json("/v1/events", r#"{"type":"note.logged","message":"m"}"#).expect(200);
    // Questions, too, are asked through connections of their own.
    served.get("/v1/sessions").expect(200);
    served.stop();
    assert!(!support::beside(&path, "-wal").exists());
    let bare = path.with_file_name("bare.db");
    std::fs::copy(&path, &bare).unwrap();
    assert_eq!(verify_whole(&bare).log.events, 2);
}
