//! Maps: descriptions, in TOML, of the events that records of any program become.
//!
//! ```text
//! TOML ─ spec ─▶ check ─▶ plan
//!                          │
//! record ─ value ─▶ conditions ─▶ paths ─▶ converted values ─▶ event in JSON ─ parse_draft ─▶ drafts
//!                                   └────▶ what no path took ─▶ attributes ─┘
//! ```
//!
//! A map is checked before anything is read: its fields, its paths (JSONPath, RFC 9535, by the crate `jsonpath-rust`),
//! and the fields of the events that it makes. Events are built by the parser that `annals record` uses, so the same
//! checks apply. Ids come from the source's name and the record's position or key. Nothing of a record is dropped: the
//! parts that no path took are attributes of an event. `docs/mapping.md` is the reference.
//!
//! ```
//! use annals::import::Source;
//! use annals::import::map::{Map, Mapper};
//!
//! let map: Map = r#"
//!     [[event]]
//!     type = "note.logged"
//!     fields.message = "$.text"
//!     fields.at = { path = "$.ts", time = "ms" }
//! "#.parse()?;
//! let mut mapper = Mapper::new(&map, Source::new("chat")?);
//! let drafts = mapper.drafts(None, 1, r#"{"ts": 1795176000000, "text": "hello", "room": 7}"#)?;
//! assert_eq!(drafts[0].at, "2026-11-20T12:00:00Z".parse().ok());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod value;
mod path;
mod time;
mod error;
mod spec;
mod plan;
mod check;
mod parse;
mod convert;
mod rest;
mod record;

#[cfg(test)]
mod tests;

pub use error::{MapError, RecordError};
pub use parse::MAP_BYTES_MAX;
pub use plan::{Map, Query};
pub use record::{FIRSTS_MAX, Mapper, RECORD_EVENTS_MAX};
