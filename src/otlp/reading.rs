//! A request that is being read: the items so far, and the bounds for all of them.

use super::conversation::Naming;
use super::ids::{Attempt, LogKey, Places, PointKey, SpanKey};
use super::protobuf;
use crate::event::{Draft, Json, OtelLog, OtelSpan, SessionId, Timestamp};
use crate::limits::PAYLOAD_BYTES_MAX;
use crate::otel::{Measured, Metric, MetricOrigin};

/// The type of a request's items.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    /// `ExportTraceServiceRequest`.
    Traces,
    /// `ExportLogsServiceRequest`.
    Logs,
    /// `ExportMetricsServiceRequest`.
    Metrics,
}

impl Signal {
    /// The name of one item, for messages.
    pub fn item(self) -> &'static str {
        match self {
            Signal::Traces => "span",
            Signal::Logs => "log record",
            Signal::Metrics => "data point",
        }
    }

    /// The path of OTLP over HTTP for requests of this type.
    pub fn path(self) -> &'static str {
        match self {
            Signal::Traces => "/v1/traces",
            Signal::Logs => "/v1/logs",
            Signal::Metrics => "/v1/metrics",
        }
    }

    /// The reason for which an item of this type is rejected in a request of another type.
    pub(super) fn misdirected(self) -> String {
        let item = match self {
            Signal::Metrics => "metric",
            Signal::Traces | Signal::Logs => self.item(),
        };
        format!("it is a {item}; send it to {}", self.path())
    }
}

/// The bounds of one request.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// Most spans, log records or data points.
    pub items: usize,
    /// Most bytes of one span, log record or data point as JSON.
    pub item_bytes: usize,
    /// Most bytes of all events together. Each event has its own copy of resource and scope, which the
    /// request has once for many.
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
    /// The body is no request in protocol buffers.
    #[error("the body is not an OTLP request in protocol buffers")]
    Protobuf,
    /// The body is no request in JSON.
    #[error("the body is not an OTLP request in JSON: {0}")]
    Json(String),
    /// The request has too many items.
    #[error("the body has more than {max} items; send fewer at once")]
    TooMany {
        /// Most items allowed.
        max: usize,
    },
    /// The memory budget has no room for the events at the moment.
    #[error("there is no memory now for the events of the request; send it again later")]
    NoRoom,
    /// The events are too large together.
    #[error("the items have more than {max} bytes, with their resource and scope; send fewer at once")]
    TooLarge {
        /// Most bytes allowed.
        max: usize,
    },
}

/// An item that cannot be recorded, however often it is sent.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Rejected {
    /// Position among the request's items, from 1.
    pub place: usize,
    /// Name of the span or of the data point's metric, or event name of the log record.
    pub name: String,
    /// Reason for the rejection.
    pub reason: String,
}

/// The items of a request.
#[derive(Debug, Default, PartialEq)]
pub struct Request {
    /// Items that can be recorded.
    pub items: Vec<Item>,
    /// Items that cannot be recorded.
    pub rejected: Vec<Rejected>,
    /// The reason for which no item was found, if the body has fields that are unknown where items are
    /// expected. None if the request has no items.
    pub nothing_found: Option<String>,
    /// Number of data points without a value. Their series ended or had a gap, so there is nothing to record.
    pub without_value: usize,
}

/// A span, log record or data point to be recorded.
#[derive(Debug, PartialEq)]
#[non_exhaustive]
pub struct Item {
    /// Position among the request's items, from 1.
    pub place: usize,
    /// Name of the span or of the data point's metric, or event name of the log record.
    pub name: String,
    /// The event, with session, time and id.
    pub draft: Draft,
}

/// The resource and scope that items come from.
#[derive(Clone, Debug, Default)]
pub(super) struct Origin {
    pub(super) resource: Option<Json>,
    pub(super) resource_schema_url: Option<String>,
    pub(super) scope: Option<Json>,
    /// The name in the scope.
    pub(super) scope_name: Option<String>,
    pub(super) scope_schema_url: Option<String>,
}

impl Origin {
    /// The origin of a metric.
    pub(super) fn of_metric(&self) -> MetricOrigin<'_> {
        MetricOrigin {
            resource: self.resource.as_ref().map(Json::as_str),
            resource_schema_url: self.resource_schema_url.as_deref(),
            scope: self.scope.as_ref().map(Json::as_str),
            scope_schema_url: self.scope_schema_url.as_deref(),
        }
    }

    fn bytes(&self) -> usize {
        let json = [&self.resource, &self.scope].into_iter().flatten().map(|json| json.as_str().len());
        let urls = [&self.resource_schema_url, &self.scope_schema_url].into_iter().flatten().map(String::len);
        json.chain(urls).sum()
    }
}

/// A request that is being read.
pub(super) struct Reading<'r> {
    pub(super) request: Request,
    /// Counts of the log records so far, by key.
    pub(super) keys: Places<LogKey>,
    /// Counts of the data points so far, by key.
    pub(super) points: Places<PointKey>,
    pub(super) bounds: Bounds,
    /// Bytes of the events so far, each with its copy of resource and scope.
    pub(super) bytes: usize,
    pub(super) attempt: Attempt,
    /// Asks for room for so many more bytes. False if there is none.
    pub(super) room: &'r mut dyn FnMut(usize) -> bool,
}

impl Reading<'_> {
    /// The position of the next item, or an error if that item is one too many.
    pub(super) fn place(&self) -> Result<usize, Unreadable> {
        // Rejected items count as well, so that the list of them is bounded too.
        let Request { items, rejected, without_value, .. } = &self.request;
        let place = items.len() + rejected.len() + without_value + 1;
        if place > self.bounds.items {
            Err(Unreadable::TooMany { max: self.bounds.items })
        } else {
            Ok(place)
        }
    }

    pub(super) fn reject(&mut self, name: &str, reason: impl ToString) -> Result<(), Unreadable> {
        let place = self.place()?;
        // The name goes back to the sender within the answer, so a long one is cut.
        let name = name.chars().take(80).collect();
        self.request.rejected.push(Rejected { place, name, reason: reason.to_string() });
        Ok(())
    }

    fn count(&mut self, json: &Json, origin: &Origin) -> Result<(), Unreadable> {
        self.take(json.as_str().len().saturating_add(origin.bytes()))
    }

    /// Counts the bytes of an event before it is made, so that a large resource and many small items stop here,
    /// before the copies.
    fn take(&mut self, bytes: usize) -> Result<(), Unreadable> {
        self.bytes = self.bytes.saturating_add(bytes);
        if self.bytes > self.bounds.bytes {
            return Err(Unreadable::TooLarge { max: self.bounds.bytes });
        }
        if (self.room)(bytes) { Ok(()) } else { Err(Unreadable::NoRoom) }
    }

    /// Begins the next item, and returns its position and key. None if the item was rejected, because it has
    /// no valid key.
    fn begin<K>(
        &mut self,
        name: &str,
        key: Result<K, &'static str>,
        json: &Json,
        origin: &Origin,
    ) -> Result<Option<(usize, K)>, Unreadable> {
        // One item too many refuses the request, with or without a key.
        let place = self.place()?;
        match key {
            Ok(key) => self.count(json, origin).map(|()| Some((place, key))),
            Err(reason) => self.reject(name, reason).map(|()| None),
        }
    }

    pub(super) fn span(
        &mut self,
        name: &str,
        key: Result<SpanKey, &'static str>,
        span: Json,
        origin: &Origin,
    ) -> Result<(), Unreadable> {
        let Some((place, key)) = self.begin(name, key, &span, origin)? else { return Ok(()) };
        let Origin { resource, resource_schema_url, scope, scope_schema_url, .. } = origin.clone();
        let event =
            OtelSpan { span, resource, resource_schema_url, scope, scope_schema_url, ..OtelSpan::default() };
        let draft = Draft {
            id: Some(key.event_id(self.attempt)),
            session: session(&key.trace),
            // An item without an end has at least a start.
            at: time(if key.ended > 0 { key.ended } else { key.started }),
            event: event.into(),
        };
        self.request.items.push(Item { place, name: name.to_owned(), draft });
        Ok(())
    }

    pub(super) fn log_record(
        &mut self,
        name: &str,
        key: Result<LogKey, &'static str>,
        naming: Naming,
        log_record: Json,
        origin: &Origin,
    ) -> Result<(), Unreadable> {
        let Some((place, key)) = self.begin(name, key, &log_record, origin)? else { return Ok(()) };
        let Origin { resource, resource_schema_url, scope, scope_schema_url, .. } = origin.clone();
        let event = OtelLog {
            log_record,
            resource,
            resource_schema_url,
            scope,
            scope_schema_url,
            ..OtelLog::default()
        };
        let conversation = naming.session(name, origin.scope_name.as_deref(), key.trace.is_some());
        let draft = Draft {
            // Only items with a valid key are counted, in the order of the request: sent again, each gets the
            // same index.
            id: Some(key.event_id(self.keys.next(&key), self.attempt)),
            session: conversation.or_else(|| key.trace.as_ref().and_then(session)),
            at: time(if key.at > 0 { key.at } else { key.observed }),
            event: event.into(),
        };
        self.request.items.push(Item { place, name: name.to_owned(), draft });
        Ok(())
    }
}

impl Reading<'_> {
    /// Adds a data point in OTLP's JSON.
    pub(super) fn point(&mut self, metric: &Metric, point: &str) -> Result<(), Unreadable> {
        let place = self.place()?;
        if metric.name().is_empty() {
            return self.reject("", "its metric has no name");
        }
        self.take(point.len().saturating_add(metric.bytes()))?;
        let Measured { started, at, recorded } = match metric.point(point) {
            Ok(Some(measured)) => measured,
            Ok(None) => {
                self.request.without_value += 1;
                return Ok(());
            }
            Err(reason) => return self.reject(metric.name(), reason),
        };
        let key = PointKey { started, at };
        let draft = Draft {
            id: Some(key.event_id(self.points.next(&key), self.attempt)),
            session: None,
            at: time(at),
            event: recorded.into(),
        };
        self.request.items.push(Item { place, name: metric.name().to_owned(), draft });
        Ok(())
    }
}

fn session(trace: &[u8; 16]) -> Option<SessionId> {
    let mut id = String::with_capacity(32);
    protobuf::write_hex(trace, &mut id);
    SessionId::new(id).ok()
}

fn time(nanos: u64) -> Option<Timestamp> {
    // Zero is no time in OTLP.
    let micros = i64::try_from(nanos / 1_000).ok().filter(|micros| *micros > 0)?;
    Some(Timestamp::from_micros(micros)).filter(|time| time.in_range())
}
