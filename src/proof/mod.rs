//! Proof files. They show somebody without the log that an event, or the events of a session, are in the log, or that
//! the log still begins with what it was. `docs/format.md`, section 12, specifies them.
//!
//! ```text
//! bytes ── parse ──▶ EntryProof         ── check ──▶ CheckedEvent      the content of the event
//!                    SessionProof       ── check ──▶ CheckedSession
//!                    ConsistencyProof   ── check ──▶ nothing changed
//!                         │
//!                         └─ its checkpoint: its `verify` reports who signed it
//! ```
//!
//! A parsed proof is well formed, and nothing more. A checked proof follows from the checkpoint in the file. It is as
//! trustworthy as the keys that signed that checkpoint.

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
