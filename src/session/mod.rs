//! Handles for instrumenting a pipeline by hand: a session, its steps, and what they record.
//!
//! Ending a handle consumes it, so that it cannot be ended twice. Dropping a handle without ending it records
//! that it was dropped. So no session or step stays open after an early return or a panic. The time of an
//! event is the time of the call, by the log's clock.
//!
//! A handle sends to the writer and does not wait for it: a call takes microseconds, and blocks only while
//! the queue is full. [`Recording::commit`] waits until an event is committed, for an event that must be on
//! the disk before the pipeline acts on it. [`AuditLog::flush`](crate::AuditLog::flush) waits for all events
//! that were sent before.

mod build;
mod scope;
mod recording;
mod step;
mod handle;
mod coverage;
mod decision;
mod finding;
mod observation;
mod policy;
mod review;

pub use handle::{Session, SessionBuilder, SessionEnding};
pub use recording::Recording;
pub use step::{Step, StepBuilder, StepEnding};
