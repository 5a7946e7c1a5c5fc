//! `annals serve`, as its clients find it.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test that cannot go on fails"
)]

#[path = "../support/mod.rs"]
mod support;

mod api_keys;
mod auth;
mod coding_agents;
mod events;
mod evidence;
mod keys;
mod langfuse;
mod limits;
mod load;
mod metrics;
mod otlp;
mod otlp_fixtures;
mod otlp_leniency;
mod otlp_metrics;
mod otlp_captures;
mod otlp_cases;
mod otlp_files;
mod process;
mod reads;
mod tail;
