//! The fields of a message of protocol buffers, one after the other, borrowed from its bytes.
//!
//! Requests are not decoded into the structs that are generated from OTLP's definition: there, the two bytes
//! of an empty span become hundreds of bytes of memory, and the size of a request would not bound its memory.
//! Here nothing is built. Spans are written as JSON straight from the request.

use std::str;

use prost::bytes::Buf;
use prost::encoding::{WireType, decode_key, decode_varint};

/// The reason for which bytes are refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Malformed {
    #[error("it is not a message of protocol buffers")]
    Wire,
    #[error("a text in it is not UTF-8")]
    Text,
    #[error("it is nested too deeply")]
    Depth,
    #[error("it is larger than the log accepts")]
    Size,
}

/// The value of a field.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Value<'a> {
    Varint(u64),
    Fixed64(u64),
    Fixed32(u32),
    Bytes(&'a [u8]),
}

impl<'a> Value<'a> {
    pub(super) fn bytes(self) -> Result<&'a [u8], Malformed> {
        match self {
            Value::Bytes(bytes) => Ok(bytes),
            _ => Err(Malformed::Wire),
        }
    }

    pub(super) fn text(self) -> Result<&'a str, Malformed> {
        str::from_utf8(self.bytes()?).map_err(|_| Malformed::Text)
    }

    /// An integer of any width.
    pub(super) fn number(self) -> Result<u64, Malformed> {
        match self {
            Value::Varint(number) | Value::Fixed64(number) => Ok(number),
            Value::Fixed32(number) => Ok(number.into()),
            Value::Bytes(_) => Err(Malformed::Wire),
        }
    }
}

/// The fields of a message, each with number and value. An error is the last item.
#[derive(Clone, Copy, Debug)]
pub(super) struct Fields<'a>(pub(super) &'a [u8]);

impl<'a> Fields<'a> {
    /// The values of the field with this number. An error in any field is passed on.
    pub(super) fn all(self, number: u32) -> impl Iterator<Item = Result<Value<'a>, Malformed>> {
        self.filter_map(move |field| match field {
            Ok((own, value)) => (own == number).then_some(Ok(value)),
            Err(error) => Some(Err(error)),
        })
    }

    /// The value of the field with this number. If it comes several times, the last one counts, as in the
    /// encoding.
    pub(super) fn one(self, number: u32) -> Result<Option<Value<'a>>, Malformed> {
        // An error is always the last item, so it cannot be missed.
        self.all(number).last().transpose()
    }

    fn read(&mut self) -> Result<(u32, Value<'a>), Malformed> {
        let (number, wire_type) = decode_key(&mut self.0).map_err(|_| Malformed::Wire)?;
        let value = match wire_type {
            WireType::Varint => Value::Varint(decode_varint(&mut self.0).map_err(|_| Malformed::Wire)?),
            WireType::SixtyFourBit => Value::Fixed64(self.0.try_get_u64_le().map_err(|_| Malformed::Wire)?),
            WireType::ThirtyTwoBit => Value::Fixed32(self.0.try_get_u32_le().map_err(|_| Malformed::Wire)?),
            WireType::LengthDelimited => {
                let length = decode_varint(&mut self.0).map_err(|_| Malformed::Wire)?;
                let length = usize::try_from(length).map_err(|_| Malformed::Wire)?;
                // Checked against the bytes that are there: a false length claims no memory.
                let (bytes, rest) = self.0.split_at_checked(length).ok_or(Malformed::Wire)?;
                self.0 = rest;
                Value::Bytes(bytes)
            }
            // Groups are deprecated, and no version of OTLP has them.
            WireType::StartGroup | WireType::EndGroup => return Err(Malformed::Wire),
        };
        Ok((number, value))
    }
}

impl<'a> Iterator for Fields<'a> {
    type Item = Result<(u32, Value<'a>), Malformed>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.0.is_empty() {
            return None;
        }
        let read = self.read();
        // Nothing after a broken field can be found, because its length is not known.
        if read.is_err() {
            self.0 = &[];
        }
        Some(read)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_come_in_order_and_what_is_broken_ends_them() {
        // Field 1: the varint 150; field 2: `hi`; field 3: a fixed32; field 4: a fixed64.
        let bytes =
            [0x08, 0x96, 0x01, 0x12, 0x02, b'h', b'i', 0x1d, 1, 0, 0, 0, 0x21, 2, 0, 0, 0, 0, 0, 0, 0];
        let fields: Vec<_> = Fields(&bytes).collect::<Result<_, _>>().unwrap();
        assert_eq!(
            fields,
            [
                (1, Value::Varint(150)),
                (2, Value::Bytes(b"hi")),
                (3, Value::Fixed32(1)),
                (4, Value::Fixed64(2))
            ]
        );
        assert_eq!(Fields(&bytes).one(2), Ok(Some(Value::Bytes(b"hi"))));
        // A length beyond the end, a missing varint, the field number 0, a group, a cut fixed32, the greatest
        // length.
        for broken in [
            &[0x12, 0x05, b'h'][..],
            &[0x08],
            &[0x00, 0x01],
            &[0x0b],
            &[0x1d, 1],
            &[0x12, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01],
        ] {
            let read: Vec<_> = Fields(broken).collect();
            assert_eq!(read, [Err(Malformed::Wire)], "{broken:?}");
        }
    }
}
