//! Who may do what: keys, their scopes, and what is recorded of their use.

use crate::support::server;
use std::io::Write as _;
use std::path::Path;
use std::time::{Duration, Instant};

use crate::support::new_path;
use crate::support::server::{Answer, Served};
use annals::AuditLog;
use assert_cmd::Command;
use base64::prelude::{BASE64_STANDARD, Engine as _};

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
        assert!(began.elapsed() < Duration::from_secs(600));
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
    Served::start_with(&path, &["--listen", "0.0.0.0:0", "--insecure"]).stop();
    let open = Served::start_with(&path, &["--no-auth"]);
    open.post_json("/v1/events", NOTE).expect(200);
}

#[test]
fn without_keys_no_web_page_reads_or_writes() {
    let (_folder, path) = new_path();
    let ask_as = |served: &Served, host: &str, origin: &str| {
        let mut stream = served.connect();
        let origin = if origin.is_empty() { String::new() } else { format!("origin: {origin}\r\n") };
        write!(
            stream,
            "POST /v1/events HTTP/1.1\r\nhost: {host}\r\n{origin}content-type: application/json\r\ncontent-length: 2\r\n\r\n[]"
        )
        .unwrap();
        server::answer(&mut stream).unwrap()
    };
    let served = Served::start(&path);
    let own = served.address.to_string();
    assert_eq!(ask_as(&served, &own, "https://evil.example").problem(403), "forbidden");
    assert_eq!(ask_as(&served, "evil.example:4318", "").problem(403), "forbidden");
    // A page needs nobody's leave to send text.
    let headers = [("origin", "https://evil.example"), ("content-type", "text/plain")];
    let body = br#"{"seqs": [2], "actor": "a", "reason": "r"}"#;
    assert_eq!(served.request("POST", "/v1/redactions", &headers, body).problem(403), "forbidden");
    ask_as(&served, &own, "").expect(200);
    ask_as(&served, "localhost", "http://localhost:3000").expect(200);
    served.stop();
    let told_so = Served::start_with(&path, &["--no-auth"]);
    ask_as(&told_so, "audit.example", "https://audit.example").expect(200);
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
fn a_key_may_come_with_an_encoded_space_or_as_a_password() {
    let (_folder, path) = new_path();
    with_log(&path);
    let (emit, _) = key(&path, "emit");
    let served = Served::start(&path);
    let status = |authorization: &str| {
        let headers = [("authorization", authorization), ("content-type", "application/json")];
        served.request("POST", "/v1/events", &headers, NOTE.as_bytes()).status
    };
    let basic = |text: &str| format!("Basic {}", BASE64_STANDARD.encode(text));
    for good in [
        format!("Bearer%20{emit}"),
        format!("bearer%20{emit}"),
        basic(&format!("pk-lf-desk:{emit}")),
        basic(&format!(":{emit}")),
        basic(&format!("pk:{emit}")).replace("Basic", "basic"),
    ] {
        assert_eq!(status(&good), 200, "{good}");
    }
    for bad in [
        "Bearer%20annals_wrong".to_owned(),
        format!("Bearer%2520{emit}"),
        format!("Bearer{emit}"),
        emit.clone(),
        // The key as the name is no password.
        basic(&format!("{emit}:")),
        basic(&emit),
        basic(&format!("pk:{emit}x")),
        format!("Basic {emit}"),
        format!("Digest {emit}"),
    ] {
        assert_eq!(status(&bad), 401, "{bad}");
    }
}
