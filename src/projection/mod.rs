//! Read tables: the log, folded into tables that anyone can query.

// In reading order: each module uses only those before it.
pub(crate) mod fold;
pub(crate) mod tables;
pub(crate) mod schedule;
