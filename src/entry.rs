//! The entry: the part of an event that is chained, which is everything except the payload itself.

use bincode::{Decode, Encode};

pub use crate::encoding::ENCODING_PLAIN;
use crate::encoding::{self, DecodeError, EncodeError};
use crate::event::{Digest, EventId, Seq, SessionId, Timestamp};
use crate::limits::ENTRY_BYTES_MAX;

/// Version of the log format that is written. It never decreases along a log, and it alone selects the algorithms.
pub const FORMAT: u8 = 1;

/// An entry of format 1. The order of the fields is the order on disk.
#[derive(Clone, Debug, PartialEq, Encode, Decode)]
pub struct Entry {
    /// [`FORMAT`].
    pub format: u8,
    /// Position in the log, from 1.
    pub seq: u64,
    /// Id of the event.
    pub event_id: EventId,
    /// Code of its kind.
    pub kind: u16,
    /// Version of that kind's payload.
    pub kind_version: u8,
    /// Session of the event.
    pub session: Option<SessionId>,
    /// Time of the event, by the producer's clock.
    pub occurred_at: Option<Timestamp>,
    /// Time at which the event was sealed, by the writer's clock.
    pub recorded_at: Timestamp,
    /// Id of the key that submitted it; absent for callers within the process.
    pub principal: Option<EventId>,
    /// Encoding of the payload's bytes: [`ENCODING_PLAIN`].
    pub encoding: u8,
    /// Digest of the payload cell: salt, then bytes.
    pub payload_digest: Digest,
}

/// An entry that borrows its session, for the writer to encode. Its bytes are those of an [`Entry`].
#[derive(Encode)]
pub(crate) struct EntryRef<'a> {
    // The fields have the order of `Entry`: bincode writes them as they are declared.
    pub(crate) format: u8,
    pub(crate) seq: u64,
    pub(crate) event_id: EventId,
    pub(crate) kind: u16,
    pub(crate) kind_version: u8,
    pub(crate) session: Option<&'a SessionId>,
    pub(crate) occurred_at: Option<Timestamp>,
    pub(crate) recorded_at: Timestamp,
    pub(crate) principal: Option<EventId>,
    pub(crate) encoding: u8,
    pub(crate) payload_digest: Digest,
}

impl EntryRef<'_> {
    pub(crate) fn encode(&self, bytes: &mut Vec<u8>) -> Result<(), EncodeError> {
        encoding::encode(self, bytes)
    }
}

impl Entry {
    /// Appends the entry's bytes to `bytes`.
    ///
    /// # Errors
    /// Never in practice; the interface of bincode can report one.
    pub fn encode(&self, bytes: &mut Vec<u8>) -> Result<(), EncodeError> {
        encoding::encode(self, bytes)
    }

    /// Reads an entry that is all of `bytes`.
    ///
    /// # Errors
    /// If the bytes are not one whole entry of [`FORMAT`].
    pub fn decode(bytes: &[u8]) -> Result<Entry, DecodeError> {
        check_form(bytes)?;
        encoding::decode(bytes)
    }

    /// Reads an entry that is all of `bytes` and has no other encoding.
    ///
    /// # Errors
    /// If the bytes are not one whole entry of [`FORMAT`], or not its own encoding.
    pub fn decode_canonical(bytes: &[u8]) -> Result<Entry, DecodeError> {
        check_form(bytes)?;
        encoding::decode_canonical(bytes)
    }

    /// Its sequence number as a [`Seq`].
    pub fn seq(&self) -> Seq {
        Seq::new(self.seq)
    }
}

/// Refuses entries of other formats, and entries that are too long. The first byte is the format in every format, and
/// decides the meaning of the other bytes: an entry of a newer format must not be read as one of this format.
fn check_form(bytes: &[u8]) -> Result<(), DecodeError> {
    match bytes.first() {
        Some(&found) if found != FORMAT => Err(DecodeError::UnknownFormat { found, known: FORMAT }),
        _ if bytes.len() > ENTRY_BYTES_MAX => {
            Err(DecodeError::TooLong { bytes: bytes.len(), max: ENTRY_BYTES_MAX })
        }
        _ => Ok(()),
    }
}
