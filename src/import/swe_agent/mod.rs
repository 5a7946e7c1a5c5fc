//! Trajectories of SWE-agent: a JSON document for each run, `<instance id>.traj`.
//!
//! | in the file | as events |
//! | --- | --- |
//! | the run | a session `swe-agent/<source>` |
//! | an item of `attempts` | a session within it, `swe-agent/<source>/attempt/<n>` |
//! | an item of `trajectory` | a step of kind llm, `step/<n>` |
//! | its `action` | a decision of type tool and a step of kind tool, which ends with the `observation` |
//! | messages of `history` before the first answer | notes; the first one of a user is the session's input |
//! | `info` | the session's end: status, submission, tokens and cost |
//!
//! The fields are those of SWE-agent itself, as of July 2026 (1.1): `TrajectoryStep`, `HistoryItem` and `AgentInfo` in
//! `sweagent/types.py`, `get_trajectory_data` in `sweagent/agent/agents.py`, `docs/usage/trajectories.md`, and its files in
//! `tests/test_data/trajectories`. Before 1.1 a step had `messages` in the place of `query`, and before 1.0 it had
//! neither; the `state` was JSON in a text.
//!
//! A step has the text of the command; the name and the id of the tool are only in `history`. So the file is read three
//! times: for all other fields and the calls in `history`, for the messages before the first answer, and for the steps.
//! The file does not say which run it is of, so the source names the session.

mod calls;
mod run;
mod step;

#[cfg(test)]
mod tests;

use std::io::{Read, Seek};

use self::run::{EXPECTED, Parts, inner};
use super::document::{Document, Path, Want};
use super::emit::{Emitter, Sink};
use super::error::{ImportError, or_bad};
use super::fields::Fields;
use super::json_lines::BadLines;
use super::source::{Imported, Source};

/// Reads a trajectory of SWE-agent, step by step.
///
/// # Errors
/// If the file is not such a trajectory, `bad` returns an error for a record that is malformed or cannot be recorded, or
/// the sink refuses a draft. Drafts from before the error were handed over.
pub fn swe_agent(
    reader: impl Read + Seek,
    source: &Source,
    bad: &mut BadLines<'_>,
    sink: &mut Sink<'_>,
) -> Result<Imported, ImportError> {
    let mut document = Document::new(reader, EXPECTED);
    let mut parts = Parts::default();
    document.walk(&|path| parts_route(path), &mut |path, json| parts.take(path, json))?;
    let mut runs = parts.read(source)?;

    let mut emitter = Emitter::new(sink);
    document.walk(&|path| list_route(path, "history"), &mut |path, json| {
        // An empty list is handed over itself.
        if !path.is_item() {
            return Ok(());
        }
        let Some(run) = runs.iter_mut().find(|run| run.path == path.parent().parent()) else { return Ok(()) };
        let done = Fields::of(path.place(), "", json)
            .and_then(|fields| run.message(fields, path.index(), &mut emitter));
        or_bad(done, bad)
    })?;
    document.walk(&|path| list_route(path, "trajectory"), &mut |path, json| {
        // An empty list is handed over itself.
        if !path.is_item() {
            return Ok(());
        }
        let own = path.parent().parent();
        let Some(run) = runs.iter_mut().find(|run| run.path == own && !run.is_repeated) else {
            return Ok(());
        };
        let done = Fields::of(path.place(), "", json)
            .and_then(|fields| step::emit(run, fields, path.index(), &mut emitter));
        or_bad(done, bad)
    })?;
    for run in runs {
        or_bad(run.end(&mut emitter), bad)?;
    }
    Ok(emitter.imported())
}

fn parts_route(path: &Path) -> Want {
    match inner(path).as_str() {
        "attempts" | "attempts[]" | "history" | "trajectory" => Want::Within,
        // The first one shows that there are steps.
        "trajectory[]" if path.index() == 0 => Want::Region,
        "trajectory[]" => Want::Nothing,
        _ => Want::Whole,
    }
}

fn list_route(path: &Path, list: &str) -> Want {
    match inner(path).as_str() {
        "attempts" | "attempts[]" => Want::Within,
        shape if shape == list => Want::Within,
        shape if shape.strip_suffix("[]") == Some(list) => Want::Whole,
        _ => Want::Nothing,
    }
}
