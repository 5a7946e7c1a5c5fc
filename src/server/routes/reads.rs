//! Questions to the read tables and the log.

pub(in crate::server) mod answer;
pub(in crate::server) mod log;
pub(in crate::server) mod params;
pub(in crate::server) mod events;
pub(in crate::server) mod lists;
pub(in crate::server) mod search;
pub(in crate::server) mod sessions;
