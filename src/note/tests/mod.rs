//! The rules of notes and checkpoints, one by one. Vectors of other projects are in
//! `tests/evidence/note_vectors.rs`.

mod files;
mod keys;
mod notes;
mod policies;
mod vectors;

use super::{Checkpoint, Cosigner, SignedCheckpoint, SigningKey};

pub(super) const ORIGIN: &str = "example.com/log";

/// The key with a number, the same in every run.
pub(super) fn key(name: &str, number: u8) -> SigningKey {
    SigningKey::from_seed(name, &[number; 32]).unwrap()
}

/// The witness with a number, the same in every run.
pub(super) fn witness(number: u8) -> Cosigner {
    Cosigner::from_seed(&format!("witness.example/w{number}"), &[100 + number; 32]).unwrap()
}

/// A checkpoint of [`ORIGIN`], signed by its key 1.
pub(super) fn checkpoint(size: u64) -> SignedCheckpoint {
    let root = [u8::try_from(size % 251).unwrap(); 32];
    let mut checkpoint = SignedCheckpoint::unsigned(
        Checkpoint::new(ORIGIN, size, crate::merkle::NodeHash::from_bytes(root)).unwrap(),
    );
    checkpoint.sign(&key(ORIGIN, 1));
    checkpoint
}
