//! Who may do what: keys, their scopes, and what is recorded of their use.

#![allow(
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test that cannot go on fails"
)]

mod support;

#[path = "support/server.rs"]
mod server;

use std::path::Path;
use std::time::{Duration, Instant};

use annals::{AuditLog, EventFilter, Reader, Seq};
use assert_cmd::Command;
use server::{Answer, Served, ask};
use support::{new_path, verify_whole};

const NOTE: &str = r#"{"type":"note.logged","message":"m"}"#;

/// Makes a key with the command, and gives it and its id.
fn key(path: &Path, scopes: &str) -> (String, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_annals"));
    command.args(["--db"]).arg(path).args(["apikey", "create", "--name", scopes, "--scopes", scopes]);
    let output = command.output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let key = String::from_utf8(output.stdout).unwrap().trim().to_owned();
    let id = key.split('_').nth(1).unwrap().to_owned();
    (key, id)
}

fn send(served: &Served, method: &str, target: &str, key: &str) -> Answer {
    let bearer = format!("Bearer {key}");
    let headers = [("authorization", bearer.as_str()), ("content-type", "application/json")];
    served.request(method, target, &headers, if method == "POST" { NOTE.as_bytes() } else { b"" })
}

fn with_log(path: &Path) {
    AuditLog::open(path).unwrap().close().unwrap();
}

#[test]
fn from_the_first_key_on_nobody_comes_in_without_one() {
    let (_folder, path) = new_path();
    let served = Served::start(&path);
    served.post_json("/v1/events", NOTE).expect(200);
    let (emit, _) = key(&path, "emit");
    let began = Instant::now();
    while served.get("/v1/sessions").status == 200 {
        assert!(began.elapsed() < Duration::from_secs(3));
        std::thread::sleep(Duration::from_millis(20));
    }
    let refused = served.get("/v1/sessions");
    assert_eq!(refused.problem(401), "unauthorized");
    assert_eq!(refused.header("www-authenticate"), Some("Bearer"));
    assert_eq!(served.post_json("/v1/events", NOTE).problem(401), "unauthorized");
    assert_eq!(send(&served, "POST", "/v1/events", &emit).status, 200);
    served.get("/healthz").expect(200);
    served.get("/readyz").expect(200);
    served.get("/openapi.json").expect(200);
    served.stop();
    Served::start_with(&path, &["--listen", "0.0.0.0:0"]).stop();
    let open = Served::start_with(&path, &["--no-auth"]);
    open.post_json("/v1/events", NOTE).expect(200);
}

#[test]
fn a_key_does_what_its_scopes_say_and_nothing_else() {
    let (_folder, path) = new_path();
    with_log(&path);
    let routes = [
        ("emit", "POST", "/v1/events"),
        ("read", "GET", "/v1/sessions"),
        ("read", "GET", "/v1/events"),
        ("read", "GET", "/v1/log"),
        ("read", "GET", "/v1/search?q=m"),
    ];
    let keys = ["emit", "read", "verify", "admin"].map(|scope| (scope, key(&path, scope).0));
    let served = Served::start(&path);
    for (needed, method, target) in routes {
        for (scope, key) in &keys {
            let answer = send(&served, method, target, key);
            if *scope == needed {
                assert_eq!(answer.status, 200, "{scope} {target}");
            } else {
                assert_eq!(answer.problem(403), "forbidden", "{scope} {target}");
            }
        }
    }
}

#[test]
fn events_carry_the_key_that_sent_them() {
    let (_folder, path) = new_path();
    with_log(&path);
    let (emit, id) = key(&path, "emit");
    let served = Served::start(&path);
    send(&served, "POST", "/v1/events", &emit).expect(200);
    served.stop();
    let reader = Reader::open(&path).unwrap();
    let last = reader.last_events(&EventFilter::ALL, 1).unwrap().remove(0);
    assert_eq!(last.principal.unwrap().to_string().replace('-', ""), id);
    verify_whole(&path);
}

#[test]
fn a_key_that_is_wrong_or_taken_back_is_refused() {
    let (_folder, path) = new_path();
    with_log(&path);
    let (emit, id) = key(&path, "emit");
    let served = Served::start(&path);
    let mut other = emit.clone();
    let last = other.pop().unwrap();
    other.push(if last == 'A' { 'E' } else { 'A' });
    for wrong in [other.as_str(), "nonsense", "annals_00_x", ""] {
        let answer = send(&served, "POST", "/v1/events", wrong);
        assert_eq!(answer.problem(401), "unauthorized");
        assert!(!answer.text().contains(&id));
    }
    send(&served, "POST", "/v1/events", &emit).expect(200);
    let mut revoke = Command::new(env!("CARGO_BIN_EXE_annals"));
    revoke.args(["--db"]).arg(&path).args(["apikey", "revoke", "emit"]).assert().success();
    std::thread::sleep(Duration::from_secs(1));
    let refused = send(&served, "POST", "/v1/events", &emit);
    assert_eq!(refused.problem(401), "unauthorized");
    assert!(refused.text().contains("revoked"));
}

#[test]
fn ten_thousand_wrong_keys_are_told_to_wait_and_the_right_one_is_let_in() {
    let (_folder, path) = new_path();
    with_log(&path);
    let (emit, _) = key(&path, "emit");
    let served = Served::start(&path);
    let wrong = format!("Bearer {emit}x");
    let refused: Vec<u16> = std::thread::scope(|scope| {
        let clients: Vec<_> = (0..4)
            .map(|_| {
                scope.spawn(|| {
                    let mut stream = served.connect();
                    let headers = [("authorization", wrong.as_str())];
                    let ask = |_| ask(&mut stream, "GET", "/v1/log", &headers, b"").unwrap().status;
                    (0..2_500).map(ask).collect::<Vec<_>>()
                })
            })
            .collect();
        for _ in 0..10 {
            send(&served, "POST", "/v1/events", &emit).expect(200);
        }
        clients.into_iter().flat_map(|client| client.join().unwrap()).collect()
    });
    let waits = refused.iter().filter(|status| **status == 429).count();
    assert!(refused.iter().all(|status| matches!(status, 401 | 429)) && waits > 9_900, "{waits}");
    send(&served, "POST", "/v1/events", &emit).expect(200);
}

#[test]
fn who_reads_what_is_recorded_where_that_is_wanted() {
    let (_folder, path) = new_path();
    with_log(&path);
    let (read, id) = key(&path, "read");
    let served = Served::start_with(&path, &["--record-reads"]);
    send(&served, "GET", "/v1/search?q=secret", &read).expect(200);
    send(&served, "GET", "/v1/log", &read).expect(200);
    served.stop();
    let reader = Reader::open(&path).unwrap();
    let events = reader.events(&EventFilter::ALL, Seq::ZERO, 100).unwrap();
    let actions: Vec<_> = events
        .iter()
        .filter(|event| event.kind_name() == "action.recorded")
        .map(|event| event.to_json())
        .collect();
    assert_eq!(actions.len(), 1, "{actions:?}");
    let action: serde_json::Value = serde_json::from_str(&actions[0]).unwrap();
    assert_eq!(action["actor"]["id"].as_str().unwrap().replace('-', ""), id);
    assert_eq!(action["principal"], action["actor"]["id"]);
    assert_eq!(action["action"], "http.read");
    assert_eq!(action["entity_id"], "/v1/search?q=secret");
}
