//! A key that cosigns checkpoints as witnesses do.

use ed25519_dalek::Signer as _;

use super::cosignature::{TIME_MAX, v1_message};
use super::key::{Algorithm, KeyError, SigningKey, VerifierKey};
use super::signature::Signature;
use super::signed_checkpoint::SignedCheckpoint;

/// A key that cosigns as witnesses do, with Ed25519 and a time. That a checkpoint is consistent with
/// every one that it cosigned before is for its owner to see to.
#[derive(Debug)]
pub struct Cosigner {
    key: SigningKey,
    verifier: VerifierKey,
}

impl Cosigner {
    /// The cosigner of a seed, as in RFC 8032. The seed must be no other key's: this signature does
    /// not say the name of who made it.
    ///
    /// # Errors
    /// If the name is none.
    pub fn from_seed(name: &str, seed: &[u8; 32]) -> Result<Cosigner, KeyError> {
        let key = SigningKey::from_seed(name, seed)?;
        let public = key.verifier().public_bytes();
        let verifier = VerifierKey::new(name, Algorithm::CosignatureV1, public)?;
        Ok(Cosigner { key, verifier })
    }

    /// The public key, by which its cosignatures are verified.
    pub fn verifier(&self) -> &VerifierKey {
        &self.verifier
    }

    /// Its cosignature on a checkpoint, at a time in seconds since 1970.
    pub fn cosign(&self, checkpoint: &SignedCheckpoint, time: u64) -> Signature {
        let time = time.min(TIME_MAX);
        let signature = self.key.raw().sign(v1_message(time, checkpoint.text()).as_bytes());
        self.verifier.signature([time.to_be_bytes().as_slice(), &signature.to_bytes()].concat())
    }
}
