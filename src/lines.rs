//! Lines of a file or stream, each with its number and none longer than a bound.

use std::io::{self, BufRead, BufReader, Read};

use crate::limits::LINE_BYTES_MAX;

/// Bytes that are read at once.
const BUFFER_BYTES: usize = 256 << 10;

/// A line that is not text.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum BadLine {
    #[error("has more than {LINE_BYTES_MAX} bytes")]
    TooLong,
    #[error("is not UTF-8 (from byte {0} on)")]
    NotUtf8(usize),
}

/// A line that is not blank, with its number from 1 on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Line {
    pub(crate) number: u64,
    pub(crate) text: Result<String, BadLine>,
}

/// The lines of a source that are not blank.
pub(crate) struct Lines<R> {
    source: BufReader<R>,
    number: u64,
    bytes_max: usize,
    /// True after a line that is too long, of which the rest was not read.
    is_within_line: bool,
}

impl<R: Read> Lines<R> {
    pub(crate) fn new(source: R) -> Lines<R> {
        Lines {
            source: BufReader::with_capacity(BUFFER_BYTES, source),
            number: 0,
            bytes_max: LINE_BYTES_MAX,
            is_within_line: false,
        }
    }

    /// Returns true if the next line is not in memory yet.
    pub(crate) fn must_wait(&self) -> bool {
        self.source.buffer().is_empty()
    }

    /// The next line; None after the last one.
    pub(crate) fn next_line(&mut self) -> io::Result<Option<Line>> {
        // Skipped only now: whoever stops at a long line does not wait for its end, which may never come.
        if std::mem::take(&mut self.is_within_line) {
            self.source.skip_until(b'\n')?;
        }
        loop {
            let mut bytes = Vec::new();
            // The longest line and its end, `\r\n`: no more of a line is ever in memory.
            let limit = u64::try_from(self.bytes_max).unwrap_or(u64::MAX).saturating_add(2);
            if self.source.by_ref().take(limit).read_until(b'\n', &mut bytes)? == 0 {
                return Ok(None);
            }
            self.number += 1;
            let mut line = bytes.as_slice();
            let ended = line.ends_with(b"\n");
            line = line.strip_suffix(b"\n").unwrap_or(line);
            line = line.strip_suffix(b"\r").unwrap_or(line);
            // A byte order mark can only stand at the start of the source.
            if self.number == 1 {
                line = line.strip_prefix(b"\xef\xbb\xbf").unwrap_or(line);
            }
            if line.len() > self.bytes_max {
                self.is_within_line = !ended;
                return Ok(Some(Line { number: self.number, text: Err(BadLine::TooLong) }));
            }
            if line.iter().all(u8::is_ascii_whitespace) {
                continue;
            }
            let text = match std::str::from_utf8(line) {
                Ok(text) => Ok(text.to_owned()),
                Err(error) => Err(BadLine::NotUtf8(error.valid_up_to() + 1)),
            };
            return Ok(Some(Line { number: self.number, text }));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(source: &[u8], bytes_max: usize) -> Vec<(u64, Result<String, BadLine>)> {
        let mut lines = Lines { bytes_max, ..Lines::new(source) };
        std::iter::from_fn(|| lines.next_line().unwrap()).map(|line| (line.number, line.text)).collect()
    }

    fn text(text: &str) -> Result<String, BadLine> {
        Ok(text.to_owned())
    }

    #[test]
    fn line_endings_blank_lines_and_a_mark_at_the_start_are_no_content() {
        let found = lines(b"\xef\xbb\xbfa\r\n\n  \t\r\nb\nc", 10);
        assert_eq!(found, [(1, text("a")), (4, text("b")), (5, text("c"))]);
        assert_eq!(lines(b"", 10), []);
        assert_eq!(lines(b"\n\n", 10), []);
    }

    #[test]
    fn what_is_not_utf8_is_named_and_the_next_line_is_read() {
        assert_eq!(lines(b"ab\xff\nc", 10), [(1, Err(BadLine::NotUtf8(3))), (2, text("c"))]);
    }

    #[test]
    fn a_long_line_is_named_and_the_next_line_is_read() {
        assert_eq!(lines(b"12345\n1234\r\n", 5), [(1, text("12345")), (2, text("1234"))]);
        // One character too many, as many as one read takes, and more.
        for long in ["123456", "1234567", "12345678", "1234567890123"] {
            let found = lines(format!("{long}\nb\n").as_bytes(), 5);
            assert_eq!(found, [(1, Err(BadLine::TooLong)), (2, text("b"))], "{long}");
        }
        assert_eq!(lines(b"123456789", 5), [(1, Err(BadLine::TooLong))]);
    }

    #[test]
    fn a_long_line_is_named_before_its_end_is_there() {
        struct Endless;
        impl Read for Endless {
            fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
                buffer.fill(b'x');
                Ok(buffer.len())
            }
        }
        let mut lines = Lines { bytes_max: 5, ..Lines::new(Endless) };
        assert_eq!(lines.next_line().unwrap().unwrap().text, Err(BadLine::TooLong));
    }
}
