//! The lines of one session, on their way to the emitter.

use std::collections::{BTreeMap, VecDeque};

use serde::Deserialize;

use super::super::emit::{Emitter, Scope};
use super::super::error::{ImportError, Location};
use super::super::fields::{Fields, Item, text_of};
use super::super::tools::Offered;
use super::super::turn::{self, Answering, Chooser, PendingInput, Problem, ToolCall, Usage, json_of};
use super::line::{Body, EXPECTED, FORMAT, Kind, Line};
use super::output::Output;
use crate::{
    Attributes, Json, NoteLogged, Outcome, SessionEnd, SessionEnded, SessionId, SessionStarted, Severity,
    StepEnd, StepEnded, StepId, StepStarted, Timestamp,
};

/// Beginnings of messages that have the role of a user, and that Codex writes.
const NOT_ASKED: [&str; 2] = ["<", "# AGENTS.md instructions"];

/// Most failed calls that are remembered until their output comes.
const FAILED_CALLS_MAX: usize = 256;

/// A session whose lines are being read.
pub(super) struct Session {
    scope: Scope,
    /// None once the beginning was emitted: the first answer tells its input and its model.
    beginning: Option<Beginning>,
    model: Option<String>,
    pending: PendingInput,
    answer: Option<Answer>,
    /// The last answer that has words: the summary of the session.
    words: Option<String>,
    /// The last total of all tokens.
    total: Total,
    failed_calls: VecDeque<(String, String)>,
    last_key: String,
    last_at: Option<Timestamp>,
    /// True if the last turn was stopped.
    is_aborted: bool,
}

struct Beginning {
    key: String,
    at: Option<Timestamp>,
    started: SessionStarted,
    /// The first message of a user, as an event and as an item.
    asked: Option<String>,
    item: Option<String>,
}

/// An answer, which goes on until something comes that another one follows.
struct Answer {
    answering: Answering,
    state: AnswerState,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum AnswerState {
    /// Further items belong to it.
    Open,
    /// Only its usage may still come.
    Answered,
    Counted,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
struct Total {
    input_tokens: u64,
    output_tokens: u64,
    cached_input_tokens: u64,
    reasoning_output_tokens: u64,
    total_tokens: u64,
}

impl Session {
    /// The session of the first line.
    pub(super) fn begin(line: Line) -> Result<Session, ImportError> {
        let Line { place, key, kind: Kind::Meta, at, mut body } = line else {
            return Err(ImportError::WrongFile {
                expected: EXPECTED,
                reason: format!("{} is not the metadata of a session", line.place),
            });
        };
        let id: Option<String> = body.fields.take("id")?;
        let id = match id {
            Some(id) => id,
            None => body.fields.require("session_id")?,
        };
        let scope = Scope::of(place.clone(), &format!("{FORMAT}/{id}"))?;
        let started_at: Option<Timestamp> = body.fields.take("timestamp")?;
        let parent = body.fields.see("parent_thread_id").map(text_of).or_else(|| parent_of(&body.fields));
        let branch = body.fields.see("git").and_then(branch_of);
        let mut labels = BTreeMap::new();
        labels.extend(body.fields.text("cwd").map(|cwd| ("cwd".to_owned(), cwd)));
        labels.extend(branch.map(|branch| ("git_branch".to_owned(), branch)));
        let started = SessionStarted {
            profile: Some(FORMAT.to_owned()),
            conversation: Some(id),
            parent_session: match parent {
                Some(parent) => Some(session_id(&place, &parent)?),
                None => None,
            },
            agent: Some("Codex".to_owned()),
            agent_version: body.fields.take("cli_version")?,
            source: Some(FORMAT.to_owned()),
            labels,
            attributes: body.rest(),
            ..Default::default()
        };
        let at = started_at.or(at);
        Ok(Session {
            scope,
            beginning: Some(Beginning { key: key.clone(), at, started, asked: None, item: None }),
            model: None,
            pending: PendingInput::default(),
            answer: None,
            words: None,
            total: Total::default(),
            failed_calls: VecDeque::new(),
            last_key: key,
            last_at: at,
            is_aborted: false,
        })
    }

    /// Takes a line, which is emitted as far as later lines cannot change it.
    pub(super) fn take(&mut self, line: Line, emitter: &mut Emitter<'_>) -> Result<(), ImportError> {
        self.scope = self.scope.at(&line.place);
        self.last_key.clone_from(&line.key);
        self.last_at = line.at.or(self.last_at);
        let Line { key, kind, at, mut body, .. } = line;
        match kind {
            Kind::Item(item) => self.item(&item, &key, at, body, emitter),
            Kind::Event(event) => self.event(&event, &key, at, body, emitter),
            Kind::Context => {
                self.model = body.fields.see("model").map(text_of).or(self.model.take());
                self.note("turn_context", None, &key, at, body.rest(), emitter)
            }
            Kind::Compacted => {
                let message = body.fields.text("message").filter(|message| !message.is_empty());
                self.note("compacted", message, &key, at, body.rest(), emitter)
            }
            // The history of a session from which this one was forked has metadata, too.
            Kind::Meta => self.note("session_meta", None, &key, at, body.rest(), emitter),
            Kind::Other(kind) => self.note(&kind, None, &key, at, body.rest(), emitter),
        }
    }

    fn note(
        &self,
        kind: &str,
        message: Option<String>,
        key: &str,
        at: Option<Timestamp>,
        data: Attributes,
        emitter: &mut Emitter<'_>,
    ) -> Result<(), ImportError> {
        let note = NoteLogged {
            message: message.unwrap_or_else(|| kind.to_owned()),
            data: Some(json_of(&self.scope.place, "payload", &data)?),
            attributes: [("type".to_owned(), Json::text(kind))].into(),
            ..Default::default()
        };
        emitter.emit(&self.scope, &format!("{key}/note"), at, note)
    }

    /// Takes an item: what a model was given or what it answered.
    fn item(
        &mut self,
        item: &str,
        key: &str,
        at: Option<Timestamp>,
        mut body: Body,
        emitter: &mut Emitter<'_>,
    ) -> Result<(), ImportError> {
        let role = if item == "message" { Some(body.fields.require::<String>("role")?) } else { None };
        match (item, role.as_deref()) {
            ("message", Some("assistant")) => {
                let (texts, others) = content(&mut body.fields, "content")?;
                let mut rest = body.rest();
                if !others.is_empty() {
                    rest.insert("content".to_owned(), json_of(&self.scope.place, "content", &others)?);
                }
                self.answered(key, at, rest, texts, Vec::new(), emitter)
            }
            ("message", role) => {
                let (texts, others) = content(&mut body.fields, "content")?;
                let text = texts.join("\n");
                let mut rest = body.rest();
                if !others.is_empty() {
                    rest.insert("content".to_owned(), json_of(&self.scope.place, "content", &others)?);
                }
                rest.extend(role.map(|role| ("role".to_owned(), Json::text(role))));
                if role == Some("user") {
                    self.asked(&text, at);
                }
                let message = Some(text).filter(|text| !text.is_empty());
                self.note("message", message, key, at, rest, emitter)
            }
            ("reasoning", _) => {
                let (summary, mut others) = content(&mut body.fields, "summary")?;
                let (whole, more) = content(&mut body.fields, "content")?;
                others.extend(more);
                let mut rest = body.rest();
                // The whole text is what its summary is of.
                let reasoning = if whole.is_empty() {
                    summary
                } else {
                    if !summary.is_empty() {
                        rest.insert("summary".to_owned(), json_of(&self.scope.place, "summary", &summary)?);
                    }
                    whole
                };
                if !others.is_empty() {
                    rest.insert("content".to_owned(), json_of(&self.scope.place, "content", &others)?);
                }
                self.answered(key, at, rest, Vec::new(), reasoning, emitter)
            }
            (item, _) if item.ends_with("_call") => self.call(item, key, at, body, emitter),
            (item, _) if item.ends_with("_output") => self.output(item, key, at, body, emitter),
            (item, _) => self.note(item, None, key, at, body.rest(), emitter),
        }
    }

    /// Takes a message of a user: the input of the next answer.
    fn asked(&mut self, text: &str, at: Option<Timestamp>) {
        if text.is_empty() || NOT_ASKED.iter().any(|begin| text.trim_start().starts_with(begin)) {
            return;
        }
        self.is_aborted = false;
        if let Some(beginning) = &mut self.beginning {
            beginning.item.get_or_insert_with(|| text.to_owned());
        }
        self.pending.add(Some(text.to_owned()), at);
        self.another_follows();
    }

    /// The next item of a model belongs to another answer.
    fn another_follows(&mut self) {
        if let Some(Answer { state: state @ AnswerState::Open, .. }) = &mut self.answer {
            *state = AnswerState::Answered;
        }
    }

    /// Adds texts to the answer that is under way, or else begins one.
    fn answered(
        &mut self,
        key: &str,
        at: Option<Timestamp>,
        rest: Attributes,
        texts: Vec<String>,
        reasoning: Vec<String>,
        emitter: &mut Emitter<'_>,
    ) -> Result<(), ImportError> {
        self.is_aborted = false;
        // An error of the answer before must not take this line with it.
        let before = self.go_on(key, at, emitter)?;
        let scope = self.scope.clone();
        let Some(Answer { answering, .. }) = &mut self.answer else { return before };
        let bytes = texts.iter().chain(&reasoning).map(String::len).sum();
        answering.line(&scope, key, at, bytes, rest)?;
        reasoning.into_iter().for_each(|text| answering.answer.reasoning(text));
        texts.into_iter().for_each(|text| answering.answer.text(text));
        before
    }

    /// Goes on with the answer that is open, or begins one. Returns how the end of the one before it went.
    fn go_on(
        &mut self,
        key: &str,
        at: Option<Timestamp>,
        emitter: &mut Emitter<'_>,
    ) -> Result<Result<(), ImportError>, ImportError> {
        self.emit_beginning(emitter)?;
        if matches!(self.answer, Some(Answer { state: AnswerState::Open, .. })) {
            return Ok(Ok(()));
        }
        let before = self.end_answer(emitter);
        let started = StepStarted {
            step: self.scope.id("step", &key.replacen("line", "answer", 1))?,
            model: self.model.clone(),
            ..Default::default()
        };
        let answering = Answering::begin(emitter, &self.scope, key, at, &mut self.pending, started)?;
        self.answer = Some(Answer { answering, state: AnswerState::Open });
        Ok(before)
    }

    fn end_answer(&mut self, emitter: &mut Emitter<'_>) -> Result<(), ImportError> {
        let Some(Answer { answering, .. }) = self.answer.take() else { return Ok(()) };
        self.words = answering.answer.words().or(self.words.take());
        answering.end(emitter).map(drop)
    }

    fn emit_beginning(&mut self, emitter: &mut Emitter<'_>) -> Result<(), ImportError> {
        let Some(beginning) = self.beginning.take() else { return Ok(()) };
        let Beginning { key, at, started, asked, item } = beginning;
        let started = SessionStarted { input: asked.or(item), model: self.model.clone(), ..started };
        // Named by the line that completes it, too: without any answer, another one may complete it later.
        emitter.emit(&self.scope, &format!("{key}/started/{}", self.last_key), at, started)
    }

    fn call(
        &mut self,
        item: &str,
        key: &str,
        at: Option<Timestamp>,
        mut body: Body,
        emitter: &mut Emitter<'_>,
    ) -> Result<(), ImportError> {
        let call_id: Option<String> = body.fields.take("call_id")?;
        let name: Option<String> = body.fields.take("name")?;
        let arguments = ["arguments", "input", "action"].iter().find_map(|name| body.fields.text(name));
        // A tool that runs where the model runs has no output of its own.
        let status = body.fields.see("status").map(text_of).filter(|_| call_id.is_none());
        self.is_aborted = false;
        let before = self.go_on(key, at, emitter)?;
        let scope = self.scope.clone();
        let Some(Answer { answering, .. }) = &mut self.answer else { return before };
        answering.follow(&scope, key, at);
        let chooser = Chooser {
            step: &answering.step,
            model: answering.model.as_ref(),
            rationale: answering.answer.rationale(),
            offered: &Offered::default(),
        };
        let mut attributes = body.rest();
        attributes.insert("type".to_owned(), Json::text(item));
        let call = ToolCall {
            field: "call_id".to_owned(),
            id: call_id.unwrap_or_else(|| key.replacen("line", "call", 1)),
            name: name.unwrap_or_else(|| item.trim_end_matches("_call").to_owned()),
            arguments,
            attributes,
        };
        let step = turn::call(emitter, &scope, key, at, chooser, call)?;
        if let Some(status) = status {
            let is_ok = status == "completed";
            let ended = StepEnded {
                step: step.clone(),
                status: if is_ok { StepEnd::Ok } else { StepEnd::Error },
                error: (!is_ok).then_some(status),
                ..Default::default()
            };
            emitter.emit(&scope, &format!("{key}/step/{step}/ended"), at, ended)?;
        }
        before
    }

    fn output(
        &mut self,
        item: &str,
        key: &str,
        at: Option<Timestamp>,
        mut body: Body,
        emitter: &mut Emitter<'_>,
    ) -> Result<(), ImportError> {
        let Some(call_id) = body.fields.take::<String>("call_id")? else {
            return self.note(item, None, key, at, body.rest(), emitter);
        };
        let step: StepId = self.scope.id("call_id", &call_id)?;
        let json = body.fields.json("output");
        let output = json.as_ref().map(Output::of).unwrap_or_default();
        let failed = self.failed_calls.iter().position(|(id, _)| *id == call_id);
        let failed = failed.and_then(|index| self.failed_calls.remove(index)).map(|(_, reason)| reason);
        let error = output.error.or(failed);
        let mut attributes = body.rest();
        attributes.insert("type".to_owned(), Json::text(item));
        // A list or an object has more than its text.
        if let Some(json) = json.filter(|json| !json.as_str().starts_with('"')) {
            attributes.insert("output".to_owned(), json);
        }
        let ended = StepEnded {
            step: step.clone(),
            status: if error.is_some() { StepEnd::Error } else { StepEnd::Ok },
            output: output.text.clone(),
            error,
            attributes,
            ..Default::default()
        };
        emitter.emit(&self.scope, &format!("{key}/step/{step}/ended"), at, ended)?;
        self.pending.add(output.text.clone(), at);
        self.another_follows();
        if output.is_rejected { self.rejected(&step, output.text, key, at, emitter) } else { Ok(()) }
    }

    fn rejected(
        &self,
        step: &StepId,
        description: Option<String>,
        key: &str,
        at: Option<Timestamp>,
        emitter: &mut Emitter<'_>,
    ) -> Result<(), ImportError> {
        let problem = Problem {
            category: "rejection",
            pattern_type: "codex.tool_rejected",
            severity: Severity::Medium,
            outcome: Outcome::Fail,
            title: "A tool call was rejected",
            plain_english: "The agent was not allowed to use the tool that it chose.",
            description,
            evidence: None,
            step: Some(step.clone()),
        };
        turn::raise(emitter, &self.scope, key, at, problem)
    }

    /// Takes an event of Codex. What it reports is also a note, except for the usage of an answer.
    fn event(
        &mut self,
        event: &str,
        key: &str,
        at: Option<Timestamp>,
        mut body: Body,
        emitter: &mut Emitter<'_>,
    ) -> Result<(), ImportError> {
        if event == "token_count" {
            return self.usage(key, at, body, emitter);
        }
        let known = Known::of(&body.fields);
        let text = body.fields.text("message").or_else(|| body.fields.text("text"));
        self.note(event, text.clone().filter(|text| !text.is_empty()), key, at, body.rest(), emitter)?;
        match event {
            "user_message" => {
                self.is_aborted = false;
                if let (Some(beginning), Some(text)) = (&mut self.beginning, text) {
                    beginning.asked.get_or_insert(text);
                }
                Ok(())
            }
            "task_started" | "turn_started" => {
                self.is_aborted = false;
                Ok(())
            }
            "turn_aborted" => self.aborted(known.reason, key, at, emitter),
            "error" => self.failed(text.unwrap_or_default(), known.codex_error_info, key, at, emitter),
            "stream_error" => {
                // The request is sent again, so no step has failed.
                let problem = Problem { severity: Severity::Medium, description: text, ..error(None) };
                turn::raise(emitter, &self.scope, key, at, problem)
            }
            event if event.ends_with("_end") => self.tool_ended(&known, key, at, emitter),
            _ => Ok(()),
        }
    }

    /// Ends the answer that was under way when somebody stopped the turn.
    fn aborted(
        &mut self,
        reason: Option<String>,
        key: &str,
        at: Option<Timestamp>,
        emitter: &mut Emitter<'_>,
    ) -> Result<(), ImportError> {
        self.is_aborted = true;
        let reason = reason.unwrap_or_else(|| "aborted".to_owned());
        let step = self.fail_open(&reason, key, at);
        let problem = Problem {
            category: "interruption",
            pattern_type: "codex.turn_aborted",
            severity: Severity::Medium,
            outcome: Outcome::Warning,
            title: "The turn was stopped",
            plain_english: "The agent was stopped before it was done.",
            description: Some(reason),
            evidence: None,
            step,
        };
        turn::raise(emitter, &self.scope, key, at, problem)
    }

    /// Marks the answer that is under way as failed. No usage of it will come.
    fn fail_open(&mut self, reason: &str, key: &str, at: Option<Timestamp>) -> Option<StepId> {
        let scope = self.scope.clone();
        let Some(Answer { answering, state: state @ AnswerState::Open }) = &mut self.answer else {
            return None;
        };
        *state = AnswerState::Counted;
        answering.error = Some(reason.to_owned());
        answering.follow(&scope, key, at);
        Some(answering.step.clone())
    }

    /// Takes the failure of a request: of the answer that is under way, or else of one that did not come.
    fn failed(
        &mut self,
        message: String,
        evidence: Option<Json>,
        key: &str,
        at: Option<Timestamp>,
        emitter: &mut Emitter<'_>,
    ) -> Result<(), ImportError> {
        let before = self.go_on(key, at, emitter)?;
        let step = self.fail_open(&message, key, at);
        let problem = Problem { description: Some(message), evidence, ..error(step) };
        before.and(turn::raise(emitter, &self.scope, key, at, problem))
    }

    /// Takes the end of a tool, which the output for the model follows or precedes.
    fn tool_ended(
        &mut self,
        known: &Known,
        key: &str,
        at: Option<Timestamp>,
        emitter: &mut Emitter<'_>,
    ) -> Result<(), ImportError> {
        let (Some(call_id), Some(reason)) = (&known.call_id, known.failure()) else { return Ok(()) };
        let step: StepId = self.scope.id("payload.call_id", call_id)?;
        if self.failed_calls.len() >= FAILED_CALLS_MAX {
            self.failed_calls.pop_front();
        }
        self.failed_calls.push_back((call_id.clone(), reason.clone()));
        let ended = StepEnded {
            step: step.clone(),
            status: StepEnd::Error,
            error: Some(reason),
            ..Default::default()
        };
        emitter.emit(&self.scope, &format!("{key}/step/{step}/ended"), at, ended)
    }

    /// Takes the usage of an answer. A count that repeats the total of the last one has nothing new.
    fn usage(
        &mut self,
        key: &str,
        at: Option<Timestamp>,
        mut body: Body,
        emitter: &mut Emitter<'_>,
    ) -> Result<(), ImportError> {
        let info = body.fields.see("info").cloned();
        let mut counted = match body.fields.object("info")? {
            Some(info) => info,
            None => return self.note("token_count", None, key, at, body.rest(), emitter),
        };
        let total: Option<Total> = counted.take("total_token_usage")?;
        let last: Option<Total> = counted.take("last_token_usage")?;
        let last = last.filter(|last| *last != Total::default());
        let before = std::mem::replace(&mut self.total, total.unwrap_or_default());
        let is_new = total.is_none_or(|total| total != before);
        let usage = match (last, total) {
            (Some(last), _) if is_new => last,
            // Older versions only have the total.
            (None, Some(total)) if is_new => Total {
                input_tokens: total.input_tokens.saturating_sub(before.input_tokens),
                output_tokens: total.output_tokens.saturating_sub(before.output_tokens),
                cached_input_tokens: total.cached_input_tokens.saturating_sub(before.cached_input_tokens),
                reasoning_output_tokens: total
                    .reasoning_output_tokens
                    .saturating_sub(before.reasoning_output_tokens),
                ..total
            },
            _ => {
                body.fields.put("info", info.unwrap_or_default());
                return self.note("token_count", None, key, at, body.rest(), emitter);
            }
        };
        // A request whose answer the file does not have, such as one for a summary, is a step of its own.
        let mut ended = Ok(());
        if !matches!(self.answer, Some(Answer { state: AnswerState::Open | AnswerState::Answered, .. })) {
            ended = self.go_on(key, at, emitter)?;
        }
        let scope = self.scope.clone();
        let Some(Answer { answering, state }) = &mut self.answer else { return ended };
        *state = AnswerState::Counted;
        let mut rest = body.rest();
        rest.insert("info".to_owned(), info.unwrap_or_default());
        let rest = json_of(&scope.place, "payload", &rest)?;
        answering.line(&scope, key, at, rest.as_str().len(), Attributes::new())?;
        answering.attributes.insert("token_count".to_owned(), rest);
        answering.usage = Usage {
            tokens_input: Some(usage.input_tokens),
            tokens_output: Some(usage.output_tokens),
            tokens_cache_read: Some(usage.cached_input_tokens),
            tokens_reasoning: Some(usage.reasoning_output_tokens),
            ..Default::default()
        };
        ended
    }

    /// Ends what is under way: the file has no more lines.
    pub(super) fn end(mut self, emitter: &mut Emitter<'_>) -> Result<(), ImportError> {
        let done = self.emit_beginning(emitter);
        let done = done.and(self.end_answer(emitter));
        let status = if self.is_aborted { SessionEnd::Cancelled } else { SessionEnd::Completed };
        let ended = SessionEnded { status, summary: self.words, ..Default::default() };
        done.and(emitter.emit(&self.scope, &format!("{}/ended", self.last_key), self.last_at, ended))
    }
}

/// The known facts about events, if the events have them in a known form.
#[derive(Default)]
struct Known {
    call_id: Option<String>,
    reason: Option<String>,
    status: Option<String>,
    exit_code: Option<i64>,
    success: Option<bool>,
    codex_error_info: Option<Json>,
}

impl Known {
    fn of(fields: &Fields) -> Known {
        let text = |name: &str| fields.see(name).map(text_of);
        Known {
            call_id: text("call_id"),
            reason: text("reason"),
            status: text("status"),
            exit_code: fields.see("exit_code").and_then(|json| json.as_str().parse().ok()),
            success: fields.see("success").and_then(|json| json.as_str().parse().ok()),
            codex_error_info: fields.see("codex_error_info").cloned(),
        }
    }

    fn failure(&self) -> Option<String> {
        match (self.exit_code, self.status.as_deref(), self.success) {
            (Some(code), _, _) if code != 0 => Some(format!("exit code {code}")),
            (_, Some(status @ ("failed" | "declined")), _) => Some(status.to_owned()),
            (_, _, Some(false)) => Some("failed".to_owned()),
            _ => None,
        }
    }
}

/// The texts of a list of parts, and the parts that have anything else.
fn content(fields: &mut Fields, name: &str) -> Result<(Vec<String>, Vec<Json>), ImportError> {
    let (mut texts, mut others) = (Vec::new(), Vec::new());
    for item in fields.items(name)? {
        match item {
            Item::Text(text) => texts.push(text),
            Item::Object(mut part) => {
                for usual in ["input_text", "output_text", "summary_text", "reasoning_text", "text"] {
                    part.drop_usual("type", usual);
                }
                texts.extend(part.text("text"));
                if !part.is_empty() {
                    others.push(part.raw().clone());
                }
            }
        }
    }
    Ok((texts, others))
}

/// The thread that started this one as a subagent.
fn parent_of(fields: &Fields) -> Option<String> {
    #[derive(Deserialize)]
    struct Source {
        subagent: Subagent,
    }
    #[derive(Deserialize)]
    struct Subagent {
        thread_spawn: Spawn,
    }
    #[derive(Deserialize)]
    struct Spawn {
        parent_thread_id: String,
    }
    let source: Source = serde_json::from_str(fields.see("source")?.as_str()).ok()?;
    Some(source.subagent.thread_spawn.parent_thread_id)
}

fn branch_of(git: &Json) -> Option<String> {
    #[derive(Deserialize)]
    struct Git {
        branch: Option<String>,
    }
    serde_json::from_str::<Git>(git.as_str()).ok()?.branch
}

fn session_id(place: &Location, id: &str) -> Result<SessionId, ImportError> {
    Ok(Scope::of(place.clone(), &format!("{FORMAT}/{id}"))?.session)
}

fn error(step: Option<StepId>) -> Problem {
    Problem {
        category: "error",
        pattern_type: "codex.error",
        severity: Severity::High,
        outcome: Outcome::Error,
        title: "A request to the model failed",
        plain_english: "The model could not be asked.",
        description: None,
        evidence: None,
        step,
    }
}
