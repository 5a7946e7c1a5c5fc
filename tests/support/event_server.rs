//! A server of the tests' own on the loopback interface, that takes events as `annals serve` does: it keeps
//! each id once, in the order in which they came.
//!
//! It can be told to answer something else.

#![allow(
    dead_code,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "what the tests of several topics share"
)]

use std::collections::HashMap;
use std::io::Write as _;
use std::net::TcpListener;
use std::sync::{Arc, Condvar, Mutex};
use std::thread::{self, JoinHandle};
use std::time::Instant;

use annals::Digest;
use serde_json::{Value, json};
use tiny_http::{Header, Request, Response, Server};

/// How the server answers.
#[derive(Clone, Debug)]
pub(crate) enum Mode {
    /// As the contract has it. An event whose message begins with `bad` is refused.
    Honest,
    /// As the contract has it, once the mode is another.
    Held,
    /// With this status, and these seconds of `Retry-After`; nothing is kept.
    Away(u16, Option<u32>),
    /// Everything is kept, and the answer breaks off.
    AnswerLost,
    /// Requests of more than so many events are refused as too large, and so is an event `bad`.
    AtMost(usize),
    /// Only who has this key is served.
    Key(String),
}

#[derive(Default)]
struct Kept {
    events: Vec<Value>,
    places: HashMap<String, usize>,
    again: usize,
    requests: Vec<Instant>,
}

struct Shared {
    mode: Mutex<Mode>,
    changed: Condvar,
    kept: Mutex<Kept>,
}

/// A server that serves until it is dropped.
pub(crate) struct EventServer {
    shared: Arc<Shared>,
    server: Arc<Server>,
    thread: Option<JoinHandle<()>>,
}

/// An address at which nobody serves.
pub(crate) fn free_address() -> String {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string()
}

impl EventServer {
    pub(crate) fn start(mode: Mode) -> EventServer {
        EventServer::start_at("127.0.0.1:0", mode)
    }

    pub(crate) fn start_at(address: &str, mode: Mode) -> EventServer {
        let server = Arc::new(Server::http(address).unwrap());
        let shared =
            Arc::new(Shared { mode: Mutex::new(mode), changed: Condvar::new(), kept: Mutex::default() });
        let thread = thread::Builder::new().name("event-server".to_owned()).spawn({
            let (server, shared) = (Arc::clone(&server), Arc::clone(&shared));
            move || server.incoming_requests().for_each(|request| shared.serve(request))
        });
        EventServer { shared, server, thread: Some(thread.unwrap()) }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.server.server_addr().to_ip().unwrap())
    }

    pub(crate) fn set(&self, mode: Mode) {
        *self.shared.mode.lock().unwrap() = mode;
        self.shared.changed.notify_all();
    }

    /// The messages that it has, in order.
    pub(crate) fn messages(&self) -> Vec<String> {
        let kept = self.shared.kept.lock().unwrap();
        kept.events.iter().map(|event| event["message"].as_str().unwrap_or_default().to_owned()).collect()
    }

    /// The types of the events that it has, in order.
    pub(crate) fn types(&self) -> Vec<String> {
        let kept = self.shared.kept.lock().unwrap();
        kept.events.iter().map(|event| event["type"].as_str().unwrap().to_owned()).collect()
    }

    /// Events that came once more.
    pub(crate) fn again(&self) -> usize {
        self.shared.kept.lock().unwrap().again
    }

    /// When requests came.
    pub(crate) fn requests(&self) -> Vec<Instant> {
        self.shared.kept.lock().unwrap().requests.clone()
    }
}

impl Drop for EventServer {
    fn drop(&mut self) {
        self.set(Mode::Away(503, None));
        self.server.unblock();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Shared {
    fn serve(&self, mut request: Request) {
        let mode = self.mode.lock().unwrap().clone();
        let mut body = String::new();
        request.as_reader().read_to_string(&mut body).unwrap();
        let events: Vec<Value> = body.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        self.kept.lock().unwrap().requests.push(Instant::now());
        assert_eq!(request.url(), "/v1/events");
        match mode {
            Mode::Honest => answer(request, self.keep(&events)),
            Mode::Held => {
                let mut mode = self.mode.lock().unwrap();
                while matches!(*mode, Mode::Held) {
                    mode = self.changed.wait(mode).unwrap();
                }
                drop(mode);
                answer(request, self.keep(&events));
            }
            Mode::Away(status, retry_after) => {
                let mut response =
                    Response::from_string(r#"{"title":"Away","detail":"not now"}"#).with_status_code(status);
                if let Some(seconds) = retry_after {
                    response.add_header(Header::from_bytes("Retry-After", seconds.to_string()).unwrap());
                }
                let _ = request.respond(response);
            }
            Mode::AnswerLost => {
                self.keep(&events);
                let mut out = request.into_writer();
                let _ = out.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n{\"results\":");
                let _ = out.flush();
            }
            Mode::AtMost(most) => {
                let is_bad = |event: &Value| event["message"].as_str().unwrap().starts_with("bad");
                if events.len() > most || events.iter().any(is_bad) {
                    let problem = json!({
                        "type": "urn:annals:problem:too-large", "title": "Too large",
                        "detail": "too large for this server"});
                    answer(request, (413, problem));
                } else {
                    answer(request, self.keep(&events));
                }
            }
            Mode::Key(key) => {
                let wanted = format!("Bearer {key}");
                let has_it = request
                    .headers()
                    .iter()
                    .any(|header| header.field.equiv("Authorization") && header.value.as_str() == wanted);
                if has_it {
                    answer(request, self.keep(&events));
                } else {
                    answer(request, (401, json!({"title": "Unauthorized", "detail": "no such key"})));
                }
            }
        }
    }

    fn keep(&self, events: &[Value]) -> (u16, Value) {
        let mut kept = self.kept.lock().unwrap();
        let mut refused = 0;
        let results: Vec<Value> = events
            .iter()
            .map(|event| {
                let id = event["id"].as_str().unwrap().to_owned();
                if event["message"].as_str().is_some_and(|message| message.starts_with("bad")) {
                    refused += 1;
                    return json!({"id": id, "error": {
                        "type": "urn:annals:problem:invalid-event", "title": "Invalid event", "detail": "it is bad"}});
                }
                let next = kept.events.len();
                let place = *kept.places.entry(id.clone()).or_insert(next);
                let outcome = if place == next {
                    kept.events.push(event.clone());
                    "new"
                } else {
                    assert_eq!(kept.events[place], *event);
                    kept.again += 1;
                    "already_recorded"
                };
                json!({"id": id, "seq": place + 1, "hash": Digest::of(&id), "outcome": outcome})
            })
            .collect();
        let status = if refused == 0 { 200 } else { 422 };
        (status, json!({"committed": results.len() - refused, "refused": refused, "results": results}))
    }
}

fn answer(request: Request, (status, body): (u16, Value)) {
    let json = Header::from_bytes("Content-Type", "application/json").unwrap();
    let response = Response::from_string(body.to_string()).with_status_code(status).with_header(json);
    // A client that is gone does not want to know.
    let _ = request.respond(response);
}
