//! Checkpoints, witnesses, time stamps and proofs, and others who judge them.

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
mod independent_proofs;
mod merkle_vectors;
mod note_vectors;
mod proof_files;
mod timestamp;
mod witness;
