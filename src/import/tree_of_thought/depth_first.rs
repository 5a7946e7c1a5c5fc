//! The record of a depth-first search: the states that it came to, in their order.
//!
//! | in the file | as events |
//! | --- | --- |
//! | a state | a step, within the step of the state before its last action |
//! | its last action | the decision for it |
//! | the largest share of right words, `info.r_word` | the session's score `r` |
//!
//! The file has neither the puzzle nor its number. A state names all actions that led to it, so the tree of the search is
//! that of the steps. The search goes on after the last action of a state if it follows; the file does not say why it
//! does not.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::super::emit::{Emitter, Scope};
use super::super::error::{ImportError, Location};
use super::super::fields::Fields;
use super::super::source::Source;
use crate::{
    Attributes, DecisionMade, FindingRaised, Json, Outcome, SessionEnd, SessionEnded, SessionStarted,
    Severity, StepEnd, StepEnded, StepId, StepKind, StepStarted,
};

pub(super) const FORMAT: &str = "tree-of-thought";

/// The marks of a state, as shares of 1.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Shares {
    r_letter: Option<f64>,
    r_word: Option<f64>,
}

/// Imports the record of a search. `number` is its position among the searches of the file.
pub(super) fn import(
    place: Location,
    item: &Json,
    number: usize,
    source: &Source,
    emitter: &mut Emitter<'_>,
) -> Result<(), ImportError> {
    let mut states = Fields::collected(place.clone(), BTreeMap::from([("states".to_owned(), item.clone())]));
    let states = states.objects("states")?.unwrap_or_default();
    let index = number.saturating_sub(1);
    let scope = emitter.session(place, FORMAT, source, &format!("search/{index}"))?;
    let started = SessionStarted {
        profile: Some(FORMAT.to_owned()),
        source: Some(source.name().to_owned()),
        labels: BTreeMap::from([("search".to_owned(), index.to_string())]),
        ..Default::default()
    };
    emitter.emit(&scope, "started", None, started)?;
    let mut search = Search { scope: &scope, path: Vec::new(), best: None };
    for (index, state) in states.into_iter().enumerate() {
        search.state(state, index + 1, emitter)?;
    }
    search.end(emitter)
}

struct Search<'a> {
    scope: &'a Scope,
    /// The last state's actions, each with the step that it led to.
    path: Vec<(String, StepId)>,
    /// The state with the largest share of right words.
    best: Option<Best>,
}

struct Best {
    word: f64,
    letter: Option<f64>,
    actions: Vec<String>,
}

impl Search<'_> {
    fn state(
        &mut self,
        mut state: Fields,
        number: usize,
        emitter: &mut Emitter<'_>,
    ) -> Result<(), ImportError> {
        let actions: Vec<String> = state.require("actions")?;
        let info = state.json("info");
        let shares: Shares = match &info {
            Some(info) => state.read("info", info)?,
            None => Shares::default(),
        };
        let number = number.to_string();
        let step: StepId = self.scope.id("step", &number)?;
        let (last, before) = match actions.split_last() {
            Some((last, before)) => (Some(last), before),
            None => (None, actions.as_slice()),
        };
        let same = self.path.iter().zip(before).take_while(|((action, _), other)| action == *other).count();
        // A state whose actions before were never reached by themselves has the last one that was.
        self.path.truncate(same);
        let parent = self.path.last().map(|(_, step)| step.clone());
        let started = StepStarted {
            step: step.clone(),
            parent_step: parent,
            module: Some("search".to_owned()),
            kind: Some(StepKind::Other),
            input: (!before.is_empty()).then(|| before.join("\n")),
            attributes: state.rest(),
            ..Default::default()
        };
        emitter.emit(self.scope, &format!("step/{number}/started"), None, started)?;
        if let Some(last) = last {
            let decision = DecisionMade {
                decision: self.scope.id("decision", &number)?,
                step: Some(step.clone()),
                decision_type: Some("expand".to_owned()),
                chosen_option: Some(last.clone()),
                ..Default::default()
            };
            emitter.emit(self.scope, &format!("decision/{number}"), None, decision)?;
            self.path.push((last.clone(), step.clone()));
        }
        let ended = StepEnded {
            step,
            status: StepEnd::Ok,
            output: Some(actions.join("\n")),
            attributes: info.map(|info| ("info".to_owned(), info)).into_iter().collect::<Attributes>(),
            ..Default::default()
        };
        emitter.emit(self.scope, &format!("step/{number}/ended"), None, ended)?;
        if let Some(word) = shares.r_word
            && self.best.as_ref().is_none_or(|best| best.word < word)
        {
            self.best = Some(Best { word, letter: shares.r_letter, actions });
        }
        Ok(())
    }

    fn end(self, emitter: &mut Emitter<'_>) -> Result<(), ImportError> {
        let failed = self.best.as_ref().filter(|best| (0.0..1.0).contains(&best.word));
        if let Some(best) = failed {
            emitter.emit(self.scope, "finding/1", None, self.finding(best)?)?;
        }
        let mut scores = BTreeMap::new();
        scores.extend(self.best.as_ref().map(|best| ("r".to_owned(), best.word)));
        scores.extend(self.best.as_ref().and_then(|best| Some(("r_letter".to_owned(), best.letter?))));
        let ended = SessionEnded {
            status: if failed.is_some() { SessionEnd::Failed } else { SessionEnd::Completed },
            summary: self.best.as_ref().map(|best| best.actions.join("\n")),
            scores,
            ..Default::default()
        };
        emitter.emit(self.scope, "ended", None, ended)
    }

    fn finding(&self, best: &Best) -> Result<FindingRaised, ImportError> {
        let evidence = Json::of(&best.actions).map_err(|error| ImportError::Field {
            place: self.scope.place.clone(),
            field: "actions".to_owned(),
            reason: error.to_string(),
        })?;
        Ok(FindingRaised {
            finding: self.scope.id("finding", "1")?,
            category: Some("task".to_owned()),
            pattern_type: Some("tree_of_thought.r_word".to_owned()),
            severity: Some(Severity::High),
            outcome: Some(Outcome::Fail),
            title: Some("The puzzle was not solved".to_owned()),
            description: Some(format!(
                "The best state of the search has a share of {} right words.",
                best.word
            )),
            plain_english: Some("The search came to no right answer.".to_owned()),
            evidence: Some(evidence),
            ..Default::default()
        })
    }
}
