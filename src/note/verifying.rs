//! Verification of a signature on a text, by a key.

use super::checkpoint::Checkpoint;
use super::cosignature::{TIME_MAX, subtree_message, v1_message};
use super::key::{PublicKey, VerifierKey};

/// A signature that is not by its key, or not on this text.
#[derive(Debug)]
pub(super) struct NotSigned;

impl VerifierKey {
    /// Verifies a signature that claims to be by this key ([`VerifierKey::made`]). Returns the time of the
    /// signature, if its algorithm states one.
    pub(super) fn verify(&self, text: &str, signature: &[u8]) -> Result<Option<u64>, NotSigned> {
        match self.public() {
            PublicKey::Ed25519(key) => {
                verify_ed25519(key, text.as_bytes(), signature)?;
                Ok(None)
            }
            PublicKey::CosignatureV1(_) | PublicKey::MlDsa44(_) => {
                verify_cosignature(self, text, signature).map(Some)
            }
        }
    }
}

/// Verifies strictly: no key and no signature has a second form that is accepted too.
pub(super) fn verify_ed25519(
    key: &ed25519_dalek::VerifyingKey,
    message: &[u8],
    signature: &[u8],
) -> Result<(), NotSigned> {
    let signature = ed25519_dalek::Signature::from_slice(signature).map_err(|_| NotSigned)?;
    key.verify_strict(message, &signature).map_err(|_| NotSigned)
}

/// Verifies a cosignature on the text of a note, and returns its time.
fn verify_cosignature(key: &VerifierKey, text: &str, signature: &[u8]) -> Result<u64, NotSigned> {
    // The first eight bytes are the time. It is trusted only because the signed message contains it too.
    let (time, signature) = signature.split_first_chunk().ok_or(NotSigned)?;
    let time = u64::from_be_bytes(*time);
    // Such a time cannot be part of a good cosignature, even if the signature itself holds.
    if time > TIME_MAX {
        return Err(NotSigned);
    }
    match key.public() {
        PublicKey::Ed25519(_) => return Err(NotSigned),
        PublicKey::CosignatureV1(key) => verify_ed25519(key, v1_message(time, text).as_bytes(), signature)?,
        PublicKey::MlDsa44(public) => {
            // This algorithm signs the fields of a checkpoint and not its text. So it can sign no other
            // kind of note.
            let checkpoint: Checkpoint = text.parse().map_err(|_| NotSigned)?;
            let message = subtree_message(key.name(), time, &checkpoint).ok_or(NotSigned)?;
            verify_ml_dsa_44(public.as_slice(), &message, signature)?;
        }
    }
    Ok(time)
}

/// Verifies by FIPS 204, with the empty context.
pub(super) fn verify_ml_dsa_44(public: &[u8], message: &[u8], signature: &[u8]) -> Result<(), NotSigned> {
    use ml_dsa::{EncodedVerifyingKey, MlDsa44, Signature, VerifyingKey};

    let public = EncodedVerifyingKey::<MlDsa44>::try_from(public).map_err(|_| NotSigned)?;
    let signature = Signature::<MlDsa44>::try_from(signature).map_err(|_| NotSigned)?;
    let key = VerifyingKey::<MlDsa44>::decode(&public);
    if key.verify_with_context(message, &[], &signature) { Ok(()) } else { Err(NotSigned) }
}
