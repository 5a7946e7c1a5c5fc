//! Proof files: what shows somebody who does not have the log that an event, or the events of a
//! session, are in it, or that it still begins with what it was. `docs/format.md`, section 12,
//! specifies them.
//!
//! ```text
//! bytes ── parse ──▶ EntryProof         ── check ──▶ CheckedEvent      what the event says
//!                    SessionProof       ── check ──▶ CheckedSession
//!                    ConsistencyProof   ── check ──▶ nothing changed
//!                         │
//!                         └─ its checkpoint: who signed it is for its `verify` to say
//! ```
//!
//! What was parsed is well formed, and nothing more. What was checked follows from the checkpoint in
//! the file: it is worth what the keys are worth that signed that.

mod check;
mod lines;
mod consistency;
mod leaf;
mod entry;
mod session;
mod file;

pub use check::ProofError;
pub use consistency::ConsistencyProof;
pub use entry::EntryProof;
pub use file::{ProofFile, ProofForm};
pub use leaf::{CheckedEvent, LeafProof};
pub use lines::{ProofFileError, ProofFileFault};
pub use session::{CheckedSession, Extent, SessionProof};
