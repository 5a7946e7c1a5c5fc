//! Requests to a log that name the author of a decision and the reason. An event records both.

use crate::event::Seq;

/// A request to erase payloads, for [`AuditLog::redact`](crate::AuditLog::redact).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RedactionRequest {
    /// The events whose payloads are erased, in any order.
    pub seqs: Vec<Seq>,
    /// The person or program that decided it.
    pub actor: String,
    /// The reason, in the actor's own words.
    pub reason: String,
    /// The rule or order that the actor follows, such as an article of a law.
    pub authority: Option<String>,
}

/// A request to skip the failing event of a stopped projection, for [`AuditLog::skip`](crate::AuditLog::skip).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SkipRequest {
    /// The name of the projection.
    pub projection: String,
    /// The person or program that decided it.
    pub actor: String,
    /// The reason, in the actor's own words.
    pub reason: String,
}
