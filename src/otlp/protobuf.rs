//! Writes spans and log records from protocol buffers as OTLP's JSON.
//!
//! Field numbers are those of <https://github.com/open-telemetry/opentelemetry-proto>, spellings those of
//! <https://opentelemetry.io/docs/specs/otlp/#json-protobuf-encoding>. Fields stand in the order of their
//! definition. Default values are left out. 64-bit integers are texts, enums are numbers.

use std::fmt::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::wire::{Fields, Malformed, Value};
use crate::otel::{write_float, write_text};

pub(super) type Written = Result<(), Malformed>;

/// The depth to which values nest in values. Each level is up to four levels of JSON, and free-form JSON has
/// at most 128.
const DEPTH_MAX: usize = 28;

/// A JSON object that is being written, and the bound of the text that it is a part of.
pub(super) struct Object<'o> {
    out: &'o mut String,
    is_empty: bool,
    bytes_max: usize,
}

impl<'o> Object<'o> {
    pub(super) fn begin(out: &'o mut String, bytes_max: usize) -> Object<'o> {
        out.push('{');
        Object { out, is_empty: true, bytes_max }
    }

    pub(super) fn name(&mut self, name: &str) -> Written {
        // Checked before each member and at the end: the text exceeds the bound by one value at most.
        self.require_room()?;
        if !self.is_empty {
            self.out.push(',');
        }
        self.is_empty = false;
        self.out.push('"');
        self.out.push_str(name);
        self.out.push_str("\":");
        Ok(())
    }

    /// Fails if the text has reached its bound.
    pub(super) fn require_room(&self) -> Written {
        if self.out.len() > self.bytes_max { Err(Malformed::Size) } else { Ok(()) }
    }

    /// Writes a part of a value, which is JSON, after its name.
    pub(super) fn push(&mut self, json: &str) {
        self.out.push_str(json);
    }

    /// Writes an object as a member.
    pub(super) fn object(&mut self, name: &str, write: impl FnOnce(&mut Object<'_>) -> Written) -> Written {
        self.name(name)?;
        let mut object = Object::begin(self.out, self.bytes_max);
        write(&mut object)?;
        object.end()
    }

    fn text(&mut self, name: &str, text: &str) -> Written {
        if text.is_empty() {
            return Ok(());
        }
        self.name(name)?;
        write_text(text, self.out);
        Ok(())
    }

    fn id(&mut self, name: &str, id: &[u8]) -> Written {
        if id.is_empty() {
            return Ok(());
        }
        self.name(name)?;
        self.out.push('"');
        write_hex(id, self.out);
        self.out.push('"');
        Ok(())
    }

    pub(super) fn number(&mut self, name: &str, number: u64) -> Written {
        if number == 0 {
            return Ok(());
        }
        self.name(name)?;
        let _ = write!(self.out, "{number}");
        Ok(())
    }

    pub(super) fn time(&mut self, name: &str, nanos: u64) -> Written {
        if nanos == 0 {
            return Ok(());
        }
        self.name(name)?;
        let _ = write!(self.out, "\"{nanos}\"");
        Ok(())
    }

    /// Writes a list of the messages in the field with this number. Without such a field nothing is written.
    pub(super) fn list(
        &mut self,
        name: &str,
        message: &[u8],
        number: u32,
        write: impl Fn(&[u8], &mut String, usize) -> Written,
    ) -> Written {
        let mut is_first = true;
        for value in Fields(message).all(number) {
            if is_first {
                self.name(name)?;
            }
            // Checked for each item as well: a text in a list has no check of its own.
            self.require_room()?;
            self.out.push(if is_first { '[' } else { ',' });
            is_first = false;
            write(value?.bytes()?, self.out, self.bytes_max)?;
        }
        if !is_first {
            self.out.push(']');
        }
        Ok(())
    }

    pub(super) fn attributes(&mut self, message: &[u8], number: u32) -> Written {
        self.list("attributes", message, number, |bytes, out, max| key_value(bytes, out, max, DEPTH_MAX))
    }

    pub(super) fn end(self) -> Written {
        self.out.push('}');
        self.require_room()
    }
}

pub(super) fn write_hex(bytes: &[u8], out: &mut String) {
    for byte in bytes {
        for digit in [byte >> 4, byte & 15] {
            out.push(char::from_digit(digit.into(), 16).unwrap_or('0'));
        }
    }
}

/// An enum or a count, as a number of 32 bits.
fn small(value: Value<'_>) -> Result<u64, Malformed> {
    // A negative enum comes with its sign in 64 bits. OTLP has none, and 32 bits are enough for all others.
    Ok(value.number()? & u64::from(u32::MAX))
}

fn key_value(message: &[u8], out: &mut String, max: usize, depth: usize) -> Written {
    let (mut key, mut value, mut index) = ("", None, 0);
    // Of a field that comes several times, the last one counts, here and in all functions below.
    for field in Fields(message) {
        match field? {
            (1, field) => key = field.text()?,
            (2, field) => value = Some(field.bytes()?),
            (3, field) => index = small(field)?,
            _ => {}
        }
    }
    let mut object = Object::begin(out, max);
    // Written even if it is empty: without a key there is no attribute.
    object.name("key")?;
    write_text(key, object.out);
    if let Some(message) = value {
        object.name("value")?;
        any_value(message, object.out, max, depth)?;
    }
    object.number("keyStrindex", index)?;
    object.end()
}

fn any_value(message: &[u8], out: &mut String, max: usize, depth: usize) -> Written {
    // Each level of values takes one from the depth, which bounds the recursion.
    let depth = depth.checked_sub(1).ok_or(Malformed::Depth)?;
    // Exactly one of these fields is set; of several the last one counts, as in the encoding.
    let mut one = None;
    for field in Fields(message) {
        let (number, value) = field?;
        if (1..=8).contains(&number) {
            one = Some((number, value));
        }
    }
    let mut object = Object::begin(out, max);
    // Values 1 to 7 are written even if they are zero or empty: otherwise they would look like no value.
    match one {
        None => {}
        Some((1, value)) => {
            object.name("stringValue")?;
            write_text(value.text()?, object.out);
        }
        Some((2, value)) => {
            object.name("boolValue")?;
            object.out.push_str(if value.number()? == 0 { "false" } else { "true" });
        }
        Some((3, value)) => {
            object.name("intValue")?;
            let _ = write!(object.out, "\"{}\"", value.number()?.cast_signed());
        }
        Some((4, value)) => {
            object.name("doubleValue")?;
            match value {
                Value::Fixed64(bits) => write_float(f64::from_bits(bits), object.out),
                _ => return Err(Malformed::Wire),
            }
        }
        Some((5, value)) => {
            object.name("arrayValue")?;
            let mut list = Object::begin(object.out, max);
            list.list("values", value.bytes()?, 1, |bytes, out, max| any_value(bytes, out, max, depth))?;
            list.end()?;
        }
        Some((6, value)) => {
            object.name("kvlistValue")?;
            let mut list = Object::begin(object.out, max);
            list.list("values", value.bytes()?, 1, |bytes, out, max| key_value(bytes, out, max, depth))?;
            list.end()?;
        }
        Some((7, value)) => {
            object.name("bytesValue")?;
            object.out.push('"');
            STANDARD.encode_string(value.bytes()?, object.out);
            object.out.push('"');
        }
        Some((_, value)) => object.number("stringValueStrindex", small(value)?)?,
    }
    object.end()
}

/// The fields of a span that its event needs.
#[derive(Debug, Default, PartialEq)]
pub(super) struct SpanHead<'a> {
    pub(super) trace: &'a [u8],
    pub(super) span: &'a [u8],
    pub(super) name: &'a str,
    pub(super) started: u64,
    pub(super) ended: u64,
}

/// Reads the fields of a span that its event needs.
pub(super) fn span_head(message: &[u8]) -> Result<SpanHead<'_>, Malformed> {
    let mut head = SpanHead::default();
    // Lists are passed over by their length, so this pass is short.
    for field in Fields(message) {
        match field? {
            (1, value) => head.trace = value.bytes()?,
            (2, value) => head.span = value.bytes()?,
            (5, value) => head.name = value.text()?,
            (7, value) => head.started = value.number()?,
            (8, value) => head.ended = value.number()?,
            _ => {}
        }
    }
    Ok(head)
}

/// Writes a span as JSON.
pub(super) fn span(message: &[u8], head: &SpanHead<'_>, out: &mut String, max: usize) -> Written {
    let (mut state, mut parent, mut flags, mut kind, mut status) = ("", &[][..], 0, 0, None);
    let mut dropped = [0; 3];
    // Single fields are read in a first pass, because they may stand anywhere in the message. Each list is
    // read in a pass of its own, so that nothing is kept in memory.
    for field in Fields(message) {
        match field? {
            (3, value) => state = value.text()?,
            (4, value) => parent = value.bytes()?,
            (6, value) => kind = small(value)?,
            (10, value) => dropped[0] = small(value)?,
            (12, value) => dropped[1] = small(value)?,
            (14, value) => dropped[2] = small(value)?,
            (15, value) => status = Some(value.bytes()?),
            (16, value) => flags = small(value)?,
            _ => {}
        }
    }
    let mut object = Object::begin(out, max);
    object.id("traceId", head.trace)?;
    object.id("spanId", head.span)?;
    object.text("traceState", state)?;
    object.id("parentSpanId", parent)?;
    object.number("flags", flags)?;
    object.text("name", head.name)?;
    object.number("kind", kind)?;
    object.time("startTimeUnixNano", head.started)?;
    object.time("endTimeUnixNano", head.ended)?;
    object.attributes(message, 9)?;
    object.number("droppedAttributesCount", dropped[0])?;
    object.list("events", message, 11, event)?;
    object.number("droppedEventsCount", dropped[1])?;
    object.list("links", message, 13, link)?;
    object.number("droppedLinksCount", dropped[2])?;
    if let Some(status) = status {
        // Written even without members, because the span had a status.
        object.name("status")?;
        let mut own = Object::begin(object.out, max);
        if let Some(message) = Fields(status).one(2)? {
            own.text("message", message.text()?)?;
        }
        if let Some(code) = Fields(status).one(3)? {
            own.number("code", small(code)?)?;
        }
        own.end()?;
    }
    object.end()
}

fn event(message: &[u8], out: &mut String, max: usize) -> Written {
    let (mut at, mut name, mut dropped) = (0, "", 0);
    for field in Fields(message) {
        match field? {
            (1, value) => at = value.number()?,
            (2, value) => name = value.text()?,
            (4, value) => dropped = small(value)?,
            _ => {}
        }
    }
    let mut object = Object::begin(out, max);
    object.time("timeUnixNano", at)?;
    object.text("name", name)?;
    object.attributes(message, 3)?;
    object.number("droppedAttributesCount", dropped)?;
    object.end()
}

fn link(message: &[u8], out: &mut String, max: usize) -> Written {
    let (mut trace, mut span, mut state, mut dropped, mut flags) = (&[][..], &[][..], "", 0, 0);
    for field in Fields(message) {
        match field? {
            (1, value) => trace = value.bytes()?,
            (2, value) => span = value.bytes()?,
            (3, value) => state = value.text()?,
            (5, value) => dropped = small(value)?,
            (6, value) => flags = small(value)?,
            _ => {}
        }
    }
    let mut object = Object::begin(out, max);
    object.id("traceId", trace)?;
    object.id("spanId", span)?;
    object.text("traceState", state)?;
    object.attributes(message, 4)?;
    object.number("droppedAttributesCount", dropped)?;
    object.number("flags", flags)?;
    object.end()
}

/// The fields of a log record that its event needs.
#[derive(Debug, Default, PartialEq)]
pub(super) struct LogHead<'a> {
    pub(super) trace: &'a [u8],
    pub(super) span: &'a [u8],
    pub(super) name: &'a str,
    pub(super) at: u64,
    pub(super) observed: u64,
}

/// Reads the fields of a log record that its event needs.
pub(super) fn log_head(message: &[u8]) -> Result<LogHead<'_>, Malformed> {
    let mut head = LogHead::default();
    for field in Fields(message) {
        match field? {
            (1, value) => head.at = value.number()?,
            (9, value) => head.trace = value.bytes()?,
            (10, value) => head.span = value.bytes()?,
            (11, value) => head.observed = value.number()?,
            (12, value) => head.name = value.text()?,
            _ => {}
        }
    }
    Ok(head)
}

/// Writes a log record as JSON.
pub(super) fn log_record(message: &[u8], head: &LogHead<'_>, out: &mut String, max: usize) -> Written {
    let (mut severity, mut severity_text, mut body, mut dropped, mut flags) = (0, "", None, 0, 0);
    for field in Fields(message) {
        match field? {
            (2, value) => severity = small(value)?,
            (3, value) => severity_text = value.text()?,
            (5, value) => body = Some(value.bytes()?),
            (7, value) => dropped = small(value)?,
            (8, value) => flags = small(value)?,
            _ => {}
        }
    }
    let mut object = Object::begin(out, max);
    object.time("timeUnixNano", head.at)?;
    object.time("observedTimeUnixNano", head.observed)?;
    object.number("severityNumber", severity)?;
    object.text("severityText", severity_text)?;
    if let Some(body) = body {
        // The body nests like the value of an attribute, and has the same bound.
        object.name("body")?;
        any_value(body, object.out, max, DEPTH_MAX)?;
    }
    object.attributes(message, 6)?;
    object.number("droppedAttributesCount", dropped)?;
    object.number("flags", flags)?;
    object.id("traceId", head.trace)?;
    object.id("spanId", head.span)?;
    object.text("eventName", head.name)?;
    object.end()
}

/// Writes a resource as JSON.
pub(super) fn resource(message: &[u8], out: &mut String, max: usize) -> Written {
    let mut object = Object::begin(out, max);
    object.attributes(message, 1)?;
    if let Some(dropped) = Fields(message).one(2)? {
        object.number("droppedAttributesCount", small(dropped)?)?;
    }
    object.list("entityRefs", message, 3, entity)?;
    object.end()
}

fn entity(message: &[u8], out: &mut String, max: usize) -> Written {
    let mut object = Object::begin(out, max);
    for (name, number) in [("schemaUrl", 1), ("type", 2)] {
        if let Some(text) = Fields(message).one(number)? {
            object.text(name, text.text()?)?;
        }
    }
    for (name, number) in [("idKeys", 3), ("descriptionKeys", 4)] {
        object.list(name, message, number, |bytes, out, _| {
            write_text(Value::Bytes(bytes).text()?, out);
            Ok(())
        })?;
    }
    object.end()
}

/// Writes an instrumentation scope as JSON.
pub(super) fn scope(message: &[u8], out: &mut String, max: usize) -> Written {
    let mut object = Object::begin(out, max);
    for (name, number) in [("name", 1), ("version", 2)] {
        if let Some(text) = Fields(message).one(number)? {
            object.text(name, text.text()?)?;
        }
    }
    object.attributes(message, 3)?;
    if let Some(dropped) = Fields(message).one(4)? {
        object.number("droppedAttributesCount", small(dropped)?)?;
    }
    object.end()
}
