//! Programs that send or record: the client, the tracing layer, and released instrumented programs.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test that cannot go on fails"
)]

#[path = "../support/mod.rs"]
mod support;

mod deliver;
mod released;
mod serve;
mod spool;
mod tracing_layer;
