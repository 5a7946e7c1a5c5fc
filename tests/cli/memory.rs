//! Peak memory of the commands and of the server: it stays the same however large a session is. Of files that
//! somebody else made `memory_hostile.rs` speaks.
//!
//! Each test prints what it measured: `cargo test --test cli memory:: -- --nocapture`. With `ANNALS_TEST_HEAVY=1` the
//! inputs are as large as they were when programs gave up.

#![cfg(target_os = "linux")]

use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use crate::support::measured::{MIB, PEAK_MIB, run};
use crate::support::server::Served;
use crate::support::{is_heavy, new_path};
use annals::AuditLog;
use serde_json::{Value, json};
use tempfile::TempDir;

/// Size of a large session, in MiB.
fn session_mib() -> u64 {
    if is_heavy() { 512 } else { 16 }
}

/// A log with one large session: steps with long inputs and outputs, and notes that are one endless word.
fn with_large_session(mib: u64) -> (TempDir, PathBuf) {
    let (folder, path) = new_path();
    let log = AuditLog::open(&path).unwrap();
    let append = |event: Value| {
        drop(log.append(crate::support::json(&event.to_string())).unwrap());
    };
    append(json!({"type": "session.started", "session": "large", "input": "words", "conversation": "c"}));
    let mib_bytes = usize::try_from(MIB).unwrap();
    let words = "several words of a long text ".repeat(mib_bytes / 29);
    let endless = "x".repeat(mib_bytes - 64);
    for number in 0..mib / 4 {
        let step = number.to_string();
        append(json!({"type": "step.started", "session": "large", "step": step, "input": words}));
        append(
            json!({"type": "step.ended", "session": "large", "step": step, "status": "ok", "output": words}),
        );
        append(
            json!({"type": "note.logged", "session": "large", "step": step, "message": format!("found {endless}")}),
        );
        append(json!({"type": "decision.made", "session": "large", "step": step, "rationale": words}));
    }
    append(json!({"type": "session.ended", "session": "large", "status": "completed"}));
    log.close().unwrap();
    (folder, path)
}

/// A log with a session of [`session_mib`], and a signed checkpoint.
struct Large {
    folder: TempDir,
    path: PathBuf,
    home: PathBuf,
    /// Bytes that an answer has at least if all of the session is in it.
    whole: u64,
}

/// The one that all tests read which run at a time: it takes long to make.
fn large() -> Arc<Large> {
    static MADE: Mutex<Weak<Large>> = Mutex::new(Weak::new());
    let mut made = MADE.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(large) = made.upgrade() {
        return large;
    }
    let (folder, path) = with_large_session(session_mib());
    for args in [&["key", "generate"] as &[&str], &["checkpoint"]] {
        let ran = run(&path, args);
        assert_eq!(ran.status, Some(0), "{args:?}: {}", ran.said);
    }
    let home = path.with_file_name("home");
    let large = Arc::new(Large { folder, path, home, whole: session_mib() * MIB * 9 / 10 });
    *made = Arc::downgrade(&large);
    large
}

#[test]
fn commands_take_no_more_memory_for_a_large_session() {
    let large = large();
    let (path, whole) = (&large.path, large.whole);
    let file = |name: &str| large.folder.path().join(name).display().to_string();
    let (copy, events, proof) = (file("copy.db"), file("events.jsonl"), file("proof"));
    let vkey = run(path, &["key", "show"]).said;
    let vkey = vkey.lines().map(str::trim).find(|line| line.contains('+')).unwrap();
    for (args, least) in [
        (&["--json", "show", "large"] as &[&str], whole),
        (&["show", "large"], 1_000),
        (&["show", "c"], 1_000),
        (&["--json", "replay", "large"], 2 * whole),
        (&["replay", "large"], 1_000),
        (&["--json", "search", "found", "--limit", "1000"], 1_000),
        (&["search", "found", "--by-rank", "--limit", "1000"], 1_000),
        (&["export", "-o", &events], 0),
        (&["export", "--session", "large"], whole),
        (&["export", "--table", "steps", "--format", "json"], whole / 2),
        (&["export", "--table", "search_documents", "--format", "csv"], 100),
        (&["sql", "SELECT * FROM notes"], 1_000),
        (&["tail", "--lines", "1000"], 1_000),
        (&["--json", "sessions"], 100),
        (&["sessions", "--text", "found"], 10),
        (&["info"], 100),
        (&["projections"], 100),
        (&["anchor"], 0),
        (&["apikey", "list"], 0),
        (&["checkpoint", "--last"], 100),
        (&["verify", "--log-only"], 100),
        (&["verify"], 100),
        (&["prove", "5", "--payload"], MIB),
        (&["prove", "--session", "large", "-o", &proof], 0),
        (&["verify-proof", &proof, "--key", vkey], 10),
        (&["consistency", "2"], 10),
        (&["tiles", &file("tiles")], 0),
        (&["copy", &copy], 0),
        (&["record", "--check", &events], 0),
    ] {
        let ran = run(path, args);
        assert_eq!(ran.status, Some(0), "{args:?}: {}", ran.said);
        assert!(ran.said_bytes >= least, "{args:?}: {} bytes", ran.said_bytes);
        assert!(ran.peak_mib < PEAK_MIB, "{args:?}: {} MiB", ran.peak_mib);
    }
    // Texts that are asked for whole are shown whole, up to a bound.
    let ran = run(path, &["show", "--full", "large"]);
    assert_eq!(ran.status, Some(0), "{}", ran.said);
    assert!(ran.peak_mib < 4 * PEAK_MIB, "{} MiB", ran.peak_mib);
    // A proof file is one text, and has a bound of its own.
    let ran = run(path, &["prove", "--session", "large", "--payload", "-o", &file("long-proof")]);
    assert_eq!(ran.status == Some(0), session_mib() < 128, "{}", ran.said);
    assert!(ran.peak_mib < 8 * PEAK_MIB, "{} MiB", ran.peak_mib);
    // What writes does so to the copy, and to a log of its own.
    let redact = ["redact", "5", "6", "--reason", "a request", "--actor", "somebody", "-y"];
    for (path, args) in [
        (&copy, &redact as &[&str]),
        (&copy, &["projections", "rebuild", "sessions"]),
        (&copy, &["projections", "rebuild", "activity"]),
        (&copy, &["projections", "rebuild", "search"]),
        (&copy, &["projections", "catch-up"]),
        (&file("own.db"), &["record", &events]),
    ] {
        let ran = run(Path::new(path), args);
        assert_eq!(ran.status, Some(0), "{args:?}: {}", ran.said);
        // The projections keep more pages than those who read.
        assert!(ran.peak_mib < 2 * PEAK_MIB, "{args:?}: {} MiB", ran.peak_mib);
    }
}

/// Writes lines of a session until the file is as large as a large session.
fn file_of_lines(folder: &TempDir, name: &str, first: &str, line: impl Fn(u64) -> String) -> String {
    let path = folder.path().join(name);
    let mut file = std::io::BufWriter::new(std::fs::File::create(&path).unwrap());
    let bytes_max = if is_heavy() { 100 * MIB } else { 16 * MIB };
    let mut bytes = writeln!(file, "{first}").map(|()| first.len() as u64).unwrap();
    for number in 0.. {
        if bytes >= bytes_max {
            break;
        }
        let line = line(number);
        bytes += line.len() as u64;
        writeln!(file, "{line}").unwrap();
    }
    file.into_inner().unwrap();
    path.display().to_string()
}

#[test]
fn an_import_takes_no_more_memory_for_a_long_session_of_an_agent() {
    let (folder, path) = new_path();
    let words = "several words of a long text ".repeat(300);
    let claude = |number: u64, kind: &str, message: Value| {
        json!({"type": kind, "sessionId": "s", "uuid": format!("u{number}"), "parentUuid": null,
            "timestamp": "2026-03-02T09:00:00Z", "isSidechain": false, "message": message})
    };
    let asked = |number| claude(number, "user", json!({"role": "user", "content": words}));
    let answer = |number: u64, id: String, content: Value| {
        claude(
            number,
            "assistant",
            json!({"role": "assistant", "model": "m", "id": id, "content": content,
            "usage": {"input_tokens": 1, "output_tokens": 1}}),
        )
    };
    let call = |number: u64| json!([{"type": "text", "text": words}, {"type": "tool_use", "id": format!("toolu_{number}"), "name": "Task", "input": {"prompt": words}}]);
    let first = asked(0).to_string();
    let codex = |kind: &str, payload: Value| json!({"timestamp": "2026-03-02T09:00:00Z", "type": kind, "payload": payload});
    let meta = codex("session_meta", json!({"id": "s"})).to_string();
    // A session as it is, and some that never end what they begin.
    let turns = file_of_lines(&folder, "turns", &first, |number| {
        match number % 3 {
        0 => answer(number, format!("m{number}"), call(number)).to_string(),
        1 => claude(number, "user", json!({"role": "user", "content": [{"type": "tool_result", "tool_use_id": format!("toolu_{}", number - 1), "content": words}]})).to_string(),
        _ => asked(number).to_string(),
    }
    });
    let questions = file_of_lines(&folder, "questions", &first, |number| asked(number + 1).to_string());
    let calls = file_of_lines(&folder, "calls", &first, |number| {
        answer(number + 1, format!("m{number}"), call(number)).to_string()
    });
    let sidechains = file_of_lines(&folder, "sidechains", &first, |number| {
        let mut line = asked(number + 1);
        line["isSidechain"] = true.into();
        line.to_string()
    });
    let sessions = file_of_lines(&folder, "sessions", &first, |number| {
        let mut line = asked(number + 1);
        line["sessionId"] = format!("s{number}").into();
        line.to_string()
    });
    let waiting = file_of_lines(&folder, "waiting", &first, |_| {
        json!({"type": "summary", "summary": words}).to_string()
    });
    let endless = file_of_lines(&folder, "endless", &first, |number| {
        answer(number + 1, "m".to_owned(), json!(words)).to_string()
    });
    let items = file_of_lines(&folder, "items", &meta, |number| {
        match number % 4 {
        0 => codex("response_item", json!({"type": "function_call", "name": "shell", "call_id": format!("call_{number}"), "arguments": "{}"})).to_string(),
        1 => codex("event_msg", json!({"type": "exec_command_end", "call_id": format!("never_{number}"), "exit_code": 1})).to_string(),
        2 => codex("response_item", json!({"type": "function_call_output", "call_id": format!("call_{}", number - 2), "output": words})).to_string(),
        _ => codex("response_item", json!({"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": words}]})).to_string(),
    }
    });
    for (format, file, status) in [
        ("claude-code", &turns, 0),
        ("claude-code", &questions, 0),
        ("claude-code", &calls, 0),
        ("claude-code", &sidechains, 0),
        ("claude-code", &sessions, 0),
        ("claude-code", &waiting, 0),
        // An answer has a bound, and what is left of it is recorded.
        ("claude-code", &endless, 1),
        ("codex", &items, 0),
    ] {
        let log = path.with_extension(Path::new(file).file_name().unwrap());
        let ran = run(&log, &["import", format, file, "--skip-bad"]);
        assert_eq!(ran.status, Some(status), "{file}: {}", ran.said);
        println!("{:>6} MiB   import {format} {file}", ran.peak_mib);
        assert!(ran.peak_mib < PEAK_MIB, "{file}: {} MiB", ran.peak_mib);
    }
}

/// Writes items of a list in a document until the file is as large as a large session.
fn document_of(folder: &TempDir, name: &str, head: &str, tail: &str, item: impl Fn(u64) -> Value) -> String {
    let last = item(0).to_string();
    let first = format!("{head}\n{last}");
    let path = file_of_lines(folder, name, &first, |number| format!(",{}", item(number + 1)));
    writeln!(std::fs::OpenOptions::new().append(true).open(&path).unwrap(), "{tail}").unwrap();
    path
}

#[test]
fn an_import_takes_no_more_memory_for_a_large_document_or_many_lines() {
    let (folder, path) = new_path();
    let words = "several words of a long text ".repeat(300);
    let call = |number: u64| json!({"tool_call_id": format!("call_{number}"), "function_name": "bash", "arguments": {"command": words}});
    let atif = document_of(
        &folder,
        "trajectory.json",
        r#"{"schema_version": "ATIF-v1.7", "session_id": "s", "steps": ["#,
        r#"], "agent": {"name": "a", "version": "1"}}"#,
        |number| {
            json!({"step_id": number + 1, "source": "agent", "message": words, "tool_calls": [call(number)],
            "observation": {"results": [{"source_call_id": format!("call_{number}"), "content": words}]}})
        },
    );
    let event = |number: u64| {
        json!({"event": "model", "timestamp": "2026-07-01T09:00:00Z", "model": "m",
            "input": [{"role": "user", "content": words}], "tools": [],
            "output": {"choices": [{"message": {"role": "assistant", "content": format!("attachment://{number}")}}]}})
    };
    let head = r#"{"eval": {"eval_id": "e", "task": "t"}, "status": "success", "samples": ["#;
    let inspect = document_of(
        &folder,
        "events.json",
        &format!("{head}{{\"id\": 1, \"epoch\": 1, \"input\": \"x\", \"events\": ["),
        "]}]}",
        event,
    );
    let samples = document_of(
        &folder,
        "samples.json",
        head,
        "]}",
        |number| json!({"id": number, "epoch": 1, "input": words, "events": [event(number)], "attachments": {number.to_string(): words}}),
    );
    let swe = document_of(
        &folder,
        "run.traj",
        r#"{"info": {"exit_status": "submitted"}, "trajectory": ["#,
        "]}",
        |_| json!({"action": "ls", "observation": words, "response": words, "query": [{"role": "user", "content": words}]}),
    );
    let mini = document_of(
        &folder,
        "run.traj.json",
        r#"{"messages": ["#,
        r#"], "info": {"exit_status": "Submitted"}}"#,
        |number| match number % 2 {
            0 => json!({"role": "assistant", "content": words, "extra": {"actions": [{"command": "ls"}]}}),
            _ => json!({"role": "user", "content": words, "extra": {"returncode": 0}}),
        },
    );
    let line = |number: u64| {
        json!({"instance_id": number, "metrics": {"accumulated_cost": 0.5}, "history": [
            {"source": "user", "action": "message", "args": {"content": words}},
            {"id": 1, "source": "agent", "action": "run", "args": {"command": words}},
            {"id": 2, "source": "agent", "cause": 1, "observation": "run", "content": words, "extras": {}}]})
        .to_string()
    };
    let openhands = file_of_lines(&folder, "output.jsonl", &line(0), |number| line(number + 1));
    for (format, file) in [
        ("atif", &atif),
        ("inspect-ai", &inspect),
        ("inspect-ai", &samples),
        ("swe-agent", &swe),
        ("mini-swe-agent", &mini),
        ("openhands", &openhands),
    ] {
        let log = path.with_extension(Path::new(file).file_name().unwrap());
        let ran = run(&log, &["import", format, file]);
        assert_eq!(ran.status, Some(0), "{file}: {}", ran.said);
        println!("{:>6} MiB   import {format} {file}", ran.peak_mib);
        assert!(ran.peak_mib < PEAK_MIB, "{file}: {} MiB", ran.peak_mib);
    }
}

/// A server with next to no memory for bodies and answers, and its peak.
struct Small {
    served: Served,
}

/// Answers of a server.
enum Answered {
    /// 200, with so many bytes.
    Bytes(u64),
    /// The request took too long.
    TooLong,
}

impl Small {
    fn start(large: &Large) -> Small {
        let home = [("ANNALS_HOME", large.home.to_str().unwrap())];
        Small { served: Served::start_in(&large.path, &["--max-memory", "16"], &home) }
    }

    fn ask(&self, target: &str) -> std::net::TcpStream {
        let mut stream = self.served.connect();
        // Nothing comes before all of it is written.
        stream.set_read_timeout(Some(std::time::Duration::from_secs(600))).unwrap();
        write!(stream, "GET {target} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n").unwrap();
        stream
    }

    /// An answer, which is read and not kept.
    fn get(&self, target: &str) -> Answered {
        let mut stream = self.ask(target);
        let mut buffer = vec![0; 1 << 16];
        let read = stream.read(&mut buffer).unwrap();
        let head = String::from_utf8_lossy(&buffer[..read]).into_owned();
        if head.starts_with("HTTP/1.1 503") && head.contains("takes too long") {
            println!("{:>6} MiB takes too long          GET {target}", self.served.peak_mib());
            return Answered::TooLong;
        }
        assert!(head.starts_with("HTTP/1.1 200"), "{target}: {head}");
        let length = head.to_ascii_lowercase();
        let length = length.split("content-length: ").nth(1).unwrap();
        let length: u64 = length.lines().next().unwrap().parse().unwrap();
        let mut bytes = read as u64;
        loop {
            match stream.read(&mut buffer).unwrap() {
                0 => break,
                read => bytes += read as u64,
            }
        }
        assert!(bytes > length, "{target}: it ends after {bytes} of {length} bytes");
        println!("{:>6} MiB {:>12} bytes   GET {target}", self.served.peak_mib(), length);
        Answered::Bytes(length)
    }

    /// Reads so many bytes of an answer that has no end.
    fn follow(&self, target: &str, least: u64) {
        let mut stream = self.ask(target);
        let (mut bytes, mut buffer) = (0, vec![0; 1 << 16]);
        while bytes < least {
            match stream.read(&mut buffer).unwrap() {
                0 => panic!("{target}: it ends after {bytes} bytes"),
                read => bytes += read as u64,
            }
        }
        println!("{:>6} MiB {:>12} bytes   GET {target}", self.served.peak_mib(), bytes);
    }

    fn post(&self, target: &str, body: &str) {
        let answer = self.served.post_json(target, body);
        assert_eq!(answer.status, 200, "{target}: {}", answer.text());
        println!("{:>6} MiB {:>12} bytes   POST {target}", self.served.peak_mib(), body.len());
    }

    /// Begins a request with a body for which there is no room: it is refused before it comes.
    fn refuse(&self, target: &str, bytes: u64) {
        let mut stream = self.served.connect();
        write!(stream, "POST {target} HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: {bytes}\r\n\r\n").unwrap();
        let answer = crate::support::server::answer(&mut stream).unwrap();
        assert_eq!(answer.status, 413, "{target}: {}", answer.text());
    }
}

#[test]
fn a_server_answers_with_a_session_that_is_larger_than_its_memory() {
    let large = large();
    let whole = large.whole;
    let small = Small::start(&large);
    for (target, least) in [
        ("/v1/sessions/large", whole),
        ("/v1/sessions/large/replay", 2 * whole),
        ("/v1/search?q=found&limit=1000", 1_000),
        ("/v1/search?q=found&limit=1000&order=rank", 1_000),
        ("/v1/sessions?limit=1000", 100),
        ("/v1/sessions/large/steps?limit=1000", 1_000),
        ("/v1/sessions/large/timeline?limit=1000", 1_000),
        ("/v1/decisions?limit=1000", 1_000),
        ("/v1/steps?limit=1000", 1_000),
        ("/v1/events?limit=1000", 1_000),
        ("/v1/events?session=large&limit=1000", 1_000),
        ("/v1/events/5", 1_000),
        ("/v1/log", 100),
        ("/v1/projections", 100),
        ("/v1/checkpoint", 100),
        ("/v1/proofs/events/5", 100),
        ("/v1/proofs/sessions/large", 1_000),
        ("/v1/proofs/consistency?from=2", 10),
    ] {
        match small.get(target) {
            Answered::Bytes(bytes) => assert!(bytes >= least, "{target}: {bytes} bytes"),
            // A build without optimization may need longer for half a gigabyte than a server lets anybody wait.
            Answered::TooLong => assert!(is_heavy() && cfg!(debug_assertions), "{target} takes too long"),
        }
    }
    small.follow("/v1/tail?after=0", whole);
    small.post("/v1/verification", "");
    small.post("/v1/checkpoint", "");
    let mib_bytes = usize::try_from(MIB).unwrap();
    let note = json!({"type": "note.logged", "session": "other", "message": "w ".repeat(mib_bytes / 2)});
    small.post("/v1/events", &json!([&note, &note]).to_string());
    let attribute = json!({"key": "gen_ai.prompt", "value": {"stringValue": "w ".repeat(mib_bytes / 2)}});
    let span = |number: usize| {
        json!({"traceId": "5b8efff798038103d269b633813fc60c", "spanId": format!("{number:016x}"), "name": "chat",
            "startTimeUnixNano": "1", "endTimeUnixNano": "2", "attributes": [attribute]})
    };
    let traces = json!({"resourceSpans": [{"scopeSpans": [{"spans": [span(1), span(2)]}]}]});
    small.post("/v1/traces", &traces.to_string());
    for target in ["/v1/events", "/v1/traces", "/v1/logs", "/v1/verification"] {
        small.refuse(target, 12 * MIB);
    }
    if !is_heavy() {
        let same = Command::new(env!("CARGO_BIN_EXE_annals"))
            .args(["--json", "--db"])
            .arg(&large.path)
            .args(["show", "large"])
            .output()
            .unwrap();
        assert!(
            small.served.get("/v1/sessions/large").json()
                == serde_json::from_slice::<Value>(&same.stdout).unwrap()
        );
    }
    let peak = small.served.peak_mib();
    assert!(peak < PEAK_MIB, "{peak} MiB");
}

#[test]
fn attributes_that_a_session_is_given_again_and_again_neither_stop_its_tables_nor_fill_the_memory() {
    let (_folder, path) = new_path();
    let served = Served::start(&path);
    let updates: u64 = if is_heavy() { 80 } else { 5 };
    for number in 1..=updates {
        let update = json!({"type": "session.updated", "session": "s", "attributes": {number.to_string(): "w".repeat(3 << 20)}});
        served.post_json("/v1/events", json!([update]).to_string()).expect(200);
    }
    // Until the read tables have all of it, or stop.
    let tables = loop {
        let tables = served.get("/v1/projections").expect(200);
        let sessions = tables["projections"].as_array().unwrap().iter().find(|it| it["name"] == "sessions");
        let sessions = sessions.unwrap().clone();
        if sessions["lag"] == 0 || !sessions["stopped_at"].is_null() {
            break sessions;
        }
        std::thread::sleep(std::time::Duration::from_millis(50));
    };
    assert!(tables["stopped_at"].is_null(), "{tables}");
    let session = served.get("/v1/sessions/s").expect(200);
    let attributes = session["session"]["attributes"].as_object().unwrap();
    assert!(attributes.contains_key("1") && attributes.contains_key("2"), "what there is room for stays");
    assert_eq!(attributes["annals.events_left_out"], updates - 2);
    let peak = served.peak_mib();
    println!("{peak} MiB after {updates} updates");
    assert!(peak < 2 * PEAK_MIB, "{peak} MiB");
}

#[test]
fn readers_that_are_slow_or_gone_keep_nobody_waiting() {
    let (_folder, path) = with_large_session(16);
    let served = Served::start(&path);
    // More of them than questions that are answered at a time; none reads its answer.
    let mut slow = Vec::new();
    for _ in 0..8 {
        let mut stream = served.connect();
        let request = "GET /v1/sessions/large HTTP/1.1\r\nhost: localhost\r\n\r\n";
        stream.write_all(request.as_bytes()).unwrap();
        let mut begin = [0; 12];
        stream.read_exact(&mut begin).unwrap();
        assert_eq!(&begin, b"HTTP/1.1 200");
        slow.push(stream);
    }
    for _ in 0..8 {
        let request = "GET /v1/sessions/large/replay HTTP/1.1\r\nhost: localhost\r\n\r\n";
        served.connect().write_all(request.as_bytes()).unwrap();
    }
    served.get("/v1/sessions").expect(200);
    served.get("/v1/search?q=found").expect(200);
    assert_eq!(served.get("/v1/sessions/large").expect(200)["session"]["id"], "large");
    drop(slow);
}

#[test]
fn long_answers_have_a_bound_on_the_disk() {
    let (_folder, path) = with_large_session(16);
    let served = Served::start_with(&path, &["--max-answer-disk", "4"]);
    let answer = served.get("/v1/sessions/large");
    assert_eq!(answer.problem(503), "overloaded");
    assert!(answer.header("retry-after").is_some());
    served.get("/v1/sessions").expect(200);
}

#[test]
fn answers_and_bodies_share_one_bound_of_memory() {
    let (_folder, path) = with_large_session(4);
    let served = Served::start_with(&path, &["--max-memory", "1"]);
    served.get("/v1/sessions").expect(200);
    let head = "POST /v1/events HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: 500000\r\n\r\n";
    let mut holding: Vec<_> = (0..2).map(|_| served.connect()).collect();
    for stream in &mut holding {
        stream.write_all(head.as_bytes()).unwrap();
        stream.write_all(&[b' '; 499_999]).unwrap();
    }
    // The bodies arrive when they do; from then on there is no room.
    let refused = (0..1_000).any(|_| {
        std::thread::sleep(std::time::Duration::from_millis(10));
        let answer = served.get("/v1/events?limit=1000");
        answer.status == 503 && answer.problem(503) == "overloaded"
    });
    assert!(refused);
    drop(holding);
    let answered = (0..1_000).any(|_| {
        std::thread::sleep(std::time::Duration::from_millis(10));
        served.get("/v1/sessions").status == 200
    });
    assert!(answered);
}

/// Waits until a server has no more resident than that, in MiB, and fails where it keeps more for good.
fn wait_for_resident(served: &Served, before: u64, most: u64) {
    let peak = served.peak_mib();
    // Only a server that gives nothing back takes so long.
    let given_back = (0..60_000).find_map(|_| {
        std::thread::sleep(std::time::Duration::from_millis(10));
        let now = served.resident_bytes() / MIB;
        (now < most).then_some(now)
    });
    println!("{before} MiB at first, {peak} MiB at the peak, {given_back:?} MiB afterwards");
    assert!(given_back.is_some(), "{} MiB are kept", served.resident_bytes() / MIB);
}

/// Pages that the two connections of a server which write keep for their next transactions, in MiB.
const PAGES_KEPT_MIB: u64 = 80;

#[test]
fn a_server_gives_memory_back_after_much_was_recorded() {
    let (_folder, path) = new_path();
    let served = Served::start(&path);
    served.post_json("/v1/events", r#"[{"type":"note.logged","message":"m"}]"#).expect(200);
    let before = served.resident_bytes() / MIB;
    // Many bodies at a time, of many events each.
    let event = json!({"type": "note.logged", "message": "w ".repeat(100)}).to_string();
    let body = format!("[{}]", vec![event; 4_000].join(","));
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| served.post_json("/v1/events", &body));
        }
    });
    // Until the read tables have all of it there is work to do.
    while served.get("/v1/sessions").expect(200)["lag"] != 0 {
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    wait_for_resident(&served, before, before + PAGES_KEPT_MIB);
}

#[test]
fn a_server_gives_memory_back_after_much_was_read() {
    let (_folder, path) = with_large_session(16);
    let served = Served::start(&path);
    served.get("/v1/sessions").expect(200);
    let before = served.resident_bytes() / MIB;
    let targets =
        ["/v1/sessions/large", "/v1/sessions/large/replay", "/v1/search?q=found&limit=1000", "/v1/events"];
    std::thread::scope(|scope| {
        for target in targets.repeat(3) {
            let served = &served;
            // Where too many ask at a time some are told to come again.
            scope.spawn(move || assert!([200, 503].contains(&served.get(target).status), "{target}"));
        }
    });
    let peak = served.peak_mib();
    assert!(peak > 2 * before, "that was no peak");
    // Pages between those that are still used stay, some of them for as long as the server runs.
    wait_for_resident(&served, before, before + (peak - before) / 2);
}
