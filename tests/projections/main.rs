//! The read tables, and what is read from them.

#[path = "../support/mod.rs"]
mod support;

mod follow;
mod model;
mod outline;
mod session_course;
