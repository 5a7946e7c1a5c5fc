//! Usage and errors along the tree of steps. A step may repeat what the steps below it report: the run of an agent
//! sums up the tokens of its calls, and an exception that no step handles is an error of each step that it leaves.
//!
//! Each step passes a few facts on to the step above it. Facts are counted, so that steps may come in any order. A
//! fact that a step had already does not climb further, so each step is followed only a few times.

use std::collections::BTreeMap;

use crate::limits::ERRORS_BELOW_MAX;
use crate::projection::fold::cell::{Row, json_text, stored, text_hash};
use crate::projection::fold::rows::{BelowRow, StepRow};

/// The facts that a step passes on to the step above it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in crate::projection) struct Passed {
    /// The usage that the step, or one below it, has.
    any: Usage<bool>,
    /// The same without embeddings: an agent sums up its calls of models that answer, and an embedding is a call of
    /// its own beside them.
    agent: Usage<bool>,
    /// The usage that a call of a model has: the step itself, or a step below it. A tool does not pass this on: the
    /// models that it uses are other calls than the one that asked for the tool.
    model: Usage<bool>,
    /// Hash of its own error.
    error: Option<String>,
}

/// One value for each number that says what a step used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::projection) struct Usage<T> {
    tokens_input: T,
    tokens_output: T,
    cost: T,
}

impl Usage<bool> {
    /// The usage that a step itself states. A zero says nothing about the calls that it would repeat.
    fn of(step: &StepRow) -> Usage<bool> {
        Usage {
            tokens_input: step.tokens_input.is_some_and(|tokens| tokens > 0),
            tokens_output: step.tokens_output.is_some_and(|tokens| tokens > 0),
            cost: step.cost_usd.is_some_and(|cost| cost > 0.0),
        }
    }

    fn or(self, other: Usage<bool>) -> Usage<bool> {
        Usage {
            tokens_input: self.tokens_input || other.tokens_input,
            tokens_output: self.tokens_output || other.tokens_output,
            cost: self.cost || other.cost,
        }
    }
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
        let kind = step.and_then(|step| step.kind.as_deref());
        let own = step.map(Usage::of).unwrap_or_default();
        let own_if = |counts: bool| if counts { own } else { Usage::default() };
        let below_of = |usage: fn(&BelowRow) -> Usage<bool>| below.map(usage).unwrap_or_default();
        Passed {
            any: own.or(below_of(BelowRow::any)),
            agent: own_if(kind != Some("embedding")).or(below_of(BelowRow::agent)),
            model: match kind {
                Some("tool") => Usage::default(),
                kind => own_if(kind == Some("llm")).or(below_of(BelowRow::model)),
            },
            error: step.and_then(|step| step.error.as_deref()).map(error_hash),
        }
    }
}

/// The hash by which equal errors are found. Only errors of steps next to each other are compared, so that 64 bits
/// suffice.
fn error_hash(error: &str) -> String {
    // Of the text as the table stores it, because a row that is loaded again has that.
    let error = &stored(error);
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
    /// The share of a step. Usage that it only repeats adds nothing: a call of a model repeats that of calls of
    /// models below it, an agent that of all steps below it except embeddings, and any other step that of all steps
    /// below it.
    pub(super) fn of(step: &StepRow, below: Option<&BelowRow>) -> StepShare {
        let usage = match step.kind.as_deref() {
            Some("llm") => BelowRow::model,
            Some("agent") => BelowRow::agent,
            _ => BelowRow::any,
        };
        let repeated = below.map(usage).unwrap_or_default();
        // Zero instead of nothing: a sum to which something was added once would not be absent again afterwards, and
        // the order of the events would decide.
        StepShare {
            steps: 1,
            errors: i64::from(step.status == "error"),
            tokens_input: step.tokens_input.map(|tokens| if repeated.tokens_input { 0 } else { tokens }),
            tokens_output: step.tokens_output.map(|tokens| if repeated.tokens_output { 0 } else { tokens }),
            cost_usd: step.cost_usd.map(|cost| if repeated.cost { 0.0 } else { cost }),
        }
    }
}

impl BelowRow {
    pub(super) fn new(session: &str, id: &str, seq: i64) -> BelowRow {
        BelowRow { id: id.to_owned(), session_id: session.to_owned(), first_seq: seq, ..BelowRow::blank() }
    }

    /// The usage that the steps below have.
    fn any(&self) -> Usage<bool> {
        Usage {
            tokens_input: self.tokens_input > 0,
            tokens_output: self.tokens_output > 0,
            cost: self.cost > 0,
        }
    }

    /// The usage that the steps below have, without embeddings.
    fn agent(&self) -> Usage<bool> {
        Usage {
            tokens_input: self.agent_tokens_input > 0,
            tokens_output: self.agent_tokens_output > 0,
            cost: self.agent_cost > 0,
        }
    }

    /// The usage that calls of models below have.
    fn model(&self) -> Usage<bool> {
        Usage {
            tokens_input: self.model_tokens_input > 0,
            tokens_output: self.model_tokens_output > 0,
            cost: self.model_cost > 0,
        }
    }

    /// Counts the facts of a step directly below that passes on other facts than before.
    pub(super) fn follow(&mut self, before: &Passed, after: &Passed) {
        let counts = [
            (&mut self.tokens_input, before.any.tokens_input, after.any.tokens_input),
            (&mut self.tokens_output, before.any.tokens_output, after.any.tokens_output),
            (&mut self.cost, before.any.cost, after.any.cost),
            (&mut self.agent_tokens_input, before.agent.tokens_input, after.agent.tokens_input),
            (&mut self.agent_tokens_output, before.agent.tokens_output, after.agent.tokens_output),
            (&mut self.agent_cost, before.agent.cost, after.agent.cost),
            (&mut self.model_tokens_input, before.model.tokens_input, after.model.tokens_input),
            (&mut self.model_tokens_output, before.model.tokens_output, after.model.tokens_output),
            (&mut self.model_cost, before.model.cost, after.model.cost),
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
        assert_eq!(share("agent", 9, &below), Some(0));
        assert_eq!(share("llm", 9, &below), Some(0));
    }

    #[test]
    fn a_call_of_a_model_does_not_repeat_the_calls_of_a_tool_that_it_asked_for() {
        let call = Passed::of(Some(&step("llm", Some(3))), None);
        let under_tool = above(&[(Passed::default(), call)]);
        let tool = Passed::of(Some(&step("tool", None)), Some(&under_tool));
        let below = above(&[(Passed::default(), tool)]);
        assert_eq!(share("llm", 9, &below), Some(9));
        assert_eq!(share("agent", 9, &below), Some(0), "a run sums up everything below it");
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
    fn an_embedding_does_not_hide_the_usage_of_the_agent_above_it() {
        let embedding = Passed::of(Some(&step("embedding", Some(3))), None);
        let below = above(&[(Passed::default(), embedding)]);
        assert_eq!(share("agent", 9, &below), Some(9));
        assert_eq!(share("embedding", 3, &below), Some(0), "one library calls another");
        assert_eq!(share("other", 3, &below), Some(0));
    }

    #[test]
    fn an_error_is_the_same_as_its_text_in_the_table() {
        assert_eq!(error_hash("a\0b"), error_hash(&stored("a\0b")));
    }

    #[test]
    fn a_number_that_no_step_below_states_is_not_repeated() {
        let read_only = Passed::of(Some(&step("llm", Some(3))), None);
        let below = above(&[(Passed::default(), read_only)]);
        let run = StepRow { tokens_output: Some(5), cost_usd: Some(0.5), ..step("agent", Some(9)) };
        let share = StepShare::of(&run, Some(&below));
        assert_eq!((share.tokens_input, share.tokens_output, share.cost_usd), (Some(0), Some(5), Some(0.5)));
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
