//! Exact arithmetic: 8 / (3 - 8 / 3) is 24, and not nearly 24.

use std::fmt;

/// A fraction in lowest terms, never negative.
///
/// The game needs no negative numbers: instead of taking the larger number from the smaller one, a player can take the
/// smaller from the larger and turn a later sign.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Fraction {
    numerator: u64,
    /// At least 1.
    denominator: u64,
}

impl Fraction {
    pub(crate) const fn whole(number: u64) -> Fraction {
        Fraction { numerator: number, denominator: 1 }
    }

    /// A fraction in lowest terms. None if it divides by zero, or is too large to be of use.
    fn reduced(numerator: u128, denominator: u128) -> Option<Fraction> {
        if denominator == 0 {
            return None;
        }
        let divisor = greatest_common_divisor(numerator, denominator);
        Some(Fraction {
            numerator: u64::try_from(numerator / divisor).ok()?,
            denominator: u64::try_from(denominator / divisor).ok()?,
        })
    }

    pub(crate) fn is_whole(self) -> bool {
        self.denominator == 1
    }

    pub(crate) fn plus(self, other: Fraction) -> Option<Fraction> {
        let (left, right, denominator) = self.aligned(other);
        // Each side fits, but their sum may not.
        Fraction::reduced(left.checked_add(right)?, denominator)
    }

    /// None if the difference would be negative.
    pub(crate) fn minus(self, other: Fraction) -> Option<Fraction> {
        let (left, right, denominator) = self.aligned(other);
        Fraction::reduced(left.checked_sub(right)?, denominator)
    }

    pub(crate) fn times(self, other: Fraction) -> Option<Fraction> {
        Fraction::reduced(
            u128::from(self.numerator) * u128::from(other.numerator),
            u128::from(self.denominator) * u128::from(other.denominator),
        )
    }

    /// None if `other` is zero.
    pub(crate) fn over(self, other: Fraction) -> Option<Fraction> {
        Fraction::reduced(
            u128::from(self.numerator) * u128::from(other.denominator),
            u128::from(self.denominator) * u128::from(other.numerator),
        )
    }

    /// Both numerators over one denominator. The product of two `u64` fits into a `u128`.
    fn aligned(self, other: Fraction) -> (u128, u128, u128) {
        (
            u128::from(self.numerator) * u128::from(other.denominator),
            u128::from(other.numerator) * u128::from(self.denominator),
            u128::from(self.denominator) * u128::from(other.denominator),
        )
    }
}

fn greatest_common_divisor(mut a: u128, mut b: u128) -> u128 {
    while b != 0 {
        (a, b) = (b, a % b);
    }
    a
}

impl PartialOrd for Fraction {
    fn partial_cmp(&self, other: &Fraction) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Fraction {
    fn cmp(&self, other: &Fraction) -> std::cmp::Ordering {
        // Exact: both products fit into a `u128`.
        let (left, right, _) = self.aligned(*other);
        left.cmp(&right)
    }
}

impl fmt::Display for Fraction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_whole() {
            write!(f, "{}", self.numerator)
        } else {
            write!(f, "{}/{}", self.numerator, self.denominator)
        }
    }
}
