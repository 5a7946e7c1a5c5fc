//! Signed notes, checkpoints, cosignatures and policies, as C2SP specifies them.
//!
//! ```text
//! text ── sign ──▶ SignedNote ── parse its text ──▶ SignedCheckpoint ── CheckpointFile: one after the other
//!                     ▲                                   ▲
//!          signatures │ by the log's SigningKey           │ cosignatures of witnesses, with a time
//!                     └── VerifierKey: all three kinds ───┴── Policy: which of them are enough
//! ```
//!
//! A parsed value is well formed, and nothing more. Only [`SignedNote::verify`] and [`Policy::evaluate`]
//! report whether a trusted key signed it.
//!
//! Specifications: <https://c2sp.org/signed-note>, <https://c2sp.org/tlog-checkpoint>,
//! <https://c2sp.org/tlog-cosignature>, <https://c2sp.org/tlog-policy>.

// In reading order: each uses those before it.
mod text;
mod signature;
mod checkpoint;
mod cosignature;
mod key;
mod key_change;
mod policy;
mod signed;
mod signed_checkpoint;
mod collection;
mod cosigner;
mod given;
mod policy_verdict;
mod verifying;

#[cfg(test)]
mod tests;

pub use checkpoint::{Checkpoint, CheckpointError};
pub use collection::{CheckpointFile, CheckpointFileError, RecoveredCheckpoints};
pub use cosigner::Cosigner;
#[cfg(feature = "cli")]
pub(crate) use given::given_text;
pub use given::{CheckpointReadError, NotText, as_written};
pub use key::{Algorithm, KeyError, SigningKey, VerifierKey};
pub use key_change::{KeyChange, KeyChangeError};
pub use policy::{Policy, PolicyError, PolicyFault, PolicyLog, PolicyWitness};
pub use policy_verdict::{Cosigned, LogVerdict, Missing, PolicyVerdict};
pub use signature::{KeyId, NoteError, Signature};
pub use signed::{SignatureError, SignedBy, SignedNote};
pub use signed_checkpoint::SignedCheckpoint;
#[cfg(feature = "http")]
pub(crate) use text::decimal;
pub use text::{NameError, check_key_name};
