//! Events as they are recorded: their kinds, payloads, ids and JSON form.
//!
//! Everything here is pure: no SQLite and no threads. Only functions named `generate` and `now` read the
//! clock.

mod id;
mod json_text;
mod words;
mod payload;
mod kind;
mod earlier;
mod draft;
mod check;
mod recorded;
mod json;

#[cfg(test)]
mod tests;

#[cfg(test)]
pub(crate) use earlier::encode as encode_earlier;

pub use check::{FieldProblem, InvalidField};
pub use draft::Draft;
pub use id::{
    DecisionId, Digest, EventId, FindingId, IdError, ParseError, ReviewId, Seq, SessionId, StepId, Timestamp,
};
#[cfg(feature = "server")]
pub(crate) use json::Fields;
#[cfg(any(test, feature = "client"))]
pub(crate) use json::write_event;
pub use json::{JsonEventError, parse_draft};
pub use json_text::{Attributes, Json, JsonTextError};
pub(crate) use kind::Strictness;
pub use kind::{Event, Kind, PayloadError, is_reserved, kind_name};
pub use payload::{
    ActionRecorded, Actor, ApiKeyCreated, ApiKeyRevoked, ArtifactAttached, Changes, ConsideredOption,
    Continues, Correction, Custom, DecisionMade, EventsLost, FindingRaised, FindingUpdated, KeyChanged,
    LogCreated, MetricRecorded, NoteLogged, OtelLog, OtelSpan, PayloadRedacted, ProjectionSkipped,
    RequestContext, ReviewRecorded, SessionEnded, SessionStarted, SessionUpdated, StepEnded, StepStarted,
};
pub use recorded::{Content, Recorded};
pub use words::{
    ActionOutcome, ApiKeyScope, Basis, FindingStatus, KeyChangeCause, KeyRole, Outcome, SessionEnd,
    SessionProgress, Severity, StepEnd, StepKind, SubjectKind, Verdict,
};
