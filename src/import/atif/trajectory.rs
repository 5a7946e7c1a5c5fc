//! The fields of a trajectory beside its steps.

use std::collections::BTreeMap;

use super::super::document::{Path, VALUE_BYTES_MAX, is_empty_list};
use super::super::emit::{Emitter, Scope};
use super::super::error::{ImportError, Location};
use super::super::fields::Fields;
use super::super::source::Source;
use super::super::tools::{self, Offered};
use super::super::transcript::Transcript;
use crate::{Attributes, Json, SessionEnd, SessionEnded, SessionId, SessionStarted};

const FORMAT: &str = "atif";
pub(super) const EXPECTED: &str = "a trajectory in the Agent Trajectory Interchange Format";

/// Versions that are read: later ones with the same first number only add fields.
const VERSIONS: &str = "ATIF-v1.";

/// The shape of a path within its trajectory.
pub(super) fn inner(path: &Path) -> String {
    let mut shape = path.shape();
    while let Some(inner) = shape.strip_prefix("subagent_trajectories[].") {
        shape = inner.to_owned();
    }
    shape
}

/// The fields of all trajectories of a document, as they are read.
#[derive(Default)]
pub(super) struct Headers {
    found: Vec<(Path, BTreeMap<String, Json>)>,
    bytes: usize,
}

/// A trajectory without its steps.
pub(super) struct Header {
    pub(super) path: Path,
    /// The model of steps that name none.
    pub(super) model: Option<String>,
    scope: Scope,
    started: SessionStarted,
    offered: Offered,
    ended: SessionEnded,
}

impl Headers {
    /// Takes a field.
    pub(super) fn take(&mut self, path: &Path, json: Json) -> Result<(), ImportError> {
        // All of them are in memory until the end.
        self.bytes = self.bytes.saturating_add(json.as_str().len()).saturating_add(path.name().len());
        if self.bytes > VALUE_BYTES_MAX {
            let reason = format!("the fields beside the steps have more than {VALUE_BYTES_MAX} bytes");
            return Err(ImportError::Malformed { place: path.place(), reason });
        }
        if matches!(inner(path).as_str(), "steps" | "subagent_trajectories" | "subagent_trajectories[]") {
            let reason = "is not a list of objects".to_owned();
            return match is_empty_list(&json) {
                true => Ok(()),
                false => Err(ImportError::Malformed { place: path.place(), reason }),
            };
        }
        let own = path.parent();
        match self.found.iter_mut().rfind(|(path, _)| *path == own) {
            Some((_, fields)) => {
                fields.insert(path.name().to_owned(), json);
            }
            None => self.found.push((own, BTreeMap::from([(path.name().to_owned(), json)]))),
        }
        Ok(())
    }

    /// The trajectories, each before those within it.
    pub(super) fn read(self, source: &Source) -> Result<Vec<Header>, ImportError> {
        let mut found = self.found;
        // A trajectory stands before those within it, whatever the order of its fields.
        found.sort_by_key(|(path, _)| path.depth());
        if found.first().is_none_or(|(path, _)| *path != Path::default()) {
            return Err(wrong("it has no field `schema_version`".to_owned()));
        }
        let mut headers: Vec<Header> = Vec::new();
        for (path, fields) in found {
            // Within `subagent_trajectories[2]` are two more keys than in the trajectory around it.
            let around = path.parent().parent();
            let parent = headers.iter().find(|header| header.path == around && path != around);
            let parent = parent.map(|parent| parent.scope.session.clone());
            let header = Header::of(path, fields, parent, source)?;
            if headers.iter().any(|other| other.scope.session == header.scope.session) {
                return Err(ImportError::Repeated {
                    place: header.scope.place,
                    session: header.scope.session.to_string(),
                });
            }
            headers.push(header);
        }
        Ok(headers)
    }
}

fn wrong(reason: String) -> ImportError {
    ImportError::WrongFile { expected: EXPECTED, reason }
}

impl Header {
    fn of(
        path: Path,
        fields: BTreeMap<String, Json>,
        parent: Option<SessionId>,
        source: &Source,
    ) -> Result<Header, ImportError> {
        let mut fields = Fields::collected(path.place(), fields);
        let version: Option<String> = fields.take("schema_version")?;
        match version {
            Some(version) if version.starts_with(VERSIONS) => {
                fields.put("schema_version", Json::text(&version));
            }
            Some(version) => return Err(wrong(format!("its version is {version}; {VERSIONS}x can be read"))),
            // The specification asks for it in the outermost trajectory; some programs leave it out within.
            None if parent.is_some() => {}
            None => return Err(wrong("it has no field `schema_version`".to_owned())),
        }
        let session: Option<String> = fields.take("session_id")?;
        let trajectory: Option<String> = fields.take("trajectory_id")?;
        let id = match (&session, &trajectory) {
            // Trajectories of one run may have the same session id.
            (Some(session), Some(trajectory)) if session != trajectory => {
                format!("{FORMAT}/{session}/{trajectory}")
            }
            (Some(id), _) | (None, Some(id)) => format!("{FORMAT}/{id}"),
            (None, None) if path == Path::default() => format!("{FORMAT}/{}", source.name()),
            (None, None) => format!("{FORMAT}/{}/{path}", source.name()),
        };
        let scope = Scope::of(path.place(), &id)?;
        let mut agent = fields.object("agent")?.ok_or_else(|| fields.error("agent", "is missing"))?;
        let name: String = agent.require("name")?;
        let version: Option<String> = agent.take("version")?;
        let model: Option<String> = agent.take("model_name")?;
        let offered = agent.see("tool_definitions").map(tools::offered).unwrap_or_default();

        let mut attributes = Attributes::new();
        attributes.extend(trajectory.map(|id| ("trajectory_id".to_owned(), Json::text(&id))));
        let ended = ended(&mut fields)?;
        attributes.extend(agent.rest_by_path());
        attributes.extend(fields.rest());
        let started = SessionStarted {
            profile: Some(FORMAT.to_owned()),
            conversation: session,
            parent_session: parent,
            agent: Some(name),
            agent_version: version,
            model: model.clone(),
            source: Some(FORMAT.to_owned()),
            attributes,
            ..Default::default()
        };
        Ok(Header { path, model, scope, started, offered, ended })
    }

    pub(super) fn begin(&self) -> Transcript {
        let mut transcript = Transcript::new(self.scope.clone(), None, self.started.clone());
        transcript.offered.clone_from(&self.offered);
        transcript
    }

    pub(super) fn end(self, transcript: Transcript, emitter: &mut Emitter<'_>) -> Result<(), ImportError> {
        let summary = transcript.last_output().cloned();
        transcript.end(&self.scope.place, None, SessionEnded { summary, ..self.ended }, emitter)
    }

    /// The error of a trajectory without a step.
    pub(super) fn without_steps(self) -> ImportError {
        ImportError::Field {
            place: self.scope.place,
            field: "steps".to_owned(),
            reason: "is missing or empty".to_owned(),
        }
    }
}

/// The end of the session, with the final metrics.
fn ended(fields: &mut Fields) -> Result<SessionEnded, ImportError> {
    let mut ended = SessionEnded { status: SessionEnd::Completed, ..Default::default() };
    if let Some(mut metrics) = fields.object("final_metrics")? {
        let place: Location = metrics.place().clone();
        ended.tokens_input = metrics.take("total_prompt_tokens")?;
        ended.tokens_output = metrics.take("total_completion_tokens")?;
        ended.cost_usd = metrics.take("total_cost_usd")?;
        let rest = metrics.rest();
        if !rest.is_empty() {
            let json = super::super::turn::json_of(&place, "final_metrics", &rest)?;
            ended.attributes.insert("final_metrics".to_owned(), json);
        }
    }
    Ok(ended)
}
