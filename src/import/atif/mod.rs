//! Trajectories in the Agent Trajectory Interchange Format (ATIF) of Harbor: a JSON document, `trajectory.json`.
//!
//! | in the file | as events |
//! | --- | --- |
//! | a trajectory, also one within `subagent_trajectories` | a session `atif/<session_id>` |
//! | a step of an `agent` | a step of kind llm, `step/<step_id>` |
//! | an item of `tool_calls` | a decision of type tool and a step of kind tool, both with the `tool_call_id` |
//! | an item of `observation.results` with a `source_call_id` | the end of that step |
//! | a step of a `user` or of the `system`, and one of copied context | a note |
//! | `final_metrics` | the tokens and the cost of the session's end |
//!
//! The fields are those of the specification, RFC 0001 of Harbor (`docs/rfcs/0001-trajectory-format.md`, laude-institute,
//! now harbor-framework; version 1.4, October 2025), and of the later versions up to 1.7 as the models of NVIDIA's NeMo
//! Agent Toolkit 1.7 (`nat.atif`) and NeMo Relay 0.11 (`observability::atif`) have them: `agent.tool_definitions` (1.5),
//! parts in messages (1.6), and `trajectory_id`, `subagent_trajectories`, `llm_call_count`, `is_copied_context` and
//! optional session ids (1.7).
//!
//! The fields of a trajectory have no fixed order, so the file is read twice: first for all fields but the steps, and
//! then step by step.

mod trajectory;
mod step;

#[cfg(test)]
mod tests;

use std::io::{Read, Seek};

use self::step::Step;
use self::trajectory::{EXPECTED, Header, Headers, inner};
use super::document::{Document, Path, Want};
use super::emit::{Emitter, Sink};
use super::error::{ImportError, or_bad};
use super::fields::Fields;
use super::json_lines::BadLines;
use super::source::{Imported, Source};
use super::transcript::Transcript;

/// Reads a trajectory in the Agent Trajectory Interchange Format, step by step.
///
/// The source names a trajectory that has neither a `session_id` nor a `trajectory_id`.
///
/// # Errors
/// If the file is not such a trajectory, `bad` returns an error for a step that is malformed or cannot be recorded, or
/// the sink refuses a draft. Drafts from before the error were handed over.
pub fn atif(
    reader: impl Read + Seek,
    source: &Source,
    bad: &mut BadLines<'_>,
    sink: &mut Sink<'_>,
) -> Result<Imported, ImportError> {
    let mut document = Document::new(reader, EXPECTED);
    let mut headers = Headers::default();
    document.walk(&header_route, &mut |path, json| headers.take(path, json))?;
    let headers = headers.read(source)?;

    let mut emitter = Emitter::new(sink);
    let mut reading = Reading { headers: headers.into_iter(), current: None };
    document.walk(&step_route, &mut |path, json| {
        // An empty list is handed over itself.
        if !path.is_item() {
            return Ok(());
        }
        let taken = reading.at(path, &mut emitter).and_then(|current| {
            current.take(Fields::of(path.place(), "", json)?, path.index(), &mut emitter)
        });
        or_bad(taken, bad)
    })?;
    let ended = reading.end_current(&mut emitter);
    or_bad(ended, bad)?;
    for header in reading.headers {
        or_bad(Err(header.without_steps()), bad)?;
    }
    Ok(emitter.imported())
}

fn header_route(path: &Path) -> Want {
    match inner(path).as_str() {
        "steps" | "subagent_trajectories" | "subagent_trajectories[]" => Want::Within,
        "steps[]" => Want::Nothing,
        _ => Want::Whole,
    }
}

fn step_route(path: &Path) -> Want {
    match inner(path).as_str() {
        "steps" | "subagent_trajectories" | "subagent_trajectories[]" => Want::Within,
        "steps[]" => Want::Whole,
        _ => Want::Nothing,
    }
}

/// The trajectories of a document, of which one is being read.
struct Reading {
    /// Those that were not begun, in the order of their steps.
    headers: std::vec::IntoIter<Header>,
    current: Option<Current>,
}

/// A trajectory whose steps are being read.
struct Current {
    header: Header,
    transcript: Transcript,
}

impl Current {
    fn take(&mut self, fields: Fields, index: usize, emitter: &mut Emitter<'_>) -> Result<(), ImportError> {
        Step::of(fields, index)?.emit(&self.header, &mut self.transcript, emitter)
    }
}

impl Reading {
    /// The trajectory that the step at a path belongs to. The steps of one follow one another, so the one before ends.
    fn at(&mut self, path: &Path, emitter: &mut Emitter<'_>) -> Result<&mut Current, ImportError> {
        // `steps[3]` is in the list `steps`, which is in the trajectory.
        let own = path.parent().parent();
        if self.current.as_ref().is_none_or(|current| current.header.path != own) {
            let before = self.end_current(emitter);
            let begun = self.headers.find(|header| header.path == own).map(|header| {
                let transcript = header.begin();
                Current { header, transcript }
            });
            self.current = begun;
            before?;
        }
        self.current.as_mut().ok_or_else(|| ImportError::Malformed {
            place: path.place(),
            reason: "the steps of a trajectory are in more than one list".to_owned(),
        })
    }

    fn end_current(&mut self, emitter: &mut Emitter<'_>) -> Result<(), ImportError> {
        match self.current.take() {
            Some(Current { header, transcript }) => header.end(transcript, emitter),
            None => Ok(()),
        }
    }
}
