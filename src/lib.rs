//! Annals
pub mod chain;
mod encoding;
pub mod entry;
mod event;
pub mod import;
pub mod limits;

pub use event::*;
