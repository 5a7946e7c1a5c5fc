//! The beginning of a text that may be longer than anybody reads.

/// The first `chars` characters of a text that has more of them; None for any other text.
pub(crate) fn beginning(text: &str, chars: usize) -> Option<&str> {
    // The start of the first character that is left out, and so a boundary.
    let (end, _) = text.char_indices().nth(chars)?;
    text.get(..end)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn characters_are_counted_and_not_bytes() {
        assert_eq!(beginning("né", 1), Some("n"));
        assert_eq!(beginning("néo", 2), Some("né"));
        assert_eq!(beginning("né", 2), None);
        assert_eq!(beginning("", 0), None);
        assert_eq!(beginning("n", 0), Some(""));
    }
}
