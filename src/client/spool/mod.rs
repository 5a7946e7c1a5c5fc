//! Events on this machine's disk that the server does not have yet.
//!
//! A folder of segment files `<20 digits>.jsonl`, each event a line in its JSON form, oldest first, and
//! beside them `sent`, the place in the first one up to which the server has them; `lock`, which the one
//! process holds that uses the folder; `refused.jsonl`; and `reserve`, room for that. What is appended is
//! flushed to the disk before that is said. Only their own user can read them.
//!
//! A segment is deleted when the server has all of it, before `sent` moves on: what is in a segment was not
//! sent, unless `sent` speaks of that very segment. So a mark that is lost or old sends events again, with
//! the same ids, and the log has them once; and no mark ever deletes an event. Nothing here has to be
//! written before events can be sent and their segments deleted: a full disk empties itself.

mod error;
mod folder;
mod reserve;
mod segment;
mod place;

#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::fs::{self, File, OpenOptions};
use std::io::{self, BufRead as _, BufReader, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::event::EventId;
use crate::limits::SPOOL_SEGMENT_BYTES;
use folder::Folder;
use place::{Mark, Place};
pub(super) use reserve::Reserve;

pub use error::SpoolError;

/// What did not go into the spool.
#[derive(Debug, thiserror::Error)]
pub(super) enum NotSpooled {
    #[error("{bytes_max} bytes are in it, as many as it may have")]
    Full { bytes_max: u64 },
    #[error("it cannot be written: {0}")]
    Io(#[from] io::Error),
    #[error(transparent)]
    Folder(#[from] SpoolError),
}

/// An event of the spool.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Line {
    pub(super) event_id: EventId,
    /// Its JSON form.
    pub(super) text: String,
}

/// What is at the beginning of the spool.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Head {
    Nothing,
    /// Whole events, oldest first.
    Lines(Vec<Line>),
    /// A line that is no event: a crash cut it off, something else than this library wrote it, or the disk
    /// lost it.
    Unreadable(String),
}

#[derive(Debug)]
struct Segment {
    number: u64,
    bytes: u64,
}

/// An open spool. The lock goes with it.
#[derive(Debug)]
pub(super) struct Spool {
    folder: Folder,
    bytes_max: u64,
    segments: VecDeque<Segment>,
    /// Where the first event is that was not sent.
    head: Place,
    /// Events in it that were not sent.
    events: u64,
    /// The last segment, where this process may write to it.
    last: Option<File>,
    reserve: Reserve,
}

impl Spool {
    /// Opens the spool in `folder`, and makes it where there is none. Segments are taken as they are: a full
    /// disk is no reason not to send what is in them.
    pub(super) fn open(folder: &Path, bytes_max: u64) -> Result<Spool, SpoolError> {
        let io = |source| SpoolError::Io { folder: folder.to_owned(), source };
        let mut spool = Spool {
            folder: Folder::open(folder)?,
            bytes_max,
            segments: VecDeque::new(),
            head: Place::default(),
            events: 0,
            last: None,
            reserve: Reserve::new(folder),
        };
        spool.find().map_err(io)?;
        spool.reserve.fill();
        Ok(spool)
    }

    /// Looks at the segments that there are.
    fn find(&mut self) -> io::Result<()> {
        let mut numbers = Vec::new();
        for entry in fs::read_dir(self.folder.path())? {
            numbers.extend(entry?.file_name().to_str().and_then(segment::number));
        }
        numbers.sort_unstable();
        for number in numbers {
            let path = self.path(number);
            let named =
                |error: io::Error| io::Error::new(error.kind(), format!("{}: {error}", path.display()));
            let bytes = segment::flush(&path).map_err(named)?;
            self.segments.push_back(Segment { number, bytes });
        }
        let mark = Mark::read(self.folder.path())?;
        // Where there is no segment, the next one gets a number that none had before it.
        let kept = mark.as_ref().map(|mark| mark.place.segment).unwrap_or_default();
        let first = self.segments.front().map_or(kept, |first| first.number);
        self.head = Place { segment: first, offset: 0 };
        if let Some(mark) = mark.filter(|mark| mark.place.segment == first)
            && !self.segments.is_empty()
            && mark.fits(&self.path(first))?
        {
            self.head = mark.place;
        }
        for segment in &self.segments {
            let from = if segment.number == self.head.segment { self.head.offset } else { 0 };
            self.events += segment::count_lines(&self.path(segment.number), from)?;
        }
        self.drop_sent()
    }

    fn path(&self, number: u64) -> PathBuf {
        segment::path(self.folder.path(), number)
    }

    /// Events in it that were not sent.
    pub(super) fn events(&self) -> u64 {
        self.events
    }

    pub(super) fn is_empty(&self) -> bool {
        self.events == 0
    }

    /// A segment is deleted as a whole: an eighth of the spool at most waits for that.
    fn segment_bytes(&self) -> u64 {
        SPOOL_SEGMENT_BYTES.min(self.bytes_max / 8)
    }

    fn bytes(&self) -> u64 {
        self.segments.iter().map(|segment| segment.bytes).sum()
    }

    /// Appends events, and flushes them to the disk: as many of the first as there is room for. Of an
    /// error nothing stays.
    ///
    /// Each is the JSON form of an event on one line. At least `least` must find room, else none is
    /// taken.
    pub(super) fn append<'l>(
        &mut self,
        lines: impl Iterator<Item = &'l str>,
        least: usize,
    ) -> Result<usize, NotSpooled> {
        self.folder.keep()?;
        let room = self.bytes_max.saturating_sub(self.bytes());
        let (mut bytes, mut count) = (Vec::new(), 0_usize);
        for line in lines {
            if (bytes.len() + line.len() + 1) as u64 > room {
                break;
            }
            bytes.extend_from_slice(line.as_bytes());
            bytes.push(b'\n');
            count += 1;
        }
        if count < least.max(1) {
            return Err(NotSpooled::Full { bytes_max: self.bytes_max });
        }
        self.write(&bytes)?;
        self.events += count as u64;
        Ok(count)
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        let goes_on = self.segments.back().is_some_and(|last| last.bytes < self.segment_bytes())
            && self.is_last_untouched();
        if !goes_on {
            self.begin_segment()?;
        }
        let (Some(file), Some(segment)) = (&mut self.last, self.segments.back_mut()) else {
            return Err(io::Error::other("there is no segment to write to"));
        };
        let written = file.write_all(bytes).and_then(|()| file.sync_data());
        if written.is_ok() {
            let before = segment.bytes;
            segment.bytes += bytes.len() as u64;
            if self.is_last_untouched() {
                return Ok(());
            }
            // Somebody deleted it, or cut it, while it was written.
            self.last = None;
            self.segments.back_mut().into_iter().for_each(|segment| segment.bytes = before);
            return Err(io::Error::other("somebody else changed it"));
        }
        // What was written of it may not stay: it is given again, or is the caller's to keep. Where it cannot be
        // cut off, it lies beyond what is read of the segment. After a flush that failed nobody knows what the
        // disk has of this file, and a second flush that works would not say so: the next attempt has another.
        let _ = file.set_len(segment.bytes);
        self.last = None;
        if segment.bytes == 0
            && let Some(empty) = self.segments.pop_back()
        {
            let _ = segment::remove(&self.path(empty.number));
        }
        written
    }

    /// Whether the segment that this process writes to is at its path, and as long as it left it.
    fn is_last_untouched(&self) -> bool {
        let (Some(file), Some(segment)) = (&self.last, self.segments.back()) else { return false };
        let (Ok(held), Ok(there)) = (file.metadata(), fs::metadata(self.path(segment.number))) else {
            return false;
        };
        (held.dev(), held.ino(), held.len()) == (there.dev(), there.ino(), segment.bytes)
    }

    fn begin_segment(&mut self) -> io::Result<()> {
        self.last = None;
        let mut number = self.segments.back().map_or(self.head.segment, |last| last.number);
        let file = loop {
            number =
                number.checked_add(1).ok_or_else(|| io::Error::other("its segments' numbers are used up"))?;
            let new = OpenOptions::new().append(true).create_new(true).mode(0o600).open(self.path(number));
            match new {
                // One that could not be deleted, or that somebody put there.
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                file => break file?,
            }
        };
        // Else the file itself could be gone after a crash.
        if let Err(error) = self.folder.flush() {
            let _ = segment::remove(&self.path(number));
            return Err(error);
        }
        if self.segments.is_empty() {
            self.head = Place { segment: number, offset: 0 };
        }
        self.segments.push_back(Segment { number, bytes: 0 });
        self.last = Some(file);
        Ok(())
    }

    /// The first events: so many at most, and so many bytes unless the first one alone has more.
    pub(super) fn head(&self, events_max: usize, bytes_max: usize) -> io::Result<Head> {
        let (mut lines, mut bytes) = (Vec::new(), 0_usize);
        self.walk(events_max, |line| {
            bytes += line.len();
            if bytes > bytes_max && !lines.is_empty() {
                return false;
            }
            lines.push(line.to_vec());
            true
        })?;
        let mut events = Vec::with_capacity(lines.len());
        for line in lines {
            match read_line(line) {
                Ok(line) => events.push(line),
                Err(text) if events.is_empty() => return Ok(Head::Unreadable(text)),
                // It is the first one next time.
                Err(_) => break,
            }
        }
        Ok(if events.is_empty() { Head::Nothing } else { Head::Lines(events) })
    }

    /// Gives up what should be in it and is not, and says how many events that are. Only where there is
    /// nothing at the beginning and yet events are left.
    pub(super) fn give_up(&mut self) -> u64 {
        self.last = None;
        while let Some(gone) = self.segments.pop_front() {
            self.head = Place { segment: gone.number, offset: 0 };
            // Nothing that can be read is in it.
            let _ = segment::remove(&self.path(gone.number));
        }
        std::mem::take(&mut self.events)
    }

    /// Goes past the first lines, which the server has. One that is not there any more is past already: to
    /// count lines instead would go past others where somebody deleted a segment meanwhile.
    pub(super) fn advance<'l>(&mut self, sent: impl ExactSizeIterator<Item = &'l str>) -> io::Result<()> {
        let count = sent.len() as u64;
        let (mut sent, mut last) = (sent, Vec::new());
        self.head = self.walk(usize::MAX, |line| {
            let is_sent = sent.by_ref().any(|text| String::from_utf8_lossy(line) == text);
            if is_sent {
                line.clone_into(&mut last);
            }
            is_sent
        })?;
        self.events = self.events.saturating_sub(count);
        let dropped = self.drop_sent();
        // At the beginning of a segment a mark has nothing to say.
        let marked = match self.head.offset {
            0 => Ok(()),
            _ => Mark::new(self.head, &last).write(self.folder.path()),
        };
        dropped.and(marked)
    }

    /// Shows lines from the first one that was not sent, `count` at most, until `show` wants no more, and
    /// says where the one after those is. A line that `show` did not want is not past.
    fn walk(&self, count: usize, mut show: impl FnMut(&[u8]) -> bool) -> io::Result<Place> {
        let (mut place, mut seen) = (self.head, 0);
        for segment in &self.segments {
            if segment.number != place.segment {
                place = Place { segment: segment.number, offset: 0 };
            }
            let mut file = match File::open(self.path(segment.number)) {
                // Somebody else deleted it.
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                file => file?,
            };
            file.seek(SeekFrom::Start(place.offset))?;
            let mut reader = BufReader::new(file);
            let mut line = Vec::new();
            while place.offset < segment.bytes {
                if seen == count {
                    return Ok(place);
                }
                line.clear();
                let bytes = reader.read_until(b'\n', &mut line)?;
                if bytes == 0 {
                    // Somebody else cut it. What the next ones hold is there.
                    break;
                }
                if !show(line.strip_suffix(b"\n").unwrap_or(&line)) {
                    return Ok(place);
                }
                place.offset += bytes as u64;
                seen += 1;
            }
        }
        Ok(place)
    }

    /// Deletes segments of which everything was sent.
    fn drop_sent(&mut self) -> io::Result<()> {
        while let Some(first) = self.segments.front() {
            let is_past = first.number < self.head.segment
                || (first.number == self.head.segment && self.head.offset >= first.bytes);
            if !is_past {
                break;
            }
            segment::remove(&self.path(first.number))?;
            self.segments.pop_front();
            match self.segments.front() {
                Some(next) if next.number > self.head.segment => {
                    self.head = Place { segment: next.number, offset: 0 };
                }
                Some(_) => {}
                None => {
                    self.last = None;
                    self.head.offset = 0;
                }
            }
            // The room that the segment took may be the first in a while.
            self.reserve.fill();
        }
        Ok(())
    }
}

/// The id in a line, which is all of it that this program needs to know.
fn read_line(line: Vec<u8>) -> Result<Line, String> {
    #[derive(Deserialize)]
    struct Id {
        id: EventId,
    }
    let text =
        String::from_utf8(line).map_err(|error| String::from_utf8_lossy(error.as_bytes()).into_owned())?;
    match serde_json::from_str::<Id>(&text) {
        Ok(Id { id }) => Ok(Line { event_id: id, text }),
        Err(_) => Err(text),
    }
}
