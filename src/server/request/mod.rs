//! The common part of all requests: callers, bodies, and answers.

pub(super) mod body;
pub(super) mod caller;
pub(super) mod append;
pub(super) mod extract;
pub(super) mod in_place;
pub(super) mod observe;
pub(super) mod output;
mod recorded;
pub(super) mod auth;
