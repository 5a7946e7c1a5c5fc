//! From the log to tables that anyone can query.

// In reading order: each uses those before it.
pub(crate) mod fold;
pub(crate) mod tables;
pub(crate) mod schedule;
