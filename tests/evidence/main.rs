//! Checkpoints, witnesses, time stamps and proofs, and others who judge them.

#[path = "../support/mod.rs"]
mod support;

mod checkpoints;
mod independent_proofs;
mod merkle_vectors;
mod note_vectors;
mod proof_files;
mod timestamp;
mod witness;
