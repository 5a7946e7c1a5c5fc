//! A run, or one of its attempts.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::super::document::{Path, VALUE_BYTES_MAX, is_empty_list};
use super::super::emit::{Emitter, Scope};
use super::super::error::{ImportError, Location};
use super::super::fields::{Fields, text_of};
use super::super::source::Source;
use super::super::transcript::{Author, Record, Transcript};
use super::super::turn::{Problem, json_of};
use super::calls::Calls;
use crate::{Attributes, Json, Outcome, SessionEnd, SessionEnded, SessionId, SessionStarted, Severity};

const FORMAT: &str = "swe-agent";
pub(super) const EXPECTED: &str = "a trajectory of SWE-agent";

/// The shape of a path within its attempt.
pub(super) fn inner(path: &Path) -> String {
    let shape = path.shape();
    shape.strip_prefix("attempts[].").map(str::to_owned).unwrap_or(shape)
}

/// The fields of a run and its attempts, as they are read.
#[derive(Default)]
pub(super) struct Parts {
    found: Vec<Part>,
    bytes: usize,
}

#[derive(Default)]
struct Part {
    path: Path,
    fields: BTreeMap<String, Json>,
    calls: Calls,
    /// True if it has a list of steps, if only an empty one.
    has_steps: bool,
}

/// A run whose messages and steps are being read.
pub(super) struct Run {
    pub(super) path: Path,
    pub(super) transcript: Transcript,
    pub(super) calls: Calls,
    place: Location,
    info: Option<Fields>,
    /// True once the history came to the first answer.
    is_answered: bool,
    /// True for a run that repeats the steps of one of its attempts.
    pub(super) is_repeated: bool,
}

impl Parts {
    /// Takes a field, or a message of the history.
    pub(super) fn take(&mut self, path: &Path, json: Json) -> Result<(), ImportError> {
        let shape = inner(path);
        let own = if shape == "history[]" || shape == "trajectory[]" {
            path.parent().parent()
        } else {
            path.parent()
        };
        let place = match self.found.iter().rposition(|part| part.path == own) {
            Some(place) => place,
            None => {
                self.found.push(Part { path: own, ..Default::default() });
                self.found.len().saturating_sub(1)
            }
        };
        let Some(part) = self.found.get_mut(place) else { return Ok(()) };
        match shape.as_str() {
            // Read again for its message, where an error can be left out.
            "history[]" => {
                drop(Fields::of(path.place(), "", json).and_then(|message| part.calls.take(message)))
            }
            "trajectory[]" => part.has_steps = true,
            "history" | "trajectory" | "attempts" | "attempts[]" => {
                if !is_empty_list(&json) {
                    let reason = "is not a list of objects".to_owned();
                    return Err(ImportError::Malformed { place: path.place(), reason });
                }
                part.has_steps |= shape == "trajectory";
            }
            _ => {
                self.bytes = self.bytes.saturating_add(json.as_str().len());
                if self.bytes > VALUE_BYTES_MAX {
                    let reason =
                        format!("the fields beside the steps have more than {VALUE_BYTES_MAX} bytes");
                    return Err(ImportError::Malformed { place: path.place(), reason });
                }
                part.fields.insert(path.name().to_owned(), json);
            }
        }
        Ok(())
    }

    /// The runs: that of the file first, and then its attempts.
    pub(super) fn read(self, source: &Source) -> Result<Vec<Run>, ImportError> {
        let mut found = self.found;
        found.sort_by_key(|part| part.path.depth());
        if !found.iter().any(|part| part.has_steps) {
            let reason = "it has no `trajectory`".to_owned();
            return Err(ImportError::WrongFile { expected: EXPECTED, reason });
        }
        let has_attempts = found.iter().any(|part| part.path.depth() > 0);
        if has_attempts && found.first().is_some_and(|part| part.path.depth() > 0) {
            // While the attempts are under way, the file has nothing else.
            found.insert(0, Part::default());
        }
        let mut runs: Vec<Run> = Vec::new();
        for part in found {
            let parent = runs.first().map(|run| run.transcript.scope().session.clone());
            runs.push(Run::of(part, parent, has_attempts, source)?);
        }
        Ok(runs)
    }
}

impl Run {
    fn of(
        part: Part,
        parent: Option<SessionId>,
        has_attempts: bool,
        source: &Source,
    ) -> Result<Run, ImportError> {
        let mut fields = Fields::collected(part.path.place(), part.fields);
        let id = match parent {
            Some(_) => format!("{FORMAT}/{}/attempt/{}", source.name(), part.path.index() + 1),
            None => format!("{FORMAT}/{}", source.name()),
        };
        let scope = Scope::of(part.path.place(), &id)?;
        let mut info = fields.object("info")?;
        let version = match &mut info {
            Some(info) => info.take("swe_agent_version")?,
            None => None,
        };
        let replay = fields.see("replay_config").map(Replay::of).unwrap_or_default();
        let mut labels = BTreeMap::new();
        labels.extend(replay.problem_statement.id.map(|id| ("instance_id".to_owned(), id)));
        let started = SessionStarted {
            profile: Some(FORMAT.to_owned()),
            parent_session: parent.clone(),
            agent: Some("SWE-agent".to_owned()),
            agent_version: version,
            model: replay.agent.model.name,
            source: Some(source.name().to_owned()),
            labels,
            attributes: fields.rest(),
            ..Default::default()
        };
        Ok(Run {
            place: part.path.place(),
            path: part.path,
            transcript: Transcript::new(scope, None, started),
            calls: part.calls,
            info,
            is_answered: false,
            is_repeated: has_attempts && parent.is_none(),
        })
    }

    /// Takes a message of the history. Those after the first answer are in the steps, too.
    pub(super) fn message(
        &mut self,
        mut message: Fields,
        index: usize,
        emitter: &mut Emitter<'_>,
    ) -> Result<(), ImportError> {
        let role: String = message.require("role")?;
        let is_demo = message.see("is_demo").is_some_and(|json| json.as_str() == "true");
        self.is_answered |= role == "assistant" && !is_demo;
        if self.is_answered || self.is_repeated {
            return Ok(());
        }
        let place = message.place().clone();
        let (texts, others) = message.content("content")?;
        let mut rest = message.rest();
        if !others.is_empty() {
            rest.insert("content".to_owned(), json_of(&place, "content", &others)?);
        }
        let text = (!texts.is_empty()).then(|| texts.join("\n"));
        let record = Record { place: &place, key: &format!("history/{index}"), at: None };
        match role.as_str() {
            "system" => self.transcript.add_message(&record, Author::System, text, &rest, emitter),
            "user" if !is_demo => self.transcript.add_message(&record, Author::User, text, &rest, emitter),
            // A demonstration, which is no question of this run.
            _ => {
                rest.insert("role".to_owned(), Json::text(&role));
                self.transcript.add_message(&record, Author::Environment, text, &rest, emitter)
            }
        }
    }

    /// Ends the session, if the run ended.
    pub(super) fn end(mut self, emitter: &mut Emitter<'_>) -> Result<(), ImportError> {
        let place = self.place.clone();
        let Some(mut info) = self.info.take() else { return self.transcript.begin_only(emitter) };
        let status: Option<String> = info.take("exit_status")?;
        let mut attributes = Attributes::new();
        let mut ended = SessionEnded { summary: info.take("submission")?, ..Default::default() };
        if let Some(mut stats) = info.object("model_stats")? {
            ended.tokens_input = stats.take("tokens_sent")?;
            ended.tokens_output = stats.take("tokens_received")?;
            ended.cost_usd = stats.take("instance_cost")?;
            attributes.extend(stats.rest_by_path());
        }
        attributes.extend(info.rest_by_path());
        let Some(status) = status else {
            // Without a status the run was not over when the file was written, or it was killed.
            return self.transcript.begin_only(emitter);
        };
        attributes.insert("info.exit_status".to_owned(), Json::text(&status));
        // A run that came to a limit is submitted as far as it is: `submitted (exit_cost)`.
        ended.status =
            if status.starts_with("submitted") { SessionEnd::Completed } else { SessionEnd::Failed };
        ended.attributes = attributes;
        if status != "submitted" {
            ended.error = Some(status.clone());
            let record = Record { place: &place, key: "info", at: None };
            self.transcript.raise(&record, problem(&status), emitter)?;
        }
        self.transcript.end(&place, None, ended, emitter)
    }
}

/// The finding of a run that did not submit by itself.
fn problem(status: &str) -> Problem {
    let is_limit = ["exit_cost", "exit_context", "exit_total_execution_time", "exit_command_timeout"]
        .iter()
        .any(|limit| status.contains(limit));
    Problem {
        category: if is_limit { "limit" } else { "error" },
        pattern_type: "swe_agent.exit_status",
        severity: Severity::High,
        outcome: if status.starts_with("submitted") { Outcome::Warning } else { Outcome::Fail },
        title: "The run did not end by its own submission",
        plain_english: "The agent was stopped before it said that it was done.",
        description: Some(format!("The run ended with the status `{status}`.")),
        evidence: None,
        step: None,
    }
}

/// The parts of a run's configuration that name it.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Replay {
    problem_statement: ProblemStatement,
    agent: Agent,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct ProblemStatement {
    id: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Agent {
    model: Model,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Model {
    name: Option<String>,
}

impl Replay {
    /// Reads the configuration, an object or a text with one. It has many forms, and is an attribute, too.
    fn of(json: &Json) -> Replay {
        serde_json::from_str(json.as_str())
            .or_else(|_| serde_json::from_str(&text_of(json)))
            .unwrap_or_default()
    }
}
