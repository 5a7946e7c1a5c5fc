//! Programs that send or record: the client, the tracing layer, and released instrumented programs.

#[path = "../support/mod.rs"]
mod support;

mod deliver;
mod released;
mod serve;
mod spool;
mod tracing_layer;
