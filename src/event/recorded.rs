//! Recorded events, as they are read from the log.

use super::earlier;
use super::id::{EventId, Seq, SessionId, Timestamp};
use super::kind::{Event, Kind, PayloadError, Strictness, kind_name};
use crate::encoding;

/// The payload of a recorded event, as far as it can be read.
// As for `Event`: nearly all values have the large variant, and a box would need an allocation for each of
// them.
#[allow(clippy::large_enum_variant)]
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Content {
    /// An event of a kind that this version knows.
    Event(Event),
    /// The payload was redacted. A later event records the author, the time and the reason.
    Redacted,
    /// A payload of a kind, or in an encoding, that this version does not know: the bytes as they are.
    Raw(Vec<u8>),
}

impl Content {
    /// Decodes payload bytes (without the salt) of the kind with this code.
    pub(crate) fn decode(
        code: u16,
        version: u8,
        encoding: u8,
        bytes: &[u8],
        strictness: Strictness,
    ) -> Result<Content, PayloadError> {
        match Kind::from_code(code) {
            Some(kind) if encoding == encoding::ENCODING_PLAIN => {
                earlier::decode(kind, version, bytes, strictness).map(Content::Event)
            }
            // A newer version of Annals wrote this payload. It is no error, because the log can be read and
            // verified without the meaning of the payload. Only an unknown version of a known kind is an
            // error, from `earlier::decode`.
            _ => Ok(Content::Raw(bytes.to_vec())),
        }
    }

    /// Returns true if the payload bytes are certainly canonical. Then [`Content::decode`] accepts them with
    /// [`Strictness::Canonical`]. If it returns false, only decoding can decide.
    pub(crate) fn is_well_formed(code: u16, version: u8, encoding: u8, bytes: &[u8]) -> bool {
        encoding == encoding::ENCODING_PLAIN && Event::is_well_formed(code, version, bytes)
    }
}

/// A recorded event, as it is read from the log.
#[derive(Clone, Debug, PartialEq)]
pub struct Recorded {
    /// Position in the log: the sequence number.
    pub seq: Seq,
    /// Id of the event.
    pub event_id: EventId,
    /// Code of the kind; [`Kind::from_code`] finds the kind.
    pub kind: u16,
    /// The session that the event belongs to.
    pub session: Option<SessionId>,
    /// Time at which the event happened, by the producer's clock.
    pub occurred_at: Option<Timestamp>,
    /// Time at which the event was recorded, by the writer's clock.
    pub recorded_at: Timestamp,
    /// Id of the API key with which the event was submitted.
    pub principal: Option<EventId>,
    /// The payload.
    pub content: Content,
}

impl Recorded {
    /// The name of the kind, or `kind-<code>` if this version does not know it.
    pub fn kind_name(&self) -> String {
        kind_name(self.kind)
    }
}
