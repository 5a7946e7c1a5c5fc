//! Findings that a span or log record reports: evaluations, annotations, and errors.

use std::borrow::Cow;

use super::conventions::{self, Family, Field, Happening, Work};
use super::messages;
use super::node::Node;
use super::precedence::{Meaning, Precedence, Rank, fingerprint, own_id};
use super::reading::{Prefer, Reading};
use super::record::{self, Any};
use super::said::Said;
use super::used::{Side, Used};
use crate::event::{Event, FindingId, FindingRaised, Json, Outcome, Severity, StepId, Timestamp};

/// The attributes of the event of a result that its finding has.
pub(super) const RESULT_ATTRIBUTES: [&str; 5] = [
    "gen_ai.evaluation.name",
    "gen_ai.evaluation.score.label",
    "gen_ai.evaluation.score.value",
    "gen_ai.evaluation.explanation",
    "error.type",
];

/// Returns true if the event becomes a finding.
pub(super) fn is_result(event: &Node<'_>) -> bool {
    Evaluation::of_event(record::attributes(event)).is_some()
}

/// The result of an evaluation.
#[derive(Debug, Default)]
struct Evaluation {
    name: Option<String>,
    label: Option<String>,
    score: Option<f64>,
    /// A score that is no number.
    score_text: Option<String>,
    explanation: Option<String>,
    annotator: Option<String>,
    identifier: Option<String>,
    metadata: Option<String>,
    error: Option<String>,
}

/// The subject of a result, and the precedence of its source.
struct Judged {
    step: Option<StepId>,
    scope: Option<&'static str>,
    at: Option<Timestamp>,
    precedence: Precedence,
}

impl Evaluation {
    /// Reads a result, and marks what its finding has of it.
    fn read(node: &Node<'_>, used: &mut Used) -> Option<Evaluation> {
        // OpenInference wraps a result in `annotation` or `evaluation`.
        let node = ["annotation", "evaluation"].iter().find_map(|name| node.get(name)).unwrap_or(node);
        let mut text = |name| used.member(node, &[name]).map(messages::shown).filter(|text| !text.is_empty());
        let found = Evaluation {
            name: text("name"),
            label: text("label"),
            score: node.get("score").and_then(Node::number),
            score_text: text("score").filter(|_| node.get("score").and_then(Node::number).is_none()),
            explanation: text("explanation").or_else(|| text("reason")),
            annotator: text("annotator_kind"),
            identifier: text("identifier"),
            metadata: text("metadata"),
            error: None,
        };
        // An annotation may have a score or a label alone. An event, below, has its name in every case.
        (found.name.is_some() || found.label.is_some() || found.score.is_some()).then_some(found)
    }

    fn of_event<'n>(attributes: impl Iterator<Item = (&'n str, Any<'n>)>) -> Option<Evaluation> {
        let mut found = Evaluation::default();
        for (name, value) in attributes {
            let text = || Some(value.shown().into_owned()).filter(|text| !text.is_empty());
            match name {
                "gen_ai.evaluation.name" => found.name = text(),
                "gen_ai.evaluation.score.label" => found.label = text(),
                "gen_ai.evaluation.score.value" => {
                    found.score = value.number();
                    found.score_text = if found.score.is_none() { text() } else { None };
                }
                "gen_ai.evaluation.explanation" => found.explanation = text(),
                "error.type" => found.error = text(),
                _ => {}
            }
        }
        // An evaluation without a name has its result all the same.
        let has_result = found.label.is_some() || found.score.is_some() || found.error.is_some();
        (found.name.is_some() || has_result).then_some(found)
    }

    fn outcome(&self) -> Option<Outcome> {
        if self.error.is_some() {
            return Some(Outcome::Error);
        }
        conventions::outcome(self.label.as_deref()?)
    }

    /// The id of the finding, made of its subject, name and result: a result that is reported in two ways is
    /// one finding.
    fn id(&self, judged: &Judged) -> String {
        let result = format!(
            "{:?}{:?}{:?}{:?}{:?}",
            self.label,
            // As bits, which are equal for equal numbers, however the sources wrote them.
            self.score.map(f64::to_bits),
            self.explanation,
            self.identifier,
            self.error
        );
        // The length is bounded, because step, name and digits together must fit into an id.
        let name: String = self.name.as_deref().unwrap_or("evaluation").chars().take(40).collect();
        let name = name.replace(char::is_control, " ");
        let digits = fingerprint(result.as_bytes()) >> 32;
        let id = format!("{name}:{digits:08x}");
        match judged.scope {
            Some(scope) => format!("{scope}:{id}"),
            None => own_id(judged.step.as_ref(), &id),
        }
    }

    fn raise(self, judged: &Judged, meanings: &mut Vec<Meaning<'static>>) {
        // Only a step id of unusual length leaves no room for the rest: then there is no finding.
        let Ok(finding) = FindingId::new(self.id(judged)) else { return };
        let outcome = self.outcome();
        let mut evidence = Vec::new();
        let mut put = |name: &'static str, node: Option<Node<'static>>| {
            evidence.extend(node.map(|node| (Cow::Borrowed(name), node)));
        };
        let text = |text: &Option<String>| text.clone().map(|text| Node::Text(Cow::Owned(text)));
        put("label", text(&self.label));
        put("score", self.score.map(Node::Float).or_else(|| text(&self.score_text)));
        put("error", text(&self.error));
        put("annotator_kind", text(&self.annotator));
        put("identifier", text(&self.identifier));
        let metadata = self.metadata.as_deref().map(|text| {
            Node::parse_structure(text)
                .map_or_else(|| Node::Text(Cow::Owned(text.to_owned())), Node::into_owned)
        });
        put("metadata", metadata);
        let score = self.score.map(|score| score.to_string());
        let result = self.label.clone().or(score);
        let raised = FindingRaised {
            finding,
            // A result for the whole trace or conversation belongs to no single step.
            step: judged.step.clone().filter(|_| judged.scope.is_none()),
            category: Some("evaluation".to_owned()),
            pattern_type: self.name.clone(),
            // An evaluation has no severity of its own: the outcome decides.
            severity: Some(match outcome {
                Some(Outcome::Fail | Outcome::Error) => Severity::Medium,
                Some(Outcome::Warning) => Severity::Low,
                _ => Severity::Info,
            }),
            outcome,
            title: match (self.name, result) {
                (Some(name), Some(result)) => Some(format!("{name}: {result}")),
                (name, result) => name.or(result),
            },
            description: self.explanation,
            evidence: (!evidence.is_empty()).then(|| Json::written(Node::Object(evidence).to_json())),
            scope: judged.scope.map(str::to_owned),
            ..FindingRaised::default()
        };
        meanings.push(Meaning {
            precedence: Some(judged.precedence),
            at: judged.at,
            event: Cow::Owned(Event::FindingRaised(raised)),
        });
    }
}

pub(super) fn add(reading: &Reading<'_>, said: &mut Said<'_>, meanings: &mut Vec<Meaning<'static>>) {
    let precedence = reading.precedence(Rank::Span, Prefer::Innermost);
    let ended_at = reading.ended_at.or(reading.started_at);
    let judged = |scope, at| Judged { step: Some(reading.step.clone()), scope, at, precedence };
    if let Some(failure) = reading.error.clone() {
        failure.raise(Some(reading.step.clone()), precedence, meanings);
    }
    // A result comes as an event, as an annotation, or as the output. Its id is the same in each.
    for event in reading.span.events() {
        if event.text_of("name").and_then(conventions::happening) == Some(Happening::Evaluation)
            && let Some(evaluation) = Evaluation::of_event(record::attributes(event))
        {
            evaluation.raise(
                &judged(None, record::time(record::nanos(event, "timeUnixNano")).or(ended_at)),
                meanings,
            );
        }
    }
    let mut has_results = false;
    for (family, scope) in [
        (Family::Results, None),
        (Family::TraceResults, Some("trace")),
        (Family::ConversationResults, Some("conversation")),
    ] {
        let Some(list) = said.see_family(family) else { continue };
        let items = list.list().unwrap_or_default();
        let mut used = Used::new(Side::Output);
        let evaluations: Vec<Evaluation> =
            items.iter().filter_map(|item| Evaluation::read(item, &mut used)).collect();
        // An item that is no result stays in the attributes, and with it the others.
        if evaluations.len() == items.len() {
            said.take_family(family, &list, &used);
        }
        for evaluation in evaluations {
            has_results |= scope.is_none();
            evaluation.raise(&judged(scope, ended_at), meanings);
        }
    }
    // The output of an evaluator is its result only if no annotation of the step reports one.
    if reading.work == Work::Evaluation && !has_results {
        let output = said.see(Field::Output).map(|value| value.shown().into_owned()).unwrap_or_default();
        let read = Node::parse_structure(&output);
        let read = read.and_then(|node| Evaluation::read(&node, &mut Used::new(Side::Output)));
        let evaluation = match read {
            Some(read) => Evaluation { name: read.name.or_else(|| Some(reading.module.clone())), ..read },
            // No result in the form of an object: the output is a bare label or score.
            None if output.is_empty() => return,
            None => Evaluation {
                name: Some(reading.module.clone()),
                label: conventions::outcome(&output).map(|_| output.trim().to_owned()),
                score: output.trim().parse().ok().filter(|score: &f64| score.is_finite()),
                explanation: Some(output),
                ..Evaluation::default()
            },
        };
        evaluation.raise(&judged(None, ended_at), meanings);
    }
}

/// Adds the finding of an evaluation that came as a log record.
pub(super) fn logged<'n>(
    attributes: impl Iterator<Item = (&'n str, Any<'n>)>,
    step: Option<StepId>,
    at: Option<Timestamp>,
    precedence: Precedence,
    meanings: &mut Vec<Meaning<'static>>,
) {
    if let Some(evaluation) = Evaluation::of_event(attributes) {
        evaluation.raise(&Judged { step, scope: None, at, precedence }, meanings);
    }
}
