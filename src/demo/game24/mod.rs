//! The Game of 24: join four numbers with + - * / so that they make 24.
//!
//! Solved as in tree of thought: propose every next operation, judge each, keep the best few, and
//! descend. All of it is pure: the same puzzle, the same decisions.

mod fraction;
mod thought;
mod judge;
mod check;

#[cfg(test)]
mod tests;

pub(crate) use check::check;
pub(crate) use judge::{Judgement, Verdict, judge};
pub(crate) use thought::{Thought, propose};

/// Thoughts that are kept at each depth.
pub(crate) const BEAM: usize = 5;

/// The best of the thoughts judged, at most `beam`, best first; among equals, the one that was
/// proposed first.
pub(crate) fn choose(mut judged: Vec<(Thought, Judgement)>, beam: usize) -> Vec<(Thought, Judgement)> {
    judged.sort_by_key(|(_, judgement)| std::cmp::Reverse(judgement.verdict));
    judged.truncate(beam);
    judged
}

/// The thoughts to an answer, one for each operation, found by going every way; none where there is
/// no answer. The last one has the expression.
pub(crate) fn search_everywhere(puzzle: &Thought) -> Option<Vec<Thought>> {
    puzzle.next().into_iter().find_map(|thought| {
        if thought.expression().is_some() {
            return (judge(&thought).verdict == Verdict::Sure).then(|| vec![thought]);
        }
        let mut rest = search_everywhere(&thought)?;
        rest.insert(0, thought);
        Some(rest)
    })
}
