//! Bytes on disk: bincode 2 in its standard configuration (little endian, varints), with a limit.

use bincode::config::{Configuration, Limit, LittleEndian, Varint};
use bincode::{Decode, Encode};

use crate::limits::DECODE_BYTES_MAX;

const CONFIG: Configuration<LittleEndian, Varint, Limit<DECODE_BYTES_MAX>> =
    bincode::config::standard().with_limit::<DECODE_BYTES_MAX>();

/// Payload bytes that are plain bincode.
pub const ENCODING_PLAIN: u8 = 0;

/// A value that cannot be encoded.
#[derive(Debug, thiserror::Error)]
#[error("cannot be encoded: {0}")]
pub struct EncodeError(#[from] bincode::error::EncodeError);

/// Bytes that do not hold the expected value.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DecodeError {
    /// The bytes do not decode.
    #[error("cannot be decoded: {0}")]
    Malformed(#[from] bincode::error::DecodeError),
    /// The bytes are an entry of a log format that this version does not know.
    #[error("has log format {found}, but this version of Annals knows only {known}; use a newer version")]
    UnknownFormat {
        /// Its first byte.
        found: u8,
        /// The format that is known.
        known: u8,
    },
    /// There are more bytes than an entry may have.
    #[error("has {bytes} bytes, more than the maximum of {max}")]
    TooLong {
        /// The number of bytes.
        bytes: usize,
        /// The limit.
        max: usize,
    },
    /// Bytes are left over.
    #[error("{0} bytes follow its end")]
    Trailing(usize),
    /// The bytes are not the only encoding of their value: bincode accepts varints that are longer than needed, and
    /// unsorted or repeated keys; the log does not.
    #[error("is not the canonical encoding of its value")]
    NotCanonical,
}

/// Appends the encoding of `value` to `bytes`.
pub(crate) fn encode<T: Encode>(value: &T, bytes: &mut Vec<u8>) -> Result<(), EncodeError> {
    bincode::encode_into_std_write(value, bytes, CONFIG)?;
    Ok(())
}

/// Reads a value that takes up all of `bytes`.
pub(crate) fn decode<T: Decode<()>>(bytes: &[u8]) -> Result<T, DecodeError> {
    let (value, used) = bincode::decode_from_slice(bytes, CONFIG)?;
    // Bytes after the value would be content that no reader sees.
    match bytes.len() - used {
        0 => Ok(value),
        left => Err(DecodeError::Trailing(left)),
    }
}

/// Reads a value that takes up all of `bytes` and has no other encoding.
pub(crate) fn decode_canonical<T: Encode + Decode<()>>(bytes: &[u8]) -> Result<T, DecodeError> {
    let value: T = decode(bytes)?;
    // The encoding is compared as it is written: no second copy of a large payload is made.
    let mut rest = Expected(bytes);
    match bincode::encode_into_writer(&value, &mut rest, CONFIG) {
        // A shorter encoding matches as far as it goes, so nothing may be left.
        Ok(()) if rest.0.is_empty() => Ok(value),
        _ => Err(DecodeError::NotCanonical),
    }
}

/// A writer that accepts only the bytes that are expected next.
struct Expected<'a>(&'a [u8]);

impl bincode::enc::write::Writer for &mut Expected<'_> {
    fn write(&mut self, bytes: &[u8]) -> Result<(), bincode::error::EncodeError> {
        match self.0.strip_prefix(bytes) {
            Some(rest) => {
                self.0 = rest;
                Ok(())
            }
            None => Err(bincode::error::EncodeError::Other("another encoding")),
        }
    }
}
