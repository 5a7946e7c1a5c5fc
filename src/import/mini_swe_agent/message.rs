//! A message of a run.

use super::super::emit::Emitter;
use super::super::error::{ImportError, Location};
use super::super::fields::Fields;
use super::super::transcript::{Answered, Author, Called, Record, Returned, Transcript};
use super::super::turn::{Answer, Usage, json_of};
use super::super::usage;
use crate::{Json, Timestamp};

/// The tool that runs the commands of an answer that names no tool.
const BASH: &str = "bash";

/// A message, as the file has it.
pub(super) struct Message {
    place: Location,
    key: String,
    at: Option<Timestamp>,
    kind: Kind,
    texts: Vec<String>,
    fields: Fields,
    extra: Option<Fields>,
}

enum Kind {
    System,
    User,
    Assistant,
    /// An answer in the form of OpenAI's responses.
    Response,
    /// The result of a call, with the call's id if it has one.
    Result(Option<String>),
    Exit,
    Other(String),
}

impl Message {
    pub(super) fn of(mut fields: Fields, index: usize) -> Result<Message, ImportError> {
        let mut extra = fields.object("extra")?;
        let at = match &mut extra {
            Some(extra) => extra.take::<f64>("timestamp")?.and_then(time),
            None => None,
        };
        let role: Option<String> = fields.take("role")?;
        let returned = extra.as_ref().is_some_and(|extra| extra.see("returncode").is_some());
        let kind = match role.as_deref() {
            Some("system" | "developer") => Kind::System,
            Some("user") if returned => Kind::Result(None),
            Some("user") => Kind::User,
            Some("assistant") => Kind::Assistant,
            Some("tool") => Kind::Result(fields.take("tool_call_id")?),
            Some("exit") => Kind::Exit,
            Some(other) => Kind::Other(other.to_owned()),
            None if fields.see("object").is_some_and(|json| json.as_str() == "\"response\"") => {
                Kind::Response
            }
            None if fields.see("type").is_some_and(|json| json.as_str() == "\"function_call_output\"") => {
                Kind::Result(fields.take("call_id")?)
            }
            None => return Err(fields.error("role", "is missing")),
        };
        let (mut texts, others) = fields.content("content")?;
        if !others.is_empty() {
            let json = json_of(fields.place(), "content", &others)?;
            fields.put("content", json);
        }
        if let (Kind::Result(_), None) = (&kind, &role) {
            texts.extend(fields.text("output"));
        }
        Ok(Message {
            place: fields.place().clone(),
            key: format!("message/{index}"),
            at,
            kind,
            texts,
            fields,
            extra,
        })
    }

    pub(super) fn emit(
        self,
        transcript: &mut Transcript,
        emitter: &mut Emitter<'_>,
    ) -> Result<(), ImportError> {
        let Message { place, key, at, kind, texts, mut fields, extra } = self;
        let record = Record { place: &place, key: &key, at };
        match kind {
            Kind::Assistant | Kind::Response => {
                let answered = answered(&key, &kind, texts, fields, extra)?;
                transcript.answered(&record, answered, emitter).map(drop)
            }
            Kind::Result(id) => {
                let call = match &id {
                    Some(id) => transcript.open_call(id),
                    None => transcript.first_open_call(),
                };
                if let Some(call) = call {
                    let returned = returned(texts, fields, extra)?;
                    return transcript.returned(&record, call, returned, emitter);
                }
                keep(&mut fields, extra);
                let text = joined(texts);
                transcript.add_message(&record, Author::Environment, text, &fields.rest(), emitter)
            }
            Kind::System | Kind::User => {
                keep(&mut fields, extra);
                let author = if let Kind::System = kind { Author::System } else { Author::User };
                transcript.add_message(&record, author, joined(texts), &fields.rest(), emitter)
            }
            Kind::Exit => {
                keep(&mut fields, extra);
                transcript.note(&record, "exit", joined(texts), None, &fields.rest(), emitter)
            }
            Kind::Other(role) => {
                keep(&mut fields, extra);
                transcript.note(&record, &role, joined(texts), None, &fields.rest(), emitter)
            }
        }
    }
}

fn joined(texts: Vec<String>) -> Option<String> {
    (!texts.is_empty()).then(|| texts.join("\n"))
}

/// Puts the fields of `extra` back, each by its path.
fn keep(fields: &mut Fields, extra: Option<Fields>) {
    for (name, json) in extra.map(Fields::rest_by_path).unwrap_or_default() {
        fields.put(&name, json);
    }
}

fn answered(
    key: &str,
    kind: &Kind,
    texts: Vec<String>,
    mut fields: Fields,
    mut extra: Option<Fields>,
) -> Result<Answered, ImportError> {
    let mut answer = Answer::default();
    let mut calls = Vec::new();
    if let Some(reasoning) = fields.text("reasoning_content") {
        answer.reasoning(reasoning);
    }
    texts.into_iter().for_each(|text| answer.text(text));
    if let Kind::Response = kind {
        respond(&mut fields, &mut answer, &mut calls)?;
    }
    for mut call in fields.objects("tool_calls")?.unwrap_or_default() {
        let Some(mut function) = call.object("function")? else {
            return Err(call.error("function", "is missing"));
        };
        call.drop_usual("type", "function");
        let (name, arguments) = (function.require("name")?, function.text("arguments"));
        let id = call.take("id")?;
        let mut attributes = call.rest();
        attributes.extend(function.rest_by_path());
        calls.push(Called { id, name, arguments, attributes });
    }
    let mut usage = fields.see("usage").map(usage::of_api).unwrap_or_default();
    let mut model: Option<String> =
        fields.see("model").and_then(|json| serde_json::from_str(json.as_str()).ok());
    if let Some(extra) = &mut extra {
        if calls.is_empty() {
            for mut action in extra.objects("actions")?.unwrap_or_default() {
                let arguments = action.text("command");
                let id = action.take("tool_call_id")?;
                calls.push(Called { id, name: BASH.to_owned(), arguments, attributes: action.rest() });
            }
        }
        if let Some(reported) = extra.see("response").and_then(reported) {
            (usage, model) = (reported.0, reported.1.or(model));
        }
        usage.cost_usd = extra.take("cost")?;
    }
    keep(&mut fields, extra);
    Ok(Answered {
        step: key.to_owned(),
        model,
        answer,
        usage,
        calls,
        attributes: fields.rest(),
        ..Default::default()
    })
}

/// The usage and the model of an API's answer. Without them, it may be in any form.
fn reported(response: &Json) -> Option<(Usage, Option<String>)> {
    #[derive(serde::Deserialize)]
    struct Response {
        usage: Option<Json>,
        model: Option<String>,
    }
    let response: Response = serde_json::from_str(response.as_str()).ok()?;
    Some((response.usage.as_ref().map(usage::of_api).unwrap_or_default(), response.model))
}

/// Reads the items of an answer in the form of OpenAI's responses.
fn respond(fields: &mut Fields, answer: &mut Answer, calls: &mut Vec<Called>) -> Result<(), ImportError> {
    let whole = fields.see("output").cloned();
    for mut item in fields.objects("output")?.unwrap_or_default() {
        match item.text("type").as_deref() {
            Some("function_call") => {
                let id = item.take("call_id")?;
                let (name, arguments) = (item.require("name")?, item.text("arguments"));
                calls.push(Called { id, name, arguments, attributes: item.rest() });
            }
            Some("reasoning") => {
                for mut part in item.objects("summary")?.unwrap_or_default() {
                    part.text("text").into_iter().for_each(|text| answer.reasoning(text));
                }
            }
            Some("message") => {
                for mut part in item.objects("content")?.unwrap_or_default() {
                    part.text("text").into_iter().for_each(|text| answer.text(text));
                }
            }
            _ => {}
        }
    }
    // Its items have more fields than are read here.
    if let Some(whole) = whole {
        fields.put("output", whole);
    }
    Ok(())
}

fn returned(
    texts: Vec<String>,
    mut fields: Fields,
    mut extra: Option<Fields>,
) -> Result<Returned, ImportError> {
    let mut error = None;
    if let Some(extra) = &mut extra {
        // A command that could not be run at all has the reason here.
        let exception = extra.see("exception_info").map(super::super::fields::text_of);
        let code = extra.see("returncode").and_then(|json| json.as_str().parse::<i64>().ok());
        error = exception
            .filter(|text| !text.is_empty())
            .or(code.filter(|code| *code != 0).map(|code| format!("exit code {code}")));
    }
    keep(&mut fields, extra);
    Ok(Returned { output: joined(texts), error, attributes: fields.rest() })
}

/// The time of seconds since 1970.
fn time(seconds: f64) -> Option<Timestamp> {
    let micros = (seconds * 1e6).round();
    // Within these bounds the number is exact, and so is the conversion.
    #[allow(clippy::cast_possible_truncation, reason = "the bounds are checked")]
    (0.0..9e15).contains(&micros).then(|| Timestamp::from_micros(micros as i64))
}
