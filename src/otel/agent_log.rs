//! The meaning of a coding agent's log record: a call of a model or a tool, a decision about a tool, a prompt, the
//! start of a session.

use std::borrow::Cow;

use super::call::{Call, Share, Source, step_id};
use super::coding_agents::{self, Agent, Fact, Report};
use super::decisions::{self, Chooser, Repeats, Room, is_unique};
use super::failure::StepFailure;
use super::messages::{self, Message};
use super::node::Node;
use super::precedence::{Meaning, own_id};
use super::record::Any;
use super::tokens::Tokens;
use super::used::{Side, Used};
use crate::event::{
    Attributes, ConsideredOption, DecisionId, DecisionMade, Event, Json, Severity, StepEnd, StepEnded,
    StepId, StepKind, StepStarted, Timestamp,
};
use crate::limits::TOKENS_MAX;

/// The last event of a model's stream, which has the tokens of the call.
const COMPLETED: &str = "response.completed";

/// The status codes of HTTP that report an error begin here.
const ERROR_CODE: u64 = 400;

/// The attributes of a record, looked up in the table of coding agents.
struct Facts<'n> {
    /// Each with whether a column has its value.
    all: Vec<(&'n str, Any<'n>, bool)>,
}

impl<'n> Facts<'n> {
    fn new(attributes: impl Iterator<Item = (&'n str, Any<'n>)>) -> Facts<'n> {
        Facts { all: attributes.map(|(name, value)| (name, value, false)).collect() }
    }

    fn named(&self, name: &str) -> Option<Any<'n>> {
        self.all.iter().find(|(own, value, _)| *own == name && !value.is_empty()).map(|(_, value, _)| *value)
    }

    fn see(&self, fact: Fact) -> Option<Any<'n>> {
        coding_agents::names(fact).iter().find_map(|name| self.named(name))
    }

    /// The text of a value. None if the text is blank, or withheld by the agent.
    fn text(&self, fact: Fact) -> Option<String> {
        let text = self.see(fact)?.shown().into_owned();
        (!text.trim().is_empty() && !coding_agents::is_withheld(&text)).then_some(text)
    }

    /// Leaves the attribute of a value out of the rest, because a column has it.
    fn leave_out(&mut self, fact: Fact) {
        let best = coding_agents::names(fact).iter().find(|name| self.named(name).is_some());
        for (name, _, used) in &mut self.all {
            *used |= best == Some(name);
        }
    }

    fn take_text(&mut self, fact: Fact) -> Option<String> {
        let text = self.text(fact)?;
        self.leave_out(fact);
        Some(text)
    }

    fn see_count(&self, fact: Fact) -> Option<u64> {
        self.see(fact)?.unsigned().filter(|tokens| *tokens <= TOKENS_MAX)
    }

    /// The tokens of a call, with those that the agent counts apart.
    fn take_tokens(&mut self, agent: &Agent) -> Tokens {
        let stated = Tokens {
            input: self.see_count(Fact::TokensInput),
            output: self.see_count(Fact::TokensOutput),
            cache_read: self.see_count(Fact::TokensCacheRead),
            cache_write: self.see_count(Fact::TokensCacheWrite),
            reasoning: self.see_count(Fact::TokensReasoning),
        };
        let tokens = stated.whole(None, agent.apart);
        for (fact, column) in [
            (Fact::TokensInput, tokens.input),
            (Fact::TokensOutput, tokens.output),
            (Fact::TokensCacheRead, tokens.cache_read),
            (Fact::TokensCacheWrite, tokens.cache_write),
            (Fact::TokensReasoning, tokens.reasoning),
        ] {
            if column.is_some() {
                self.leave_out(fact);
            }
        }
        tokens
    }

    /// The cost of a call. A negative one is none, and stays in the rest.
    fn take_cost(&mut self) -> Option<f64> {
        [(Fact::Cost, 1.0), (Fact::CostMicros, 1e6)].into_iter().find_map(|(fact, unit)| {
            let cost = self.see(fact)?.cost()?;
            self.leave_out(fact);
            Some(cost / unit)
        })
    }

    /// The begin of a call that ended at a time. None if the record has no duration.
    fn started_at(&self, ended_at: Option<Timestamp>) -> Option<Timestamp> {
        let millis = self.see(Fact::Duration)?.number()?;
        // Within a thousand years, so that the conversion is exact enough and cannot overflow.
        let millis = Some(millis).filter(|millis| (0.0..=3.2e13).contains(millis))?;
        #[allow(clippy::cast_possible_truncation)]
        let micros = (millis * 1e3).round() as i64;
        let started_at = Timestamp::from_micros(ended_at?.micros().checked_sub(micros)?);
        Some(started_at).filter(|time| time.in_range())
    }

    /// The value of `success`. None if there is none.
    fn success(&self) -> Option<bool> {
        let value = self.see(Fact::Success)?;
        match value.text() {
            Some(text) if text.eq_ignore_ascii_case("true") => Some(true),
            Some(text) if text.eq_ignore_ascii_case("false") => Some(false),
            Some(_) => None,
            None => value.number().map(|number| number != 0.0),
        }
    }

    fn has_error_code(&self) -> bool {
        self.see(Fact::StatusCode).and_then(Any::unsigned).is_some_and(|code| code >= ERROR_CODE)
    }

    fn take_failure(&mut self, at: Option<Timestamp>, output: Option<&str>) -> StepFailure {
        let class = self.text(Fact::ErrorType);
        let code = self.text(Fact::StatusCode).filter(|_| self.has_error_code());
        let message = self.take_text(Fact::Error).or_else(|| output.map(str::to_owned));
        StepFailure::new(class.or(code), message, at, Severity::High)
    }

    /// The prompt and the index of the record, which no other record of the session has.
    fn place(&self) -> Option<String> {
        let text = |name| self.named(name).map(|value| value.shown().into_owned());
        let (prompt, sequence) = (text("prompt.id")?, text("event.sequence")?);
        (!prompt.is_empty()).then(|| format!("{prompt}:{sequence}"))
    }

    fn rest(&self) -> Attributes {
        self.all
            .iter()
            .filter(|(.., used)| !used)
            .map(|(name, value, _)| ((*name).to_owned(), Json::written(value.to_json())))
            .collect()
    }
}

/// The facts about a session that a record reports.
#[derive(Default)]
pub(super) struct SessionFacts {
    /// True if the record reports the start of the session.
    pub(super) is_start: bool,
    /// The begin of what the record reports, if that is not its own time.
    pub(super) began_at: Option<Timestamp>,
    pub(super) version: Option<String>,
    pub(super) model: Option<String>,
    pub(super) input: Option<String>,
    /// The answer that the record has, if it may be the last one of the session.
    pub(super) answer: Option<String>,
    /// The settings of the session.
    pub(super) settings: Attributes,
}

/// The meaning of a record of a coding agent, beside its note.
#[derive(Default)]
pub(super) struct Read {
    /// The step of the record's call.
    pub(super) step: Option<StepId>,
    pub(super) session: SessionFacts,
    pub(super) meanings: Vec<Meaning<'static>>,
}

pub(super) fn read<'n>(
    agent: &'static Agent,
    report: Option<Report>,
    attributes: impl Iterator<Item = (&'n str, Any<'n>)>,
    source: Source<'_>,
) -> Read {
    let mut facts = Facts::new(attributes);
    let mut read = Read::default();
    read.session.version = facts.text(Fact::Version);
    match report {
        Some(Report::Start) => {
            read.session.is_start = true;
            read.session.model = facts.take_text(Fact::Model);
            facts.leave_out(Fact::Version);
            read.session.settings = facts.rest();
        }
        Some(Report::Prompt) => read.session.input = facts.text(Fact::Prompt),
        Some(Report::ModelCall) => model_call(agent, &mut facts, source, &mut read),
        Some(Report::StreamEvent) => {
            let is_last = facts.named("event.kind").and_then(Any::text) == Some(COMPLETED);
            is_last.then(|| model_call(agent, &mut facts, source, &mut read));
        }
        Some(Report::Answer) => answer(&facts, source, &mut read),
        Some(Report::Approval) => {
            read.step = tool_step(&facts);
            approval(&facts, source, &mut read);
            begin_tool(&facts, source, &mut read);
        }
        Some(Report::ToolCall) => tool_call(&mut facts, source, &mut read),
        None => {}
    }
    read
}

fn part(source: Source<'_>, at: Option<Timestamp>, event: Event, read: &mut Read) {
    read.meanings.push(Meaning { precedence: Some(source.of_part()), at, event: Cow::Owned(event) });
}

/// Adds a call of a model. A record with neither tokens nor an error announces a call, or repeats what another
/// record knows better: it makes no step.
fn model_call(agent: &Agent, facts: &mut Facts<'_>, source: Source<'_>, read: &mut Read) {
    read.session.model = facts.text(Fact::Model);
    let has_failed = facts.text(Fact::Error).is_some() || facts.has_error_code();
    let tokens = (facts.see(Fact::TokensInput), facts.see(Fact::TokensOutput));
    if !has_failed && tokens.0.is_none() && tokens.1.is_none() {
        return;
    }
    let text = |value: Option<Any<'_>>| value.map(|value| value.shown().into_owned()).unwrap_or_default();
    let id = facts.text(Fact::Request).or_else(|| facts.place()).unwrap_or_else(|| {
        let model = read.session.model.as_deref().unwrap_or_default();
        source.call_id(&[model, &text(tokens.0), &text(tokens.1)])
    });
    let Some(step) = step_id(&id) else { return };
    let started_at = facts.started_at(source.at);
    let failure = has_failed.then(|| facts.take_failure(source.at, None));
    let answers = Answers::take(facts);
    let mut decisions = Vec::new();
    answers.decide(&step, read.session.model.clone(), source, &mut decisions);
    if coding_agents::is_main(facts.text(Fact::Role).as_deref()) {
        read.session.answer = answers.last();
    }
    let call = Call {
        step: step.clone(),
        kind: StepKind::Llm,
        module: facts.take_text(Fact::Role),
        model: facts.take_text(Fact::Model),
        input: None,
        output: answers.text,
        tokens: facts.take_tokens(agent),
        cost_usd: facts.take_cost(),
        started_at,
        status: if has_failed { StepEnd::Error } else { StepEnd::Ok },
        failure: failure.clone(),
        attributes: answers.rest.into_iter().chain(facts.rest()).collect(),
    };
    // The messages of the call may come in a record of their own, which has them as messages.
    call.add(source, Share::Whole, Some(source.of_part()), &mut read.meanings);
    read.meanings.append(&mut decisions);
    if let Some(failure) = failure {
        failure.raise(Some(step.clone()), source.of_part(), &mut read.meanings);
    }
    read.session.began_at = started_at;
    read.step = Some(step);
}

/// The answers of a model in a record of its call, as a text or as the JSON of a response.
struct Answers {
    text: Option<String>,
    messages: Vec<Message>,
    /// The part of the JSON that the text does not show, under the name of its attribute.
    rest: Attributes,
}

impl Answers {
    fn take(facts: &mut Facts<'_>) -> Answers {
        let name = coding_agents::names(Fact::Output).iter().find(|name| facts.named(name).is_some());
        let raw = facts.take_text(Fact::Output);
        let node = raw.as_deref().and_then(Node::parse_structure);
        // Finish reasons stay with their messages: a step of a log record has no other place for them.
        let mut used = Used::new(Side::Input);
        let messages = node.as_ref().map(|node| messages::messages(node, &mut used)).unwrap_or_default();
        let Some((text, node)) = messages::text(&messages).zip(node) else {
            return Answers { text: raw, messages: Vec::new(), rest: Attributes::new() };
        };
        let rest = name.zip(used.rest(&node));
        let rest = rest.map(|(name, rest)| ((*name).to_owned(), Json::written(rest.to_json())));
        Answers { text: Some(text), messages, rest: rest.into_iter().collect() }
    }

    /// The answer in words, without calls of tools.
    fn last(&self) -> Option<String> {
        if self.messages.is_empty() { self.text.clone() } else { messages::answer(&self.messages) }
    }

    /// Adds the tools that the model chose.
    fn decide(
        &self,
        step: &StepId,
        actor: Option<String>,
        source: Source<'_>,
        meanings: &mut Vec<Meaning<'static>>,
    ) {
        let mut chooser = Chooser {
            precedence: source.of_part(),
            at: source.at,
            step: Some(step.clone()),
            actor,
            repeats: Repeats::Nothing,
            room: Room::of(source.bytes),
        };
        decisions::tools(&mut chooser, &[], &self.messages, meanings);
    }
}

/// Adds the text of an answer to the step of the same request.
fn answer(facts: &Facts<'_>, source: Source<'_>, read: &mut Read) {
    read.session.model = facts.text(Fact::Model);
    if coding_agents::is_main(facts.text(Fact::Role).as_deref()) {
        read.session.answer = facts.text(Fact::Output);
    }
    let Some(step) = facts.text(Fact::Request).as_deref().and_then(step_id) else { return };
    read.step = Some(step.clone());
    let Some(output) = facts.text(Fact::Output) else { return };
    let started = StepStarted {
        step: step.clone(),
        module: facts.text(Fact::Role),
        kind: Some(StepKind::Llm),
        model: read.session.model.clone(),
        ..StepStarted::default()
    };
    let ended = StepEnded { step, output: Some(output), ..StepEnded::default() };
    part(source, None, Event::StepStarted(started), read);
    part(source, None, Event::StepEnded(ended), read);
}

/// The step of a tool's call, by the id of the call. Without an id, and with one that other calls have as well, a
/// decision and a result cannot be known to be of the same call.
fn tool_step(facts: &Facts<'_>) -> Option<StepId> {
    let (id, tool) = (facts.text(Fact::Call)?, facts.text(Fact::Tool)?);
    if is_unique(&id, &tool) { step_id(&id) } else { None }
}

/// Adds the begin of a call of a tool, by the decision about it. The step of a call that was refused is cancelled. It
/// ends with the decision, if there is no result.
fn begin_tool(facts: &Facts<'_>, source: Source<'_>, read: &mut Read) {
    let Some(step) = read.step.clone() else { return };
    let started = StepStarted {
        step: step.clone(),
        module: facts.text(Fact::Tool),
        kind: Some(StepKind::Tool),
        input: facts.text(Fact::Arguments),
        ..StepStarted::default()
    };
    part(source, source.at, Event::StepStarted(started), read);
    if is_refused(facts) {
        cancel(&step, Share::Refusal, None, source, read);
        cancel(&step, Share::Permission, source.at, source, read);
    }
}

/// Returns true if the record says that a call of a tool was refused.
fn is_refused(facts: &Facts<'_>) -> bool {
    let option = facts.text(Fact::Decision).as_deref().and_then(coding_agents::option);
    option.is_some_and(|option| option != coding_agents::ACCEPT)
}

/// Adds the end of a call that was refused.
fn cancel(step: &StepId, share: Share, at: Option<Timestamp>, source: Source<'_>, read: &mut Read) {
    let ended = StepEnded { step: step.clone(), status: StepEnd::Cancelled, ..StepEnded::default() };
    let precedence = Some(source.of_call(share));
    read.meanings.push(Meaning { precedence, at, event: Cow::Owned(Event::StepEnded(ended)) });
}

fn tool_call(facts: &mut Facts<'_>, source: Source<'_>, read: &mut Read) {
    let Some(step) = tool_step(facts).or_else(|| step_id(&own_place(facts, source))) else { return };
    read.step = Some(step.clone());
    // Some agents have no record of their own for the decision.
    if facts.see(Fact::Decision).is_some() {
        approval(facts, source, read);
    }
    let has_failed = facts.success().map_or_else(|| facts.text(Fact::Error).is_some(), |success| !success);
    let started_at = facts.started_at(source.at);
    let input = facts.take_text(Fact::Arguments);
    let output = facts.take_text(Fact::Output);
    let failure = has_failed.then(|| facts.take_failure(source.at, output.as_deref()));
    if facts.success().is_some() {
        facts.leave_out(Fact::Success);
    }
    let call = Call {
        step: step.clone(),
        kind: StepKind::Tool,
        module: facts.take_text(Fact::Tool),
        model: None,
        input,
        output,
        tokens: Tokens::default(),
        cost_usd: None,
        started_at,
        status: if has_failed { StepEnd::Error } else { StepEnd::Ok },
        failure,
        attributes: facts.rest(),
    };
    let share = if has_failed { Share::Failure } else { Share::Whole };
    call.add(source, share, None, &mut read.meanings);
    if is_refused(facts) {
        cancel(&step, Share::Refusal, None, source, read);
    }
    read.session.began_at = started_at;
}

/// The id of a call or a decision that no id of a call names.
fn own_place(facts: &Facts<'_>, source: Source<'_>) -> String {
    facts.place().unwrap_or_else(|| {
        let text = |fact| facts.text(fact).unwrap_or_default();
        source.call_id(&[&text(Fact::Call), &text(Fact::Tool), &text(Fact::Arguments)])
    })
}

/// Adds the decision to accept or to reject a call of a tool.
fn approval(facts: &Facts<'_>, source: Source<'_>, read: &mut Read) {
    let id = match &read.step {
        Some(step) => own_id(Some(step), "approval"),
        None => match step_id(&own_place(facts, source)) {
            Some(place) => own_id(Some(&place), "approval"),
            None => return,
        },
    };
    let Ok(decision) = DecisionId::new(id) else { return };
    let (said, decider) = (facts.text(Fact::Decision), facts.text(Fact::DecisionSource));
    let known = |word: Option<&'static str>, said: Option<String>| word.map(str::to_owned).or(said);
    let made = DecisionMade {
        decision,
        step: read.step.clone(),
        decision_type: Some("tool".to_owned()),
        options_considered: coding_agents::options().map(ConsideredOption::from).collect(),
        chosen_option: known(said.as_deref().and_then(coding_agents::option), said),
        actor: known(decider.as_deref().and_then(coding_agents::decider), decider),
        // All of them: the agent's own words for choice and decider are more exact than the columns.
        attributes: facts.rest(),
        ..DecisionMade::default()
    };
    part(source, source.at, Event::DecisionMade(made), read);
}
