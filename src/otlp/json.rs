//! Requests in OTLP's JSON. The text of each span and log record is kept; only the fields that its event
//! needs are read.

use serde::Deserialize;
use serde_json::value::RawValue;

use super::ids::{LogKey, SpanKey};
use super::reading::{Origin, Reading, Signal, Unreadable};
use super::wire::Malformed;
use crate::event::Json;

/// `ExportTraceServiceRequest` or `ExportLogsServiceRequest`.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Request<'a> {
    #[serde(borrow)]
    resource_spans: Option<Vec<Group<'a>>>,
    #[serde(borrow)]
    resource_logs: Option<Vec<Group<'a>>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Group<'a> {
    #[serde(borrow)]
    resource: Option<&'a RawValue>,
    schema_url: Option<String>,
    #[serde(borrow)]
    scope_spans: Option<Vec<Scoped<'a>>>,
    #[serde(borrow)]
    scope_logs: Option<Vec<Scoped<'a>>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Scoped<'a> {
    #[serde(borrow)]
    scope: Option<&'a RawValue>,
    schema_url: Option<String>,
    #[serde(borrow)]
    spans: Option<Vec<&'a RawValue>>,
    #[serde(borrow)]
    log_records: Option<Vec<&'a RawValue>>,
}

/// The fields of a span or log record that its event needs. They are read from raw values, so that a field of
/// a wrong type does not reject the item.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Head<'a> {
    #[serde(borrow)]
    trace_id: Option<&'a RawValue>,
    #[serde(borrow)]
    span_id: Option<&'a RawValue>,
    #[serde(borrow)]
    name: Option<&'a RawValue>,
    #[serde(borrow)]
    event_name: Option<&'a RawValue>,
    #[serde(borrow)]
    start_time_unix_nano: Option<&'a RawValue>,
    #[serde(borrow)]
    end_time_unix_nano: Option<&'a RawValue>,
    #[serde(borrow)]
    time_unix_nano: Option<&'a RawValue>,
    #[serde(borrow)]
    observed_time_unix_nano: Option<&'a RawValue>,
}

fn text(value: Option<&RawValue>) -> String {
    value.and_then(|value| serde_json::from_str(value.get()).ok()).unwrap_or_default()
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
    // The caller decides on the signal: members of the other one are ignored.
    let groups = match signal {
        Signal::Traces => request.resource_spans,
        Signal::Logs => request.resource_logs,
    };
    for group in groups.into_iter().flatten() {
        let mut origin = Origin {
            resource: object(group.resource, "resource")?,
            resource_schema_url: group.schema_url.filter(|url| !url.is_empty()),
            ..Origin::default()
        };
        let scopes = match signal {
            Signal::Traces => group.scope_spans,
            Signal::Logs => group.scope_logs,
        };
        for scoped in scopes.into_iter().flatten() {
            origin.scope = object(scoped.scope, "scope")?;
            origin.scope_schema_url = scoped.schema_url.filter(|url| !url.is_empty());
            let items = match signal {
                Signal::Traces => scoped.spans,
                Signal::Logs => scoped.log_records,
            };
            for item in items.into_iter().flatten() {
                one(item, signal, &origin, reading)?;
            }
        }
    }
    Ok(())
}

fn one(
    item: &RawValue,
    signal: Signal,
    origin: &Origin,
    reading: &mut Reading<'_>,
) -> Result<(), Unreadable> {
    // Not an object, or a repeated field: the item is rejected by itself.
    let head: Head<'_> = match serde_json::from_str(item.get()) {
        Ok(head) => head,
        Err(error) => return reading.reject("", format_args!("it is not a {}: {error}", signal.item())),
    };
    let name = text(head.name.or(head.event_name));
    // Checked before the copy of the item is made.
    if item.get().len() > reading.bounds.item_bytes {
        return reading.reject(&name, Malformed::Size);
    }
    // Depth and numbers are checked here, because what is kept must be JSON that readers can follow.
    let json = match Json::of_raw(item) {
        Ok(json) => json,
        Err(error) => return reading.reject(&name, error),
    };
    let (trace, span) = (id(head.trace_id), id(head.span_id));
    match signal {
        Signal::Traces => {
            let (started, ended) = (nanos(head.start_time_unix_nano), nanos(head.end_time_unix_nano));
            reading.span(&name, SpanKey::new(&trace, &span, started, ended), json, origin)
        }
        Signal::Logs => {
            let (at, observed) = (nanos(head.time_unix_nano), nanos(head.observed_time_unix_nano));
            reading.log_record(&name, LogKey::new(&trace, &span, at, observed), json, origin)
        }
    }
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
