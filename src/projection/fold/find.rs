//! Search for a text among bytes, in a time that no repetition in either can drive up.

use memchr::memmem;

/// Bytes of a text that are searched for first. Preparing a search for the whole of a long text takes longer than
/// the search.
const BEGINNING: usize = 32;

/// Occurrences of a text's beginning that are compared before a search is prepared for the whole text. Without this
/// bound, bytes that repeat a beginning over and over would take time by the product of both lengths.
const PLACES_MAX: usize = 16;

/// Finds the first offset of a text. None for a text that is shorter than its beginning.
pub(super) fn find(bytes: &[u8], text: &[u8]) -> Option<usize> {
    let beginning = text.get(..BEGINNING)?;
    let mut from = 0;
    for _ in 0..PLACES_MAX {
        let rest = bytes.get(from..)?;
        let place = memmem::find(rest, beginning)?;
        if rest.get(place..)?.starts_with(text) {
            return from.checked_add(place);
        }
        // Occurrences of a beginning can overlap, so the search goes on one byte further.
        from = from.checked_add(place)?.checked_add(1)?;
    }
    // The text is searched for as a whole. This takes linear time, whatever the bytes repeat.
    memmem::find(bytes.get(from..)?, text).and_then(|place| from.checked_add(place))
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
