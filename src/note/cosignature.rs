//! Cosignatures: what a witness signs about a checkpoint, and when.
//!
//! A cosignature of either algorithm is a time, as a `u64` in big-endian order and seconds since
//! 1970, then the signature. The time is within what is signed.

use ed25519_dalek::Signer as _;

use super::checkpoint::{Checkpoint, SignedCheckpoint};
use super::key::{Algorithm, KeyError, NotSigned, PublicKey, SigningKey, VerifierKey, verify_ed25519};
use super::signed::Signature;

/// The latest time that a cosignature can state.
const TIME_MAX: u64 = (1 << 63) - 1;

/// Verifies a cosignature on the text of a note, and says its time.
pub(super) fn verify(key: &VerifierKey, text: &str, signature: &[u8]) -> Result<u64, NotSigned> {
    let (time, signature) = signature.split_first_chunk().ok_or(NotSigned)?;
    let time = u64::from_be_bytes(*time);
    if time > TIME_MAX {
        return Err(NotSigned);
    }
    match key.public() {
        PublicKey::Ed25519(_) => return Err(NotSigned),
        PublicKey::CosignatureV1(key) => verify_ed25519(key, v1_message(time, text).as_bytes(), signature)?,
        PublicKey::MlDsa44(public) => {
            let checkpoint: Checkpoint = text.parse().map_err(|_| NotSigned)?;
            let message = subtree_message(key.name(), time, &checkpoint).ok_or(NotSigned)?;
            verify_ml_dsa_44(public.as_slice(), &message, signature)?;
        }
    }
    Ok(time)
}

/// What a cosignature of [`Algorithm::CosignatureV1`] signs.
fn v1_message(time: u64, text: &str) -> String {
    format!("cosignature/v1\ntime {time}\n{text}")
}

/// What a cosignature of [`Algorithm::MlDsa44`] signs: the `cosigned_message` of a subtree that is the
/// whole tree. None if a name is longer than its length can say.
fn subtree_message(cosigner: &str, time: u64, checkpoint: &Checkpoint) -> Option<Vec<u8>> {
    let mut message = b"subtree/v1\n\0".to_vec();
    push_short(&mut message, cosigner)?;
    message.extend(time.to_be_bytes());
    push_short(&mut message, checkpoint.origin())?;
    message.extend(0_u64.to_be_bytes());
    message.extend(checkpoint.size().to_be_bytes());
    message.extend(checkpoint.root().bytes());
    Some(message)
}

/// A text with its length before it, in one byte.
fn push_short(message: &mut Vec<u8>, text: &str) -> Option<()> {
    message.push(u8::try_from(text.len()).ok()?);
    message.extend(text.as_bytes());
    Some(())
}

/// FIPS 204, with the empty context.
pub(super) fn verify_ml_dsa_44(public: &[u8], message: &[u8], signature: &[u8]) -> Result<(), NotSigned> {
    use ml_dsa::{EncodedVerifyingKey, MlDsa44, Signature, VerifyingKey};

    let public = EncodedVerifyingKey::<MlDsa44>::try_from(public).map_err(|_| NotSigned)?;
    let signature = Signature::<MlDsa44>::try_from(signature).map_err(|_| NotSigned)?;
    let key = VerifyingKey::<MlDsa44>::decode(&public);
    if key.verify_with_context(message, &[], &signature) { Ok(()) } else { Err(NotSigned) }
}

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
        Signature::of(&self.verifier, [time.to_be_bytes().as_slice(), &signature.to_bytes()].concat())
    }
}
