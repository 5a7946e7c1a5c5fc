//! The log's file: its schema, its connections, its rows, and the write lock.
//!
//! The modules stand in reading order. The last one, `store`, is the contract that everything above relies on.

mod effect;
pub(crate) mod rows;
pub(crate) mod schema;
pub(crate) mod generation;
mod vfs;
mod error;
mod connect;
mod create;
mod identity;
mod inspect;
#[cfg(target_os = "linux")]
pub(crate) mod mount;
pub(crate) mod own_tables;
pub(crate) mod presence;
pub(crate) mod still;
mod reading;
pub(crate) mod write_lock;
pub(crate) mod checkpoint;
mod open;
mod store;

pub use error::OpenError;
pub use open::Durability;
pub use rows::{Head, ReadError};

pub(crate) use connect::{AtClose, at_close, bound_columns, keep_pages, uri};
pub(crate) use create::{First, create};
pub(crate) use effect::Effect;
pub(crate) use identity::{LogFiles, Standing, WriteAhead};
pub(crate) use inspect::resolved;
pub(crate) use open::{Claim, Writing, open_writer};
pub(crate) use reading::{Reading, open_reader, open_reading};
pub(crate) use store::{Appending, Inserted, OpenLog, StoreError};
