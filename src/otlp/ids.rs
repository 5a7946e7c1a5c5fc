//! The ids of the events that spans and log records become, by which the same sent twice is one event.
//!
//! They are made from what names a span or log record and from nothing that it says: an event's id stays
//! when its payload is erased.

use std::collections::HashMap;

use super::protobuf::{LogHead, SpanHead};
use crate::event::EventId;

/// Which id is tried: the first, or, where another event has that, the next. Where a span comes again
/// with other content, and again, each has an id of its own, and the same one when it is sent again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Attempt(u8);

impl Attempt {
    /// The most that are tried.
    pub const MAX: Attempt = Attempt(16);

    /// The one after this.
    pub fn next(self) -> Option<Attempt> {
        (self != Attempt::MAX).then_some(Attempt(self.0 + 1))
    }
}

/// What names a span.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct SpanKey {
    pub(super) trace: [u8; 16],
    pub(super) span: [u8; 8],
    pub(super) started: u64,
    pub(super) ended: u64,
}

const TRACE: &str = "the trace id is not one of 16 bytes that are not all zero";
const SPAN: &str = "the span id is not one of 8 bytes that are not all zero";

impl SpanKey {
    pub(super) fn of(head: &SpanHead<'_>) -> Result<SpanKey, &'static str> {
        SpanKey::new(head.trace, head.span, head.started, head.ended)
    }

    pub(super) fn new(trace: &[u8], span: &[u8], started: u64, ended: u64) -> Result<SpanKey, &'static str> {
        let trace: [u8; 16] = trace.try_into().ok().filter(|id| *id != [0; 16]).ok_or(TRACE)?;
        let span: [u8; 8] = span.try_into().ok().filter(|id| *id != [0; 8]).ok_or(SPAN)?;
        Ok(SpanKey { trace, span, started, ended })
    }

    pub(super) fn event_id(&self, attempt: Attempt) -> EventId {
        let mut hasher = blake3::Hasher::new();
        hasher.update(&self.trace).update(&self.span);
        if attempt != Attempt::default() {
            hasher.update(&[attempt.0]);
        }
        event_id(self.started, &hasher)
    }
}

/// What names a log record, as far as anything does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct LogKey {
    pub(super) trace: Option<[u8; 16]>,
    pub(super) span: [u8; 8],
    pub(super) at: u64,
    pub(super) observed: u64,
}

impl LogKey {
    pub(super) fn of(head: &LogHead<'_>) -> Result<LogKey, &'static str> {
        LogKey::new(head.trace, head.span, head.at, head.observed)
    }

    /// Empty ids, and those that are all zero, are none.
    pub(super) fn new(trace: &[u8], span: &[u8], at: u64, observed: u64) -> Result<LogKey, &'static str> {
        let trace = match trace {
            [] => None,
            trace => Some(<[u8; 16]>::try_from(trace).map_err(|_| TRACE)?).filter(|id| *id != [0; 16]),
        };
        let span = match span {
            [] => [0; 8],
            span => span.try_into().map_err(|_| SPAN)?,
        };
        Ok(LogKey { trace, span, at, observed })
    }

    /// The id of the event; `place` is that among the request's log records with the same key.
    pub(super) fn event_id(&self, place: u32, attempt: Attempt) -> EventId {
        if self.at == 0 && self.observed == 0 {
            return EventId::generate();
        }
        let mut hasher = blake3::Hasher::new();
        hasher.update(b"log").update(&self.trace.unwrap_or_default()).update(&self.span);
        hasher.update(&self.at.to_be_bytes()).update(&self.observed.to_be_bytes());
        hasher.update(&place.to_be_bytes()).update(&[attempt.0]);
        event_id(if self.at > 0 { self.at } else { self.observed }, &hasher)
    }
}

/// Places of log records among those with the same key.
#[derive(Debug, Default)]
pub(super) struct Places(HashMap<LogKey, u32>);

impl Places {
    pub(super) fn next(&mut self, key: &LogKey) -> u32 {
        let next = self.0.entry(*key).or_default();
        let place = *next;
        *next = next.saturating_add(1);
        place
    }
}

/// A UUID of version 8 (RFC 9562): 48 bits of a time in milliseconds, as version 7 has them, then bits of
/// a hash.
fn event_id(nanos: u64, hasher: &blake3::Hasher) -> EventId {
    let [_, _, t0, t1, t2, t3, t4, t5] = (nanos / 1_000_000).to_be_bytes();
    let mut hash = [0; 10];
    hasher.finalize_xof().fill(&mut hash);
    let [h0, h1, h2, h3, h4, h5, h6, h7, h8, h9] = hash;
    EventId::from_bytes([
        t0,
        t1,
        t2,
        t3,
        t4,
        t5,
        0x80 | (h0 & 0x0f),
        h1,
        0x80 | (h2 & 0x3f),
        h3,
        h4,
        h5,
        h6,
        h7,
        h8,
        h9,
    ])
}
