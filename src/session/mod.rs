//! Handles for instrumenting a pipeline by hand: a session, its steps, and what they record.
//!
//! A handle that is ended is consumed, so that nothing can be ended twice; one that is dropped
//! without an end records that, so that nothing stays open for ever because of an early return or a
//! panic. The times of events are the log's clock where the call was made.
//!
//! A handle sends to the writer and does not wait for it: a call takes microseconds, and blocks only
//! while the queue is full. Where an event must be on the disk before the pipeline acts on it,
//! [`Recording::commit`] waits for that, and so does [`AuditLog::flush`](crate::AuditLog::flush) for everything before.

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
