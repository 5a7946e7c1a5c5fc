//! Decisions that a span or log record reports: tools that a model chose, the answers of a decision model,
//! verdicts of guardrails, and plans.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};

use super::coding_agents;
use super::conventions::{Family, Field, Work};
use super::messages::{self, Message, ToolCall};
use super::node::Node;
use super::precedence::{Meaning, Precedence, Rank, own_id};
use super::reading::{Prefer, Reading};
use super::said::Said;
use crate::event::{
    Attributes, ConsideredOption, DecisionId, DecisionMade, Event, Json, StepId, StepKind, Timestamp,
};
use crate::limits::{DECISION_COPIES_BYTES_MAX, DECISION_COPIES_MAX};

/// The circumstances of a choice: its step, time and actor, and the precedence of its source.
pub(super) struct Chooser {
    pub(super) precedence: Precedence,
    pub(super) at: Option<Timestamp>,
    pub(super) step: Option<StepId>,
    pub(super) actor: Option<String>,
    pub(super) repeats: Repeats,
    pub(super) room: Room,
}

impl Chooser {
    /// The actor of one more decision.
    fn actor(&mut self, left_out: &mut Attributes) -> Option<String> {
        let bytes = self.actor.as_ref().map_or(0, String::len);
        self.room.copy(bytes, ("otel.actor_left_out", bytes), left_out, || self.actor.clone())
    }
}

/// The bytes that are left for copies of the texts that the decisions of one event have in common.
pub(super) struct Room(usize);

impl Room {
    /// The room for the decisions of an event of so many bytes.
    pub(super) fn of(event_bytes: usize) -> Room {
        Room(event_bytes.saturating_mul(DECISION_COPIES_MAX).min(DECISION_COPIES_BYTES_MAX))
    }

    /// A copy for one more decision. If there is no room for it, an attribute of the decision has the amount that is
    /// left out.
    fn copy<T: Default>(
        &mut self,
        bytes: usize,
        (name, amount): (&str, usize),
        left_out: &mut Attributes,
        copy: impl FnOnce() -> T,
    ) -> T {
        if let Some(room) = self.0.checked_sub(bytes) {
            self.0 = room;
            return copy();
        }
        left_out.insert(name.to_owned(), Json::written(amount.to_string()));
        T::default()
    }
}

/// The memory of options, without that of their attributes' structure.
fn bytes_of(options: &[ConsideredOption]) -> usize {
    let texts = |option: &ConsideredOption| {
        let attributes = option.attributes.iter().map(|(name, json)| name.len() + json.as_str().len());
        option.option.len() + attributes.sum::<usize>()
    };
    size_of_val(options) + options.iter().map(texts).sum::<usize>()
}

/// The relation between a source's calls and those of other sources: it may repeat calls that another source made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Repeats {
    /// The model that made them.
    Nothing,
    /// A run or another step around the model, which has the calls of its parts in its own output as well.
    Calls,
}

pub(super) fn add(reading: &Reading<'_>, said: &Said<'_>, room: Room, meanings: &mut Vec<Meaning<'static>>) {
    let mut chooser = Chooser {
        precedence: reading.precedence(Rank::Span, Prefer::Innermost),
        at: reading.ended_at.or(reading.started_at),
        step: Some(reading.step.clone()),
        actor: reading.model.clone(),
        repeats: if reading.kind == StepKind::Llm { Repeats::Nothing } else { Repeats::Calls },
        room,
    };
    // Calls in the output are choices of this model. Calls in the input are history, which makes no decision.
    if reading.answers.iter().any(|message| !message.calls.is_empty()) {
        tools(&mut chooser, &offered(said), &reading.answers, meanings);
    }
    if let Some(made) = permission(reading, said) {
        push(&chooser, "approval", made, meanings);
    }
    match reading.work {
        Work::Decision => answers(&mut chooser, reading, said, meanings),
        Work::Guardrail => {
            let made = DecisionMade {
                decision_type: Some("guardrail".to_owned()),
                chosen_option: verdict(reading, said),
                actor: Some(reading.module.clone()),
                ..DecisionMade::default()
            };
            push(&chooser, "guardrail", made, meanings);
        }
        Work::Plan => {
            let made = DecisionMade {
                decision_type: Some("plan".to_owned()),
                chosen_option: reading.output.clone(),
                actor: said.see_text(Field::Agent).or_else(|| reading.model.clone()),
                ..DecisionMade::default()
            };
            push(&chooser, "plan", made, meanings);
        }
        Work::Plain | Work::Run | Work::Evaluation => {}
    }
}

/// The decision to allow a call of a tool, as a coding agent's span reports it.
fn permission(reading: &Reading<'_>, said: &Said<'_>) -> Option<DecisionMade> {
    if reading.span.name != coding_agents::PERMISSION_SPAN {
        return None;
    }
    let text = |name| said.named(name).map(|value| value.shown().into_owned());
    let (word, decider) = (text("decision")?, text("source"));
    let actor = decider.as_deref().and_then(coding_agents::decider).map(str::to_owned).or(decider);
    Some(DecisionMade {
        decision_type: Some("tool".to_owned()),
        options_considered: coding_agents::options().map(ConsideredOption::from).collect(),
        chosen_option: coding_agents::option(&word).map(str::to_owned).or(Some(word)),
        actor,
        ..DecisionMade::default()
    })
}

fn push(chooser: &Chooser, id: &str, made: DecisionMade, meanings: &mut Vec<Meaning<'static>>) {
    let Ok(decision) = DecisionId::new(own_id(chooser.step.as_ref(), id)) else { return };
    let made = DecisionMade { decision, step: chooser.step.clone(), ..made };
    meanings.push(Meaning {
        precedence: Some(chooser.precedence),
        at: chooser.at,
        event: Cow::Owned(Event::DecisionMade(made)),
    });
}

/// Adds one decision for each tool call. A unique id of a call becomes the id of the decision: a framework
/// and the client library below it report the same call, and so make one decision. Otherwise the decision's
/// id is made of the step and the call's id, which a span and its log records have in common.
pub(super) fn tools(
    chooser: &mut Chooser,
    options: &[ConsideredOption],
    answers: &[Message],
    meanings: &mut Vec<Meaning<'static>>,
) {
    let options_bytes = bytes_of(options);
    let rationales: Vec<Option<String>> = answers.iter().map(Message::rationale).collect();
    let calls = answers
        .iter()
        .zip(&rationales)
        .flat_map(|(message, rationale)| message.calls.iter().map(move |call| (rationale, call)));
    let mut seen = HashSet::new();
    for (place, (rationale, call)) in calls.enumerate() {
        let own = |rest: &str| DecisionId::new(own_id(chooser.step.as_ref(), rest)).ok();
        let is_new = call.id.as_ref().is_none_or(|id| seen.insert(id.as_str()));
        let decision = match &call.id {
            Some(id) if is_new && is_unique(id, &call.name) => DecisionId::new(id.as_str()).ok(),
            // A source that repeats the call, such as the run of an agent, cannot tell which one it was.
            _ if chooser.repeats == Repeats::Calls => continue,
            Some(id) if is_new && !id.is_empty() => own(id),
            _ => None,
        }
        // No id, or none that can be used: the index among the calls stands in.
        .or_else(|| own(&format!("tool:{place}")));
        let Some(decision) = decision else { continue };
        let mut attributes = arguments(call);
        let left_out = ("otel.options_left_out", options.len());
        let options_considered =
            chooser.room.copy(options_bytes, left_out, &mut attributes, || options.to_vec());
        let rationale_bytes = rationale.as_ref().map_or(0, String::len);
        let left_out = ("otel.rationale_left_out", rationale_bytes);
        let rationale = chooser.room.copy(rationale_bytes, left_out, &mut attributes, || rationale.clone());
        let actor = chooser.actor(&mut attributes);
        let made = DecisionMade {
            decision,
            step: chooser.step.clone(),
            decision_type: Some("tool".to_owned()),
            options_considered,
            chosen_option: Some(call.name.clone()),
            rationale,
            actor,
            attributes,
            ..DecisionMade::default()
        };
        meanings.push(Meaning {
            precedence: Some(chooser.precedence),
            at: chooser.at,
            event: Cow::Owned(Event::DecisionMade(made)),
        });
    }
}

/// Returns true if the id of a call looks random, and so belongs to that call alone. Models and frameworks
/// that number calls anew for each answer, or name them after the tool, use an id again.
pub(super) fn is_unique(id: &str, tool: &str) -> bool {
    // A random part is long, and has digits or letters of both cases. Words lack these, and counters are
    // short.
    let is_random = |part: &str| {
        let has = |what: fn(&char) -> bool| part.chars().any(|c| what(&c));
        part.len() >= 8
            && (has(char::is_ascii_digit) || has(char::is_ascii_uppercase) && has(char::is_ascii_lowercase))
    };
    !id.contains(tool) && id.split(|c: char| !c.is_ascii_alphanumeric()).any(is_random)
}

fn arguments(call: &ToolCall) -> Attributes {
    let Some(arguments) = &call.arguments else { return Attributes::new() };
    let json = Node::parse_structure(arguments)
        .map_or_else(|| Json::text(arguments), |node| Json::written(node.to_json()));
    Attributes::from([("arguments".to_owned(), json)])
}

/// The tools that the model was offered.
pub(super) fn offered(said: &Said<'_>) -> Vec<ConsideredOption> {
    // Only seen: the definitions stay in the rest, because an option has no more than name and description.
    if let Some(list) = said.see_family(Family::Tools) {
        return list.list().unwrap_or_default().iter().filter_map(tool).collect();
    }
    if let Some(list) = said.structure(Field::ToolDefinitions) {
        return tools_of(&list);
    }
    // A whole request has the tools beside the messages, and a whole response of the Responses API repeats them.
    let beside =
        |field| Some(tools_of(said.structure(field)?.get("tools")?)).filter(|tools| !tools.is_empty());
    beside(Field::Input).or_else(|| beside(Field::Output)).unwrap_or_default()
}

/// The tools of a list of definitions. Gemini has lists of them within the list.
fn tools_of(list: &Node<'_>) -> Vec<ConsideredOption> {
    let inner = |definition: &Node<'_>| {
        ["functionDeclarations", "function_declarations"]
            .iter()
            .find_map(|name| definition.get(name)?.list())
            .map(|list| list.iter().filter_map(tool).collect::<Vec<_>>())
    };
    let definitions = list.list().unwrap_or_default().iter();
    definitions.flat_map(|one| inner(one).unwrap_or_else(|| tool(one).into_iter().collect())).collect()
}

fn tool(definition: &Node<'_>) -> Option<ConsideredOption> {
    // A definition may be JSON within a text, and may stand one level down. The recursion ends, because the
    // inner text is shorter.
    let inner = definition.get("tool").unwrap_or(definition);
    if let Some(text) = inner.text_of("json_schema").or_else(|| inner.text()) {
        return tool(&Node::parse_structure(text)?);
    }
    let function = inner.get("function").unwrap_or(inner);
    let mut option = ConsideredOption::from(function.text_of("name")?);
    if let Some(description) = function.text_of("description").filter(|text| !text.is_empty()) {
        option.attributes.insert("description".to_owned(), Json::text(description));
    }
    Some(option)
}

/// Adds a decision model's answers: `{"answers": {question: {"answer": …, "probabilities": {option: …}}}}`.
/// Their questions and options are in the input.
fn answers(
    chooser: &mut Chooser,
    reading: &Reading<'_>,
    said: &Said<'_>,
    meanings: &mut Vec<Meaning<'static>>,
) {
    let text = |field| said.see(field).map(|value| value.shown().into_owned()).unwrap_or_default();
    let (asked, answered) = (text(Field::Input), text(Field::Output));
    let asked = Node::parse_structure(&asked).unwrap_or(Node::Null);
    let answered = Node::parse_structure(&answered).unwrap_or(Node::Null);
    let Some(Node::Object(answers)) = answered.get("answers") else {
        // Not in this form: the span is one decision, and its output the choice.
        let made = DecisionMade {
            decision_type: Some(reading.module.clone()),
            chosen_option: reading.output.clone(),
            actor: chooser.actor.clone(),
            ..DecisionMade::default()
        };
        return push(chooser, "decision", made, meanings);
    };
    // Each question is removed with its first answer: a name that comes again has no options of its own.
    let mut questions = asked.get("questions").map(members).unwrap_or_default();
    for (question, answer) in answers {
        let chosen = answer.get("answer").or_else(|| answer.get("score")).or_else(|| answer.get("value"));
        let chosen = chosen.map(messages::shown);
        let asked = questions.remove(question.as_ref());
        let odds = answer.get("probabilities").map(members);
        let probability = answer
            .get("probability")
            .and_then(Node::number)
            .or_else(|| odds.as_ref()?.get(chosen.as_deref()?)?.number());
        let mut options: Vec<ConsideredOption> = asked
            .and_then(|asked| asked.get("options")?.list())
            .unwrap_or_default()
            .iter()
            .map(|option| ConsideredOption::from(messages::shown(option)))
            .collect();
        // Without options in the question, those that have a probability are the options.
        if let (true, Some(Node::Object(odds))) = (options.is_empty(), answer.get("probabilities")) {
            options = odds.iter().map(|(option, _)| ConsideredOption::from(option.as_ref())).collect();
        }
        for option in &mut options {
            option.score = odds.as_ref().and_then(|odds| odds.get(option.option.as_str())?.number());
        }
        let mut attributes: Attributes = asked
            .and_then(|asked| asked.text_of("question"))
            .map(|question| Attributes::from([("question".to_owned(), Json::text(question))]))
            .unwrap_or_default();
        let actor = chooser.actor(&mut attributes);
        let made = DecisionMade {
            decision_type: Some(question.to_string()),
            options_considered: options,
            chosen_option: chosen,
            // A meaning keeps the rules of drafts: a confidence is between 0 and 1.
            confidence: probability.filter(|confidence| (0.0..=1.0).contains(confidence)),
            actor,
            attributes,
            ..DecisionMade::default()
        };
        push(chooser, question, made, meanings);
    }
}

/// The members of an object by their names, as [`Node::get`] finds each.
fn members<'m>(node: &'m Node<'_>) -> HashMap<&'m str, &'m Node<'m>> {
    let Node::Object(members) = node else { return HashMap::new() };
    let mut found = HashMap::new();
    for (name, value) in members.iter().filter(|(_, value)| *value != Node::Null) {
        found.entry(name.as_ref()).or_insert(value);
    }
    found
}

/// The verdict of a guardrail: `pass` or `stop` if its output or an attribute is one of the usual flags, or else the output
/// itself.
fn verdict(reading: &Reading<'_>, said: &Said<'_>) -> Option<String> {
    const PASSED: [&str; 5] = ["passed", "pass", "allowed", "valid", "safe"];
    const STOPPED: [&str; 4] = ["flagged", "blocked", "triggered", "tripwire_triggered"];
    let output = said.see(Field::Output).map(|value| value.shown().into_owned())?;
    let node = Node::parse_structure(&output);
    let in_output = |name: &str| match node.as_ref()?.get(name)? {
        Node::Bool(value) => Some(*value),
        _ => None,
    };
    let flag = |names: &[&str]| {
        names.iter().find_map(|name| in_output(name).or_else(|| said.named(name)?.boolean()))
    };
    // If an output has flags of both kinds, the one that reports a pass decides.
    match flag(&PASSED).or_else(|| flag(&STOPPED).map(|stopped| !stopped)) {
        Some(true) => Some("pass".to_owned()),
        Some(false) => Some("stop".to_owned()),
        None => reading.output.clone(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::tests::{Means, of_span, span};
    use super::*;

    /// Bytes of the texts of all decisions.
    fn bytes(means: &Means) -> usize {
        let texts = |made: &&DecisionMade| {
            let options: usize = made.options_considered.iter().map(|option| option.option.len()).sum();
            options + [&made.rationale, &made.actor].into_iter().flatten().map(String::len).sum::<usize>()
        };
        means.decisions().iter().map(texts).sum()
    }

    #[test]
    fn what_all_decisions_of_a_span_repeat_is_bounded_and_what_is_left_out_is_counted() {
        let tools: Vec<_> = (0..300).map(|place| json!({"name": format!("tool {place}")})).collect();
        let said = json!({
            "openinference.span.kind": "LLM", "gen_ai.request.model": "m".repeat(4_000),
            "gen_ai.tool.definitions": tools,
            "gen_ai.output.messages": [{
                "role": "assistant", "content": "why ".repeat(2_000), "tool_calls": vec![json!({"name": "f"}); 500],
            }],
        });
        let size = span(said.clone(), json!({})).to_string().len();
        let means = of_span(said, json!({}));
        assert_eq!(means.decisions().len(), 500);
        assert!(bytes(&means) <= DECISION_COPIES_MAX * size, "{} of {size}", bytes(&means));
        let (first, last) = (means.decisions()[0], means.decisions()[499]);
        assert_eq!((first.options_considered.len(), first.attributes.len()), (300, 0));
        assert!(first.rationale.is_some() && first.actor.is_some());
        let left_out: Vec<_> = last.attributes.iter().map(|(name, json)| format!("{name}={json}")).collect();
        assert_eq!(
            left_out,
            ["otel.actor_left_out=4000", "otel.options_left_out=300", "otel.rationale_left_out=7999"]
        );
    }

    #[test]
    fn questions_that_are_answered_again_and_again_repeat_no_options() {
        let options: Vec<String> = (0..1_000).map(|place| format!("option {place}")).collect();
        let answers = vec![r#""q":{"answer":"option 1"}"#; 1_000].join(",");
        let means = of_span(
            json!({
                "openinference.span.kind": "DECISION",
                "input.value": {"questions": {"q": {"question": "Which?", "options": options}}},
                "output.value": format!(r#"{{"answers":{{{answers}}}}}"#),
            }),
            json!({}),
        );
        assert_eq!(means.decisions().len(), 1_000);
        assert_eq!(means.decisions()[0].options_considered.len(), 1_000);
        assert!(bytes(&means) < 20_000, "{}", bytes(&means));
    }

    #[test]
    fn ids_that_are_drawn_at_random_are_unique_and_numbers_and_names_are_not() {
        for id in [
            "call_Yd2Lm1cJ8zQkT0aWb3nXv5Rp",
            "toolu_01A09q90qw90lq917835lq9",
            "D681PevKs",
            "pyd_ai_0f8fad5bd9cb469fa16570867728950e",
            "7c9e6679-7425-40de-944b-e07fc1f90ae7",
        ] {
            assert!(is_unique(id, "get_weather"), "{id}");
        }
        for id in
            ["call_1", "0", "", "pyd_ai_tool_call_id__get_weather", "functions.get_weather:0", "call_weather"]
        {
            assert!(!is_unique(id, "get_weather"), "{id}");
        }
    }
}
