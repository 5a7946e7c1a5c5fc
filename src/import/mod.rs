//! Records that other programs made, read as drafts of events.
//!
//! Each importer reads one format and hands its drafts to a sink, in order. None of them knows the log: the sink
//! decides what happens to a draft, and how it becomes durable.
//!
//! - Ids come from the source's name and a position in it, never from content: another import of a source makes the
//!   same drafts with the same ids, and so adds nothing. A renamed file is another source, unless it is given its old
//!   name. The files of coding agents have ids of their own, for the session and its records. Their drafts have ids
//!   from these, whatever the file is called.
//! - What changes in a source, such as a status or a score, is in no event of a beginning. It is in events that are
//!   handed over as changeable: the sink gives a later state the next of the event's ids.
//! - Fields that have no place in an event go to its `attributes`; nothing is truncated, except what every decision of an answer
//!   repeats: its options and its rationale have bounds, and the event says how much is left out.
//! - Facts that a source lacks are absent. No time is invented: events of a source without times have no `at`.
//! - One record at a time is held in memory, never a whole file.

mod error;
mod fields;
mod python_json;
mod bounded;
mod json_lines;
mod document;
mod json_list;
mod source;
mod emit;
mod sqlite_file;
mod tools;
mod turn;
mod usage;
mod transcript;
mod tau_bench;
mod tree_of_thought;
mod llm;
mod claude_code;
mod codex;
mod atif;
mod inspect_ai;
mod swe_agent;
mod mini_swe_agent;
mod openhands;
#[cfg(feature = "map")]
pub mod map;
#[cfg(feature = "map")]
mod sqlite;
#[cfg(feature = "map")]
mod exported;
#[cfg(feature = "map")]
mod tracing_services;

#[cfg(test)]
mod test_support;

pub use atif::atif;
pub use claude_code::claude_code;
pub use codex::codex;
#[cfg(feature = "cli")]
pub(crate) use emit::fits;
pub use emit::{Change, Handed, Sink, later_id};
pub use error::{ImportError, Location, SinkError, SourceError};
pub use inspect_ai::inspect_ai;
pub use json_lines::BadLines;
pub use llm::llm;
pub use mini_swe_agent::mini_swe_agent;
pub use openhands::openhands;
pub use source::{Imported, Source};
#[cfg(feature = "map")]
pub use sqlite::sqlite;
pub use sqlite_file::Stop;
pub use swe_agent::swe_agent;
pub use tau_bench::tau_bench;
#[cfg(feature = "map")]
pub use tracing_services::{langfuse, langsmith};
pub use tree_of_thought::tree_of_thought;
