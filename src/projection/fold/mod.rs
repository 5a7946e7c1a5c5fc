//! Folds: pure functions from events to rows. The module `tables` loads and saves the rows.

pub(in crate::projection) mod cell;
mod find;
mod pieces;
pub(crate) mod input;
mod claims;
mod said;
pub(crate) mod columns;
pub(in crate::projection) mod rows;
mod passing;
pub(in crate::projection) mod working_set;
pub(in crate::projection) mod tree;
pub(in crate::projection) mod activity;
pub(in crate::projection) mod keys;
pub(in crate::projection) mod sessions;
pub(crate) mod search;
