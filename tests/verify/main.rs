//! Verification of a log: what is found, and what is not taken for good.

#[path = "../support/mod.rs"]
mod support;

mod checkpoints;
mod independent;
mod memory;
mod not_checked;
mod since;
mod tamper;
mod threads;
mod threats;
