//! Two sessions side by side: their first divergence, and their steps and decisions aligned.
//!
//! Steps that have the same module, kind and input are aligned first, in their order. Of the steps between them, those
//! with the same module and output are, and then those with the same module. So a run is held against another one step
//! by step also if one of them has more steps, or the same ones with other inputs.

use std::collections::HashMap;
use std::ops::Range;
use std::time::{Duration, Instant};

use rusqlite::{Connection, OptionalExtension};
use serde::Serialize;
use similar::{Algorithm, DiffOp};

use crate::event::Seq;

/// The time after which the alignment of one list is no longer the shortest one.
const SHORTEST_WITHIN: Duration = Duration::from_secs(2);

/// Most characters of each text of a step.
const SHOWN_CHARS: i64 = 4_096;

/// The relation of two aligned steps or decisions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Relation {
    /// Both have the same input and the same result.
    Same,
    /// They have the same input, and other results.
    OtherResult,
    /// They have other inputs, and the same result.
    OtherInput,
    /// They have the same module, other inputs, and other results.
    OtherInputAndResult,
    /// Only the first session has it.
    OnlyInFirst,
    /// Only the second session has it.
    OnlyInSecond,
}

/// A step of one of the sessions.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct DiffStep {
    /// Its id.
    pub id: String,
    /// Its module.
    pub module: Option<String>,
    /// Its kind.
    pub kind: Option<String>,
    /// Its status.
    pub status: String,
    /// Hash of its input.
    pub input_hash: Option<String>,
    /// Hash of its output.
    pub output_hash: Option<String>,
    /// Its error.
    pub error: Option<String>,
    /// Its first event.
    pub first_seq: Seq,
}

/// A decision of one of the sessions.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct DiffDecision {
    /// Its id.
    pub id: String,
    /// Its type.
    pub decision_type: Option<String>,
    /// Module of the step in which it was made.
    pub module: Option<String>,
    /// All chosen options: a JSON list.
    pub chosen_options: Option<String>,
    /// Its first event.
    pub first_seq: Seq,
}

/// An item of the first session, of the second one, or of both.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Aligned<T> {
    /// The relation of the two.
    pub relation: Relation,
    /// The item of the first session.
    pub first: Option<T>,
    /// The item of the second session.
    pub second: Option<T>,
}

/// Two sessions side by side.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct SessionDiff {
    /// Id of the first session.
    pub first: String,
    /// Id of the second session.
    pub second: String,
    /// True if both have the same input, status and error, and the same steps and decisions.
    pub is_same: bool,
    /// True if both have the same input.
    pub is_same_input: bool,
    /// Statuses of the two.
    pub statuses: (String, String),
    /// Index of the first step, in `steps`, that is not the same in both.
    pub first_divergence: Option<usize>,
    /// The steps, in their order.
    pub steps: Vec<Aligned<DiffStep>>,
    /// The decisions, in their order.
    pub decisions: Vec<Aligned<DiffDecision>>,
}

/// Compares two sessions, if there are sessions with these ids.
pub(crate) fn diff(
    connection: &Connection,
    first: &str,
    second: &str,
) -> rusqlite::Result<Option<SessionDiff>> {
    let (Some(a), Some(b)) = (session(connection, first)?, session(connection, second)?) else {
        return Ok(None);
    };
    let steps = align(steps(connection, first)?, steps(connection, second)?);
    let decisions = align(decisions(connection, first)?, decisions(connection, second)?);
    let is_same = |relation: Relation| relation == Relation::Same;
    Ok(Some(SessionDiff {
        first: first.to_owned(),
        second: second.to_owned(),
        is_same: a == b
            && steps.iter().all(|step| is_same(step.relation))
            && decisions.iter().all(|decision| is_same(decision.relation)),
        is_same_input: a.input_hash == b.input_hash,
        statuses: (a.status, b.status),
        first_divergence: steps.iter().position(|step| !is_same(step.relation)),
        steps,
        decisions,
    }))
}

/// The texts of a step.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct StepTexts {
    pub(crate) input: Option<String>,
    pub(crate) output: Option<String>,
    pub(crate) error: Option<String>,
}

/// Reads the beginning of the texts of a step, if there is one with these ids.
pub(crate) fn step_texts(
    connection: &Connection,
    session: &str,
    step: &str,
) -> rusqlite::Result<Option<StepTexts>> {
    let mut statement = connection.prepare_cached(
        "SELECT substr(input, 1, ?3), substr(output, 1, ?3), substr(error, 1, ?3) FROM steps
         WHERE session_id = ?1 AND id = ?2",
    )?;
    let read = |row: &rusqlite::Row<'_>| {
        Ok(StepTexts { input: row.get(0)?, output: row.get(1)?, error: row.get(2)? })
    };
    statement.query_row(rusqlite::params![session, step, SHOWN_CHARS], read).optional()
}

#[derive(PartialEq)]
struct SessionFacts {
    input_hash: Option<String>,
    status: String,
    error: Option<String>,
}

fn session(connection: &Connection, id: &str) -> rusqlite::Result<Option<SessionFacts>> {
    let mut statement =
        connection.prepare_cached("SELECT input_hash, status, error FROM annals_sessions WHERE id = ?1")?;
    let read = |row: &rusqlite::Row<'_>| {
        Ok(SessionFacts { input_hash: row.get(0)?, status: row.get(1)?, error: row.get(2)? })
    };
    statement.query_row([id], read).optional()
}

fn steps(connection: &Connection, session: &str) -> rusqlite::Result<Vec<DiffStep>> {
    // From the table that stores them: the view would read all texts.
    let mut statement = connection.prepare_cached(
        "SELECT id, module, kind, status, input_hash, output_hash, error, first_seq FROM annals_steps
         WHERE session_id = ?1 ORDER BY coalesce(started_at, ended_at), first_seq",
    )?;
    let read = |row: &rusqlite::Row<'_>| {
        Ok(DiffStep {
            id: row.get(0)?,
            module: row.get(1)?,
            kind: row.get(2)?,
            status: row.get(3)?,
            input_hash: row.get(4)?,
            output_hash: row.get(5)?,
            error: row.get(6)?,
            first_seq: Seq::new(row.get::<_, i64>(7)?.unsigned_abs()),
        })
    };
    statement.query_map([session], read)?.collect()
}

fn decisions(connection: &Connection, session: &str) -> rusqlite::Result<Vec<DiffDecision>> {
    let mut statement = connection.prepare_cached(
        "SELECT d.id, d.decision_type, s.module, d.chosen_options, d.first_seq FROM decisions AS d
         LEFT JOIN annals_steps AS s ON s.session_id = d.session_id AND s.id = d.step_id
         WHERE d.session_id = ?1 ORDER BY d.first_seq",
    )?;
    let read = |row: &rusqlite::Row<'_>| {
        Ok(DiffDecision {
            id: row.get(0)?,
            decision_type: row.get(1)?,
            module: row.get(2)?,
            chosen_options: row.get(3)?,
            first_seq: Seq::new(row.get::<_, i64>(4)?.unsigned_abs()),
        })
    };
    statement.query_map([session], read)?.collect()
}

/// An item that can be aligned.
trait Comparable {
    /// The module and the kind, which two aligned items share.
    fn place(&self) -> (Option<&str>, Option<&str>);
    /// The input, if it is known.
    fn input(&self) -> Option<&str>;
    /// The result.
    fn result(&self) -> (Option<&str>, Option<&str>, Option<&str>);
}

impl Comparable for DiffStep {
    fn place(&self) -> (Option<&str>, Option<&str>) {
        (self.module.as_deref(), self.kind.as_deref())
    }

    fn input(&self) -> Option<&str> {
        self.input_hash.as_deref()
    }

    fn result(&self) -> (Option<&str>, Option<&str>, Option<&str>) {
        (self.output_hash.as_deref(), Some(&self.status), self.error.as_deref())
    }
}

impl Comparable for DiffDecision {
    fn place(&self) -> (Option<&str>, Option<&str>) {
        (self.module.as_deref(), self.decision_type.as_deref())
    }

    fn input(&self) -> Option<&str> {
        None
    }

    fn result(&self) -> (Option<&str>, Option<&str>, Option<&str>) {
        (self.chosen_options.as_deref(), None, None)
    }
}

fn align<T: Comparable>(first: Vec<T>, second: Vec<T>) -> Vec<Aligned<T>> {
    let mut pairs = Vec::new();
    let whole = (0..first.len(), 0..second.len());
    pair(whole, &first, &second, &[By::Input, By::Result, By::Nothing], &mut pairs);
    let mut first: Vec<Option<T>> = first.into_iter().map(Some).collect();
    let mut second: Vec<Option<T>> = second.into_iter().map(Some).collect();
    let mut take = |pair: (Option<usize>, Option<usize>)| {
        let a = pair.0.and_then(|index| first.get_mut(index)?.take());
        let b = pair.1.and_then(|index| second.get_mut(index)?.take());
        let relation = match (&a, &b) {
            (Some(a), Some(b)) => match (a.input() == b.input(), a.result() == b.result()) {
                (true, true) => Relation::Same,
                (true, false) => Relation::OtherResult,
                (false, true) => Relation::OtherInput,
                (false, false) => Relation::OtherInputAndResult,
            },
            (Some(_), None) => Relation::OnlyInFirst,
            (None, _) => Relation::OnlyInSecond,
        };
        Aligned { relation, first: a, second: b }
    };
    pairs.into_iter().map(&mut take).collect()
}

/// A range of each list.
type Gap = (Range<usize>, Range<usize>);
type Pair = (Option<usize>, Option<usize>);

/// The property that two aligned items share, besides their module and kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum By {
    Input,
    Result,
    Nothing,
}

/// Pairs the items of a gap in the order of both lists: first by what is named first, and the items between those
/// pairs by the next.
fn pair<T: Comparable>((a, b): Gap, first: &[T], second: &[T], by: &[By], pairs: &mut Vec<Pair>) {
    let Some((by, next)) = by.split_first() else {
        pairs.extend(a.map(|index| (Some(index), None)));
        pairs.extend(b.map(|index| (None, Some(index))));
        return;
    };
    // Numbers instead of keys: comparing them is fast.
    let mut known = HashMap::new();
    let mut number = |item: &T| {
        let shared = match by {
            By::Input => item.input(),
            By::Result => item.result().0,
            By::Nothing => None,
        };
        let (module, kind) = item.place();
        let owned = |text: Option<&str>| text.map(str::to_owned);
        let next = known.len();
        *known.entry((owned(module), owned(kind), owned(shared))).or_insert(next)
    };
    let left: Vec<usize> = first.get(a.clone()).unwrap_or_default().iter().map(&mut number).collect();
    let right: Vec<usize> = second.get(b.clone()).unwrap_or_default().iter().map(&mut number).collect();
    let deadline = Instant::now().checked_add(SHORTEST_WITHIN);
    for part in similar::capture_diff_slices_deadline(Algorithm::Myers, &left, &right, deadline) {
        let (old, new) = (part.old_range(), part.new_range());
        let old = old.start + a.start..old.end + a.start;
        let new = new.start + b.start..new.end + b.start;
        if matches!(part, DiffOp::Equal { .. }) {
            pairs.extend(old.zip(new).map(|(old, new)| (Some(old), Some(new))));
        } else {
            pair((old, new), first, second, next, pairs);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn step(text: &str) -> DiffStep {
        let mut words = text.split(' ').map(str::to_owned);
        let module = words.next();
        DiffStep {
            id: text.to_owned(),
            module,
            kind: None,
            status: "ok".to_owned(),
            input_hash: words.next(),
            output_hash: words.next(),
            error: None,
            first_seq: Seq::new(1),
        }
    }

    fn aligned(first: &[&str], second: &[&str]) -> Vec<(Relation, String)> {
        let steps = |texts: &[&str]| texts.iter().map(|text| step(text)).collect();
        let shown = |step: Option<DiffStep>| step.map_or("-".to_owned(), |step| step.id);
        align(steps(first), steps(second))
            .into_iter()
            .map(|pair| (pair.relation, format!("{} / {}", shown(pair.first), shown(pair.second))))
            .collect()
    }

    #[test]
    fn equal_sessions_are_the_same_step_by_step() {
        let steps = ["plan a b", "search b c", "search b c"];
        let found = aligned(&steps, &steps);
        assert_eq!(found.len(), 3);
        assert!(found.iter().all(|(relation, _)| *relation == Relation::Same));
    }

    #[test]
    fn another_answer_of_a_tool_is_the_first_divergence_and_its_consequences_follow() {
        assert_eq!(
            aligned(&["plan a b", "search b c", "answer c d"], &["plan a b", "search b x", "answer x y"]),
            [
                (Relation::Same, "plan a b / plan a b".to_owned()),
                (Relation::OtherResult, "search b c / search b x".to_owned()),
                (Relation::OtherInputAndResult, "answer c d / answer x y".to_owned()),
            ]
        );
    }

    #[test]
    fn steps_that_one_session_has_more_are_only_in_it() {
        assert_eq!(
            aligned(&["plan a b", "answer b c"], &["plan a b", "search b x", "answer b c"]),
            [
                (Relation::Same, "plan a b / plan a b".to_owned()),
                (Relation::OnlyInSecond, "- / search b x".to_owned()),
                (Relation::Same, "answer b c / answer b c".to_owned()),
            ]
        );
        assert_eq!(aligned(&["plan a b"], &[]), [(Relation::OnlyInFirst, "plan a b / -".to_owned())]);
    }

    #[test]
    fn the_same_output_aligns_before_the_same_module() {
        assert_eq!(
            aligned(&["ask a b", "ask c d"], &["ask x d"]),
            [
                (Relation::OnlyInFirst, "ask a b / -".to_owned()),
                (Relation::OtherInput, "ask c d / ask x d".to_owned()),
            ]
        );
    }
}
