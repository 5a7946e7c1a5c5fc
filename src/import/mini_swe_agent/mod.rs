//! Trajectories of mini-SWE-agent: a JSON document for each run, `<instance id>.traj.json`.
//!
//! | in the file | as events |
//! | --- | --- |
//! | the run | a session `mini-swe-agent/<source>` |
//! | a message of the assistant | a step of kind llm, `message/<index>` |
//! | its `tool_calls`, or else its `extra.actions` | a decision of type tool and a step of kind tool for each |
//! | the message with the result | the end of that step |
//! | all other messages | notes; the first one of a user is the session's input |
//! | `info` | the session's end: status, submission and cost |
//!
//! The fields are those of mini-SWE-agent itself, 2.4 (July 2026): `serialize` in `agents/default.py`, `models/litellm_model.py`
//! and `litellm_response_model.py`, `models/utils/actions_toolcall.py`, and `docs/usage/output_files.md`. Before 2.0
//! (`trajectory_format` `mini-swe-agent-1`), messages had only a role and a content, so there are no calls.
//!
//! `info` stands before the messages or behind them, so the file is read twice. The id of an instance is that of a task,
//! and not of a run, so the source names the session.

mod message;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::io::{Read, Seek};

use serde::Deserialize;

use self::message::Message;
use super::document::{Document, Path, VALUE_BYTES_MAX, Want, is_empty_list};
use super::emit::{Emitter, Scope, Sink};
use super::error::{ImportError, Location, or_bad};
use super::fields::Fields;
use super::json_lines::BadLines;
use super::source::{Imported, Source};
use super::transcript::{Record, Transcript};
use super::turn::Problem;
use crate::{Json, Outcome, SessionEnd, SessionEnded, SessionStarted, Severity};

const FORMAT: &str = "mini-swe-agent";
const EXPECTED: &str = "a trajectory of mini-SWE-agent";

/// Reads a trajectory of mini-SWE-agent, message by message.
///
/// # Errors
/// If the file is not such a trajectory, `bad` returns an error for a message that is malformed or cannot be recorded,
/// or the sink refuses a draft. Drafts from before the error were handed over.
pub fn mini_swe_agent(
    reader: impl Read + Seek,
    source: &Source,
    bad: &mut BadLines<'_>,
    sink: &mut Sink<'_>,
) -> Result<Imported, ImportError> {
    let mut document = Document::new(reader, EXPECTED);
    let mut fields = BTreeMap::new();
    let (mut bytes, mut has_messages) = (0_usize, false);
    let route = |path: &Path| match path.shape().as_str() {
        "messages" => Want::Within,
        // Only the first one is looked at, to know that there is one.
        "messages[]" if path.index() == 0 => Want::Region,
        "messages[]" => Want::Nothing,
        _ => Want::Whole,
    };
    document.walk(&route, &mut |path, json| {
        has_messages |= path.shape().starts_with("messages");
        bytes = bytes.saturating_add(json.as_str().len());
        if bytes > VALUE_BYTES_MAX {
            let reason = format!("the fields beside the messages have more than {VALUE_BYTES_MAX} bytes");
            return Err(ImportError::Malformed { place: path.place(), reason });
        }
        if path.shape() == "messages" && !is_empty_list(&json) {
            let reason = "is not a list".to_owned();
            return Err(ImportError::Malformed { place: path.place(), reason });
        }
        if !path.shape().starts_with("messages") {
            fields.insert(path.name().to_owned(), json);
        }
        Ok(())
    })?;
    if !has_messages || !fields.contains_key("info") {
        let reason = "it has no `info`, or no `messages`".to_owned();
        return Err(ImportError::WrongFile { expected: EXPECTED, reason });
    }
    let place = Location::Path(String::new());
    let (mut transcript, info) = begin(Fields::collected(place, fields), source)?;

    let mut emitter = Emitter::new(sink);
    let route = |path: &Path| match path.shape().as_str() {
        "messages" => Want::Within,
        "messages[]" => Want::Whole,
        _ => Want::Nothing,
    };
    document.walk(&route, &mut |path, json| {
        // An empty list is handed over itself.
        if !path.is_item() {
            return Ok(());
        }
        let taken = Fields::of(path.place(), "", json)
            .and_then(|fields| Message::of(fields, path.index()))
            .and_then(|message| message.emit(&mut transcript, &mut emitter));
        or_bad(taken, bad)
    })?;
    or_bad(end(info, transcript, &mut emitter), bad)?;
    Ok(emitter.imported())
}

fn begin(mut fields: Fields, source: &Source) -> Result<(Transcript, Fields), ImportError> {
    #[derive(Default, Deserialize)]
    #[serde(default)]
    struct Config {
        model: Model,
    }
    #[derive(Default, Deserialize)]
    #[serde(default)]
    struct Model {
        model_name: Option<String>,
    }

    let scope = Scope::of(fields.place().clone(), &format!("{FORMAT}/{}", source.name()))?;
    let mut info = fields.object("info")?.ok_or_else(|| fields.error("info", "is missing"))?;
    let version: Option<String> = info.take("mini_version")?;
    let config = info.see("config").and_then(|json| serde_json::from_str::<Config>(json.as_str()).ok());
    let instance: Option<String> = fields.take("instance_id")?;
    let started = SessionStarted {
        profile: Some(FORMAT.to_owned()),
        agent: Some("mini-SWE-agent".to_owned()),
        agent_version: version,
        model: config.and_then(|config| config.model.model_name),
        source: Some(source.name().to_owned()),
        labels: instance.map(|id| ("instance_id".to_owned(), id)).into_iter().collect(),
        attributes: fields.rest(),
        ..Default::default()
    };
    Ok((Transcript::new(scope, None, started), info))
}

/// Ends the session, if the run ended.
fn end(mut info: Fields, mut transcript: Transcript, emitter: &mut Emitter<'_>) -> Result<(), ImportError> {
    let place = info.place().clone();
    let status: Option<String> = info.take("exit_status")?;
    let Some(status) = status.filter(|status| !status.is_empty()) else {
        // The file is written after each step: the run was not over, or it was killed.
        return transcript.begin_only(emitter);
    };
    let submission: Option<String> = info.take("submission")?;
    let mut ended = SessionEnded {
        summary: submission.filter(|text| !text.is_empty()),
        status: if status == "Submitted" { SessionEnd::Completed } else { SessionEnd::Failed },
        ..Default::default()
    };
    if let Some(mut stats) = info.object("model_stats")? {
        ended.cost_usd = stats.take("instance_cost")?;
        ended.attributes.extend(stats.rest_by_path());
    }
    ended.attributes.extend(info.rest_by_path());
    ended.attributes.insert("info.exit_status".to_owned(), Json::text(&status));
    if status != "Submitted" {
        ended.error = Some(status.clone());
        let problem = Problem {
            category: if status.ends_with("Exceeded") { "limit" } else { "error" },
            pattern_type: "mini_swe_agent.exit_status",
            severity: Severity::High,
            outcome: Outcome::Fail,
            title: "The run ended without a submission",
            plain_english: "The agent was stopped before it said that it was done.",
            description: Some(format!("The run ended with the status `{status}`.")),
            evidence: None,
            step: None,
        };
        transcript.raise(&Record { place: &place, key: "info", at: None }, problem, emitter)?;
    }
    transcript.end(&place, None, ended, emitter)
}
