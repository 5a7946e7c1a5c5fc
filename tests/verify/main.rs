//! Verification of a log: what is found, and what is not taken for good.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test that cannot go on fails"
)]

#[path = "../support/mod.rs"]
mod support;

mod checkpoints;
mod coverage;
mod independent;
mod memory;
mod not_checked;
mod since;
mod tamper;
mod threads;
mod threats;
