//! The Game of 24: join four numbers with + - * / so that they make 24.
//!
//! The search works as in tree of thought: propose every next operation, judge each, keep the best few, and descend.
//! All of it is pure: the same puzzle always gives the same decisions.

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

/// The best of the judged thoughts, at most `beam`, best first. Among equals, those that were proposed first come
/// first.
pub(crate) fn choose(mut judged: Vec<(Thought, Judgement)>, beam: usize) -> Vec<(Thought, Judgement)> {
    // The sort is stable, so equals stay in the order of their proposal.
    judged.sort_by_key(|(_, judgement)| std::cmp::Reverse(judgement.verdict));
    judged.truncate(beam);
    judged
}

/// The thoughts that lead to an answer, one for each operation, found by a search of every way. None if there is no
/// answer. The last thought has the expression.
pub(crate) fn search_everywhere(puzzle: &Thought) -> Option<Vec<Thought>> {
    puzzle.next().into_iter().find_map(|thought| {
        // One number is left, so the way ends here.
        if thought.expression().is_some() {
            return (judge(&thought).verdict == Verdict::Sure).then(|| vec![thought]);
        }
        let mut rest = search_everywhere(&thought)?;
        // The way is built from its end.
        rest.insert(0, thought);
        Some(rest)
    })
}
