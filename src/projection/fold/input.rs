//! Events as the folds take them, and the places of their texts in the log.

use memchr::memmem;

use crate::event::Recorded;
use crate::limits::REFERRED_BYTES_MIN;
use crate::otel::Meaning;

/// An event to fold.
#[derive(Clone, Copy)]
pub(crate) struct Input<'e> {
    pub(crate) event: &'e Recorded,
    /// Its meanings, which are events of the native kinds.
    pub(crate) meanings: &'e [Meaning<'e>],
    /// Its payload cell, where rows may refer to it.
    pub(crate) cell: Option<&'e [u8]>,
}

/// The place of a text in the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::projection) struct Place {
    pub(in crate::projection) seq: i64,
    /// Its first byte in the payload cell, from 1, as SQL counts.
    pub(in crate::projection) offset: i64,
    /// Bytes.
    pub(in crate::projection) length: i64,
}

impl Input<'_> {
    /// Finds a text of the event in its payload. None for a short one, and for one that a row has in another form.
    pub(in crate::projection) fn place_of(&self, text: &str) -> Option<Place> {
        // What follows U+0000 nobody would see.
        if text.len() < REFERRED_BYTES_MIN || text.contains('\0') {
            return None;
        }
        let offset = find(self.cell?, text.as_bytes())?;
        Some(Place {
            seq: self.event.seq.to_sql(),
            offset: i64::try_from(offset).ok()?.checked_add(1)?,
            length: i64::try_from(text.len()).ok()?,
        })
    }
}

/// Bytes by which a text is looked for: to prepare a search for all of a long one takes longer than the search.
const BEGINNING: usize = 32;

/// Places with a text's beginning that are looked at, before a search is prepared for all of it: else a payload that
/// repeats a beginning over and over would take time by the product of both lengths.
const PLACES_MAX: usize = 16;

/// The first place of a text in a payload.
fn find(payload: &[u8], text: &[u8]) -> Option<usize> {
    let beginning = text.get(..BEGINNING)?;
    let mut from = 0;
    for _ in 0..PLACES_MAX {
        let rest = payload.get(from..)?;
        let place = memmem::find(rest, beginning)?;
        if rest.get(place..)?.starts_with(text) {
            return from.checked_add(place);
        }
        from = from.checked_add(place)?.checked_add(1)?;
    }
    memmem::find(payload.get(from..)?, text).and_then(|place| from.checked_add(place))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_place_of_a_text_is_found_however_often_it_begins_before() {
        let text = b"0123456789abcdef0123456789abcdef, and how it goes on".as_slice();
        for begun in [0, 1, PLACES_MAX - 1, PLACES_MAX, PLACES_MAX + 1, 100] {
            let before = text[..40].repeat(begun);
            let payload = [&before, text, b" ", text].concat();
            assert_eq!(find(&payload, text), Some(before.len()), "{begun}");
            assert_eq!(find(&payload[..before.len() + text.len() - 1], text), None);
        }
        let same = vec![b'a'; 4 << 20];
        let other = [&same[..1 << 20], b"b"].concat();
        assert_eq!((find(&same, &other), find(&same, &same)), (None, Some(0)));
        assert_eq!(find(b"", text), None);
    }
}
