//! Output of evaluations with OpenHands: `output.jsonl`, a line for each instance.
//!
//! | in the file | as events |
//! | --- | --- |
//! | a line | a session `openhands/<source>/<instance_id>`, and `/attempt/<n>` from the second attempt on |
//! | an action of the agent, or a message | a step of kind llm, `event/<index>` |
//! | the action itself | a decision of type tool and a step of kind tool, both with the id of the call if there is one |
//! | the observation that an action caused | the end of that step |
//! | all other events | notes; the first message of a user is the session's input |
//! | `metrics`, `test_result` and `error` | the session's end |
//!
//! The fields are those of OpenHands itself. Up to version 1 (`evaluation/utils/shared.py`, `events/serialization/event.py`
//! and `llm/metrics.py`, as of November 2025) an event has `action` or `observation`, and the history is a list of events
//! or, in the older files, of pairs of an action and an observation. Since then (OpenHands/benchmarks,
//! `benchmarks/utils/models.py`, June 2026, and OpenHands/software-agent-sdk, `openhands/sdk/event`, August 2026) an event
//! has a `kind`.
//!
//! A call of a model is the actions with the same id of a response; its tokens are those of `metrics.token_usages` with
//! this id. Costs have no such id, so only the session has one. The id of an instance is that of a task, and not of a
//! run, so the source names the run. Times without a zone are attributes, because nobody knows when they were.

mod event;
mod newer;
mod older;
mod history;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::io::Read;

use self::history::History;
use super::emit::{Emitter, Sink};
use super::error::ImportError;
use super::fields::{Fields, Item, Label};
use super::json_lines::{BadLines, for_each_line};
use super::source::{Imported, Source};
use super::transcript::{Record, Transcript};
use super::turn::Problem;
use crate::{Json, Outcome, SessionEnd, SessionEnded, SessionStarted, Severity};

const FORMAT: &str = "openhands";

/// Reads the output of an evaluation with OpenHands, line by line.
///
/// # Errors
/// If `bad` returns one for a line that is malformed or cannot be recorded, the file is empty or cannot be read, or the
/// sink refuses a draft. Drafts from before the error were handed over.
pub fn openhands(
    reader: impl Read,
    source: &Source,
    bad: &mut BadLines<'_>,
    sink: &mut Sink<'_>,
) -> Result<Imported, ImportError> {
    let mut emitter = Emitter::new(sink);
    for_each_line(reader, "output of OpenHands, one JSON object a line", bad, |line| {
        import_line(line, source, &mut emitter)
    })?;
    Ok(emitter.imported())
}

fn import_line(mut line: Fields, source: &Source, emitter: &mut Emitter<'_>) -> Result<(), ImportError> {
    let place = line.place().clone();
    let Label(instance) = line.require("instance_id")?;
    let attempt: Option<u64> = line.take("attempt")?;
    let events = events(&mut line)?;
    let mut metrics = line.object("metrics")?;
    let error: Option<String> = line.take("error")?;
    let test_result = line.json("test_result");
    let metadata = line.object("metadata")?;
    let position = match attempt {
        None | Some(0 | 1) => instance.clone(),
        Some(attempt) => format!("{instance}/attempt/{attempt}"),
    };
    let scope = emitter.session(place.clone(), FORMAT, source, &position)?;
    let mut labels = BTreeMap::from([("instance_id".to_owned(), instance)]);
    labels.extend(attempt.map(|attempt| ("attempt".to_owned(), attempt.to_string())));
    let mut started = SessionStarted {
        profile: Some(FORMAT.to_owned()),
        source: Some(source.name().to_owned()),
        labels,
        ..Default::default()
    };
    if let Some(metadata) = metadata {
        describe(&mut started, metadata);
    }
    started.agent.get_or_insert_with(|| "OpenHands".to_owned());
    // The first message of the user is the instruction with what was put around it.
    let instruction = line.see("instruction").and_then(|json| serde_json::from_str(json.as_str()).ok());
    let has_question = events.iter().any(event::is_of_user);
    if !has_question {
        started.input = instruction;
    }
    started.attributes.extend(line.rest());
    let mut history = History::new(Transcript::new(scope, None, started), metrics.as_mut())?;
    for (index, event) in events.into_iter().enumerate() {
        history.take(event, index, emitter)?;
    }
    let mut transcript = history.transcript;

    let mut ended = SessionEnded {
        status: if error.is_some() { SessionEnd::Failed } else { SessionEnd::Completed },
        summary: transcript.last_output().cloned(),
        error: error.clone(),
        ..Default::default()
    };
    if let Some(mut metrics) = metrics {
        ended.cost_usd = metrics.take("accumulated_cost")?;
        if let Some(mut usage) = metrics.object("accumulated_token_usage")? {
            ended.tokens_input = usage.take("prompt_tokens")?;
            ended.tokens_output = usage.take("completion_tokens")?;
            ended.attributes.extend(usage.rest_by_path());
        }
        ended.attributes.extend(metrics.rest_by_path());
    }
    ended.attributes.extend(test_result.map(|json| ("test_result".to_owned(), json)));
    if let Some(error) = error {
        let problem = Problem {
            category: "error",
            pattern_type: "openhands.error",
            severity: Severity::High,
            outcome: Outcome::Error,
            title: "The run ended with an error",
            plain_english: "The agent could not go on.",
            description: Some(error),
            evidence: None,
            step: None,
        };
        transcript.raise(&Record { place: &place, key: "error", at: None }, problem, emitter)?;
    }
    transcript.end(&place, None, ended, emitter)
}

/// The events of a history. In the older form they are pairs.
fn events(line: &mut Fields) -> Result<Vec<Fields>, ImportError> {
    let mut events = Vec::new();
    let items: Vec<Json> = line.take("history")?.unwrap_or_default();
    for (index, item) in items.into_iter().enumerate() {
        let path = format!("history[{index}]");
        if item.is_object() {
            events.push(Fields::of(line.place().clone(), &path, item)?);
            continue;
        }
        let mut pair = Fields::collected(line.place().clone(), BTreeMap::from([(path.clone(), item)]));
        for item in pair.items(&path)? {
            match item {
                Item::Object(event) => events.push(event),
                Item::Text(_) => return Err(line.error(&path, "has a text, and no event")),
            }
        }
    }
    Ok(events)
}

/// Takes the agent, its model and its version out of the metadata of the evaluation. All of it is an attribute, too.
fn describe(started: &mut SessionStarted, mut metadata: Fields) {
    let whole = metadata.raw().clone();
    started.agent = metadata.text("agent_class");
    started.agent_version = metadata.text("openhands_sdk_version");
    let llm = metadata.json("llm_config").or_else(|| metadata.json("llm"));
    #[derive(serde::Deserialize)]
    struct Llm {
        model: Option<String>,
    }
    started.model = llm.and_then(|llm| serde_json::from_str::<Llm>(llm.as_str()).ok()?.model);
    started.attributes.insert("metadata".to_owned(), whole);
}
