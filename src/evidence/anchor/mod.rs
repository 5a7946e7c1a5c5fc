//! Anchors: places for checkpoints, out of reach of those who can write the log.

mod contract;
mod command;
mod file;
mod health;
mod deliver;
#[cfg(feature = "http")]
pub mod http;
mod sqlite;
#[cfg(feature = "http")]
pub mod token;
#[cfg(feature = "http")]
pub mod timestamp;
#[cfg(feature = "http")]
pub mod witness;

pub use command::CommandAnchor;
pub use contract::{Anchor, AnchorAnswer, AnchorError, Consistency};
pub(crate) use deliver::Deliverer;
pub use file::FileAnchor;
pub use health::AnchorHealth;
pub use sqlite::SqliteAnchor;
