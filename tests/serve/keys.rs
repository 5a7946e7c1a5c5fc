//! API keys at a server: who is let in, for what, how soon that ends, and what the log says of it.

#![allow(clippy::string_slice, reason = "a test that cannot go on fails")]

use std::io::{Read as _, Write as _};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::support::server::{Answer, Served, ask};
use crate::support::{new_path, verify_whole};
use annals::apikey::ApiKey;
use annals::apikey::ApiKeyRequest;
use annals::query::EventFilter;
use annals::{ApiKeyScope, AuditLog, EventId, Reader, Recorded, Timestamp};
use serde_json::{Value, json};

const NOTE: &str = r#"{"type":"note.logged","message":"m"}"#;

/// In which a server must have heard of what another process did to a key.
const SECOND: Duration = Duration::from_secs(1);

/// Does something to the log as another process would.
fn beside<T>(path: &Path, work: impl FnOnce(&AuditLog) -> T) -> T {
    let log = AuditLog::open(path).unwrap();
    let result = work(&log);
    log.close().unwrap();
    result
}

fn key_until(path: &Path, name: &str, scopes: &[ApiKeyScope], expires_at: Option<Timestamp>) -> ApiKey {
    let request = ApiKeyRequest {
        name: name.to_owned(),
        scopes: scopes.to_vec(),
        expires_at,
        actor: "ops".to_owned(),
        reason: None,
    };
    beside(path, |log| log.create_api_key(&request).unwrap().0)
}

fn key(path: &Path, scopes: &[ApiKeyScope]) -> ApiKey {
    key_until(path, &format!("a key {}", EventId::generate()), scopes, None)
}

fn with(served: &Served, authorization: &str, method: &str, target: &str, body: &str) -> Answer {
    let headers = [("authorization", authorization), ("content-type", "application/json")];
    served.request(method, target, &headers, body.as_bytes())
}

fn bearer(key: &ApiKey) -> String {
    format!("Bearer {}", *key.reveal())
}

fn post(served: &Served, key: &ApiKey, body: &str) -> Answer {
    with(served, &bearer(key), "POST", "/v1/events", body)
}

fn get(served: &Served, key: &ApiKey, target: &str) -> Answer {
    with(served, &bearer(key), "GET", target, "")
}

/// Asks again until the answer has this status.
#[track_caller]
fn until(status: u16, mut ask: impl FnMut() -> Answer) {
    let began = Instant::now();
    loop {
        let answer = ask();
        if answer.status == status {
            return;
        }
        assert!(began.elapsed() < 600 * SECOND, "{}", answer.text());
    }
}

fn last_events(path: &Path, count: usize) -> Vec<Recorded> {
    Reader::open(path).unwrap().last_events(&EventFilter::ALL, count).unwrap()
}

fn form(event: &Recorded) -> Value {
    serde_json::from_str(&event.to_json()).unwrap()
}

#[test]
fn from_when_there_is_a_key_nobody_is_let_in_without_one() {
    let (_folder, path) = new_path();
    let served = Served::start(&path);
    served.post_json("/v1/events", NOTE).expect(200);
    let emit = key(&path, &[ApiKeyScope::Emit]);
    until(401, || served.post_json("/v1/events", NOTE));
    let answer = served.post_json("/v1/events", NOTE);
    assert_eq!(answer.problem(401), "unauthorized");
    assert!(answer.header("www-authenticate").unwrap().starts_with("Bearer"));
    post(&served, &emit, NOTE).expect(200);
    served.get("/healthz").expect(200);
    // Also from when that one is good for nothing.
    beside(&path, |log| log.revoke_api_key(emit.id(), "ops", None).unwrap());
    until(401, || post(&served, &emit, NOTE));
    served.post_json("/v1/events", NOTE).expect(401);
    served.stop();
    verify_whole(&path);
}

#[test]
fn what_is_no_key_is_refused_in_good_order() {
    let (_folder, path) = new_path();
    let emit = key(&path, &[ApiKeyScope::Emit]);
    let served = Served::start(&path);
    let good = bearer(&emit);
    let other = ApiKey::generate().unwrap();
    let long = format!("Bearer {}", "a".repeat(8_000));
    let wrong_secret = format!("{}{}", &good[..47], &other.reveal()[40..]);
    for wrong in [
        "",
        "Bearer",
        "Bearer ",
        "Basic dXNlcjpwYXNz",
        "annals",
        &good["Bearer ".len()..],
        &good[..good.len() - 1],
        &format!("{good}x"),
        &format!("{good}, {good}"),
        &bearer(&other),
        &wrong_secret,
        &long,
    ] {
        assert_eq!(with(&served, wrong, "POST", "/v1/events", NOTE).problem(401), "unauthorized", "{wrong}");
    }
    // Bytes that are no text.
    let mut stream = served.connect();
    stream
        .write_all(b"POST /v1/events HTTP/1.1\r\nhost: a\r\nconnection: close\r\nauthorization: Bearer \xff\xfe\r\ncontent-length: 0\r\n\r\n")
        .unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    assert!(answer.starts_with(b"HTTP/1.1 401 "), "{}", String::from_utf8_lossy(&answer));
    // Who knows no secret does not hear which ids there are.
    let details: Vec<String> = [&wrong_secret, &bearer(&other)]
        .map(|wrong| with(&served, wrong, "POST", "/v1/events", NOTE).expect(401)["detail"].to_string())
        .into();
    assert_eq!(details[0], details[1]);
    // The scheme may be written as one likes.
    for scheme in ["bearer", "BEARER"] {
        with(&served, &good.replace("Bearer", scheme), "POST", "/v1/events", NOTE).expect(200);
    }
    served.stop();
}

#[test]
fn a_key_is_good_for_its_scopes_alone_and_an_auditors_changes_nothing() {
    let (_folder, path) = new_path();
    let (emit, auditor) =
        (key(&path, &[ApiKeyScope::Emit]), key(&path, &[ApiKeyScope::Read, ApiKeyScope::Verify]));
    let served = Served::start(&path);
    post(&served, &emit, NOTE).expect(200);
    get(&served, &auditor, "/v1/sessions").expect(200);
    let before = last_events(&path, 1)[0].seq;

    let answer = get(&served, &emit, "/v1/sessions");
    assert_eq!(answer.problem(403), "forbidden");
    assert!(answer.text().contains("`read`") && answer.text().contains("emit"), "{}", answer.text());
    // Everything that is not a question, as the server's own description lists it.
    let document = get(&served, &auditor, "/openapi.json").expect(200);
    let mut changing = 0;
    for (target, operations) in document["paths"].as_object().unwrap() {
        let operations = operations.as_object().unwrap().keys();
        for method in
            operations.filter(|method| ["post", "put", "patch", "delete"].contains(&method.as_str()))
        {
            // A verification changes nothing.
            if target == "/v1/verification" {
                continue;
            }
            changing += 1;
            let target = target.replace(['{', '}'], "");
            let answer = with(&served, &bearer(&auditor), &method.to_uppercase(), &target, NOTE);
            assert_eq!(answer.status, 403, "{method} {target}: {}", answer.text());
        }
    }
    assert!(changing > 0);
    assert_eq!(last_events(&path, 1)[0].seq, before);
    served.stop();
}

#[test]
fn a_key_that_expires_or_is_revoked_while_the_server_runs_is_refused() {
    let (_folder, path) = new_path();
    let expires_at = Timestamp::from_micros(Timestamp::now().micros() + 3_000_000);
    let short = key_until(&path, "short", &[ApiKeyScope::Emit], Some(expires_at));
    let served = Served::start(&path);
    // A busy machine may start the server only when the key has expired.
    let answer = post(&served, &short, NOTE);
    assert!(answer.status == 200 || Timestamp::now() >= expires_at, "{}", answer.text());
    // A key that was created while it runs is good at once.
    let late = key(&path, &[ApiKeyScope::Emit, ApiKeyScope::Read]);
    post(&served, &late, NOTE).expect(200);

    // On a connection that is open already, too; and who follows the log is sent away.
    let mut stream = served.connect();
    let authorization = bearer(&late);
    let headers = [("authorization", authorization.as_str()), ("content-type", "application/json")];
    ask(&mut stream, "POST", "/v1/events", &headers, NOTE.as_bytes()).unwrap().expect(200);
    let mut tail = served.connect();
    write!(tail, "GET /v1/tail HTTP/1.0\r\nhost: a\r\nauthorization: {authorization}\r\n\r\n").unwrap();
    let mut begun = [0; 12];
    tail.read_exact(&mut begun).unwrap();
    assert_eq!(&begun, b"HTTP/1.0 200");

    beside(&path, |log| log.revoke_api_key(late.id(), "ops", Some("it leaked")).unwrap());
    until(401, || ask(&mut stream, "POST", "/v1/events", &headers, NOTE.as_bytes()).unwrap());
    assert!(post(&served, &late, NOTE).expect(401)["detail"].as_str().unwrap().contains("revoked"));
    tail.read_to_end(&mut Vec::new()).unwrap();

    until(401, || post(&served, &short, NOTE));
    assert!(Timestamp::now() >= expires_at);
    assert!(post(&served, &short, NOTE).expect(401)["detail"].as_str().unwrap().contains("expired"));
    served.stop();
}

#[test]
fn events_carry_the_id_of_the_key_and_the_same_id_under_another_key_is_a_conflict() {
    let (_folder, path) = new_path();
    let (one, other) = (key(&path, &[ApiKeyScope::Emit]), key(&path, &[ApiKeyScope::Emit]));
    let served = Served::start(&path);
    let id = EventId::generate().to_string();
    let event = json!([{"type": "note.logged", "message": "m", "id": id}]).to_string();
    let recorded = post(&served, &one, &event).expect(200);
    assert_eq!(post(&served, &one, &event).expect(200)["results"][0]["outcome"], "already_recorded");
    let refused = post(&served, &other, &event).expect(422);
    assert_eq!(refused["results"][0]["error"]["type"], "urn:annals:problem:conflict");
    let event = last_events(&path, 1).remove(0);
    assert_eq!(event.seq.get(), recorded["results"][0]["seq"].as_u64().unwrap());
    assert_eq!(event.principal, Some(one.id()));
    assert_eq!(form(&event)["principal"], one.id().to_string());
    served.stop();
}

#[test]
fn the_last_use_of_a_key_is_kept() {
    let (_folder, path) = new_path();
    let (used, unused) = (key(&path, &[ApiKeyScope::Emit]), key(&path, &[ApiKeyScope::Emit]));
    let before = Timestamp::now();
    let served = Served::start(&path);
    post(&served, &used, NOTE).expect(200);
    served.stop();
    let keys = Reader::open(&path).unwrap().api_keys().unwrap();
    let last = |key: &ApiKey| keys.iter().find(|record| record.id == key.id()).unwrap().last_used_at;
    assert!(last(&used).is_some_and(|at| at >= before && at <= Timestamp::now()));
    assert_eq!(last(&unused), None);
    verify_whole(&path);
}

#[test]
fn reads_are_events_of_the_log_where_that_is_wanted() {
    let (_folder, path) = new_path();
    let auditor = key(&path, &[ApiKeyScope::Read]);
    let served = Served::start(&path);
    get(&served, &auditor, "/v1/sessions").expect(200);
    served.stop();
    assert_eq!(last_events(&path, 1)[0].kind_name(), "apikey.created");

    let served = Served::start_with(&path, &["--record-reads"]);
    let authorization = bearer(&auditor);
    let headers =
        [("authorization", authorization.as_str()), ("user-agent", "curl/8"), ("x-request-id", "request-7")];
    served.request("GET", "/v1/search?q=lease", &headers, b"").expect(200);
    let event = form(&last_events(&path, 1)[0]);
    assert_eq!(event["type"], "action.recorded");
    assert_eq!(event["principal"], auditor.id().to_string());
    assert_eq!(event["actor"], json!({"id": auditor.id().to_string(), "kind": "apikey"}));
    assert_eq!(event["action"], "http.read");
    assert_eq!(event["entity_type"], "GET");
    assert_eq!(event["entity_id"], "/v1/search?q=lease");
    assert_eq!(
        event["context"],
        json!({"ip": "127.0.0.1", "user_agent": "curl/8", "request_id": "request-7"})
    );
    // What shows nothing of what events say is not recorded, nor what was refused.
    let before = last_events(&path, 1)[0].seq;
    get(&served, &auditor, "/v1/log").expect(200);
    post(&served, &auditor, NOTE).expect(403);
    with(&served, "Bearer x", "GET", "/v1/search?q=lease", "").expect(401);
    assert_eq!(last_events(&path, 1)[0].seq, before);
    served.stop();
    verify_whole(&path);
}

#[test]
fn who_is_wrong_too_often_is_told_to_wait_and_a_good_key_is_let_in_all_the_same() {
    let (_folder, path) = new_path();
    let emit = key(&path, &[ApiKeyScope::Emit]);
    let served = Served::start(&path);
    let wrong = ApiKey::generate().unwrap();
    let mut answers = (0..40).map(|_| post(&served, &wrong, NOTE));
    let limited = answers.find(|answer| answer.status != 401).unwrap();
    assert_eq!(limited.problem(429), "too-many-requests");
    assert!(limited.header("retry-after").unwrap().parse::<u64>().unwrap() >= 1);
    post(&served, &emit, NOTE).expect(200);
    // To show none is not to be wrong.
    served.post_json("/v1/events", NOTE).expect(401);
    served.stop();
}

#[test]
fn ten_thousand_wrong_keys_do_not_keep_others_from_being_served() {
    const WRONG: u64 = 10_000;
    const THREADS: u64 = 4;
    let (_folder, path) = new_path();
    let emit = key(&path, &[ApiKeyScope::Emit]);
    let served = Served::start(&path);
    let (refused, done) = (AtomicU64::new(0), AtomicBool::new(false));
    let mut longest = Duration::ZERO;
    let mut posted = 0_u64;
    std::thread::scope(|scope| {
        let attackers: Vec<_> = (0..THREADS)
            .map(|_| {
                std::thread::Builder::new()
                    .spawn_scoped(scope, || {
                        let mut stream = served.connect();
                        for _ in 0..WRONG / THREADS {
                            let wrong = bearer(&ApiKey::generate().unwrap());
                            let headers =
                                [("authorization", wrong.as_str()), ("content-type", "application/json")];
                            let answer =
                                ask(&mut stream, "POST", "/v1/events", &headers, NOTE.as_bytes()).unwrap();
                            assert!(matches!(answer.status, 401 | 429), "{}", answer.text());
                            refused.fetch_add(1, Ordering::Relaxed);
                        }
                    })
                    .unwrap()
            })
            .collect();
        let authorization = bearer(&emit);
        let headers = [("authorization", authorization.as_str()), ("content-type", "application/json")];
        let mut stream = served.connect();
        while !done.load(Ordering::Relaxed) {
            let began = Instant::now();
            ask(&mut stream, "POST", "/v1/events", &headers, NOTE.as_bytes()).unwrap().expect(200);
            longest = longest.max(began.elapsed());
            posted += 1;
            done.store(attackers.iter().all(|attacker| attacker.is_finished()), Ordering::Relaxed);
        }
    });
    println!("{posted} good requests meanwhile, the longest took {longest:?}");
    assert_eq!(refused.load(Ordering::Relaxed), WRONG);
    assert!(posted > 0);
    served.stop();
    assert_eq!(last_events(&path, 1)[0].seq.get(), posted + 2, "nothing that was refused is in the log");
}

#[test]
fn who_says_so_asks_nobody_for_a_key() {
    let (_folder, path) = new_path();
    key(&path, &[ApiKeyScope::Emit]);
    let served = Served::start_with(&path, &["--no-auth"]);
    served.post_json("/v1/events", NOTE).expect(200);
    served.get("/v1/sessions").expect(200);
    served.stop();
    assert_eq!(last_events(&path, 1)[0].principal, None);
}

#[test]
fn what_the_server_says_of_itself_has_no_secret_in_it() {
    let (_folder, path) = new_path();
    let emit = key(&path, &[ApiKeyScope::Emit]);
    let served = Served::start_in(&path, &[], &[("ANNALS_LOG", "trace")]);
    post(&served, &emit, NOTE).expect(200);
    let other = ApiKey::generate().unwrap();
    post(&served, &other, NOTE).expect(401);
    let said = served.stop();
    assert!(said.contains("a key was refused"), "{said}");
    for key in [emit, other] {
        assert!(!said.contains(&key.reveal()[40..]), "{said}");
    }
}
