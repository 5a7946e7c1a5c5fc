//! Events as the log has them.

use super::id::{EventId, Seq, SessionId, Timestamp};
use super::kind::{Event, Kind, PayloadError, Strictness, kind_name};
use crate::encoding;

/// What the payload of a recorded event is.
// As with events: nearly all of them are of the large kind.
#[allow(clippy::large_enum_variant)]
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Content {
    /// An event of a kind that this version knows.
    Event(Event),
    /// It was redacted: a later event says by whom, when and why.
    Redacted,
    /// An event of a kind that this version does not know, or stored in an encoding that it does
    /// not know: the bytes as they are.
    Raw(Vec<u8>),
}

impl Content {
    /// Reads payload bytes (without the salt) of the kind with this code.
    pub(crate) fn decode(
        code: u16,
        version: u8,
        encoding: u8,
        bytes: &[u8],
        strictness: Strictness,
    ) -> Result<Content, PayloadError> {
        match Kind::from_code(code) {
            Some(kind) if encoding == encoding::ENCODING_PLAIN => {
                Event::decode(kind, version, bytes, strictness).map(Content::Event)
            }
            _ => Ok(Content::Raw(bytes.to_vec())),
        }
    }

    /// Whether payload bytes are certainly well formed as what they claim to be: then
    /// [`Content::decode`] takes them in [`Strictness::Canonical`]. Of others it says so, or why not.
    pub(crate) fn is_well_formed(code: u16, version: u8, encoding: u8, bytes: &[u8]) -> bool {
        encoding == encoding::ENCODING_PLAIN && Event::is_well_formed(code, version, bytes)
    }
}

/// An event as the log has it.
#[derive(Clone, Debug, PartialEq)]
pub struct Recorded {
    /// Its place.
    pub seq: Seq,
    /// Its id.
    pub event_id: EventId,
    /// Code of its kind; [`Kind::from_code`] names it.
    pub kind: u16,
    /// Its session.
    pub session: Option<SessionId>,
    /// When it happened, by the producer's clock.
    pub occurred_at: Option<Timestamp>,
    /// When it was recorded, by the writer's clock.
    pub recorded_at: Timestamp,
    /// Id of the key that submitted it.
    pub principal: Option<EventId>,
    /// What it says.
    pub content: Content,
}

impl Recorded {
    /// The name of its kind, or `kind-<code>` where this version does not know it.
    pub fn kind_name(&self) -> String {
        kind_name(self.kind)
    }
}
