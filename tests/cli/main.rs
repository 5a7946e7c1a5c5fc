//! The program, as a person and a script use it.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test that cannot go on fails"
)]

#[path = "../support/mod.rs"]
mod support;

mod agents;
mod apikey;
mod demo;
mod diff;
mod evidence;
mod export;
mod formats;
mod growing_files;
mod hostile_text;
mod import_interrupt;
mod import_sqlite;
mod json_vectors;
mod lists;
mod mapping;
mod memory;
mod memory_hostile;
mod outputs;
mod proofs;
mod read;
mod real_traces;
mod realistic_sessions;
mod record;
mod safe_defaults;
mod sql;
mod verify;
