//! Bytes in canonical form (docs/format.md, section 2), read without making values of them.
//!
//! Whoever checks a log wants to know of nearly every payload that it is well formed, and nothing else.
//! What is let pass here is what decodes, takes up all bytes, and encodes to the same bytes again;
//! `encoding::decode_canonical` decides what is refused here, and says why.

use std::collections::BTreeMap;

/// Most bytes that are judged here. With more of them a decoder may give up for want of memory, which
/// only the decoder knows.
pub(crate) const JUDGED_BYTES_MAX: usize = 1 << 20;

/// What is left of some bytes. Reading gives None where they are not in canonical form.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Input<'a>(&'a [u8]);

impl<'a> Input<'a> {
    pub(crate) const fn new(bytes: &'a [u8]) -> Input<'a> {
        Input(bytes)
    }

    /// Whether no byte is left over.
    pub(crate) const fn is_at_end(&self) -> bool {
        self.0.is_empty()
    }

    #[inline]
    pub(crate) fn byte(&mut self) -> Option<u8> {
        let (first, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(*first)
    }

    #[inline]
    pub(crate) fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (array, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*array)
    }

    /// A varint that is no longer than its value needs.
    #[inline]
    pub(crate) fn number(&mut self) -> Option<u64> {
        let (value, least) = match self.byte()? {
            small @ 0..=250 => return Some(small.into()),
            251 => (u16::from_le_bytes(self.array()?).into(), 251),
            252 => (u32::from_le_bytes(self.array()?).into(), 1 << 16),
            253 => (u64::from_le_bytes(self.array()?), 1 << 32),
            _ => return None,
        };
        (value >= least).then_some(value)
    }

    /// A number with a sign, in zigzag.
    #[inline]
    pub(crate) fn signed(&mut self) -> Option<i64> {
        let number = self.number()?;
        Some((number >> 1).cast_signed() ^ -(number & 1).cast_signed())
    }

    #[inline]
    pub(crate) fn text(&mut self) -> Option<&'a str> {
        let count = usize::try_from(self.number()?).ok()?;
        let (text, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        std::str::from_utf8(text).ok()
    }

    #[inline]
    pub(crate) fn option<T>(&mut self, read: impl FnOnce(&mut Self) -> Option<T>) -> Option<Option<T>> {
        match self.byte()? {
            0 => Some(None),
            1 => read(self).map(Some),
            _ => None,
        }
    }
}

/// A type whose canonical form can be told without a value of it.
pub(crate) trait WellFormed {
    /// Reads past one value. None where there is none in canonical form; or where only decoding can
    /// tell, which is so unless a type says more.
    fn pass(_input: &mut Input<'_>) -> Option<()> {
        None
    }
}

/// Whether bytes are well formed as a `T`. Of what is not, decoding says why, and has the last word.
pub(crate) fn is_well_formed<T: WellFormed>(bytes: &[u8]) -> bool {
    let mut input = Input::new(bytes);
    bytes.len() <= JUDGED_BYTES_MAX && T::pass(&mut input).is_some() && input.is_at_end()
}

impl WellFormed for u64 {
    #[inline]
    fn pass(input: &mut Input<'_>) -> Option<()> {
        input.number().map(drop)
    }
}

impl WellFormed for f64 {
    #[inline]
    fn pass(input: &mut Input<'_>) -> Option<()> {
        input.array::<8>().map(drop)
    }
}

impl WellFormed for String {
    #[inline]
    fn pass(input: &mut Input<'_>) -> Option<()> {
        input.text().map(drop)
    }
}

impl<T: WellFormed> WellFormed for Option<T> {
    #[inline]
    fn pass(input: &mut Input<'_>) -> Option<()> {
        input.option(T::pass).map(drop)
    }
}

impl<T: WellFormed> WellFormed for Vec<T> {
    fn pass(input: &mut Input<'_>) -> Option<()> {
        // Every item has a byte at least: a length beyond the bytes ends with them.
        (0..input.number()?).try_for_each(|_| T::pass(input))
    }
}

impl<T: WellFormed> WellFormed for BTreeMap<String, T> {
    fn pass(input: &mut Input<'_>) -> Option<()> {
        let mut before = None;
        for _ in 0..input.number()? {
            let key = input.text()?;
            if before.is_some_and(|before| before >= key) {
                return None;
            }
            before = Some(key);
            T::pass(input)?;
        }
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::encoding;

    /// What is let pass is what the decoder takes, and what is refused is what it refuses.
    fn assert_agrees<T: WellFormed + bincode::Encode + bincode::Decode<()>>(bytes: &[u8]) {
        assert_eq!(is_well_formed::<T>(bytes), encoding::decode_canonical::<T>(bytes).is_ok(), "{bytes:x?}");
    }

    #[test]
    fn every_short_sequence_of_telling_bytes_is_judged_as_the_decoder_judges_it() {
        const TELLING: [u8; 10] = [0, 1, 2, 3, b'a', 250, 251, 252, 253, 255];
        let mut sequences: Vec<Vec<u8>> = vec![vec![]];
        for _ in 0..4 {
            let longer = sequences.iter().flat_map(|bytes| {
                TELLING.iter().map(|last| bytes.iter().copied().chain([*last]).collect::<Vec<u8>>())
            });
            sequences = std::iter::once(vec![]).chain(longer).collect();
        }
        for bytes in &sequences {
            assert_agrees::<u64>(bytes);
            assert_agrees::<f64>(bytes);
            assert_agrees::<String>(bytes);
            assert_agrees::<Option<String>>(bytes);
            assert_agrees::<Vec<u64>>(bytes);
            assert_agrees::<Vec<String>>(bytes);
            assert_agrees::<BTreeMap<String, String>>(bytes);
            assert_agrees::<BTreeMap<String, u64>>(bytes);
        }
    }

    #[test]
    fn numbers_are_those_of_the_encoding() {
        for number in [0, 250, 251, 252, 65_535, 65_536, u64::from(u32::MAX), 1 << 32, u64::MAX] {
            let mut bytes = Vec::new();
            encoding::encode(&number, &mut bytes).unwrap();
            assert_eq!(Input::new(&bytes).number(), Some(number));
        }
        for number in [0, -1, 1, -126, i64::MAX, i64::MIN, 1_795_176_000_000_000] {
            let mut bytes = Vec::new();
            encoding::encode(&number, &mut bytes).unwrap();
            assert_eq!(Input::new(&bytes).signed(), Some(number));
        }
    }

    #[test]
    fn a_number_that_is_longer_than_it_needs_is_refused() {
        for bytes in [&[251, 5, 0][..], &[252, 255, 255, 0, 0], &[253, 255, 255, 255, 255, 0, 0, 0, 0]] {
            assert_eq!(Input::new(bytes).number(), None);
        }
    }
}
