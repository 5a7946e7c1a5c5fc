//! Logs of the tree-of-thought experiments: a JSON list of puzzles and the searches for an answer.
//!
//! | in the file | as events |
//! | --- | --- |
//! | a record | a session `tree-of-thought/<source>/<idx>` |
//! | an entry of `steps` | a step, and the decision which of the new thoughts to keep |
//! | `usage_so_far` | the session's tokens and cost: the difference from the record before |
//! | no right answer | a finding, and a session that failed |
//! | a list of states, the record of a depth-first search | a session `tree-of-thought/<source>/search/<index>` |
//!
//! The files are those of princeton-nlp/tree-of-thought-llm (`run.py`, `src/tot/tasks`, `scripts/crosswords`, and the files
//! in `logs`, September 2023). They differ: some have `infos`, others `accs`, some no `steps`. `true` and the mark 1 are
//! those of a right answer. Only `false` and marks from 0 to 1 are verdicts: others are ratings on a scale, which do not
//! show that an answer is wrong. Creative writing has no right answer: its `infos` have the ratings `rs`, and its `accs`
//! are all the whole number 0, which stands for no mark. A session is completed unless the file shows that it failed.
//! The logs have no times.

mod depth_first;
mod marks;

use std::collections::BTreeMap;
use std::io::Read;

use serde::{Deserialize, Serialize};

use self::depth_first::FORMAT;
use self::marks::Marks;
use super::emit::{Emitter, Scope, Sink};
use super::error::ImportError;
use super::fields::{Fields, Label, text_of};
use super::json_list::for_each_item;
use super::source::{Imported, Source};
use crate::{
    Attributes, ConsideredOption, DecisionMade, FindingRaised, Json, Outcome, SessionEnd, SessionEnded,
    SessionStarted, Severity, StepEnd, StepEnded, StepId, StepKind, StepStarted,
};

/// Reads a log of tree-of-thought experiments.
///
/// # Errors
/// If the file is not a list of records, a record has no `idx`, a field is not what that project writes, or the sink
/// refuses a draft. Drafts from before the error were handed over.
pub fn tree_of_thought(
    reader: impl Read,
    source: &Source,
    sink: &mut Sink<'_>,
) -> Result<Imported, ImportError> {
    let mut emitter = Emitter::new(sink);
    let mut before = Some(Usage::START);
    let mut searches = 0;
    for_each_item(reader, "a JSON list of tree-of-thought records", |place, item| {
        let item = item?;
        if item.as_str().starts_with('[') {
            searches += 1;
            return depth_first::import(place, &item, searches, source, &mut emitter);
        }
        let record = Fields::of(place, "", item)?;
        // None after a record without usage: the next record's share is then unknown.
        before = import_record(record, source, before.take(), &mut emitter)?;
        Ok(())
    })?;
    Ok(emitter.imported())
}

/// The tokens that models read and wrote, and their cost, since the experiment began.
#[derive(Clone, Copy, Deserialize)]
struct Usage {
    completion_tokens: Option<u64>,
    prompt_tokens: Option<u64>,
    cost: Option<f64>,
}

impl Usage {
    /// The usage before the first record.
    const START: Usage = Usage { completion_tokens: Some(0), prompt_tokens: Some(0), cost: Some(0.0) };
}

/// The tokens since the record before; None if one number is unknown, or the numbers fell.
fn tokens_since(now: Option<u64>, before: Option<u64>) -> Option<u64> {
    now?.checked_sub(before?)
}

fn cost_since(now: Option<f64>, before: Option<f64>) -> Option<f64> {
    /// The difference of two decimal fractions ends in binary rounding; no price is this small.
    const PARTS_PER_DOLLAR: f64 = 1e9;
    let cost = now? - before?;
    // A total that fell shows nothing about this record.
    (cost >= 0.0).then(|| (cost * PARTS_PER_DOLLAR).round() / PARTS_PER_DOLLAR)
}

fn import_record(
    mut record: Fields,
    source: &Source,
    before: Option<Usage>,
    emitter: &mut Emitter<'_>,
) -> Result<Option<Usage>, ImportError> {
    let Label(idx) = record.require("idx")?;
    let steps = record.objects("steps")?.unwrap_or_default();
    let marks = Marks::of(&mut record)?;
    let answers = record.json("ys");
    // The total is also kept as it is, because differences may be unknown.
    let usage_so_far = record.json("usage_so_far");
    let usage: Option<Usage> = match &usage_so_far {
        Some(usage) => Some(record.read("usage_so_far", usage)?),
        None => None,
    };
    let scope = emitter.session(record.place().clone(), FORMAT, source, &idx)?;

    let mut steps = steps.into_iter().map(Step::of).collect::<Result<Vec<_>, _>>()?;
    // Only the steps have the puzzle.
    let input = steps.first().and_then(|step| step.puzzle.clone());
    let started = SessionStarted {
        profile: Some(FORMAT.to_owned()),
        input: input.clone(),
        source: Some(source.name().to_owned()),
        labels: BTreeMap::from([("idx".to_owned(), idx.clone())]),
        // All fields that were not taken so far.
        attributes: record.rest(),
        ..Default::default()
    };
    emitter.emit(&scope, "started", None, started)?;
    for (index, step) in steps.drain(..).enumerate() {
        step.emit(index + 1, input.as_deref(), &scope, emitter)?;
    }

    let failed = marks.all_wrong();
    if failed {
        emitter.emit(&scope, "finding/1", None, finding(&scope, &idx, &marks, answers.as_ref())?)?;
    }
    let mut attributes = Attributes::new();
    attributes.extend(answers.map(|answers| ("ys".to_owned(), answers)));
    attributes.extend(usage_so_far.map(|usage| ("usage_so_far".to_owned(), usage)));
    let scores = marks.best().map(|best| ("r".to_owned(), best)).into_iter().collect();
    attributes.extend(marks.raw.into_iter().map(|(name, json)| (name.to_owned(), json)));
    let ended = SessionEnded {
        status: if failed { SessionEnd::Failed } else { SessionEnd::Completed },
        scores,
        tokens_input: tokens_since(
            usage.and_then(|usage| usage.prompt_tokens),
            before.and_then(|usage| usage.prompt_tokens),
        ),
        tokens_output: tokens_since(
            usage.and_then(|usage| usage.completion_tokens),
            before.and_then(|usage| usage.completion_tokens),
        ),
        cost_usd: cost_since(usage.and_then(|usage| usage.cost), before.and_then(|usage| usage.cost)),
        attributes,
        ..Default::default()
    };
    emitter.emit(&scope, "ended", None, ended)?;
    Ok(usage)
}

fn finding(
    scope: &Scope,
    idx: &str,
    marks: &Marks,
    answers: Option<&Json>,
) -> Result<FindingRaised, ImportError> {
    #[derive(Serialize)]
    struct Evidence<'a> {
        #[serde(skip_serializing_if = "Option::is_none")]
        ys: Option<&'a Json>,
        #[serde(flatten)]
        marks: BTreeMap<&'static str, &'a Json>,
    }

    let evidence =
        Evidence { ys: answers, marks: marks.raw.iter().map(|(name, json)| (*name, json)).collect() };
    let evidence = Json::of(&evidence).map_err(|error| ImportError::Field {
        place: scope.place.clone(),
        field: "infos".to_owned(),
        reason: error.to_string(),
    })?;
    let count = marks.marks.len();
    Ok(FindingRaised {
        finding: scope.id("finding", "1")?,
        category: Some("task".to_owned()),
        pattern_type: Some("tree_of_thought.r".to_owned()),
        severity: Some(Severity::High),
        outcome: Some(Outcome::Fail),
        title: Some(format!("Puzzle {idx} was not solved")),
        description: Some(format!("Answers marked as right (r = 1): none of {count} for puzzle {idx}.")),
        plain_english: Some("None of the answers that the search came to is right.".to_owned()),
        evidence: Some(evidence),
        ..Default::default()
    })
}

/// One step of a search: thoughts so far, new thoughts, and those that were kept.
struct Step {
    puzzle: Option<String>,
    before: Option<Vec<String>>,
    new: Option<Vec<String>>,
    values: Option<Json>,
    scores: Vec<Option<f64>>,
    kept: Option<Vec<String>>,
    rest: Attributes,
}

impl Step {
    fn of(mut fields: Fields) -> Result<Step, ImportError> {
        let values = fields.json("values");
        let scores = match &values {
            Some(values) => fields.read("values", values)?,
            None => Vec::new(),
        };
        Ok(Step {
            puzzle: fields.json("x").as_ref().map(text_of),
            before: fields.texts("ys")?,
            new: fields.texts("new_ys")?,
            values,
            scores,
            kept: fields.texts("select_new_ys")?,
            rest: fields.rest(),
        })
    }

    fn emit(
        self,
        number: usize,
        input: Option<&str>,
        scope: &Scope,
        emitter: &mut Emitter<'_>,
    ) -> Result<(), ImportError> {
        let number = number.to_string();
        let step: StepId = scope.id("step", &number)?;
        let mut attributes = self.rest;
        // The session's input has it already, unless a step changed the puzzle.
        let other_puzzle = self.puzzle.filter(|puzzle| Some(puzzle.as_str()) != input);
        attributes.extend(other_puzzle.map(|puzzle| ("x".to_owned(), Json::text(&puzzle))));
        let started = StepStarted {
            step: step.clone(),
            module: Some("search".to_owned()),
            // More than one call of a model: thoughts are generated, rated and selected.
            kind: Some(StepKind::Other),
            input: self.before.map(|thoughts| thoughts.join("\n")),
            attributes,
            ..Default::default()
        };
        emitter.emit(scope, &format!("step/{number}/started"), None, started)?;

        // Without thoughts there was no decision.
        if self.new.is_some() || self.kept.is_some() {
            let new = self.new.unwrap_or_default();
            // Values that are not one for each thought cannot be assigned: they are kept, but are no scores.
            let rated = self.scores.len() == new.len();
            let mut attributes = Attributes::new();
            attributes.extend(self.values.filter(|_| !rated).map(|values| ("values".to_owned(), values)));
            // `zip` ends with the thoughts; a thought without a rating gets None.
            let scores = self.scores.into_iter().filter(|_| rated).chain(std::iter::repeat(None));
            let decision = DecisionMade {
                decision: scope.id("decision", &number)?,
                step: Some(step.clone()),
                decision_type: Some("select".to_owned()),
                options_considered: new
                    .into_iter()
                    .zip(scores)
                    .map(|(option, score)| ConsideredOption { option, score, attributes: Attributes::new() })
                    .collect(),
                chosen_options: self.kept.clone().unwrap_or_default(),
                attributes,
                ..Default::default()
            };
            emitter.emit(scope, &format!("decision/{number}"), None, decision)?;
        }

        let ended = StepEnded {
            step,
            status: StepEnd::Ok,
            output: self.kept.map(|thoughts| thoughts.join("\n")),
            ..Default::default()
        };
        emitter.emit(scope, &format!("step/{number}/ended"), None, ended)
    }
}

#[cfg(test)]
mod tests {
    use super::super::error::Location;
    use super::super::test_support::{all, collect, ids, real_data, source};
    use super::*;
    use crate::Draft;

    fn import(text: &str) -> (Vec<Draft>, Result<Imported, ImportError>) {
        collect(|sink| tree_of_thought(text.as_bytes(), &source(), sink))
    }

    // The second step has one value for two thoughts, and the second record fewer prompt tokens than the first.
    const LOG: &str = r#"[
        {"idx": 900, "ys": ["4 * 6 = 24\n"], "infos": [{"r": 0}, {"r": 1}], "model": "m",
         "usage_so_far": {"completion_tokens": 10, "prompt_tokens": 100, "cost": 0.1},
         "steps": [
            {"step": 0, "x": "4 6 1 1", "ys": [""], "new_ys": ["a\n", "b\n"], "values": [1, 0.5],
             "select_new_ys": ["a\n"]},
            {"step": 1, "x": "4 6 1 1", "ys": ["a\n"], "new_ys": ["c\n", "d\n"], "values": [1],
             "select_new_ys": ["d\n", "c\n"]}]},
        {"idx": 901, "ys": ["no"], "infos": [{"r": 0}],
         "usage_so_far": {"completion_tokens": 15, "prompt_tokens": 90, "cost": 0.3}}]"#;

    #[test]
    fn the_game_of_24_has_the_known_counts() {
        let Some(file) = real_data("tree-of-thought-game24.json") else { return };
        let (drafts, result) = collect(|sink| tree_of_thought(file, &source(), sink));
        let imported = result.unwrap();
        assert_eq!((imported.sessions, imported.steps, imported.decisions), (100, 400, 400));
        assert_eq!(imported.findings, 31);
        let ends = all!(drafts, SessionEnded);
        assert_eq!(ends.iter().filter(|session| session.status == SessionEnd::Failed).count(), 31);
        assert_eq!((ends[0].tokens_input, ends[0].tokens_output), (Some(28_451), Some(9_161)));
        assert_eq!((ends[1].tokens_input, ends[1].cost_usd), (Some(63_137 - 28_451), Some(1.9512)));
        let decisions = all!(drafts, DecisionMade);
        let options = || decisions.iter().flat_map(|decision| &decision.options_considered);
        assert!(options().all(|option| option.score.is_some()));
        let Some(file) = real_data("tree-of-thought-game24.json") else { return };
        assert!(drafts == collect(|sink| tree_of_thought(file, &source(), sink)).0, "again the same");
    }

    #[test]
    fn a_step_holds_the_decision_that_was_made_in_it() {
        let (drafts, result) = import(LOG);
        assert_eq!(result.unwrap().events, drafts.len() as u64);
        assert_eq!(all!(drafts, SessionStarted)[0].input.as_deref(), Some("4 6 1 1"));
        assert_eq!(all!(drafts, SessionStarted)[0].attributes["model"].as_str(), "\"m\"");
        let decisions = all!(drafts, DecisionMade);
        assert_eq!(decisions[0].options_considered[1], ConsideredOption::scored("b\n", 0.5));
        assert_eq!(decisions[0].chosen_options, ["a\n"]);
        assert_eq!(decisions[1].step.as_ref().unwrap().as_str(), "2");
        let steps = all!(drafts, StepEnded);
        assert_eq!(steps[1].output.as_deref(), Some("d\n\nc\n"));
        assert_eq!(all!(drafts, SessionEnded)[0].attributes["ys"].as_str(), r#"["4 * 6 = 24\n"]"#);
    }

    #[test]
    fn values_that_are_not_one_for_each_thought_are_no_scores() {
        let (drafts, _) = import(LOG);
        let decision = all!(drafts, DecisionMade)[1];
        assert!(decision.options_considered.iter().all(|option| option.score.is_none()));
        assert_eq!(decision.attributes["values"].as_str(), "[1]");
    }

    #[test]
    fn usage_is_what_came_since_the_record_before() {
        let (drafts, _) = import(LOG);
        let ends = all!(drafts, SessionEnded);
        assert_eq!((ends[0].tokens_input, ends[0].tokens_output), (Some(100), Some(10)));
        assert_eq!((ends[1].tokens_input, ends[1].tokens_output), (None, Some(5)), "absent where negative");
        // 0.3 - 0.1 is 0.2 only after rounding.
        assert_eq!(ends[1].cost_usd, Some(0.2));
        let (drafts, _) = import(r#"[{"idx": 1}, {"idx": 2, "usage_so_far": {"cost": 1}}]"#);
        assert_eq!(all!(drafts, SessionEnded)[1].cost_usd, None, "the record before does not say");
    }

    #[test]
    fn only_marks_that_say_so_make_a_failure() {
        for (marks, failed) in [
            (r#""infos": [{"r": 0}, {"r": 0.5}]"#, true),
            (r#""infos": [{"r": 0}, {"r": 1}]"#, false),
            (r#""infos": [{"r": 7.5}]"#, false),
            (r#""infos": [{}]"#, false),
            (r#""infos": []"#, false),
            (r#""accs": [0.0, 0.3]"#, true),
            (r#""accs": [1, 0]"#, false),
            (r#""accs": [false, false]"#, true),
            (r#""accs": [false, true]"#, false),
            // A task without a mark.
            (r#""accs": [0]"#, false),
            (r#""infos": [{"rs": [], "r": 0}, {"rs": [1, 0], "r": 0.5}]"#, false),
            (r#""ys": []"#, false),
        ] {
            let (drafts, _) = import(&format!(r#"[{{"idx": 1, {marks}}}]"#));
            assert_eq!(all!(drafts, FindingRaised).len(), usize::from(failed), "{marks}");
            let end = if failed { SessionEnd::Failed } else { SessionEnd::Completed };
            assert_eq!(all!(drafts, SessionEnded)[0].status, end, "{marks}");
        }
    }

    #[test]
    fn ids_do_not_come_from_content() {
        let other = LOG.replace("4 6 1 1", "5 5 5 5").replace("a\\n", "z\\n").replace("\"no\"", "\"yes\"");
        let (drafts, others) = (import(LOG).0, import(&other).0);
        assert_ne!(drafts, others);
        assert_eq!(ids(&drafts), ids(&others));
    }

    #[test]
    fn an_error_names_record_and_field() {
        for (bad, field) in [
            (r#"{"ys": []}"#, "idx"),
            (r#"{"idx": {}}"#, "idx"),
            (r#"{"idx": 2, "steps": {}}"#, "steps"),
            (r#"{"idx": 2, "steps": [[]]}"#, "steps[0]"),
            (r#"{"idx": 2, "steps": [{"new_ys": 3}]}"#, "steps[0].new_ys"),
            (r#"{"idx": 2, "steps": [{"values": [1, "x"]}]}"#, "steps[0].values[1]"),
            (r#"{"idx": 2, "infos": [{"r": "1"}]}"#, "infos[0].r"),
            (r#"{"idx": 2, "usage_so_far": {"prompt_tokens": -1}}"#, "usage_so_far.prompt_tokens"),
        ] {
            match import(&format!(r#"[{{"idx": 1}}, {bad}]"#)).1.unwrap_err() {
                ImportError::Field { place, field: named, .. } => {
                    assert_eq!((place, named.as_str()), (Location::Record(1), field));
                }
                error => panic!("{bad}: {error}"),
            }
        }
    }

    #[test]
    fn marks_that_are_true_or_false_are_scores() {
        let (drafts, _) = import(r#"[{"idx": 1, "accs": [false, true]}, {"idx": 2, "accs": [false]}]"#);
        let ends = all!(drafts, SessionEnded);
        assert_eq!((ends[0].scores["r"], ends[1].scores["r"]), (1.0, 0.0));
        assert_eq!(ends[0].attributes["accs"].as_str(), "[false, true]");
        let description = all!(drafts, FindingRaised)[0].description.clone().unwrap();
        assert!(description.contains("none of 1"), "{description}");
        let (drafts, _) = import(r#"[{"idx": 1, "accs": [0]}]"#);
        assert!(all!(drafts, SessionEnded)[0].scores.is_empty(), "no mark, and so no score");
    }

    #[test]
    fn another_file_is_refused() {
        assert!(matches!(import("{}").1, Err(ImportError::WrongFile { .. })));
        let error = import("[3]").1.unwrap_err();
        assert!(matches!(error, ImportError::Malformed { place: Location::Record(0), .. }), "{error}");
    }

    const SEARCHES: &str = r#"[[
        {"total_step": 0, "env_step": 1, "actions": ["h2. motor"], "info": {"r_letter": 0.2, "r_word": 0.1},
         "count": {"sure": 1, "maybe": 0, "impossible": 0}},
        {"total_step": 1, "env_step": 2, "actions": ["h2. motor", "h1. tasks"], "info": {"r_letter": 0.5, "r_word": 0.3}},
        {"total_step": 2, "env_step": 2, "actions": ["h2. motor", "v1. tmgss"], "info": {"r_letter": 0.6, "r_word": 0.2}},
        {"total_step": 3, "env_step": 1, "actions": ["h3. grand"]}],
        [{"actions": ["x"], "info": {"r_word": 1.0}}], []]"#;

    #[test]
    fn the_states_of_a_search_are_steps_within_one_another() {
        let (drafts, result) = import(SEARCHES);
        let imported = result.unwrap();
        assert_eq!((imported.sessions, imported.steps, imported.decisions, imported.findings), (3, 5, 5, 1));
        assert_eq!(drafts[0].session.as_ref().unwrap().as_str(), "tree-of-thought/test/search/0");
        let parents: Vec<_> = all!(drafts, StepStarted)
            .into_iter()
            .map(|started| started.parent_step.as_ref().map(StepId::as_str))
            .collect();
        assert_eq!(parents, [None, Some("1"), Some("1"), None, None]);
        let decisions = all!(drafts, DecisionMade);
        assert_eq!(decisions[2].chosen_option.as_deref(), Some("v1. tmgss"));
        assert_eq!(all!(drafts, StepStarted)[0].attributes["env_step"].as_str(), "1");
        assert!(all!(drafts, StepStarted)[0].attributes["count"].as_str().contains("impossible"));
        let ends = all!(drafts, SessionEnded);
        assert_eq!((ends[0].status, ends[0].scores["r"]), (SessionEnd::Failed, 0.3));
        assert_eq!(ends[0].summary.as_deref(), Some("h2. motor\nh1. tasks"));
        assert_eq!((ends[1].status, ends[1].scores["r"]), (SessionEnd::Completed, 1.0));
        assert!(ends[2].scores.is_empty(), "nothing is known of a search without states");
    }

    #[test]
    fn a_state_without_actions_is_named() {
        for (bad, field) in [
            (r#"[[{"total_step": 0}]]"#, "record 0 (the first is 0): field `states[0].actions`: is missing"),
            (r#"[[3]]"#, "record 0 (the first is 0): field `states[0]`: "),
            (
                r#"[[{"actions": [], "info": {"r_word": "x"}}]]"#,
                "record 0 (the first is 0): field `states[0].info.r_word`: ",
            ),
        ] {
            let error = import(bad).1.unwrap_err();
            assert!(error.to_string().starts_with(field), "{error}");
        }
    }
}
