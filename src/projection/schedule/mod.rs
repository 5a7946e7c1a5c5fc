//! When events are folded, and by which thread.

mod ahead;
mod group;
mod place;
mod rest;
pub(crate) mod worker;
mod culprit;
mod forward;
