//! The setting of columns of rows to the values of events.

use crate::event::{Attributes, Timestamp};
use crate::limits::SUMMARY_CHARS;
use crate::otel::{Precedence, Rank};
use crate::text::beginning;

use crate::projection::fold::cell::{Taken, attributes_text, merge_attributes, taken_attributes};
use crate::projection::fold::claims::Claims;
use crate::projection::fold::input::{Input, Reference};

/// The position and time of an event that is folded, and the precedence of its values.
#[derive(Clone, Copy)]
pub(super) struct At<'e> {
    pub(super) input: &'e Input<'e>,
    pub(super) seq: i64,
    pub(super) occurred: Option<Timestamp>,
    pub(super) recorded: Timestamp,
    pub(super) precedence: Option<Precedence>,
}

impl At<'_> {
    /// Sets a column to the value of an event. Leaves it alone if the event has no value, or if the column has one
    /// of higher precedence. Returns whether it was set.
    pub(super) fn set<T: Clone>(
        &self,
        claims: &mut Claims,
        bit: u64,
        column: &mut Option<T>,
        said: &Option<T>,
    ) -> bool {
        let sets = said.is_some() && claims.take(bit, self.precedence, column.is_some());
        if sets {
            column.clone_from(said);
        }
        sets
    }

    /// Sets the columns of a text, as [`At::set`] does: to the text, or to its position in the log.
    pub(super) fn set_text(
        &self,
        claims: &mut Claims,
        bit: u64,
        columns: TextColumns<'_>,
        said: &Option<String>,
    ) {
        let is_said = columns.text.is_some() || columns.seq.is_some();
        let Some(said) = said else { return };
        if !claims.take(bit, self.precedence, is_said) {
            return;
        }
        let reference = self.input.reference_to(said);
        // All five columns are set, so that nothing is left of the text before.
        *columns.text = reference.is_none().then(|| said.clone());
        *columns.seq = reference.is_some().then_some(self.seq);
        (*columns.offset, *columns.length, *columns.pieces) = match reference {
            Some(Reference::Whole { offset, length }) => (Some(offset), Some(length), None),
            Some(Reference::Pieces(pieces)) => (None, None, Some(pieces)),
            None => (None, None, None),
        };
    }

    /// Sets the column of a text's summary, as [`At::set`] does: to the producer's own, or to the first characters
    /// of a long text. Those of a short text are read from it each time. An event with the text also sets the
    /// summary.
    pub(super) fn set_summary(
        &self,
        claims: &mut Claims,
        bit: u64,
        (column, has_text): (&mut Option<String>, bool),
        (stated, text): (&Option<String>, &Option<String>),
    ) {
        let is_nothing = stated.is_none() && text.is_none();
        // An empty column beside a text is a value too: the summary is read from that text.
        if is_nothing || !claims.take(bit, self.precedence, column.is_some() || has_text) {
            return;
        }
        let long = text.as_deref().filter(|text| text.len() > self.input.beginning_bytes_min());
        let begins = || long.map(|text| beginning(text, SUMMARY_CHARS).unwrap_or(text).to_owned());
        *column = stated.clone().or_else(begins);
    }

    /// Adds attributes to those of a row. Those of one span or log record are taken together or not at all.
    pub(super) fn merge(
        &self,
        claims: &mut Claims,
        bit: u64,
        column: &mut Option<String>,
        (said, taken): (&Attributes, Taken),
    ) {
        let is_nothing = said.is_empty() && taken == Taken::Whole;
        if is_nothing || !claims.take(bit, self.precedence, column.is_some()) {
            return;
        }
        // By precedence the attributes of one span or log record replace all others. Any other event adds its own.
        match self.precedence {
            Some(_) => *column = attributes_text(&taken_attributes(said)),
            None => merge_attributes(column, said, taken),
        }
    }

    /// Returns whether the event starts or ends its session, and does not only know something of it.
    pub(super) fn is_of_whole_session(&self) -> bool {
        self.precedence.is_none_or(|precedence| precedence.rank.is_whole_session())
    }

    /// Returns whether the event ends its step.
    pub(super) fn ends_step(&self) -> bool {
        self.precedence.is_none_or(|precedence| precedence.rank == Rank::Root)
    }
}

/// The columns of a text: the text itself, or its position in the log.
pub(super) struct TextColumns<'r> {
    pub(super) text: &'r mut Option<String>,
    pub(super) seq: &'r mut Option<i64>,
    pub(super) offset: &'r mut Option<i64>,
    pub(super) length: &'r mut Option<i64>,
    pub(super) pieces: &'r mut Option<String>,
}

/// Sets the columns of a text to the value of an event.
macro_rules! set_text {
    ($row:ident, $at:ident, $text:ident, $seq:ident, $offset:ident, $length:ident, $pieces:ident: $said:expr) => {
        $at.set_text(
            &mut $row.claims,
            const { $crate::projection::fold::claims::bit(Self::COLUMNS, stringify!($text)) },
            $crate::projection::fold::said::TextColumns {
                text: &mut $row.$text,
                seq: &mut $row.$seq,
                offset: &mut $row.$offset,
                length: &mut $row.$length,
                pieces: &mut $row.$pieces,
            },
            $said,
        )
    };
}

/// Sets the column of a summary to the value of an event. Used before `set_text`, because it looks whether the row
/// has a text.
macro_rules! set_summary {
    ($row:ident, $at:ident, $summary:ident, $text:ident, $seq:ident: $stated:expr, $said:expr) => {{
        let has_text = $row.$text.is_some() || $row.$seq.is_some();
        $at.set_summary(
            &mut $row.claims,
            const { $crate::projection::fold::claims::bit(Self::COLUMNS, stringify!($summary)) },
            (&mut $row.$summary, has_text),
            ($stated, $said),
        )
    }};
}

/// Adds attributes to those of a row.
macro_rules! merge {
    ($row:ident, $at:ident, $said:expr) => {
        merge!($row, $at, $said, $crate::projection::fold::cell::Taken::Whole)
    };
    ($row:ident, $at:ident, $said:expr, $taken:expr) => {
        $at.merge(
            &mut $row.claims,
            const { $crate::projection::fold::claims::bit(Self::COLUMNS, "attributes") },
            &mut $row.attributes,
            ($said, $taken),
        )
    };
}

/// Sets columns of a row to the values of an event.
macro_rules! set {
    ($row:ident, $at:ident, $( $column:ident: $said:expr ),+ $(,)?) => {
        $( $at.set(&mut $row.claims, const { $crate::projection::fold::claims::bit(Self::COLUMNS, stringify!($column)) }, &mut $row.$column, $said); )+
    };
}

/// Removes the precedence of columns of a row, which any event may set then.
macro_rules! unclaim {
    ($row:ident, $( $column:ident ),+) => {
        $( $row.claims.take(const { $crate::projection::fold::claims::bit(Self::COLUMNS, stringify!($column)) }, None, false); )+
    };
}

pub(super) use {merge, set, set_summary, set_text, unclaim};
