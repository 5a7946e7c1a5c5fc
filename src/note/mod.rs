//! Signed notes, checkpoints, cosignatures and policies, as C2SP specifies them.
//!
//! ```text
//! text ── sign ──▶ SignedNote ── parse its text ──▶ SignedCheckpoint ── CheckpointFile: one after the other
//!                     ▲                                   ▲
//!          signatures │ by the log's SigningKey           │ cosignatures of witnesses, with a time
//!                     └── VerifierKey: all three kinds ───┴── Policy: which of them are enough
//! ```
//!
//! What was parsed is well formed, and nothing more: only [`SignedNote::verify`] and
//! [`Policy::evaluate`] say that somebody stands for it.
//!
//! Specifications: <https://c2sp.org/signed-note>, <https://c2sp.org/tlog-checkpoint>,
//! <https://c2sp.org/tlog-cosignature>, <https://c2sp.org/tlog-policy>.

mod key;
mod signed;

mod checkpoint;
mod cosignature;

mod collection;
mod given;
mod key_change;

mod policy;
mod policy_verdict;

mod text;

#[cfg(test)]
mod tests;

pub use checkpoint::{Checkpoint, CheckpointError, SignedCheckpoint};
pub use collection::{CheckpointFile, CheckpointFileError, RecoveredCheckpoints};
pub use cosignature::Cosigner;
pub use given::{GivenError, NotText, as_written, given_text};
pub use key::{Algorithm, KeyError, KeyId, SigningKey, VerifierKey};
pub use key_change::{KeyChange, KeyChangeError};
pub use policy::{Policy, PolicyError, PolicyFault, PolicyLog, PolicyWitness};
pub use policy_verdict::{Cosigned, LogVerdict, Missing, PolicyVerdict};
pub use signed::{NoteError, Signature, SignatureError, SignedBy, SignedNote};
#[cfg(feature = "http")]
pub(crate) use text::decimal;
pub use text::{NameError, check_key_name};
