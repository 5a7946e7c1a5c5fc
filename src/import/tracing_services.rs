//! Exports of Langfuse and LangSmith, read by the maps `langfuse.toml` and `langsmith.toml` beside this file.
//!
//! The names in the maps are those of Langfuse's API (`langfuse-python` at c3c6a09, August 2026: `Trace`,
//! `TraceWithFullDetails`, `ObservationsView`, `ObservationV2`, `ScoreV1`) and of LangSmith's (`langsmith-sdk` at bc8dd67,
//! August 2026: `Run`, `Feedback` in `schemas.py`).
//!
//! Records within records become records of their own: the observations and scores of a trace, and the child runs of a
//! run. Ids come from the ids in the file, so it does not matter which files a record comes from.

use std::io::Read;

use super::emit::Emitter;
use super::error::{ImportError, SinkError, or_bad};
use super::exported::for_each;
use super::fields::Fields;
use super::json_lines::BadLines;
use super::map::{Map, MapError, Mapper};
use super::source::{Imported, Source};
use crate::{Draft, Json};

/// Deepest nesting of child runs: each level is several levels of JSON, of which there are 128 at most.
const NESTED_MAX: usize = 128;

/// A service whose exports are read.
struct Service {
    name: &'static str,
    expected: &'static str,
    map: &'static str,
    /// Lists of records in a page of the API.
    pages: &'static [&'static str],
    /// Lists of records in a record.
    nested: &'static [&'static str],
}

const LANGFUSE: Service = Service {
    name: "langfuse",
    expected: "traces, observations or scores of Langfuse",
    map: include_str!("langfuse.toml"),
    pages: &["data"],
    nested: &["observations", "scores"],
};

const LANGSMITH: Service = Service {
    name: "langsmith",
    expected: "runs or feedback of LangSmith",
    map: include_str!("langsmith.toml"),
    pages: &["runs"],
    nested: &["child_runs"],
};

/// Reads an export of Langfuse: traces, observations and scores, as lines, lists, or pages of its API.
///
/// # Errors
/// If the file is not such an export, a record cannot become events and `bad` does not leave it out, or the sink refuses
/// a draft. Drafts from before the error were handed over.
pub fn langfuse(
    reader: impl Read,
    bad: &mut BadLines<'_>,
    sink: &mut dyn FnMut(Draft) -> Result<(), SinkError>,
) -> Result<Imported, ImportError> {
    LANGFUSE.import(reader, bad, sink)
}

/// Reads an export of LangSmith: runs and feedback, as lines, lists, or pages of its API.
///
/// # Errors
/// As [`langfuse`].
pub fn langsmith(
    reader: impl Read,
    bad: &mut BadLines<'_>,
    sink: &mut dyn FnMut(Draft) -> Result<(), SinkError>,
) -> Result<Imported, ImportError> {
    LANGSMITH.import(reader, bad, sink)
}

impl Service {
    fn map(&self) -> Result<(Map, Source), ImportError> {
        // Tests read both maps, so neither error can happen.
        let wrong = |reason: String| ImportError::WrongFile { expected: self.expected, reason };
        let map: Map = self.map.parse().map_err(|error: MapError| wrong(error.to_string()))?;
        let source = Source::new(self.name).map_err(|error| wrong(error.to_string()))?;
        Ok((map, source))
    }

    fn import(
        &self,
        reader: impl Read,
        bad: &mut BadLines<'_>,
        sink: &mut dyn FnMut(Draft) -> Result<(), SinkError>,
    ) -> Result<Imported, ImportError> {
        let (map, source) = self.map()?;
        let mut mapper = Mapper::new(&map, source);
        let mut emitter = Emitter::new(sink);
        for_each(reader, self.expected, self.pages, bad, |fields, bad| {
            self.record(fields, NESTED_MAX, &mut mapper, bad, &mut emitter)
        })?;
        Ok(emitter.imported())
    }

    /// Emits the events of a record, and of the records in it. Each of these is a record of its own, so none is left out
    /// because another one is bad.
    fn record(
        &self,
        mut fields: Fields,
        depth: usize,
        mapper: &mut Mapper<'_>,
        bad: &mut BadLines<'_>,
        emitter: &mut Emitter<'_>,
    ) -> Result<(), ImportError> {
        let mut nested = Vec::new();
        for name in self.nested {
            // Some views have a list of ids there, which stays.
            if depth > 0 && fields.see(name).is_some_and(is_list_of_objects) {
                let items = fields.take(name)?.unwrap_or_default();
                nested.extend(fields.each_object(name, items));
            }
        }
        or_bad(own_events(fields, mapper, emitter), bad)?;
        for fields in nested {
            let done =
                fields.and_then(|fields| self.record(fields, depth.saturating_sub(1), mapper, bad, emitter));
            or_bad(done, bad)?;
        }
        Ok(())
    }
}

/// Emits the events of a record without those in it.
fn own_events(fields: Fields, mapper: &mut Mapper<'_>, emitter: &mut Emitter<'_>) -> Result<(), ImportError> {
    let (place, path) = (fields.place().clone(), fields.path().to_owned());
    let malformed = |reason: String| {
        let reason = if path.is_empty() { reason } else { format!("`{path}`: {reason}") };
        ImportError::Malformed { place: place.clone(), reason }
    };
    let json = serde_json::to_string(&fields.rest()).map_err(|error| malformed(error.to_string()))?;
    let drafts = mapper.drafts(None, 0, &json).map_err(|error| malformed(error.to_string()))?;
    emitter.send_all(&place, drafts)
}

fn is_list_of_objects(json: &Json) -> bool {
    json.as_str().strip_prefix('[').is_some_and(|items| items.trim_start().starts_with('{'))
}

#[cfg(test)]
mod tests;
