//! Peak memory of the commands and of the server: it stays the same however large a session, a text or a list
//! is, also in a file that somebody else made.
//!
//! Each test prints what it measured: `cargo test --test memory -- --nocapture`. With `ANNALS_TEST_HEAVY=1` the
//! inputs are as large as they were when programs gave up.

#![cfg(target_os = "linux")]
#![allow(
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test that cannot go on fails"
)]

#[path = "support/forge.rs"]
mod forge;
mod support;

#[path = "support/server.rs"]
mod server;

use std::io::{Read as _, Write as _};
use std::path::Path;
use std::process::{Command, Stdio};

use annals::AuditLog;
use forge::tamper;
use rusqlite::params;
use serde_json::{Value, json};
use server::Served;
use support::{is_heavy, new_path};
use tempfile::TempDir;

const MIB: u64 = 1 << 20;

/// Size of a large session, in MiB.
fn session_mib() -> u64 {
    if is_heavy() { 512 } else { 16 }
}

/// What a process may have at its peak beside what it needs for next to nothing: pages that connections keep, the
/// largest event several times over, and some more for the allocator.
const PEAK_MIB: u64 = 160;

/// Peak of a process that runs, in MiB.
fn peak_mib(pid: u32) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find(|line| line.starts_with("VmHWM:"))?;
    Some(line.split_whitespace().nth(1)?.parse::<u64>().ok()? / 1024)
}

/// What became of a command.
struct Ran {
    status: Option<i32>,
    peak_mib: u64,
    /// Bytes of standard output.
    said_bytes: u64,
    /// The beginning of standard output, and all of standard error.
    said: String,
}

/// Runs a command, whose output is read and not kept, and looks again and again at its peak.
fn run(path: &Path, args: &[&str]) -> Ran {
    let mut child = Command::new(env!("CARGO_BIN_EXE_annals"))
        .arg("--db")
        .arg(path)
        .args(args)
        .env("ANNALS_HOME", path.with_file_name("home"))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let pid = child.id();
    let (mut stdout, mut stderr) = (child.stdout.take().unwrap(), child.stderr.take().unwrap());
    let out = std::thread::Builder::new().spawn(move || {
        let (mut begin, mut bytes, mut buffer) = (Vec::new(), 0_u64, vec![0; 1 << 16]);
        loop {
            match stdout.read(&mut buffer).unwrap() {
                0 => return (begin, bytes),
                read => {
                    bytes += read as u64;
                    if begin.len() < 1 << 16 {
                        begin.extend_from_slice(&buffer[..read]);
                    }
                }
            }
        }
    });
    let errors = std::thread::Builder::new().spawn(move || {
        let mut text = Vec::new();
        stderr.read_to_end(&mut text).unwrap();
        text
    });
    let mut peak = 0;
    let status = loop {
        peak = peak.max(peak_mib(pid).unwrap_or(0));
        match child.try_wait().unwrap() {
            Some(status) => break status,
            None => std::thread::sleep(std::time::Duration::from_millis(2)),
        }
    };
    let ((begin, said_bytes), errors) = (out.unwrap().join().unwrap(), errors.unwrap().join().unwrap());
    let said_bytes = said_bytes + errors.len() as u64;
    let said = String::from_utf8_lossy(&[begin, errors].concat()).into_owned();
    println!("{:>6} MiB {:>12} bytes   annals {}", peak, said_bytes, args.join(" "));
    Ran { status: status.code(), peak_mib: peak, said_bytes, said }
}

/// A log with one large session: steps with long inputs and outputs, and notes that are one endless word.
fn with_large_session(mib: u64) -> (TempDir, std::path::PathBuf) {
    let (folder, path) = new_path();
    let log = AuditLog::open(&path).unwrap();
    let append = |event: Value| {
        drop(log.append(support::json(&event.to_string())).unwrap());
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

#[test]
fn commands_take_no_more_memory_for_a_large_session() {
    let (folder, path) = with_large_session(session_mib());
    let file = |name: &str| folder.path().join(name).display().to_string();
    let whole = session_mib() * MIB * 9 / 10;
    for (args, least) in [
        (&["--json", "show", "large"] as &[&str], whole),
        (&["show", "large"], 1_000),
        (&["show", "c"], 1_000),
        (&["--json", "replay", "large"], 2 * whole),
        (&["replay", "large"], 1_000),
        (&["--json", "search", "found", "--limit", "1000"], 1_000),
        (&["search", "found", "--by-rank", "--limit", "1000"], 1_000),
        (&["export"], whole),
        (&["export", "--session", "large"], whole),
        (&["export", "--table", "steps", "--format", "json"], whole / 2),
        (&["export", "--table", "documents", "--format", "csv"], whole / 2),
        (&["sql", "SELECT * FROM notes"], 1_000),
        (&["tail", "--lines", "1000"], 1_000),
        (&["--json", "sessions"], 100),
        (&["info"], 100),
        (&["projections"], 100),
        (&["verify", "--log-only"], 100),
        (&["verify"], 100),
        (&["copy", &file("copy.db")], 0),
    ] {
        let ran = run(&path, args);
        assert_eq!(ran.status, Some(0), "{args:?}: {}", ran.said);
        assert!(ran.said_bytes >= least, "{args:?}: {} bytes", ran.said_bytes);
        assert!(ran.peak_mib < PEAK_MIB, "{args:?}: {} MiB", ran.peak_mib);
    }
    // Texts that are asked for whole are shown whole, up to a bound.
    let ran = run(&path, &["show", "--full", "large"]);
    assert_eq!(ran.status, Some(0), "{}", ran.said);
    assert!(ran.peak_mib < 4 * PEAK_MIB, "{} MiB", ran.peak_mib);
}

/// A server with next to no memory for bodies and answers, and its peak.
struct Small {
    served: Served,
}

impl Small {
    fn start(path: &Path) -> Small {
        Small { served: Served::start_with(path, &["--max-memory", "16"]) }
    }

    /// Bytes of an answer of 200, which is read and not kept.
    fn get(&self, target: &str) -> u64 {
        let mut stream = self.served.connect();
        // Nothing comes before all of it is written.
        stream.set_read_timeout(Some(std::time::Duration::from_secs(600))).unwrap();
        write!(stream, "GET {target} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n").unwrap();
        let mut buffer = vec![0; 1 << 16];
        let read = stream.read(&mut buffer).unwrap();
        let head = String::from_utf8_lossy(&buffer[..read]).into_owned();
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
        length
    }
}

#[test]
fn a_server_answers_with_a_session_that_is_larger_than_its_memory() {
    let (_folder, path) = with_large_session(session_mib());
    let whole = session_mib() * MIB * 9 / 10;
    let small = Small::start(&path);
    for (target, least) in [
        ("/v1/sessions/large", whole),
        ("/v1/sessions/large/replay", 2 * whole),
        ("/v1/search?q=found&limit=1000", 1_000),
        ("/v1/search?q=found&limit=1000&order=rank", 1_000),
        ("/v1/sessions?limit=1000", 100),
        ("/v1/sessions/large/steps?limit=1000", 1_000),
        ("/v1/decisions?limit=1000", 1_000),
        ("/v1/events?limit=1000", 1_000),
        ("/v1/events/5", 1_000),
        ("/v1/log", 100),
    ] {
        assert!(small.get(target) >= least, "{target}");
    }
    let same = Command::new(env!("CARGO_BIN_EXE_annals"))
        .args(["--json", "--db"])
        .arg(&path)
        .args(["show", "large"])
        .output()
        .unwrap();
    assert!(
        small.served.get("/v1/sessions/large").json()
            == serde_json::from_slice::<Value>(&same.stdout).unwrap()
    );
    let peak = small.served.peak_mib();
    assert!(peak < PEAK_MIB, "{peak} MiB");
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

/// A log with a checkpoint, in whose tables somebody wrote long texts and many rows.
fn hostile() -> (TempDir, std::path::PathBuf) {
    let (text_mb, rows) = if is_heavy() { (500, 1_000_000) } else { (80, 50_000) };
    let (folder, path) = new_path();
    let home = path.with_file_name("home");
    let annals = |args: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_annals"));
        let ran = command.arg("--db").arg(&path).args(args).env("ANNALS_HOME", &home).output().unwrap();
        assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
    };
    let log = AuditLog::open(&path).unwrap();
    let started = r#"{"type": "session.started", "session": "s", "input": "words"}"#;
    drop(log.append(support::json(started)).unwrap());
    log.close().unwrap();
    annals(&["key", "generate"]);
    annals(&["checkpoint"]);
    tamper(&path, |connection| {
        // Half as many bytes, each of which hex() writes with two.
        let half = text_mb * 500_000;
        // Where SQLite looks a key up it has those that it compares it with whole in memory, one at a time.
        let half_key = 20_000_000;
        connection.execute_batch("BEGIN").unwrap();
        connection.execute("UPDATE checkpoints SET note = hex(zeroblob(?1))", [half]).unwrap();
        connection
            .execute("INSERT INTO anchors (name, error) VALUES ('long', hex(zeroblob(?1)))", [half])
            .unwrap();
        connection.execute("INSERT INTO anchors (name) VALUES (hex(zeroblob(?1)))", [half_key]).unwrap();
        connection
            .execute(
                "INSERT INTO anchor_receipts (name, size, receipt) VALUES ('long', 2, zeroblob(?1))",
                [2 * half],
            )
            .unwrap();
        connection
            .execute(
                "UPDATE projections SET stopped_at = 2, error = hex(zeroblob(?1)) WHERE name = 'search'",
                [half],
            )
            .unwrap();
        connection
            .execute(
                "INSERT INTO projections VALUES (hex(zeroblob(?1)), 'live', 1, 1, 1, NULL, NULL)",
                [half_key],
            )
            .unwrap();
        connection
            .execute("INSERT INTO projection_skips VALUES (hex(zeroblob(?1)), 1, 1)", [half_key])
            .unwrap();
        for (table, insert) in [
            ("anchors", "INSERT INTO anchors (name, error) VALUES ('anchor ' || ?1, 'a reason')"),
            (
                "projections",
                "INSERT INTO projections VALUES ('projection ' || ?1, 'live', 1, 1, 1, NULL, NULL)",
            ),
            ("redactions", "INSERT INTO redactions VALUES (?1)"),
            ("api_key_events", "INSERT INTO api_key_events VALUES (?1)"),
            ("api_key_uses", "INSERT INTO api_key_uses VALUES ('key ' || ?1, 'never')"),
        ] {
            let mut insert = connection.prepare(insert).unwrap_or_else(|error| panic!("{table}: {error}"));
            for row in 0..rows {
                insert.execute(params![row]).unwrap();
            }
        }
        connection.execute_batch("COMMIT").unwrap();
    });
    (folder, path)
}

#[test]
fn a_file_with_endless_texts_and_rows_beside_the_log_takes_no_memory_and_little_paper() {
    let (folder, path) = hostile();
    let stamps = folder.path().join("stamps").display().to_string();
    for args in [
        &["info"] as &[&str],
        &["--json", "info"],
        &["anchor"],
        &["--json", "anchor"],
        &["anchor", "stamps", &stamps],
        &["projections"],
        &["apikey", "list"],
        &["verify"],
        &["--json", "verify"],
        &["verify", "--log-only"],
        &["show", "s"],
        &["prove", "2"],
    ] {
        let ran = run(&path, args);
        assert!(ran.status.is_some(), "{args:?} was ended by a signal: {}", ran.said);
        assert!(ran.said_bytes < 100_000, "{args:?}: {} bytes", ran.said_bytes);
        assert!(ran.peak_mib < PEAK_MIB, "{args:?}: {} MiB", ran.peak_mib);
        if args.contains(&"verify") {
            assert_eq!(ran.status, Some(1), "{}", ran.said);
        }
        if matches!(args, ["info" | "anchor"]) {
            assert_eq!(ran.status, Some(0), "{}", ran.said);
            assert!(ran.said.contains(" more"), "of the others there is the count: {}", ran.said);
        }
    }
}

#[test]
fn a_log_with_endless_values_is_named_as_bad_at_their_row() {
    for (column, check) in
        [("payload", "payload"), ("entry", "entry"), ("hash", "link"), ("event_id", "identity")]
    {
        let (_folder, path) = new_path();
        forge::make(&path, 20, "a note");
        tamper(&path, |connection| {
            let bytes = if is_heavy() { 500_000_000 } else { 80_000_000 };
            let sql = format!("UPDATE log SET {column} = zeroblob(?1) WHERE seq = 7");
            connection.execute(&sql, [bytes]).unwrap();
        });
        let ran = run(&path, &["--json", "verify"]);
        assert_eq!(ran.status, Some(1), "{}", ran.said);
        // SQLite's own check of the index has two keys of it in memory.
        let peak = if column == "event_id" { 4 * PEAK_MIB } else { PEAK_MIB };
        assert!(ran.peak_mib < peak, "{column}: {} MiB", ran.peak_mib);
        let report: Value = serde_json::from_str(ran.said.lines().next().unwrap()).unwrap();
        let first = &report["failures"][0];
        assert_eq!((&first["check"], &first["seq"]), (&json!(check), &json!(7)), "{first}");
    }
}

/// What a server keeps of its work, in MiB: the pages of its two connections that write, and what the allocator
/// does not give back.
const KEPT_MIB: u64 = 128;

#[test]
fn a_server_gives_memory_back_after_a_peak() {
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
    let peak = served.peak_mib();
    let given_back = (0..3_000).find_map(|_| {
        std::thread::sleep(std::time::Duration::from_millis(10));
        let now = served.resident_bytes() / MIB;
        (now < before + KEPT_MIB).then_some(now)
    });
    println!("{before} MiB at first, {peak} MiB at the peak, {given_back:?} MiB afterwards");
    assert!(given_back.is_some(), "{} MiB are kept", served.resident_bytes() / MIB);
}
