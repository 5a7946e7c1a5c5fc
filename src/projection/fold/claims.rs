//! The precedence of each column of a row. With it, several spans and log records give the same row in whatever
//! order they come.
//!
//! Among spans and log records, the greatest precedence determines a column. Any other event overrides every precedence: it
//! is about the row alone, and later ones replace earlier ones.

use std::fmt::Write as _;

use crate::otel::{Precedence, Rank};
use crate::projection::fold::cell::{Cell, Column, OwnedCell};

/// The claims of a row, each with the columns that it determines. A column with a value and without a precedence has the
/// value from an event that claims nothing.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Claims(Vec<(Precedence, u64)>);

/// The bit of a column, by its index.
pub(in crate::projection) const fn bit(columns: &[&str], name: &str) -> u64 {
    let mut place = 0;
    let mut rest = columns;
    while let [column, others @ ..] = rest {
        if is_same(column.as_bytes(), name.as_bytes()) {
            return 1 << place;
        }
        place += 1;
        rest = others;
    }
    // There is no such column. The shift overflows, which the compiler reports, because callers use it in
    // constants.
    1 << 64_u32.saturating_add(place)
}

const fn is_same(mut a: &[u8], mut b: &[u8]) -> bool {
    while let ([x, rest_a @ ..], [y, rest_b @ ..]) = (a, b) {
        if *x != *y {
            return false;
        }
        (a, b) = (rest_a, rest_b);
    }
    a.is_empty() && b.is_empty()
}

impl Claims {
    /// Returns whether a value with this precedence replaces that of a column; `is_said` is true if the column has one.
    /// A column whose value is replaced has this precedence from now on.
    pub(in crate::projection) fn take(
        &mut self,
        column: u64,
        precedence: Option<Precedence>,
        is_said: bool,
    ) -> bool {
        let held = self.0.iter().position(|(_, columns)| columns & column != 0);
        let old = held.and_then(|place| self.0.get(place)).map(|(precedence, _)| *precedence);
        let takes = match (precedence, old) {
            (None, _) => true,
            (Some(precedence), Some(old)) => precedence >= old,
            // A value without a precedence is from an event that overrides every precedence.
            (Some(_), None) => !is_said,
        };
        if !takes || precedence.is_some() && precedence == old {
            return takes;
        }
        // A column has one precedence at most: it leaves the old one, which goes with its last column.
        if let Some(held) = held
            && let Some((_, columns)) = self.0.get_mut(held)
        {
            *columns &= !column;
            if *columns == 0 {
                self.0.remove(held);
            }
        }
        if let Some(precedence) = precedence {
            match self.0.iter_mut().find(|(own, _)| *own == precedence) {
                Some((_, columns)) => *columns |= column,
                None => self.0.push((precedence, column)),
            }
            // Sorted: the same claims are the same text, in whatever order they came.
            self.0.sort_unstable();
        }
        true
    }

    fn text(&self) -> String {
        let mut text = String::new();
        for (precedence, columns) in &self.0 {
            let gap = if text.is_empty() { "" } else { " " };
            let Precedence { rank, order, speaker } = precedence;
            let _ = write!(text, "{gap}{}:{order}:{speaker:016x}:{columns:x}", *rank as u8);
        }
        text
    }

    fn parse(text: &str) -> Option<Claims> {
        text.split(' ')
            .map(|part| {
                let mut fields = part.split(':');
                let rank: usize = fields.next()?.parse().ok()?;
                let precedence = Precedence {
                    rank: *Rank::ALL.get(rank)?,
                    order: fields.next()?.parse().ok()?,
                    speaker: u64::from_str_radix(fields.next()?, 16).ok()?,
                };
                Some((precedence, u64::from_str_radix(fields.next()?, 16).ok()?))
            })
            .collect::<Option<_>>()
            .map(Claims)
    }
}

/// Stored as `rank:order:speaker:columns`, separated by spaces; NULL if there are none.
impl Column for Claims {
    fn blank() -> Claims {
        Claims::default()
    }

    fn cell(&self) -> Cell<'_> {
        if self.0.is_empty() { Cell::Null } else { Cell::Made(self.text()) }
    }

    fn from_cell(cell: OwnedCell) -> Option<Claims> {
        match cell {
            OwnedCell::Null => Some(Claims::default()),
            OwnedCell::Text(text) => Claims::parse(&text),
            _ => None,
        }
    }

    fn is_same(&self, other: &Claims) -> bool {
        self == other
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn precedence(rank: Rank, order: i64, speaker: u64) -> Option<Precedence> {
        Some(Precedence { rank, order, speaker })
    }

    #[test]
    fn the_greatest_claim_stands_in_whatever_order_they_come() {
        let spoken = [
            (precedence(Rank::Span, 5, 1), "a"),
            (precedence(Rank::Span, 7, 2), "b"),
            (precedence(Rank::Root, 1, 3), "c"),
            (precedence(Rank::Log, 9, 4), "d"),
        ];
        for start in 0..4 {
            for step in [1, 3] {
                let (mut claims, mut value) = (Claims::default(), None);
                for place in 0..4 {
                    let (precedence, said) = spoken[(start + place * step) % 4];
                    if claims.take(2, precedence, value.is_some()) {
                        value = Some(said);
                    }
                }
                assert_eq!(value, Some("c"));
                assert_eq!(claims, Claims(vec![(precedence(Rank::Root, 1, 3).unwrap(), 2)]));
            }
        }
    }

    #[test]
    fn what_claims_nothing_stands_against_every_claim_before_and_after_it() {
        let mut claims = Claims::default();
        assert!(claims.take(1, precedence(Rank::Root, 1, 1), false));
        assert!(claims.take(1, None, true));
        assert!(!claims.take(1, precedence(Rank::Root, 2, 2), true));
        assert!(claims.take(2, precedence(Rank::Message, 0, 0), false), "another column");
        assert!(claims.take(1, None, true));
    }

    #[test]
    fn they_come_back_from_a_table() {
        let mut claims = Claims::default();
        assert_eq!(Claims::from_cell(OwnedCell::Null), Some(claims.clone()));
        claims.take(1 << 40, precedence(Rank::Root, i64::MIN, u64::MAX), false);
        claims.take(1, precedence(Rank::Message, -7, 0), false);
        claims.take(2, precedence(Rank::Message, -7, 0), false);
        let Cell::Made(text) = claims.cell() else { panic!() };
        assert_eq!(text, format!("0:-7:0000000000000000:3 5:{}:ffffffffffffffff:10000000000", i64::MIN));
        assert_eq!(Claims::from_cell(OwnedCell::Text(text)), Some(claims));
        for foreign in ["", "x", "9:1:1:1", "1:1:1", "1:1:1:1  1:1:1:1"] {
            assert_eq!(Claims::from_cell(OwnedCell::Text(foreign.to_owned())), None, "{foreign}");
        }
    }

    #[test]
    fn columns_have_bits_of_their_own() {
        assert_eq!((bit(&["a", "ab"], "a"), bit(&["a", "ab"], "ab")), (1, 2));
    }
}
