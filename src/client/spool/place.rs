//! A place in the spool, and the file that keeps it.

use std::fs;
use std::io;
use std::path::Path;

const SENT: &str = "sent";

/// The start of a line in a segment; everything before it was sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) segment: u64,
    pub(super) offset: u64,
}

impl Place {
    /// The place that was kept. A file that is not there, or that a crash left empty, is the beginning:
    /// what was sent already is sent again, which changes nothing.
    pub(super) fn read(folder: &Path) -> io::Result<Place> {
        match fs::read(folder.join(SENT)) {
            Ok(bytes) => Ok(str::from_utf8(&bytes).ok().and_then(Place::parse).unwrap_or_default()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Place::default()),
            Err(error) => Err(error),
        }
    }

    fn parse(text: &str) -> Option<Place> {
        let (segment, offset) = text.strip_suffix('\n')?.split_once(' ')?;
        Some(Place { segment: segment.parse().ok()?, offset: offset.parse().ok()? })
    }

    /// Keeps the place, in one piece.
    pub(super) fn write(self, folder: &Path) -> io::Result<()> {
        let new = folder.join("sent.new");
        fs::write(&new, format!("{} {}\n", self.segment, self.offset))?;
        fs::rename(new, folder.join(SENT))
    }
}

pub(super) fn segment_name(number: u64) -> String {
    format!("{number:020}.jsonl")
}

pub(super) fn segment_number(name: &str) -> Option<u64> {
    let digits = name.strip_suffix(".jsonl")?;
    (digits.len() == 20).then(|| digits.parse().ok())?
}
