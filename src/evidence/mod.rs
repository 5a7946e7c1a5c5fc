//! Evidence that outlives the file: the log's Merkle tree, the checkpoints signed over it, and the anchors
//! that keep checkpoints out of reach of those who can write the log.
//!
//! ```text
//! log ─▶ tree (tiles) ─▶ signer ─▶ keys: last signed ─▶ checkpoints ─▶ anchors ─▶ cosignatures, receipts
//!        full tiles      what is on the disk,           in the file    a thread each
//!                        never a contradiction
//! ```
//!
//! Appending needs nothing from here, and verification trusts nothing here. This module makes the evidence that
//! others compare with the log.

mod home;
mod keys;
mod stored;
mod tree;
mod signer;
mod anchor;
mod settings;
mod status;
mod worker;

pub use anchor::{
    Anchor, AnchorAnswer, AnchorError, AnchorHealth, CommandAnchor, Consistency, FileAnchor, SqliteAnchor,
};
#[cfg(feature = "http")]
pub use anchor::{http, timestamp, token, witness};
pub use home::{HOME_VARIABLE, Home};
#[cfg(feature = "cli")]
pub(crate) use keys::replace_file;
pub use keys::{Epochs, KeyFolder, KeyFolderError, LockedKeys, PublicKeys};
pub use settings::{Evidence, Signing};
pub use signer::{KeyChangeRequest, SignError};
pub use status::{AnchorReceipt, AnchorStatus, Status};
pub use tree::TreeError;

pub(crate) use status::{each_receipt, status};
pub(crate) use stored::{newest, origin_of};
pub(crate) use tree::{TreeReader, forget, hashes_column, stored_tile};
pub(crate) use worker::{Order, SharedState, Worker, anchors, last_error};
