//! A key that cosigns checkpoints in the way of a witness.

use ed25519_dalek::Signer as _;

use super::cosignature::{TIME_MAX, v1_message};
use super::key::{Algorithm, KeyError, SigningKey, VerifierKey};
use super::signature::Signature;
use super::signed_checkpoint::SignedCheckpoint;

/// A key that cosigns in the way of a witness, with Ed25519 and a time. The caller must make sure that a
/// checkpoint is consistent with all those that the key cosigned before.
#[derive(Debug)]
pub struct Cosigner {
    key: SigningKey,
    verifier: VerifierKey,
}

impl Cosigner {
    /// Makes the cosigner of a seed, as in RFC 8032. No other key may have the same seed: the signed
    /// message does not contain the name of the signer.
    ///
    /// # Errors
    /// If the name cannot be that of a key.
    pub fn from_seed(name: &str, seed: &[u8; 32]) -> Result<Cosigner, KeyError> {
        let key = SigningKey::from_seed(name, seed)?;
        let public = key.verifier().public_bytes();
        // The same point under another algorithm has another id, so it is a different key to verifiers.
        let verifier = VerifierKey::new(name, Algorithm::CosignatureV1, public)?;
        Ok(Cosigner { key, verifier })
    }

    /// The public key, which verifies this key's cosignatures.
    pub fn verifier(&self) -> &VerifierKey {
        &self.verifier
    }

    /// Cosigns a checkpoint, at a time in seconds since 1970.
    pub fn cosign(&self, checkpoint: &SignedCheckpoint, time: u64) -> Signature {
        // A later time would make a cosignature that no verifier accepts.
        let time = time.min(TIME_MAX);
        let signature = self.key.raw().sign(v1_message(time, checkpoint.text()).as_bytes());
        self.verifier.signature([time.to_be_bytes().as_slice(), &signature.to_bytes()].concat())
    }
}
