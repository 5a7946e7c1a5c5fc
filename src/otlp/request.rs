//! The reading of a request, in either encoding.

use super::conversation::Naming;
use super::ids::{Attempt, LogKey, Places, SpanKey};
use super::reading::{Bounds, Origin, Reading, Request, Signal, Unreadable};
use super::wire::{Fields, Malformed, Value};
use super::{json, json_points, points, protobuf};
use crate::event::Json;

/// The encoding of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// Protocol buffers.
    Protobuf,
    /// OTLP's JSON.
    Json,
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

/// Reads a request as [`read`] does. Calls `room` with the bytes of each event before it keeps the event; if
/// that returns false, the request is refused.
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
        keys: Places::default(),
        points: Places::default(),
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

/// The metrics of a request that is not recorded.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Names {
    /// Number of metrics.
    pub(crate) metrics: u64,
    /// The names of the first ones. Each is there once.
    pub(crate) first: Vec<String>,
}

impl Names {
    fn add(&mut self, max: usize, name: impl FnOnce() -> String) {
        self.metrics += 1;
        if self.first.len() < max {
            let name: String = name().chars().take(NAME_CHARS_MAX).collect();
            if !self.first.contains(&name) {
                self.first.push(name);
            }
        }
    }
}

/// Longest name of a metric that a message repeats, in characters.
const NAME_CHARS_MAX: usize = 80;

/// Counts the metrics of a request, and collects at most `max` names. A request that cannot be read counts up to there.
pub(crate) fn names_of_metrics(body: &[u8], form: Form, max: usize) -> Names {
    let mut names = Names::default();
    match form {
        Form::Json => json::each_metric(body, &mut |metric| names.add(max, || json_points::name(metric))),
        Form::Protobuf => {
            // The levels of a request have the same field numbers, as below.
            let metrics =
                below(body, 1).flat_map(|group| below(group, 2)).flat_map(|scoped| below(scoped, 2));
            for metric in metrics {
                let name = || Fields(metric).one(1).ok()??.text().ok().map(str::to_owned);
                names.add(max, || name().unwrap_or_default());
            }
        }
    }
    names
}

/// The messages in the field with this number.
fn below(message: &[u8], number: u32) -> impl Iterator<Item = &[u8]> {
    Fields(message).all(number).filter_map(|field| field.and_then(Value::bytes).ok())
}

fn from_protobuf(body: &[u8], signal: Signal, reading: &mut Reading<'_>) -> Result<(), Unreadable> {
    let unreadable = |_: Malformed| Unreadable::Protobuf;
    let max = reading.bounds.item_bytes;
    // All requests have the same shape and the same field numbers. Resource and scope are looked up before
    // the items, because fields may come in any order.
    for group in Fields(body).all(1) {
        let group = group.and_then(Value::bytes).map_err(unreadable)?;
        let mut origin = Origin {
            resource_schema_url: schema_url(group).map_err(unreadable)?,
            resource: written(group, max, protobuf::resource).map_err(unreadable)?,
            ..Origin::default()
        };
        for scoped in Fields(group).all(2) {
            let scoped = scoped.and_then(Value::bytes).map_err(unreadable)?;
            origin.scope_schema_url = schema_url(scoped).map_err(unreadable)?;
            origin.scope = written(scoped, max, protobuf::scope).map_err(unreadable)?;
            origin.scope_name = scope_name(scoped).map_err(unreadable)?;
            for item in Fields(scoped).all(2) {
                // A malformed group refuses the whole request, because its items or their origin cannot be
                // read. A malformed item is rejected by itself.
                let item = item.and_then(Value::bytes).map_err(unreadable)?;
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
    // The JSON of a span is somewhat longer than its message.
    let buffer = || String::with_capacity(item.len() + item.len() / 2);
    match signal {
        Signal::Metrics => points::of_protobuf(item, origin, reading),
        Signal::Traces => {
            // The head comes first: it has the name by which a rejected item is reported.
            let head = match protobuf::span_head(item) {
                Ok(head) => head,
                Err(_) if protobuf::log_head(item).is_ok() => {
                    return reading.reject("", Signal::Logs.misdirected());
                }
                Err(_) if points::is_metric(item) => {
                    return reading.reject("", Signal::Metrics.misdirected());
                }
                Err(error) => return reading.reject("", error),
            };
            let mut json = buffer();
            match protobuf::span(item, &head, &mut json, max) {
                Ok(()) => reading.span(head.name, SpanKey::of(&head), Json::written(json), origin),
                Err(error) => reading.reject(head.name, error),
            }
        }
        Signal::Logs => {
            let head = match protobuf::log_head(item) {
                Ok(head) => head,
                Err(_) if points::is_metric(item) => {
                    return reading.reject("", Signal::Metrics.misdirected());
                }
                Err(_) if protobuf::span_head(item).is_ok() => {
                    return reading.reject("", Signal::Traces.misdirected());
                }
                Err(error) => return reading.reject("", error),
            };
            let mut json = buffer();
            match protobuf::log_record(item, &head, &mut json, max) {
                Ok(()) => {
                    let naming = Naming::of_protobuf(item);
                    reading.log_record(head.name, LogKey::of(&head), naming, Json::written(json), origin)
                }
                Err(error) => reading.reject(head.name, error),
            }
        }
    }
}

fn schema_url(group: &[u8]) -> Result<Option<String>, Malformed> {
    let url = Fields(group).one(3)?.map(Value::text).transpose()?;
    Ok(url.filter(|url| !url.is_empty()).map(str::to_owned))
}

/// The name of the instrumentation scope of a group.
fn scope_name(group: &[u8]) -> Result<Option<String>, Malformed> {
    let Some(scope) = Fields(group).one(1)? else { return Ok(None) };
    Ok(Fields(scope.bytes()?).one(1)?.map(Value::text).transpose()?.map(str::to_owned))
}

/// Writes the resource or scope of a group as JSON. None if it is absent or empty.
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
