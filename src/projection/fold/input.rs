//! Events as input of the folds, with references to their texts in the log.

use std::cell::{Cell, OnceCell};

use crate::event::{Content, Event, Json, Recorded};
use crate::limits::{BEGINNING_BYTES_MIN, PIECED_BYTES_MIN, REFERRED_BYTES_MIN};
use crate::otel::Meaning;

use crate::projection::fold::find::find;
use crate::projection::fold::pieces::{Source, pieces, sources};

/// An event to fold.
pub(crate) struct Input<'e> {
    pub(crate) event: &'e Recorded,
    /// Its meanings, which are events of the native kinds.
    pub(crate) meanings: &'e [Meaning<'e>],
    /// Its payload cell, if rows may refer to it.
    cell: Option<&'e [u8]>,
    /// Bytes of it that may still be searched for texts.
    room: Cell<usize>,
    /// The texts within its JSON, found when they are first needed.
    sources: OnceCell<Vec<Source>>,
}

/// Bound on the bytes searched for texts, as a multiple of the payload. A span may have thousands of texts.
/// Those beyond the bound are stored in their rows.
const SEARCHES_MAX: usize = 64;

/// A text in the log, in the payload of the event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::projection) enum Reference {
    /// The payload has the text in one piece.
    Whole {
        /// Offset of its first byte in the payload cell, from 1, as SQL counts.
        offset: i64,
        /// Length in bytes.
        length: i64,
    },
    /// The text is joined from several pieces, which are listed as JSON.
    Pieces(String),
}

impl<'e> Input<'e> {
    pub(crate) fn new(event: &'e Recorded, meanings: &'e [Meaning<'e>], cell: Option<&'e [u8]>) -> Input<'e> {
        // The bound follows from the payload alone. So every fold of an event makes the same rows, wherever it
        // runs.
        let room = Cell::new(cell.map_or(0, <[u8]>::len).saturating_mul(SEARCHES_MAX));
        Input { event, meanings, cell, room, sources: OnceCell::new() }
    }

    /// Finds a text of the event in its payload. None for a short text, and for one that a row stores in another
    /// form.
    pub(in crate::projection) fn reference_to(&self, text: &str) -> Option<Reference> {
        // SQL would not show what follows U+0000, so the row has the text itself, with another character there.
        if text.len() < REFERRED_BYTES_MIN || text.contains('\0') {
            return None;
        }
        let mut room = self.room.get();
        let cell = self.cell.filter(|cell| text.len() <= cell.len() && room > 0)?;
        let offset = find(cell, text.as_bytes());
        // The search read up to the end of the match, or the whole cell.
        room = room.saturating_sub(offset.unwrap_or(cell.len()).saturating_add(text.len()));
        self.room.set(room);
        if let Some(offset) = offset {
            return Some(Reference::Whole {
                offset: i64::try_from(offset).ok()?.checked_add(1)?,
                length: i64::try_from(text.len()).ok()?,
            });
        }
        // A text that the payload does not have in one piece may be joined from strings of its JSON. This is
        // worth the time only for long texts.
        let json = self.json().filter(|_| text.len() > PIECED_BYTES_MIN)?;
        let sources = self.sources.get_or_init(|| {
            find(cell, json.as_str().as_bytes())
                .map_or_else(Vec::new, |offset| sources(json.as_str(), offset))
        });
        let pieces = pieces(text, sources, cell.len(), &mut room);
        self.room.set(room);
        pieces.map(Reference::Pieces)
    }

    /// Length in bytes beyond which a row also has the beginning of a text, because reading it there is faster.
    pub(in crate::projection) fn beginning_bytes_min(&self) -> usize {
        if self.json().is_some() { PIECED_BYTES_MIN } else { BEGINNING_BYTES_MIN }
    }

    /// The JSON of a span or log record, as received. The texts of rows are joined from its strings.
    fn json(&self) -> Option<&'e Json> {
        match &self.event.content {
            Content::Event(Event::OtelSpan(e)) => Some(&e.span),
            Content::Event(Event::OtelLog(e)) => Some(&e.log_record),
            _ => None,
        }
    }
}
