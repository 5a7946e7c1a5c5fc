//! The log itself: what is appended, what is on the disk, and what happens to it.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test that cannot go on fails"
)]

#[path = "../support/mod.rs"]
mod support;

mod attacks;
mod disk;
mod events_lost;
mod events_page;
mod golden;
mod guards;
mod handles;
mod kill;
mod one_file;
mod open_errors;
mod processes;
mod queue;
mod replaced_file;
mod seeds;
