//! Requests in OTLP's JSON. The text of each span and log record is kept; only the fields that its event
//! needs are read. The data points of metrics are read one by one.
//!
//! OTLP's names are `resourceSpans` and the like. The names of its definition, `resource_spans`, are read as
//! the same, and so are the names of earlier versions of OTLP: `instrumentationLibrarySpans`.

use serde::Deserialize;
use serde_json::value::RawValue;

use super::conversation::Naming;
use super::ids::{LogKey, SpanKey};
use super::json_points;
use super::names;
use super::reading::{Origin, Reading, Signal, Unreadable};
use super::wire::Malformed;
use crate::event::Json;
use crate::otel::read_text;

/// `ExportTraceServiceRequest`, `ExportLogsServiceRequest` or `ExportMetricsServiceRequest`.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Request<'a> {
    #[serde(borrow, alias = "resource_spans")]
    resource_spans: Option<Vec<Group<'a>>>,
    #[serde(borrow, alias = "resource_logs")]
    resource_logs: Option<Vec<Group<'a>>>,
    #[serde(borrow, alias = "resource_metrics")]
    resource_metrics: Option<Vec<Group<'a>>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Group<'a> {
    #[serde(borrow)]
    resource: Option<&'a RawValue>,
    #[serde(borrow, alias = "schema_url")]
    schema_url: Option<&'a RawValue>,
    #[serde(borrow, alias = "scope_spans")]
    scope_spans: Option<Vec<Scoped<'a>>>,
    #[serde(borrow, alias = "scope_logs")]
    scope_logs: Option<Vec<Scoped<'a>>>,
    #[serde(borrow, alias = "scope_metrics")]
    scope_metrics: Option<Vec<Scoped<'a>>>,
    // Programs of the time in which the names changed may send both.
    #[serde(borrow, alias = "instrumentation_library_spans")]
    instrumentation_library_spans: Option<Vec<Scoped<'a>>>,
    #[serde(borrow, alias = "instrumentation_library_logs")]
    instrumentation_library_logs: Option<Vec<Scoped<'a>>>,
    #[serde(borrow, alias = "instrumentation_library_metrics")]
    instrumentation_library_metrics: Option<Vec<Scoped<'a>>>,
}

impl<'a> Group<'a> {
    fn scopes(self, signal: Signal) -> impl Iterator<Item = Scoped<'a>> {
        let (scopes, libraries) = match signal {
            Signal::Traces => (self.scope_spans, self.instrumentation_library_spans),
            Signal::Logs => (self.scope_logs, self.instrumentation_library_logs),
            Signal::Metrics => (self.scope_metrics, self.instrumentation_library_metrics),
        };
        scopes.into_iter().chain(libraries).flatten()
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Scoped<'a> {
    #[serde(borrow)]
    scope: Option<&'a RawValue>,
    #[serde(borrow, alias = "instrumentation_library")]
    instrumentation_library: Option<&'a RawValue>,
    #[serde(borrow, alias = "schema_url")]
    schema_url: Option<&'a RawValue>,
    #[serde(borrow)]
    spans: Option<Vec<&'a RawValue>>,
    #[serde(borrow, alias = "log_records", alias = "logs")]
    log_records: Option<Vec<&'a RawValue>>,
    #[serde(borrow)]
    metrics: Option<Vec<&'a RawValue>>,
}

impl<'a> Scoped<'a> {
    fn items(self, signal: Signal) -> impl Iterator<Item = &'a RawValue> {
        let items = match signal {
            Signal::Traces => self.spans,
            Signal::Logs => self.log_records,
            Signal::Metrics => self.metrics,
        };
        items.into_iter().flatten()
    }
}

/// The fields of a span or log record that its event needs. They are read from raw values, so that a field of
/// a wrong type does not reject the item.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Head<'a> {
    #[serde(borrow, alias = "trace_id")]
    trace_id: Option<&'a RawValue>,
    #[serde(borrow, alias = "span_id")]
    span_id: Option<&'a RawValue>,
    #[serde(borrow)]
    name: Option<&'a RawValue>,
    #[serde(borrow, alias = "event_name")]
    event_name: Option<&'a RawValue>,
    #[serde(borrow, alias = "start_time_unix_nano")]
    start_time_unix_nano: Option<&'a RawValue>,
    #[serde(borrow, alias = "end_time_unix_nano")]
    end_time_unix_nano: Option<&'a RawValue>,
    #[serde(borrow, alias = "time_unix_nano")]
    time_unix_nano: Option<&'a RawValue>,
    #[serde(borrow, alias = "observed_time_unix_nano")]
    observed_time_unix_nano: Option<&'a RawValue>,
}

impl Head<'_> {
    fn name(&self) -> String {
        text(self.name.or(self.event_name))
    }
}

fn text(value: Option<&RawValue>) -> String {
    value.and_then(|value| read_text(value.get())).unwrap_or_default()
}

fn schema_url(value: Option<&RawValue>) -> Option<String> {
    Some(text(value)).filter(|url| !url.is_empty())
}

/// The bytes of an id in hexadecimal digits. A text that is no id gives one zero byte, and so an id that is
/// rejected for its length.
fn id(value: Option<&RawValue>) -> Vec<u8> {
    let text = text(value);
    let digits: Option<Vec<u8>> =
        text.chars().map(|digit| digit.to_digit(16).and_then(|digit| u8::try_from(digit).ok())).collect();
    match digits {
        Some(digits) if digits.len() % 2 == 0 => {
            digits.chunks_exact(2).map(|pair| pair.iter().fold(0, |byte, digit| byte << 4 | digit)).collect()
        }
        _ => vec![0],
    }
}

/// A number of 64 bits, as a text or a number. Zero if it is neither.
fn nanos(value: Option<&RawValue>) -> u64 {
    value.and_then(|value| value.get().trim_matches('"').parse().ok()).unwrap_or(0)
}

pub(super) fn read(body: &[u8], signal: Signal, reading: &mut Reading<'_>) -> Result<(), Unreadable> {
    let wrong = |error: &dyn std::fmt::Display| Unreadable::Json(error.to_string());
    let text = std::str::from_utf8(body).map_err(|error| wrong(&error))?;
    // Parsed once: each item stays a part of the text of the request.
    let request: Request<'_> = serde_json::from_str(text).map_err(|error| wrong(&error))?;
    let groups = [
        (Signal::Traces, request.resource_spans),
        (Signal::Logs, request.resource_logs),
        (Signal::Metrics, request.resource_metrics),
    ];
    for (of, groups) in groups {
        for group in groups.into_iter().flatten() {
            if of == signal {
                read_group(group, signal, reading)?;
            } else {
                misdirected(group, of, reading)?;
            }
        }
    }
    // Only now, because most requests have items, and this reads the body again.
    if reading.request.items.is_empty() && reading.request.rejected.is_empty() {
        reading.request.nothing_found = names::nothing_found(text, signal);
    }
    Ok(())
}

fn read_group(group: Group<'_>, signal: Signal, reading: &mut Reading<'_>) -> Result<(), Unreadable> {
    let mut origin = Origin {
        resource: object(group.resource, "resource")?,
        resource_schema_url: schema_url(group.schema_url),
        ..Origin::default()
    };
    for scoped in group.scopes(signal) {
        let scope = scoped.scope.or(scoped.instrumentation_library);
        origin.scope = object(scope, "scope")?;
        origin.scope_name = scope.and_then(scope_name);
        origin.scope_schema_url = schema_url(scoped.schema_url);
        for item in scoped.items(signal) {
            one(item, signal, &origin, reading)?;
        }
    }
    Ok(())
}

/// Rejects the items of a group that is of another signal than the request.
fn misdirected(group: Group<'_>, of: Signal, reading: &mut Reading<'_>) -> Result<(), Unreadable> {
    for item in group.scopes(of).flat_map(|scoped| scoped.items(of)) {
        let name = serde_json::from_str(item.get()).map(|head: Head<'_>| head.name()).unwrap_or_default();
        reading.reject(&name, of.misdirected())?;
    }
    Ok(())
}

/// Reads the head of a span or log record, and keeps its text. None if it was rejected.
fn kept<'a>(
    item: &'a RawValue,
    signal: Signal,
    reading: &mut Reading<'_>,
) -> Result<Option<(Head<'a>, Json)>, Unreadable> {
    // Not an object, or a repeated field: the item is rejected by itself.
    let head: Head<'_> = match serde_json::from_str(item.get()) {
        Ok(head) => head,
        Err(error) => {
            reading.reject("", format_args!("it is not a {}: {error}", signal.item()))?;
            return Ok(None);
        }
    };
    // Checked before the copy of the item is made.
    if item.get().len() > reading.bounds.item_bytes {
        reading.reject(&head.name(), Malformed::Size)?;
        return Ok(None);
    }
    // Depth and numbers are checked here, because what is kept must be JSON that readers can follow.
    match Json::of_raw(item) {
        Ok(json) => Ok(Some((head, json))),
        Err(error) => reading.reject(&head.name(), error).map(|()| None),
    }
}

fn one(
    item: &RawValue,
    signal: Signal,
    origin: &Origin,
    reading: &mut Reading<'_>,
) -> Result<(), Unreadable> {
    match signal {
        Signal::Traces => {
            let Some((head, json)) = kept(item, signal, reading)? else { return Ok(()) };
            let (started, ended) = (nanos(head.start_time_unix_nano), nanos(head.end_time_unix_nano));
            let key = SpanKey::new(&id(head.trace_id), &id(head.span_id), started, ended);
            reading.span(&head.name(), key, json, origin)
        }
        Signal::Logs => {
            let Some((head, json)) = kept(item, signal, reading)? else { return Ok(()) };
            let (at, observed) = (nanos(head.time_unix_nano), nanos(head.observed_time_unix_nano));
            let key = LogKey::new(&id(head.trace_id), &id(head.span_id), at, observed);
            let naming = Naming::of_json(json.as_str());
            reading.log_record(&head.name(), key, naming, json, origin)
        }
        // A metric has several items. Each is bounded by itself.
        Signal::Metrics => json_points::metric(item, origin, reading),
    }
}

/// Calls `each` with every metric of a request, until it cannot be read on.
pub(super) fn each_metric(body: &[u8], each: &mut dyn FnMut(&RawValue)) {
    let request = std::str::from_utf8(body).ok().and_then(|text| serde_json::from_str(text).ok());
    let groups = request.and_then(|request: Request<'_>| request.resource_metrics);
    for scoped in groups.into_iter().flatten().flat_map(|group| group.scopes(Signal::Metrics)) {
        scoped.items(Signal::Metrics).for_each(&mut *each);
    }
}

/// The name of an instrumentation scope.
fn scope_name(scope: &RawValue) -> Option<String> {
    #[derive(Deserialize)]
    struct Scope {
        name: Option<String>,
    }
    serde_json::from_str::<Scope>(scope.get()).ok()?.name
}

/// Reads a resource or scope. None if it is absent or empty.
fn object(value: Option<&RawValue>, name: &str) -> Result<Option<Json>, Unreadable> {
    let Some(value) = value.filter(|value| !matches!(value.get(), "null" | "{}")) else { return Ok(None) };
    let json = Json::of_raw(value).map_err(|error| Unreadable::Json(format!("`{name}`: {error}")))?;
    if json.is_object() {
        Ok(Some(json))
    } else {
        Err(Unreadable::Json(format!("`{name}` is not an object")))
    }
}
