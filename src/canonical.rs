//! A check of bytes in canonical form (docs/format.md, section 2) that builds no values.
//!
//! A verifier needs to know of nearly every payload that it is well formed, and nothing else. These functions
//! accept bytes that decode, that leave nothing over, and that encode to the same bytes again.
//! `encoding::decode_canonical` decides about bytes that are refused here, and gives the reason.

use std::collections::BTreeMap;

/// The longest input that is judged here, in bytes. On a longer one the decoder may reach its memory limit, which
/// only the decoder can know.
pub(crate) const JUDGED_BYTES_MAX: usize = 1 << 20;

/// The rest of an input. Each read returns None if the bytes are not in canonical form.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Input<'a>(&'a [u8]);

impl<'a> Input<'a> {
    pub(crate) const fn new(bytes: &'a [u8]) -> Input<'a> {
        Input(bytes)
    }

    /// Returns true if no byte is left.
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

    /// Reads a varint that is no longer than its value needs.
    #[inline]
    pub(crate) fn number(&mut self) -> Option<u64> {
        // 251, 252 and 253 announce 2, 4 and 8 bytes. A value below `least` has a shorter encoding, so this one is not
        // canonical.
        let (value, least) = match self.byte()? {
            small @ 0..=250 => return Some(small.into()),
            251 => (u16::from_le_bytes(self.array()?).into(), 251),
            252 => (u32::from_le_bytes(self.array()?).into(), 1 << 16),
            253 => (u64::from_le_bytes(self.array()?), 1 << 32),
            _ => return None,
        };
        (value >= least).then_some(value)
    }

    /// Reads a signed number in zigzag encoding.
    #[inline]
    pub(crate) fn signed(&mut self) -> Option<i64> {
        let number = self.number()?;
        Some((number >> 1).cast_signed() ^ -(number & 1).cast_signed())
    }

    #[inline]
    pub(crate) fn text(&mut self) -> Option<&'a str> {
        // The length is compared with the input before anything is read, so a hostile length costs nothing.
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

/// A type whose canonical form can be checked without building a value.
pub(crate) trait WellFormed {
    /// Skips one value. Returns None if the bytes are not canonical, and for a type without an implementation of its
    /// own, which only the decoder can judge.
    fn pass(_input: &mut Input<'_>) -> Option<()> {
        None
    }
}

/// Returns true if the bytes are well formed as a `T`. False is not final: the decoder decides, and gives the reason.
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
        // Every item takes at least one byte: a length beyond the input ends with the input.
        (0..input.number()?).try_for_each(|_| T::pass(input))
    }
}

impl<T: WellFormed> WellFormed for BTreeMap<String, T> {
    fn pass(input: &mut Input<'_>) -> Option<()> {
        let mut before = None;
        for _ in 0..input.number()? {
            let key = input.text()?;
            // Keys must rise: unsorted or repeated keys are a second encoding of the same map.
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

    /// Asserts that bytes are accepted here exactly if the decoder accepts them.
    fn assert_agrees<T: WellFormed + bincode::Encode + bincode::Decode<()>>(bytes: &[u8]) {
        assert_eq!(is_well_formed::<T>(bytes), encoding::decode_canonical::<T>(bytes).is_ok(), "{bytes:x?}");
    }

    #[test]
    fn every_short_sequence_of_telling_bytes_is_judged_as_the_decoder_judges_it() {
        // The bytes at which an encoding changes its meaning: tags of options, short lengths, a letter, the markers of
        // varints, and a byte that no encoding begins with.
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
        // 5 in three bytes, 65,535 in five, and 2^32 - 1 in nine.
        for bytes in [&[251, 5, 0][..], &[252, 255, 255, 0, 0], &[253, 255, 255, 255, 255, 0, 0, 0, 0]] {
            assert_eq!(Input::new(bytes).number(), None);
        }
    }
}
