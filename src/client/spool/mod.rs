//! Events on this machine's disk that the server does not have yet.
//!
//! A folder of segment files `<20 digits>.jsonl`, each event a line in its JSON form, oldest first, and
//! beside them `sent`, the place up to which the server has them; `lock`, which the one process holds that
//! uses the folder; and `refused.jsonl`. What is appended is flushed to the disk before that is said. Only
//! their own user can read them.
//!
//! The place in `sent` is replaced without a flush. After a crash it may be behind, and what was sent
//! already is sent again, with the same ids: the log has it once.

mod place;
mod recover;

use std::collections::VecDeque;
use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, BufRead as _, BufReader, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::refusal::Refusals;
use crate::event::EventId;
use crate::limits::SPOOL_SEGMENT_BYTES;
use place::Place;

const LOCK: &str = "lock";

/// A spool that cannot be opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SpoolError {
    /// Another process uses the folder.
    #[error(
        "another process uses the spool {}; give each process a folder of its own",
        folder.display()
    )]
    InUse {
        /// The folder.
        folder: PathBuf,
    },
    /// A file of it cannot be read or written.
    #[error("the spool {} cannot be used: {source}", folder.display())]
    Io {
        /// The folder.
        folder: PathBuf,
        /// What the system says.
        source: io::Error,
    },
}

/// What did not go into the spool.
#[derive(Debug, thiserror::Error)]
pub(super) enum NotSpooled {
    #[error("{bytes_max} bytes are in it, as many as it may have")]
    Full { bytes_max: u64 },
    #[error("it cannot be written: {0}")]
    Io(#[from] io::Error),
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
    /// A line that is no event: something else than this library wrote it, or the disk lost it.
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
    folder: PathBuf,
    bytes_max: u64,
    segments: VecDeque<Segment>,
    /// Where the first event is that was not sent.
    head: Place,
    /// Events in it that were not sent.
    events: u64,
    /// The last segment, where this process has written to it.
    last: Option<File>,
    _lock: File,
}

impl Spool {
    /// Opens the spool in `folder`, and makes it where there is none. What a crash cut off within a line
    /// is put right.
    pub(super) fn open(folder: &Path, bytes_max: u64, refusals: &mut Refusals) -> Result<Spool, SpoolError> {
        let io = |source| SpoolError::Io { folder: folder.to_owned(), source };
        // What events say is for nobody else on this machine.
        DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(io)?;
        let mut lock = OpenOptions::new();
        let lock = lock.create(true).truncate(false).write(true).mode(0o600).open(folder.join(LOCK));
        let lock = lock.map_err(io)?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(SpoolError::InUse { folder: folder.to_owned() }),
            Err(TryLockError::Error(error)) => return Err(io(error)),
        }
        let head = Place::read(folder).map_err(io)?;
        let mut spool = Spool {
            folder: folder.to_owned(),
            bytes_max,
            segments: VecDeque::new(),
            head,
            events: 0,
            last: None,
            _lock: lock,
        };
        spool.find(refusals).map_err(io)?;
        Ok(spool)
    }

    /// Looks at the segments that there are.
    fn find(&mut self, refusals: &mut Refusals) -> io::Result<()> {
        let mut numbers = Vec::new();
        for entry in fs::read_dir(&self.folder)? {
            numbers.extend(entry?.file_name().to_str().and_then(place::segment_number));
        }
        numbers.sort_unstable();
        for number in numbers {
            let path = self.path(number);
            if number < self.head.segment {
                fs::remove_file(path)?;
                continue;
            }
            let bytes = recover::mend(&path, refusals)?;
            self.segments.push_back(Segment { number, bytes });
        }
        match self.segments.front() {
            Some(first) if first.number != self.head.segment => {
                self.head = Place { segment: first.number, offset: 0 };
            }
            Some(first) if !recover::is_start_of_line(&self.path(first.number), self.head.offset)? => {
                self.head.offset = 0;
            }
            _ => {}
        }
        for segment in &self.segments {
            let from = if segment.number == self.head.segment { self.head.offset } else { 0 };
            self.events += recover::count_lines(&self.path(segment.number), from)?;
        }
        self.drop_sent()
    }

    fn path(&self, number: u64) -> PathBuf {
        self.folder.join(place::segment_name(number))
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
        let is_new =
            self.last.is_none() || self.segments.back().is_none_or(|last| last.bytes >= self.segment_bytes());
        if is_new {
            self.begin_segment()?;
        }
        let (Some(file), Some(segment)) = (&mut self.last, self.segments.back_mut()) else {
            return Err(io::Error::other("there is no segment to write to"));
        };
        match file.write_all(bytes).and_then(|()| file.sync_data()) {
            Ok(()) => {
                segment.bytes += bytes.len() as u64;
                Ok(())
            }
            Err(error) => {
                // What was written of it may not stay: it is given again, or is the caller's to keep. Where it
                // cannot be cut off either, it is sent once more, which changes nothing.
                if file.set_len(segment.bytes).is_err() {
                    let path = self.folder.join(place::segment_name(segment.number));
                    self.events += recover::count_lines(&path, segment.bytes).unwrap_or(0);
                    segment.bytes = file.metadata().map_or(segment.bytes, |metadata| metadata.len());
                    self.last = None;
                }
                Err(error)
            }
        }
    }

    fn begin_segment(&mut self) -> io::Result<()> {
        let number = self.segments.back().map_or(self.head.segment, |last| last.number).saturating_add(1);
        let file = OpenOptions::new().append(true).create_new(true).mode(0o600).open(self.path(number))?;
        // Else the file itself could be gone after a crash.
        File::open(&self.folder)?.sync_all()?;
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

    /// Gives up what should be in it and is not, and says how many events that are.
    pub(super) fn give_up(&mut self) -> u64 {
        std::mem::take(&mut self.events)
    }

    /// Goes past the first events: the server has them.
    pub(super) fn advance(&mut self, events: usize) -> io::Result<()> {
        self.head = self.walk(events, |_| true)?;
        self.events = self.events.saturating_sub(events as u64);
        self.head.write(&self.folder)?;
        self.drop_sent()
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
                if bytes == 0 || !show(line.strip_suffix(b"\n").unwrap_or(&line)) {
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
            fs::remove_file(self.path(first.number))?;
            self.segments.pop_front();
            match self.segments.front() {
                Some(next) if next.number > self.head.segment => {
                    self.head = Place { segment: next.number, offset: 0 };
                }
                Some(_) => {}
                None => self.last = None,
            }
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

#[cfg(test)]
mod tests;
