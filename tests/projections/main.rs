//! The read tables, and what is read from them.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test that cannot go on fails"
)]

#[path = "../support/mod.rs"]
mod support;

mod erasure;
mod follow;
mod model;
mod outline;
mod pieces;
mod session_course;
mod upgrade;
