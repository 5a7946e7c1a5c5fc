//! A conversation as events.

use std::cmp::Reverse;

use super::super::emit::{Emitter, Scope};
use super::super::error::ImportError;
use super::super::fields::text_of;
use super::super::tools::{self, Offered};
use super::super::turn::{CallIds, Rationale};
use super::super::{Location, Source};
use super::call::{Attachment, Call, ToolCall, ToolResult, keep, keep_text};
use crate::{
    ArtifactAttached, Attributes, DecisionMade, Json, SessionEnd, SessionEnded, SessionStarted, StepEnd,
    StepEnded, StepId, StepKind, StepStarted, Timestamp,
};

/// Name of the format: of the profile and the agent, and the first part of each session's id.
pub(super) const FORMAT: &str = "llm";

/// A call of a tool that no result has ended yet.
struct Pending {
    step: StepId,
    /// Number of the response that made it, in the conversation.
    response: usize,
    name: Option<String>,
    tool_call_id: Option<String>,
}

/// A conversation on its way to the emitter, one call after the other.
pub(super) struct Conversation {
    scope: Scope,
    responses: usize,
    pending: Vec<Pending>,
    decisions: CallIds,
    last: Last,
}

/// The response in which tools were chosen.
struct Chooser<'a> {
    step: &'a StepId,
    model: Option<String>,
    at: Option<Timestamp>,
    offered: Offered,
    rationale: Rationale,
}

/// The last call of a conversation so far.
#[derive(Default)]
struct Last {
    id: String,
    at: Option<Timestamp>,
}

impl Conversation {
    /// Begins the session with its first call.
    ///
    /// A conversation can be continued at any time, and the events that it made before must then stay as they are. So
    /// these events have nothing that the log may change later, such as the conversation's name.
    pub(super) fn begin(
        conversation: Option<&str>,
        forked_from: Option<String>,
        first: &Call,
        source: &Source,
        emitter: &mut Emitter<'_>,
    ) -> Result<Conversation, ImportError> {
        // A call without a conversation is a session of its own, named after the call.
        let position = match conversation {
            Some(id) => id.to_owned(),
            None => format!("response/{}", first.id),
        };
        let scope = emitter.session(first.place.clone(), FORMAT, source, &position)?;
        let mut attributes = Attributes::new();
        keep_text(&mut attributes, "forked_from", forked_from);
        let started = SessionStarted {
            profile: Some(FORMAT.to_owned()),
            input: first.input.clone(),
            conversation: conversation.map(str::to_owned),
            agent: Some(FORMAT.to_owned()),
            model: first.model.clone(),
            source: Some(source.name().to_owned()),
            attributes,
            ..Default::default()
        };
        emitter.emit(&scope, "started", first.started, started)?;
        Ok(Conversation {
            scope,
            responses: 0,
            pending: Vec::new(),
            decisions: CallIds::default(),
            last: Last::default(),
        })
    }

    /// Adds a call: ends the steps of the tools whose results it was given, and begins the steps of the tools that it
    /// requested. The log has no times of tools.
    pub(super) fn add(&mut self, call: Call, emitter: &mut Emitter<'_>) -> Result<(), ImportError> {
        self.scope.place = call.place.clone();
        self.responses += 1;
        self.last = Last { id: call.id.clone(), at: call.ended.or(call.started) };
        let step: StepId = self.scope.id("id", &call.id)?;
        let reasoning = call.returned.get("reasoning").map(text_of);
        let rationale: Vec<&str> = reasoning.as_deref().into_iter().chain(call.output.as_deref()).collect();
        let chooser = Chooser {
            step: &step,
            model: call.model.clone(),
            at: call.ended,
            offered: call.given.get("tools").map(tools::offered).unwrap_or_default(),
            rationale: Rationale::of(&rationale),
        };

        let mut given = call.given;
        // Results of calls that this conversation did not make.
        let mut unasked = Vec::new();
        for result in call.results_given {
            unasked.extend(self.end_tool(result, emitter)?);
        }
        // Results without a known call become attributes, so that none is lost.
        keep_results(&self.scope.place, &mut given, &unasked)?;
        keep_attachments(&self.scope.place, &mut given, &call.attachments_given)?;
        let started = StepStarted {
            step: step.clone(),
            module: call.model.clone(),
            kind: Some(StepKind::Llm),
            model: call.model,
            input: call.input,
            attributes: given,
            ..Default::default()
        };
        emitter.emit(&self.scope, &format!("step/{step}/started"), call.started, started)?;
        self.attach(&step, "given", &call.attachments_given, emitter)?;

        for (index, tool_call) in call.tool_calls.into_iter().enumerate() {
            self.begin_tool(&chooser, index + 1, tool_call, emitter)?;
        }
        let mut returned = call.returned;
        let mut unasked = Vec::new();
        for result in call.results_returned {
            unasked.extend(self.end_tool(result, emitter)?);
        }
        keep_results(&self.scope.place, &mut returned, &unasked)?;
        keep_attachments(&self.scope.place, &mut returned, &call.attachments_returned)?;
        let ended = StepEnded {
            step: step.clone(),
            // llm logs only calls that succeeded.
            status: StepEnd::Ok,
            output: call.output,
            tokens_input: call.tokens_input,
            tokens_output: call.tokens_output,
            attributes: returned,
            ..Default::default()
        };
        emitter.emit(&self.scope, &format!("step/{step}/ended"), call.ended, ended)?;
        self.attach(&step, "returned", &call.attachments_returned, emitter)
    }

    /// Ends the session with the last call. If the conversation goes on later, it ends again, with its new last call:
    /// each end is an event of its own, and the latest counts.
    pub(super) fn end(self, emitter: &mut Emitter<'_>) -> Result<(), ImportError> {
        // llm logs only calls that succeeded.
        let ended = SessionEnded { status: SessionEnd::Completed, ..Default::default() };
        // The last call makes the event's id: another import adds an end only if calls were added.
        emitter.emit(&self.scope, &format!("ended/{}", self.last.id), self.last.at, ended)
    }

    fn begin_tool(
        &mut self,
        chooser: &Chooser<'_>,
        number: usize,
        call: ToolCall,
        emitter: &mut Emitter<'_>,
    ) -> Result<(), ImportError> {
        let parent = chooser.step;
        // Numbered within the response: the ids of calls may repeat, and some calls have none.
        let step: StepId = self.scope.id("id", &format!("{parent}/{number}"))?;
        let decision = self.decisions.name(call.tool_call_id.as_deref(), step.to_string());
        let arguments =
            call.arguments.as_deref().map(|text| text.parse().unwrap_or_else(|_| Json::text(text)));
        let mut made = DecisionMade {
            decision: self.scope.id("tool_call_id", &decision)?,
            step: Some(parent.clone()),
            decision_type: Some("tool".to_owned()),
            chosen_option: call.name.clone(),
            actor: chooser.model.clone(),
            attributes: arguments.map(|json| ("arguments".to_owned(), json)).into_iter().collect(),
            ..Default::default()
        };
        chooser.offered.put(&mut made);
        chooser.rationale.put(&mut made);
        emitter.emit(&self.scope, &format!("decision/{step}"), chooser.at, made)?;
        let mut attributes = call.attributes;
        keep_text(&mut attributes, "tool_call_id", call.tool_call_id.clone());
        let started = StepStarted {
            step: step.clone(),
            parent_step: Some(parent.clone()),
            module: call.name.clone(),
            kind: Some(StepKind::Tool),
            input: call.arguments,
            attributes,
            ..Default::default()
        };
        emitter.emit(&self.scope, &format!("step/{step}/started"), None, started)?;
        // The step stays open until a result comes, perhaps in a later import.
        self.pending.push(Pending {
            step,
            response: self.responses,
            name: call.name,
            tool_call_id: call.tool_call_id,
        });
        Ok(())
    }

    /// Ends the step that a result belongs to. Returns the result if there is no such step: a fork begins with results
    /// of calls that another conversation made.
    fn end_tool(
        &mut self,
        result: ToolResult,
        emitter: &mut Emitter<'_>,
    ) -> Result<Option<ToolResult>, ImportError> {
        let Some(place) = self.asked_by(&result) else { return Ok(Some(result)) };
        let Pending { step, name, .. } = self.pending.remove(place);
        let mut attributes = result.attributes;
        // The step has the call's name; that of the result is kept only if it differs.
        keep_text(&mut attributes, "name", result.name.filter(|other| Some(other) != name.as_ref()));
        keep_attachments(&self.scope.place, &mut attributes, &result.attachments)?;
        let ended = StepEnded {
            step: step.clone(),
            status: if result.exception.is_some() { StepEnd::Error } else { StepEnd::Ok },
            output: result.output,
            error: result.exception,
            attributes,
            ..Default::default()
        };
        emitter.emit(&self.scope, &format!("step/{step}/ended"), None, ended)?;
        self.attach(&step, "returned", &result.attachments, emitter)?;
        Ok(None)
    }

    /// The call that a result belongs to: the one with its id, of the latest response, since ids may repeat. Otherwise,
    /// if one of the two has no id, it is the first call with its name.
    fn asked_by(&self, result: &ToolResult) -> Option<usize> {
        // The latest response wins, and within it the first call.
        let latest = |matches: &dyn Fn(&Pending) -> bool| {
            let calls = self.pending.iter().enumerate().filter(|(_, call)| matches(call));
            calls.max_by_key(|(place, call)| (call.response, Reverse(*place))).map(|(place, _)| place)
        };
        latest(&|call| call.tool_call_id.is_some() && call.tool_call_id == result.tool_call_id).or_else(
            || {
                latest(&|call| {
                    call.name == result.name && (call.tool_call_id.is_none() || result.tool_call_id.is_none())
                })
            },
        )
    }

    /// Records the contents that went with a step. The log keeps them; here they are their digests.
    fn attach(
        &self,
        step: &StepId,
        way: &str,
        attachments: &[Attachment],
        emitter: &mut Emitter<'_>,
    ) -> Result<(), ImportError> {
        for (position, attachment) in (1_u64..).zip(attachments) {
            // Without content there is no digest; the attributes of the step have the reference.
            let Some(content) = &attachment.content else { continue };
            let mut attributes = Attributes::new();
            keep_text(&mut attributes, "attachment", Some(attachment.id.clone()));
            let attached = ArtifactAttached {
                artifact: content.digest,
                step: Some(step.clone()),
                position: Some(position),
                media_type: content.media_type.clone(),
                size: Some(content.size),
                attributes,
                ..Default::default()
            };
            emitter.emit(&self.scope, &format!("step/{step}/{way}/{position}"), None, attached)?;
        }
        Ok(())
    }
}

fn keep_results(
    place: &Location,
    attributes: &mut Attributes,
    results: &[ToolResult],
) -> Result<(), ImportError> {
    keep(attributes, "tool_results", json(place, "tool_results", results)?);
    Ok(())
}

fn keep_attachments(
    place: &Location,
    attributes: &mut Attributes,
    attachments: &[Attachment],
) -> Result<(), ImportError> {
    keep(attributes, "attachments", json(place, "attachments", attachments)?);
    Ok(())
}

fn json<T: serde::Serialize>(
    place: &Location,
    field: &str,
    values: &[T],
) -> Result<Option<Json>, ImportError> {
    if values.is_empty() {
        return Ok(None);
    }
    Json::of(values).map(Some).map_err(|error| ImportError::Field {
        place: place.clone(),
        field: field.to_owned(),
        reason: error.to_string(),
    })
}
