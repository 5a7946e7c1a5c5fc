//! The handle through which a program opens a log, clones it and appends to it.

mod requests;
mod handle;
mod administer;
mod api_keys;
mod builder;

pub use administer::ProjectionError;
pub use builder::{Builder, Projections};
pub use handle::{AuditLog, CloseError};
pub use requests::{RedactionRequest, SkipRequest};
