//! File systems that fail, and power that is lost. A program of its own, because the shim stands before the file
//! system of the whole process.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test that cannot go on fails"
)]

#[path = "../support/mod.rs"]
mod support;

mod calls;
mod power;
