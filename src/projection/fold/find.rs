//! Search for a text among bytes, in linear time whatever the two repeat.

use memchr::memmem;

/// Bytes of a text that are searched for first. Preparing a search for the whole of a long text takes longer than
/// the search.
const BEGINNING: usize = 32;

/// Occurrences of a text's beginning that are compared before a search is prepared for the whole text.
/// Without this bound, bytes that repeat a beginning over and over would take a time in proportion to the
/// product of both lengths.
const OCCURRENCES_MAX: usize = 16;

/// Finds the first offset of a text. None also for a text that is shorter than [`BEGINNING`].
pub(super) fn find(bytes: &[u8], text: &[u8]) -> Option<usize> {
    let beginning = text.get(..BEGINNING)?;
    let mut from = 0;
    for _ in 0..OCCURRENCES_MAX {
        let rest = bytes.get(from..)?;
        let offset = memmem::find(rest, beginning)?;
        if rest.get(offset..)?.starts_with(text) {
            return from.checked_add(offset);
        }
        // Occurrences of a beginning can overlap, so the search goes on one byte further.
        from = from.checked_add(offset)?.checked_add(1)?;
    }
    // The text is searched for as a whole. This takes linear time, whatever the bytes repeat.
    memmem::find(bytes.get(from..)?, text).and_then(|offset| from.checked_add(offset))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_occurrence_is_found_however_often_the_beginning_occurs_before() {
        let text = b"0123456789abcdef0123456789abcdef, and how it goes on".as_slice();
        for begun in [0, 1, OCCURRENCES_MAX - 1, OCCURRENCES_MAX, OCCURRENCES_MAX + 1, 100] {
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
