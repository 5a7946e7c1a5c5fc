//! `annals serve`, as its clients find it.

#[path = "../support/mod.rs"]
mod support;

mod api_keys;
mod auth;
mod events;
mod evidence;
mod keys;
mod limits;
mod load;
mod metrics;
mod otlp;
mod otlp_fixtures;
mod process;
mod reads;
mod tail;
