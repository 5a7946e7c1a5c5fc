//! The tables of each projection, and how rows get into them and out of them.

// In reading order: each uses those before it.
pub(crate) mod scratch;
mod stage;
pub(crate) mod index;
mod cursor;
mod store;
mod definition;
pub(crate) mod apply;

pub(crate) use cursor::{Cursor, StoppedAt, advance, cursor, stop};
pub(crate) use definition::{
    Form, PROJECTIONS, Pace, Projection, Table, TakenBack, documents, find, install,
};
pub(crate) use stage::Stage;
pub(in crate::projection) use store::Store;
