//! Events as they are recorded: their kinds, payloads, ids and JSON form.
//!
//! Everything here is pure: no SQLite and no threads. Only functions named `generate` and `now` read the
//! clock.

mod id;
mod json_text;
mod words;
mod form;
mod considered;
mod payload;
mod reserved;
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
pub use considered::ConsideredOption;
pub use draft::Draft;
#[cfg(feature = "map")]
pub(crate) use form::{FieldForm, Form};
pub use id::{
    DecisionId, Digest, EventId, FindingId, IdError, ParseError, ReviewId, Seq, SessionId, StepId, Timestamp,
};
#[cfg(any(feature = "server", feature = "map"))]
pub(crate) use json::Fields;
#[cfg(feature = "map")]
pub(crate) use json::field_forms;
#[cfg(any(test, feature = "client"))]
pub(crate) use json::write_event;
pub use json::{JsonEventError, parse_draft};
#[cfg(feature = "map")]
pub(crate) use json_text::check_depth;
pub use json_text::{Attributes, Json, JsonTextError};
pub(crate) use kind::Strictness;
pub use kind::{Event, Kind, PayloadError, is_reserved, kind_name};
pub use payload::{
    ActionRecorded, Actor, ArtifactAttached, Changes, Correction, CoverageDeclared, Custom, DecisionMade,
    Delegation, FindingRaised, FindingUpdated, MetricRecorded, NoteLogged, OtelLog, OtelSpan, PolicyDecided,
    RequestContext, ReviewRecorded, SessionEnded, SessionStarted, SessionUpdated, StepEnded, StepStarted,
};
pub use recorded::{Content, Recorded};
pub use reserved::{
    ApiKeyCreated, ApiKeyRevoked, Continues, EventsLost, KeyChanged, LogCreated, PayloadRedacted,
    ProjectionSkipped,
};
pub use words::{
    ActionOutcome, ApiKeyScope, Basis, FindingStatus, KeyChangeCause, KeyRole, Outcome, PolicyEffect,
    SessionEnd, SessionProgress, Severity, StepEnd, StepKind, SubjectKind, Verdict,
};
