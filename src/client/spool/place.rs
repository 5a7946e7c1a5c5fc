//! A place in the spool, and the file that keeps it.

use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use super::segment;

const SENT: &str = "sent";

/// The start of a line in a segment; everything before it was sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) segment: u64,
    pub(super) offset: u64,
}

/// A place as it is kept: with the digest of the line that ends there, which binds it to the segment that it
/// was taken of. A mark that is older than the segments, of another folder, or of a segment that got its
/// number later, fits none and says nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Mark {
    pub(super) place: Place,
    digest: String,
}

impl Mark {
    pub(super) fn new(place: Place, last_line: &[u8]) -> Mark {
        Mark { place, digest: digest(last_line) }
    }

    /// The mark that was kept. None where there is none, or a crash left half of it: what was sent already is
    /// sent again, which changes nothing.
    pub(super) fn read(folder: &Path) -> io::Result<Option<Mark>> {
        match fs::read(folder.join(SENT)) {
            Ok(bytes) => Ok(str::from_utf8(&bytes).ok().and_then(Mark::parse)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn parse(text: &str) -> Option<Mark> {
        let mut words = text.strip_suffix('\n')?.split(' ');
        let place = Place { segment: words.next()?.parse().ok()?, offset: words.next()?.parse().ok()? };
        let digest = words.next()?.to_owned();
        words.next().is_none().then_some(Mark { place, digest })
    }

    /// Keeps the mark, in one piece.
    pub(super) fn write(&self, folder: &Path) -> io::Result<()> {
        let new = folder.join("sent.new");
        let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&new)?;
        file.write_all(format!("{} {} {}\n", self.place.segment, self.place.offset, self.digest).as_bytes())?;
        fs::rename(new, folder.join(SENT))
    }

    /// Whether the segment at `path` is the one that the mark was taken of.
    pub(super) fn fits(&self, path: &Path) -> io::Result<bool> {
        let line = segment::line_before(path, self.place.offset)?;
        Ok(line.is_some_and(|line| digest(&line) == self.digest))
    }
}

fn digest(line: &[u8]) -> String {
    blake3::hash(line).to_hex().to_string()
}
