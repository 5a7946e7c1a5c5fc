//! From the log to tables that anyone can query.

mod ahead;
pub(crate) mod apply;
mod cell;
mod claims;
mod culprit;
mod fold_activity;
mod fold_keys;
mod fold_search;
mod fold_sessions;
mod forward;
mod group;
mod place;
mod rest;
mod rows;
pub(crate) mod scratch;
mod store;
pub(crate) mod tables;
pub(crate) mod worker;
mod working_set;
