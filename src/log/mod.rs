//! The file: its schema, its connections, its rows, and turns at writing to it.

pub(crate) mod checkpoint;
pub(crate) mod create;
mod error;
pub(crate) mod generation;
mod identity;
#[cfg(target_os = "linux")]
pub(crate) mod mount;
pub(crate) mod open;
pub(crate) mod own_tables;
pub(crate) mod presence;
mod reading;
pub(crate) mod rows;
pub(crate) mod schema;
pub(crate) mod still;
pub(crate) mod turns;
mod vfs;

pub use error::OpenError;
pub use open::Durability;
pub use rows::{Head, ReadError};

pub(crate) use identity::{FileIdentity, LogFiles, Standing, WriteAhead};
