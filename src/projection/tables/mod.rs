//! The tables of each projection: their definition, and the loading and saving of their rows.

// In reading order: each module uses only those before it.
pub(crate) mod scratch;
mod stage;
pub(crate) mod index;
mod cursor;
mod left_out;
mod store;
mod definition;
pub(crate) mod apply;

pub(crate) use cursor::{Cursor, StoppedAt, advance, cursor, stop};
pub(crate) use definition::{
    Form, PROJECTIONS, Projection, Stored, Table, TakenBack, Throttling, find, install, stored,
};
pub(crate) use left_out::{LeftOut, NAME as LEFT_OUT, listed as left_out};
pub(crate) use stage::Stage;
pub(in crate::projection) use store::Store;
