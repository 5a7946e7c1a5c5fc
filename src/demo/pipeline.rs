//! One puzzle from the question to the answer, on record.
//!
//! | in the search | on record |
//! | --- | --- |
//! | a puzzle | a session |
//! | a depth: one operation more | a step of kind chain, with the steps `propose`, `score` and `choose` in it |
//! | the best thoughts of a depth | a decision, with every thought considered, its value, and why |
//! | the check of an answer | a step of kind guardrail, and a finding if the answer is wrong |
//! | no answer | a step that searches every way, and a finding: there is none, or it was missed at a certain depth |
//!
//! Ids within a session are made from what they name, so the records of two runs can be compared.

use serde::Serialize;

use super::calls::Calls;
use super::game24::{BEAM, Judgement, Thought, Verdict, check, choose, judge, propose, search_everywhere};
use super::puzzles::written;
use super::report::{PROFILE, PuzzleReport, Solution};
use crate::event::{Attributes, ConsideredOption, Json, Outcome, Severity, StepKind};
use crate::session::{Session, Step};
use crate::{AppendError, AuditLog};

/// The run that a puzzle belongs to.
pub(super) struct Run<'r> {
    pub(super) log: &'r AuditLog,
    /// The first part of the ids of its sessions.
    pub(super) name: &'r str,
}

/// Thoughts that were kept at one depth, with their judgements.
type Kept = Vec<(Thought, Judgement)>;

impl Run<'_> {
    fn session_id(&self, puzzle: &str) -> String {
        format!("{}/{}", self.name, puzzle.replace(' ', "-"))
    }

    /// Solves a puzzle on record.
    pub(super) fn solve(&self, numbers: &[u64], calls: &mut Calls) -> Result<PuzzleReport, AppendError> {
        let puzzle = written(numbers);
        let session = calls.time(|| {
            self.log
                .session(PROFILE)
                .id(self.session_id(&puzzle))
                .conversation(self.name)
                .input(&puzzle)
                .agent("tree-of-thought")
                .agent_version(env!("CARGO_PKG_VERSION"))
                .source("annals demo")
                .label("beam", BEAM.to_string())
                .start()
        })?;
        let id = session.id().clone();
        let search = Search::run(&session, Thought::puzzle(numbers), calls)?;
        match search.answer() {
            Some(expression) => finish_answered(session, &search, expression, numbers, calls),
            None => finish_unanswered(session, &search, numbers, calls),
        }
        .map(|answer| PuzzleReport { session: id, puzzle, answer })
    }
}

/// The search, depth by depth.
struct Search {
    kept: Vec<Kept>,
    considered: usize,
}

impl Search {
    fn run(session: &Session, puzzle: Thought, calls: &mut Calls) -> Result<Search, AppendError> {
        let mut search = Search { kept: Vec::new(), considered: 0 };
        let mut thoughts = vec![puzzle];
        // All thoughts of one depth have as many numbers left, so the first one stands for all.
        while thoughts.first().is_some_and(|thought| thought.expression().is_none()) {
            let depth = search.kept.len() + 1;
            let (considered, kept) = descend(session, depth, &thoughts, calls)?;
            search.considered += considered;
            thoughts = kept.iter().map(|(thought, _)| thought.clone()).collect();
            search.kept.push(kept);
        }
        Ok(search)
    }

    /// The expression that the search ended with, if the evaluator believes that it is 24.
    fn answer(&self) -> Option<&str> {
        let (thought, judgement) = self.kept.last()?.first()?;
        thought.expression().filter(|_| judgement.verdict == Verdict::Sure)
    }

    /// The point at which the search left a way: the depth, and the first thought of the way that was not kept.
    fn left<'w>(&self, way: &'w [Thought]) -> Option<(usize, &'w Thought)> {
        // Compared by the numbers that are left: two ways to the same numbers are one thought.
        let kept =
            |thought: &Thought, kept: &Kept| kept.iter().any(|(other, _)| other.left() == thought.left());
        (1..)
            .zip(way.iter().zip(&self.kept))
            .find_map(|(depth, (thought, at_depth))| (!kept(thought, at_depth)).then_some((depth, thought)))
    }
}

/// Takes one operation more: proposes, scores and chooses. Returns the number of thoughts, and those that are kept.
fn descend(
    session: &Session,
    depth: usize,
    thoughts: &[Thought],
    calls: &mut Calls,
) -> Result<(usize, Kept), AppendError> {
    let input = lines(thoughts.iter().map(Thought::text));
    let chain = calls.time(|| {
        session
            .step("descend")
            .id(format!("depth-{depth}"))
            .kind(StepKind::Chain)
            .input(input.as_str())
            .input_summary(in_short(&input))
            .start()
    })?;

    let step = start(&chain, "propose", &input, in_short(&input), calls)?;
    let proposed = propose(thoughts);
    let proposals = lines(proposed.iter().map(Thought::text));
    calls.time(|| step.end().output(proposals.as_str()).output_summary(in_short(&proposals)).succeeded())?;

    let step = start(&chain, "score", &proposals, in_short(&proposals), calls)?;
    let judged: Kept = proposed
        .into_iter()
        .map(|thought| {
            let judgement = judge(&thought);
            (thought, judgement)
        })
        .collect();
    let scores = lines(judged.iter().map(scored));
    let best = judged.iter().map(|(_, judgement)| judgement.verdict).max().unwrap_or(Verdict::Impossible);
    calls.time(|| {
        step.end()
            .output(scores.as_str())
            .output_summary(tally(&judged))
            .confidence(best.confidence())
            .succeeded()
    })?;

    let step = start(&chain, "choose", &scores, tally(&judged), calls)?;
    let considered = judged.len();
    // All thoughts are recorded, also the dropped ones: a reviewer must see the alternatives.
    let options: Vec<ConsideredOption> = judged.iter().map(option).collect();
    let kept = choose(judged, BEAM);
    let confidence = mean_confidence(&kept);
    calls.time(|| {
        step.decide("thoughts-to-keep")
            .id(format!("depth-{depth}"))
            .options(options)
            .chose_all(kept.iter().map(|(thought, _)| thought.text()))
            .because(rationale(&kept, considered))
            .confidence(confidence)
            .actor("tree-of-thought")
            .record()
    })?;
    let chosen = lines(kept.iter().map(|(thought, _)| thought.text()));
    calls.time(|| {
        step.end()
            .output(chosen.as_str())
            .output_summary(in_short(&chosen))
            .confidence(confidence)
            .succeeded()
    })?;

    let summary = in_short(&chosen);
    calls.time(|| chain.end().output(chosen).output_summary(summary).confidence(confidence).succeeded())?;
    Ok((considered, kept))
}

fn start(
    parent: &Step,
    module: &str,
    input: &str,
    summary: String,
    calls: &mut Calls,
) -> Result<Step, AppendError> {
    // With the parent's id, the names of modules are unique in the session.
    let id = format!("{}/{module}", parent.id());
    calls.time(|| parent.step(module).id(id).kind(StepKind::Tool).input(input).input_summary(summary).start())
}

fn lines<T: AsRef<str>>(lines: impl Iterator<Item = T>) -> String {
    let mut text = String::new();
    for line in lines {
        if !text.is_empty() {
            text.push('\n');
        }
        text.push_str(line.as_ref());
    }
    text
}

fn scored((thought, judgement): &(Thought, Judgement)) -> String {
    format!("{}: {}, {}", thought.text(), judgement.verdict.as_str(), judgement.why)
}

fn option((thought, judgement): &(Thought, Judgement)) -> ConsideredOption {
    let attributes = Attributes::from([
        ("verdict".to_owned(), Json::text(judgement.verdict.as_str())),
        ("why".to_owned(), Json::text(&judgement.why)),
    ]);
    ConsideredOption { attributes, ..ConsideredOption::scored(thought.text(), judgement.verdict.value()) }
}

fn mean_confidence(kept: &Kept) -> f64 {
    let sum: f64 = kept.iter().map(|(_, judgement)| judgement.verdict.confidence()).sum();
    // A beam is small, so the conversion is exact.
    sum / f64::from(u32::try_from(kept.len().max(1)).unwrap_or(u32::MAX))
}

/// The number of thoughts with each verdict.
fn tally(judged: &Kept) -> String {
    let counts = [Verdict::Sure, Verdict::Likely, Verdict::Impossible].map(|verdict| {
        let count = judged.iter().filter(|(_, judgement)| judgement.verdict == verdict).count();
        (count > 0).then(|| format!("{count} {}", verdict.as_str()))
    });
    counts.into_iter().flatten().collect::<Vec<_>>().join(", ")
}

/// A list of thoughts in a line: the first, and the number of others.
fn in_short(lines: &str) -> String {
    match (lines.lines().next(), lines.lines().count()) {
        (Some(first), count @ 2..) => format!("{first} and {} more", count - 1),
        (first, _) => first.unwrap_or("nothing").to_owned(),
    }
}

fn rationale(kept: &Kept, considered: usize) -> String {
    let best = match kept.first() {
        Some((_, judgement)) => format!(" The best: {}.", judgement.why),
        None => String::new(),
    };
    format!(
        "The {} best of {considered}: {}. Among equals, the one proposed first.{best}",
        kept.len(),
        tally(kept),
    )
}

/// Checks the answer and ends the session with it.
fn finish_answered(
    session: Session,
    search: &Search,
    expression: &str,
    numbers: &[u64],
    calls: &mut Calls,
) -> Result<Solution, AppendError> {
    let step = calls.time(|| {
        session.step("check-answer").id("check-answer").kind(StepKind::Guardrail).input(expression).start()
    })?;
    // The expression is read anew from its text: the search does not vouch for its own answer.
    let checked = check(expression, numbers);
    if let Err(wrong) = &checked {
        calls.time(|| {
            step.finding("answer")
                .id("wrong-answer")
                .pattern("wrong-answer")
                .severity(Severity::Critical)
                .outcome(Outcome::Fail)
                .title("The answer is wrong")
                .description(format!("{expression}: {wrong}"))
                .plain_english("The search gave an answer that does not hold when it is worked out.")
                .record()
        })?;
        calls.time(|| step.end().failed(wrong.to_string()))?;
        let why = format!("wrong answer: {expression}");
        // Not waited for: `run` flushes the log after the last puzzle.
        let _receipt = calls.time(|| session.end().risk_level(Severity::Critical).failed(why))?;
        return Ok(Solution::Wrong(expression.to_owned()));
    }
    let output = format!("{expression} = 24, with {}", written(numbers));
    calls.time(|| step.end().output(output.as_str()).confidence(1.0).succeeded())?;
    let ending =
        session.end().summary(format!("{expression} = 24")).score("thoughts", count(search.considered));
    let _receipt = calls.time(|| ending.completed())?;
    Ok(Solution::Found(expression.to_owned()))
}

/// A count as a number among scores.
fn count(number: usize) -> f64 {
    u32::try_from(number).map_or(f64::MAX, f64::from)
}

/// The evidence that an answer was missed.
#[derive(Serialize)]
struct Evidence<'e> {
    answer: &'e str,
    lost_at_depth: usize,
    thought: &'e str,
    judged: &'static str,
    why: &'e str,
}

/// Finds the reason why there is no answer, and ends the session with it.
fn finish_unanswered(
    session: Session,
    search: &Search,
    numbers: &[u64],
    calls: &mut Calls,
) -> Result<Solution, AppendError> {
    let puzzle = written(numbers);
    let step = calls.time(|| {
        session
            .step("search-everywhere")
            .id("search-everywhere")
            .kind(StepKind::Guardrail)
            .input(&puzzle)
            .start()
    })?;
    // The full search runs only here, because it costs far more than the beam.
    let way = search_everywhere(&Thought::puzzle(numbers)).unwrap_or_default();
    let ending = session.end().score("thoughts", count(search.considered));
    let Some(answer) = way.last().and_then(Thought::expression) else {
        calls.time(|| {
            step.finding("answer")
                .id("no-answer")
                .pattern("no-answer")
                .severity(Severity::Info)
                .outcome(Outcome::Pass)
                .confidence(1.0)
                .title("There is no answer")
                .description(format!("Every way to join {puzzle} was tried; none leads to 24."))
                .plain_english("The puzzle cannot be solved, so it is right that no answer was found.")
                .record()
        })?;
        calls.time(|| step.end().output("no way leads to 24").confidence(1.0).succeeded())?;
        let _receipt = calls.time(|| ending.summary("There is no answer.").completed())?;
        return Ok(Solution::NoneExists);
    };
    calls.time(|| {
        let finding = step
            .finding("answer")
            .id("missed-answer")
            .pattern("missed-answer")
            .severity(Severity::High)
            .outcome(Outcome::Fail)
            .confidence(1.0)
            .title("An answer was missed")
            .suggestion(
                "Keep more thoughts at each depth, or have the evaluator look at fractions and divisions.",
            );
        // Every depth kept this way, so no depth can be named.
        let Some((depth, thought)) = search.left(&way) else {
            return finding.description(format!("{answer} = 24 was not found.")).record();
        };
        let Judgement { verdict, why } = judge(thought);
        finding
            .description(format!(
                "{answer} = 24 was lost at depth {depth}, where `{}` was judged {} ({why}) and not kept.",
                thought.text(),
                verdict.as_str(),
            ))
            .plain_english(
                "There was an answer; the search dropped the way to it because its judgement was too low.",
            )
            .evidence(&Evidence {
                answer,
                lost_at_depth: depth,
                thought: thought.text(),
                judged: verdict.as_str(),
                why: &why,
            })
            .record()
    })?;
    calls.time(|| step.end().output(format!("{answer} = 24")).confidence(1.0).succeeded())?;
    let _receipt = calls.time(|| ending.risk_level(Severity::High).failed("an answer was missed"))?;
    Ok(Solution::Missed(answer.to_owned()))
}
