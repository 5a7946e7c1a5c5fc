//! The file: its schema, its connections, its rows, and turns at writing to it.

pub(crate) mod checkpoint;
pub(crate) mod create;
mod identity;
pub(crate) mod open;
pub(crate) mod rows;
pub(crate) mod schema;
pub(crate) mod turns;

pub use open::{Durability, OpenError};
pub use rows::{Head, ReadError};

pub(crate) use identity::{FileIdentity, LogFiles, Standing};
