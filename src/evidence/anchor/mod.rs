//! Where checkpoints are taken so that their log cannot be rewritten unseen.
//!
//! A witness cosigns a checkpoint if it continues the one that it cosigned before; a time-stamp
//! authority says that a checkpoint existed at a time. Each is asked once: what is tried again, and
//! when, is for the caller.

pub mod http;
pub mod timestamp;
pub mod token;
pub mod witness;
