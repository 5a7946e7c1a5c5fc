//! The evaluator, which judges a thought at a glance.
//!
//! The evaluator sees what a practised player sees: a number that is left, and how the two others make what it lacks to
//! 24, in whole numbers. It judges all else by size, and it believes that fractions lead nowhere. That is quick and
//! mostly right, and it is wrong in the same places again and again, like the language models that are used for this:
//! `8 / (3 - 8 / 3)` is beyond it.

use super::fraction::Fraction;
use super::thought::{Operation, Thought};

/// The goal of every puzzle.
pub(crate) const TARGET: Fraction = Fraction::whole(24);

/// The evaluator's verdict on a thought.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Verdict {
    Impossible,
    Likely,
    Sure,
}

impl Verdict {
    /// The word in the record.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Verdict::Impossible => "impossible",
            Verdict::Likely => "likely",
            Verdict::Sure => "sure",
        }
    }

    /// The value that thoughts are chosen by, in the scale of the tree-of-thought experiments.
    pub(crate) const fn value(self) -> f64 {
        match self {
            Verdict::Impossible => 0.001,
            Verdict::Likely => 1.0,
            Verdict::Sure => 20.0,
        }
    }

    /// Confidence in a thought with this verdict, 0 to 1.
    pub(crate) const fn confidence(self) -> f64 {
        match self {
            Verdict::Impossible => 0.05,
            Verdict::Likely => 0.5,
            Verdict::Sure => 0.95,
        }
    }
}

/// A verdict and its reason.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Judgement {
    pub(crate) verdict: Verdict,
    pub(crate) why: String,
}

impl Judgement {
    fn new(verdict: Verdict, why: impl Into<String>) -> Judgement {
        Judgement { verdict, why: why.into() }
    }
}

/// Judges a thought by the numbers that it leaves.
pub(crate) fn judge(thought: &Thought) -> Judgement {
    match thought.left().as_slice() {
        [last] if *last == TARGET => Judgement::new(Verdict::Sure, "it is 24"),
        [last] => Judgement::new(Verdict::Impossible, format!("{last} is not 24")),
        [a, b] => match two_make(TARGET, *a, *b, &ALL) {
            Some(how) => Judgement::new(Verdict::Sure, how),
            None => Judgement::new(Verdict::Impossible, format!("{a} and {b} do not make 24")),
        },
        // Three numbers or more are too many to work out.
        left => glance(left),
    }
}

const ALL: [Operation; 4] = [Operation::Plus, Operation::Times, Operation::Minus, Operation::Over];

/// The operations that are seen without working them out: a division hardly ever is.
const AT_A_GLANCE: [Operation; 3] = [Operation::Plus, Operation::Times, Operation::Minus];

fn glance(left: &[Fraction]) -> Judgement {
    if left.iter().any(|number| !number.is_whole()) {
        return Judgement::new(Verdict::Impossible, "fractions lead nowhere");
    }
    if let [a, b, c] = left {
        // Each number is once the one that is left over.
        for (number, others) in [(a, (b, c)), (b, (a, c)), (c, (a, b))] {
            for (lack, step) in lacks(*number) {
                if let Some(how) = two_make(lack, *others.0, *others.1, &AT_A_GLANCE) {
                    return Judgement::new(Verdict::Sure, format!("{how}, {step}"));
                }
            }
        }
    }
    let product = left.iter().try_fold(Fraction::whole(1), |product, number| product.times(*number));
    match product {
        // The product is mostly the largest result that numbers can make.
        Some(product) if product < TARGET => {
            Judgement::new(Verdict::Impossible, format!("too small: the product is {product}"))
        }
        _ => Judgement::new(Verdict::Likely, "within reach"),
    }
}

/// The numbers that the others would have to make, each with the step that then makes 24.
fn lacks(number: Fraction) -> Vec<(Fraction, String)> {
    // The evaluator sees whole numbers only.
    let factor = TARGET.over(number).filter(|factor| factor.is_whole());
    [
        factor.map(|factor| (factor, format!("{factor} * {number} = 24"))),
        TARGET.minus(number).map(|summand| (summand, format!("{summand} + {number} = 24"))),
        TARGET.plus(number).map(|whole| (whole, format!("{whole} - {number} = 24"))),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// The way in which two numbers make `result`, if there is one.
fn two_make(result: Fraction, a: Fraction, b: Fraction, operations: &[Operation]) -> Option<String> {
    operations.iter().find_map(|operation| {
        [(a, b), (b, a)]
            .into_iter()
            .find(|(left, right)| operation.apply(*left, *right) == Some(result))
            .map(|(left, right)| format!("{left} {} {right} = {result}", operation.sign()))
    })
}
