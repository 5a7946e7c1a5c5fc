//! The spool: events on this machine's disk that the server does not have yet.
//!
//! A spool is a folder of segment files `<20 digits>.jsonl`, oldest first, with each event in its JSON form
//! on one line. There are four other files. `sent` has the position in the first segment up to which the
//! server has the events. `lock` is held by the one process that uses the folder. `refused.jsonl` has the
//! refused events, and `reserve` takes up disk space for it. Events are flushed to the disk before their
//! receipts report them. Only the owner can read the files.
//!
//! A segment is deleted once the server has all of it, and before `sent` moves on. So every line of a segment
//! counts as unsent, unless `sent` names that very segment. If `sent` is lost or old, events are only sent
//! again, with the same ids, and the log has them once. No content of `sent` deletes an event. Sending events
//! and deleting their segments needs no write here, so a spool that filled the disk can still be emptied.

mod error;
mod folder;
mod reserve;
mod segment;
mod position;

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
use position::{Mark, Position};
pub(super) use reserve::Reserve;

pub use error::SpoolError;

/// The reason why events did not go into the spool.
#[derive(Debug, thiserror::Error)]
pub(super) enum NotSpooled {
    #[error("it is full: it may hold at most {bytes_max} bytes")]
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
    /// The event's JSON form, without a line break.
    pub(super) text: String,
}

/// The beginning of the spool.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Head {
    Nothing,
    /// Whole events, oldest first.
    Lines(Vec<Line>),
    /// A line that is not an event: a crash cut it off, another program wrote it, or the disk damaged it.
    Unreadable(String),
}

#[derive(Debug)]
struct Segment {
    number: u64,
    bytes: u64,
}

/// An open spool. It holds the folder's lock until it is dropped.
#[derive(Debug)]
pub(super) struct Spool {
    folder: Folder,
    bytes_max: u64,
    segments: VecDeque<Segment>,
    /// The position of the first event that was not sent.
    head: Position,
    /// Number of events that were not sent.
    events: u64,
    /// The last segment, if this process may write to it.
    last: Option<File>,
    reserve: Reserve,
}

impl Spool {
    /// Opens the spool in `folder`, which is created if it does not exist. Segments are only read, so their
    /// events can be sent even if the disk is full.
    pub(super) fn open(folder: &Path, bytes_max: u64) -> Result<Spool, SpoolError> {
        let io = |source| SpoolError::Io { folder: folder.to_owned(), source };
        let mut spool = Spool {
            folder: Folder::open(folder)?,
            bytes_max,
            segments: VecDeque::new(),
            head: Position::default(),
            events: 0,
            last: None,
            reserve: Reserve::new(folder),
        };
        spool.find().map_err(io)?;
        spool.reserve.fill();
        Ok(spool)
    }

    /// Finds the segments of earlier processes, and the position up to which they were sent.
    fn find(&mut self) -> io::Result<()> {
        let mut numbers = Vec::new();
        for entry in fs::read_dir(self.folder.path())? {
            numbers.extend(entry?.file_name().to_str().and_then(segment::number));
        }
        // Numbers only grow, so this is the order in which the events were appended.
        numbers.sort_unstable();
        for number in numbers {
            let path = self.path(number);
            let named =
                |error: io::Error| io::Error::new(error.kind(), format!("{}: {error}", path.display()));
            // From now on these events count as safe, so they are flushed first.
            let bytes = segment::flush(&path).map_err(named)?;
            self.segments.push_back(Segment { number, bytes });
        }
        let mark = Mark::read(self.folder.path())?;
        // If there is no segment, the mark's number counts as the last one that was used. A new segment gets
        // a higher number, so the old mark cannot fit it.
        let last_used = mark.as_ref().map(|mark| mark.position.segment).unwrap_or_default();
        let first = self.segments.front().map_or(last_used, |first| first.number);
        // The mark counts only for the first segment, because all segments before the mark's were deleted
        // first. If one of them is still there, all events are sent again from it on.
        self.head = Position { segment: first, offset: 0 };
        if let Some(mark) = mark.filter(|mark| mark.position.segment == first)
            && !self.segments.is_empty()
            && mark.fits(&self.path(first))?
        {
            self.head = mark.position;
        }
        // A torn line at the end counts too: it leaves the spool as an event or as a refusal.
        for segment in &self.segments {
            let from = if segment.number == self.head.segment { self.head.offset } else { 0 };
            self.events += segment::count_lines(&self.path(segment.number), from)?;
        }
        // An earlier process may have stopped before it deleted a segment that is empty or was sent.
        self.drop_sent()
    }

    fn path(&self, number: u64) -> PathBuf {
        segment::path(self.folder.path(), number)
    }

    /// Returns the number of events that were not sent.
    pub(super) fn events(&self) -> u64 {
        self.events
    }

    pub(super) fn is_empty(&self) -> bool {
        self.events == 0
    }

    /// The size at which a segment is closed. A segment is deleted as a whole, so at most about an eighth
    /// of the spool is taken by events that were sent already.
    fn segment_bytes(&self) -> u64 {
        SPOOL_SEGMENT_BYTES.min(self.bytes_max / 8)
    }

    fn bytes(&self) -> u64 {
        self.segments.iter().map(|segment| segment.bytes).sum()
    }

    /// Appends the first events, as many as there is room for, and flushes them to the disk. Returns their
    /// number. After an error the spool is as it was before.
    ///
    /// Each line is the JSON form of an event. If fewer than `least` events find room, none is taken.
    pub(super) fn append<'l>(
        &mut self,
        lines: impl Iterator<Item = &'l str>,
        least: usize,
    ) -> Result<usize, NotSpooled> {
        self.folder.ensure_locked()?;
        // Sent lines of the first segment count too: their bytes are on the disk until the segment is
        // deleted.
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
        // A segment of an earlier process is never continued, because its last line may be torn. `last` is
        // `None` then.
        let continues = self.segments.back().is_some_and(|last| last.bytes < self.segment_bytes())
            && self.is_last_untouched();
        if !continues {
            self.begin_segment()?;
        }
        let (Some(file), Some(segment)) = (&mut self.last, self.segments.back_mut()) else {
            return Err(io::Error::other("there is no segment to write to"));
        };
        // One flush for all lines: callers learn that they are safe only after it.
        let written = file.write_all(bytes).and_then(|()| file.sync_data());
        if written.is_ok() {
            let before = segment.bytes;
            segment.bytes += bytes.len() as u64;
            if self.is_last_untouched() {
                return Ok(());
            }
            // Another program deleted or cut the segment during the write. The lines that were flushed may
            // be in no file any more, so they count as not written.
            self.last = None;
            self.segments.back_mut().into_iter().for_each(|segment| segment.bytes = before);
            return Err(io::Error::other("another program changed it"));
        }
        // The caller keeps these lines and appends them again, so the part that was written is cut off. If
        // that fails, the part lies beyond `segment.bytes`, and this process never reads it. After a flush
        // that failed, the state of this file on the disk is unknown, and a second flush that succeeds would
        // not show it. So the next attempt uses a new file.
        let _ = file.set_len(segment.bytes);
        self.last = None;
        if segment.bytes == 0
            && let Some(empty) = self.segments.pop_back()
        {
            let _ = segment::remove(&self.path(empty.number));
        }
        written
    }

    /// Returns whether the segment that this process writes to is still the file at its path, with the
    /// length that it had after the last write.
    fn is_last_untouched(&self) -> bool {
        let (Some(file), Some(segment)) = (&self.last, self.segments.back()) else { return false };
        let (Ok(opened), Ok(at_path)) = (file.metadata(), fs::metadata(self.path(segment.number))) else {
            return false;
        };
        (opened.dev(), opened.ino(), opened.len()) == (at_path.dev(), at_path.ino(), segment.bytes)
    }

    fn begin_segment(&mut self) -> io::Result<()> {
        self.last = None;
        let mut number = self.segments.back().map_or(self.head.segment, |last| last.number);
        let file = loop {
            number =
                number.checked_add(1).ok_or_else(|| io::Error::other("its segments' numbers are used up"))?;
            let new = OpenOptions::new().append(true).create_new(true).mode(0o600).open(self.path(number));
            match new {
                // A segment that could not be deleted, or a file of another program: the next number is tried.
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                file => break file?,
            }
        };
        // Without this flush, a loss of power could take the file's name although its lines are flushed.
        if let Err(error) = self.folder.flush() {
            let _ = segment::remove(&self.path(number));
            return Err(error);
        }
        // An empty spool has no unsent line elsewhere, so the head moves to the new segment.
        if self.segments.is_empty() {
            self.head = Position { segment: number, offset: 0 };
        }
        self.segments.push_back(Segment { number, bytes: 0 });
        self.last = Some(file);
        Ok(())
    }

    /// Reads the first events: at most `events_max`, and at most `bytes_max` bytes, except that the first
    /// event is returned whatever its size.
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
            // Events before an unreadable line go first, in a request of their own.
            match read_line(line) {
                Ok(line) => events.push(line),
                Err(text) if events.is_empty() => return Ok(Head::Unreadable(text)),
                // The unreadable line is the first one at the next call.
                Err(_) => break,
            }
        }
        Ok(if events.is_empty() { Head::Nothing } else { Head::Lines(events) })
    }

    /// Gives up the events that are missing from the files, and returns their number. Call only if the
    /// beginning of the spool is `Nothing` and yet events are left.
    pub(super) fn give_up(&mut self) -> u64 {
        self.last = None;
        // The head keeps the last number, so that the next segment gets one that was never used.
        while let Some(gone) = self.segments.pop_front() {
            self.head = Position { segment: gone.number, offset: 0 };
            // `head` found no line in any segment, so no event is deleted here.
            let _ = segment::remove(&self.path(gone.number));
        }
        std::mem::take(&mut self.events)
    }

    /// Removes the first lines, which the server has. A line that is missing from the files counts as
    /// removed. Lines are compared and not counted: if another program deleted a segment meanwhile, a count
    /// would remove lines that were not sent.
    pub(super) fn advance<'l>(&mut self, sent: impl ExactSizeIterator<Item = &'l str>) -> io::Result<()> {
        let count = sent.len() as u64;
        let (mut sent, mut last) = (sent, Vec::new());
        self.head = self.walk(usize::MAX, |line| {
            // `any` passes over sent lines that are missing. When `sent` is used up, the walk stops at this line.
            let is_sent = sent.by_ref().any(|text| String::from_utf8_lossy(line) == text);
            if is_sent {
                line.clone_into(&mut last);
            }
            is_sent
        })?;
        self.events = self.events.saturating_sub(count);
        let dropped = self.drop_sent();
        // At the beginning of a segment no mark is needed: without one, the first segment is sent from its
        // beginning. The segments are deleted before the mark is written; a crash in between sends the
        // lines of the first segment again.
        let marked = match self.head.offset {
            0 => Ok(()),
            _ => Mark::new(self.head, &last).write(self.folder.path()),
        };
        dropped.and(marked)
    }

    /// Calls `show` with at most `count` lines, from the first unsent one on, until it returns false. Returns
    /// the position after the last line that `show` accepted.
    fn walk(&self, count: usize, mut show: impl FnMut(&[u8]) -> bool) -> io::Result<Position> {
        let (mut position, mut seen) = (self.head, 0);
        for segment in &self.segments {
            // The walk begins within the head's segment. All later segments are unsent from their beginning.
            if segment.number != position.segment {
                position = Position { segment: segment.number, offset: 0 };
            }
            let mut file = match File::open(self.path(segment.number)) {
                // Another program deleted the file. Its events are reported as missing later, and those of
                // later segments are sent now.
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                file => file?,
            };
            file.seek(SeekFrom::Start(position.offset))?;
            let mut reader = BufReader::new(file);
            let mut line = Vec::new();
            // Bytes beyond `segment.bytes` come from an append that failed. They are not events.
            while position.offset < segment.bytes {
                if seen == count {
                    return Ok(position);
                }
                line.clear();
                let bytes = reader.read_until(b'\n', &mut line)?;
                if bytes == 0 {
                    // Another program cut the file. The next segments are still read.
                    break;
                }
                if !show(line.strip_suffix(b"\n").unwrap_or(&line)) {
                    return Ok(position);
                }
                position.offset += bytes as u64;
                seen += 1;
            }
        }
        Ok(position)
    }

    /// Deletes the segments that were sent as a whole.
    fn drop_sent(&mut self) -> io::Result<()> {
        while let Some(first) = self.segments.front() {
            let is_past = first.number < self.head.segment
                || (first.number == self.head.segment && self.head.offset >= first.bytes);
            if !is_past {
                break;
            }
            // The file is deleted first. If that fails, the segment stays in the list and is tried again.
            segment::remove(&self.path(first.number))?;
            self.segments.pop_front();
            match self.segments.front() {
                Some(next) if next.number > self.head.segment => {
                    self.head = Position { segment: next.number, offset: 0 };
                }
                Some(_) => {}
                None => {
                    // No segment is left. The head keeps the number, from which the next segment's number follows.
                    self.last = None;
                    self.head.offset = 0;
                }
            }
            // This deletion may have freed the first bytes on a full disk, so the reserve is filled again now.
            self.reserve.fill();
        }
        Ok(())
    }
}

/// Reads the id of a line. The rest of the line is sent as it is.
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
