//! Annals
pub mod chain;
mod encoding;
pub mod entry;
mod event;
pub mod limits;

pub use event::*;
