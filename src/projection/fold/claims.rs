//! The precedence of each column of a row. With it, several spans and log records give the same row in whatever
//! order they come.
//!
//! Among spans and log records, the greatest precedence determines a column. Any other event overrides every
//! precedence, because it is about this row alone. Of several such events, the last one counts.

use std::fmt::Write as _;

use crate::otel::{Precedence, Rank};
use crate::projection::fold::cell::{Cell, Column, OwnedCell};

/// The precedences that determine columns of a row, each with the columns that it determines. A column that
/// has a value and no precedence got the value from an event that overrides every precedence.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Claims(Vec<(Precedence, u64)>);

/// The bit of a column, by its index.
pub(in crate::projection) const fn bit(columns: &[&str], name: &str) -> u64 {
    let mut index = 0;
    let mut rest = columns;
    while let [column, others @ ..] = rest {
        if is_same(column.as_bytes(), name.as_bytes()) {
            return 1 << index;
        }
        index += 1;
        rest = others;
    }
    // There is no such column. The shift overflows, which the compiler reports, because callers use it in
    // constants.
    1 << 64_u32.saturating_add(index)
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
    /// Returns true if no precedence determines a column.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns whether a value with this precedence replaces the value of a column. `has_value` is true if
    /// the column has one. If the value is replaced, the column has the new precedence.
    pub(in crate::projection) fn take(
        &mut self,
        column: u64,
        precedence: Option<Precedence>,
        has_value: bool,
    ) -> bool {
        let held = self.0.iter().position(|(_, columns)| columns & column != 0);
        let old = held.and_then(|index| self.0.get(index)).map(|(precedence, _)| *precedence);
        let takes = match (precedence, old) {
            (None, _) => true,
            (Some(precedence), Some(old)) => precedence >= old,
            // A value without a precedence is from an event that overrides every precedence.
            (Some(_), None) => !has_value,
        };
        if !takes || precedence.is_some() && precedence == old {
            return takes;
        }
        // A column has at most one precedence. So its bit leaves the old entry, and an entry without columns
        // is removed.
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
    fn the_greatest_precedence_counts_in_any_order() {
        let values = [
            (precedence(Rank::Span, 5, 1), "a"),
            (precedence(Rank::Span, 7, 2), "b"),
            (precedence(Rank::Root, 1, 3), "c"),
            (precedence(Rank::Log, 9, 4), "d"),
        ];
        for start in 0..4 {
            for step in [1, 3] {
                let (mut claims, mut value) = (Claims::default(), None);
                for index in 0..4 {
                    let (precedence, text) = values[(start + index * step) % 4];
                    if claims.take(2, precedence, value.is_some()) {
                        value = Some(text);
                    }
                }
                assert_eq!(value, Some("c"));
                assert_eq!(claims, Claims(vec![(precedence(Rank::Root, 1, 3).unwrap(), 2)]));
            }
        }
    }

    #[test]
    fn an_event_without_precedence_overrides_those_before_and_after_it() {
        let mut claims = Claims::default();
        assert!(claims.take(1, precedence(Rank::Root, 1, 1), false));
        assert!(claims.take(1, None, true));
        assert!(!claims.take(1, precedence(Rank::Root, 2, 2), true));
        assert!(claims.take(2, precedence(Rank::Message, 0, 0), false), "another column");
        assert!(claims.take(1, None, true));
    }

    #[test]
    fn claims_are_read_from_a_table_as_they_were_stored() {
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
