//! The evaluation that a log is of.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::super::document::{Path, VALUE_BYTES_MAX};
use super::super::emit::{Emitter, Scope};
use super::super::error::{ImportError, Location};
use super::super::fields;
use super::super::source::Source;
use super::super::turn::{self, Problem};
use crate::{
    Attributes, Json, Outcome, SessionEnd, SessionEnded, SessionStarted, SessionUpdated, Severity, Timestamp,
};

pub(super) const FORMAT: &str = "inspect-ai";
pub(super) const EXPECTED: &str = "a log of Inspect";

/// Most samples of a log. Their positions are remembered.
pub(super) const SAMPLES_MAX: usize = 1 << 20;

/// The fields of a log beside its samples, as they are read.
#[derive(Default)]
pub(super) struct Fields {
    found: BTreeMap<String, Json>,
    bytes: usize,
}

impl Fields {
    pub(super) fn take(&mut self, path: &Path, json: Json) -> Result<(), ImportError> {
        self.bytes = self.bytes.saturating_add(json.as_str().len());
        if self.bytes > VALUE_BYTES_MAX {
            let reason = format!("the fields beside the samples have more than {VALUE_BYTES_MAX} bytes");
            return Err(ImportError::Malformed { place: path.place(), reason });
        }
        self.found.insert(path.name().to_owned(), json);
        Ok(())
    }
}

/// An evaluation.
pub(super) struct Log {
    pub(super) scope: Scope,
    pub(super) model: Option<String>,
    pub(super) task: String,
    pub(super) solver: Option<String>,
    at: Option<Timestamp>,
    started: Option<SessionStarted>,
    latest: Latest,
}

/// The log's account of the course of the evaluation. It changes until the evaluation ends, and when it is scored again.
enum Latest {
    Running(Attributes),
    Ended(Box<End>),
}

struct End {
    at: Option<Timestamp>,
    ended: SessionEnded,
    error: Option<String>,
}

impl Log {
    pub(super) fn of(found: Fields, source: &Source) -> Result<Log, ImportError> {
        let place = Location::Path(String::new());
        let mut fields = fields::Fields::collected(place.clone(), found.found);
        let Some(mut eval) = fields.object("eval")? else {
            let reason = "it has no field `eval`".to_owned();
            return Err(ImportError::WrongFile { expected: EXPECTED, reason });
        };
        let id: Option<String> = eval.take("eval_id")?;
        let id = id.filter(|id| !id.is_empty()).unwrap_or_else(|| source.name().to_owned());
        let scope = Scope::of(place, &format!("{FORMAT}/{id}"))?;
        let task: String = eval.require("task")?;
        let model: Option<String> = eval.take("model")?;
        let solver: Option<String> = eval.take("solver")?;
        let created: Option<Timestamp> = eval.take("created")?;
        let mut labels = BTreeMap::from([("task".to_owned(), task.clone())]);
        for name in ["run_id", "task_id"] {
            labels.extend(eval.text(name).filter(|id| !id.is_empty()).map(|id| (name.to_owned(), id)));
        }
        let mut attributes = eval.rest_by_path();
        for name in ["version", "plan"] {
            attributes.extend(fields.json(name).map(|json| (name.to_owned(), json)));
        }
        let status: Option<String> = fields.take("status")?;
        let latest = latest(status, fields)?;
        let started = SessionStarted {
            profile: Some(FORMAT.to_owned()),
            agent: solver.clone(),
            model: model.clone(),
            source: Some(FORMAT.to_owned()),
            labels,
            attributes,
            ..Default::default()
        };
        Ok(Log { scope, model, task, solver, at: created, started: Some(started), latest })
    }

    pub(super) fn begin(&mut self, emitter: &mut Emitter<'_>) -> Result<(), ImportError> {
        match self.started.take() {
            Some(started) => emitter.emit_state(&self.scope, "started", self.at, started),
            None => Ok(()),
        }
    }

    /// Ends the session, if the evaluation ended.
    pub(super) fn end(self, emitter: &mut Emitter<'_>) -> Result<(), ImportError> {
        let End { at, ended, error } = match self.latest {
            Latest::Ended(end) => *end,
            Latest::Running(attributes) if attributes.is_empty() => return Ok(()),
            Latest::Running(attributes) => {
                let updated = SessionUpdated { attributes, ..Default::default() };
                return emitter.emit_state(&self.scope, "updated", None, updated);
            }
        };
        if let Some(error) = error {
            let problem = Problem {
                category: "error",
                pattern_type: "inspect_ai.eval_error",
                severity: Severity::High,
                outcome: Outcome::Error,
                title: "The evaluation ended with an error",
                plain_english: "The evaluation was not completed.",
                description: Some(error),
                evidence: None,
                step: None,
            };
            turn::raise(emitter, &self.scope, "error", at, problem)?;
        }
        emitter.emit_state(&self.scope, "ended", at, ended)
    }
}

/// The end of the evaluation, or what is known of one that has only started.
fn latest(status: Option<String>, mut fields: fields::Fields) -> Result<Latest, ImportError> {
    let status = match status.as_deref() {
        None | Some("success") => SessionEnd::Completed,
        Some("error") => SessionEnd::Failed,
        Some("cancelled") => SessionEnd::Cancelled,
        Some("started") => return Ok(Latest::Running(fields.rest())),
        Some(other) => {
            return Err(
                fields.error("status", format!("`{other}` is not started, success, cancelled or error"))
            );
        }
    };
    let mut attributes = Attributes::new();
    let mut at = None;
    if let Some(mut stats) = fields.object("stats")? {
        at = stats.text("completed_at").and_then(|text| text.parse().ok());
        attributes.extend(stats.rest_by_path());
    }
    let mut error = None;
    if let Some(mut found) = fields.object("error")? {
        error = found.take("message")?;
        // The traceback is there twice, and once with colours.
        found.json("traceback_ansi");
        attributes.extend(found.rest_by_path());
    }
    let results = fields.json("results");
    let scores = results.as_ref().map(metrics).unwrap_or_default();
    attributes.extend(results.map(|json| ("results".to_owned(), json)));
    attributes.extend(fields.rest());
    let ended = SessionEnded { status, scores, error: error.clone(), attributes, ..Default::default() };
    Ok(Latest::Ended(Box::new(End { at, ended, error })))
}

/// The metrics of the results, `<scorer>/<metric>` each. Those that are no numbers are in the attribute alone.
fn metrics(results: &Json) -> BTreeMap<String, f64> {
    #[derive(Deserialize)]
    struct Results {
        scores: Vec<Scored>,
    }
    #[derive(Deserialize)]
    struct Scored {
        name: String,
        metrics: BTreeMap<String, Metric>,
    }
    #[derive(Deserialize)]
    struct Metric {
        value: Json,
    }

    let results: Option<Results> = serde_json::from_str(results.as_str()).ok();
    let scored = results.map(|results| results.scores).unwrap_or_default();
    scored
        .into_iter()
        .flat_map(|scored| {
            let Scored { name, metrics } = scored;
            metrics.into_iter().filter_map(move |(metric, Metric { value })| {
                let value: f64 = value.as_str().parse().ok().filter(|value: &f64| value.is_finite())?;
                Some((format!("{name}/{metric}"), value))
            })
        })
        .collect()
}
