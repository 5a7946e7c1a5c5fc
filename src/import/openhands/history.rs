//! The history of an instance, on its way to the emitter.

use std::collections::HashMap;

use super::super::emit::Emitter;
use super::super::error::ImportError;
use super::super::fields::Fields;
use super::super::transcript::{Answered, Author, Called, Chosen, Record, Returned, Transcript};
use super::super::turn::{Answer, Problem, Usage};
use super::event::{Ends, Event, Kind, Refusal};
use super::{newer, older};
use crate::{Attributes, Outcome, Severity, StepId};

pub(super) struct History {
    pub(super) transcript: Transcript,
    /// Usage by the id of the response.
    usage: HashMap<String, Used>,
    /// Steps of calls by the id of the event with the action.
    actions: HashMap<String, StepId>,
    /// The last answer, of which another action may follow.
    last: Option<Last>,
}

struct Used {
    usage: Usage,
    model: Option<String>,
}

struct Last {
    response: String,
    step: StepId,
    model: Option<String>,
    calls: usize,
}

impl History {
    /// Begins with the usage of all responses, which stays in the metrics, too.
    pub(super) fn new(transcript: Transcript, metrics: Option<&mut Fields>) -> Result<History, ImportError> {
        let mut usage = HashMap::new();
        if let Some(metrics) = metrics {
            let whole = metrics.see("token_usages").cloned();
            for mut used in metrics.objects("token_usages")?.unwrap_or_default() {
                let Some(response) = used.text("response_id").filter(|id| !id.is_empty()) else { continue };
                let model = used.text("model").filter(|model| !model.is_empty());
                let counted = Usage {
                    tokens_input: used.take("prompt_tokens")?,
                    tokens_output: used.take("completion_tokens")?,
                    tokens_cache_read: used.take("cache_read_tokens")?,
                    tokens_cache_write: used.take("cache_write_tokens")?,
                    tokens_reasoning: used.take("reasoning_tokens")?,
                    cost_usd: None,
                };
                usage.insert(response, Used { usage: counted, model });
            }
            if let Some(whole) = whole {
                metrics.put("token_usages", whole);
            }
        }
        Ok(History { transcript, usage, actions: HashMap::new(), last: None })
    }

    pub(super) fn take(
        &mut self,
        fields: Fields,
        index: usize,
        emitter: &mut Emitter<'_>,
    ) -> Result<(), ImportError> {
        let place = fields.place().clone();
        let is_newer = fields.see("kind").is_some();
        let Event { at, id, kind, rest } =
            if is_newer { newer::event(fields)? } else { older::event(fields)? };
        let key = format!("event/{index}");
        let record = Record { place: &place, key: &key, at };
        match kind {
            Kind::System { text, offered } => {
                self.transcript.offered = offered;
                self.transcript.add_message(&record, Author::System, text, &rest.rest(), emitter)
            }
            Kind::User(text) => {
                self.transcript.add_message(&record, Author::User, text, &rest.rest(), emitter)
            }
            Kind::Answer { answer, response, call, ends } => {
                self.answer(&record, id, answer, response, call, ends, rest.rest(), emitter)
            }
            Kind::Result { call, action, mut returned, refusal } => {
                let step = action
                    .as_ref()
                    .and_then(|action| self.actions.remove(action))
                    .or_else(|| self.transcript.open_call(call.as_deref()?));
                let Some(step) = step else {
                    let text = returned.output.take();
                    returned.attributes.extend(rest.rest());
                    return self.transcript.note(
                        &record,
                        "observation",
                        text,
                        None,
                        &returned.attributes,
                        emitter,
                    );
                };
                returned.attributes.extend(rest.rest());
                self.returned(&record, step, returned, refusal, emitter)
            }
            Kind::Failed(text) => {
                let problem = Problem {
                    category: "error",
                    pattern_type: "openhands.conversation_error",
                    severity: Severity::High,
                    outcome: Outcome::Error,
                    title: "The conversation ended with an error",
                    plain_english: "The agent could not go on.",
                    description: text.clone(),
                    evidence: None,
                    step: None,
                };
                self.transcript.note(&record, "error", text, None, &rest.rest(), emitter)?;
                self.transcript.raise(&record, problem, emitter)
            }
            Kind::Other { kind, text } => {
                self.transcript.note(&record, &kind, text, None, &rest.rest(), emitter)
            }
        }
    }

    #[allow(clippy::too_many_arguments, reason = "each comes from a different part of the event")]
    fn answer(
        &mut self,
        record: &Record<'_>,
        id: Option<String>,
        answer: Answer,
        response: Option<String>,
        call: Option<Called>,
        ends: Ends,
        mut rest: Attributes,
        emitter: &mut Emitter<'_>,
    ) -> Result<(), ImportError> {
        let call = match (&mut self.last, call) {
            // Another call of the same answer, whose tokens were counted with the first one.
            (Some(last), Some(mut call)) if Some(&last.response) == response.as_ref() => {
                call.attributes.append(&mut rest);
                let index = last.calls;
                last.calls = last.calls.saturating_add(1);
                let chosen = Chosen {
                    step: &last.step,
                    index,
                    model: last.model.as_ref(),
                    rationale: answer.rationale(),
                };
                Some(self.transcript.called(record, chosen, call, emitter)?)
            }
            (_, call) => {
                let used = response.as_ref().and_then(|response| self.usage.remove(response));
                let (usage, model) = used.map(|used| (used.usage, used.model)).unwrap_or_default();
                if let Some(response) = &response {
                    rest.insert("response_id".to_owned(), crate::Json::text(response));
                }
                let answered = Answered {
                    step: record.key.to_owned(),
                    model: model.clone(),
                    answer,
                    usage,
                    calls: call.into_iter().collect(),
                    attributes: rest,
                    ..Default::default()
                };
                let step = self.transcript.scope().id("id", record.key)?;
                let steps = self.transcript.answered(record, answered, emitter)?;
                self.last = response.map(|response| Last { response, step, model, calls: steps.len() });
                steps.into_iter().next()
            }
        };
        let Some(call) = call else { return Ok(()) };
        if ends == Ends::AtOnce {
            let key = format!("{}/result", record.key);
            let record = Record { place: record.place, key: &key, at: record.at };
            return self.transcript.returned(&record, call, Returned::default(), emitter);
        }
        self.actions.extend(id.map(|id| (id, call)));
        Ok(())
    }

    fn returned(
        &mut self,
        record: &Record<'_>,
        step: StepId,
        returned: Returned,
        refusal: Refusal,
        emitter: &mut Emitter<'_>,
    ) -> Result<(), ImportError> {
        let description = returned.error.clone();
        self.transcript.returned(record, step.clone(), returned, emitter)?;
        if refusal == Refusal::None {
            return Ok(());
        }
        let problem = Problem {
            category: "rejection",
            pattern_type: "openhands.action_rejected",
            severity: Severity::Medium,
            outcome: Outcome::Fail,
            title: "An action was rejected",
            plain_english: "The agent was not allowed to do what it chose.",
            description,
            evidence: None,
            step: Some(step),
        };
        self.transcript.raise(record, problem, emitter)
    }
}
