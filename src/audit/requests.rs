//! Requests of people to a log: they name who decided, and why, for the event that records it.

use crate::event::Seq;

/// The payloads to erase with [`AuditLog::redact`](crate::AuditLog::redact).
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

/// The stopped projection that goes on without its failing event, with [`AuditLog::skip`](crate::AuditLog::skip).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SkipRequest {
    /// The name of the projection.
    pub projection: String,
    /// The person or program that decided it.
    pub actor: String,
    /// The reason, in the actor's own words.
    pub reason: String,
}
