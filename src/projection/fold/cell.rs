//! Values of read tables, without SQLite: the fold is pure, and the store translates.

use std::borrow::Cow;

use crate::event::{Attributes, Digest, Json, Timestamp};
use crate::limits::ROW_ATTRIBUTES_BYTES_MAX;

/// A value as a row holds it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Cell<'a> {
    Null,
    Integer(i64),
    Real(f64),
    Text(&'a str),
    /// A time in SQLite's own form.
    Time([u8; 26]),
    /// A text that is made from another form in the row.
    Made(String),
}

/// A value as it was read.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum OwnedCell {
    Null,
    Integer(i64),
    Real(f64),
    Text(String),
}

/// A value in a read table that no fold writes there.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the column `{column}` holds a value that no fold writes there")]
pub(crate) struct ForeignCell {
    pub(crate) column: &'static str,
}

/// The character that replaces U+0000 in read tables. SQL sees nothing behind U+0000: `length`, `LIKE` and the
/// shell end there.
const NUL_SHOWN: char = '\u{2400}';

/// A text as read tables store it.
pub(crate) fn stored(text: &str) -> Cow<'_, str> {
    if text.contains('\0') {
        Cow::Owned(text.replace('\0', NUL_SHOWN.encode_utf8(&mut [0; 4])))
    } else {
        Cow::Borrowed(text)
    }
}

/// JSON as read tables store it. JSON has U+0000 only as an escape. SQL's JSON functions decode the escape,
/// and stop there.
fn stored_json(json: String) -> String {
    /// The escape of U+0000 and its replacement, which is as long.
    const ESCAPE: (&str, &str) = ("\\u0000", "\\u2400");
    if !json.contains(ESCAPE.0) {
        return json;
    }
    let mut stored = String::with_capacity(json.len());
    let mut rest = json.as_str();
    // Outside strings JSON has no backslash, and within a string each one begins an escape.
    while let Some((before, escape)) = rest.split_once('\\') {
        stored.push_str(before);
        let nul = escape.strip_prefix("u0000");
        stored.push_str(if nul.is_some() { ESCAPE.1 } else { "\\" });
        rest = nul.unwrap_or_else(|| {
            // The character after the backslash is copied with it, because a second backslash begins no escape.
            let second = escape.chars().next();
            stored.extend(second);
            escape.get(second.map_or(0, char::len_utf8)..).unwrap_or_default()
        });
    }
    stored.push_str(rest);
    stored
}

/// A type that a column can have.
pub(crate) trait Column: Sized {
    /// The value of a column that no event has set: NULL, zero, or the empty text.
    fn blank() -> Self;
    fn cell(&self) -> Cell<'_>;
    fn from_cell(cell: OwnedCell) -> Option<Self>;
    /// Returns whether both are stored as the same value.
    fn is_same(&self, other: &Self) -> bool;
    /// Bytes of text.
    fn text_bytes(&self) -> usize {
        0
    }
}

impl Column for String {
    fn blank() -> String {
        String::new()
    }

    fn cell(&self) -> Cell<'_> {
        match stored(self) {
            Cow::Borrowed(text) => Cell::Text(text),
            Cow::Owned(text) => Cell::Made(text),
        }
    }

    fn from_cell(cell: OwnedCell) -> Option<String> {
        match cell {
            OwnedCell::Text(text) => Some(text),
            _ => None,
        }
    }

    fn is_same(&self, other: &String) -> bool {
        stored(self) == stored(other)
    }

    fn text_bytes(&self) -> usize {
        self.len()
    }
}

impl Column for i64 {
    fn blank() -> i64 {
        0
    }

    fn cell(&self) -> Cell<'_> {
        Cell::Integer(*self)
    }

    fn from_cell(cell: OwnedCell) -> Option<i64> {
        match cell {
            OwnedCell::Integer(number) => Some(number),
            _ => None,
        }
    }

    fn is_same(&self, other: &i64) -> bool {
        self == other
    }
}

impl Column for f64 {
    fn blank() -> f64 {
        0.0
    }

    fn cell(&self) -> Cell<'_> {
        Cell::Real(*self)
    }

    fn from_cell(cell: OwnedCell) -> Option<f64> {
        match cell {
            OwnedCell::Real(number) => Some(number),
            _ => None,
        }
    }

    fn is_same(&self, other: &f64) -> bool {
        // By bits: even NaN is the same as itself, so that it does not count as a change.
        self.to_bits() == other.to_bits()
    }
}

impl<T: Column> Column for Option<T> {
    fn blank() -> Option<T> {
        None
    }

    fn cell(&self) -> Cell<'_> {
        self.as_ref().map_or(Cell::Null, Column::cell)
    }

    fn from_cell(cell: OwnedCell) -> Option<Option<T>> {
        match cell {
            OwnedCell::Null => Some(None),
            cell => T::from_cell(cell).map(Some),
        }
    }

    fn is_same(&self, other: &Option<T>) -> bool {
        match (self, other) {
            (None, None) => true,
            (Some(own), Some(other)) => own.is_same(other),
            _ => false,
        }
    }

    fn text_bytes(&self) -> usize {
        self.as_ref().map_or(0, Column::text_bytes)
    }
}

/// A time, in SQLite's own form.
impl Column for Timestamp {
    fn blank() -> Timestamp {
        Timestamp::from_micros(0)
    }

    fn cell(&self) -> Cell<'_> {
        self.sql_bytes().map_or_else(|| Cell::Made(self.to_sql()), Cell::Time)
    }

    fn from_cell(cell: OwnedCell) -> Option<Timestamp> {
        match cell {
            OwnedCell::Text(text) => Timestamp::from_sql(&text),
            _ => None,
        }
    }

    fn is_same(&self, other: &Timestamp) -> bool {
        self == other
    }
}

/// The JSON text of a value. Serializing the types that are used here cannot fail.
pub(crate) fn json_text<T: serde::Serialize>(value: &T) -> Option<String> {
    serde_json::to_string(value).ok().map(stored_json)
}

/// Attributes as a JSON object; None if there are none.
pub(crate) fn attributes_text(attributes: &Attributes) -> Option<String> {
    if attributes.is_empty() { None } else { json_text(attributes) }
}

/// Name of the attribute that counts the events whose attributes the row has no room for.
const EVENTS_LEFT_OUT: &str = "annals.events_left_out";

/// The extent to which a row has taken the other parts of an event, such as its labels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Taken {
    Whole,
    InPart,
}

/// The attributes of an event that a row takes. The name [`EVENTS_LEFT_OUT`] is the row's own, so an attribute of
/// an event with this name is left out.
pub(crate) fn taken_attributes(attributes: &Attributes) -> Cow<'_, Attributes> {
    if !attributes.contains_key(EVENTS_LEFT_OUT) {
        return Cow::Borrowed(attributes);
    }
    let mut taken = attributes.clone();
    taken.remove(EVENTS_LEFT_OUT);
    Cow::Owned(taken)
}

/// Adds attributes to those of a row. Those of a later event replace earlier ones of the same name. If all of
/// them together are too large, the row keeps what it has and counts the event.
pub(crate) fn merge_attributes(row: &mut Option<String>, attributes: &Attributes, taken: Taken) {
    let attributes = &*taken_attributes(attributes);
    if attributes.is_empty() && taken == Taken::Whole {
        return;
    }
    let mut merged: Attributes =
        row.as_deref().and_then(|held| serde_json::from_str(held).ok()).unwrap_or_default();
    // Values that are replaced do not count.
    let unreplaced = merged.iter().filter(|(name, _)| !attributes.contains_key(*name));
    let bytes =
        unreplaced.chain(attributes).map(|(name, value)| name.len() + value.as_str().len()).sum::<usize>();
    // The attributes of one event are taken whole, whatever their size.
    let has_room = row.is_none() || bytes <= ROW_ATTRIBUTES_BYTES_MAX;
    if has_room {
        merged.extend(attributes.iter().map(|(name, value)| (name.clone(), value.clone())));
    }
    if !has_room || taken == Taken::InPart {
        let before = merged.get(EVENTS_LEFT_OUT).and_then(|count| count.as_str().parse::<u64>().ok());
        let count = Json::of(&before.unwrap_or(0).saturating_add(1)).unwrap_or_default();
        merged.insert(EVENTS_LEFT_OUT.to_owned(), count);
    }
    *row = attributes_text(&merged);
}

/// BLAKE3 of a text, as hexadecimal digits.
pub(crate) fn text_hash(text: &str) -> String {
    Digest::of(text).to_string()
}

/// A JSON value as the text that was sent, except for U+0000 in it.
pub(crate) fn json_column(json: Option<&Json>) -> Option<String> {
    json.map(|json| stored_json(json.as_str().to_owned()))
}

/// Declares read tables by their stored columns: each row as the fold has it, with its storing and loading.
macro_rules! table {
    ($(
        $(#[$doc:meta])*
        $name:ident in $table:literal, key ($($key:literal),+) {
            $($(#[$column_doc:meta])* $column:ident: $type:ty,)*
        }
    )*) => {$(
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq)]
        pub(crate) struct $name {
            $($(#[$column_doc])* pub(crate) $column: $type,)*
        }

        impl $crate::projection::fold::cell::Row for $name {
            const TABLE: &'static str = $table;
            const KEY: &'static [&'static str] = &[$($key),+];
            const COLUMNS: &'static [&'static str] = &[$(stringify!($column)),*];

            fn blank() -> $name {
                $name { $($column: $crate::projection::fold::cell::Column::blank(),)* }
            }

            fn put_cells<E>(
                &self,
                mut put: impl FnMut($crate::projection::fold::cell::Cell<'_>) -> Result<(), E>,
            ) -> Result<(), E> {
                $(put($crate::projection::fold::cell::Column::cell(&self.$column))?;)*
                Ok(())
            }

            fn changes(&self, before: &$name) -> u64 {
                [$($crate::projection::fold::cell::Column::is_same(&self.$column, &before.$column)),*]
                    .into_iter()
                    .enumerate()
                    .fold(0, |changes, (index, is_same)| changes | u64::from(!is_same) << index)
            }

            fn text_bytes(&self) -> usize {
                0 $(+ $crate::projection::fold::cell::Column::text_bytes(&self.$column))*
            }

            fn from_cells(
                cells: &mut dyn Iterator<Item = $crate::projection::fold::cell::OwnedCell>,
            ) -> Result<$name, $crate::projection::fold::cell::ForeignCell> {
                Ok($name {
                    $($column: cells
                        .next()
                        .and_then($crate::projection::fold::cell::Column::from_cell)
                        .ok_or($crate::projection::fold::cell::ForeignCell { column: stringify!($column) })?,)*
                })
            }
        }
    )*};
}

pub(crate) use table;

/// A row of a read table.
pub(crate) trait Row: Sized {
    const TABLE: &'static str;
    /// The columns that identify a row.
    const KEY: &'static [&'static str];
    /// All stored columns, in their order. Generated ones follow from them.
    const COLUMNS: &'static [&'static str];

    /// A row without values. The fold sets the columns that a row always has: its key, its status, its times.
    fn blank() -> Self;
    /// Passes the values to `put`, in the order of [`Row::COLUMNS`].
    fn put_cells<E>(&self, put: impl FnMut(Cell<'_>) -> Result<(), E>) -> Result<(), E>;
    /// The columns whose values differ from those of `before`: a bit at the index of each.
    fn changes(&self, before: &Self) -> u64;
    /// Bytes of text in all columns.
    fn text_bytes(&self) -> usize;
    fn from_cells(cells: &mut dyn Iterator<Item = OwnedCell>) -> Result<Self, ForeignCell>;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_with_nul_is_stored_so_that_sql_reads_all_of_it() {
        assert_eq!("a\0b".to_owned().cell(), Cell::Made("a\u{2400}b".to_owned()));
        assert_eq!("a\u{2400}b".to_owned().cell(), Cell::Text("a\u{2400}b"));
        assert!("a\0".to_owned().is_same(&"a\u{2400}".to_owned()), "they are stored as one value");
    }

    #[test]
    fn a_row_collects_attributes_up_to_a_bound_and_counts_the_events_beyond_it() {
        let one =
            |name: &str, bytes: usize| Attributes::from([(name.to_owned(), Json::text(&"w".repeat(bytes)))]);
        let held =
            |row: &Option<String>| serde_json::from_str::<Attributes>(row.as_deref().unwrap()).unwrap();
        let mut row = None;
        merge_attributes(&mut row, &one("a", ROW_ATTRIBUTES_BYTES_MAX / 2), Taken::Whole);
        merge_attributes(&mut row, &one("b", 10), Taken::Whole);
        let before = held(&row);
        assert_eq!(before.len(), 2);
        for count in ["1", "2"] {
            merge_attributes(&mut row, &one("c", ROW_ATTRIBUTES_BYTES_MAX / 2), Taken::Whole);
            let mut expected = before.clone();
            expected.insert(EVENTS_LEFT_OUT.to_owned(), count.parse().unwrap());
            assert_eq!(held(&row), expected);
        }
        merge_attributes(&mut row, &one("a", 10), Taken::Whole);
        assert_eq!(held(&row)["a"], Json::text(&"w".repeat(10)), "what makes the row shorter has room");
        // The attributes of one event are taken whole.
        let mut row = None;
        merge_attributes(&mut row, &one("a", 2 * ROW_ATTRIBUTES_BYTES_MAX), Taken::Whole);
        assert!(held(&row).contains_key("a"));
    }

    #[test]
    fn stored_json_differs_only_where_it_has_nul() {
        for (json, expected) in [
            (r#"{"a":"x\u0000y"}"#, r#"{"a":"x\u2400y"}"#),
            (
                r#"["\u0000","\\u0000","\\\u0000","\n\u0000\""]"#,
                r#"["\u2400","\\u0000","\\\u2400","\n\u2400\""]"#,
            ),
            (r#"{"a\u0000":"\u00001"}"#, r#"{"a\u2400":"\u24001"}"#),
            (r#"{"a":"\\"}"#, r#"{"a":"\\"}"#),
            (r#"{"日\u0000":"\\日\u0000"}"#, r#"{"日\u2400":"\\日\u2400"}"#),
        ] {
            assert_eq!(stored_json(json.to_owned()), expected);
        }
    }
}
