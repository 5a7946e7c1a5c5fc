//! When events are folded, and by which thread.

mod ahead;
mod culprit;
mod forward;
mod group;
mod place;
mod rest;
pub(crate) mod worker;
