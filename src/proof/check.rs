//! The checks that a proof can fail.

use crate::encoding::DecodeError;
use crate::event::Seq;
use crate::merkle::{ConsistencyError, InclusionError};

/// The reason why a proof does not show what it claims.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ProofError {
    /// The leaf is not in the checkpoint's tree at its index.
    #[error("event {seq} is not shown to be in the log: {source}")]
    Inclusion {
        /// The event.
        seq: Seq,
        /// The fault of the inclusion proof.
        source: InclusionError,
    },
    /// The leaf is shorter than the link that it begins with.
    #[error("event {seq}: its leaf is shorter than a link")]
    ShortLeaf {
        /// The event.
        seq: Seq,
    },
    /// The bytes after the link are no entry.
    #[error("event {seq}: its entry {source}")]
    Entry {
        /// The event.
        seq: Seq,
        /// The fault of the encoding.
        source: DecodeError,
    },
    /// The entry has another sequence number.
    #[error("event {seq}: the entry in its place says that it is event {found}")]
    Sequence {
        /// The sequence number that belongs to the leaf's index.
        seq: Seq,
        /// The sequence number in the entry.
        found: Seq,
    },
    /// The payload is not the recorded one: its digest differs.
    #[error("event {seq}: the payload is not the one that was recorded")]
    PayloadDigest {
        /// The event.
        seq: Seq,
    },
    /// The payload is shorter than the salt that it begins with.
    #[error("event {seq}: its payload is shorter than a salt")]
    ShortPayload {
        /// The event.
        seq: Seq,
    },
    /// The payload cannot be decoded as one of its kind.
    #[error("event {seq}: its payload {source}")]
    Payload {
        /// The event.
        seq: Seq,
        /// The fault of the encoding.
        source: DecodeError,
    },
    /// Events are out of order, or one stands twice.
    #[error("event {seq} does not come after the event that stands before it in the proof")]
    Order {
        /// The event.
        seq: Seq,
    },
    /// An event is of another session.
    #[error("event {seq} is not of session `{session}`")]
    Session {
        /// The event.
        seq: Seq,
        /// The session of the proof.
        session: String,
    },
    /// An event of the session stands among the entries of other events.
    #[error("event {seq} is of session `{session}` and has no proof: the proof is not complete")]
    NotComplete {
        /// The event.
        seq: Seq,
        /// The session.
        session: String,
    },
    /// The entry of an event of another session is missing.
    #[error(
        "the entry of event {seq} is missing, so it may be an event of the session: the proof is not complete"
    )]
    BetweenMissing {
        /// The event.
        seq: Seq,
    },
    /// Entries are left over after the last event of the session.
    #[error("there are more entries than events between the first and the last of the session")]
    BetweenLeft,
    /// The entries in between do not lead to the event.
    #[error("event {seq} does not follow from the entries before it: they are not those of the log")]
    Link {
        /// The event.
        seq: Seq,
    },
    /// The older checkpoint has another size than the proof is about.
    #[error("the proof is about the older size {expected}, and not about {found}")]
    OldSize {
        /// The older size of the proof.
        expected: u64,
        /// The size of the checkpoint.
        found: u64,
    },
    /// The checkpoints are of different logs.
    #[error("the older checkpoint is of the log `{old}`, and the proof of `{new}`")]
    Origin {
        /// The origin of the older checkpoint.
        old: String,
        /// The origin of the proof's checkpoint.
        new: String,
    },
    /// The newer tree is not shown to begin with the older one.
    #[error("the proof does not show that the newer log begins with the older one: {0}")]
    Consistency(ConsistencyError),
}

impl ProofError {
    /// The name of the check that failed, as the format specifies it and other verifiers report it.
    pub fn check(&self) -> &'static str {
        match self {
            ProofError::Inclusion { .. } => "inclusion",
            ProofError::ShortLeaf { .. } | ProofError::Entry { .. } => "entry",
            ProofError::Sequence { .. } | ProofError::Order { .. } => "sequence",
            ProofError::PayloadDigest { .. } => "payload-digest",
            ProofError::ShortPayload { .. } | ProofError::Payload { .. } => "payload",
            ProofError::Session { .. } | ProofError::NotComplete { .. } => "session",
            ProofError::BetweenMissing { .. } | ProofError::BetweenLeft => "between",
            ProofError::Link { .. } => "link",
            ProofError::Origin { .. } => "checkpoint-origin",
            ProofError::OldSize { .. } | ProofError::Consistency(_) => "consistency",
        }
    }

    /// The event at which the check failed, if it is about one event.
    pub fn seq(&self) -> Option<Seq> {
        match self {
            ProofError::Inclusion { seq, .. }
            | ProofError::ShortLeaf { seq }
            | ProofError::Entry { seq, .. }
            | ProofError::Sequence { seq, .. }
            | ProofError::PayloadDigest { seq }
            | ProofError::ShortPayload { seq }
            | ProofError::Payload { seq, .. }
            | ProofError::Order { seq }
            | ProofError::Session { seq, .. }
            | ProofError::NotComplete { seq, .. }
            | ProofError::BetweenMissing { seq }
            | ProofError::Link { seq } => Some(*seq),
            ProofError::BetweenLeft
            | ProofError::OldSize { .. }
            | ProofError::Origin { .. }
            | ProofError::Consistency(_) => None,
        }
    }
}
