//! The live tail: every committed event once, in order, however the client comes and goes.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use crate::support::server::Served;
use crate::support::{new_path, note};
use annals::AuditLog;
use serde_json::{Value, json};

/// A client of the tail.
struct Tail {
    lines: BufReader<TcpStream>,
}

#[derive(Debug)]
struct Event {
    id: u64,
    kind: String,
    data: Value,
}

impl Tail {
    fn open(served: &Served, target: &str, headers: &str) -> Tail {
        let mut stream = served.connect();
        // HTTP/1.0, so that the body comes without chunks and ends with the connection.
        write!(stream, "GET {target} HTTP/1.0\r\nhost: localhost\r\n{headers}\r\n").unwrap();
        let mut tail = Tail { lines: BufReader::new(stream) };
        let mut head = String::new();
        while tail.line().is_some_and(|line| {
            head.push_str(&line);
            head.push('\n');
            !line.is_empty()
        }) {}
        assert!(head.contains("200 OK") && head.contains("text/event-stream"), "{head}");
        assert_eq!(tail.line().as_deref(), Some(": following"));
        // Who is cut off before the first event knows from where to go on.
        assert!(tail.line().is_some_and(|line| line.starts_with("id: ")));
        assert_eq!(tail.line().as_deref(), Some(""));
        tail
    }

    fn line(&mut self) -> Option<String> {
        let mut line = String::new();
        match self.lines.read_line(&mut line) {
            Ok(0) => None,
            Ok(_) => Some(line.trim_end().to_owned()),
            Err(error) => panic!("nothing came: {error}"),
        }
    }

    fn next(&mut self) -> Option<Event> {
        let (mut id, mut kind) = (0, String::new());
        loop {
            let line = self.line()?;
            assert_ne!(line, ":", "nothing came for longer than anything takes");
            if let Some(value) = line.strip_prefix("id: ") {
                id = value.parse().unwrap();
            } else if let Some(value) = line.strip_prefix("event: ") {
                kind = value.to_owned();
            } else if let Some(value) = line.strip_prefix("data: ") {
                return Some(Event { id, kind, data: serde_json::from_str(value).unwrap() });
            }
        }
    }
}

fn send(served: &Served, message: &str) {
    served
        .post_json("/v1/events", json!({"type": "note.logged", "message": message}).to_string())
        .expect(200);
}

#[test]
fn what_is_committed_comes() {
    let (_folder, path) = new_path();
    let served = Served::start(&path);
    send(&served, "before");
    let mut tail = Tail::open(&served, "/v1/tail", "");
    for number in 0..20 {
        send(&served, &number.to_string());
        let event = tail.next().unwrap();
        assert_eq!((event.id, event.kind.as_str()), (3 + number, "note.logged"));
        assert_eq!(event.data["message"], number.to_string());
        assert_eq!(event.data["seq"], event.id);
    }
}

#[test]
fn who_comes_again_goes_on_where_it_was() {
    let (_folder, path) = new_path();
    let served = Served::start(&path);
    let events: Vec<Value> =
        (0..1_500).map(|n| json!({"type": "note.logged", "message": n.to_string()})).collect();
    served.post_json("/v1/events", Value::from(events).to_string()).expect(200);
    let mut seen = Vec::new();
    let mut headers = String::new();
    while seen.len() < 1_501 {
        let mut tail = Tail::open(&served, "/v1/tail?after=0", &headers);
        for _ in 0..400.min(1_501 - seen.len()) {
            seen.push(tail.next().unwrap().id);
        }
        headers = format!("last-event-id: {}\r\n", seen.last().unwrap());
    }
    assert_eq!(seen, (1..=1_501).collect::<Vec<_>>());
}

#[test]
fn only_what_was_asked_for_comes() {
    let (_folder, path) = new_path();
    let served = Served::start(&path);
    let mut tail = Tail::open(&served, "/v1/tail?session=s&kind=session.started&kind=session.ended", "");
    let body = json!([
        {"type": "session.started", "session": "other"},
        {"type": "session.started", "session": "s"},
        {"type": "session.updated", "session": "s", "progress": 0.5},
        {"type": "session.ended", "session": "s", "status": "completed"},
    ]);
    served.post_json("/v1/events", body.to_string()).expect(200);
    assert_eq!(tail.next().unwrap().id, 3);
    assert_eq!(tail.next().unwrap().id, 5);
}

#[test]
fn what_another_process_appends_comes_too() {
    let (_folder, path) = new_path();
    let served = Served::start(&path);
    // The server has nothing to do, and nobody follows, when the client comes.
    std::thread::sleep(Duration::from_millis(600));
    let mut tail = Tail::open(&served, "/v1/tail", "");
    let log = AuditLog::open(&path).unwrap();
    log.append(note("from elsewhere")).unwrap().wait().unwrap();
    assert_eq!(tail.next().unwrap().data["message"], "from elsewhere");
    log.close().unwrap();
}

#[test]
fn slow_readers_hold_nobody_up_and_take_no_memory() {
    let (_folder, path) = new_path();
    // Readers that read nothing for a while are not cut off, however busy the machine is.
    let served = Served::start_with(&path, &["--write-timeout", "3600"]);
    send(&served, "first");
    let slow: Vec<_> = (0..8).map(|_| Tail::open(&served, "/v1/tail?after=0", "")).collect();
    let before = served.resident_bytes();
    let mut fast = Tail::open(&served, "/v1/tail", "");
    let text = "x".repeat(10_000);
    for _ in 0..30 {
        let events = vec![json!({"type": "note.logged", "message": text}); 100];
        served.post_json("/v1/events", Value::from(events).to_string()).expect(200);
    }
    for _ in 0..3_000 {
        assert_eq!(fast.next().unwrap().kind, "note.logged");
    }
    // Appending takes its 120 MiB, however much is appended; what eight readers have not read yet is 240.
    assert!(served.resident_bytes() < before + (180 << 20), "{} MiB", served.resident_bytes() >> 20);
    for mut tail in slow {
        let mut seen = Vec::new();
        while seen.last() != Some(&3_002) {
            let line = tail.line().unwrap();
            seen.extend(line.strip_prefix("id: ").map(|id| id.parse::<u64>().unwrap()));
        }
        assert_eq!(seen, (1..=3_002).collect::<Vec<_>>());
    }
}

#[test]
fn the_tail_ends_when_the_server_stops() {
    let (_folder, path) = new_path();
    let mut served = Served::start(&path);
    let mut tail = Tail::open(&served, "/v1/tail", "");
    send(&served, "last");
    assert_eq!(tail.next().unwrap().data["message"], "last");
    served.signal("TERM");
    assert!(tail.next().is_none());
    assert!(served.wait().success());
}
