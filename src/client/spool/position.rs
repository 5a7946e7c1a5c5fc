//! Positions in the spool, and the file that keeps one.

use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use super::segment;

const SENT: &str = "sent";

/// The start of a line in a segment. All lines before it were sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Position {
    pub(super) segment: u64,
    pub(super) offset: u64,
}

/// A position as the file `sent` keeps it, with the digest of the line that ends there. The digest binds
/// the mark to the segment that it was taken from. A mark that is older than the segments, comes from
/// another folder, or was taken from another segment with the same number, fits no segment and is ignored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Mark {
    pub(super) position: Position,
    digest: String,
}

impl Mark {
    pub(super) fn new(position: Position, last_line: &[u8]) -> Mark {
        Mark { position, digest: digest(last_line) }
    }

    /// Reads the mark. `None` if there is none, or a crash left a part of it: events are then sent again,
    /// which changes nothing in the log.
    pub(super) fn read(folder: &Path) -> io::Result<Option<Mark>> {
        match fs::read(folder.join(SENT)) {
            Ok(bytes) => Ok(str::from_utf8(&bytes).ok().and_then(Mark::parse)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn parse(text: &str) -> Option<Mark> {
        // The newline at the end shows that the mark is whole: it is written last.
        let mut fields = text.strip_suffix('\n')?.split(' ');
        let position =
            Position { segment: fields.next()?.parse().ok()?, offset: fields.next()?.parse().ok()? };
        let digest = fields.next()?.to_owned();
        fields.next().is_none().then_some(Mark { position, digest })
    }

    /// Replaces the mark as a whole.
    pub(super) fn write(&self, folder: &Path) -> io::Result<()> {
        let new = folder.join("sent.new");
        let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&new)?;
        file.write_all(
            format!("{} {} {}\n", self.position.segment, self.position.offset, self.digest).as_bytes(),
        )?;
        // Not flushed: a loss of power may leave an old mark or a damaged one. Neither skips an unsent event.
        fs::rename(new, folder.join(SENT))
    }

    /// Returns whether the segment at `path` is the one that the mark was taken from.
    pub(super) fn fits(&self, path: &Path) -> io::Result<bool> {
        let line = segment::line_before(path, self.position.offset)?;
        Ok(line.is_some_and(|line| digest(&line) == self.digest))
    }
}

fn digest(line: &[u8]) -> String {
    blake3::hash(line).to_hex().to_string()
}
