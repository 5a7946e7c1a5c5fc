//! The check of an answer, independent of the search: it reads the expression as a stranger would.

use std::iter::Peekable;
use std::str::Chars;

use super::fraction::Fraction;
use super::judge::TARGET;

/// The reason why an expression is not an answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum WrongAnswer {
    #[error("it cannot be read as an expression")]
    Unreadable,
    #[error("it uses {used:?} instead of {given:?}")]
    OtherNumbers { used: Vec<u64>, given: Vec<u64> },
    #[error("it is {0}, not 24")]
    OtherValue(Fraction),
}

/// Checks that an expression uses exactly these numbers and is 24.
pub(crate) fn check(expression: &str, numbers: &[u64]) -> Result<(), WrongAnswer> {
    let mut reader = Reader { rest: expression.chars().peekable(), depth: 0, numbers: Vec::new() };
    // Anything that follows the sum makes the expression unreadable.
    let value = reader.sum().filter(|_| reader.peek().is_none()).ok_or(WrongAnswer::Unreadable)?;
    let (mut used, mut given) = (reader.numbers, numbers.to_vec());
    used.sort_unstable();
    given.sort_unstable();
    if used != given {
        return Err(WrongAnswer::OtherNumbers { used, given });
    }
    if value != TARGET {
        return Err(WrongAnswer::OtherValue(value));
    }
    Ok(())
}

struct Reader<'e> {
    rest: Peekable<Chars<'e>>,
    /// Open parentheses.
    depth: usize,
    numbers: Vec<u64>,
}

impl Reader<'_> {
    /// Deepest nesting that is read: four numbers need no more, and the recursion must have an end.
    const DEPTH_MAX: usize = 8;

    fn peek(&mut self) -> Option<char> {
        // Blanks are skipped before every sign, and never within a number.
        while self.rest.next_if(|c| *c == ' ').is_some() {}
        self.rest.peek().copied()
    }

    fn take(&mut self, wanted: char) -> Option<()> {
        (self.peek()? == wanted).then(|| self.rest.next()).flatten().map(|_| ())
    }

    fn sum(&mut self) -> Option<Fraction> {
        let mut value = self.product()?;
        loop {
            value = match self.peek() {
                Some('+') => {
                    self.take('+')?;
                    value.plus(self.product()?)?
                }
                Some('-') => {
                    self.take('-')?;
                    value.minus(self.product()?)?
                }
                _ => return Some(value),
            };
        }
    }

    fn product(&mut self) -> Option<Fraction> {
        let mut value = self.factor()?;
        loop {
            value = match self.peek() {
                Some('*') => {
                    self.take('*')?;
                    value.times(self.factor()?)?
                }
                Some('/') => {
                    self.take('/')?;
                    value.over(self.factor()?)?
                }
                _ => return Some(value),
            };
        }
    }

    fn factor(&mut self) -> Option<Fraction> {
        if self.peek()? == '(' {
            // Counted before the recursion, so no text can exhaust the stack.
            self.depth = self.depth.checked_add(1).filter(|depth| *depth <= Self::DEPTH_MAX)?;
            self.take('(')?;
            let value = self.sum()?;
            self.take(')')?;
            self.depth -= 1;
            return Some(value);
        }
        let mut digits = String::new();
        while let Some(digit) = self.rest.next_if(char::is_ascii_digit) {
            digits.push(digit);
        }
        let number = digits.parse().ok()?;
        self.numbers.push(number);
        Some(Fraction::whole(number))
    }
}
