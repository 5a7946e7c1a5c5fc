//! File systems that fail, and power that is lost. A program of its own, because the shim stands before the file
//! system of the whole process.

#[path = "../support/mod.rs"]
mod support;

mod calls;
mod power;
