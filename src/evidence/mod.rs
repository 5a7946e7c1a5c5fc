//! What convinces somebody who trusts neither the log's machine nor its owner.

#[cfg(feature = "http")]
pub mod anchor;
