//! Usage and errors along the tree of steps. A step may repeat what the steps below it report: the run of an agent
//! sums up the tokens of its calls, and an exception that no step handles is an error of each step that it leaves.
//!
//! Each step passes a few facts on to the step above it. Facts are counted, so that steps may come in any order. A
//! fact that a step had already does not climb further, so each step is followed only a few times.

use std::collections::BTreeMap;

use crate::limits::ERRORS_BELOW_MAX;
use crate::projection::fold::cell::{Row, json_text, text_hash};
use crate::projection::fold::rows::{BelowRow, StepRow};

/// The facts that a step passes on to the step above it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in crate::projection) struct Passed {
    /// True if the step, or one below it, has tokens.
    tokens: bool,
    /// A call of a model has tokens: the step itself, or a step below it. A tool does not pass this on: the models
    /// that it uses are other calls than the one that asked for the tool.
    model_tokens: bool,
    /// As `tokens`, of the cost.
    cost: bool,
    /// As `model_tokens`, of the cost.
    model_cost: bool,
    /// Hash of its own error.
    error: Option<String>,
}

/// A change that a step has to follow.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::projection) enum Passing {
    /// A step directly below it passes on other facts than before.
    Below { before: Passed, after: Passed },
    /// Its own error changed, or its finding.
    OwnError,
}

impl Passed {
    /// The facts of a step, and of the steps below it. The step's own row is absent as long as only steps below it
    /// are known.
    pub(super) fn of(step: Option<&StepRow>, below: Option<&BelowRow>) -> Passed {
        let has = |count: fn(&BelowRow) -> i64| below.is_some_and(|below| count(below) > 0);
        let kind = step.and_then(|step| step.kind.as_deref());
        let (has_tokens, has_cost) = (step.is_some_and(has_tokens), step.is_some_and(has_cost));
        let (is_model, is_tool) = (kind == Some("llm"), kind == Some("tool"));
        Passed {
            tokens: has_tokens || has(|below| below.tokens),
            model_tokens: !is_tool && (is_model && has_tokens || has(|below| below.model_tokens)),
            cost: has_cost || has(|below| below.cost),
            model_cost: !is_tool && (is_model && has_cost || has(|below| below.model_cost)),
            error: step.and_then(|step| step.error.as_deref()).map(error_hash),
        }
    }
}

fn has_tokens(step: &StepRow) -> bool {
    [step.tokens_input, step.tokens_output].into_iter().flatten().any(|tokens| tokens > 0)
}

fn has_cost(step: &StepRow) -> bool {
    step.cost_usd.is_some_and(|cost| cost > 0.0)
}

/// The hash by which equal errors are found. Only errors of steps next to each other are compared, so that 64 bits
/// suffice.
fn error_hash(error: &str) -> String {
    // Some programs state the class before the message, and others the message alone.
    let is_class =
        |class: &str| class.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._".contains(&byte));
    let message = error.split_once(": ").filter(|(class, message)| is_class(class) && !message.is_empty());
    let mut hash = text_hash(message.map_or(error, |(_, message)| message));
    hash.truncate(16);
    hash
}

/// The share of a step in the sums of its session.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct StepShare {
    pub(super) steps: i64,
    pub(super) errors: i64,
    pub(super) tokens_input: Option<i64>,
    pub(super) tokens_output: Option<i64>,
    pub(super) cost_usd: Option<f64>,
}

impl StepShare {
    /// The share of a step. Usage that it only repeats has no share: a call of a model repeats that of calls of
    /// models below it, and any other step that of all steps below it.
    pub(super) fn of(step: &StepRow, below: Option<&BelowRow>) -> StepShare {
        let is_model = step.kind.as_deref() == Some("llm");
        let repeats = |all: fn(&BelowRow) -> i64, model: fn(&BelowRow) -> i64| {
            below.is_some_and(|below| if is_model { model(below) > 0 } else { all(below) > 0 })
        };
        let repeats_tokens = repeats(|below| below.tokens, |below| below.model_tokens);
        let repeats_cost = repeats(|below| below.cost, |below| below.model_cost);
        StepShare {
            steps: 1,
            errors: i64::from(step.status == "error"),
            tokens_input: step.tokens_input.filter(|_| !repeats_tokens),
            tokens_output: step.tokens_output.filter(|_| !repeats_tokens),
            cost_usd: step.cost_usd.filter(|_| !repeats_cost),
        }
    }
}

impl BelowRow {
    pub(super) fn new(session: &str, id: &str, seq: i64) -> BelowRow {
        BelowRow { id: id.to_owned(), session_id: session.to_owned(), first_seq: seq, ..BelowRow::blank() }
    }

    /// Counts the facts of a step directly below that passes on other facts than before.
    pub(super) fn follow(&mut self, before: &Passed, after: &Passed) {
        let counts = [
            (&mut self.tokens, before.tokens, after.tokens),
            (&mut self.model_tokens, before.model_tokens, after.model_tokens),
            (&mut self.cost, before.cost, after.cost),
            (&mut self.model_cost, before.model_cost, after.model_cost),
        ];
        for (count, before, after) in counts {
            *count = count.saturating_add(i64::from(after)).saturating_sub(i64::from(before));
        }
        if before.error != after.error {
            self.follow_error(before.error.as_deref(), after.error.clone());
        }
    }

    fn follow_error(&mut self, before: Option<&str>, after: Option<String>) {
        let mut errors = self.errors();
        if let Some(hash) = before
            && let Some(count) = errors.get_mut(hash)
        {
            *count = count.saturating_sub(1);
        }
        if let Some(hash) = after
            // An error without room stays a finding of each step that it leaves.
            && (errors.len() < ERRORS_BELOW_MAX || errors.contains_key(&hash))
        {
            let count = errors.entry(hash).or_default();
            *count = count.saturating_add(1);
        }
        errors.retain(|_, count| *count > 0);
        self.errors = if errors.is_empty() { None } else { json_text(&errors) };
    }

    fn errors(&self) -> BTreeMap<String, u64> {
        self.errors.as_deref().and_then(|json| serde_json::from_str(json).ok()).unwrap_or_default()
    }

    /// Returns whether a step directly below failed with this error.
    pub(super) fn has_error(&self, error: &str) -> bool {
        self.errors.is_some() && self.errors().contains_key(&error_hash(error))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn step(kind: &str, tokens: Option<i64>) -> StepRow {
        StepRow { kind: Some(kind.to_owned()), tokens_input: tokens, ..StepRow::blank() }
    }

    fn above(below: &[(Passed, Passed)]) -> BelowRow {
        let mut row = BelowRow::new("s", "a", 1);
        below.iter().for_each(|(before, after)| row.follow(before, after));
        row
    }

    fn share(kind: &str, tokens: i64, below: &BelowRow) -> Option<i64> {
        StepShare::of(&step(kind, Some(tokens)), Some(below)).tokens_input
    }

    #[test]
    fn a_step_repeats_the_usage_of_calls_below_it() {
        let call = Passed::of(Some(&step("llm", Some(3))), None);
        let below = above(&[(Passed::default(), call)]);
        assert_eq!(share("agent", 9, &below), None);
        assert_eq!(share("llm", 9, &below), None);
    }

    #[test]
    fn a_call_of_a_model_does_not_repeat_the_calls_of_a_tool_that_it_asked_for() {
        let call = Passed::of(Some(&step("llm", Some(3))), None);
        let under_tool = above(&[(Passed::default(), call)]);
        let tool = Passed::of(Some(&step("tool", None)), Some(&under_tool));
        let below = above(&[(Passed::default(), tool)]);
        assert_eq!(share("llm", 9, &below), Some(9));
        assert_eq!(share("agent", 9, &below), None, "a run sums up everything below it");
    }

    #[test]
    fn usage_that_nobody_below_has_counts() {
        let tool = Passed::of(Some(&step("tool", Some(0))), None);
        let below = above(&[(Passed::default(), tool.clone())]);
        assert_eq!(share("agent", 9, &below), Some(9));
        let call = Passed::of(Some(&step("llm", Some(3))), None);
        let below = above(&[(Passed::default(), call.clone()), (call, tool)]);
        assert_eq!(share("agent", 9, &below), Some(9), "it is another step's now");
    }

    #[test]
    fn an_error_is_found_as_long_as_a_step_below_has_it() {
        let failed = |error: &str| {
            Passed::of(Some(&StepRow { error: Some(error.to_owned()), ..StepRow::blank() }), None)
        };
        let mut row = above(&[(Passed::default(), failed("a")), (Passed::default(), failed("a"))]);
        assert!(row.has_error("a") && !row.has_error("b"));
        row.follow(&failed("a"), &failed("b"));
        assert!(row.has_error("a") && row.has_error("b"));
        row.follow(&failed("a"), &Passed::default());
        assert!(!row.has_error("a") && row.has_error("b"));
    }

    #[test]
    fn errors_of_one_step_have_a_bound() {
        let mut row = BelowRow::new("s", "a", 1);
        for number in 0..=ERRORS_BELOW_MAX {
            row.follow(&Passed::default(), &Passed { error: Some(number.to_string()), ..Passed::default() });
        }
        assert_eq!(row.errors().len(), ERRORS_BELOW_MAX);
    }
}
