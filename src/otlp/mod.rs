//! OTLP's requests, traces and logs, as events: what was received is what is logged.
//!
//! ```text
//! protobuf ─ wire ─▶ written as OTLP's JSON ─▶ otel.span, otel.log: session, id, time ─▶ drafts
//! JSON ─────────────▶ kept as it was sent   ─▶                                        ─▶ what is rejected, and why
//! ```
//!
//! What they mean is for the folds to say: see [`crate::otel`].
//!
//! ```
//! use annals::otlp::{self, Attempt, Bounds, Form, Signal};
//!
//! let body = br#"{"resourceSpans": [{"scopeSpans": [{"spans": [{
//!     "traceId": "5b8efff798038103d269b633813fc60c", "spanId": "eee19b7ec3c1b174", "name": "chat"
//! }]}]}]}"#;
//! let request = otlp::read(body, Signal::Traces, Form::Json, Bounds::default(), Attempt::default())?;
//! assert_eq!(request.items[0].draft.event.kind().name(), "otel.span");
//! # Ok::<(), otlp::Unreadable>(())
//! ```

mod ids;
mod json;
mod protobuf;
mod wire;

pub use ids::Attempt;

use crate::event::{Draft, Json, OtelLog, OtelSpan, SessionId, Timestamp};
use crate::limits::PAYLOAD_BYTES_MAX;
use ids::{LogKey, SpanKey};
use wire::{Fields, Malformed};

/// How a request is encoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// Protocol buffers.
    Protobuf,
    /// OTLP's JSON.
    Json,
}

/// What a request brings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    /// `ExportTraceServiceRequest`.
    Traces,
    /// `ExportLogsServiceRequest`.
    Logs,
}

impl Signal {
    /// What one of its items is called.
    pub fn item(self) -> &'static str {
        match self {
            Signal::Traces => "span",
            Signal::Logs => "log record",
        }
    }
}

/// What one request may be.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// Spans or log records.
    pub items: usize,
    /// Bytes of one span or log record as JSON.
    pub item_bytes: usize,
    /// Bytes of all events: each has its resource and scope, which the request has once for many.
    pub bytes: usize,
}

impl Default for Bounds {
    fn default() -> Bounds {
        Bounds { items: 16_384, item_bytes: PAYLOAD_BYTES_MAX, bytes: 128 << 20 }
    }
}

/// A request that cannot be read, of which nothing is recorded.
#[derive(Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum Unreadable {
    /// It is none in protocol buffers.
    #[error("the body is not an OTLP request in protocol buffers")]
    Protobuf,
    /// It is none in JSON.
    #[error("the body is not an OTLP request in JSON: {0}")]
    Json(String),
    /// It has too many items.
    #[error("the body has more than {max} items; send fewer at once")]
    TooMany {
        /// The most that it may have.
        max: usize,
    },
    /// There is no memory for its events now.
    #[error("there is no memory for its events now; send it again later")]
    NoRoom,
    /// Its events are too large together.
    #[error("the items are more than {max} bytes with their resource and scope; send fewer at once")]
    TooLarge {
        /// The most that they may have, in bytes.
        max: usize,
    },
}

/// An item that cannot be recorded, whatever is done.
#[derive(Clone, Debug, PartialEq)]
pub struct Rejected {
    /// Its place among the request's items, from 1.
    pub place: usize,
    /// The span's, or the event's of a log record.
    pub name: String,
    /// What is wrong with it.
    pub reason: String,
}

/// What a request holds.
#[derive(Debug, Default, PartialEq)]
pub struct Request {
    /// What can be recorded.
    pub items: Vec<Item>,
    /// What cannot.
    pub rejected: Vec<Rejected>,
}

/// A span or log record to be recorded.
#[derive(Debug, PartialEq)]
pub struct Item {
    /// Its place among the request's items, from 1.
    pub place: usize,
    /// The span's, or the event's of a log record.
    pub name: String,
    /// Its event, with session, time and id.
    pub draft: Draft,
}

/// Reads a request.
///
/// # Errors
/// If it cannot be read as a whole, or is more than `bounds` let in.
pub fn read(
    body: &[u8],
    signal: Signal,
    form: Form,
    bounds: Bounds,
    attempt: Attempt,
) -> Result<Request, Unreadable> {
    read_into(body, signal, form, bounds, attempt, &mut |_| true)
}

/// Reads a request as [`read`] does, and asks for room for the bytes of each event.
pub(crate) fn read_into(
    body: &[u8],
    signal: Signal,
    form: Form,
    bounds: Bounds,
    attempt: Attempt,
    room: &mut dyn FnMut(usize) -> bool,
) -> Result<Request, Unreadable> {
    let mut reading = Reading {
        request: Request::default(),
        keys: ids::Places::default(),
        bounds,
        bytes: 0,
        attempt,
        room,
    };
    match form {
        Form::Protobuf => from_protobuf(body, signal, &mut reading)?,
        Form::Json => json::read(body, signal, &mut reading)?,
    }
    Ok(reading.request)
}

/// Where an item comes from.
#[derive(Clone, Debug, Default)]
struct Origin {
    resource: Option<Json>,
    resource_schema_url: Option<String>,
    scope: Option<Json>,
    scope_schema_url: Option<String>,
}

impl Origin {
    fn bytes(&self) -> usize {
        let json = [&self.resource, &self.scope].into_iter().flatten().map(|json| json.as_str().len());
        let urls = [&self.resource_schema_url, &self.scope_schema_url].into_iter().flatten().map(String::len);
        json.chain(urls).sum()
    }
}

/// A request that is being read.
struct Reading<'r> {
    request: Request,
    keys: ids::Places,
    bounds: Bounds,
    bytes: usize,
    attempt: Attempt,
    /// Whether there is room for so many more bytes.
    room: &'r mut dyn FnMut(usize) -> bool,
}

impl Reading<'_> {
    /// The place of the next item.
    fn place(&self) -> Result<usize, Unreadable> {
        let place = self.request.items.len() + self.request.rejected.len() + 1;
        if place > self.bounds.items {
            Err(Unreadable::TooMany { max: self.bounds.items })
        } else {
            Ok(place)
        }
    }

    fn reject(&mut self, name: &str, reason: impl ToString) -> Result<(), Unreadable> {
        let place = self.place()?;
        // It goes back to the sender as a whole.
        let name = name.chars().take(80).collect();
        self.request.rejected.push(Rejected { place, name, reason: reason.to_string() });
        Ok(())
    }

    fn count(&mut self, json: &Json, origin: &Origin) -> Result<(), Unreadable> {
        let bytes = json.as_str().len().saturating_add(origin.bytes());
        self.bytes = self.bytes.saturating_add(bytes);
        if self.bytes > self.bounds.bytes {
            return Err(Unreadable::TooLarge { max: self.bounds.bytes });
        }
        if (self.room)(bytes) { Ok(()) } else { Err(Unreadable::NoRoom) }
    }

    fn span(
        &mut self,
        name: &str,
        key: Result<SpanKey, &'static str>,
        span: Json,
        origin: &Origin,
    ) -> Result<(), Unreadable> {
        let place = self.place()?;
        let key = match key {
            Ok(key) => key,
            Err(reason) => return self.reject(name, reason),
        };
        self.count(&span, origin)?;
        let Origin { resource, resource_schema_url, scope, scope_schema_url } = origin.clone();
        let event =
            OtelSpan { span, resource, resource_schema_url, scope, scope_schema_url, ..OtelSpan::default() };
        let draft = Draft {
            id: Some(key.event_id(self.attempt)),
            session: session(&key.trace),
            at: time(if key.ended > 0 { key.ended } else { key.started }),
            event: event.into(),
        };
        self.request.items.push(Item { place, name: name.to_owned(), draft });
        Ok(())
    }

    fn log_record(
        &mut self,
        name: &str,
        key: Result<LogKey, &'static str>,
        log_record: Json,
        origin: &Origin,
    ) -> Result<(), Unreadable> {
        let place = self.place()?;
        let key = match key {
            Ok(key) => key,
            Err(reason) => return self.reject(name, reason),
        };
        self.count(&log_record, origin)?;
        let Origin { resource, resource_schema_url, scope, scope_schema_url } = origin.clone();
        let event = OtelLog {
            log_record,
            resource,
            resource_schema_url,
            scope,
            scope_schema_url,
            ..OtelLog::default()
        };
        let draft = Draft {
            id: Some(key.event_id(self.keys.next(&key), self.attempt)),
            session: key.trace.as_ref().and_then(session),
            at: time(if key.at > 0 { key.at } else { key.observed }),
            event: event.into(),
        };
        self.request.items.push(Item { place, name: name.to_owned(), draft });
        Ok(())
    }
}

fn session(trace: &[u8; 16]) -> Option<SessionId> {
    let mut id = String::with_capacity(32);
    protobuf::write_hex(trace, &mut id);
    SessionId::new(id).ok()
}

fn time(nanos: u64) -> Option<Timestamp> {
    let micros = i64::try_from(nanos / 1_000).ok().filter(|micros| *micros > 0)?;
    Some(Timestamp::from_micros(micros)).filter(|time| time.in_range())
}

fn from_protobuf(body: &[u8], signal: Signal, reading: &mut Reading<'_>) -> Result<(), Unreadable> {
    let unreadable = |_: Malformed| Unreadable::Protobuf;
    let max = reading.bounds.item_bytes;
    // Both requests have the same shape, and the same numbers.
    for group in Fields(body).all(1) {
        let group = group.and_then(wire::Value::bytes).map_err(unreadable)?;
        let mut origin = Origin {
            resource_schema_url: schema_url(group).map_err(unreadable)?,
            resource: written(group, max, protobuf::resource).map_err(unreadable)?,
            ..Origin::default()
        };
        for scoped in Fields(group).all(2) {
            let scoped = scoped.and_then(wire::Value::bytes).map_err(unreadable)?;
            origin.scope_schema_url = schema_url(scoped).map_err(unreadable)?;
            origin.scope = written(scoped, max, protobuf::scope).map_err(unreadable)?;
            for item in Fields(scoped).all(2) {
                let item = item.and_then(wire::Value::bytes).map_err(unreadable)?;
                one_of_protobuf(item, signal, &origin, reading)?;
            }
        }
    }
    Ok(())
}

fn one_of_protobuf(
    item: &[u8],
    signal: Signal,
    origin: &Origin,
    reading: &mut Reading<'_>,
) -> Result<(), Unreadable> {
    let max = reading.bounds.item_bytes;
    // JSON of a span is somewhat longer than its message.
    let mut json = String::with_capacity(item.len() + item.len() / 2);
    match signal {
        Signal::Traces => {
            let head = match protobuf::span_head(item) {
                Ok(head) => head,
                Err(error) => return reading.reject("", error),
            };
            match protobuf::span(item, &head, &mut json, max) {
                Ok(()) => reading.span(head.name, SpanKey::of(&head), Json::written(json), origin),
                Err(error) => reading.reject(head.name, error),
            }
        }
        Signal::Logs => {
            let head = match protobuf::log_head(item) {
                Ok(head) => head,
                Err(error) => return reading.reject("", error),
            };
            match protobuf::log_record(item, &head, &mut json, max) {
                Ok(()) => reading.log_record(head.name, LogKey::of(&head), Json::written(json), origin),
                Err(error) => reading.reject(head.name, error),
            }
        }
    }
}

fn schema_url(group: &[u8]) -> Result<Option<String>, Malformed> {
    let url = Fields(group).one(3)?.map(wire::Value::text).transpose()?;
    Ok(url.filter(|url| !url.is_empty()).map(str::to_owned))
}

/// The resource or scope of a group, written; an empty one says nothing.
fn written(
    group: &[u8],
    max: usize,
    write: impl Fn(&[u8], &mut String, usize) -> Result<(), Malformed>,
) -> Result<Option<Json>, Malformed> {
    let Some(message) = Fields(group).one(1)? else { return Ok(None) };
    let mut json = String::new();
    write(message.bytes()?, &mut json, max)?;
    Ok((json != "{}").then(|| Json::written(json)))
}

#[cfg(test)]
mod tests;
