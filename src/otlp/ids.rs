//! Ids of the events that spans and log records become. An item that is sent twice gets the same id, and so
//! is one event.
//!
//! An id is made from the keys of an item and never from its content, because an event's id stays when its
//! payload is erased.

use std::collections::HashMap;
use std::hash::Hash;

use super::protobuf::{LogHead, SpanHead};
use crate::event::EventId;

/// The number of the id that is tried. The first id is tried first; if another event has it, the next one is
/// tried. So a span that comes again with other content gets an id of its own, and the same id each time that
/// this content is sent again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Attempt(u8);

impl Attempt {
    /// The last one that is tried.
    pub const MAX: Attempt = Attempt(16);

    /// The attempt after this one. None after [`Attempt::MAX`].
    pub fn next(self) -> Option<Attempt> {
        (self != Attempt::MAX).then_some(Attempt(self.0 + 1))
    }
}

/// The key of a span: the id of its event is made of trace, span and start; the end, if there is one, is the
/// event's time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct SpanKey {
    pub(super) trace: [u8; 16],
    pub(super) span: [u8; 8],
    pub(super) started: u64,
    pub(super) ended: u64,
}

const TRACE: &str = "the trace id must have 16 bytes, not all of them zero";
const SPAN: &str = "the span id must have 8 bytes, not all of them zero";

impl SpanKey {
    pub(super) fn of(head: &SpanHead<'_>) -> Result<SpanKey, &'static str> {
        SpanKey::new(head.trace, head.span, head.started, head.ended)
    }

    pub(super) fn new(trace: &[u8], span: &[u8], started: u64, ended: u64) -> Result<SpanKey, &'static str> {
        // OTLP: an id of zeros alone is invalid.
        let trace: [u8; 16] = trace.try_into().ok().filter(|id| *id != [0; 16]).ok_or(TRACE)?;
        let span: [u8; 8] = span.try_into().ok().filter(|id| *id != [0; 8]).ok_or(SPAN)?;
        Ok(SpanKey { trace, span, started, ended })
    }

    pub(super) fn event_id(&self, attempt: Attempt) -> EventId {
        let mut hasher = blake3::Hasher::new();
        hasher.update(&self.trace).update(&self.span);
        // The first attempt adds nothing to the hash; log records, below, always add their attempt. Neither
        // may change: an item that is sent again must get the id that it got before.
        if attempt != Attempt::default() {
            hasher.update(&[attempt.0]);
        }
        event_id(self.started, &hasher)
    }
}

/// The key of a log record. Several log records may have the same key.
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

    /// Makes a key. Ids that are empty, or zeros alone, count as absent.
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

    /// The id of the event. `place` is the index among those log records of the request that have the same
    /// key.
    pub(super) fn event_id(&self, place: u32, attempt: Attempt) -> EventId {
        // Without a time nothing names the record but its content: each time that it is sent, it is an event
        // of its own.
        if self.at == 0 && self.observed == 0 {
            return EventId::generate();
        }
        let mut hasher = blake3::Hasher::new();
        // The bytes in front keep these hashes apart from those of spans.
        hasher.update(b"log").update(&self.trace.unwrap_or_default()).update(&self.span);
        hasher.update(&self.at.to_be_bytes()).update(&self.observed.to_be_bytes());
        hasher.update(&place.to_be_bytes()).update(&[attempt.0]);
        event_id(if self.at > 0 { self.at } else { self.observed }, &hasher)
    }
}

/// The key of a data point of a metric. An exporter collects many points at one time, so many have the same key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct PointKey {
    pub(super) started: u64,
    pub(super) at: u64,
}

impl PointKey {
    /// The id of the event. `place` is the index among those points of the request that have the same key.
    pub(super) fn event_id(&self, place: u32, attempt: Attempt) -> EventId {
        // As for a log record: without a time only the content would name the point.
        if self.at == 0 {
            return EventId::generate();
        }
        let mut hasher = blake3::Hasher::new();
        // The bytes in front keep these hashes apart from those of spans and log records.
        hasher.update(b"metric").update(&self.started.to_be_bytes()).update(&self.at.to_be_bytes());
        hasher.update(&place.to_be_bytes()).update(&[attempt.0]);
        event_id(self.at, &hasher)
    }
}

/// Counts the items of a request by their key.
#[derive(Debug)]
pub(super) struct Places<K>(HashMap<K, u32>);

impl<K> Default for Places<K> {
    fn default() -> Places<K> {
        Places(HashMap::new())
    }
}

impl<K: Copy + Eq + Hash> Places<K> {
    /// Returns the index of an item among those with its key, from 0.
    pub(super) fn next(&mut self, key: &K) -> u32 {
        let next = self.0.entry(*key).or_default();
        let place = *next;
        *next = next.saturating_add(1);
        place
    }
}

/// A UUID of version 8 (RFC 9562): 48 bits of a time in milliseconds, as version 7 has them, then bits of
/// a hash.
fn event_id(nanos: u64, hasher: &blake3::Hasher) -> EventId {
    // A u64 of nanoseconds is less than 2^48 milliseconds: the two bytes that are dropped are zero.
    let [_, _, t0, t1, t2, t3, t4, t5] = (nanos / 1_000_000).to_be_bytes();
    let mut hash = [0; 10];
    hasher.finalize_xof().fill(&mut hash);
    let [h0, h1, h2, h3, h4, h5, h6, h7, h8, h9] = hash;
    // Version 8 is in the upper half of byte 6, the variant 10 in the two top bits of byte 8.
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
