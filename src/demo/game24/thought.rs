//! Thoughts: the numbers that are left, and the operations that lead on from there.

use std::collections::HashSet;

use super::fraction::Fraction;

/// A number that is left, and the expression that it came from.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Term {
    value: Fraction,
    expression: String,
    binds: Binds,
}

/// The strength with which an expression holds together, which decides about parentheses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Binds {
    Sum,
    Product,
    Number,
}

/// One of the ways to join two numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Operation {
    Plus,
    Minus,
    Times,
    Over,
}

impl Operation {
    const ALL: [Operation; 4] = [Operation::Plus, Operation::Minus, Operation::Times, Operation::Over];

    pub(super) const fn sign(self) -> char {
        match self {
            Operation::Plus => '+',
            Operation::Minus => '-',
            Operation::Times => '*',
            Operation::Over => '/',
        }
    }

    const fn binds(self) -> Binds {
        match self {
            Operation::Plus | Operation::Minus => Binds::Sum,
            Operation::Times | Operation::Over => Binds::Product,
        }
    }

    const fn commutes(self) -> bool {
        matches!(self, Operation::Plus | Operation::Times)
    }

    pub(super) fn apply(self, left: Fraction, right: Fraction) -> Option<Fraction> {
        match self {
            Operation::Plus => left.plus(right),
            Operation::Minus => left.minus(right),
            Operation::Times => left.times(right),
            Operation::Over => left.over(right),
        }
    }
}

impl Term {
    fn joined(left: &Term, operation: Operation, right: &Term) -> Option<Term> {
        let value = operation.apply(left.value, right.value)?;
        let binds = operation.binds();
        let left = left.within(left.binds < binds);
        // Behind a minus or a slash, an expression of the same strength has another meaning without parentheses.
        let right = right.within(right.binds < binds || (right.binds == binds && !operation.commutes()));
        Some(Term { value, expression: format!("{left} {} {right}", operation.sign()), binds })
    }

    fn within(&self, parentheses: bool) -> String {
        if parentheses { format!("({})", self.expression) } else { self.expression.clone() }
    }
}

/// A part of a way: the numbers that are left, and the last operation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Thought {
    /// By value, smallest first.
    left: Vec<Term>,
    text: String,
}

impl Thought {
    /// The state before the first operation.
    pub(crate) fn puzzle(numbers: &[u64]) -> Thought {
        let mut left: Vec<Term> = numbers
            .iter()
            .map(|number| Term {
                value: Fraction::whole(*number),
                expression: number.to_string(),
                binds: Binds::Number,
            })
            .collect();
        left.sort_by_key(|term| term.value);
        let text = listed(&left);
        Thought { left, text }
    }

    /// The thought in a line, as in `4 * 5 = 20 (left: 6 10 20)`.
    pub(crate) fn text(&self) -> &str {
        &self.text
    }

    /// The numbers that are left, smallest first.
    pub(crate) fn left(&self) -> Vec<Fraction> {
        self.left.iter().map(|term| term.value).collect()
    }

    /// The expression for the one number that is left.
    pub(crate) fn expression(&self) -> Option<&str> {
        match self.left.as_slice() {
            [last] => Some(&last.expression),
            _ => None,
        }
    }

    /// Every operation on two of the numbers that are left, in the order of the numbers.
    pub(super) fn next(&self) -> Vec<Thought> {
        let mut thoughts = Vec::new();
        for (place, smaller) in self.left.iter().enumerate() {
            // The numbers are sorted, so the first one of a pair is never the larger.
            for (other_place, larger) in self.left.iter().enumerate().skip(place + 1) {
                let rest: Vec<&Term> = self
                    .left
                    .iter()
                    .enumerate()
                    .filter(|(other, _)| ![place, other_place].contains(other))
                    .map(|(_, term)| term)
                    .collect();
                for operation in Operation::ALL {
                    thoughts.extend(joined(smaller, operation, larger, &rest));
                    // The other way around is the same operation if the two numbers are equal.
                    if !operation.commutes() && smaller.value != larger.value {
                        thoughts.extend(joined(larger, operation, smaller, &rest));
                    }
                }
            }
        }
        thoughts
    }
}

fn joined(first: &Term, operation: Operation, second: &Term, rest: &[&Term]) -> Option<Thought> {
    let term = Term::joined(first, operation, second)?;
    let operation = format!("{} {} {} = {}", first.value, operation.sign(), second.value, term.value);
    let mut left: Vec<Term> = rest.iter().map(|term| (*term).clone()).collect();
    left.push(term);
    left.sort_by_key(|term| term.value);
    let text = format!("{operation} (left: {})", listed(&left));
    Some(Thought { left, text })
}

fn listed(terms: &[Term]) -> String {
    terms.iter().map(|term| term.value.to_string()).collect::<Vec<_>>().join(" ")
}

/// The thoughts that follow from those that were kept. If two ways lead to the same numbers, the first stands for both.
pub(crate) fn propose(kept: &[Thought]) -> Vec<Thought> {
    let mut seen = HashSet::new();
    kept.iter().flat_map(Thought::next).filter(|thought| seen.insert(thought.left())).collect()
}
