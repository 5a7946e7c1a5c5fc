//! What is folded.

use memchr::memmem;

use crate::event::Recorded;
use crate::limits::REFERRED_BYTES_MIN;
use crate::otel::Meaning;

/// An event, as folds take it.
#[derive(Clone, Copy)]
pub(crate) struct Input<'e> {
    pub(crate) event: &'e Recorded,
    /// What it means.
    pub(crate) meanings: &'e [Meaning<'e>],
    /// Its payload cell, where rows may refer to it.
    pub(crate) cell: Option<&'e [u8]>,
}

/// Where a text stands in the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::projection) struct Place {
    pub(in crate::projection) seq: i64,
    /// Its first byte in the payload cell, from 1, as SQL counts.
    pub(in crate::projection) offset: i64,
    /// Bytes.
    pub(in crate::projection) length: i64,
}

impl Input<'_> {
    /// Where a text of the event stands, if it is long, and stands in the payload as a row would have it.
    pub(in crate::projection) fn place_of(&self, text: &str) -> Option<Place> {
        // What follows U+0000 nobody would see.
        if text.len() < REFERRED_BYTES_MIN || text.contains('\0') {
            return None;
        }
        let offset = memmem::find(self.cell?, text.as_bytes())?;
        Some(Place {
            seq: self.event.seq.to_sql(),
            offset: i64::try_from(offset).ok()?.checked_add(1)?,
            length: i64::try_from(text.len()).ok()?,
        })
    }
}
