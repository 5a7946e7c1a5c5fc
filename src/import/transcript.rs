//! A session that a file has as a list of messages: what was said, what a model answered, and the tools that it called.
//!
//! Each record of such a file has a key, its position. Events are named by these keys, so a file that grows leaves the
//! events that it made before as they are.

use std::collections::VecDeque;

use super::emit::{Emitter, Scope};
use super::error::{ImportError, Location};
use super::tools::Offered;
use super::turn::{
    self, Answer, CallIds, Chooser, PendingInput, Problem, Rationale, ToolCall, Usage, json_of,
};
use crate::{
    Attributes, Json, NoteLogged, SessionEnded, SessionStarted, StepEnd, StepEnded, StepId, StepKind,
    StepStarted, Timestamp,
};

/// Most calls whose results are waited for. Files of agents that ran in parallel have some dozens.
const OPEN_CALLS_MAX: usize = 4_096;

/// A session whose records are being read.
pub(super) struct Transcript {
    scope: Scope,
    /// The beginning, until the first question or answer.
    beginning: Option<Beginning>,
    pub(super) offered: Offered,
    pending: PendingInput,
    ids: CallIds,
    open: VecDeque<OpenCall>,
    last_key: String,
    last_at: Option<Timestamp>,
    /// The text of the last answer.
    last_output: Option<String>,
}

struct Beginning {
    at: Option<Timestamp>,
    started: SessionStarted,
}

/// A call without a result so far.
struct OpenCall {
    id: Option<String>,
    step: StepId,
}

/// The position of a record, which names its events.
pub(super) struct Record<'a> {
    pub(super) place: &'a Location,
    pub(super) key: &'a str,
    pub(super) at: Option<Timestamp>,
}

/// The author of a message that no model wrote.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Author {
    /// A person, or a program in the place of one. The first message is the input of the session.
    User,
    /// The program around the model.
    System,
    /// The environment, whose message is an input of the model.
    Environment,
}

/// An answer of a model.
#[derive(Default)]
pub(super) struct Answered {
    pub(super) step: String,
    pub(super) parent_step: Option<StepId>,
    /// The work, if no model did it.
    pub(super) kind: Option<StepKind>,
    pub(super) module: Option<String>,
    pub(super) model: Option<String>,
    /// The input, if the record has one of its own.
    pub(super) input: Option<String>,
    pub(super) started_at: Option<Timestamp>,
    pub(super) answer: Answer,
    pub(super) usage: Usage,
    pub(super) error: Option<String>,
    pub(super) calls: Vec<Called>,
    /// The fields that are known when the request is sent, and all others.
    pub(super) given: Attributes,
    pub(super) attributes: Attributes,
}

/// A call of a tool, as a file has it.
pub(super) struct Called {
    pub(super) id: Option<String>,
    pub(super) name: String,
    pub(super) arguments: Option<String>,
    pub(super) attributes: Attributes,
}

/// The answer in which a tool was chosen.
pub(super) struct Chosen<'a> {
    pub(super) step: &'a StepId,
    /// The number of the call in its answer.
    pub(super) index: usize,
    pub(super) model: Option<&'a String>,
    pub(super) rationale: Rationale,
}

/// The result of a call.
#[derive(Default)]
pub(super) struct Returned {
    pub(super) output: Option<String>,
    pub(super) error: Option<String>,
    pub(super) attributes: Attributes,
}

impl Transcript {
    pub(super) fn new(scope: Scope, at: Option<Timestamp>, started: SessionStarted) -> Transcript {
        Transcript {
            scope,
            beginning: Some(Beginning { at, started }),
            offered: Offered::default(),
            pending: PendingInput::default(),
            ids: CallIds::default(),
            open: VecDeque::new(),
            last_key: String::new(),
            last_at: None,
            last_output: None,
        }
    }

    pub(super) fn scope(&self) -> &Scope {
        &self.scope
    }

    pub(super) fn last_output(&self) -> Option<&String> {
        self.last_output.as_ref()
    }

    fn follow(&mut self, record: &Record<'_>) {
        self.scope = self.scope.at(record.place);
        record.key.clone_into(&mut self.last_key);
        self.last_at = record.at.or(self.last_at);
    }

    /// Emits the beginning, if it was not emitted yet.
    fn begin(&mut self, key: &str, emitter: &mut Emitter<'_>) -> Result<(), ImportError> {
        let Some(Beginning { at, started }) = self.beginning.take() else { return Ok(()) };
        // Named by the record that completes it: a shorter file may lack the question.
        emitter.emit(&self.scope, &format!("started/{key}"), at, started)
    }

    /// Emits a message as a note, and keeps its text as the input of the next answer.
    pub(super) fn add_message(
        &mut self,
        record: &Record<'_>,
        author: Author,
        text: Option<String>,
        rest: &Attributes,
        emitter: &mut Emitter<'_>,
    ) -> Result<(), ImportError> {
        let kind = match author {
            Author::User => "user",
            Author::System => "system",
            Author::Environment => "environment",
        };
        self.follow(record);
        if author == Author::User {
            if let (Some(beginning), Some(text)) = (&mut self.beginning, &text) {
                beginning.started.input.get_or_insert_with(|| text.clone());
                beginning.at = beginning.at.or(record.at);
            }
            if text.is_some() {
                self.begin(record.key, emitter)?;
            }
        }
        self.note(record, kind, text.clone(), None, rest, emitter)?;
        self.pending.add(text, record.at);
        Ok(())
    }

    /// Keeps a text as the input of the next answer, without an event of its own.
    pub(super) fn add_input(&mut self, text: Option<String>, at: Option<Timestamp>) {
        self.pending.add(text, at);
    }

    /// Emits anything else as a note.
    pub(super) fn note(
        &mut self,
        record: &Record<'_>,
        kind: &str,
        text: Option<String>,
        step: Option<StepId>,
        rest: &Attributes,
        emitter: &mut Emitter<'_>,
    ) -> Result<(), ImportError> {
        self.follow(record);
        let data = if rest.is_empty() { None } else { Some(json_of(record.place, kind, rest)?) };
        let note = NoteLogged {
            message: text.filter(|text| !text.is_empty()).unwrap_or_else(|| kind.to_owned()),
            step,
            data,
            attributes: [("type".to_owned(), Json::text(kind))].into(),
            ..Default::default()
        };
        emitter.emit(&self.scope, &format!("{}/note", record.key), record.at, note)
    }

    /// Emits an answer with its calls, each a decision and a step that has begun. Returns the steps of the calls.
    pub(super) fn answered(
        &mut self,
        record: &Record<'_>,
        answered: Answered,
        emitter: &mut Emitter<'_>,
    ) -> Result<Vec<StepId>, ImportError> {
        self.follow(record);
        self.begin(record.key, emitter)?;
        let step: StepId = self.scope.id("step", &answered.step)?;
        let input = self.pending.take();
        let mut given = answered.given;
        // A record with an input of its own has all of it.
        if answered.input.is_none() {
            given.extend(input.attributes);
        }
        let started = StepStarted {
            step: step.clone(),
            parent_step: answered.parent_step,
            module: answered.module,
            kind: Some(answered.kind.unwrap_or(StepKind::Llm)),
            model: answered.model.clone(),
            input: answered.input.or(input.text),
            attributes: given,
            ..Default::default()
        };
        let started_at = answered.started_at.or(input.at).or(record.at);
        emitter.emit(&self.scope, &format!("{}/step/{step}/started", record.key), started_at, started)?;
        let rationale = answered.answer.rationale();
        let mut steps = Vec::new();
        for (index, called) in answered.calls.into_iter().enumerate() {
            let chooser =
                Chosen { step: &step, index, model: answered.model.as_ref(), rationale: rationale.clone() };
            steps.push(self.called(record, chooser, called, emitter)?);
        }
        let output = answered.answer.output();
        self.last_output = output.clone().or(self.last_output.take());
        let mut ended = StepEnded {
            step: step.clone(),
            status: if answered.error.is_some() { StepEnd::Error } else { StepEnd::Ok },
            output,
            error: answered.error,
            attributes: answered.attributes,
            ..Default::default()
        };
        answered.usage.put(&mut ended);
        emitter.emit(&self.scope, &format!("{}/step/{step}/ended", record.key), record.at, ended)?;
        Ok(steps)
    }

    /// Emits a call of an answer: the decision for the tool, and its step. Returns the step.
    pub(super) fn called(
        &mut self,
        record: &Record<'_>,
        chosen: Chosen<'_>,
        called: Called,
        emitter: &mut Emitter<'_>,
    ) -> Result<StepId, ImportError> {
        self.follow(record);
        let id = self.ids.name(called.id.as_deref(), format!("{}/call/{}", chosen.step, chosen.index));
        let mut attributes = called.attributes;
        if let Some(own) = called.id.as_ref().filter(|own| **own != id) {
            attributes.insert("tool_call_id".to_owned(), Json::text(own));
        }
        let chooser = Chooser {
            step: chosen.step,
            model: chosen.model,
            rationale: chosen.rationale,
            offered: &self.offered,
        };
        let call = ToolCall {
            field: "tool_call_id".to_owned(),
            id,
            name: called.name,
            arguments: called.arguments,
            attributes,
        };
        let step = turn::call(emitter, &self.scope, record.key, record.at, chooser, call)?;
        if self.open.len() >= OPEN_CALLS_MAX {
            self.open.pop_front();
        }
        self.open.push_back(OpenCall { id: called.id, step: step.clone() });
        Ok(step)
    }

    /// The call that a result with this id belongs to: the latest with the id that has no result yet.
    pub(super) fn open_call(&self, id: &str) -> Option<StepId> {
        let call = self.open.iter().rfind(|call| call.id.as_deref() == Some(id))?;
        Some(call.step.clone())
    }

    /// The first call without a result, for results that name no call.
    pub(super) fn first_open_call(&self) -> Option<StepId> {
        self.open.front().map(|call| call.step.clone())
    }

    /// Ends the step of a call. Its output is an input of the next answer.
    pub(super) fn returned(
        &mut self,
        record: &Record<'_>,
        step: StepId,
        returned: Returned,
        emitter: &mut Emitter<'_>,
    ) -> Result<(), ImportError> {
        self.follow(record);
        self.open.retain(|call| call.step != step);
        let what = format!("{}/step/{step}/ended", record.key);
        let ended = StepEnded {
            step,
            status: if returned.error.is_some() { StepEnd::Error } else { StepEnd::Ok },
            output: returned.output.clone(),
            error: returned.error,
            attributes: returned.attributes,
            ..Default::default()
        };
        emitter.emit(&self.scope, &what, record.at, ended)?;
        self.pending.add(returned.output, record.at);
        Ok(())
    }

    /// Emits the beginning of a step that is no answer and no call.
    pub(super) fn step_started(
        &mut self,
        record: &Record<'_>,
        started: StepStarted,
        emitter: &mut Emitter<'_>,
    ) -> Result<(), ImportError> {
        self.follow(record);
        self.begin(record.key, emitter)?;
        emitter.emit(&self.scope, &format!("{}/started", record.key), record.at, started)
    }

    /// Emits its end.
    pub(super) fn step_ended(
        &mut self,
        record: &Record<'_>,
        ended: StepEnded,
        emitter: &mut Emitter<'_>,
    ) -> Result<(), ImportError> {
        self.follow(record);
        emitter.emit(&self.scope, &format!("{}/ended", record.key), record.at, ended)
    }

    /// Emits a finding of the record.
    pub(super) fn raise(
        &mut self,
        record: &Record<'_>,
        problem: Problem,
        emitter: &mut Emitter<'_>,
    ) -> Result<(), ImportError> {
        self.follow(record);
        turn::raise(emitter, &self.scope, record.key, record.at, problem)
    }

    /// Begins the session if nothing else did, and leaves it open.
    pub(super) fn begin_only(mut self, emitter: &mut Emitter<'_>) -> Result<(), ImportError> {
        let last_key = std::mem::take(&mut self.last_key);
        self.begin(&last_key, emitter)
    }

    /// Ends the session. The place is that of the fields that say how.
    pub(super) fn end(
        mut self,
        place: &Location,
        at: Option<Timestamp>,
        ended: SessionEnded,
        emitter: &mut Emitter<'_>,
    ) -> Result<(), ImportError> {
        self.scope = self.scope.at(place);
        let last_key = std::mem::take(&mut self.last_key);
        self.begin(&last_key, emitter)?;
        emitter.emit_state(&self.scope, &format!("ended/{last_key}"), at.or(self.last_at), ended)
    }
}
