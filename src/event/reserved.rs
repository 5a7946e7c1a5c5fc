//! Payloads of the kinds that only Annals itself writes.
//!
//! As those of `payload.rs`, each struct is the newest version of its kind, in the order of the encoding.

use bincode::{Decode, Encode};
use serde::Serialize;

use super::id::{Digest, EventId, Seq, Timestamp};
use super::words::{ApiKeyScope, KeyChangeCause, KeyRole};
use crate::canonical::WellFormed;

/// `log.created`: the first event of every log. Its event id is the log's id.
#[derive(Clone, Debug, PartialEq, Encode, Decode, Serialize)]
pub struct LogCreated {
    /// Name that the owner gave the log, or `annals.internal/<log id>` without one: the first line of its
    /// checkpoints. 1 to 255 bytes, no space, no `+`, no control characters.
    pub origin: String,
    /// Name and version of the program that made the log.
    pub software: String,
    /// The log that this one continues, if that log was archived or restored.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub continues: Option<Continues>,
}

/// A log that another one continues, as described by its last checkpoint.
#[derive(Clone, Debug, PartialEq, Encode, Decode, Serialize)]
pub struct Continues {
    /// Name of the log in its checkpoints.
    pub origin: String,
    /// Number of its events.
    pub size: u64,
    /// The root of its Merkle tree (RFC 6962, SHA-256).
    pub root: Digest,
}

/// `events.lost`: events were refused while the log could not be written. An event that was sent again later
/// with the same id is not lost: the log has an event with this id.
#[derive(Clone, Debug, PartialEq, Encode, Decode, Serialize)]
pub struct EventsLost {
    /// Number of refused events, including those in `ids`.
    pub count: u64,
    /// Time at which the first event was refused.
    pub since: Timestamp,
    /// Reason why the log could not be written.
    pub reason: String,
    /// Ids of the refused events, at most 65,536.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub ids: Vec<EventId>,
}

/// `payload.redacted`: payloads were erased. Only such an event permits that a payload is NULL.
#[derive(Clone, Debug, PartialEq, Encode, Decode, Serialize)]
pub struct PayloadRedacted {
    /// The events whose payloads are erased, each earlier than this event.
    pub seqs: Vec<u64>,
    /// Person or program that erased them.
    pub actor: String,
    /// Reason for the erasure.
    pub reason: String,
    /// Basis of the erasure: a law, a policy, a request.
    pub authority: Option<String>,
}

impl PayloadRedacted {
    /// The events whose payloads are erased.
    pub fn seqs(&self) -> impl Iterator<Item = Seq> + '_ {
        self.seqs.iter().copied().map(Seq::new)
    }
}

/// `key.changed`: the log has a new key, which signs its checkpoints from now on.
#[derive(Clone, Debug, PartialEq, Encode, Decode, Serialize)]
pub struct KeyChanged {
    /// Role of the key among the log's keys.
    pub role: KeyRole,
    /// The new key, as a vkey.
    pub vkey: String,
    /// The key before it, as a vkey.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub previous: Option<String>,
    /// Signature of the previous key for the new one: a signed note, as in `docs/format.md`. Absent for a
    /// first key, or if the previous key was lost.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub certificate: Option<String>,
    /// Cause of the change.
    pub cause: KeyChangeCause,
    /// Person or program that made the new key.
    pub actor: String,
    /// Reason that the actor gave.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// `apikey.created`: an API key was created. Its scopes state what its holder may do. The id of the event is
/// the id of the key. It is also the principal of events that are submitted with the key.
#[derive(Clone, Debug, PartialEq, Encode, Decode, Serialize)]
pub struct ApiKeyCreated {
    /// Name of the key, for people.
    pub name: String,
    /// Scopes of the key: the operations that it allows.
    pub scopes: Vec<ApiKeyScope>,
    /// BLAKE3 of the secret, as in `docs/format.md`. A key that a client presents is compared with it.
    pub secret_hash: Digest,
    /// Time at which the key expires.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Timestamp>,
    /// Person or program that made the key.
    pub actor: String,
    /// Purpose of the key.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// `apikey.revoked`: an API key is no longer accepted.
#[derive(Clone, Debug, PartialEq, Encode, Decode, Serialize)]
pub struct ApiKeyRevoked {
    /// The key: the id of the event that created it.
    pub key: EventId,
    /// Person or program that revoked the key.
    pub actor: String,
    /// Reason for the revocation.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// `projection.skipped`: a projection goes on without an event that it cannot apply.
#[derive(Clone, Debug, PartialEq, Encode, Decode, Serialize)]
pub struct ProjectionSkipped {
    /// Name of the projection.
    pub projection: String,
    /// Version of the projection.
    pub version: u32,
    /// Sequence number of the event that is skipped.
    pub seq: u64,
    /// Person or program that decided to skip it.
    pub actor: String,
    /// Reason for the skip.
    pub reason: String,
}

/// Declares payloads without a quick check. They are always decoded, because verification needs their values,
/// and only a few events have them.
macro_rules! always_decoded {
    ($( $name:ident )*) => { $( impl WellFormed for $name {} )* };
}

always_decoded! {
    LogCreated EventsLost PayloadRedacted ProjectionSkipped KeyChanged ApiKeyCreated ApiKeyRevoked
}
