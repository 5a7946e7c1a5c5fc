//! The source of an import, and the counts of an import.

use std::path::Path;

use super::error::SourceError;
use crate::{Event, SessionId};

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

    /// A source with the name of its file, without the ending.
    ///
    /// # Errors
    /// If the path has no file name, or one that [`Source::new`] refuses.
    pub fn of_path(path: &Path) -> Result<Source, SourceError> {
        // A name that is not UTF-8 cannot be part of an id.
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

/// Counts of the events that an import handed to its sink.
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

impl Imported {
    pub(super) fn count(&mut self, event: &Event) {
        let counter = match event {
            Event::SessionStarted(_) => Some(&mut self.sessions),
            Event::StepStarted(_) => Some(&mut self.steps),
            Event::DecisionMade(_) => Some(&mut self.decisions),
            Event::FindingRaised(_) => Some(&mut self.findings),
            _ => None,
        };
        if let Some(counter) = counter {
            *counter += 1;
        }
        self.events += 1;
    }
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
