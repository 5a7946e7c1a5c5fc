//! The schedule of projections: the times at which events are folded and written, and the threads that do it.

mod ahead;
mod group;
mod progress;
mod throttle;
pub(crate) mod worker;
mod failing_event;
mod forward;
