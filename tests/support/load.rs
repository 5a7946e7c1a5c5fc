//! A load on a running server: connections that post batches as fast as they are answered.

#![allow(
    dead_code,
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    clippy::cast_sign_loss,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "each user has a use for a part of it, and fails where it cannot go on"
)]

use std::fmt::Write as _;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use annals::{Draft, NoteLogged, OtelSpan};
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::{AnyValue, InstrumentationScope, KeyValue, any_value};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span};
use prost::Message as _;

/// Longest that a connection waits for an answer.
const PATIENCE: Duration = Duration::from_secs(300);

/// Where in a body stands what tells one event from the other.
#[derive(Clone)]
enum Place {
    /// The text of an event's id.
    Event(usize),
    /// The bytes of a span's trace, of its own id, and of its parent's.
    Span { trace: usize, span: usize, parent: Option<usize> },
}

/// Spans of a trace; the last is the root, as exporters send it.
const TRACE_SPANS: u64 = 10;

/// What is posted.
#[derive(Clone)]
pub(crate) struct Batch {
    path: &'static str,
    content_type: &'static str,
    pub(crate) bytes: Vec<u8>,
    places: Vec<Place>,
    /// For each connection how many events went before.
    before: Vec<u64>,
}

impl Batch {
    /// Events of 256 bytes, in JSON.
    pub(crate) fn notes(events: usize) -> Batch {
        let (mut text, mut places) = (String::from("["), Vec::new());
        for event in 0..events {
            text.push_str(if event == 0 { r#"{"id":""# } else { r#",{"id":""# });
            places.push(Place::Event(text.len()));
            write!(text, r#"{}","type":"note.logged","message":"{}"}}"#, "0".repeat(36), "n".repeat(249))
                .unwrap();
        }
        text.push(']');
        Batch {
            path: "/v1/events",
            content_type: "application/json",
            bytes: text.into_bytes(),
            places,
            before: Vec::new(),
        }
    }

    /// Spans of calls of a model, in OTLP's protobuf.
    pub(crate) fn spans(spans: usize) -> Batch {
        let resource = Resource {
            attributes: vec![
                attribute("service.name", "offers"),
                attribute("telemetry.sdk.language", "python"),
                attribute("telemetry.sdk.name", "opentelemetry"),
                attribute("telemetry.sdk.version", "1.38.0"),
            ],
            ..Resource::default()
        };
        let scope = InstrumentationScope { name: "offers.agent".into(), ..InstrumentationScope::default() };
        let request = ExportTraceServiceRequest {
            resource_spans: vec![ResourceSpans {
                resource: Some(resource),
                scope_spans: vec![ScopeSpans {
                    scope: Some(scope),
                    spans: (0..spans).map(call).collect(),
                    ..ScopeSpans::default()
                }],
                ..ResourceSpans::default()
            }],
        };
        let bytes = request.encode_to_vec();
        let find = |id: &[u8]| bytes.windows(id.len()).position(|window| window == id);
        let places = (0..spans)
            .map(|number| Place::Span {
                trace: find(&mark(b't', number).repeat(2)).unwrap(),
                span: find(&mark(b's', number)).unwrap(),
                parent: find(&mark(b'p', number)),
            })
            .collect();
        Batch {
            path: "/v1/traces",
            content_type: "application/x-protobuf",
            bytes,
            places,
            before: Vec::new(),
        }
    }

    /// One of these events, for who appends it himself.
    pub(crate) fn draft(&self) -> Draft {
        match self.path {
            "/v1/events" => Draft::new(NoteLogged { message: "n".repeat(249), ..NoteLogged::default() }),
            _ => span_draft(),
        }
    }

    /// The events that follow those of an earlier load.
    pub(crate) fn continued(self, earlier: &Outcome) -> Batch {
        Batch { before: earlier.answered.clone(), ..self }
    }

    fn fill(&mut self, connection: u16, first: u64) {
        let before = self.before.get(usize::from(connection)).copied().unwrap_or_default();
        let bytes = &mut self.bytes;
        let mut write = |at: usize, id: &[u8]| bytes[at..at + id.len()].copy_from_slice(id);
        for (number, place) in (before + first..).zip(&self.places) {
            match *place {
                Place::Event(at) => {
                    write(at, event_id(connection, number).hyphenated().to_string().as_bytes());
                }
                Place::Span { trace, span, parent } => {
                    let root = number - number % TRACE_SPANS + TRACE_SPANS - 1;
                    write(trace, &span_id(connection, root).repeat(2));
                    write(span, &span_id(connection, number));
                    if let Some(parent) = parent {
                        write(parent, &span_id(connection, root));
                    }
                }
            }
        }
    }
}

/// A span that calls a model, or for the last of a trace the agent's run. Its ids are marks.
fn call(number: usize) -> Span {
    let is_root = number as u64 % TRACE_SPANS == TRACE_SPANS - 1;
    let says = "Which of these offers is the best one for this customer, and why? ".repeat(6);
    let started = 1_795_000_000_000_000_000;
    let mut attributes = vec![
        attribute("gen_ai.operation.name", if is_root { "invoke_agent" } else { "chat" }),
        attribute("gen_ai.provider.name", "openai"),
        attribute("gen_ai.request.model", "gpt-5"),
        attribute("gen_ai.response.model", "gpt-5-2026-08-07"),
        attribute("gen_ai.response.id", "chatcmpl-0123456789"),
        attribute("gen_ai.input.messages", &message("user", &says)),
        attribute("gen_ai.output.messages", &message("assistant", &says)),
    ];
    for (name, tokens) in [("gen_ai.usage.input_tokens", 120), ("gen_ai.usage.output_tokens", 80)] {
        let value = Some(AnyValue { value: Some(any_value::Value::IntValue(tokens)) });
        attributes.push(KeyValue { key: name.into(), value, ..KeyValue::default() });
    }
    Span {
        trace_id: mark(b't', number).repeat(2),
        span_id: mark(b's', number),
        parent_span_id: if is_root { Vec::new() } else { mark(b'p', number) },
        name: if is_root { "invoke_agent offers" } else { "chat gpt-5" }.into(),
        kind: 3,
        start_time_unix_nano: started,
        end_time_unix_nano: started + 1_500_000_000,
        attributes,
        ..Span::default()
    }
}

/// The span as it is recorded.
fn span_draft() -> Draft {
    let [trace, id] = ["5b8efff798038103d269b633813fc60c", "eee19b7ec3c1b174"];
    let mut span = call(0);
    (span.trace_id, span.span_id, span.parent_span_id) = (Vec::new(), Vec::new(), Vec::new());
    let text = serde_json::to_string(&span).unwrap();
    let text = text.replacen("{", &format!(r#"{{"traceId":"{trace}","spanId":"{id}","#), 1);
    let event = OtelSpan { span: text.parse().unwrap(), ..OtelSpan::default() };
    Draft::new(event).session(trace.parse().unwrap())
}

fn message(role: &str, text: &str) -> String {
    format!(r#"[{{"role":"{role}","parts":[{{"type":"text","content":"{text}"}}]}}]"#)
}

fn attribute(key: &str, text: &str) -> KeyValue {
    let value = Some(AnyValue { value: Some(any_value::Value::StringValue(text.into())) });
    KeyValue { key: key.into(), value, ..KeyValue::default() }
}

/// Bytes that stand nowhere else in a body.
fn mark(role: u8, number: usize) -> Vec<u8> {
    let [.., high, low] = number.to_be_bytes();
    vec![0xfd, role, 0xfe, high, low, 0xfd, role, 0xfe]
}

fn span_id(connection: u16, number: u64) -> [u8; 8] {
    // Zero is no id.
    let mut id = (number + 1).to_be_bytes();
    id[..2].copy_from_slice(&connection.to_be_bytes());
    id
}

/// The id of an event: the same for the same event, and of about now, as a program's own would be.
pub(crate) fn event_id(connection: u16, number: u64) -> uuid::Uuid {
    let millis = 1_795_000_000_000 + number;
    uuid::Builder::from_unix_timestamp_millis(millis, &{
        let mut rest = [0; 10];
        rest[..2].copy_from_slice(&(connection & 0xfff).to_be_bytes());
        rest[2..].copy_from_slice(&number.to_be_bytes());
        rest
    })
    .into_uuid()
}

/// The connection and the number of an event.
pub(crate) fn event_of(id: &[u8; 16]) -> (u16, u64) {
    let connection = u16::from_be_bytes([id[6], id[7]]) & 0xfff;
    let number = u64::from_be_bytes([0, 0, id[10], id[11], id[12], id[13], id[14], id[15]]);
    (connection, number)
}

/// A connection that stays open.
pub(crate) struct Connection {
    address: SocketAddr,
    authorization: String,
    stream: Option<TcpStream>,
    buffer: Vec<u8>,
}

/// What the server answered.
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) body: Vec<u8>,
}

impl Connection {
    pub(crate) fn new(address: SocketAddr, key: Option<&str>) -> Connection {
        let authorization = key.map(|key| format!("Authorization: Bearer {key}\r\n")).unwrap_or_default();
        Connection { address, authorization, stream: None, buffer: Vec::new() }
    }

    /// Posts, and reads the whole answer. After an error the next post connects again.
    pub(crate) fn post(&mut self, path: &str, content_type: &str, body: &[u8]) -> io::Result<Answer> {
        let answer = self.try_post(path, content_type, body);
        if answer.is_err() {
            self.stream = None;
        }
        answer
    }

    fn try_post(&mut self, path: &str, content_type: &str, body: &[u8]) -> io::Result<Answer> {
        if self.stream.is_none() {
            let stream = TcpStream::connect(self.address)?;
            stream.set_nodelay(true)?;
            stream.set_read_timeout(Some(PATIENCE))?;
            stream.set_write_timeout(Some(PATIENCE))?;
            self.stream = Some(stream);
        }
        let stream = self.stream.as_mut().ok_or(io::ErrorKind::NotConnected)?;
        let head = format!(
            "POST {path} HTTP/1.1\r\nHost: {}\r\n{}Content-Type: {content_type}\r\nContent-Length: {}\r\n\r\n",
            self.address,
            self.authorization,
            body.len()
        );
        self.buffer.clear();
        self.buffer.extend_from_slice(head.as_bytes());
        self.buffer.extend_from_slice(body);
        stream.write_all(&self.buffer)?;
        read_answer(stream, &mut self.buffer)
    }
}

fn read_answer(stream: &mut TcpStream, buffer: &mut Vec<u8>) -> io::Result<Answer> {
    buffer.clear();
    let mut piece = [0; 16 << 10];
    let (mut body_at, mut length) = (None, 0);
    loop {
        if let Some(at) = body_at
            && buffer.len() >= at + length
        {
            let status = std::str::from_utf8(&buffer[9..12]).ok().and_then(|status| status.parse().ok());
            let status = status.ok_or(io::ErrorKind::InvalidData)?;
            return Ok(Answer { status, body: buffer[at..at + length].to_vec() });
        }
        let read = stream.read(&mut piece)?;
        if read == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        buffer.extend_from_slice(&piece[..read]);
        if body_at.is_none()
            && let Some(end) = buffer.windows(4).position(|bytes| bytes == b"\r\n\r\n")
        {
            let head = String::from_utf8_lossy(&buffer[..end]).to_ascii_lowercase();
            let stated =
                head.lines().find_map(|line| line.strip_prefix("content-length:")?.trim().parse().ok());
            length = stated.ok_or(io::ErrorKind::InvalidData)?;
            body_at = Some(end + 4);
        }
    }
}

/// What became of a load.
#[derive(Default)]
pub(crate) struct Outcome {
    /// For each connection how many of its events were answered 200: the first so many.
    pub(crate) answered: Vec<u64>,
    /// How long each answer of 200 took, sorted.
    pub(crate) latencies: Vec<Duration>,
    /// Answers of other kinds, and broken connections: what was sent was sent again.
    pub(crate) retried: u64,
    /// From the first post to the last answer.
    pub(crate) took: Duration,
}

impl Outcome {
    pub(crate) fn events(&self) -> u64 {
        self.answered.iter().sum()
    }

    pub(crate) fn a_second(&self) -> f64 {
        self.events() as f64 / self.took.as_secs_f64()
    }

    /// Counts the events of an earlier load in.
    pub(crate) fn add_before(&mut self, earlier: &Outcome) {
        for (answered, before) in self.answered.iter_mut().zip(&earlier.answered) {
            *answered += before;
        }
    }

    /// The time within which this share of the posts was answered.
    pub(crate) fn quantile(&self, share: f64) -> Duration {
        let place = (self.latencies.len() as f64 * share) as usize;
        self.latencies.get(place.min(self.latencies.len().saturating_sub(1))).copied().unwrap_or_default()
    }
}

/// Posts from many connections for a while. What is not answered 200 is sent again, the same, until
/// it is: after the time is over, too, so that no one is in doubt about its last batch.
pub(crate) fn run(
    address: SocketAddr,
    key: Option<&str>,
    connections: u16,
    batch: &Batch,
    time: Duration,
) -> Outcome {
    let started = Instant::now();
    let until = started + time;
    // Long enough for a server that is started again, and then nobody waits any longer.
    let give_up = until + 2 * PATIENCE;
    let mut outcome = Outcome::default();
    std::thread::scope(|scope| {
        let posting: Vec<_> = (0..connections)
            .map(|connection| {
                let mut batch = batch.clone();
                scope.spawn(move || {
                    let mut client = Connection::new(address, key);
                    let (mut answered, mut retried, mut latencies) = (0, 0, Vec::new());
                    while Instant::now() < until {
                        batch.fill(connection, answered);
                        loop {
                            let sent = Instant::now();
                            let answer = client.post(batch.path, batch.content_type, &batch.bytes);
                            match answer {
                                Ok(Answer { status: 200, .. }) => {
                                    latencies.push(sent.elapsed());
                                    answered += batch.places.len() as u64;
                                    break;
                                }
                                Ok(Answer { status: 429 | 503, .. }) | Err(_) if sent < give_up => {
                                    retried += 1;
                                    std::thread::sleep(Duration::from_millis(50));
                                }
                                Ok(Answer { status, body }) => {
                                    panic!("{status}: {}", String::from_utf8_lossy(&body))
                                }
                                Err(error) => panic!("given up: {error}"),
                            }
                        }
                    }
                    (answered, retried, latencies)
                })
            })
            .collect();
        for connection in posting {
            let (answered, retried, latencies) = connection.join().unwrap();
            outcome.answered.push(answered);
            outcome.retried += retried;
            outcome.latencies.extend(latencies);
        }
    });
    outcome.took = started.elapsed();
    outcome.latencies.sort_unstable();
    outcome
}
