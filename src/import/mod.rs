//! Records that other programs made, read as drafts of events.
//!
//! Each importer reads one format and hands its drafts to a sink, in order. None of them knows the
//! log: what becomes of a draft, and how it is made durable, is the sink's affair.
//!
//! - Ids come from the source's name and a position in it, never from content: to import a source
//!   again makes the same drafts with the same ids, and so adds nothing. A renamed file is another
//!   source, unless it is given its old name.
//! - Fields that have no place in an event go to its `attributes`; nothing is truncated.
//! - What a source does not say is absent. No time is invented: events of a source without times
//!   have no `at`.
//! - One record at a time is held in memory, never a whole file.

mod emit;
mod error;
mod json_list;
mod llm;
mod tau_bench;
mod tree_of_thought;

#[cfg(test)]
mod test_support;

use std::path::Path;

pub use error::{ImportError, Place, SinkError, SourceError};
pub use llm::llm;
pub use tau_bench::tau_bench;
pub use tree_of_thought::tree_of_thought;

use crate::SessionId;

/// The name of a source: part of the id of every session that comes from it.
///
/// ```
/// use annals::import::Source;
///
/// let source = Source::of_path("runs/airline.json".as_ref())?;
/// assert_eq!(source.name(), "airline");
/// # Ok::<(), annals::import::SourceError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    name: String,
}

impl Source {
    /// A source with this name.
    ///
    /// # Errors
    /// If it is empty, longer than a session's id may be, or has control characters or a slash.
    pub fn new(name: impl Into<String>) -> Result<Source, SourceError> {
        let name = name.into();
        if let Err(reason) = SessionId::new(name.as_str()) {
            return Err(SourceError::Name { name, reason });
        }
        // Ids are `<format>/<source>/<position>`: the second slash must end the name.
        if name.contains('/') {
            return Err(SourceError::Slash(name));
        }
        Ok(Source { name })
    }

    /// A source named as its file is, without the ending.
    ///
    /// # Errors
    /// If the path has no such name, or one that [`Source::new`] refuses.
    pub fn of_path(path: &Path) -> Result<Source, SourceError> {
        match path.file_stem().and_then(|stem| stem.to_str()) {
            Some(name) => Source::new(name),
            None => Err(SourceError::Path(path.to_owned())),
        }
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }
}

/// What an import handed to its sink.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Imported {
    /// Sessions begun.
    pub sessions: u64,
    /// Steps begun.
    pub steps: u64,
    /// Decisions.
    pub decisions: u64,
    /// Findings.
    pub findings: u64,
    /// Events of every kind.
    pub events: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_source_is_named_as_its_file_without_the_ending() {
        assert_eq!(Source::of_path("a/b/logs.v2.db".as_ref()).unwrap().name(), "logs.v2");
        assert!(matches!(Source::of_path("..".as_ref()), Err(SourceError::Path(_))));
    }

    #[test]
    fn a_name_that_cannot_be_part_of_an_id_is_refused() {
        assert!(matches!(Source::new("a/b"), Err(SourceError::Slash(_))));
        for name in ["", "a\nb", "x".repeat(129).as_str()] {
            assert!(matches!(Source::new(name), Err(SourceError::Name { .. })), "{name:?}");
        }
    }
}
