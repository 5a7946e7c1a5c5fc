//! Sets columns of rows to the values of events.

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
        value: &Option<T>,
    ) -> bool {
        let sets = value.is_some() && claims.take(bit, self.precedence, column.is_some());
        if sets {
            column.clone_from(value);
        }
        sets
    }

    /// Sets the columns of a text, as [`At::set`] does: to the text, or to a reference to it in the log.
    pub(super) fn set_text(
        &self,
        claims: &mut Claims,
        bit: u64,
        columns: TextColumns<'_>,
        value: &Option<String>,
    ) {
        let has_value = columns.text.is_some() || columns.seq.is_some();
        let Some(value) = value else { return };
        if !claims.take(bit, self.precedence, has_value) {
            return;
        }
        let reference = self.input.reference_to(value);
        // All five columns are set, so that nothing is left of the text before.
        *columns.text = reference.is_none().then(|| value.clone());
        *columns.seq = reference.is_some().then_some(self.seq);
        (*columns.offset, *columns.length, *columns.pieces) = match reference {
            Some(Reference::Whole { offset, length }) => (Some(offset), Some(length), None),
            Some(Reference::Pieces(pieces)) => (None, None, Some(pieces)),
            None => (None, None, None),
        };
    }

    /// Sets the column of a text's summary, as [`At::set`] does: to the producer's own, or to the first
    /// characters of a long text. The first characters of a short text are read from the text itself. An
    /// event that has the text also sets the summary.
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
        (attributes, taken): (&Attributes, Taken),
    ) {
        let is_nothing = attributes.is_empty() && taken == Taken::Whole;
        if is_nothing || !claims.take(bit, self.precedence, column.is_some()) {
            return;
        }
        // By precedence the attributes of one span or log record replace all others. Any other event adds its own.
        match self.precedence {
            Some(_) => *column = attributes_text(&taken_attributes(attributes)),
            None => merge_attributes(column, attributes, taken),
        }
    }

    /// Returns whether the event starts or ends its session, and does not only add to it.
    pub(super) fn is_of_whole_session(&self) -> bool {
        self.precedence.is_none_or(|precedence| precedence.rank.is_whole_session())
    }

    /// Returns whether the event is about the run of an agent within its session.
    pub(super) fn is_of_run(&self) -> bool {
        self.precedence.is_some_and(|precedence| precedence.rank == Rank::Run)
    }

    /// Returns whether the event ends its step.
    pub(super) fn ends_step(&self) -> bool {
        self.precedence.is_none_or(|precedence| precedence.rank == Rank::Root)
    }
}

/// The columns of a text: the text itself, or a reference to it in the log.
pub(super) struct TextColumns<'r> {
    pub(super) text: &'r mut Option<String>,
    pub(super) seq: &'r mut Option<i64>,
    pub(super) offset: &'r mut Option<i64>,
    pub(super) length: &'r mut Option<i64>,
    pub(super) pieces: &'r mut Option<String>,
}

/// Sets the columns of a text to the value of an event.
macro_rules! set_text {
    ($row:ident, $at:ident, $text:ident, $seq:ident, $offset:ident, $length:ident, $pieces:ident: $value:expr) => {
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
            $value,
        )
    };
}

/// Sets the column of a summary to the value of an event. Must come before `set_text`, because it depends on
/// whether the row already has a text.
macro_rules! set_summary {
    ($row:ident, $at:ident, $summary:ident, $text:ident, $seq:ident: $stated:expr, $value:expr) => {{
        let has_text = $row.$text.is_some() || $row.$seq.is_some();
        $at.set_summary(
            &mut $row.claims,
            const { $crate::projection::fold::claims::bit(Self::COLUMNS, stringify!($summary)) },
            (&mut $row.$summary, has_text),
            ($stated, $value),
        )
    }};
}

/// Adds attributes to those of a row.
macro_rules! merge {
    ($row:ident, $at:ident, $value:expr) => {
        merge!($row, $at, $value, $crate::projection::fold::cell::Taken::Whole)
    };
    ($row:ident, $at:ident, $value:expr, $taken:expr) => {
        $at.merge(
            &mut $row.claims,
            const { $crate::projection::fold::claims::bit(Self::COLUMNS, "attributes") },
            &mut $row.attributes,
            ($value, $taken),
        )
    };
}

/// Sets columns of a row to the values of an event.
macro_rules! set {
    ($row:ident, $at:ident, $( $column:ident: $value:expr ),+ $(,)?) => {
        $( $at.set(&mut $row.claims, const { $crate::projection::fold::claims::bit(Self::COLUMNS, stringify!($column)) }, &mut $row.$column, $value); )+
    };
}

/// Removes the precedence of columns of a row, so that any event may set them.
macro_rules! unclaim {
    ($row:ident, $( $column:ident ),+) => {
        $( $row.claims.take(const { $crate::projection::fold::claims::bit(Self::COLUMNS, stringify!($column)) }, None, false); )+
    };
}

pub(super) use {merge, set, set_summary, set_text, unclaim};
