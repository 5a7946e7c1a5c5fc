//! The events of a sample, or its messages where it has no events.

use std::collections::HashSet;

use super::super::document::{Path, VALUE_BYTES_MAX};
use super::super::emit::Emitter;
use super::super::error::{ImportError, Location};
use super::super::fields::{Fields, text_of};
use super::super::tools;
use super::super::transcript::{Answered, Author, Record, Returned, Transcript};
use super::super::turn::{Answer, Problem, Usage, json_of};
use super::content;
use super::spool::Spool;
use crate::{Attributes, Json, Outcome, Severity, StepEnded, StepId, StepKind, StepStarted, Timestamp};

/// Most spans that are remembered, so that their events are steps within them.
const SPANS_MAX: usize = 65_536;

/// Most messages that are looked through for the newest ones of a request.
const NEWEST_MAX: u64 = 256;

/// A sample whose events are being read.
pub(super) struct Events {
    pub(super) transcript: Transcript,
    attachments: Spool,
    /// The messages that requests refer to by number.
    messages: Spool,
    spans: HashSet<String>,
}

impl Events {
    pub(super) fn new(transcript: Transcript, attachments: Spool, messages: Spool) -> Events {
        Events { transcript, attachments, messages, spans: HashSet::new() }
    }

    /// Takes an event or a message.
    pub(super) fn take(
        &mut self,
        path: &Path,
        json: Json,
        emitter: &mut Emitter<'_>,
    ) -> Result<(), ImportError> {
        let place = path.place();
        let mut fields = Fields::of(place.clone(), "", self.attachments.resolve(json)?)?;
        let key = format!("{}/{}", if path.name() == "messages" { "message" } else { "event" }, path.index());
        if path.name() == "messages" {
            return self.message(&place, &key, fields, emitter);
        }
        let kind: String = fields.require("event")?;
        let at: Option<Timestamp> = fields.take("timestamp")?;
        let completed: Option<Timestamp> = fields.take("completed")?;
        let record = Record { place: &place, key: &key, at: completed.or(at) };
        match kind.as_str() {
            // A call that the log was written during has no output yet.
            "model" if fields.see("pending").is_none_or(|pending| pending.as_str() != "true") => {
                self.model(&record, at, fields, emitter)
            }
            "tool" => self.tool(&record, fields, emitter),
            "span_begin" => self.span_begins(&record, fields, emitter),
            "span_end" => self.span_ends(&record, fields, emitter),
            "approval" => self.approval(&record, fields, emitter),
            _ => {
                let text = fields.see("message").filter(|text| text.as_str().starts_with('"')).map(text_of);
                let step = self.span_of(&fields);
                self.transcript.note(&record, &kind, text, step, &fields.rest(), emitter)
            }
        }
    }

    /// The step of the span that an event is in.
    fn span_of(&self, fields: &Fields) -> Option<StepId> {
        let span = fields.see("span_id").map(text_of)?;
        if self.spans.contains(&span) { StepId::new(format!("span/{span}")).ok() } else { None }
    }

    fn model(
        &mut self,
        record: &Record<'_>,
        at: Option<Timestamp>,
        mut fields: Fields,
        emitter: &mut Emitter<'_>,
    ) -> Result<(), ImportError> {
        let model: String = fields.require("model")?;
        let parent_step = self.span_of(&fields);
        let input = self.newest(&mut fields)?;
        let mut given = Attributes::new();
        for name in ["input", "input_refs", "tools", "tool_choice", "config", "role"] {
            let usual = ["[]", "{}"];
            let json = fields.json(name).filter(|json| !usual.contains(&json.as_str()));
            given.extend(json.map(|json| (name.to_owned(), json)));
        }
        let offered = given.get("tools").map(tools::offered).unwrap_or_default();
        let error: Option<String> = fields.take("error")?;
        // The traceback is there twice, and once with colours.
        fields.json("traceback_ansi");
        let mut answer = Answer::default();
        let (mut calls, mut usage, mut attributes) = (Vec::new(), Usage::default(), Attributes::new());
        if let Some(mut output) = fields.object("output")? {
            if let Some(used) = output.object("usage")? {
                let (counted, rest) = used_by(used)?;
                usage = counted;
                attributes.extend(rest);
            }
            // The completion is the text of the first choice once more.
            output.json("completion");
            let mut choices = output.objects("choices")?.unwrap_or_default().into_iter();
            if let Some(mut choice) = choices.next() {
                if let Some(mut message) = choice.object("message")? {
                    content::take(&mut message, &mut answer)?;
                    calls = content::calls(&mut message)?;
                    message.drop_usual("role", "assistant");
                    attributes.extend(message.rest_by_path());
                }
                attributes.extend(choice.rest_by_path());
            }
            let others: Vec<Json> = choices.map(|choice| choice.raw().clone()).collect();
            if !others.is_empty() {
                attributes
                    .insert("output.choices".to_owned(), json_of(record.place, "output.choices", &others)?);
            }
            attributes.extend(output.rest_by_path());
        }
        attributes.extend(fields.rest());
        self.transcript.offered = offered;
        let answered = Answered {
            step: record.key.to_owned(),
            parent_step,
            model: Some(model),
            input,
            started_at: at,
            answer,
            usage,
            error,
            calls,
            given,
            attributes,
            ..Default::default()
        };
        self.transcript.answered(record, answered, emitter).map(drop)
    }

    /// The texts of the messages of a request since the last answer.
    fn newest(&mut self, fields: &mut Fields) -> Result<Option<String>, ImportError> {
        let mut newest = Vec::new();
        let refs: Option<Vec<(u64, u64)>> =
            fields.see("input_refs").cloned().map(|json| fields.read("input_refs", &json)).transpose()?;
        if let Some(refs) = refs {
            let numbers = refs.iter().rev().flat_map(|(begin, end)| (*begin..*end).rev());
            for number in numbers.take(usize::try_from(NEWEST_MAX).unwrap_or(usize::MAX)) {
                let Some(json) = self.messages.get(&number.to_string(), VALUE_BYTES_MAX)? else { break };
                let json = self.attachments.resolve(json)?;
                let mut message = Fields::of(fields.place().clone(), "input_refs", json)?;
                if message.take::<String>("role")?.as_deref() == Some("assistant") {
                    break;
                }
                newest.extend(content::text(&mut message)?);
            }
            newest.reverse();
        } else {
            let whole = fields.see("input").cloned();
            for mut message in fields.objects("input")?.unwrap_or_default() {
                if message.take::<String>("role")?.as_deref() == Some("assistant") {
                    newest.clear();
                } else {
                    newest.extend(content::text(&mut message)?);
                }
            }
            if let Some(whole) = whole {
                fields.put("input", whole);
            }
        }
        Ok((!newest.is_empty()).then(|| newest.join("\n")))
    }

    fn tool(
        &mut self,
        record: &Record<'_>,
        mut fields: Fields,
        emitter: &mut Emitter<'_>,
    ) -> Result<(), ImportError> {
        let id: String = fields.require("id")?;
        let Some(step) = self.transcript.open_call(&id) else {
            // No model of this sample made the call.
            let name = fields.see("function").map(text_of);
            fields.put("id", Json::text(&id));
            let parent = self.span_of(&fields);
            return self.transcript.note(record, "tool", name, parent, &fields.rest(), emitter);
        };
        // The step has them from the call.
        for name in ["function", "arguments", "type"] {
            fields.json(name);
        }
        let failure = fields.see("error").cloned();
        let (error, is_rejected) = match failure {
            Some(failure) => failed(&failure),
            None => (None, false),
        };
        let output = result(&mut fields)?;
        let returned = Returned { output, error: error.clone(), attributes: fields.rest() };
        self.transcript.returned(record, step.clone(), returned, emitter)?;
        if !is_rejected {
            return Ok(());
        }
        self.transcript.raise(record, rejected(error, Some(step)), emitter)
    }

    fn approval(
        &mut self,
        record: &Record<'_>,
        fields: Fields,
        emitter: &mut Emitter<'_>,
    ) -> Result<(), ImportError> {
        let decision = fields.see("decision").map(text_of);
        let explanation = fields.see("explanation").map(text_of);
        let step = self.span_of(&fields);
        self.transcript.note(record, "approval", decision.clone(), step.clone(), &fields.rest(), emitter)?;
        // A rejected call has a result that says so; a terminated sample has none.
        if decision.as_deref() != Some("terminate") {
            return Ok(());
        }
        self.transcript.raise(record, rejected(explanation, step), emitter)
    }

    fn span_begins(
        &mut self,
        record: &Record<'_>,
        mut fields: Fields,
        emitter: &mut Emitter<'_>,
    ) -> Result<(), ImportError> {
        let id: String = fields.require("id")?;
        let name: Option<String> = fields.take("name")?;
        let parent: Option<String> = fields.take("parent_id")?;
        let is_agent = fields.see("type").is_some_and(|kind| kind.as_str() == "\"agent\"");
        let step = self.transcript.scope().at(record.place).id("id", &format!("span/{id}"))?;
        let parent = parent.filter(|parent| self.spans.contains(parent));
        let started = StepStarted {
            step,
            parent_step: parent.and_then(|parent| StepId::new(format!("span/{parent}")).ok()),
            module: name,
            kind: Some(if is_agent { StepKind::Agent } else { StepKind::Chain }),
            attributes: fields.rest(),
            ..Default::default()
        };
        if self.spans.len() < SPANS_MAX {
            self.spans.insert(id);
        }
        self.transcript.step_started(record, started, emitter)
    }

    fn span_ends(
        &mut self,
        record: &Record<'_>,
        mut fields: Fields,
        emitter: &mut Emitter<'_>,
    ) -> Result<(), ImportError> {
        let id: String = fields.require("id")?;
        let step = self.transcript.scope().at(record.place).id("id", &format!("span/{id}"))?;
        self.transcript.step_ended(
            record,
            StepEnded { step, attributes: fields.rest(), ..Default::default() },
            emitter,
        )
    }

    /// Takes a message of a sample without events.
    fn message(
        &mut self,
        place: &Location,
        key: &str,
        mut fields: Fields,
        emitter: &mut Emitter<'_>,
    ) -> Result<(), ImportError> {
        let record = Record { place, key, at: None };
        let role: String = fields.require("role")?;
        match role.as_str() {
            "assistant" => {
                let mut answer = Answer::default();
                content::take(&mut fields, &mut answer)?;
                let calls = content::calls(&mut fields)?;
                let model = fields.take("model")?;
                let answered = Answered {
                    step: key.to_owned(),
                    model,
                    answer,
                    calls,
                    attributes: fields.rest(),
                    ..Default::default()
                };
                self.transcript.answered(&record, answered, emitter).map(drop)
            }
            "tool" => {
                let id: Option<String> = fields.take("tool_call_id")?;
                let error = fields.see("error").cloned().and_then(|error| failed(&error).0);
                let output = content::text(&mut fields)?;
                let step = match id.as_deref().and_then(|id| self.transcript.open_call(id)) {
                    Some(step) => Some(step),
                    None => self.transcript.first_open_call(),
                };
                let Some(step) = step else {
                    return self.transcript.add_message(
                        &record,
                        Author::Environment,
                        output,
                        &fields.rest(),
                        emitter,
                    );
                };
                let returned = Returned { output, error, attributes: fields.rest() };
                self.transcript.returned(&record, step, returned, emitter)
            }
            _ => {
                let text = content::text(&mut fields)?;
                let author = if role == "system" { Author::System } else { Author::User };
                self.transcript.add_message(&record, author, text, &fields.rest(), emitter)
            }
        }
    }
}

/// The usage of a call, and what else is said about it.
fn used_by(mut used: Fields) -> Result<(Usage, Attributes), ImportError> {
    let usage = Usage {
        tokens_input: used.take("input_tokens")?,
        tokens_output: used.take("output_tokens")?,
        tokens_cache_read: used.take("input_tokens_cache_read")?,
        tokens_cache_write: used.take("input_tokens_cache_write")?,
        tokens_reasoning: used.take("reasoning_tokens")?,
        cost_usd: used.take("total_cost")?,
    };
    // Inspect takes the cached tokens off, whatever API reports them.
    Ok((usage.with_cache_apart(), used.rest_by_path()))
}

/// The message of a tool's error, and whether a person or a rule did not allow the call.
fn failed(error: &Json) -> (Option<String>, bool) {
    #[derive(serde::Deserialize)]
    struct Failed {
        r#type: Option<String>,
        message: Option<String>,
    }
    match serde_json::from_str::<Failed>(error.as_str()) {
        Ok(failed) => {
            let is_rejected = failed.r#type.as_deref() == Some("approval");
            (failed.message.filter(|text| !text.is_empty()).or(failed.r#type), is_rejected)
        }
        Err(_) => (Some(text_of(error)), false),
    }
}

/// The result of a tool: a text, a number, or parts as those of a message.
fn result(fields: &mut Fields) -> Result<Option<String>, ImportError> {
    let is_parts = fields.see("result").is_some_and(|json| json.as_str().starts_with(['[', '{']));
    if !is_parts {
        return Ok(fields.text("result"));
    }
    let (texts, others) = match fields.content("result") {
        Ok(found) => found,
        // A list of something else.
        Err(_) => return Ok(fields.text("result")),
    };
    if !others.is_empty() {
        let json = json_of(fields.place(), "result", &others)?;
        fields.put("result", json);
    }
    Ok((!texts.is_empty()).then(|| texts.join("\n")))
}

fn rejected(description: Option<String>, step: Option<StepId>) -> Problem {
    Problem {
        category: "rejection",
        pattern_type: "inspect_ai.tool_rejected",
        severity: Severity::Medium,
        outcome: Outcome::Fail,
        title: "A tool call was rejected",
        plain_english: "The model was not allowed to use the tool that it chose.",
        description,
        evidence: None,
        step,
    }
}
