//! A step of a trajectory.

use super::super::emit::Emitter;
use super::super::error::{ImportError, Location};
use super::super::fields::{Fields, Label};
use super::super::transcript::{Answered, Author, Called, Record, Returned, Transcript};
use super::super::turn::{Answer, Usage, json_of};
use super::trajectory::Header;
use crate::{Attributes, Json, StepKind, Timestamp};

/// A step, as the file has it.
pub(super) struct Step {
    place: Location,
    /// Names it within its trajectory.
    id: String,
    at: Option<Timestamp>,
    source: Source,
    text: Option<String>,
    results: Vec<Fields>,
    fields: Fields,
}

enum Source {
    User,
    System,
    Agent,
    /// A message of an earlier trajectory, which was counted there.
    Copied(String),
}

impl Step {
    pub(super) fn of(mut fields: Fields, index: usize) -> Result<Step, ImportError> {
        let id: Option<Label> = fields.take("step_id")?;
        let id = id.map_or_else(|| (index + 1).to_string(), |Label(id)| id);
        let source: String = fields.require("source")?;
        let is_copied = fields.see("is_copied_context").is_some_and(|json| json.as_str() == "true");
        let source = match source.as_str() {
            "user" | "system" | "agent" if is_copied => Source::Copied(source),
            "user" => Source::User,
            "system" => Source::System,
            "agent" => Source::Agent,
            other => return Err(fields.error("source", format!("`{other}` is not user, system or agent"))),
        };
        let (texts, others) = fields.content("message")?;
        if !others.is_empty() {
            let json = json_of(fields.place(), "message", &others)?;
            fields.put("message", json);
        }
        let at = fields.take("timestamp")?;
        let mut results = Vec::new();
        // Copied results were recorded with the trajectory that they are copied from.
        if !matches!(source, Source::Copied(_))
            && let Some(mut observation) = fields.object("observation")?
        {
            results = observation.objects("results")?.unwrap_or_default();
            for (name, json) in observation.rest_by_path() {
                fields.put(&name, json);
            }
        }
        let text = (!texts.is_empty()).then(|| texts.join("\n"));
        Ok(Step { place: fields.place().clone(), id, at, source, text, results, fields })
    }

    pub(super) fn emit(
        self,
        header: &Header,
        transcript: &mut Transcript,
        emitter: &mut Emitter<'_>,
    ) -> Result<(), ImportError> {
        let Step { place, id, at, source, text, results, mut fields } = self;
        let record = Record { place: &place, key: &id, at };
        let author = match source {
            Source::Copied(source) => {
                fields.put("source", Json::text(&source));
                return transcript.note(&record, "copied_context", text, None, &fields.rest(), emitter);
            }
            Source::User => Some(Author::User),
            Source::System => Some(Author::System),
            Source::Agent => None,
        };
        let results = match author {
            Some(author) => {
                let others =
                    keep_unmatched(&place, results, &mut fields, |id| transcript.open_call(id).is_some())?;
                transcript.add_message(&record, author, text, &fields.rest(), emitter)?;
                others
            }
            None => agent(&id, text, results, fields, header, &record, transcript, emitter)?,
        };
        for (index, mut result) in results.into_iter().enumerate() {
            let call: Option<String> = result.take("source_call_id")?;
            let step = call.as_deref().and_then(|id| transcript.open_call(id));
            // Those without a call are in the attributes of the step.
            let Some(step) = step else { continue };
            let (texts, others) = result.content("content")?;
            if !others.is_empty() {
                let json = json_of(&place, "observation.results.content", &others)?;
                result.put("content", json);
            }
            let output = (!texts.is_empty()).then(|| texts.join("\n"));
            let is_error = is_error(&result);
            let returned = Returned {
                error: is_error.then(|| output.clone().unwrap_or_else(|| "the tool failed".to_owned())),
                output,
                attributes: result.rest(),
            };
            let key = format!("{id}/result/{index}");
            // The file has no time of results.
            transcript.returned(&Record { place: &place, key: &key, at: None }, step, returned, emitter)?;
        }
        Ok(())
    }
}

/// Emits an answer. Returns the results of calls.
#[allow(clippy::too_many_arguments, reason = "each comes from a different part of the step")]
fn agent(
    id: &str,
    text: Option<String>,
    results: Vec<Fields>,
    mut fields: Fields,
    header: &Header,
    record: &Record<'_>,
    transcript: &mut Transcript,
    emitter: &mut Emitter<'_>,
) -> Result<Vec<Fields>, ImportError> {
    let mut answer = Answer::default();
    if let Some(reasoning) = fields.text("reasoning_content") {
        answer.reasoning(reasoning);
    }
    if let Some(text) = text {
        answer.text(text);
    }
    let calls = fields.objects("tool_calls")?.unwrap_or_default();
    let calls = calls.into_iter().map(called).collect::<Result<Vec<_>, _>>()?;
    let results = keep_unmatched(&record.place.clone(), results, &mut fields, |id| {
        calls.iter().any(|call| call.id.as_deref() == Some(id)) || transcript.open_call(id).is_some()
    })?;
    let usage = usage(&mut fields)?;
    let model: Option<String> = fields.take("model_name")?;
    // A step that the program made by itself, without any model.
    let is_of_model = fields.see("llm_call_count").is_none_or(|count| count.as_str() != "0");
    let mut given = Attributes::new();
    given.extend(fields.json("reasoning_effort").map(|json| ("reasoning_effort".to_owned(), json)));
    let answered = Answered {
        step: format!("step/{id}"),
        kind: (!is_of_model).then_some(StepKind::Other),
        model: model.or_else(|| header.model.clone().filter(|_| is_of_model)),
        answer,
        usage,
        calls,
        given,
        attributes: fields.rest(),
        ..Default::default()
    };
    transcript.answered(record, answered, emitter)?;
    Ok(results)
}

fn called(mut call: Fields) -> Result<Called, ImportError> {
    Ok(Called {
        id: call.take("tool_call_id")?,
        name: call.require("function_name")?,
        arguments: call.json("arguments").map(|json| json.as_str().to_owned()),
        attributes: call.rest(),
    })
}

/// Puts the results that belong to no call back into the step, and returns the others.
fn keep_unmatched(
    place: &Location,
    results: Vec<Fields>,
    fields: &mut Fields,
    is_call: impl Fn(&str) -> bool,
) -> Result<Vec<Fields>, ImportError> {
    let (mut matched, mut others) = (Vec::new(), Vec::new());
    for mut result in results {
        let call: Option<String> = result.take("source_call_id")?;
        match call {
            Some(id) if is_call(&id) => {
                result.put("source_call_id", Json::text(&id));
                matched.push(result);
            }
            _ => others.push(result.raw().clone()),
        }
    }
    if !others.is_empty() {
        fields.put("observation", json_of(place, "observation.results", &others)?);
    }
    Ok(matched)
}

fn usage(fields: &mut Fields) -> Result<Usage, ImportError> {
    let Some(mut metrics) = fields.object("metrics")? else { return Ok(Usage::default()) };
    let mut usage = Usage {
        tokens_input: metrics.take("prompt_tokens")?,
        tokens_output: metrics.take("completion_tokens")?,
        tokens_cache_read: metrics.take("cached_tokens")?,
        cost_usd: metrics.take("cost_usd")?,
        ..Default::default()
    };
    if let Some(mut extra) = metrics.object("extra")? {
        // Names of providers: the specification gives these two as examples.
        usage.tokens_reasoning = number(&mut extra, "reasoning_tokens");
        usage.tokens_cache_write = number(&mut extra, "cache_creation_input_tokens");
        for (name, json) in extra.rest_by_path() {
            fields.put(&name, json);
        }
    }
    for (name, json) in metrics.rest_by_path() {
        fields.put(&name, json);
    }
    Ok(usage)
}

/// Takes a number of tokens of an object that may have anything. Another value stays.
fn number(extra: &mut Fields, name: &str) -> Option<u64> {
    let number = extra.see(name)?.as_str().parse().ok()?;
    extra.json(name);
    Some(number)
}

/// Returns true if the result says that it is an error. The specification leaves this to `extra`.
fn is_error(result: &Fields) -> bool {
    #[derive(serde::Deserialize)]
    struct Extra {
        is_error: bool,
    }
    let extra = result.see("extra").and_then(|json| serde_json::from_str(json.as_str()).ok());
    extra.is_some_and(|extra: Extra| extra.is_error)
}
