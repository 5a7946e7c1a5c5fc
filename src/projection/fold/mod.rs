//! Folds: from events to rows. They are pure: rows come in and go out by the room of the tables.

pub(in crate::projection) mod cell;
mod find;
mod pieces;
pub(crate) mod input;
mod claims;
mod said;
pub(crate) mod columns;
pub(in crate::projection) mod rows;
pub(in crate::projection) mod working_set;
pub(in crate::projection) mod activity;
pub(in crate::projection) mod keys;
pub(in crate::projection) mod sessions;
pub(crate) mod search;
