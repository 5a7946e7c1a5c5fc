//! A turn of a coding agent: what a model was given, what it answered, and the tools that it asked for.

use std::collections::{HashSet, VecDeque};

use serde::Serialize;

use super::emit::{Emitter, Scope};
use super::error::{ImportError, Location};
use super::tools::Offered;
use crate::limits::{ID_BYTES_MAX, PAYLOAD_BYTES_DEFAULT};
use crate::{
    Attributes, DecisionMade, EventId, FindingRaised, Json, Outcome, Severity, StepEnd, StepEnded, StepId,
    StepKind, StepStarted, Timestamp,
};

/// Bytes of texts that are remembered as the input of the next answer. Each text is also in an event of its own.
const INPUT_BYTES_MAX: usize = 1 << 20;

/// Bytes of texts and attributes of one answer. A longer one is no event.
const ANSWER_BYTES_MAX: usize = PAYLOAD_BYTES_DEFAULT;

/// Characters of a rationale that a decision repeats: every call of an answer has the texts of the same answer, which are
/// also in the output of its step.
const RATIONALE_CHARS_MAX: usize = 32 << 10;

/// Ids of calls that are remembered for one session. A call after these has an id made of its position.
const CALL_IDS_MAX: usize = 65_536;

/// The use of a model by one answer. The tokens of the cache are within those of the input, and the tokens of reasoning
/// within those of the output.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Usage {
    pub(super) tokens_input: Option<u64>,
    pub(super) tokens_output: Option<u64>,
    pub(super) tokens_cache_read: Option<u64>,
    pub(super) tokens_cache_write: Option<u64>,
    pub(super) tokens_reasoning: Option<u64>,
    pub(super) cost_usd: Option<f64>,
}

impl Usage {
    /// Adds the tokens of the cache to those of the input, for an API that counts them apart.
    pub(super) fn with_cache_apart(self) -> Usage {
        let cached = [self.tokens_cache_read, self.tokens_cache_write].into_iter().flatten();
        let add = |tokens| cached.fold(tokens, u64::saturating_add);
        Usage { tokens_input: self.tokens_input.map(add), ..self }
    }

    /// Puts the numbers into the end of a step.
    pub(super) fn put(&self, ended: &mut StepEnded) {
        ended.tokens_input = self.tokens_input;
        ended.tokens_output = self.tokens_output;
        ended.tokens_cache_read = self.tokens_cache_read;
        ended.tokens_cache_write = self.tokens_cache_write;
        ended.tokens_reasoning = self.tokens_reasoning;
        ended.cost_usd = self.cost_usd;
    }
}

/// The ids of the calls of a session, as far as it was read.
#[derive(Default)]
pub(super) struct CallIds {
    used: HashSet<String>,
}

impl CallIds {
    /// Names a call by the id that it has in the file, or else by its position: if it has none, an earlier call has the
    /// same, or it is too long. Only earlier calls count, so a file that grows leaves the names as they are.
    pub(super) fn name(&mut self, id: Option<&str>, position: String) -> String {
        let id = id.filter(|id| !id.is_empty() && id.len() <= ID_BYTES_MAX && !self.used.contains(*id));
        match id {
            Some(id) if self.used.len() < CALL_IDS_MAX => {
                self.used.insert(id.to_owned());
                id.to_owned()
            }
            _ => position,
        }
    }
}

/// The texts that users and tools said since the last answer, which are the input of the next one.
#[derive(Default)]
pub(super) struct PendingInput {
    texts: VecDeque<String>,
    bytes: usize,
    left_out: u64,
    /// Time of the last of them.
    at: Option<Timestamp>,
}

/// The beginning of a step of kind llm.
pub(super) struct Input {
    pub(super) text: Option<String>,
    pub(super) at: Option<Timestamp>,
    pub(super) attributes: Attributes,
}

impl PendingInput {
    pub(super) fn add(&mut self, text: Option<String>, at: Option<Timestamp>) {
        self.at = at.or(self.at);
        let Some(text) = text else { return };
        self.bytes = self.bytes.saturating_add(text.len());
        self.texts.push_back(text);
        // The latest texts stay, and the others are counted.
        while self.bytes > INPUT_BYTES_MAX
            && let Some(text) = self.texts.pop_front()
        {
            self.bytes = self.bytes.saturating_sub(text.len());
            self.left_out = self.left_out.saturating_add(1);
        }
    }

    /// Takes all texts as the input of a step.
    pub(super) fn take(&mut self) -> Input {
        let pending = std::mem::take(self);
        let mut attributes = Attributes::new();
        if pending.left_out > 0 {
            attributes.insert("input_texts_left_out".to_owned(), Json::written(pending.left_out.to_string()));
        }
        let texts = Vec::from(pending.texts);
        Input { text: (!texts.is_empty()).then(|| texts.join("\n")), at: pending.at, attributes }
    }
}

/// A piece of an answer.
enum Piece {
    Text(String),
    Reasoning(String),
}

/// The texts of one answer, as far as it was read.
#[derive(Default)]
pub(super) struct Answer {
    pieces: Vec<Piece>,
    /// The bytes of the pieces, and of everything else that is kept for the answer.
    bytes: usize,
}

impl Answer {
    /// Makes room for bytes that are kept until the answer ends. Returns false if there is none.
    fn reserve(&mut self, bytes: usize) -> bool {
        let bytes = self.bytes.saturating_add(bytes);
        let is_room = bytes <= ANSWER_BYTES_MAX;
        if is_room {
            self.bytes = bytes;
        }
        is_room
    }

    /// Adds a text, for which room was made.
    pub(super) fn text(&mut self, text: String) {
        self.pieces.push(Piece::Text(text));
    }

    /// Adds reasoning, for which room was made.
    pub(super) fn reasoning(&mut self, text: String) {
        self.pieces.push(Piece::Reasoning(text));
    }

    /// The reasoning and the texts, as the reason for the tool calls beside them.
    pub(super) fn rationale(&self) -> Rationale {
        let texts = self.pieces.iter().map(|piece| match piece {
            Piece::Text(text) | Piece::Reasoning(text) => text.trim(),
        });
        let texts: Vec<&str> = texts.filter(|text| !text.is_empty()).collect();
        Rationale::of(&texts)
    }

    /// The answer in words, without the reasoning before it.
    pub(super) fn words(&self) -> Option<String> {
        let texts = self.pieces.iter().filter_map(|piece| match piece {
            Piece::Text(text) if !text.is_empty() => Some(text.as_str()),
            Piece::Text(_) | Piece::Reasoning(_) => None,
        });
        let texts: Vec<&str> = texts.collect();
        (!texts.is_empty()).then(|| texts.join("\n"))
    }

    /// The output of the step: its form is that of messages in OpenTelemetry's spans.
    pub(super) fn output(&self) -> Option<String> {
        let lines: Vec<String> = self
            .pieces
            .iter()
            .filter_map(|piece| match piece {
                Piece::Text(text) | Piece::Reasoning(text) if text.is_empty() => None,
                Piece::Text(text) => Some(text.clone()),
                Piece::Reasoning(text) => Some(format!("(reasoning) {text}")),
            })
            .collect();
        (!lines.is_empty()).then(|| lines.join("\n"))
    }
}

/// The reason for the calls of an answer, as far as each decision repeats it.
#[derive(Clone, Default)]
pub(super) struct Rationale {
    text: Option<String>,
    /// Bytes beyond the bound.
    left_out: usize,
}

impl Rationale {
    /// These texts, one a line.
    pub(super) fn of(texts: &[&str]) -> Rationale {
        if texts.is_empty() {
            return Rationale::default();
        }
        let whole = texts.join("\n");
        let text = crate::text::beginning(&whole, RATIONALE_CHARS_MAX).unwrap_or(&whole).to_owned();
        Rationale { left_out: whole.len().saturating_sub(text.len()), text: Some(text) }
    }

    /// Makes it the rationale of a decision.
    pub(super) fn put(&self, decision: &mut DecisionMade) {
        decision.rationale.clone_from(&self.text);
        if self.left_out > 0 {
            let left_out = Json::written(self.left_out.to_string());
            decision.attributes.insert("rationale_bytes_left_out".to_owned(), left_out);
        }
    }
}

/// An answer of which further lines may come: a step of kind llm that has begun.
pub(super) struct Answering {
    scope: Scope,
    pub(super) step: StepId,
    pub(super) model: Option<String>,
    pub(super) answer: Answer,
    pub(super) usage: Usage,
    pub(super) attributes: Attributes,
    /// The other fields of its lines.
    lines: Vec<Attributes>,
    pub(super) error: Option<String>,
    last_key: String,
    last_at: Option<Timestamp>,
}

impl Answering {
    /// Begins a step. The request was sent when the last of its input was there.
    pub(super) fn begin(
        emitter: &mut Emitter<'_>,
        scope: &Scope,
        key: &str,
        at: Option<Timestamp>,
        pending: &mut PendingInput,
        started: StepStarted,
    ) -> Result<Answering, ImportError> {
        let input = pending.take();
        let answering = Answering {
            scope: scope.clone(),
            step: started.step.clone(),
            model: started.model.clone(),
            answer: Answer::default(),
            usage: Usage::default(),
            attributes: Attributes::new(),
            lines: Vec::new(),
            error: None,
            last_key: key.to_owned(),
            last_at: at,
        };
        let what = format!("{key}/step/{}/started", started.step);
        let started = StepStarted {
            kind: Some(StepKind::Llm),
            input: input.text,
            attributes: input.attributes,
            ..started
        };
        emitter.emit(scope, &what, input.at.or(at), started)?;
        Ok(answering)
    }

    /// Makes room for a line, and keeps what it has beside its texts. Returns an error if the answer would be longer
    /// than an event may be.
    pub(super) fn line(
        &mut self,
        scope: &Scope,
        key: &str,
        at: Option<Timestamp>,
        text_bytes: usize,
        rest: Attributes,
    ) -> Result<(), ImportError> {
        let kept: usize = rest.iter().map(|(name, json)| name.len() + json.as_str().len()).sum();
        if !self.answer.reserve(kept.saturating_add(text_bytes)) {
            let reason = "makes the answer longer than an event may be".to_owned();
            return Err(ImportError::Malformed { place: scope.place.clone(), reason });
        }
        self.follow(scope, key, at);
        self.lines.push(rest);
        Ok(())
    }

    /// Names the end of the answer by a further line, which had a part in it.
    pub(super) fn follow(&mut self, scope: &Scope, key: &str, at: Option<Timestamp>) {
        self.scope = scope.clone();
        key.clone_into(&mut self.last_key);
        self.last_at = at.or(self.last_at);
    }

    /// A field of the last line.
    pub(super) fn see(&self, name: &str) -> Option<&Json> {
        self.lines.last()?.get(name)
    }

    /// Ends the step, and returns its output.
    pub(super) fn end(self, emitter: &mut Emitter<'_>) -> Result<Option<String>, ImportError> {
        let mut attributes = self.attributes;
        if self.lines.iter().any(|line| !line.is_empty()) {
            attributes.insert("lines".to_owned(), json_of(&self.scope.place, "line", &self.lines)?);
        }
        let output = self.answer.output();
        // Named by its last line, too: another one may follow later.
        let what = format!("{}/step/{}/ended", self.last_key, self.step);
        let mut ended = StepEnded {
            step: self.step,
            status: if self.error.is_some() { StepEnd::Error } else { StepEnd::Ok },
            output: output.clone(),
            error: self.error,
            attributes,
            ..Default::default()
        };
        self.usage.put(&mut ended);
        emitter.emit(&self.scope, &what, self.last_at, ended)?;
        Ok(output)
    }
}

/// The step of kind llm in which a tool was chosen.
pub(super) struct Chooser<'a> {
    pub(super) step: &'a StepId,
    pub(super) model: Option<&'a String>,
    pub(super) rationale: Rationale,
    /// The tools that the model was offered; none if the file does not name them.
    pub(super) offered: &'a Offered,
}

/// A call of a tool.
pub(super) struct ToolCall {
    /// The field with its id, by its path.
    pub(super) field: String,
    pub(super) id: String,
    pub(super) name: String,
    pub(super) arguments: Option<String>,
    pub(super) attributes: Attributes,
}

/// Emits a call: the decision for the tool, and a step of kind tool within that of the model. Returns its step.
pub(super) fn call(
    emitter: &mut Emitter<'_>,
    scope: &Scope,
    key: &str,
    at: Option<Timestamp>,
    chooser: Chooser<'_>,
    call: ToolCall,
) -> Result<StepId, ImportError> {
    let step: StepId = scope.id(&call.field, &call.id)?;
    let arguments = call.arguments.as_deref().map(|text| text.parse().unwrap_or_else(|_| Json::text(text)));
    let mut decision = DecisionMade {
        decision: scope.id(&call.field, &call.id)?,
        step: Some(chooser.step.clone()),
        decision_type: Some("tool".to_owned()),
        chosen_option: Some(call.name.clone()),
        actor: chooser.model.cloned(),
        attributes: arguments.map(|json| ("arguments".to_owned(), json)).into_iter().collect(),
        ..Default::default()
    };
    chooser.offered.put(&mut decision);
    chooser.rationale.put(&mut decision);
    emitter.emit(scope, &format!("{key}/decision/{step}"), at, decision)?;
    let started = StepStarted {
        step: step.clone(),
        parent_step: Some(chooser.step.clone()),
        module: Some(call.name),
        kind: Some(StepKind::Tool),
        input: call.arguments,
        attributes: call.attributes,
        ..Default::default()
    };
    emitter.emit(scope, &format!("{key}/step/{step}/started"), at, started)?;
    Ok(step)
}

/// Something that went wrong.
pub(super) struct Problem {
    pub(super) category: &'static str,
    pub(super) pattern_type: &'static str,
    pub(super) severity: Severity,
    pub(super) outcome: Outcome,
    pub(super) title: &'static str,
    pub(super) plain_english: &'static str,
    pub(super) description: Option<String>,
    pub(super) evidence: Option<Json>,
    pub(super) step: Option<StepId>,
}

/// Emits a finding. Its id is that of its event.
pub(super) fn raise(
    emitter: &mut Emitter<'_>,
    scope: &Scope,
    key: &str,
    at: Option<Timestamp>,
    problem: Problem,
) -> Result<(), ImportError> {
    let what = format!("{key}/finding/{}", problem.pattern_type);
    let finding = FindingRaised {
        finding: EventId::from_name(&format!("{}/{what}", scope.session)).into(),
        step: problem.step,
        category: Some(problem.category.to_owned()),
        pattern_type: Some(problem.pattern_type.to_owned()),
        severity: Some(problem.severity),
        outcome: Some(problem.outcome),
        title: Some(problem.title.to_owned()),
        plain_english: Some(problem.plain_english.to_owned()),
        description: problem.description,
        evidence: problem.evidence,
        ..Default::default()
    };
    // The finding keeps its id if it is judged again.
    emitter.emit_state(scope, &what, at, finding)
}

/// The JSON of a value.
pub(super) fn json_of(
    place: &Location,
    field: &str,
    value: &(impl Serialize + ?Sized),
) -> Result<Json, ImportError> {
    Json::of(value).map_err(|error| ImportError::Field {
        place: place.clone(),
        field: field.to_owned(),
        reason: error.to_string(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_beyond_the_bound_are_counted_and_the_latest_stay() {
        let mut pending = PendingInput::default();
        for text in ["old".to_owned(), "x".repeat(INPUT_BYTES_MAX - 3), "new".to_owned()] {
            pending.add(Some(text), None);
        }
        let input = pending.take();
        assert!(input.text.unwrap().ends_with("x\nnew"));
        assert_eq!(input.attributes["input_texts_left_out"].as_str(), "1");
        assert!(pending.take().text.is_none());
    }

    #[test]
    fn a_decision_has_the_beginning_of_a_long_rationale_and_the_bytes_that_are_left_out() {
        let (mut short, mut long) = (DecisionMade::default(), DecisionMade::default());
        Rationale::of(&["why", "not"]).put(&mut short);
        assert_eq!((short.rationale.as_deref(), short.attributes.len()), (Some("why\nnot"), 0));
        Rationale::of(&[&"é".repeat(RATIONALE_CHARS_MAX + 3)]).put(&mut long);
        assert_eq!(long.rationale.map(|text| text.chars().count()), Some(RATIONALE_CHARS_MAX));
        assert_eq!(long.attributes["rationale_bytes_left_out"].as_str(), "6");
    }

    #[test]
    fn a_call_is_named_by_its_id_and_a_second_one_with_it_by_its_position() {
        let mut ids = CallIds::default();
        let long = "x".repeat(ID_BYTES_MAX + 1);
        for (id, name) in [
            (Some("call_1"), "call_1"),
            (Some("call_1"), "2"),
            (None, "3"),
            (Some(""), "4"),
            (Some(long.as_str()), "5"),
            (Some("call_2"), "call_2"),
        ] {
            let position = name.to_owned();
            assert_eq!(ids.name(id, position), name);
        }
    }

    #[test]
    fn an_answer_has_a_bound() {
        let mut answer = Answer::default();
        assert!(answer.reserve(ANSWER_BYTES_MAX));
        assert!(!answer.reserve(1));
    }
}
