//! Metrics: their data points, each as one item. Those in protocol buffers are written as OTLP's JSON first, with the
//! field numbers of `metrics/v1/metrics.proto` (1.9).

use prost::encoding::decode_varint;

use super::protobuf::{self, Object, Written};
use super::reading::{Origin, Reading, Signal, Unreadable};
use super::wire::{Fields, Malformed, Value};
use crate::otel::{Metric, MetricHead, MetricKind, write_float};

/// The reason for which a metric is rejected as a whole.
pub(super) const NO_DATA: &str =
    "it has no data of a known kind: gauge, sum, histogram, exponentialHistogram or summary";

/// A metric of a request, whose points are still to be read.
#[derive(Default)]
struct InProtobuf<'a> {
    name: &'a str,
    description: &'a str,
    unit: &'a str,
    data: Option<(MetricKind, &'a [u8])>,
}

impl<'a> InProtobuf<'a> {
    fn read(metric: &'a [u8]) -> Result<InProtobuf<'a>, Malformed> {
        let mut read = InProtobuf::default();
        for field in Fields(metric) {
            let (number, value) = field?;
            let kind = match number {
                5 => MetricKind::Gauge,
                7 => MetricKind::Sum,
                9 => MetricKind::Histogram,
                10 => MetricKind::ExponentialHistogram,
                11 => MetricKind::Summary,
                1..=3 => {
                    let text = value.text()?;
                    match number {
                        1 => read.name = text,
                        2 => read.description = text,
                        _ => read.unit = text,
                    }
                    continue;
                }
                _ => continue,
            };
            read.data = Some((kind, value.bytes()?));
        }
        Ok(read)
    }
}

/// Returns true if a message has the fields of a metric with a data point. The name of a span has the field number of
/// a gauge, so the data must itself be a message.
pub(super) fn is_metric(message: &[u8]) -> bool {
    let data = InProtobuf::read(message).ok().and_then(|read| read.data);
    data.is_some_and(|(_, data)| matches!(Fields(data).one(1), Ok(Some(Value::Bytes(_)))))
}

/// Reads a metric in protocol buffers.
pub(super) fn of_protobuf(
    metric: &[u8],
    origin: &Origin,
    reading: &mut Reading<'_>,
) -> Result<(), Unreadable> {
    let read = match InProtobuf::read(metric) {
        Ok(read) => read,
        Err(_) if protobuf::span_head(metric).is_ok() => {
            return reading.reject("", Signal::Traces.misdirected());
        }
        Err(_) if protobuf::log_head(metric).is_ok() => {
            return reading.reject("", Signal::Logs.misdirected());
        }
        Err(error) => return reading.reject("", error),
    };
    let Some((kind, data)) = read.data else { return reading.reject(read.name, NO_DATA) };
    let max = reading.bounds.item_bytes;
    let mut shared = None;
    for point in Fields(data).all(1) {
        let mut json = String::new();
        let written = point.and_then(Value::bytes).and_then(|point| write(kind, point, &mut json, max));
        if let Err(error) = written {
            reading.reject(read.name, error)?;
            continue;
        }
        // Made for the first point, so that a metric without points costs nothing.
        if shared.is_none() {
            match in_common(&read, kind, data, metric, origin, max) {
                Ok(common) => shared = Some(common),
                Err(error) => return reading.reject(read.name, error),
            }
        }
        if let Some(shared) = &shared {
            reading.point(shared, &json)?;
        }
    }
    Ok(())
}

fn in_common(
    read: &InProtobuf<'_>,
    kind: MetricKind,
    data: &[u8],
    metric: &[u8],
    origin: &Origin,
    max: usize,
) -> Result<Metric, Malformed> {
    let has_temporality =
        matches!(kind, MetricKind::Sum | MetricKind::Histogram | MetricKind::ExponentialHistogram);
    let temporality = match Fields(data).one(2)?.filter(|_| has_temporality) {
        Some(value) => value.number()?.to_string(),
        None => String::new(),
    };
    let is_monotonic = match Fields(data).one(3)?.filter(|_| kind == MetricKind::Sum) {
        Some(value) => value.number()? != 0,
        None => false,
    };
    let mut metadata = String::new();
    let mut object = Object::begin(&mut metadata, max);
    object.attributes(metric, 12)?;
    object.end()?;
    let head = MetricHead {
        name: read.name,
        description: read.description,
        unit: read.unit,
        kind,
        temporality: &temporality,
        is_monotonic,
        metadata: Some(&metadata),
    };
    Ok(Metric::new(&head, origin.of_metric()))
}

/// Writes a data point as JSON.
fn write(kind: MetricKind, point: &[u8], out: &mut String, max: usize) -> Written {
    let mut object = Object::begin(out, max);
    match kind {
        MetricKind::Gauge | MetricKind::Sum => number_point(point, &mut object)?,
        MetricKind::Histogram => histogram_point(point, &mut object)?,
        MetricKind::ExponentialHistogram => exponential_point(point, &mut object)?,
        MetricKind::Summary => summary_point(point, &mut object)?,
    }
    object.end()
}

fn number_point(point: &[u8], object: &mut Object<'_>) -> Written {
    times(point, object)?;
    for field in Fields(point) {
        match field? {
            (4, value) => float("asDouble", value, object)?,
            (6, Value::Fixed64(bits)) => {
                object.name("asInt")?;
                object.push(&bits.cast_signed().to_string());
            }
            (6, _) => return Err(Malformed::Wire),
            (8, value) => object.number("flags", value.number()?)?,
            _ => {}
        }
    }
    object.attributes(point, 7)?;
    exemplars(point, 5, object)
}

fn histogram_point(point: &[u8], object: &mut Object<'_>) -> Written {
    times(point, object)?;
    for field in Fields(point) {
        match field? {
            (4, value) => object.number("count", value.number()?)?,
            (5, value) => float("sum", value, object)?,
            (10, value) => object.number("flags", value.number()?)?,
            (11, value) => float("min", value, object)?,
            (12, value) => float("max", value, object)?,
            _ => {}
        }
    }
    numbers("bucketCounts", point, 6, Packed::Fixed, object)?;
    numbers("explicitBounds", point, 7, Packed::Floats, object)?;
    object.attributes(point, 9)?;
    exemplars(point, 8, object)
}

fn exponential_point(point: &[u8], object: &mut Object<'_>) -> Written {
    times(point, object)?;
    for field in Fields(point) {
        match field? {
            (4, value) => object.number("count", value.number()?)?,
            (5, value) => float("sum", value, object)?,
            (6, value) => zigzag("scale", value, object)?,
            (7, value) => object.number("zeroCount", value.number()?)?,
            (8, value) => buckets("positive", value.bytes()?, object)?,
            (9, value) => buckets("negative", value.bytes()?, object)?,
            (10, value) => object.number("flags", value.number()?)?,
            (12, value) => float("min", value, object)?,
            (13, value) => float("max", value, object)?,
            (14, value) => float("zeroThreshold", value, object)?,
            _ => {}
        }
    }
    object.attributes(point, 1)?;
    exemplars(point, 11, object)
}

fn summary_point(point: &[u8], object: &mut Object<'_>) -> Written {
    times(point, object)?;
    for field in Fields(point) {
        match field? {
            (4, value) => object.number("count", value.number()?)?,
            (5, value) => float("sum", value, object)?,
            (8, value) => object.number("flags", value.number()?)?,
            _ => {}
        }
    }
    object.list("quantileValues", point, 6, |quantile, out, max| {
        let mut object = Object::begin(out, max);
        for field in Fields(quantile) {
            match field? {
                (1, value) => float("quantile", value, &mut object)?,
                (2, value) => float("value", value, &mut object)?,
                _ => {}
            }
        }
        object.end()
    })?;
    object.attributes(point, 7)
}

/// The times have the same field numbers in every kind of point.
fn times(point: &[u8], object: &mut Object<'_>) -> Written {
    for (name, number) in [("startTimeUnixNano", 2), ("timeUnixNano", 3)] {
        if let Some(value) = Fields(point).one(number)? {
            object.time(name, value.number()?)?;
        }
    }
    Ok(())
}

/// Writes an empty object for each exemplar: only their number is recorded.
fn exemplars(point: &[u8], number: u32, object: &mut Object<'_>) -> Written {
    object.list("exemplars", point, number, |_, out, _| {
        out.push_str("{}");
        Ok(())
    })
}

fn float(name: &str, value: Value<'_>, object: &mut Object<'_>) -> Written {
    let Value::Fixed64(bits) = value else { return Err(Malformed::Wire) };
    object.name(name)?;
    let mut text = String::new();
    write_float(f64::from_bits(bits), &mut text);
    object.push(&text);
    Ok(())
}

/// Writes a signed integer of the type `sint32`.
fn zigzag(name: &str, value: Value<'_>, object: &mut Object<'_>) -> Written {
    let number = value.number()?;
    let signed = (number >> 1).cast_signed() ^ -(number & 1).cast_signed();
    object.name(name)?;
    object.push(&signed.to_string());
    Ok(())
}

fn buckets(name: &str, message: &[u8], outer: &mut Object<'_>) -> Written {
    outer.object(name, |object| {
        if let Some(offset) = Fields(message).one(1)? {
            zigzag("offset", offset, object)?;
        }
        numbers("bucketCounts", message, 2, Packed::Varints, object)
    })
}

/// The encoding of the numbers of a list.
#[derive(Clone, Copy)]
enum Packed {
    Varints,
    Fixed,
    Floats,
}

/// Writes a list of numbers. They are packed into one field, or come as fields of their own.
fn numbers(name: &str, message: &[u8], field: u32, packed: Packed, object: &mut Object<'_>) -> Written {
    let mut is_first = true;
    for value in Fields(message).all(field) {
        match (value?, packed) {
            (Value::Bytes(mut bytes), Packed::Varints) => {
                while !bytes.is_empty() {
                    let number = decode_varint(&mut bytes).map_err(|_| Malformed::Wire)?;
                    item(name, &mut is_first, packed, number, object)?;
                }
            }
            (Value::Bytes(bytes), Packed::Fixed | Packed::Floats) => {
                let (numbers, rest) = bytes.as_chunks();
                if !rest.is_empty() {
                    return Err(Malformed::Wire);
                }
                for number in numbers {
                    item(name, &mut is_first, packed, u64::from_le_bytes(*number), object)?;
                }
            }
            (value, _) => item(name, &mut is_first, packed, value.number()?, object)?,
        }
    }
    if !is_first {
        object.push("]");
    }
    Ok(())
}

fn item(name: &str, is_first: &mut bool, packed: Packed, number: u64, object: &mut Object<'_>) -> Written {
    if std::mem::take(is_first) {
        object.name(name)?;
        object.push("[");
    } else {
        object.require_room()?;
        object.push(",");
    }
    let mut text = String::new();
    match packed {
        Packed::Varints | Packed::Fixed => text = number.to_string(),
        Packed::Floats => write_float(f64::from_bits(number), &mut text),
    }
    object.push(&text);
    Ok(())
}
