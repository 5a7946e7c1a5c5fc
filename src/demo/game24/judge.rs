//! What a thought is worth, judged at a glance.
//!
//! The evaluator knows what a practised player sees: a number that is left, and how the two others
//! make what it lacks to 24, in whole numbers. Of the rest it goes by size, and it believes that
//! fractions lead nowhere. That is quick and mostly right, and it is wrong in the same places again
//! and again, like the language models that are used for this: `8 / (3 - 8 / 3)` is beyond it.

use super::fraction::Fraction;
use super::thought::{Operation, Thought};

/// What every puzzle is about.
pub(crate) const TARGET: Fraction = Fraction::whole(24);

/// What the evaluator says of a thought.
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

    /// How far a thought with this verdict is trusted, 0 to 1.
    pub(crate) const fn confidence(self) -> f64 {
        match self {
            Verdict::Impossible => 0.05,
            Verdict::Likely => 0.5,
            Verdict::Sure => 0.95,
        }
    }
}

/// A verdict and what it rests on.
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
        left => glance(left),
    }
}

const ALL: [Operation; 4] = [Operation::Plus, Operation::Times, Operation::Minus, Operation::Over];

/// What is seen without working it out: a division hardly ever is.
const AT_A_GLANCE: [Operation; 3] = [Operation::Plus, Operation::Times, Operation::Minus];

fn glance(left: &[Fraction]) -> Judgement {
    if left.iter().any(|number| !number.is_whole()) {
        return Judgement::new(Verdict::Impossible, "fractions lead nowhere");
    }
    if let [a, b, c] = left {
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
        Some(product) if product < TARGET => {
            Judgement::new(Verdict::Impossible, format!("too small: the product is {product}"))
        }
        _ => Judgement::new(Verdict::Likely, "within reach"),
    }
}

/// What the others would have to make, and how 24 then comes about.
fn lacks(number: Fraction) -> Vec<(Fraction, String)> {
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

/// How two numbers make `result`, if they do.
fn two_make(result: Fraction, a: Fraction, b: Fraction, operations: &[Operation]) -> Option<String> {
    operations.iter().find_map(|operation| {
        [(a, b), (b, a)]
            .into_iter()
            .find(|(left, right)| operation.apply(*left, *right) == Some(result))
            .map(|(left, right)| format!("{left} {} {right} = {result}", operation.sign()))
    })
}
