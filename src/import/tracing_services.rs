//! Exports of Langfuse and LangSmith, read by the maps `langfuse.toml` and `langsmith.toml` beside this file.
//!
//! The names in the maps are those of Langfuse's API (`langfuse-python` at c3c6a09, August 2026: `Trace`,
//! `TraceWithFullDetails`, `ObservationsView`, `ObservationV2`, `ScoreV1`) and of LangSmith's (`langsmith-sdk` at bc8dd67,
//! August 2026: `Run`, `Feedback` in `schemas.py`).
//!
//! Records within records become records of their own: the observations and scores of a trace, and the child runs of a
//! run. Ids come from the ids in the file, so it does not matter which files a record comes from.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::io::Read;

use super::emit::{Change, Emitter, Sink};
use super::error::{ImportError, or_bad};
use super::exported::for_each;
use super::fields::Fields;
use super::json_lines::BadLines;
use super::map::{Map, MapError, Mapper};
use super::source::{Imported, Source};
use crate::{DecisionId, Draft, Event, EventId, Json, SessionId, StepId};

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
    sink: &mut Sink<'_>,
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
    sink: &mut Sink<'_>,
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
        sink: &mut Sink<'_>,
    ) -> Result<Imported, ImportError> {
        let (map, source) = self.map()?;
        let mut emitter = Emitter::new(sink);
        let mut records =
            Records { mapper: Mapper::new(&map, source), change: map.change(), calls: Calls::default() };
        for_each(reader, self.expected, self.pages, bad, |fields, bad| {
            self.record(fields, NESTED_MAX, &mut records, bad, &mut emitter)
        })?;
        Ok(emitter.imported())
    }

    /// Emits the events of a record, and of the records in it. Each of these is a record of its own, so none is left out
    /// because another one is bad.
    fn record(
        &self,
        mut fields: Fields,
        depth: usize,
        records: &mut Records<'_>,
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
        or_bad(records.take(fields, emitter), bad)?;
        for fields in nested {
            let done =
                fields.and_then(|fields| self.record(fields, depth.saturating_sub(1), records, bad, emitter));
            or_bad(done, bad)?;
        }
        Ok(())
    }
}

/// The records of a file, on their way to the emitter.
struct Records<'m> {
    mapper: Mapper<'m>,
    change: Change,
    calls: Calls,
}

impl Records<'_> {
    /// Emits the events of a record without those of the records in it.
    fn take(&mut self, fields: Fields, emitter: &mut Emitter<'_>) -> Result<(), ImportError> {
        let (place, path) = (fields.place().clone(), fields.path().to_owned());
        let malformed = |reason: String| {
            let reason = if path.is_empty() { reason } else { format!("`{path}`: {reason}") };
            ImportError::Malformed { place: place.clone(), reason }
        };
        let json = serde_json::to_string(&fields.rest()).map_err(|error| malformed(error.to_string()))?;
        let mut drafts = self.mapper.drafts(None, 0, &json).map_err(|error| malformed(error.to_string()))?;
        self.calls.name(&mut drafts);
        emitter.send_all(&place, drafts, self.change)
    }
}

/// Most calls of tools whose ids are remembered, some dozens of bytes each. A call after these has an id made of its
/// position.
const CALLS_MAX: usize = 1 << 20;

/// The calls of a file, as far as it was read: the event of the first call with an id, by session and id. A record that
/// the file has twice makes the same event, and so keeps the id.
#[derive(Default)]
struct Calls {
    first: HashMap<EventId, EventId>,
}

impl Calls {
    /// Names the decisions of a record by the ids of their calls, or by their positions where an earlier call of the
    /// session has the same id.
    fn name(&mut self, drafts: &mut [Draft]) {
        let decisions = drafts.iter_mut().filter_map(|draft| match (&mut draft.event, draft.id) {
            (Event::DecisionMade(made), Some(event)) => Some((draft.session.as_ref(), made, event)),
            _ => None,
        });
        for (index, (session, made, event)) in decisions.enumerate() {
            let session = session.map(SessionId::as_str).unwrap_or_default();
            // The length keeps the two apart, whatever is in them.
            let call = EventId::from_name(&format!("{}/{session}/{}", session.len(), made.decision));
            let is_room = self.first.len() < CALLS_MAX;
            let is_first = match self.first.entry(call) {
                Entry::Occupied(first) => *first.get() == event,
                Entry::Vacant(first) => {
                    if is_room {
                        first.insert(event);
                    }
                    is_room
                }
            };
            if is_first {
                continue;
            }
            let step = made.step.as_ref().map(StepId::as_str).unwrap_or_default();
            let position = DecisionId::new(format!("{step}/call/{index}")).unwrap_or_else(|_| event.into());
            let own = std::mem::replace(&mut made.decision, position);
            made.attributes.insert("tool_call_id".to_owned(), Json::text(own.as_str()));
        }
    }
}

fn is_list_of_objects(json: &Json) -> bool {
    json.as_str().strip_prefix('[').is_some_and(|items| items.trim_start().starts_with('{'))
}

#[cfg(test)]
mod tests;
