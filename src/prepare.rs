//! From a draft to a prepared event: encoding, salt and digest, on the caller's own thread.

use std::sync::Arc;

use rand::Rng;

use crate::chain;
use crate::encoding::EncodeError;
use crate::entry::{ENCODING_PLAIN, EntryRef, FORMAT};
use crate::event::{Digest, Draft, Event, EventId, InvalidField, Seq, SessionId, Timestamp};
use crate::limits::{ENTRY_BYTES_MAX, SALT_BYTES};

/// Bytes that are reserved for a payload with its salt before its size is known.
const CELL_BYTES_USUAL: usize = 512;

/// A program's filter for drafts before they are recorded: it may change a draft, or refuse it with a reason.
pub(crate) type Filter = Arc<dyn Fn(&mut Draft) -> Result<(), String> + Send + Sync>;

/// The senders from which an event with a recorded id counts as the recorded event, sent again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum SentBy {
    /// The key that submitted it: the log names the submitter of each event.
    #[default]
    ItsKey,
    /// Any sender. The id is made from the subject of the event, such as a span, and an exporter that got no answer may
    /// have another key by now.
    Anybody,
}

/// An event that is ready to be sealed: only its sequence number, its time of recording and its link are missing.
#[derive(Clone, Debug)]
pub(crate) struct Prepared {
    pub(crate) event_id: EventId,
    pub(crate) kind: u16,
    pub(crate) kind_version: u8,
    pub(crate) session: Option<SessionId>,
    pub(crate) occurred_at: Option<Timestamp>,
    pub(crate) principal: Option<EventId>,
    pub(crate) sent_by: SentBy,
    /// Salt, then payload bytes.
    pub(crate) cell: Vec<u8>,
    pub(crate) payload_digest: Digest,
}

/// A draft that cannot be prepared.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PrepareError {
    /// A field is wrong.
    #[error(transparent)]
    Invalid(#[from] InvalidField),
    /// The payload is larger than this log accepts.
    #[error(
        "the payload has {bytes} bytes, more than the {max} that this log accepts; attach it as an artifact, or raise the limit"
    )]
    TooLarge {
        /// Its size as encoded, in bytes.
        bytes: usize,
        /// The limit.
        max: usize,
    },
    /// The payload has no encoding.
    #[error("the payload {0}")]
    Encode(String),
}

impl From<EncodeError> for PrepareError {
    fn from(error: EncodeError) -> PrepareError {
        PrepareError::Encode(error.to_string())
    }
}

/// Checks, encodes, salts and digests a draft.
///
/// Creates the id of the event if it is absent. Absent ids within the event take that id, so the same event sent
/// again with the same id has the same payload.
pub(crate) fn prepare(
    draft: &mut Draft,
    principal: Option<EventId>,
    payload_bytes_max: usize,
) -> Result<Prepared, PrepareError> {
    let event_id = *draft.id.get_or_insert_with(EventId::generate);
    // The checks come after both changes: they see the event exactly as it is encoded below.
    draft.fill_ids(event_id);
    draft.drop_nulls();
    draft.check()?;
    let parts = Parts { event_id, session: draft.session.clone(), occurred_at: draft.at, principal };
    let prepared = parts.with_payload(&draft.event, salt())?;
    // Measured as encoded, because these are the bytes that the log stores.
    let bytes = prepared.cell.len() - SALT_BYTES;
    if bytes > payload_bytes_max {
        return Err(PrepareError::TooLarge { bytes, max: payload_bytes_max });
    }
    Ok(prepared)
}

/// Random bytes to stand before a payload, from a generator of this thread that the system seeds. Asking the system
/// each time costs as much as the digest.
pub(crate) fn salt() -> [u8; SALT_BYTES] {
    let mut salt = [0; SALT_BYTES];
    // A cryptographic generator: a salt that can be guessed would let others test guesses of an erased payload.
    rand::rng().fill_bytes(&mut salt);
    salt
}

/// The bytes of a payload, without the salt before them.
pub(crate) fn without_salt(cell: &[u8]) -> Option<&[u8]> {
    cell.get(SALT_BYTES..)
}

/// The parts of an event apart from its payload.
pub(crate) struct Parts {
    pub(crate) event_id: EventId,
    pub(crate) session: Option<SessionId>,
    pub(crate) occurred_at: Option<Timestamp>,
    pub(crate) principal: Option<EventId>,
}

impl Parts {
    /// Encodes and digests the payload, with the salt given.
    pub(crate) fn with_payload(self, event: &Event, salt: [u8; SALT_BYTES]) -> Result<Prepared, EncodeError> {
        let mut cell = Vec::with_capacity(CELL_BYTES_USUAL);
        cell.extend_from_slice(&salt);
        event.encode(&mut cell)?;
        Ok(Prepared {
            event_id: self.event_id,
            kind: event.kind().code(),
            kind_version: event.kind().version(),
            session: self.session,
            occurred_at: self.occurred_at,
            principal: self.principal,
            sent_by: SentBy::default(),
            payload_digest: chain::payload_digest(&cell),
            cell,
        })
    }
}

impl Prepared {
    /// Seals the event after `previous`: writes its entry over the content of `entry`, and returns its link. Creation
    /// and appending share this one function.
    pub(crate) fn seal(
        &self,
        previous: &Digest,
        seq: Seq,
        recorded_at: Timestamp,
        entry: &mut Vec<u8>,
    ) -> Result<Digest, EncodeError> {
        // A batch uses one buffer for the entries of all its events.
        entry.clear();
        EntryRef {
            format: FORMAT,
            seq: seq.get(),
            event_id: self.event_id,
            kind: self.kind,
            kind_version: self.kind_version,
            session: self.session.as_ref(),
            occurred_at: self.occurred_at,
            recorded_at,
            principal: self.principal,
            encoding: ENCODING_PLAIN,
            payload_digest: self.payload_digest,
        }
        .encode(entry)?;
        // Ids are bounded where they are made, so an entry stays within its limit.
        debug_assert!(entry.len() <= ENTRY_BYTES_MAX);
        Ok(chain::link(previous, entry))
    }
}
