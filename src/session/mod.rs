//! Handles for instrumenting a pipeline by hand: a session, its steps, and what they record.
//!
//! Ending a handle consumes it, so that it cannot be ended twice. Dropping a handle without ending it
//! records that it was dropped, so that it does not stay open forever after an early return or a panic. An
//! event's time is the time of the call, by the log's clock.
//!
//! A handle sends to the writer and does not wait for it: a call takes microseconds, and blocks only while
//! the queue is full. If an event must be on the disk before the pipeline acts on it, [`Recording::commit`]
//! waits for that. [`AuditLog::flush`](crate::AuditLog::flush) waits for all events before it.

mod build;
mod scope;
mod recording;
mod step;
mod handle;
mod decision;
mod finding;
mod observation;
mod review;

pub use handle::{Session, SessionBuilder, SessionEnding};
pub use recording::Recording;
pub use step::{Step, StepBuilder, StepEnding};
