//! OTLP's requests as events. The log gets traces and logs as they were received.
//!
//! ```text
//! protobuf ─ wire ─▶ written as OTLP's JSON ─▶ otel.span, otel.log: session, id, time ─▶ drafts
//! JSON ─────────────▶ kept as it was sent   ─▶                                        ─▶ rejected items, with reasons
//! ```
//!
//! The folds work out the meaning of these events: see [`crate::otel`]. Of metrics, each data point becomes one
//! `metric.recorded` at once.
//!
//! ```
//! use annals::otlp::{self, Attempt, Bounds, Form, Signal};
//!
//! let body = br#"{"resourceSpans": [{"scopeSpans": [{"spans": [{
//!     "traceId": "5b8efff798038103d269b633813fc60c", "spanId": "eee19b7ec3c1b174", "name": "chat"
//! }]}]}]}"#;
//! let request = otlp::read(body, Signal::Traces, Form::Json, Bounds::default(), Attempt::default())?;
//! assert_eq!(request.items[0].draft.event.kind().name(), "otel.span");
//! # Ok::<(), otlp::Unreadable>(())
//! ```

mod wire;
mod protobuf;
mod ids;
mod conversation;
mod reading;
mod points;
mod json_points;
mod names;
mod json;
mod request;
mod rounds;
pub mod file;

#[cfg(test)]
mod marker_tests;
#[cfg(test)]
mod tests;

pub use ids::Attempt;
pub use reading::{Bounds, Item, Rejected, Request, Signal, Unreadable};
pub use request::{Form, read};
pub(crate) use request::{Names, names_of_metrics};
pub(crate) use rounds::Round;
