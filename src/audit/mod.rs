//! The handle: what a program opens, clones and appends through.

mod handle;
mod administer;
mod api_keys;
mod builder;

pub use administer::ProjectionError;
pub use builder::{Builder, Projections};
pub use handle::{AuditLog, CloseError};
